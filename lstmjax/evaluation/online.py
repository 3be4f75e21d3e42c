"""Scores of live forecasts, updated truth by truth: rolling sums per series, horizon step and target."""

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

BUCKETS = 4
"""The rows that a rolling score looks back upon are summed in so many parts; the oldest part is forgotten at once."""

MODELS = ("model", "naive", "seasonal_naive")
"""Whose errors are summed."""


class Rolling(NamedTuple):
    """Sums over the last rows of N series. With ``size`` rows per part, they hold 3 to 4 times ``size`` rows."""

    part: Int[np.ndarray, "N B"]
    """The number of each part, row // size; -1 for an empty one."""
    truths: Float[np.ndarray, "N B H C"]
    """Truths that were compared."""
    absolute: Float[np.ndarray, "N B 3 H C"]
    """Sums of absolute errors, by `MODELS`."""
    squared: Float[np.ndarray, "N B 3 H C"]
    compared: Float[np.ndarray, "N B 2 H C"]
    """How many truths each baseline was compared with; it has no forecast before it saw a value."""
    inside: Float[np.ndarray, "N B K H C"]
    """Truths inside the interval of each of K levels."""
    judged: Float[np.ndarray, "N B K H C"]
    """Truths for which there was an interval."""

    @classmethod
    def begin(cls, series: int, h: int, targets: int, levels: int) -> Self:
        """Nothing yet."""
        shape = (series, BUCKETS)
        sums = [np.zeros((*shape, *middle, h, targets)) for middle in ((), (3,), (3,), (2,), (levels,), (levels,))]
        return cls(np.full(shape, -1), *sums)

    def add(
        self,
        size: int,
        series: Int[np.ndarray, " W"],
        row: Int[np.ndarray, " W"],
        errors: Float[np.ndarray, "W 3 H C"],
        inside: Float[np.ndarray, "W K H C"],
    ) -> None:
        """Adds the truths of one row of each of some series, in place.

        Args:
            size: rows per part.
            series: which, each once.
            row: the row of each.
            errors: of the forecasts of that row, by `MODELS` and horizon step; NaN where there was none.
            inside: 1 where the truth lay in the interval, 0 where not, NaN where there was none.
        """
        number = row // size
        slot = number % BUCKETS
        old = self.part[series, slot] != number
        for sums in self[1:]:
            sums[series[old], slot[old]] = 0.0
        self.part[series, slot] = number
        # A part that no truth fell into would stay for ever: it is older than those that are kept.
        stale = self.part[series] <= (number - BUCKETS)[:, None]
        if stale.any():
            which, where = np.nonzero(stale)
            for sums in self[1:]:
                sums[series[which], where] = 0.0
        known = ~np.isnan(errors)
        found = np.where(known, errors, 0.0)
        self.truths[series, slot] += known[:, 0]
        self.absolute[series, slot] += abs(found)
        self.squared[series, slot] += found**2
        self.compared[series, slot] += known[:, 1:]
        self.inside[series, slot] += np.nan_to_num(inside)
        self.judged[series, slot] += ~np.isnan(inside)

    def means(self, axes: tuple[int, ...]) -> dict[str, dict[str, np.ndarray]]:
        """The scores of each model, over some axes of (N, B, H, C) counted from the end.

        Args:
            axes: the axes over which to average: -1 targets, -2 horizon steps, -3 parts, -4 series.

        Returns:
            By model: ``mse``, ``rmse``, ``mae`` and ``n``.
        """
        found = {}
        for place, model in enumerate(MODELS):
            count = self.truths if place == 0 else self.compared[:, :, place - 1]
            n = np.asarray(count.sum(axis=axes))
            mse, mae = (
                _mean(np.asarray(sums[:, :, place].sum(axis=axes)), n) for sums in (self.squared, self.absolute)
            )
            found[model] = {"mse": mse, "rmse": np.sqrt(mse), "mae": mae, "n": n}
        return found

    def coverage(self, level: int, axes: tuple[int, ...]) -> np.ndarray:
        """The fraction of truths inside the intervals of a level; axes as in `means`."""
        inside, judged = (np.asarray(sums[:, :, level].sum(axis=axes)) for sums in (self.inside, self.judged))
        return _mean(inside, judged)

    def with_level(self) -> Self:
        """With room for one more level."""
        one = np.zeros((*self.inside.shape[:2], 1, *self.inside.shape[3:]))
        inside, judged = (np.concatenate([sums, one], axis=2) for sums in (self.inside, self.judged))
        return self._replace(inside=inside, judged=judged)


def _mean(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
