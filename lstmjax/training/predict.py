"""Forecasts for any number of windows, a block at a time."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from lstmjax.data.windows import PanelArrays, Windows, gather
from lstmjax.parallel import make_mesh, over_batch, place_shared
from lstmjax.training.data import fill_blocks
from lstmjax.training.functional import Functional, Weights
from lstmjax.window import WindowSpec

BLOCK_SIZE = 1024
"""Windows forecast together: enough to fill a device, few enough to fit it."""


def predict(
    network: Functional,
    weights: Weights,
    arrays: PanelArrays,
    windows: Windows,
    spec: WindowSpec,
    *,
    block_size: int = BLOCK_SIZE,
) -> Float[np.ndarray, "W H C"]:
    """The network's point forecasts, one for each window, in scaled units.

    Memory is that of the panel, a block and the result; the windows of a block are split over all devices.

    Args:
        network: the network without its arrays.
        weights: its arrays, of one member.
        arrays: the scaled panel.
        windows: which windows, any number.
        spec: sizes of a window.
        block_size: windows at a time, at most.

    Returns:
        float32 array of shape (windows, H, C), in the order of ``windows``.
    """
    count = len(windows.series)
    result = np.empty((count, spec.h, spec.targets), np.float32)
    if count == 0:
        return result
    mesh = make_mesh(batch_shards=jax.device_count())
    # A power of two, so that tables of many lengths share a few programs.
    size = min(block_size, 1 << (count - 1).bit_length())
    size = -(-size // jax.device_count()) * jax.device_count()
    filled, _ = fill_blocks(windows, size)
    shared = place_shared((weights, arrays), mesh)
    program = _program(network, spec, mesh)
    for first in range(0, count, size):
        block = Windows(*(column[first : first + size] for column in filled))
        result[first : first + size] = np.asarray(program(block, shared))[: count - first]
    return result


@functools.lru_cache(maxsize=64)
def _program(network: Functional, spec: WindowSpec, mesh: Mesh) -> Callable[[Any, Any], Array]:
    def forecast(windows: Windows, shared: tuple[Weights, PanelArrays]) -> Array:
        weights, arrays = shared
        window, _ = gather(arrays, windows, input_size=spec.input_size, h=spec.h)
        return network.forecast(weights, window).mean()

    return over_batch(forecast, mesh)
