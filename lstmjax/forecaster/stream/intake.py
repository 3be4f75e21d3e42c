"""New rows into a stream: refused before anything changes, or taken one after the other."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from lstmjax.errors import DataError
from lstmjax.forecaster.stream.base import StreamBase
from lstmjax.forecaster.stream.judge import Verdict, judge
from lstmjax.forecaster.stream.reading import Incoming
from lstmjax.forecaster.stream.scoring import Scoring

LARGEST_GAP = 100_000
"""Rows that may be missing between two rows: a wrong year in one time would otherwise end a stream."""


class StreamIntake(StreamBase):
    """A stream that takes rows."""

    def take(self, incoming: Incoming) -> Int[np.ndarray, " R"]:
        """`update` with rows that were read already.

        Returns:
            What became of each: see `lstmjax.forecaster.stream.judge.Verdict`.
        """
        before = len(self._ids)
        try:
            places = self._places(incoming)
            series = places[incoming.series]
            rows = self._row_numbers(incoming, series)
            correct = self.policies.late == "correct" and self.policies.mode == "window"
            verdicts, newest = judge(self._state, self._sizes, series, rows, incoming.cells, correct=correct)
            self._require(incoming, series, rows, verdicts, newest)
        except Exception:
            self._forget_series(before)
            raise
        for verdict, count in zip(*np.unique(verdicts, return_counts=True), strict=True):
            self.counts[Verdict(verdict).name.lower()] += int(count)
        kept = np.flatnonzero(verdicts <= Verdict.CORRECTION)
        for wave in _waves(series[kept]):
            chosen = kept[wave]
            self._take_wave(series[chosen], rows[chosen], incoming.cells[chosen], verdicts[chosen])
        return verdicts

    def _places(self, incoming: Incoming) -> Int[np.ndarray, " N"]:
        """The number of each series of new rows; those that were not there join."""
        found = np.array([self._place.get(name, -1) for name in incoming.ids.tolist()], np.int64)
        new = np.flatnonzero(found < 0)
        if not len(new):
            return found
        first = np.array([np.argmax(incoming.series == one) for one in new])
        if self.policies.new_series == "error":
            raise DataError(
                f"{incoming.name(first[0])}: series {incoming.ids[new[0]]!r} is not in the stream: correct the row, or "
                "let new series join (new_series add)"
            )
        stat = incoming.stat[first]
        without = np.flatnonzero(np.isnan(stat).any(axis=1))
        if len(without):
            row, column = without[0], int(np.argmax(np.isnan(stat[without[0]])))
            names = self._tail.schema.stat_exog
            raise DataError(
                f"{incoming.name(first[row])}: series {incoming.ids[new[row]]!r} is new, and has no value in static "
                f"column {names[min(column, len(names) - 1)]!r}"
            )
        found[new] = len(self._ids) + np.arange(len(new))
        self._state = self._state.with_series(incoming.times[first], stat, self._scaling)
        numbers = np.full(len(new), -1)
        if self._scoring is not None:
            more = Scoring.begin(numbers, self._h, self._sizes.targets, self._held)
            for level in self.levels:
                more = more.with_level(level, numbers, self._held)
            self._scoring = self._scoring.with_series(more)
        for place in new.tolist():
            self._place[incoming.ids[place]] = len(self._ids)
            self._ids.append(incoming.ids[place])
            self._labels.append(incoming.labels[place])
        return found

    def _forget_series(self, count: int) -> None:
        """Takes back series that joined with rows that could not be used."""
        if len(self._ids) == count:
            return
        for name in self._ids[count:]:
            del self._place[name]
        del self._ids[count:], self._labels[count:]
        self._state = jax.tree.map(lambda leaf: leaf[:count], self._state)
        if self._scoring is not None:
            usual = self._scoring.usual
            self._scoring = jax.tree.map(lambda leaf: leaf[:count], self._scoring)._replace(usual=usual)

    def _row_numbers(self, incoming: Incoming, series: Int[np.ndarray, " R"]) -> Int[np.ndarray, " R"]:
        """The number of each row within its series, negative before its first row; requires whole steps."""
        frequency, start = self._tail.schema.frequency, self._state.start[series]
        if frequency.base is None:
            rows, rest = np.divmod(incoming.times - start, frequency.step)
            fits = rest == 0
        else:
            rows, fits = frequency.number(np.maximum(incoming.times, start), start)
            rows, fits = np.where(incoming.times < start, -1, rows), fits | (incoming.times < start)
        if not fits.all():
            wrong = int(np.argmin(fits))
            raise DataError(
                f"{incoming.name(wrong)}, column {self._tail.schema.time_col!r}: the time is not a whole number of "
                f"steps of {frequency.text!r} after the first row of series {self._ids[series[wrong]]!r}"
            )
        return rows

    def _require(
        self, incoming: Incoming, series: np.ndarray, rows: np.ndarray, verdict: np.ndarray, newest: np.ndarray
    ) -> None:
        """Refuses late rows where they are errors, times too far ahead, and targets that cannot be transformed."""
        schema = self._tail.schema
        late = np.flatnonzero(verdict == Verdict.LATE)
        if len(late) and self.policies.late == "error":
            row = int(late[0])
            at = self._named_panel().timestamp(series[row], newest[row])
            raise DataError(
                f"{incoming.name(row)}, column {schema.time_col!r}: the row is late: series {self._ids[series[row]]!r} "
                f"has rows up to {at} already, and says otherwise (late skip leaves such rows out, late correct "
                "corrects them)"
            )
        ahead = rows - newest
        far = (verdict == Verdict.FUTURE) & (ahead > self._sizes.ahead)
        far |= (verdict == Verdict.OBSERVED) & (ahead > LARGEST_GAP) & (newest >= 0)
        if far.any():
            row = int(np.argmax(far))
            most = self._sizes.ahead if verdict[row] == Verdict.FUTURE else LARGEST_GAP
            raise DataError(
                f"{incoming.name(row)}, column {schema.time_col!r}: the row is {ahead[row]} steps after the newest of "
                f"series {self._ids[series[row]]!r}: expected at most {most}; is the time wrong?"
            )
        y = incoming.cells[:, : self._sizes.targets]
        refused = np.argwhere(y <= self._transform.above)
        if len(refused):
            row, column = refused[0]
            raise DataError(
                f"{incoming.name(row)}, column {schema.channels[column]!r} is {y[row, column]:g}: data.transform "
                f"{self._scaling.transform!r} needs {self._transform.needs}"
            )

    def _take_wave(self, series: np.ndarray, rows: np.ndarray, cells: np.ndarray, verdict: np.ndarray) -> None:
        """Takes rows of different series."""
        observed = verdict == Verdict.OBSERVED
        if not observed.all():
            other = ~observed
            self._state.write(series[other], rows[other], cells[other])
            corrected = verdict == Verdict.CORRECTION
            for one, row in zip(series[corrected].tolist(), rows[corrected].tolist(), strict=True):
                self._after_correction(one, row)
            series, rows, cells = series[observed], rows[observed], cells[observed]
        if not len(series):
            return
        state, sizes = self._state, self._sizes
        y = cells[:, : sizes.targets]
        self._score(series, rows, y)
        # A new series whose first rows are over: what is known of them decides.
        state.fixed[series[rows >= self._lookback]] = True
        growing = series[~state.fixed[series]]
        if self.policies.mode == "stateful":
            self._encoder.gap(state, series, rows)
        state.advance(sizes, series, rows)
        state.write(series, rows, cells)
        state.last[series] = np.where(np.isnan(y), state.last[series], y)
        if self.policies.mode == "stateful":
            self._encoder.newest(state, series[state.fixed[series]])
        if len(growing):
            self._fit_new(growing)
            if self.policies.mode == "stateful":
                self._encoder.anew(state, growing)

    def _after_correction(self, series: int, row: int) -> None:
        state = self._state
        if row == state.newest[series]:
            y = state.cells[series, row % self._sizes.ring, : self._sizes.targets]
            state.last[series] = np.where(np.isnan(y), state.last[series], y)
        if not state.fixed[series]:
            self._fit_new(np.array([series]))

    def _fit_new(self, series: np.ndarray) -> None:
        """The statistics of new series, which are final with their row number input_size - 1."""
        self._state.fit_new(self._sizes, series, self._scaling)
        self._state.fixed[series] = self._state.newest[series] + 1 >= self._lookback

    def _score(self, series: np.ndarray, rows: np.ndarray, y: np.ndarray) -> None:
        if self._scoring is None or not (self._scoring.origin[series] >= 0).any():
            return
        seasonal = self._seasonal(series, rows)
        forward: Callable[[Any], Any] = self._transform.forward
        alphas = tuple(1 - level / 100 for level in self.levels)
        self._scoring.score(self._part, alphas, series, rows, y, forward(y), seasonal, forward)

    def _seasonal(self, series: np.ndarray, rows: np.ndarray) -> Float[np.ndarray, "W H C"]:
        """What seasonal naive said of a row, by the steps since its forecast; NaN where it saw no value."""
        seasons = np.arange(self._h) // self._season + 1
        found = np.full((len(series), self._h, self._sizes.targets), np.nan)
        for earlier in range(max(1, self._sizes.past // self._season)):
            at = rows[:, None] - self._season * (seasons + earlier)
            values = self._state.gathered(self._sizes, series, at)[..., : self._sizes.targets]
            found = np.where(np.isnan(found), values, found)
            if not np.isnan(found).any():
                break
        return found


def _waves(series: Int[np.ndarray, " R"]) -> list[np.ndarray]:
    """The places of rows in the order in which they came, each series at most once in a wave."""
    if len(series) <= 1 or len(np.unique(series)) == len(series):
        return [np.arange(len(series))] if len(series) else []
    order = np.argsort(series, kind="stable")
    first = np.diff(series[order], prepend=-1) != 0
    begins = np.flatnonzero(first)
    turn = np.arange(len(order)) - begins[np.cumsum(first) - 1]
    by_turn = np.argsort(turn, kind="stable")
    bounds = np.flatnonzero(np.diff(turn[by_turn])) + 1
    return [np.sort(order[part]) for part in np.split(by_turn, bounds)]
