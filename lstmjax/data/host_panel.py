"""A panel that stays on the host: windows are scaled when they are cut out of it, so that it may be larger than memory.

`lstmjax.data.scaling.scale` makes the other kind, `PanelArrays`: scaled as a whole, for the device.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Float

from lstmjax import parallel
from lstmjax.config import FeedName
from lstmjax.data.calendar import time_feature_names
from lstmjax.data.categories import Categories, encoded, encoded_names
from lstmjax.data.panel import BY_ROW, Panel, Schema
from lstmjax.data.scaling import Scaling, scale, scaled_rows
from lstmjax.data.transform import TRANSFORMS, check_domain
from lstmjax.data.windows import PanelArrays, Windows

COMFORTABLE = 64
"""A panel fits a device comfortably where it takes at most this part of the free memory, one over so many: beside it
are the weights, the batches, and on CPU the copies of other devices."""


@dataclasses.dataclass(frozen=True, eq=False)
class HostPanel:
    """A panel and the statistics by which its windows are scaled.

    Attributes:
        panel: the data; its arrays may be memory maps.
        scaling: the statistics, in the order of its series.
    """

    panel: Panel
    scaling: Scaling

    def width(self, group: str) -> int:
        """The columns of the group "y", "hist", "futr" or "stat" of a window."""
        schema = self.panel.schema
        names = {"y": schema.channels, "hist": schema.hist_exog, "futr": schema.futr_exog, "stat": schema.stat_exog}
        made = time_feature_names(schema) if group == "futr" else []
        return len(encoded_names(names[group], self.scaling.categories)) + len(made)

    @functools.cached_property
    def _stat(self) -> Float[np.ndarray, "N Fs"]:
        empty: dict[str, Any] = {name: getattr(self.panel, name)[:0] for name in BY_ROW}
        stat = encoded(dataclasses.replace(self.panel, **empty), self.scaling.categories).stat
        return ((stat - self.scaling.stat_center) / self.scaling.stat_scale).astype(np.float32)

    @functools.cached_property
    def _by_row(self) -> tuple[Schema, Categories]:
        """The meaning of the columns that have a value per row, and their categories."""
        schema = self.panel.schema
        categories = {name: texts for name, texts in schema.categories.items() if name not in schema.stat_exog}
        own = {name: texts for name, texts in self.scaling.categories.items() if name not in schema.stat_exog}
        return dataclasses.replace(schema, stat_exog=(), categories=categories), own

    def part(self, windows: Windows, *, input_size: int, h: int) -> PanelArrays:
        """Cuts windows out of the panel: a small scaled panel, each series of which is one window.

        What `lstmjax.data.windows.gather` cuts out of it at row ``input_size`` of each series has the bytes of what it
        cuts out of the whole scaled panel.

        Args:
            windows: the windows, (B,).
            input_size: lookback L, in rows.
            h: horizon H, in rows.

        Returns:
            NumPy arrays, of B (L + H) rows.
        """
        panel, series = self.panel, np.asarray(windows.series, np.int64)
        steps = np.arange(-input_size, h)
        row = np.asarray(windows.origin, np.int64)[:, None] + steps  # (B, L+H)
        lengths = panel.offsets[series + 1] - panel.offsets[series]
        outside = (row < 0) | (row >= lengths[:, None])
        row = np.clip(row, 0, np.maximum(lengths - 1, 0)[:, None])
        flat = (panel.offsets[series][:, None] + row).reshape(-1)
        taken: dict[str, Any] = {name: np.asarray(getattr(panel, name))[flat] for name in BY_ROW}
        taken["y"] = TRANSFORMS[self.scaling.transform].forward(taken["y"])
        schema, categories = self._by_row
        taken |= {"schema": schema, "stat": np.empty((len(panel.ids), 0))}
        rows = encoded(dataclasses.replace(panel, **taken), categories)
        *columns, weight = scaled_rows(rows, self.scaling, np.repeat(series, len(steps)), row.reshape(-1))
        for values, mask in zip(columns[::2], columns[1::2], strict=True):
            values[outside.reshape(-1)], mask[outside.reshape(-1)] = 0.0, False
        y, y_mask, hist, hist_mask, futr, futr_mask = columns
        return PanelArrays(
            *(y, y_mask, hist, hist_mask, futr, futr_mask),
            stat=self._stat[series],
            offsets=(np.arange(len(series) + 1) * len(steps)).astype(np.int32),
            series=self.scaling.series.astype(np.int32)[series],
            weight=weight,
        )


ScaledPanel = PanelArrays | HostPanel
"""A panel in scaled units: on the device, or where windows are scaled when they are cut out of it."""


def scaled_panel(panel: Panel, scaling: Scaling, feed: FeedName = "auto") -> ScaledPanel:
    """Scales a panel for the device, or when windows are cut out of it on the host.

    Args:
        panel: the data.
        scaling: the statistics.
        feed: ``train.feed``. auto: on the host where the panel is a memory map that does not fit the device
            comfortably.

    Raises:
        DataError: a target is not positive and the transform is log.
    """
    if feed == "auto":
        feed = "host" if isinstance(panel.y, np.memmap) and not _fits(panel, scaling) else "device"
    if feed == "device":
        return scale(panel, scaling)
    check_domain(panel, scaling.transform)
    return HostPanel(panel, scaling)


def feed_of(arrays: ScaledPanel) -> FeedName:
    """The feed of a scaled panel: device or host."""
    return "host" if isinstance(arrays, HostPanel) else "device"


def _fits(panel: Panel, scaling: Scaling) -> bool:
    host = HostPanel(panel, scaling)
    cells = len(panel.y) * sum(host.width(group) for group in ("y", "hist", "futr"))
    available = parallel.available_bytes()
    return available is None or cells * 5 * COMFORTABLE <= available  # float32 and a mask
