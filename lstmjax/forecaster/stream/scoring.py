"""What a stream remembers of its forecasts: those whose truth has not come, their scores, the intervals, the alarm."""

from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

from lstmjax.errors import DataError
from lstmjax.evaluation.adaptive import STEP_SIZES, Adaptive, coverable, follow, radius
from lstmjax.evaluation.calibration import windows_needed
from lstmjax.evaluation.drift import Alarm, cusum
from lstmjax.evaluation.online import Rolling
from lstmjax.forecaster.stream.held_out import HeldOut

MOST_SCORES = 500
"""Absolute errors of each series, horizon step and target that set its intervals: the last ones."""


class Scoring(NamedTuple):
    """Of N series, horizon H, targets C, K levels, as NumPy arrays; changed in place.

    The forecast whose first row is r is in slot ``r % H``; it is scored step by step as its rows come.
    """

    origin: Int[np.ndarray, "N H"]
    """The first row of each forecast that is remembered; -1: none."""
    point: Float[np.ndarray, "N H H C"]
    """What was forecast, in the table's units."""
    spread: Float[np.ndarray, "N H H C"]
    """The unit of its error, in transformed units: the head's spread times the series' scale."""
    naive: Float[np.ndarray, "N H C"]
    """The last value before it."""
    radius: Float[np.ndarray, "N H K H C"]
    """Half the width of its intervals in units of ``spread``; NaN: none."""
    rolling: Rolling
    alarm: Alarm
    usual: Float[np.ndarray, "H C"]
    """The mean absolute error on held-out rows, in units of the spread; NaN: unknown."""
    scores: Float[np.ndarray, "N H C M"]
    """The last absolute errors, in units of the spread; NaN: none. M is 0 where there are no levels."""
    place: Int[np.ndarray, "N H C"]
    """Where the next of them goes."""
    came: Int[np.ndarray, "N H C"]
    """How many of them came from the stream."""
    came_before: Int[np.ndarray, "N H H C"]
    """The same when each forecast was made."""
    issued: Float[np.ndarray, "N H K H C E"]
    """The experts' alphas when each forecast was made."""
    experts: Adaptive
    """Of the intervals: arrays (N, K, H, C, E)."""

    @classmethod
    def begin(cls, numbers: Int[np.ndarray, " N"], h: int, targets: int, held: HeldOut | None) -> Self:
        """Nothing forecast yet, and no levels.

        Args:
            numbers: of the series among those trained on.
            h: horizon.
            targets: C.
            held: errors of held-out rows.
        """
        n, steps = len(numbers), (h, targets)
        nothing = np.full((n, 3), np.nan)
        alarms = nothing if held is None else held.alarms(numbers)
        return cls(
            origin=np.full((n, h), -1),
            point=np.full((n, h, *steps), np.nan),
            spread=np.full((n, h, *steps), np.nan, np.float32),
            naive=np.full((n, h, targets), np.nan),
            radius=np.full((n, h, 0, *steps), np.nan, np.float32),
            rolling=Rolling.begin(n, h, targets, 0),
            alarm=Alarm(alarms[:, 0], alarms[:, 1], alarms[:, 2], np.zeros(n)),
            usual=np.full(steps, np.nan) if held is None else held.usual,
            scores=np.full((n, *steps, 0), np.nan, np.float32),
            place=np.zeros((n, *steps), np.int64),
            came=np.zeros((n, *steps), np.int64),
            came_before=np.zeros((n, h, *steps), np.int64),
            issued=np.zeros((n, h, 0, *steps, len(STEP_SIZES)), np.float32),
            experts=Adaptive.begin(0.5, (n, 0, *steps)),
        )

    def with_level(self, level: float, numbers: Int[np.ndarray, " N"], held: HeldOut | None) -> Self:
        """With intervals of one more level.

        Args:
            level: in percent.
            numbers: as in `begin`.
            held: as in `begin`.

        Raises:
            DataError: there are no held-out errors, or too few for the level.
        """
        n, h, c = self.place.shape
        changed = self
        if not self.scores.shape[-1]:
            changed = self._with_scores(numbers, held)
        needed, fewest = windows_needed(level / 100), int((~np.isnan(changed.scores)).sum(axis=-1).min(initial=1 << 30))
        if fewest < needed:
            raise DataError(
                f"an interval of {level:g}% needs the errors of {needed} held-out windows to begin with, and there are "
                f"{fewest}: train with outputs.calibration conformal and rows in data.calibration_size or "
                "data.val_size, or begin the stream with a longer table"
            )
        pairs = zip(changed.experts, Adaptive.begin(1 - level / 100, (n, 1, h, c)), strict=True)
        alphas, weights = (np.concatenate(pair, axis=1) for pair in pairs)
        radii = np.concatenate([self.radius, np.full((n, h, 1, h, c), np.nan, np.float32)], axis=2)
        issued = np.concatenate([self.issued, np.zeros((n, h, 1, h, c, len(STEP_SIZES)), np.float32)], axis=2)
        return changed._replace(
            experts=Adaptive(alphas, weights), radius=radii, issued=issued, rolling=self.rolling.with_level()
        )

    def _with_scores(self, numbers: Int[np.ndarray, " N"], held: HeldOut | None) -> Self:
        n, h, c = self.place.shape
        scores = np.full((n, h, c, MOST_SCORES), np.nan, np.float32)
        if held is not None:
            each = {number: held.scores(number, MOST_SCORES) for number in np.unique(numbers).tolist()}
            for row, number in enumerate(numbers.tolist()):
                scores[row] = each[number]
        return self._replace(scores=scores, place=(~np.isnan(scores)).sum(axis=-1) % MOST_SCORES)

    def with_series(self, more: Self) -> Self:
        """With new series, from `begin` and `with_level` for them."""
        import jax

        joined: Any = jax.tree.map(
            lambda a, b: np.concatenate([a, b]), self._replace(usual=self.origin), more._replace(usual=more.origin)
        )
        return joined._replace(usual=self.usual)

    def radii(self, series: Int[np.ndarray, " W"]) -> Float[np.ndarray, "W K H C"]:
        """Half the widths of the intervals of some series now, in units of the spread."""
        alpha = Adaptive(*(leaf[series] for leaf in self.experts)).alpha
        if not alpha.shape[1]:
            return alpha
        ordered = np.sort(self.scores[series], axis=-1)  # (W, H, C, M), NaN last
        found = [radius(ordered, alpha[:, level]) for level in range(alpha.shape[1])]
        return np.stack(found, axis=1)

    def remember(
        self,
        series: Int[np.ndarray, " W"],
        origin: Int[np.ndarray, " W"],
        point: Float[np.ndarray, "W H C"],
        spread: Float[np.ndarray, "W H C"],
        naive: Float[np.ndarray, "W C"],
        radii: Float[np.ndarray, "W K H C"],
    ) -> None:
        """Remembers forecasts until their truths come; one with the same first row is replaced. In place."""
        slot = origin % self.origin.shape[1]
        self.origin[series, slot] = origin
        self.point[series, slot], self.spread[series, slot] = point, spread
        self.naive[series, slot], self.radius[series, slot] = naive, radii
        self.issued[series, slot] = self.experts.alphas[series]
        self.came_before[series, slot] = self.came[series]

    def score(
        self,
        size: int,
        alphas: tuple[float, ...],
        series: Int[np.ndarray, " W"],
        row: Int[np.ndarray, " W"],
        y: Float[np.ndarray, "W C"],
        transformed: Float[np.ndarray, "W C"],
        seasonal: Float[np.ndarray, "W H C"],
        forward: Any,
    ) -> None:
        """Scores what was forecast of one row of each of some series, in place.

        Args:
            size: rows per part of the rolling scores.
            alphas: K nominal fractions outside.
            series: which, each once.
            row: the row of each.
            y: its truth, in the table's units; NaN where missing.
            transformed: the same, transformed.
            seasonal: what seasonal naive forecast of it, by horizon step.
            forward: the transform.
        """
        h = self.origin.shape[1]
        steps = np.arange(h)
        begins = row[:, None] - steps  # (W, H): the first row of the forecast of which this row is step k
        slot, at = begins % h, series[:, None]
        known = (begins >= 0) & (self.origin[at, slot] == begins)
        if not known.any():
            return
        point = np.where(known[..., None], self.point[at, slot, steps], np.nan)  # (W, H, C)
        naive = np.where(known[..., None], self.naive[at, slot], np.nan)
        seasonal = np.where(known[..., None], np.where(np.isnan(seasonal), naive, seasonal), np.nan)
        errors = np.stack([y[:, None] - one for one in (point, naive, seasonal)], axis=1)  # (W, 3, H, C)
        scores = abs(transformed[:, None] - forward(point)) / self.spread[at, slot, steps]
        radii = np.moveaxis(self.radius[at, slot, :, steps], 2, 1)  # (W, H, K, C) -> (W, K, H, C)
        inside = np.where(~np.isnan(scores[:, None]) & ~np.isnan(radii), scores[:, None] <= radii, np.nan)
        self.rolling.add(size, series, row, errors, inside)
        self._ring_alarm(series, scores)
        if self.scores.shape[-1]:
            issued = np.moveaxis(self.issued[at, slot, :, steps], 2, 1)  # (W, K, H, C, E)
            self._adapt(alphas, series, scores, issued, self.came_before[at, slot, steps])

    def _ring_alarm(self, series: np.ndarray, scores: Float[np.ndarray, "W H C"]) -> None:
        relative = scores / self.usual
        count = (~np.isnan(relative)).sum(axis=(1, 2))
        mean = np.where(count > 0, np.nansum(relative, axis=(1, 2)) / np.maximum(count, 1), np.nan)
        alarm = self.alarm
        z = (mean - alarm.mean[series]) / alarm.deviation[series]
        alarm.total[series] = cusum(alarm.total[series], z, alarm.threshold[series])

    def _adapt(
        self,
        alphas: tuple[float, ...],
        series: np.ndarray,
        scores: Float[np.ndarray, "W H C"],
        issued: Float[np.ndarray, "W K H C E"],
        came_before: Int[np.ndarray, "W H C"],
    ) -> None:
        """Lets the experts follow new errors, and these join those that set the intervals."""
        most = self.scores.shape[-1]
        # Errors that came after an interval was made do not judge it.
        age = (self.place[series][..., None] - 1 - np.arange(most)) % most
        later = age < (self.came[series] - came_before)[..., None]
        beta = coverable(np.where(later, np.nan, self.scores[series]), scores.astype(np.float32))
        delay = 1 + np.arange(scores.shape[1])[:, None]  # (H, 1)
        for level, alpha in enumerate(alphas):
            before = Adaptive(*(leaf[series, level] for leaf in self.experts))
            after = follow(before, issued[:, level], beta, alpha, delay)
            self.experts.alphas[series, level], self.experts.weights[series, level] = after
        where = np.nonzero(~np.isnan(scores))
        at = (series[where[0]], *where[1:])
        self.scores[(*at, self.place[at])] = scores[where]
        self.place[at] = (self.place[at] + 1) % most
        self.came[at] += 1
