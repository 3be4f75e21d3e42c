"""Which windows there are: the (series, row) pairs to train on, validate, calibrate on, test and forecast."""

import numpy as np
from jaxtyping import Bool, Int64

from lstmjax.data.grid import Grid
from lstmjax.data.panel import Panel
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
    seen = _with_target_in(~np.isnan(panel.y).all(axis=1), panel, windows, h)
    return Windows(windows.series[seen], windows.origin[seen])


def _with_padded(windows: Windows, grid: Grid, last: Int64[np.ndarray, " N"]) -> Windows:
    """Adds the last window on the grid of each series that has none whose lookback lies in it."""
    without = np.ones(len(last), bool)
    without[windows.series] = False
    others = grid.keep(every_origin(np.ones_like(last), np.where(without, last, 0)))
    ends = np.flatnonzero(np.diff(others.series, append=-1))
    both = [np.concatenate([column, more[ends]]) for column, more in zip(windows, others, strict=True)]
    order = np.argsort(both[0], kind="stable")
    return Windows(both[0][order], both[1][order])


def counting(panel: Panel, windows: Windows, *, h: int) -> Bool[np.ndarray, " W"]:
    """Tells which windows have a target that counts in the loss: an observed one, in a row of a weight above 0.

    Args:
        panel: the data.
        windows: the windows, with all targets inside their series.
        h: horizon H, in rows.
    """
    rows = ~np.isnan(panel.y).all(axis=1)
    if panel.weight.shape[1]:
        rows &= panel.weight[:, 0] > 0
    return _with_target_in(rows, panel, windows, h)


def _with_target_in(rows: Bool[np.ndarray, " R"], panel: Panel, windows: Windows, h: int) -> Bool[np.ndarray, " W"]:
    """Tells which windows have at least one of some rows among their targets."""
    before = np.concatenate([[0], np.cumsum(rows)])
    begin = panel.offsets[windows.series] + windows.origin
    return before[begin + h] > before[begin]


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
    counts = np.maximum(0, (last - first) // step + 1)
    series = np.repeat(np.arange(len(first)), counts)
    index = np.arange(len(series)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Windows(series.astype(np.int32), (first[series] + index * step).astype(np.int32))
