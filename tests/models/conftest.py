"""What the tests of the networks share."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax.window import WindowBatch, WindowSpec

BATCH = 3


def random_window(spec: WindowSpec, seed: int = 0) -> WindowBatch:
    """Windows of random numbers, all of them observed; the third is of a series that was not trained on."""
    draw = np.random.default_rng(seed).normal
    length, whole = spec.input_size, spec.input_size + spec.h

    def values(*shape: int) -> jnp.ndarray:
        return jnp.asarray(draw(size=shape), jnp.float32)

    y, hist = values(BATCH, length, spec.targets), values(BATCH, length, spec.hist_exog)
    futr = values(BATCH, whole, spec.futr_exog)
    y_mask, hist_mask, futr_mask = (jnp.ones_like(part, bool) for part in (y, hist, futr))
    stat = values(BATCH, spec.stat_exog)
    return WindowBatch(y, y_mask, hist, hist_mask, futr, futr_mask, stat, jnp.array([0, 2, -1], jnp.int32))


@pytest.fixture(scope="session")
def window() -> Callable[..., WindowBatch]:
    """Makes a batch of three windows of a spec."""
    return random_window
