"""Bytes on disk: checkpoints, locks, logs, whole-file writes. Knows no forecasting."""
