"""Makes tables of forecasts from arrays, with the user's own column names."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Num

from lstmjax.data.panel import Panel
from lstmjax.data.windows import Windows


def forecast_frame(
    panel: Panel, windows: Windows, columns: Mapping[str, Num[np.ndarray, "W H C"]], *, cutoff: bool
) -> pd.DataFrame:
    """Makes a table with one row per window, target and horizon step.

    Args:
        panel: the data of the windows.
        windows: W windows.
        columns: values by column name, each of shape (W, H, C), in the table's units.
        cutoff: whether to add the column ``cutoff``: the time of the last row before each window's horizon.

    Returns:
        A table with the user's id column, ``target`` if there are several, the user's time column, ``cutoff`` if
        wanted, and ``columns``, in this order; sorted by window, then target, then step.
    """
    schema = panel.schema
    count, h, channels = next(iter(columns.values())).shape
    series = np.repeat(windows.series.astype(np.int64), channels * h)
    origin = np.repeat(windows.origin.astype(np.int64), channels * h)
    step = np.tile(np.arange(h), count * channels)
    frame = pd.DataFrame({schema.id_col: panel.id_column(series)})
    if channels > 1:
        frame["target"] = np.tile(np.repeat(np.array(schema.channels, object), h), count)
    frame[schema.time_col] = panel.timestamps(series, origin + step)
    if cutoff:
        frame["cutoff"] = panel.timestamps(series, origin - 1)
    # (W, H, C) -> (W, C, H) -> rows
    flat = {name: values.transpose(0, 2, 1).reshape(-1) for name, values in columns.items()}
    return pd.concat([frame, pd.DataFrame(flat)], axis=1)  # at once: many quantiles are many columns


def truth(panel: Panel, windows: Windows, h: int) -> Float[np.ndarray, "W H C"]:
    """Returns the targets of windows in the table's units, (W, H, C); NaN where missing or after the series' end."""
    rows = windows.origin.astype(np.int64)[:, None] + np.arange(h)  # (W, H)
    inside = rows < panel.lengths[windows.series][:, None]
    flat = np.minimum(panel.offsets[windows.series][:, None] + rows, len(panel.y) - 1)
    return np.where(inside[..., None], panel.y[flat], np.nan)
