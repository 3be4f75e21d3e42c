"""The recurrent state of a stateful stream: what every row, missing steps included, adds to it."""

from typing import Any

import numpy as np
from jaxtyping import Int

from lstmjax.data.panel import Panel
from lstmjax.data.scaling import scale
from lstmjax.data.windows import PanelArrays
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.predict import aligned
from lstmjax.forecaster.stream.program import MOST_STEPS, Carry, Programs
from lstmjax.forecaster.stream.state import StreamState
from lstmjax.forecaster.stream.windows import WindowMaker
from lstmjax.window import WindowBatch


class Encoder:
    """Encodes rows of a state into its carry, in place.

    Args:
        programs: the compiled steps.
        maker: cuts rows out of the state.
    """

    def __init__(self, programs: Programs, maker: WindowMaker) -> None:
        self._programs, self._maker = programs, maker

    def newest(self, state: StreamState, series: Int[np.ndarray, " W"]) -> None:
        """Encodes the newest row of some series."""
        if len(series):
            self._push(state, series, state.newest[series], np.ones(len(series), np.int64))

    def gap(self, state: StreamState, series: Int[np.ndarray, " W"], rows: Int[np.ndarray, " W"]) -> None:
        """Encodes the missing steps before new rows: masked, with the covariates that are known of them.

        Args:
            state: before the new rows.
            series: of each; those whose statistics still change are left out, since they are encoded `anew`.
            rows: the new rows.
        """
        first, count = state.newest[series] + 1, rows - state.newest[series] - 1
        count[~state.fixed[series]] = 0
        self._stretch(state, series, first, count)

    def anew(self, state: StreamState, series: Int[np.ndarray, " W"]) -> None:
        """Encodes all rows of new series, whose statistics have changed; they are all in the ring."""
        for layer in state.carry:
            for leaf in layer:
                leaf[series] = 0.0
        self._stretch(state, series, np.zeros_like(series), state.newest[series] + 1)

    def _stretch(self, state: StreamState, series: np.ndarray, first: np.ndarray, count: np.ndarray) -> None:
        """Encodes so many rows of each of some series, in parts."""
        for begin in range(0, int(count.max(initial=0)), MOST_STEPS):
            chosen = np.flatnonzero(count > begin)
            steps = np.minimum(count[chosen] - begin, MOST_STEPS)
            self._push(state, series[chosen], first[chosen] + begin, steps)

    def _push(self, state: StreamState, series: np.ndarray, first: np.ndarray, steps: np.ndarray) -> None:
        length = 1 << (int(steps.max()) - 1).bit_length()
        window = self._maker.cut(state, series, length, 0, origin=first + length)
        carry = tuple(tuple(leaf[series] for leaf in layer) for layer in state.carry)
        after = self._programs.encode(carry, window, steps.astype(np.int32))
        for layer, new in zip(state.carry, after, strict=True):
            for leaf, values in zip(layer, new, strict=True):
                leaf[series] = values


def encoded_panel(programs: Programs, fitted: Fitted, panel: Panel) -> Carry:
    """The recurrent state of every series after its last observed row.

    Args:
        programs: the compiled steps.
        fitted: a trained forecaster.
        panel: the data.
    """
    arrays = scale(panel, aligned(fitted, fitted.forecasting, panel).scaling)
    carry = programs.first_carry(len(panel.ids))
    for first in range(0, int(panel.observed.max(initial=0)), MOST_STEPS):
        lengths = np.clip(panel.observed - first, 0, MOST_STEPS).astype(np.int32)
        carry = programs.encode(carry, _rows(arrays, panel, first), lengths)
    return tuple((np.array(c), np.array(h)) for c, h in carry)


def _rows(arrays: PanelArrays, panel: Panel, first: int) -> WindowBatch:
    """The next rows of every series as a lookback; rows beyond its end are those of another, and do not count."""
    rows = np.minimum(panel.offsets[:-1, None] + first + np.arange(MOST_STEPS), len(panel.y) - 1)
    groups: Any = (arrays.y, arrays.y_mask, arrays.hist, arrays.hist_mask, arrays.futr, arrays.futr_mask)
    stat: Any = [np.asarray(arrays.stat)]
    cut: Any = [np.asarray(group)[rows] for group in (*groups,)]
    return WindowBatch(*cut, *stat)
