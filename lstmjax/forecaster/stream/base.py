"""What a stream holds: its series by name, the state, the scores, and what computes with them."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from lstmjax.data.frequency import as_index
from lstmjax.data.panel import Form, Panel
from lstmjax.data.series_ids import Labels, as_ids, as_labels
from lstmjax.data.transform import TRANSFORMS
from lstmjax.errors import ConfigError
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork, head_of
from lstmjax.forecaster.stream.encoding import Encoder
from lstmjax.forecaster.stream.held_out import HeldOut
from lstmjax.forecaster.stream.judge import Late, Verdict
from lstmjax.forecaster.stream.program import Programs
from lstmjax.forecaster.stream.reading import RowReader
from lstmjax.forecaster.stream.scoring import Scoring
from lstmjax.forecaster.stream.state import Sizes, StreamState
from lstmjax.forecaster.stream.windows import WindowMaker

Mode = Literal["window", "stateful"]
NewSeries = Literal["error", "add"]


@dataclasses.dataclass(frozen=True)
class Policies:
    """What a stream keeps, and what becomes of rows that do not simply continue their series.

    Raises:
        ConfigError: a value is none of those allowed.
    """

    mode: str = "window"
    late: str = "error"
    new_series: str = "add"

    def __post_init__(self) -> None:
        for name, allowed in (("mode", Mode), ("late", Late), ("new_series", NewSeries)):
            if (value := getattr(self, name)) not in get_args(allowed):
                raise ConfigError(f"{name} is {value!r}: expected {' or '.join(get_args(allowed))}")


class StreamBase:
    """A stream's parts.

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
        scoring: Scoring | None,
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
        self._lowest = head_of(network, fitted.config, fitted.spec).lower  # of counts, for example, 0
        self._encoder = Encoder(self._programs, self._maker)
        self._reader = RowReader(fitted)

    @property
    def ids(self) -> list[str]:
        """The identifiers of the series, as text."""
        return list(self._ids)

    @property
    def state(self) -> StreamState:
        """The last rows, the statistics and the recurrent state, as one pytree of arrays."""
        return self._state

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

    def newest_time(self, series: int) -> int | None:
        """The time of the newest observed row of a series, on the frequency's clock; None before the first."""
        newest = self._state.newest[[series]]
        return None if newest[0] < 0 else int(self._tail.schema.frequency.at(self._state.start[[series]], newest)[0])

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

    def _scores(self) -> Scoring:
        """What is remembered of forecasts; made with the first of them, since it is large."""
        if self._scoring is None:
            self._scoring = Scoring.begin(self._state.number, self._h, self._sizes.targets, self._held)
        return self._scoring


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
