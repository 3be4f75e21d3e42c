"""The cutoffs of a backtest, and the data that a model may see before each of them."""

import dataclasses

import numpy as np
from jaxtyping import Int64

from lstmjax.config import DataConfig
from lstmjax.data.categories import Categories
from lstmjax.data.grid import Grid
from lstmjax.data.origins import every_origin
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.scaling import scale
from lstmjax.data.split import Split, split_panel
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError


def cutoff_rows(
    panel: Panel, config: DataConfig, *, n_windows: int, step_size: int | None = None
) -> Int64[np.ndarray, "K N"]:
    """The first forecast row of each window of a backtest, counted from the end of each series of its own.

    The last horizon ends at the last observed row, or before it where ``data.origins`` says where forecasts begin.

    Args:
        panel: the data.
        config: ``h`` and ``origins``.
        n_windows: K windows per series; a series that is too short for all of them has the last ones.
        step_size: rows between two windows; a multiple of the rows between two origins. Default: ``h``, or the next
            such multiple.

    Returns:
        (K, N) the row, in order of time; 0 where a series has no such window, as at least one row is looked back upon.

    Raises:
        ConfigError: the step size is not on the grid of ``data.origins``.
        DataError: no series is long enough for the first window.
    """
    grid = Grid.of(panel, config)
    grid.check()
    step = -(-config.h // grid.period) * grid.period if step_size is None else step_size
    if step % grid.period:
        raise ConfigError(
            f"step_size is {step}, and data.origins {config.origins} has {grid.period} rows between two origins: give "
            f"a multiple of {grid.period}"
        )
    origins = grid.keep(every_origin(np.ones_like(panel.observed), panel.observed - config.h))
    counts = np.bincount(origins.series, minlength=len(panel.ids))
    back = step // grid.period * np.arange(n_windows - 1, -1, -1)[:, None]  # (K, 1)
    place = counts - 1 - back  # (K, N) among the origins of the series
    if not (place[0] >= 0).any():
        most = int((counts.max(initial=0) - 1) // (step // grid.period)) + 1
        raise DataError(
            f"n_windows is {n_windows}, with {step} rows between two windows: the longest series has "
            f"{panel.observed.max(initial=0)} rows, room for {most}; give fewer windows, or a smaller step_size"
        )
    flat = np.append(np.asarray(origins.origin, np.int64), 0)
    first = np.cumsum(counts) - counts
    return np.where(place >= 0, flat[np.where(place >= 0, first + place, -1)], 0)


def windows_at(rows: Int64[np.ndarray, "K N"]) -> tuple[Windows, Int64[np.ndarray, " W"]]:
    """The windows of a backtest, by series, then time; and (W,) which of the K cutoffs each of them has.

    Args:
        rows: from `cutoff_rows`.
    """
    series, cutoff = np.nonzero(rows.T)
    return Windows(series.astype(np.int32), rows[cutoff, series].astype(np.int32)), cutoff


def before(panel: Panel, rows: Int64[np.ndarray, " N"]) -> Panel:
    """The panel with nothing observed from some rows on: what comes later is at most known ahead.

    Args:
        panel: the data.
        rows: (N,) the first row of each series that is not seen.
    """
    return dataclasses.replace(panel, observed=rows)


def prepare_before(
    panel: Panel,
    rows: Int64[np.ndarray, " N"],
    config: DataConfig,
    *,
    train_size: int | None = None,
    categories: Categories | None = None,
) -> Prepared:
    """Splits and windows the rows before a cutoff, with statistics of the training rows among them.

    The calibration rows and the validation rows are the last ones before the cutoff.

    Args:
        panel: the data.
        rows: (N,) the first row of each series after the cutoff.
        config: how; without test rows.
        train_size: rows of each series to train on, at most: the last ones before those held out, lookbacks included.
            Default: all.
        categories: as in `prepare`.

    Returns:
        As from `prepare`; rows and windows are counted in the whole panel, of which nothing is observed after the
        cutoff.

    Raises:
        ConfigError: as in `prepare`; or ``train_size`` holds no window.
        DataError: as in `prepare`.
    """
    seen = before(panel, rows)
    if train_size is None:
        return prepare(seen, config, with_test=False, categories=categories)
    least = config.input_size + config.h
    if train_size < least:
        raise ConfigError(
            f"train_size is {train_size}: expected at least data.input_size + data.h ({least}), a whole window"
        )
    _, val_size, _ = split_panel(seen, config, with_test=False, period=Grid.of(seen, config).period)
    kept = train_size + val_size + config.calibration_size
    sized = dataclasses.replace(config, val_size=val_size)
    prepared = prepare(seen.tail(kept), sized, with_test=False, categories=categories)
    shift = np.maximum(0, rows - kept)  # (N,) rows that were left out
    ends = (np.where(end > 0, end + shift, 0) for end in prepared.split)

    def moved(windows: Windows) -> Windows:
        series = np.asarray(windows.series)
        return Windows(series, (np.asarray(windows.origin) + shift[series]).astype(np.int32))

    return dataclasses.replace(
        prepared,
        panel=seen,
        split=Split(*ends),
        arrays=scale(seen, prepared.scaling),
        train=moved(prepared.train),
        validation=moved(prepared.validation),
        calibration=moved(prepared.calibration),
        test=moved(prepared.test),
    )
