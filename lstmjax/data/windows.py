"""Windows by index: lists of (series, row) on the host, gathered into batches on the device inside jit.

`lstmjax.data.origins` lists them.

The panel is stored on the device once; a window is two whole numbers. Memory grows with the panel and the batch, never
with the number of windows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmjax.window import Target, WindowBatch

_Array = jax.Array | np.ndarray


class PanelArrays(NamedTuple):
    """A scaled panel, ready for the device. Values are 0 where their mask is False."""

    y: Float[Array, "R C"] | Float[np.ndarray, "R C"]
    y_mask: Bool[Array, "R C"] | Bool[np.ndarray, "R C"]
    hist: Float[Array, "R Fh"] | Float[np.ndarray, "R Fh"]
    hist_mask: Bool[Array, "R Fh"] | Bool[np.ndarray, "R Fh"]
    futr: Float[Array, "R Ff"] | Float[np.ndarray, "R Ff"]
    futr_mask: Bool[Array, "R Ff"] | Bool[np.ndarray, "R Ff"]
    stat: Float[Array, "N Fs"] | Float[np.ndarray, "N Fs"]
    offsets: Int[Array, " N+1"] | Int[np.ndarray, " N+1"]
    """int32; series n holds the rows from offsets[n] up to offsets[n + 1]."""
    series: Int[Array, " N"] | Int[np.ndarray, " N"] | None = None
    """int32; the number of each series among those trained on, -1 for others. None: all were trained on."""
    weight: Float[Array, " R"] | Float[np.ndarray, " R"] | None = None
    """Weight of each row in the loss; None: all equal."""

    def width(self, group: str) -> int:
        """The columns of the group "y", "hist", "futr" or "stat"."""
        return int(getattr(self, group).shape[1])


class Rescaling(NamedTuple):
    """Turns a scaled panel into the units of other statistics: ``value * factor + shift``, where a value is known.

    With it, members whose scalers were fitted on different rows share one panel on the device.
    """

    y_factor: Float[Array, "N C"] | Float[np.ndarray, "N C"]
    y_shift: Float[Array, "N C"] | Float[np.ndarray, "N C"]
    hist_factor: Float[Array, " Fh"] | Float[np.ndarray, " Fh"]
    hist_shift: Float[Array, " Fh"] | Float[np.ndarray, " Fh"]
    futr_factor: Float[Array, " Ff"] | Float[np.ndarray, " Ff"]
    futr_shift: Float[Array, " Ff"] | Float[np.ndarray, " Ff"]
    stat_factor: Float[Array, " Fs"] | Float[np.ndarray, " Fs"]
    stat_shift: Float[Array, " Fs"] | Float[np.ndarray, " Fs"]
    series: Int[Array, " N"] | Int[np.ndarray, " N"]
    """int32; the number of each series among those trained on, -1 for others."""


class Windows(NamedTuple):
    """W windows: the series of each, and the row within the series at which its horizon begins. int32."""

    series: Int[Array, " W"] | Int[np.ndarray, " W"]
    origin: Int[Array, " W"] | Int[np.ndarray, " W"]


def gather(
    arrays: PanelArrays,
    windows: Windows,
    *,
    input_size: int,
    h: int,
    rescaling: Rescaling | None = None,
    series: _Array | None = None,
) -> tuple[WindowBatch, Target]:
    """Cuts a batch of windows out of the panel. Pure, for use inside jit; it needs only the memory of the batch.

    Rows before the beginning or after the end of a series are masked. Targets and historic covariates are taken up to
    the origin only; known-future covariates over the horizon too.

    Args:
        arrays: the scaled panel.
        windows: the windows, (B,).
        input_size: lookback L, in rows.
        h: horizon H, in rows.
        rescaling: to other statistics than those of the panel.
        series: (B,) the series of each window in the rescaling. Default: those of the windows.

    Returns:
        The windows, and the targets of their forecasts.
    """
    begin = jnp.take(arrays.offsets, windows.series, mode="clip")
    length = jnp.take(arrays.offsets, windows.series + 1, mode="clip") - begin
    rows = windows.origin[:, None] + jnp.arange(-input_size, h, dtype=windows.origin.dtype)  # (B, L+H)
    inside = ((rows >= 0) & (rows < length[:, None]))[..., None]
    rows = rows + begin[:, None]
    y, y_mask = _cut(arrays.y, arrays.y_mask, rows, inside)
    hist, hist_mask = _cut(arrays.hist, arrays.hist_mask, rows[:, :input_size], inside[:, :input_size])
    futr, futr_mask = _cut(arrays.futr, arrays.futr_mask, rows, inside)
    window = WindowBatch(
        y=y[:, :input_size],
        y_mask=y_mask[:, :input_size],
        hist_exog=hist,
        hist_mask=hist_mask,
        futr_exog=futr,
        futr_mask=futr_mask,
        stat_exog=jnp.take(arrays.stat, windows.series, axis=0, mode="clip"),
        series=jnp.take(arrays.series, windows.series, mode="clip")
        if arrays.series is not None
        else jnp.asarray(windows.series),
    )
    weight = None if arrays.weight is None else jnp.take(arrays.weight, rows[:, input_size:], mode="clip")
    target = Target(y=y[:, input_size:], mask=y_mask[:, input_size:], weight=weight)
    if rescaling is None:
        return window, target
    return _rescale(window, target, windows.series if series is None else series, rescaling)


def _rescale(window: WindowBatch, target: Target, series: _Array, rescaling: Rescaling) -> tuple[WindowBatch, Target]:
    def known(values: _Array, mask: _Array, factor: _Array, shift: _Array) -> jax.Array:
        return jnp.where(mask, values * factor + shift, 0)

    of_series = [jnp.take(rescaling.y_factor, series, axis=0), jnp.take(rescaling.y_shift, series, axis=0)]
    y_factor, y_shift = (column[:, None] for column in of_series)  # (B, 1, C)
    rescaled = window._replace(
        y=known(window.y, window.y_mask, y_factor, y_shift),
        hist_exog=known(window.hist_exog, window.hist_mask, rescaling.hist_factor, rescaling.hist_shift),
        futr_exog=known(window.futr_exog, window.futr_mask, rescaling.futr_factor, rescaling.futr_shift),
        stat_exog=window.stat_exog * rescaling.stat_factor + rescaling.stat_shift,
        series=jnp.take(rescaling.series, series, mode="clip"),
    )
    return rescaled, target._replace(y=known(target.y, target.mask, y_factor, y_shift))


def shortened(window: WindowBatch, lengths: Int[Array, " B"]) -> WindowBatch:
    """Masks the first rows of each lookback, as if the series had begun later. Pure, for use inside jit.

    Args:
        window: a batch.
        lengths: rows of each lookback that stay.
    """
    lookback = window.y.shape[1]
    hidden = jnp.arange(lookback) < lookback - lengths[:, None]  # (B, L)

    def shown(values: Array, mask: Array) -> tuple[Array, Array]:
        mask = mask.at[:, :lookback].set(mask[:, :lookback] & ~hidden[..., None])
        return jnp.where(mask, values, 0), mask

    y, y_mask = shown(window.y, window.y_mask)
    hist, hist_mask = shown(window.hist_exog, window.hist_mask)
    futr, futr_mask = shown(window.futr_exog, window.futr_mask)
    past = window._replace(y=y, y_mask=y_mask, hist_exog=hist, hist_mask=hist_mask)
    return past._replace(futr_exog=futr, futr_mask=futr_mask)


def _cut(
    values: _Array, mask: _Array, rows: _Array, inside: _Array
) -> tuple[Float[Array, "B T F"], Bool[Array, "B T F"]]:
    if values.shape[1] == 0:  # a take of nothing still costs an index computation
        shape = (*rows.shape, 0)
        return jnp.zeros(shape, values.dtype), jnp.zeros(shape, bool)
    known = jnp.take(mask, rows, axis=0, mode="clip") & inside
    return jnp.where(known, jnp.take(values, rows, axis=0, mode="clip"), 0), known
