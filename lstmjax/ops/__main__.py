"""Tells which code computes the LSTM here, and why: ``python -m lstmjax.ops``."""

import jax

from lstmjax.ops.lstm import chosen

if __name__ == "__main__":
    name, why = chosen()
    print(f"The LSTM on {jax.default_backend()} runs on {name}: {why}")
