"""Time-series forecasting with LSTMs in JAX."""
