"""From the ring of a stream to scaled windows, as `lstmjax.data.scaling.scale` and `gather` make them of a panel."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lstmjax.data.calendar import time_features
from lstmjax.data.frequency import as_index
from lstmjax.data.panel import Schema
from lstmjax.data.scaling import Scaling
from lstmjax.data.transform import TRANSFORMS
from lstmjax.forecaster.stream.state import Sizes, StreamState
from lstmjax.window import WindowBatch

_BLOCK = 512  # rows of which the covariates of the calendar are computed together
_MOST_BLOCKS = 4096


class WindowMaker:
    """Cuts windows out of a stream's state.

    Args:
        schema: of the training data.
        scaling: of training; those of the targets are in the state.
        sizes: the shapes of the state.
    """

    def __init__(self, schema: Schema, scaling: Scaling, sizes: Sizes) -> None:
        self._schema, self._scaling, self._sizes = schema, scaling, sizes
        self._has_calendar = bool(schema.calendar or schema.holidays)
        self._blocks: dict[tuple[int, int], np.ndarray] = {}

    def cut(
        self, state: StreamState, series: Int[np.ndarray, " W"], lookback: int, h: int, origin: np.ndarray | None = None
    ) -> WindowBatch:
        """The windows of some series.

        Args:
            state: the stream's.
            series: W of them.
            lookback: rows up to the origin.
            h: rows after it.
            origin: (W,) the first row of each horizon. Default: the row after the newest.
        """
        origin = state.newest[series] + 1 if origin is None else origin
        rows = origin[:, None] + np.arange(-lookback, h)
        sizes = self._sizes
        cells = state.gathered(self._sizes, series, rows)
        y, hist, futr = np.split(cells, [sizes.targets, sizes.targets + sizes.hist], axis=-1)
        transformed = TRANSFORMS[self._scaling.transform].forward(y[:, :lookback])
        y, y_mask = _masked((transformed - state.center[series][:, None]) / state.spread[series][:, None])
        hist, hist_mask = _masked((hist[:, :lookback] - self._scaling.hist_center) / self._scaling.hist_scale)
        futr = (futr - self._scaling.futr_center) / self._scaling.futr_scale
        if self._has_calendar:
            futr = np.concatenate([futr, self._calendar(state.start[series], rows)], axis=-1)
        futr, futr_mask = _masked(futr)
        stat: Any = (state.stat[series] - self._scaling.stat_center) / self._scaling.stat_scale
        number: Any = state.number[series].astype(np.int32)
        return WindowBatch(y, y_mask, hist, hist_mask, futr, futr_mask, stat.astype(np.float32), number)

    def _calendar(self, start: Int[np.ndarray, " W"], rows: Int[np.ndarray, "W T"]) -> Float[np.ndarray, "W T Fc"]:
        """The covariates of the calendar; NaN before the first row of a series."""
        same = (start == start[0]).all() and (rows[:, 0] == rows[0, 0]).all()
        found = [
            self._stretch(int(one), int(first), rows.shape[1])
            for one, first in zip(start[: 1 if same else None], rows[:, 0], strict=False)
        ]
        return np.broadcast_to(np.stack(found), (*rows.shape, found[0].shape[-1]))

    def _stretch(self, start: int, first: int, count: int) -> Float[np.ndarray, "T Fc"]:
        blocks = [self._block(start, number) for number in range(first // _BLOCK, (first + count - 1) // _BLOCK + 1)]
        begin = first - first // _BLOCK * _BLOCK
        return np.concatenate(blocks)[begin : begin + count]

    def _block(self, start: int, number: int) -> Float[np.ndarray, "T Fc"]:
        key = (start, number)
        if key not in self._blocks:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            frequency = self._schema.frequency
            rows = np.arange(number * _BLOCK, (number + 1) * _BLOCK)
            times = frequency.at(np.full(_BLOCK, start), np.maximum(rows, 0))
            features = time_features(as_index(times, frequency, self._schema.time_zone), self._schema)
            self._blocks[key] = np.where((rows < 0)[:, None], np.nan, features)
        return self._blocks[key]


def _masked(values: np.ndarray) -> tuple[Any, Any]:
    mask = ~np.isnan(values)
    return np.where(mask, values, 0.0).astype(np.float32), mask
