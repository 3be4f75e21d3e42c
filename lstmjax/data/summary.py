"""What was understood of a table: rows, series, times, gaps, roles of the columns, and what will be trained on."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from lstmjax.config import DataConfig
from lstmjax.data.build import build, panel_from_table
from lstmjax.data.calendar import time_feature_names
from lstmjax.data.columns import columns_of_series
from lstmjax.data.empty_cells import empty_cells
from lstmjax.data.frame_kinds import as_pandas
from lstmjax.data.gaps import missing_before
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.rows import Known, Rows, covariates_of
from lstmjax.data.source import Source, load_source, with_dataset_settings
from lstmjax.data.table import DataWarning
from lstmjax.errors import ConfigError, one_line

_YEARS = (1900, 2100)
_LISTED = 10


def header(prepared: Prepared) -> str:
    """Returns rows, series, frequency, times and windows in one line."""
    panel, counts = prepared.panel, window_counts(prepared)
    first, last = span(panel)
    windows = ", ".join(f"{count} {name}" for name, count in counts.items())
    return (
        f"{int(panel.observed.sum())} rows, {len(panel.ids)} series, every {prepared.config.freq}, {first} to {last}; "
        f"windows: {windows}"
    )


def window_counts(prepared: Prepared) -> dict[str, int]:
    """Counts the windows to train on, to validate, to calibrate on (where there are any) and to test."""
    counts = {
        "training": len(prepared.train.series),
        "validation": len(prepared.validation.series),
        "calibration": len(prepared.calibration.series),
        "test": len(prepared.test.series),
    }
    return {name: count for name, count in counts.items() if count or name != "calibration"}


def span(panel: Panel) -> tuple[str, str]:
    """Returns the times of the first row and of the last observation of all series, as text."""
    series = np.flatnonzero(panel.observed)
    first = panel.timestamps(series, np.zeros_like(series)).min()
    last = panel.timestamps(series, panel.observed[series] - 1).max()
    return str(first), str(last)


def summarize(
    table: Any, config: DataConfig, *, source: str = "the table", futr: Any = None, series_id: Any = "series"
) -> dict[str, Any]:
    """Reads a table as ``lstmjax train`` does, and says what was understood; nothing is trained or written.

    Args:
        table: the table, as `lstmjax.data.build.panel_from_table` takes it.
        config: the meaning of its columns.
        source: its name.
        futr: known-future covariates beyond its last observed row.
        series_id: the identifier of its only series, where it has no id column.

    Returns:
        JSON-able: ``table, rows, series, ids, layout, freq, time_zone, time_format, first, last, missing_steps,
        empty_cells, rows_without_target_at_the_end, constant_series, short_series, roles, unused_columns,
        suspicious_times, duplicated_times, parts, windows, input_size, h, season_length, origins, warnings``.

    Raises:
        DataError: the table cannot be used; of two rows at one time, both are named.
        ConfigError: an option does not fit.
    """
    frame = as_pandas(table, source)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataWarning)
        asked: dict[str, Any] = {"source": source, "futr": futr, "series_id": series_id}
        panel, rows, at = build(frame, config, freq=None, known=Known(), **asked)
    with warnings.catch_warnings(record=True) as also_told:
        warnings.simplefilter("always", DataWarning)
        prepared = prepare(panel_from_table(frame, config, **asked), config, with_test=True)
    said = [str(warning.message) for warning in [*told, *also_told] if issubclass(warning.category, DataWarning)]
    first, last = span(panel)
    schema, resolved = panel.schema, prepared.config
    trained = np.unique(prepared.train.series)
    return {
        "table": source,
        "rows": len(frame),
        "series": len(panel.ids),
        "ids": panel.ids[:_LISTED].tolist(),
        "layout": config.layout,
        "freq": schema.freq,
        "time_zone": schema.time_zone,
        "time_format": panel.form.time_format,
        "first": first,
        "last": last,
        **_faults(panel, rows, at, config),
        "constant_series": _constant(panel),
        "short_series": panel.ids[np.setdiff1d(np.arange(len(panel.ids)), trained)].tolist(),
        **_roles(frame, panel, config),
        "parts": _parts(prepared),
        "windows": window_counts(prepared),
        "input_size": resolved.input_size,
        "h": resolved.h,
        "season_length": resolved.season_length,
        "origins": resolved.origins,
        "warnings": list(dict.fromkeys(said)),
    }


def _faults(panel: Panel, rows: Rows, at: Int64[np.ndarray, " R"], config: DataConfig) -> dict[str, Any]:
    """Counts gaps, empty cells and rows at the end without a target, and lists times that may be wrong."""
    own = rows.table == 0
    return {
        "missing_steps": int(missing_before(rows, at).sum()),
        "empty_cells": empty_cells(panel, rows, at, config),
        "rows_without_target_at_the_end": int((own & (at >= panel.observed[rows.series])).sum()),
        "duplicated_times": 0,  # else the table was refused
        "suspicious_times": _suspicious(panel),
    }


def _suspicious(panel: Panel) -> list[str]:
    """Lists series whose first or last times are before 1900, on 1 January 1970, or after 2100."""
    if panel.schema.frequency.integer:
        return []
    series = np.arange(len(panel.ids))
    found = []
    for rows in (np.zeros_like(series), np.maximum(panel.lengths - 1, 0)):
        times = pd.DatetimeIndex(panel.timestamps(series, rows))
        wrong = (times.year < _YEARS[0]) | (times.year > _YEARS[1]) | (times.strftime("%Y-%m-%d") == "1970-01-01")
        found += [f"series {panel.ids[number]!r}: {times[number]}" for number in np.flatnonzero(wrong).tolist()]
    return list(dict.fromkeys(found))[:_LISTED]


def _constant(panel: Panel) -> list[str]:
    """Lists the series one of whose targets has but one value."""
    found = np.zeros((len(panel.ids), panel.y.shape[1]), bool)
    for cells, values in columns_of_series(panel.y, panel.offsets, panel.observed):
        found.reshape(-1)[cells] = values.min(axis=0) == values.max(axis=0)
    return panel.ids[found.any(axis=1)].tolist()


def _roles(frame: pd.DataFrame, panel: Panel, config: DataConfig) -> dict[str, Any]:
    """Says what each column is taken for."""
    schema = panel.schema
    roles: dict[str, Any] = {
        "id": config.id_col if panel.form.id_dtype is not None and config.layout == "long" else None,
        "time": config.time_col,
        "target": list(config.target_cols),
        "known ahead": list(config.futr_exog),
        "known up to the cut-off": list(config.hist_exog),
        "static": list(config.stat_exog),
        "weight": config.weight_col,
        "categories": {name: texts[:_LISTED] for name, texts in schema.categories.items()},
        "from the times": time_feature_names(schema),
    }
    used = {config.id_col, config.time_col, config.weight_col, *config.target_cols, *covariates_of(config)}
    return {"roles": roles, "unused_columns": [str(name) for name in frame.columns if str(name) not in used]}


def _parts(prepared: Prepared) -> dict[str, Any]:
    """Returns rows and times of what is trained on, validated, calibrated on (where anything is) and tested."""
    panel, split = prepared.panel, prepared.split
    begin, parts = np.zeros_like(split.train_end), {}
    for name, end in zip(("training", "validation", "calibration", "test"), split, strict=True):
        some = np.flatnonzero(end > begin)
        if name == "calibration" and not len(some):
            continue
        part: dict[str, Any] = {"rows": int((end - begin).sum()), "first": None, "last": None}
        if len(some):
            part["first"] = str(panel.timestamps(some, begin[some]).min())
            part["last"] = str(panel.timestamps(some, end[some] - 1).max())
        parts[name] = part
        begin = end
    return parts


def as_text(summary: dict[str, Any]) -> str:
    """Writes a summary for people, one line per fact, to fit on one screen."""

    def some(items: list[str]) -> str:
        return (
            ", ".join(one_line(item, limit=60) for item in items[:5])
            + (f" and {len(items) - 5} more" if len(items) > 5 else "")
            if items
            else "none"
        )

    roles, parts, windows = summary["roles"], summary["parts"], summary["windows"]
    known = {name: some(columns) for name, columns in roles.items() if isinstance(columns, list) and columns}
    categories = {name: f"{some(texts)}" for name, texts in roles["categories"].items()}
    zone = summary["time_zone"] or ("none" if not summary["freq"].isdecimal() else "none, the times are whole numbers")
    lines = [
        ("table", summary["table"]),
        ("rows", f"{summary['rows']}"),
        ("series", f"{summary['series']} ({some(summary['ids'][: summary['series']])})"),
        ("times", f"column {roles['time']!r}, {summary['first']} to {summary['last']}, every {summary['freq']}"),
        ("time zone", zone),
        ("time format", summary["time_format"] or "as the table has it"),
        ("missing time steps", summary["missing_steps"]),
        ("duplicated times", summary["duplicated_times"]),
        ("suspicious times", some(summary["suspicious_times"])),
        ("empty cells", some([f"{count} in {name!r}" for name, count in summary["empty_cells"].items()])),
        ("empty target at the end", f"{summary['rows_without_target_at_the_end']} rows"),
        ("constant series", some(summary["constant_series"])),
        ("series too short to train on", some(summary["short_series"])),
        *known.items(),
        *((f"categories of {name}", texts) for name, texts in categories.items()),
        ("unused columns", some(summary["unused_columns"])),
        *(
            (
                name,
                f"{part['rows']} rows, {windows[name]} windows"
                + (f", {part['first']} to {part['last']}" * bool(part["rows"])),
            )
            for name, part in parts.items()
        ),
        (
            "window",
            f"{summary['input_size']} rows looked back on, {summary['h']} forecast; season {summary['season_length']}"
            + ("" if summary["origins"] == "every" else f"; the first forecast row: {summary['origins']}"),
        ),
        *(("warning", text) for text in summary["warnings"]),
    ]
    shown = [(one_line(name, limit=60), one_line(value)) for name, value in lines]  # names may hold line breaks
    width = max(len(name) for name, _ in shown) + 2
    return "".join(f"{name:<{width}}{value}\n" for name, value in shown)


def summarize_source(config: DataConfig) -> dict[str, Any]:
    """`summarize` of the table that a config names: a file or a named data set."""
    config = with_dataset_settings(config)
    source = load_source(config)
    if not isinstance(source, Source):
        raise ConfigError(f"data.store is {config.store!r}: lstmjax pack checked its table; give a table by data.path")
    return summarize(source.table, config, source=source.name, futr=source.futr, series_id=source.series_id)
