"""What is refused when targets are scaled, and what is warned of: constant series, a bound, digits that are lost."""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from lstmjax.data.columns import columns_of_series
from lstmjax.data.panel import Panel
from lstmjax.data.rounding import constant
from lstmjax.data.table import DataWarning, first_few
from lstmjax.errors import ConfigError, DataError

Rows = Int[np.ndarray, " N"]
"""How many of each series' rows count, from its first on."""
Statistic = Float[np.ndarray, "N C"]

_ROUNDED = 1e-3
"""Part of a series' deviation that rounding to float32 may take before it is warned of."""


def check_statistics(
    ids: Shaped[np.ndarray, " M"] | None,
    columns: Sequence[str],
    center: Float[np.ndarray, "M F"],
    spread: Float[np.ndarray, "M F"],
) -> None:
    """Requires finite centers and positive scales: the square of a large or small value may exceed float64.

    Args:
        ids: the series of each row of the statistics; None where all share one.
        columns: the name of each column.
        center: the centers.
        spread: the scales.

    Raises:
        DataError: names the first that is not.
    """
    useless = np.argwhere(~(np.isfinite(center) & np.isfinite(spread) & (spread > 0)))
    if len(useless):
        row, column = useless[0]
        of = "" if ids is None else f"series {ids[row]!r}, "
        raise DataError(
            f"{of}column {columns[column]!r} is scaled by a center of {center[row, column]:g} and a scale "
            f"of {spread[row, column]:g}: give it in another unit, its values are too large or differ too little"
        )


def _warn(panel: Panel, found: dict[int, str], text: str) -> None:
    """Warns of series and targets, each with what was found; ``text`` says of what, and where they stand in it."""
    if found:
        channels = panel.schema.channels
        names = [
            f"{panel.ids[cell // len(channels)]!r} ({channels[cell % len(channels)]!r} {found[cell]})"
            for cell in sorted(found)
        ]
        warnings.warn(text.format(first_few(names)), DataWarning, stacklevel=5)


def warn_constant(panel: Panel, rows: Rows) -> None:
    """Warns of series that are constant over their first rows, but for rounding."""
    found = {}
    for cells, values in columns_of_series(panel.y, panel.offsets, rows):
        for at in np.flatnonzero(constant(values)).tolist():
            found[int(cells[at])] = f"is always {values[0, at]:g}"
    _warn(panel, found, "constant over the training rows: {}")


def warn_clipped(panel: Panel, clip_min: float | None) -> None:
    """Warns where values were observed that no forecast can have."""
    if clip_min is None or not (panel.y < clip_min).any():
        return
    found = {}
    for cells, values in columns_of_series(panel.y, panel.offsets, panel.lengths):
        lowest = values.min(axis=0)
        for at in np.flatnonzero(lowest < clip_min).tolist():
            found[int(cells[at])] = f"is {lowest[at]:g} at its lowest"
    _warn(panel, found, f"data.clip_min is {clip_min:g}, which no forecast is below, but observed values are: {{}}")


def require_counts(panel: Panel, scaler: str, transform: str) -> None:
    """Requires targets that are counts, in their own units: for a head of counts.

    Args:
        panel: the data.
        scaler: how the targets are scaled.
        transform: how they are transformed.

    Raises:
        ConfigError: they are scaled or transformed.
        DataError: a target is negative or has a fraction; its series, column and time are named.
    """
    for name, value in (("data.scaler", scaler), ("data.transform", transform)):
        if value != "none":
            raise ConfigError(f"{name} is {value!r}, and the head forecasts counts, as they are: give none")
    refused = np.argwhere((panel.y < 0) | (panel.y != np.floor(panel.y)) & ~np.isnan(panel.y))
    if len(refused):
        row, column = refused[0]
        series, within = (numbers[row] for numbers in panel.rows)
        raise DataError(
            f"series {panel.ids[series]!r}, column {panel.schema.channels[column]!r} is {panel.y[row, column]:g} at "
            f"{panel.timestamp(series, within)}: the head forecasts counts, whole numbers from 0 on; choose another "
            "model.head, such as quantile"
        )


def warn_rounded(panel: Panel, rows: Rows, center: Statistic, spread: Statistic, scaler: str) -> None:
    """Warns where float32, in which a network computes, rounds away much of what the values of a series differ by.

    Args:
        panel: the data; its targets are transformed.
        rows: (N,) rows of each series from which the statistics come.
        center: (N, C) of the targets.
        spread: (N, C) of the targets.
        scaler: whose statistics they are.
    """
    found = {}
    for cells, values in columns_of_series(panel.y, panel.offsets, rows):
        scaled = (values - center.reshape(-1)[cells]) / spread.reshape(-1)[cells]
        lost = np.abs(scaled - scaled.astype(np.float32)).max(axis=0) > _ROUNDED * scaled.std(axis=0)
        for at in np.flatnonzero(lost & ~constant(values)).tolist():
            step = float(np.spacing(np.abs(scaled[:, at]).max().astype(np.float32))) * spread.reshape(-1)[cells[at]]
            found[int(cells[at])] = f"in steps of {step:.3g}, with a deviation of {values[:, at].std():.3g}"
    hint = "data.scaler_scope series" if scaler != "none" else "data.scaler standard"
    _warn(panel, found, f"float32, in which the network computes, rounds these series: {{}}; {hint} keeps what is lost")
