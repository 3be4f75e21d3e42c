"""The state of a stream: the last rows of every series, in a ring, with the statistics that scale them."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from lstmjax.data.categories import encoded
from lstmjax.data.panel import Panel
from lstmjax.data.scalers import SCALERS, center_and_scale
from lstmjax.data.scaling import Scaling
from lstmjax.data.transform import TRANSFORMS

_TOGETHER = 4096  # new series whose statistics are computed together


@dataclass(frozen=True)
class Sizes:
    """What the shapes of a state depend on."""

    past: int
    """Rows kept up to the newest: the lookback, and what seasonal naive needs."""
    ahead: int
    """Rows of the known future that are kept."""
    targets: int
    hist: int
    futr: int

    @property
    def ring(self) -> int:
        """Rows kept in all."""
        return self.past + self.ahead


class StreamState(NamedTuple):
    """N series, as NumPy arrays on the host. Rows are numbered from each series' first one.

    Row r is in slot ``r % R`` of the ring. The slots hold the rows from ``newest + ahead - R + 1`` to ``newest +
    ahead``; those that did not come are NaN. So the memory of a series is R rows, however long the stream is.
    """

    start: Int[np.ndarray, " N"]
    """int64: the time of row 0 on the frequency's clock."""
    newest: Int[np.ndarray, " N"]
    """int64: the newest row with an observed target; -1: none yet."""
    begun: Int[np.ndarray, " N"]
    """int64: the newest row when the stream began."""
    cells: Float[np.ndarray, "N R F"]
    """float64: targets, historic and known-future covariates in the table's units; NaN where missing."""
    last: Float[np.ndarray, "N C"]
    """The last observed value of each target: the naive forecast."""
    stat: Float[np.ndarray, "N Fs"]
    """Static covariates."""
    center: Float[np.ndarray, "N C"]
    """Of the transformed targets: ``scaled = (value - center) / spread``."""
    spread: Float[np.ndarray, "N C"]
    fixed: Bool[np.ndarray, " N"]
    """False for a new series whose statistics still change with its first rows."""
    number: Int[np.ndarray, " N"]
    """int64: the network's number of each series; -1 for one that it was not trained on."""
    carry: Any = ()
    """The recurrent state of each layer, (c, h); empty in window mode."""

    @classmethod
    def of(cls, panel: Panel, scaling: Scaling, sizes: Sizes, input_size: int) -> Self:
        """The state at the end of a panel.

        Args:
            panel: the data.
            scaling: aligned with the panel's series.
            sizes: the shapes.
            input_size: rows after which the statistics of a new series no longer change.
        """
        numbers = np.arange(len(panel.ids))
        known = encoded(panel, scaling.categories)
        cells = np.concatenate([known.y, known.hist, known.futr], axis=1)
        series, row = panel.rows
        newest = panel.observed - 1
        kept = (row > (newest - sizes.past)[series]) & (row <= (newest + sizes.ahead)[series])
        ring = np.full((len(numbers), sizes.ring, cells.shape[1]), np.nan)
        ring[series[kept], row[kept] % sizes.ring] = cells[kept]
        center, spread = (
            np.array(np.broadcast_to(a, (len(numbers), sizes.targets))) for a in scaling.of_targets(numbers)
        )
        trained = scaling.series >= 0
        return cls(
            start=panel.start.astype(np.int64),
            newest=newest.astype(np.int64),
            begun=newest.astype(np.int64),
            cells=ring,
            last=_last_values(panel),
            stat=known.stat,
            center=center,
            spread=spread,
            fixed=trained | (not scaling.per_series) | (panel.observed >= input_size),
            number=scaling.series.astype(np.int64),
        )

    def gathered(
        self, sizes: Sizes, series: Int[np.ndarray, " W"], rows: Int[np.ndarray, "W T"]
    ) -> Float[np.ndarray, "W T F"]:
        """Some rows of some series; those that are no longer or not yet in the ring are NaN."""
        last = self.newest[series][:, None] + sizes.ahead
        held = (rows > last - sizes.ring) & (rows <= last)
        found = self.cells[series[:, None], rows % sizes.ring]
        return found if held.all() else np.where(held[..., None], found, np.nan)

    def advance(self, sizes: Sizes, series: Int[np.ndarray, " W"], rows: Int[np.ndarray, " W"]) -> None:
        """Makes rows the newest of their series, each named once: makes room for the future after them, in place."""
        before = self.newest[series]
        count = np.minimum(rows - before, sizes.ring)
        if (count == 1).all():
            self.cells[series, (rows + sizes.ahead) % sizes.ring] = np.nan
        else:
            which = np.repeat(np.arange(len(series)), count)
            within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
            self.cells[series[which], (rows[which] + sizes.ahead - within) % sizes.ring] = np.nan
        self.newest[series] = rows

    def write(
        self, series: Int[np.ndarray, " W"], rows: Int[np.ndarray, " W"], cells: Float[np.ndarray, "W F"]
    ) -> None:
        """Writes rows that have a slot, in place; an empty cell does not erase what was known."""
        slots = rows % self.cells.shape[1]
        self.cells[series, slots] = np.where(np.isnan(cells), self.cells[series, slots], cells)

    def with_series(self, times: Int[np.ndarray, " M"], stat: np.ndarray, scaling: Scaling) -> Self:
        """The state with M more series, which begin at some times.

        Args:
            times: of their first rows.
            stat: (M, Fs) their static covariates.
            scaling: of training: a new series has its mean statistics until it has rows of its own.
        """
        more = len(times)
        center, spread = (np.mean(a, axis=0) for a in (scaling.y_center, scaling.y_scale))

        def grown(array: np.ndarray, value: Any) -> np.ndarray:
            return np.concatenate([array, np.broadcast_to(value, (more, *array.shape[1:])).astype(array.dtype)])

        values = {
            "start": times, "newest": -1, "begun": -1, "cells": np.nan, "last": np.nan, "stat": stat,
            "center": center, "spread": spread, "fixed": not scaling.per_series, "number": -1,
        }  # fmt: skip
        arrays = {name: grown(getattr(self, name), value) for name, value in values.items()}
        return self._replace(**arrays, carry=tuple(tuple(grown(leaf, 0) for leaf in layer) for layer in self.carry))

    def fit_new(self, sizes: Sizes, series: Int[np.ndarray, " W"], scaling: Scaling) -> None:
        """Computes the statistics of new series from their rows, as `lstmjax.data.scaling_fit.align` does, in place.

        Args:
            sizes: the shapes.
            series: which; all of their rows are in the ring.
            scaling: of training: where nothing was observed, its mean statistics stay.
        """
        for some in np.split(series, range(_TOGETHER, len(series), _TOGETHER)):
            rows = np.arange(self.newest[some].max(initial=-1) + 1)
            y = self.gathered(sizes, some, np.broadcast_to(rows, (len(some), len(rows))))[..., : sizes.targets]
            values = TRANSFORMS[scaling.transform].forward(np.moveaxis(y, 1, 0))  # (T, W, C)
            observed = ~np.isnan(values).all(axis=0)
            center, spread = center_and_scale(np.where(observed, values, 0.0), SCALERS[scaling.scaler])
            self.center[some] = np.where(observed, center, self.center[some])
            self.spread[some] = np.where(observed, spread, self.spread[some])


def _last_values(panel: Panel) -> Float[np.ndarray, "N C"]:
    """The last observed value of each series and target; NaN where there is none."""
    row = np.where(np.isnan(panel.y), -1, np.arange(len(panel.y))[:, None])
    latest = np.maximum.reduceat(np.concatenate([row, np.full_like(row[:1], -1)]), panel.offsets[:-1], axis=0)
    latest = np.where(panel.lengths[:, None] > 0, latest, -1)
    found = np.take_along_axis(panel.y, np.maximum(latest, 0), axis=0)
    return np.where(latest < 0, np.nan, found)
