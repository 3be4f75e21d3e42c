"""Splits every series into training, validation, calibration and test rows, in this order of time."""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int64

from lstmjax.config import DataConfig
from lstmjax.data.panel import Panel
from lstmjax.data.time_text import UnclearTimesError, read_format, read_text
from lstmjax.data.zones import zone
from lstmjax.errors import ConfigError, DataError


class Split(NamedTuple):
    """Row numbers within each series: where training, validation, calibration and test rows end, in this order.

    A series without training rows has four zeros: it is neither trained on nor evaluated, only forecast.
    """

    train_end: Int64[np.ndarray, " N"]
    val_end: Int64[np.ndarray, " N"]
    calibration_end: Int64[np.ndarray, " N"]
    test_end: Int64[np.ndarray, " N"]

    @property
    def sizes(self) -> dict[str, int]:
        """The rows held out by name of the part, of the longest series in each."""
        ends = np.diff(np.stack(self), axis=0).max(axis=1, initial=0).tolist()
        return dict(zip(("validation", "calibration", "test"), ends, strict=True))


def split_panel(panel: Panel, config: DataConfig, *, with_test: bool, period: int = 1) -> tuple[Split, int, int]:
    """Splits every series in four, by numbers of rows at its end or by timestamps.

    Args:
        panel: the data; rows beyond the last observation belong to no part.
        config: ``val_size``, ``calibration_size`` and ``test_size``, or ``train_end``, ``val_end`` and
            ``calibration_end``. Sizes of validation and test that are not given are a tenth and a fifth of the median
            series, at least as many rows as always hold a window.
        with_test: False leaves the test part empty unless ``config.test_size`` is given.
        period: rows between the origins of two windows: see `lstmjax.data.grid.Grid`.

    Returns:
        The split, and the sizes of the validation and the test part, in rows (the largest of any series).

    Raises:
        ConfigError: a size above 0 but below ``h``, so that it holds no window; a timestamp that cannot be read.
        DataError: the sizes leave no row of any series to train on.
    """
    if config.train_end is not None:
        split = _by_time(panel, config)
    else:
        split = _by_size(panel, config, with_test, config.h + period - 1)
    return split, split.sizes["validation"], split.sizes["test"]


def _by_size(panel: Panel, config: DataConfig, with_test: bool, least: int) -> Split:
    rows = int(np.median(panel.observed))
    test_default = max(least, rows // 5) if with_test else 0
    sizes = {
        "val_size": max(least, rows // 10) if config.val_size is None else config.val_size,
        "calibration_size": config.calibration_size,
        "test_size": test_default if config.test_size is None else config.test_size,
    }
    for name, size in sizes.items():
        if 0 < size < config.h:
            raise ConfigError(f"data.{name} is {size}: expected 0, or at least data.h ({config.h}), a whole window")
    longest = int(panel.observed.max())
    if sum(sizes.values()) >= longest:
        named = [f"data.{name} ({size})" for name, size in sizes.items() if size or name != "calibration_size"]
        raise DataError(
            f"{', '.join(named[:-1])} and {named[-1]} leave nothing to train on: the longest series has {longest} rows"
        )
    val, calibration, test = sizes.values()
    end = panel.observed
    return _without_untrained(end - test - calibration - val, end - test - calibration, end - test, end)


def _without_untrained(*ends: np.ndarray) -> Split:
    used = ends[0] > 0
    return Split(*(np.where(used, end, 0).astype(np.int64) for end in ends))


def _by_time(panel: Panel, config: DataConfig) -> Split:
    names = [name for name in ("train_end", "val_end", "calibration_end") if getattr(config, name) is not None]
    limits, counted = [_time(config, name, panel) for name in names], []
    for _, some in panel.parts():
        series, row = some.rows
        observed = row < some.observed[series]
        series, times = series[observed], some.timestamps(series[observed], row[observed])
        counted.append([np.bincount(series[times <= limit], minlength=len(some.ids)) for limit in limits])
    ends = [np.concatenate(each) for each in zip(*counted, strict=True)]
    for (one, before), (other, after) in itertools.pairwise(zip(names, ends, strict=True)):
        if (before > after).any():
            raise ConfigError(f"data.{one} ({getattr(config, one)}) is after data.{other} ({getattr(config, other)})")
    if config.calibration_end is None:
        ends.append(ends[-1])
    held = np.diff([*ends, panel.observed], axis=0).max(axis=1).tolist()
    for part, size in zip(("validation", "calibration", "the test"), held, strict=True):
        if 0 < size < config.h:
            raise ConfigError(
                f"{', '.join(f'data.{name}' for name in names[:-1])} and data.{names[-1]} leave at most {size} rows "
                f"for {part}: expected none, or at least data.h ({config.h}), a whole window"
            )
    return _without_untrained(*ends, panel.observed)


def _time(config: DataConfig, name: str, panel: Panel) -> Any:
    """Reads a timestamp option in the form of the panel's times: a `pandas.Timestamp`, or a whole number."""
    text = getattr(config, name)
    schema = panel.schema
    if schema.frequency.integer:
        try:
            return int(text)
        except ValueError:
            raise ConfigError(
                f"data.{name} is {text!r}: expected a whole number, as in column {schema.time_col!r}"
            ) from None
    time = _timestamp(text, panel.form.time_format, f"data.{name} is {text!r}")
    if time.tzinfo is not None and schema.time_zone is None:
        raise ConfigError(f"data.{name} is {text!r}: leave its time zone out, column {schema.time_col!r} has none")
    if time.tzinfo is not None or schema.time_zone is None:
        return time
    localized = time.tz_localize(zone(schema.time_zone), ambiguous="NaT", nonexistent="NaT")
    if localized is pd.NaT:
        raise ConfigError(
            f"data.{name} is {text!r}, which clocks in {schema.time_zone} show twice or never: add the offset from "
            "UTC, as in 2024-10-27 02:30+01:00"
        )
    return localized


def _timestamp(text: str, form: str | None, option: str) -> pd.Timestamp:
    """Reads an option as the column of times is read: by its format, or where it can mean one thing only."""
    cells = np.array([text.strip()], object)
    reading = None
    try:
        if form is not None and "%" in form:
            reading = read_format(cells, form)
        if cells[0] and (reading is None or reading.times.isna().any()):
            reading = read_text(cells)
    except UnclearTimesError as unclear:
        raise ConfigError(f"{option} ({unclear}): write it as 2024-01-31 00:30:00") from None
    except ValueError:
        reading = None
    if reading is None or reading.times.isna().any():
        raise ConfigError(f"{option}: expected a timestamp such as 2024-01-31 00:30:00")
    return reading.times[0]
