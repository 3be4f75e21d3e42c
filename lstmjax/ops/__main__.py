"""Tells which code computes the LSTM here, and why: ``python -m lstmjax.ops``."""

import sys

import jax

from lstmjax.ops.lstm import chosen

if __name__ == "__main__":
    try:
        name, why = chosen()
    except (RuntimeError, ValueError) as error:  # JAX finds no device, or an environment variable is wrong
        sys.exit(f"lstmjax.ops: {error}")
    print(f"The LSTM on {jax.default_backend()} runs on {name}: {why}")
