"""`Stream`: a trained forecaster that follows live data."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from lstmjax.data.frame_kinds import in_kind
from lstmjax.data.frames import forecast_frame
from lstmjax.data.frequency import as_index
from lstmjax.data.identity import Labels, as_ids, as_labels
from lstmjax.data.panel import Form, Panel
from lstmjax.data.transform import TRANSFORMS
from lstmjax.data.units import in_units
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError
from lstmjax.evaluation.intervals import level_name, lower_name, upper_name
from lstmjax.evaluation.online import MODELS
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork
from lstmjax.forecaster.predict import aligned, wanted
from lstmjax.forecaster.stream.encoding import Encoder, encoded_panel
from lstmjax.forecaster.stream.held_out import HeldOut, held_out
from lstmjax.forecaster.stream.judge import Late, Verdict, judge
from lstmjax.forecaster.stream.program import Programs, require_stateful
from lstmjax.forecaster.stream.reading import Incoming, RowReader
from lstmjax.forecaster.stream.scoring import Scoring
from lstmjax.forecaster.stream.state import Sizes, StreamState
from lstmjax.forecaster.stream.windows import WindowMaker

Mode = Literal["window", "stateful"]
NewSeries = Literal["error", "add"]

LARGEST_GAP = 100_000
"""Rows that may be missing between two rows: a wrong year in one time would otherwise end a stream."""


class Policies(NamedTuple):
    """What becomes of rows that do not simply continue their series."""

    mode: Mode = "window"
    late: Late = "error"
    new_series: NewSeries = "add"


class LiveForecast(NamedTuple):
    """Forecasts of S series, in the table's units."""

    series: Int[np.ndarray, " S"]
    point: Float[np.ndarray, "S H C"]
    lower: Float[np.ndarray, "S K H C"]
    upper: Float[np.ndarray, "S K H C"]


class Stream:
    """Takes rows as they come, forecasts what follows, and scores what it forecast; see `Forecaster.stream`.

    Attributes:
        policies: see `Policies`.
        levels: of the intervals that are followed, in percent, in the order in which they were first asked for.
        counts: rows by what became of them: ``observed``, ``future``, ``correction``, ``repeated``, ``late``.
    """

    def __init__(
        self,
        fitted: Fitted,
        network: UserNetwork | None,
        policies: Policies,
        ids: Labels,
        labels: Labels,
        form: Form,
        state: StreamState,
        scoring: Scoring,
        held: HeldOut | None,
    ) -> None:
        self._fitted, self._network, self._held = fitted, network, held
        self._held_saved_in: Path | None = None
        self.policies = policies
        self.levels: tuple[float, ...] = ()
        self.counts = {verdict.name.lower(): 0 for verdict in Verdict}
        self._ids, self._labels = ids.tolist(), labels.tolist()
        self._place = {name: place for place, name in enumerate(self._ids)}
        self._form, self._tail = form, fitted.tail
        self._sizes = sizes_of(fitted, state.cells.shape[1])
        self._state, self._scoring = state, scoring
        scaling, data = fitted.forecasting.scaling, fitted.config.data
        self._scaling, self._h, self._lookback = scaling, data.h, data.input_size
        self._season = data.season_length or 1
        self._part = min(max(data.h, 7 * self._season, 100), 10_000)
        self._transform = TRANSFORMS[scaling.transform]
        self._maker = WindowMaker(fitted.tail.schema, scaling, self._sizes)
        self._programs = Programs(fitted, network)
        self._encoder = Encoder(self._programs, self._maker)
        self._reader = RowReader(fitted)

    @classmethod
    def begin(
        cls,
        fitted: Fitted,
        network: UserNetwork | None,
        panel: Panel,
        policies: Policies,
        history: Panel | None = None,
    ) -> Self:
        """A stream that begins after the last row of a panel; see `Forecaster.stream`.

        Args:
            fitted: a trained forecaster.
            network: a network of the user's own; None for that of its config.
            panel: the rows that it begins with.
            policies: see `Policies`.
            history: earlier rows, for the errors to begin with where the forecaster has kept none. Default: the panel.

        Raises:
            ConfigError: the network cannot be kept as its state.
        """
        for name, value, allowed in zip(("mode", "late", "new_series"), policies, (Mode, Late, NewSeries), strict=True):
            if value not in get_args(allowed):
                raise ConfigError(f"{name} is {value!r}: expected {' or '.join(get_args(allowed))}")
        if policies.mode == "stateful":
            require_stateful(fitted.config, network)
        data, scaling = fitted.config.data, aligned(fitted, fitted.forecasting, panel).scaling
        future = int((panel.lengths - panel.observed).max(initial=0))
        sizes = sizes_of(fitted, None, future)
        state = StreamState.of(panel, scaling, sizes, data.input_size)
        held = held_out(fitted, network, panel if history is None else history)
        scoring = Scoring.begin(state.number, data.h, sizes.targets, held)
        stream = cls(fitted, network, policies, panel.ids, panel.labels, panel.form, state, scoring, held)
        if policies.mode == "stateful":
            carry = encoded_panel(stream._programs, fitted, panel)
            stream._state = stream._state._replace(carry=carry)
        return stream

    @property
    def ids(self) -> list[str]:
        """The identifiers of the series, as text."""
        return list(self._ids)

    @property
    def state(self) -> StreamState:
        """The last rows, the statistics and the recurrent state, as one pytree of arrays."""
        return self._state

    @property
    def alarm(self) -> dict[str, bool]:
        """By series, whether its errors have drifted: see `lstmjax.evaluation.drift`."""
        return dict(zip(self._ids, self._scoring.alarm.rings.tolist(), strict=True))

    def __repr__(self) -> str:
        return f"Stream({self.policies.mode}, {len(self._ids)} series, {self.counts['observed']} rows observed)"

    def update(self, rows: Any) -> Self:
        """Takes new rows: some series or all, one row or many, in the order in which they came.

        A row newer than all of its series is observed; the steps that it skips are missing, and masked as in training.
        A row after the newest with an empty target is known future. A row that says what is known already is skipped.
        Any other row that is not newer is late: an error, skipped, or it corrects the row in the ring. A series that
        was not there joins: it is scaled by the statistics of its first ``data.input_size`` rows, which change until it
        has so many. Splitting rows over several calls changes nothing.

        Args:
            rows: a table with the columns of the training data; or one row, as a dict by column.

        Returns:
            The stream itself.

        Raises:
            DataError: a row cannot be used; nothing has changed then.
        """
        self.take(self.read(rows))
        return self

    def read(self, rows: Any, label: Any = 1, source: str = "the rows") -> Incoming:
        """Reads rows for `take`.

        Args:
            rows: as in `update`.
            label: the number of a single row, for messages.
            source: where they are from, for messages.
        """
        only = self._ids[0] if len(self._ids) == 1 else None
        if isinstance(rows, Mapping):
            return self._reader.one(rows, label, source, only)
        return self._reader.table(rows, source, only)

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
            judged = judge(self._state, self._sizes, series, rows, incoming.cells, correct=correct)
            self._require(incoming, series, rows, judged.verdict, judged.newest)
        except DataError:
            self._forget_series(before)
            raise
        for verdict, count in zip(*np.unique(judged.verdict, return_counts=True), strict=True):
            self.counts[Verdict(verdict).name.lower()] += int(count)
        kept = np.flatnonzero(judged.verdict <= Verdict.CORRECTION)
        for wave in _waves(series[kept]):
            chosen = kept[wave]
            self._take_wave(series[chosen], rows[chosen], incoming.cells[chosen], judged.verdict[chosen])
        return judged.verdict

    def forecast(self, level: Sequence[float] | None = None, ids: Sequence[Any] | None = None) -> Any:
        """Forecasts the ``h`` rows after the newest of every series, and remembers them until their truth comes.

        Intervals are adaptive: they begin as wide as the errors of held-out rows say, and follow the errors of the
        stream, so that they hold their level when the data shift. See `lstmjax.evaluation.adaptive`.

        Args:
            level: intervals in percent, as in `Forecaster.predict`. Default: those of ``outputs.level``.
            ids: the series to forecast. Default: all.

        Returns:
            The table that `Forecaster.predict` gives.

        Raises:
            DataError: known-future covariates are missing, a series is not there, or there are no held-out errors for
                intervals.
        """
        asked = wanted(self._fitted, level, ())
        series = np.arange(len(self._ids)) if ids is None else np.array([self._known(one) for one in ids], np.int64)
        self._require_future(series)
        found = self.forecast_arrays(series, asked.level)
        alias, at = self._fitted.config.model.alias, {one: place for place, one in enumerate(self.levels)}
        columns = {alias: found.point}
        ascending = sorted(asked.level)
        columns |= {lower_name(alias, one): found.lower[:, at[one]] for one in reversed(ascending)}
        columns |= {upper_name(alias, one): found.upper[:, at[one]] for one in ascending}
        windows = Windows(series.astype(np.int32), (self._state.newest[series] + 1).astype(np.int32))
        return in_kind(forecast_frame(self._named_panel(), windows, columns, cutoff=False), self._form.frame)

    def forecast_arrays(self, series: Int[np.ndarray, " S"], level: Sequence[float] = ()) -> LiveForecast:
        """`forecast` as arrays; bounds are of all `levels`. Whether the known future is there is not asked."""
        self.track(level)
        state = self._state
        if self.policies.mode == "window":
            scaled = self._programs.forecast(self._maker.cut(state, series, self._lookback, self._h))
        else:
            carry = tuple(tuple(leaf[series] for leaf in layer) for layer in state.carry)
            scaled = self._programs.decode(carry, self._maker.cut(state, series, 0, self._h))
        values, spread = np.moveaxis(scaled.astype(np.float64), -1, 0)  # (S, H, C) each
        center, scale = state.center[series][:, None], state.spread[series][:, None]
        radii = self._scoring.radii(series)  # (S, K, H, C)
        units: list[Any] = [in_units(values, center, scale, self._scaling.transform, self._scaling.clip_min)]
        for sign in (-1.0, 1.0):
            bound = values[:, None] + sign * radii * spread[:, None]
            units.append(
                in_units(bound, center[:, None], scale[:, None], self._scaling.transform, self._scaling.clip_min)
            )
        found = LiveForecast(series, *units)
        origin, naive = state.newest[series] + 1, state.last[series]
        self._scoring.remember(series, origin, found.point, spread * scale, naive, radii)
        return found

    def track(self, level: Sequence[float]) -> None:
        """Follows intervals of more levels from here on.

        Raises:
            DataError: there are too few held-out errors to begin with.
        """
        for one in level:
            if one not in self.levels:
                self._scoring = self._scoring.with_level(one, self._state.number, self._held)
                self.levels = (*self.levels, one)

    def can_forecast(self, series: Int[np.ndarray, " S"]) -> Bool[np.ndarray, " S"]:
        """Whether the known-future covariates of the horizon are there."""
        return np.asarray(self._future_given(series).all(axis=1))

    def metrics(self, by: Literal["series", "horizon"] | None = None) -> pd.DataFrame:
        """The scores of the forecasts whose truth came, beside naive and seasonal naive on the same rows.

        They are rolling: over the last rows of each series, three to four times ``max(data.h, 7 data.season_length,
        100)`` of them.

        Args:
            by: one row per model and series, or per model and horizon step. Default: over all.

        Returns:
            ``key`` (where ``by`` is given), ``model``, ``mse``, ``rmse``, ``mae``, ``n`` (truths compared); by level
            ``coverage-80``, of the model's intervals.
        """
        axes = {None: (-4, -3, -2, -1), "series": (-3, -2, -1), "horizon": (-4, -3, -1)}[by]
        found = self._scoring.rolling.means(axes)
        keys: Any = {None: None, "series": self._ids, "horizon": np.arange(1, self._h + 1)}[by]
        frames = []
        for model in MODELS:
            columns = {name: np.atleast_1d(values) for name, values in found[model].items()}
            for place, level in enumerate(self.levels):
                covered = np.atleast_1d(self._scoring.rolling.coverage(place, axes))
                columns[level_name("coverage", level)] = covered if model == "model" else np.full_like(covered, np.nan)
            name = self._fitted.config.model.alias if model == "model" else model
            frames.append(pd.DataFrame(({} if keys is None else {"key": keys}) | {"model": name} | columns))
        return pd.concat(frames, ignore_index=True)

    def metrics_of(self, series: int) -> dict[str, float]:
        """The rolling ``mae``, ``coverage-80`` by level, and ``n`` of one series; NaN where nothing was scored."""
        rolling = self._scoring.rolling
        count = rolling.truths[series].sum()
        found = {"mae": rolling.absolute[series, :, 0].sum() / count if count else np.nan}
        for place, level in enumerate(self.levels):
            judged = rolling.judged[series, :, place].sum()
            found[level_name("coverage", level)] = rolling.inside[series, :, place].sum() / judged if judged else np.nan
        return {name: float(value) for name, value in found.items()} | {"n": int(count)}

    def rings(self, series: int) -> bool:
        """Whether the alarm of one series rings."""
        return bool(self._scoring.alarm.total[series] > self._scoring.alarm.threshold[series])

    def place_of(self, name: str) -> int:
        """The number of a series, by its identifier as text.

        Raises:
            KeyError: there is none.
        """
        return self._place[name]

    def label(self, series: int) -> Any:
        """The identifier of a series as the table has it."""
        return self._labels[series]

    def time_text(self, time: int) -> str | int:
        """A time of the frequency's clock as text, or as the whole number that it is."""
        schema = self._tail.schema
        found = as_index(np.array([time]), schema.frequency, schema.time_zone)[0]
        return int(found) if schema.frequency.integer else str(found)

    def save(self, directory: Path | str) -> None:
        """Writes the state, whole or not at all; equal states have equal bytes.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        from lstmjax.forecaster.stream.saved import save

        save(self, directory, {})

    @classmethod
    def load(cls, directory: Path | str, forecaster: Any) -> "Stream":
        """The stream that `save` wrote.

        Args:
            directory: where.
            forecaster: the trained forecaster that it belongs to.

        Raises:
            CheckpointError: there is none, it does not verify, or it is of another forecaster.
        """
        from lstmjax.forecaster.stream.saved import load

        stream, _ = load(directory, forecaster.fitted, forecaster.network)
        return stream

    def _known(self, name: Any) -> int:
        text = as_ids([name])[0]
        if text not in self._place:
            raise DataError(f"the stream has no series {text!r}")
        return self._place[text]

    def _named_panel(self) -> Panel:
        """An empty panel with the names of the stream's series."""
        tail, n = self._tail, len(self._ids)
        nothing = {name: getattr(tail, name)[:0] for name in ("y", "hist", "futr", "weight")}
        zeros = np.zeros(n, np.int64)
        labels, form = as_labels(self._labels), dataclasses.replace(tail.form, frame=self._form.frame)
        stat = np.zeros((n, tail.stat.shape[1]))
        return dataclasses.replace(
            tail, ids=as_ids(self._ids), labels=labels, start=self._state.start, form=form, observed=zeros, stat=stat,
            offsets=np.zeros(n + 1, np.int64), **nothing,
        )  # fmt: skip

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
        import jax

        for name in self._ids[count:]:
            del self._place[name]
        del self._ids[count:], self._labels[count:]
        self._state = jax.tree.map(lambda leaf: leaf[:count], self._state)
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
        if self.policies.mode == "stateful":
            self._encoder.gap(state, series, rows)
        growing = series[~state.fixed[series]]
        for one in growing[rows[~state.fixed[series]] >= self._lookback].tolist():
            state.fixed[one] = True  # its first rows are over: what is known of them decides
        state.advance(sizes, series, rows)
        state.write(series, rows, cells)
        state.last[series] = np.where(np.isnan(y), state.last[series], y)
        for one in series[~state.fixed[series]].tolist():
            self._fit_new(one)
        if self.policies.mode == "stateful":
            self._encoder.newest(state, series[np.isin(series, growing, invert=True)])
            self._encoder.anew(state, growing)

    def _after_correction(self, series: int, row: int) -> None:
        state = self._state
        if row == state.newest[series]:
            y = state.cells[series, row % self._sizes.ring, : self._sizes.targets]
            state.last[series] = np.where(np.isnan(y), state.last[series], y)
        if not state.fixed[series]:
            self._fit_new(series)

    def _fit_new(self, series: int) -> None:
        """The statistics of a new series, which are final with its row number input_size - 1."""
        rows = int(self._state.newest[series]) + 1
        self._state.fit_new(self._sizes, series, rows, self._scaling)
        self._state.fixed[series] = rows >= self._lookback

    def _score(self, series: np.ndarray, rows: np.ndarray, y: np.ndarray) -> None:
        if not (self._scoring.origin[series] >= 0).any():
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

    def _future_given(self, series: np.ndarray) -> Bool[np.ndarray, "S H"]:
        sizes = self._sizes
        if not self._tail.schema.futr_exog:
            return np.ones((len(series), self._h), bool)
        rows = self._state.newest[series][:, None] + 1 + np.arange(self._h)
        return ~np.isnan(self._state.gathered(sizes, series, rows)[..., sizes.targets + sizes.hist :]).all(axis=-1)

    def _require_future(self, series: np.ndarray) -> None:
        given = self._future_given(series)
        if given.all():
            return
        first = int(np.argmin(given.all(axis=1)))
        one, step = series[first], int(np.argmin(given[first]))
        when = self._named_panel().timestamp(one, self._state.newest[one] + 1 + step)
        raise DataError(
            f"series {self._ids[one]!r} has no {', '.join(self._tail.schema.futr_exog)} for {when}: a forecast needs "
            f"{self._h} rows of known-future covariates after the newest: give them as rows with an empty target"
        )


def sizes_of(fitted: Fitted, ring: int | None, future: int = 0) -> Sizes:
    """The shapes of the state of a forecaster's stream.

    Args:
        fitted: a trained forecaster.
        ring: rows of the ring, where there is one already.
        future: rows of the known future that the stream begins with.
    """
    data, scaling = fitted.config.data, fitted.forecasting.scaling
    past = max(data.input_size, data.h + (data.season_length or 1))
    ahead = max(4 * data.h, future + data.h) if ring is None else ring - past
    return Sizes(past, ahead, fitted.spec.targets, len(scaling.hist_center), len(scaling.futr_center))


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
