"""Which windows there are: the (series, row) pairs to train on, validate, calibrate on, test and forecast."""

import numpy as np
from jaxtyping import Bool, Int, Int64

from lstmjax.data.grid import Grid
from lstmjax.data.panel import PART_ROWS, Panel, row_ranges, series_ranges
from lstmjax.data.split import Split
from lstmjax.data.windows import Windows


def train_windows(
    panel: Panel, split: Split, grid: Grid | None = None, *, input_size: int, h: int, step_size: int = 1
) -> Windows:
    """Lists the training windows: all their targets lie in training rows, and at least one is observed.

    The lookback lies in the series, except where that leaves no window at all: a series shorter than
    ``input_size + h`` has a window whose lookback begins before the series, padded and masked.

    Args:
        panel: the data.
        split: which rows are for training.
        grid: where they may begin. Default: anywhere.
        input_size: lookback L, in rows.
        h: horizon H, in rows.
        step_size: stride between windows, in rows.

    Returns:
        The windows, by series, then time.
    """
    last = split.train_end - h
    first = np.minimum(input_size, np.maximum(1, last))
    windows = every_origin(first, last, step_size)
    if grid is not None:
        windows = _with_padded(grid.keep(windows), grid, last)
    seen = _with_target_in(panel, windows, h)
    return windows if seen.all() else Windows(windows.series[seen], windows.origin[seen])


def _with_padded(windows: Windows, grid: Grid, last: Int64[np.ndarray, " N"]) -> Windows:
    """Adds the last window on the grid of each series that has none whose lookback lies in it."""
    without = np.ones(len(last), bool)
    without[windows.series] = False
    others = grid.keep(every_origin(np.ones_like(last), np.where(without, last, 0)))
    if not len(others.series):
        return windows
    ends = np.flatnonzero(np.diff(others.series, append=-1))
    both = [np.concatenate([column, more[ends]]) for column, more in zip(windows, others, strict=True)]
    order = np.argsort(both[0], kind="stable")
    return Windows(both[0][order], both[1][order])


def counting(panel: Panel, windows: Windows, *, h: int) -> Bool[np.ndarray, " W"]:
    """Tells which windows have a target that counts in the loss: an observed one, in a row of a weight above 0.

    Args:
        panel: the data.
        windows: the windows, by series, with all targets inside their series.
        h: horizon H, in rows.
    """
    return _with_target_in(panel, windows, h, weighted=panel.weight.shape[1] > 0)


def windows_of(some: slice, series: Int[np.ndarray, " W"]) -> slice:
    """Returns the windows of a range of series, where windows are listed by series."""
    # Of the same type, else all series are converted.
    return slice(*np.searchsorted(series, np.array([some.start, some.stop], series.dtype)).tolist())


def _with_target_in(panel: Panel, windows: Windows, h: int, *, weighted: bool = False) -> Bool[np.ndarray, " W"]:
    """Tells which windows have an observed target; or one in a row of a weight above 0.

    Args:
        panel: the data.
        windows: by series.
        h: horizon H, in rows.
        weighted: whether the weight matters.
    """
    found = np.empty(len(windows.series), bool)
    for some, part in panel.parts():
        own = windows_of(some, np.asarray(windows.series))
        rows = ~np.isnan(part.y).all(axis=1)
        if weighted:
            rows &= part.weight[:, 0] > 0
        before = np.concatenate([[0], np.cumsum(rows)])
        begin = part.offsets[windows.series[own] - some.start] + windows.origin[own]
        found[own] = before[begin + h] > before[begin]
    return found


def validation_windows(split: Split, *, h: int) -> Windows:
    """Lists every window whose targets all lie in validation rows; the lookback may reach into training rows."""
    return every_origin(split.train_end, split.val_end - h)


def calibration_windows(split: Split, *, h: int) -> Windows:
    """Lists every window whose targets all lie in calibration rows; the lookback may reach into earlier rows."""
    return every_origin(split.val_end, split.calibration_end - h)


def test_windows(split: Split, *, h: int) -> Windows:
    """Lists every window whose targets all lie in test rows; the lookback may reach into earlier rows."""
    return every_origin(split.calibration_end, split.test_end - h)


test_windows.__test__ = False  # type: ignore[attr-defined]  # for pytest: it is not a test


def forecast_windows(panel: Panel) -> Windows:
    """Lists one window per series, whose horizon begins after its last observation."""
    return Windows(np.arange(len(panel.ids), dtype=np.int32), panel.observed.astype(np.int32))


def every_origin(first: np.ndarray, last: np.ndarray, step: int = 1) -> Windows:
    """Lists the origins first, first + step, ... up to and including last, of each series."""
    before = row_ranges(np.maximum(0, (last - first) // step + 1))
    windows = Windows(*(np.empty(before[-1], np.int32) for _ in range(2)))
    for some in series_ranges(before, PART_ROWS):
        own, counts = slice(before[some.start], before[some.stop]), np.diff(before[some.start : some.stop + 1])
        series = np.repeat(np.arange(some.start, some.stop), counts)
        windows.series[own] = series
        windows.origin[own] = first[series] + (np.arange(before[some.start], before[some.stop]) - before[series]) * step
    return windows
