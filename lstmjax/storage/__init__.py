"""Bytes on disk: checkpoints, locks, logs, whole-file writes. It knows nothing of forecasting."""
