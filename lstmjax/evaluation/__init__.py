"""Evaluation of forecasts: error metrics, baselines, tables of both, and plots."""
