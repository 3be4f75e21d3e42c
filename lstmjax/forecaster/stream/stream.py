"""`Stream`: a trained forecaster that follows live data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from lstmjax.data.frame_kinds import in_kind
from lstmjax.data.frames import forecast_frame
from lstmjax.data.panel import Panel
from lstmjax.data.series_ids import as_ids
from lstmjax.data.unscaling import in_units
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError
from lstmjax.evaluation.intervals import level_name, lower_name, upper_name
from lstmjax.evaluation.online import MODELS
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork
from lstmjax.forecaster.predict import aligned, wanted
from lstmjax.forecaster.stream.base import Policies, sizes_of
from lstmjax.forecaster.stream.encoding import encoded_panel
from lstmjax.forecaster.stream.held_out import held_out
from lstmjax.forecaster.stream.intake import StreamIntake
from lstmjax.forecaster.stream.program import require_stateful
from lstmjax.forecaster.stream.reading import Incoming
from lstmjax.forecaster.stream.state import StreamState


class Stream(StreamIntake):
    """Takes rows as they come, forecasts what follows, and scores what it forecast; see `Forecaster.stream`.

    Attributes:
        policies: see `lstmjax.forecaster.stream.base.Policies`.
        levels: of the intervals that are followed, in percent, in the order in which they were first asked for.
        counts: rows by what became of them: ``observed``, ``future``, ``correction``, ``repeated``, ``late``.
    """

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
        if policies.mode == "stateful":
            require_stateful(fitted.config, network)
        data, scaling = fitted.config.data, aligned(fitted, fitted.forecasting, panel).scaling
        future = int((panel.lengths - panel.observed).max(initial=0))
        sizes = sizes_of(fitted, None, future)
        state = StreamState.of(panel, scaling, sizes, data.input_size)
        held = held_out(fitted, network, panel if history is None else history)
        stream = cls(fitted, network, policies, panel.ids, panel.labels, panel.form, state, None, held)
        if policies.mode == "stateful":
            carry = encoded_panel(stream._programs, fitted, panel)
            stream._state = stream._state._replace(carry=carry)
        return stream

    @property
    def alarm(self) -> dict[str, bool]:
        """By series, whether its errors have drifted: see `lstmjax.evaluation.drift`."""
        return dict(zip(self._ids, self._scores().alarm.rings.tolist(), strict=True))

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
        if not len(series):
            raise DataError("there is no series to forecast: give ids with at least one, or rows of one")
        self._require_future(series)
        point, lower, upper = self.forecast_arrays(series, asked.level)
        alias, at = self._fitted.config.model.alias, {one: place for place, one in enumerate(self.levels)}
        columns = {alias: point}
        ascending = sorted(asked.level)
        columns |= {lower_name(alias, one): lower[:, at[one]] for one in reversed(ascending)}
        columns |= {upper_name(alias, one): upper[:, at[one]] for one in ascending}
        windows = Windows(series.astype(np.int32), (self._state.newest[series] + 1).astype(np.int32))
        return in_kind(forecast_frame(self._named_panel(), windows, columns, cutoff=False), self._form.frame)

    def forecast_arrays(
        self, series: Int[np.ndarray, " S"], level: Sequence[float] = ()
    ) -> tuple[Float[np.ndarray, "S H C"], Float[np.ndarray, "S K H C"], Float[np.ndarray, "S K H C"]]:
        """`forecast` as arrays: the point forecast, and the lower and the upper bounds of all `levels`.

        Whether the known future is there is not asked.
        """
        self.track(level)
        state = self._state
        if self.policies.mode == "window":
            scaled = self._programs.forecast(self._maker.cut(state, series, self._lookback, self._h))
        else:
            carry = tuple(tuple(leaf[series] for leaf in layer) for layer in state.carry)
            scaled = self._programs.decode(carry, self._maker.cut(state, series, 0, self._h))
        values, spread = np.moveaxis(scaled.astype(np.float64), -1, 0)  # (S, H, C) each
        center, scale = state.center[series][:, None], state.spread[series][:, None]
        radii = self._scores().radii(series)  # (S, K, H, C)
        transform, clip_min = self._scaling.transform, self._scaling.clip_min
        point = in_units(values, center, scale, transform, clip_min)
        lower, upper = (
            in_units(np.maximum(bound, self._lowest), center[:, None], scale[:, None], transform, clip_min)
            for bound in (values[:, None] - radii * spread[:, None], values[:, None] + radii * spread[:, None])
        )
        origin, naive = state.newest[series] + 1, state.last[series]
        self._scores().remember(series, origin, point, spread * scale, naive, radii)
        return point, lower, upper

    def track(self, level: Sequence[float]) -> None:
        """Follows intervals of more levels from here on.

        Raises:
            DataError: there are too few held-out errors to begin with.
        """
        for one in level:
            if one not in self.levels:
                self._scoring = self._scores().with_level(one, self._state.number, self._held)
                self.levels = (*self.levels, one)

    def can_forecast(self, series: Int[np.ndarray, " S"]) -> Bool[np.ndarray, " S"]:
        """Whether the known-future covariates of the horizon are there."""
        return np.asarray(self._future_given(series).all(axis=1))

    def metrics(self, by: str | None = None) -> pd.DataFrame:
        """The scores of the forecasts whose truth came, beside naive and seasonal naive on the same rows.

        They are rolling: over the last rows of each series, three to four times ``max(data.h, 7 data.season_length,
        100)`` of them.

        Args:
            by: one row per model and series, or per model and horizon step. Default: over all.

        Returns:
            ``key`` (where ``by`` is given), ``model``, ``mse``, ``rmse``, ``mae``, ``n`` (truths compared); by level
            ``coverage-80``, of the model's intervals.

        Raises:
            ConfigError: ``by`` is something else.
        """
        if by not in (None, "series", "horizon"):
            raise ConfigError(f"by is {by!r}: expected series, horizon or None")
        axes = {None: (-4, -3, -2, -1), "series": (-3, -2, -1), "horizon": (-4, -3, -1)}[by]
        found = self._scores().rolling.means(axes)
        keys: Any = {None: None, "series": self._ids, "horizon": np.arange(1, self._h + 1)}[by]
        frames = []
        for model in MODELS:
            columns = {name: np.atleast_1d(values) for name, values in found[model].items()}
            for place, level in enumerate(self.levels):
                covered = np.atleast_1d(self._scores().rolling.coverage(place, axes))
                columns[level_name("coverage", level)] = covered if model == "model" else np.full_like(covered, np.nan)
            name = self._fitted.config.model.alias if model == "model" else model
            frames.append(pd.DataFrame(({} if keys is None else {"key": keys}) | {"model": name} | columns))
        return pd.concat(frames, ignore_index=True)

    def metrics_of(self, series: int) -> dict[str, float]:
        """The rolling ``mae``, ``coverage-80`` by level, and ``n`` of one series; NaN where nothing was scored."""
        rolling = self._scores().rolling
        count = rolling.truths[series].sum()
        found = {"mae": rolling.absolute[series, :, 0].sum() / count if count else np.nan}
        for place, level in enumerate(self.levels):
            judged = rolling.judged[series, :, place].sum()
            found[level_name("coverage", level)] = rolling.inside[series, :, place].sum() / judged if judged else np.nan
        return {name: float(value) for name, value in found.items()} | {"n": int(count)}

    def rings(self, series: int) -> bool:
        """Whether the alarm of one series rings."""
        return bool(self._scores().alarm.total[series] > self._scores().alarm.threshold[series])

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
