"""The scales of MASE of all series, and which series have none."""

import warnings

import numpy as np
from jaxtyping import Float, Int

from lstmjax.data.columns import columns_of_series
from lstmjax.data.panel import Panel
from lstmjax.data.table import DataWarning, first_few
from lstmjax.evaluation.metrics import seasonal_scale


def seasonal_scales(
    panel: Panel, rows: Int[np.ndarray, " N"], season_length: int, *, forecast: Int[np.ndarray, " W"]
) -> Float[np.ndarray, "N C"]:
    """The scales of MASE of all series, from their first rows.

    Args:
        panel: the data.
        rows: (N,) how many rows of each series count.
        season_length: rows in one season.
        forecast: the series that are forecast: only these are warned of.

    Warns:
        DataWarning: a series has no scale, so that a mean of MASE leaves it out; it is named.
    """
    scales = np.full(len(rows) * panel.y.shape[1], np.nan)
    for cells, columns in columns_of_series(panel.y, panel.offsets, rows, observed=False):
        scales[cells] = seasonal_scale(columns, season_length)
    scales = scales.reshape(len(rows), -1)
    unscaled = np.zeros(len(rows), bool)
    unscaled[forecast] = True
    left_out = []
    for series, channel in np.argwhere(unscaled[:, None] & ~(scales > 0)).tolist():
        why = "repeats itself" if scales[series, channel] == 0 else "has no two rows that far apart"
        left_out.append(f"{panel.ids[series]!r} ({panel.schema.channels[channel]!r} {why})")
    if left_out:
        warnings.warn(
            f"MASE leaves out the series that it cannot scale by the mean change over {season_length} rows: "
            f"{first_few(left_out)}",
            DataWarning,
            stacklevel=2,
        )
    return scales
