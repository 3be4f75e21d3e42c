"""Splits every series into training, validation and test rows, in this order of time."""

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
    """Row numbers within each series: training up to train_end, validation up to val_end, test up to test_end.

    A series without training rows has three zeros: it is neither trained on nor evaluated, only forecast.
    """

    train_end: Int64[np.ndarray, " N"]
    val_end: Int64[np.ndarray, " N"]
    test_end: Int64[np.ndarray, " N"]


def split_panel(panel: Panel, config: DataConfig, *, with_test: bool) -> tuple[Split, int, int]:
    """Splits every series in three, by numbers of rows at its end or by timestamps.

    Args:
        panel: the data; rows beyond the last observation belong to no part.
        config: ``val_size`` and ``test_size``, or ``train_end`` and ``val_end``. Sizes not given are a tenth and a
            fifth of the median series, at least ``h``.
        with_test: False leaves the test part empty unless ``config.test_size`` is given.

    Returns:
        The split, and the sizes of the validation and the test part, in rows (the largest of any series).

    Raises:
        ConfigError: a size above 0 but below ``h``, so that it holds no window; a timestamp that cannot be read.
        DataError: the sizes leave no row of any series to train on.
    """
    split = _by_time(panel, config) if config.train_end is not None else _by_size(panel, config, with_test)
    sizes = [int(np.max(part)) for part in (split.val_end - split.train_end, split.test_end - split.val_end)]
    return split, sizes[0], sizes[1]


def _by_size(panel: Panel, config: DataConfig, with_test: bool) -> Split:
    rows = int(np.median(panel.observed))
    val_size = max(config.h, rows // 10) if config.val_size is None else config.val_size
    test_default = max(config.h, rows // 5) if with_test else 0
    test_size = test_default if config.test_size is None else config.test_size
    for name, size in (("val_size", val_size), ("test_size", test_size)):
        if 0 < size < config.h:
            raise ConfigError(f"data.{name} is {size}: expected 0, or at least data.h ({config.h}), a whole window")
    longest = int(panel.observed.max())
    if val_size + test_size >= longest:
        raise DataError(
            f"data.val_size ({val_size}) and data.test_size ({test_size}) leave nothing to train on: "
            f"the longest series has {longest} rows"
        )
    return _without_untrained(panel.observed - test_size - val_size, panel.observed - test_size, panel.observed)


def _without_untrained(train_end: np.ndarray, val_end: np.ndarray, test_end: np.ndarray) -> Split:
    used = train_end > 0
    return Split(*(np.where(used, end, 0).astype(np.int64) for end in (train_end, val_end, test_end)))


def _by_time(panel: Panel, config: DataConfig) -> Split:
    series, row = panel.rows
    observed = row < panel.observed[series]
    series, times = series[observed], panel.timestamps(series[observed], row[observed])
    train_end, val_end = (
        np.bincount(series[times <= _time(config, name, panel)], minlength=len(panel.ids))
        for name in ("train_end", "val_end")
    )
    parts = {"validation": val_end - train_end, "the test": panel.observed - val_end}
    if (parts["validation"] < 0).any():
        raise ConfigError(f"data.train_end ({config.train_end}) is after data.val_end ({config.val_end})")
    for part, sizes in parts.items():
        if 0 < sizes.max() < config.h:
            raise ConfigError(
                f"data.train_end and data.val_end leave at most {sizes.max()} rows for {part}: expected none, or at "
                f"least data.h ({config.h}), a whole window"
            )
    return _without_untrained(train_end, val_end, panel.observed)


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
