"""Forecasts for any number of windows, a block at a time."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from lstmjax.data.host_panel import HostPanel, ScaledPanel
from lstmjax.data.windows import PanelArrays, Windows, gather
from lstmjax.parallel import device_count, fetch, make_mesh, over_batch, place_made, place_rows, place_shared
from lstmjax.training.data import fill_blocks
from lstmjax.training.feed import Fed, cut_windows, of_part
from lstmjax.training.functional import Functional, Weights
from lstmjax.window import Forecast, WindowSpec

Reading = Callable[[Forecast, Any], Array]
"""What is wanted of a forecast (B, H, C, P): one number per value (B, H, C), or K of them (B, H, C, K). The second
argument is what else it depends on, by window; None for nothing."""


def point_of(forecast: Forecast, of_series: None) -> Float[Array, "B H C"]:
    """Reads the forecast as one number per value."""
    return forecast.point()


BLOCK_SIZE = 1024
"""Windows forecast together: enough to fill a device, few enough to fit it."""


def predict(
    network: Functional,
    weights: Weights,
    arrays: ScaledPanel,
    windows: Windows,
    spec: WindowSpec,
    *,
    read: Reading = point_of,
    by_series: Float[np.ndarray, "N ..."] | None = None,
    block_size: int = BLOCK_SIZE,
) -> Float[np.ndarray, "W H C *K"]:
    """The network's forecasts, one for each window, in scaled units.

    Memory is that of the panel (where it is on the device), a block and the result; the windows of a block are split
    over all devices, of all processes, each of which gets the whole result.

    Args:
        network: the network without its arrays.
        weights: its arrays, of one member.
        arrays: the scaled panel.
        windows: which windows, any number.
        spec: sizes of a window.
        read: what is wanted of each forecast; compiled in, so equal for equal wishes. Default: the point forecast.
        by_series: what ``read`` depends on besides, for each series of the panel.
        block_size: windows at a time, at most.

    Returns:
        float32 array of shape (windows, H, C) or (windows, H, C, K), as it is read, in the order of ``windows``.
    """
    count = len(windows.series)
    if count == 0:
        return np.empty((0, spec.h, spec.targets), np.float32)
    devices = device_count()
    mesh = make_mesh(batch_shards=devices)
    # A power of two, so that tables of many lengths share a few programs.
    size = min(block_size, 1 << (count - 1).bit_length())
    size = -(-size // devices) * devices
    filled, _ = fill_blocks(windows, size)
    on_host = isinstance(arrays, HostPanel)
    shared = place_shared((weights, None if on_host else arrays, by_series), mesh)
    program = _program(network, spec, mesh, read)
    result = None
    for first in range(0, count, size):
        block = Windows(*(column[first : first + size] for column in filled))
        rows: Any = place_rows(block, mesh)
        if isinstance(arrays, HostPanel):
            rows = place_made(functools.partial(_cut, arrays, block, spec, devices), (devices,), ("batch",), mesh)
        found = np.asarray(fetch(program(rows, shared)))[: count - first]
        result = np.empty((count, *found.shape[1:]), np.float32) if result is None else result
        result[first : first + size] = found
    assert result is not None
    return result


def _cut(panel: HostPanel, block: Windows, spec: WindowSpec, parts: int, own: slice) -> Fed:
    """Some parts of a block of windows, cut out on the host."""
    size = len(block.series) // parts
    windows = Windows(*(column[None, own.start * size : own.stop * size] for column in block))
    return cut_windows(panel, windows, spec, own.stop - own.start)


@functools.lru_cache(maxsize=64)
def _program(network: Functional, spec: WindowSpec, mesh: Mesh, read: Reading) -> Callable[[Any, Any], Array]:
    def forecast(rows: Windows | Fed, shared: tuple[Weights, PanelArrays | None, Array | None]) -> Array:
        weights, arrays, by_series = shared
        if isinstance(rows, Windows):
            assert arrays is not None
            window, _ = gather(arrays, rows, input_size=spec.input_size, h=spec.h)
            series: Any = rows.series
        else:
            own = of_part(rows)
            assert own is not None
            window, _ = own.gather(jnp.int32(0), len(own.series), spec)
            series = own.series
        return read(network.forecast(weights, window), None if by_series is None else by_series[series])

    return over_batch(forecast, mesh)
