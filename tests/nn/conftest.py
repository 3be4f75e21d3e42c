"""What the tests of the modules share."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx


@pytest.fixture
def x64() -> Iterator[None]:
    """Everything in the test in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def randomize() -> Any:
    """Gives every parameter of a module random values, those that start as zeros or ones too."""

    def fill(module: nnx.Module, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        state = nnx.state(module, nnx.Param)
        values = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(scale=0.6, size=leaf.shape), leaf.dtype), state)
        nnx.update(module, values)

    return fill
