"""Trials that share a compiled program: what they are trained on, and where each of their members is."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from lstmjax import models
from lstmjax.config import DataConfig, RunConfig
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError
from lstmjax.forecaster.checkpoint import state_template, summary
from lstmjax.forecaster.fitted import Fitted
from lstmjax.sweep.population.objective import make_objective
from lstmjax.sweep.population.trial import Trial
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.space.traced import numbers, static_part
from lstmjax.training import Hyperparameters, TrainingData, TrainResult, TrainState, functional


class Member(NamedTuple):
    """One model: a trial trained from one seed."""

    trial: int
    """Position of its trial in the block."""
    config: RunConfig
    """All options of its trial, with its own seed."""
    numbers: Hyperparameters
    """What is traced of it."""


@dataclasses.dataclass
class Group:
    """Members that share a compiled program.

    Attributes:
        config: what is compiled in.
        prepared: the data as the trials have them.
        data: what is trained on.
        network: draws the networks.
        members: M members.
        state: of all members, NumPy arrays with a leading axis of M; None before they are begun.
        kept: (M,) the objective of each member's kept weights; infinite before any check.
        history: for each member the objective at each check, by step.
        seconds: (M,) each member's share of the time.
        lanes: members trained together, at most; None before that is known.
    """

    config: RunConfig
    prepared: Prepared
    data: TrainingData
    network: models.Builder
    members: list[Member]
    state: TrainState | None = None
    kept: np.ndarray = dataclasses.field(init=False)
    history: list[dict[int, float]] = dataclasses.field(init=False)
    seconds: np.ndarray = dataclasses.field(init=False)
    lanes: int | None = None

    def __post_init__(self) -> None:
        self.kept = np.full(len(self.members), np.inf)
        self.history = [{} for _ in self.members]
        self.seconds = np.zeros(len(self.members))

    @property
    def steps(self) -> np.ndarray:
        """(M,) updates that each member did."""
        return np.zeros(len(self.members), np.int32) if self.state is None else np.asarray(self.state.step)

    def rows(self, trials: Sequence[int]) -> list[int]:
        """The members of some trials."""
        wanted = set(trials)
        return [row for row, member in enumerate(self.members) if member.trial in wanted]

    def is_active(self, row: int) -> bool:
        """Whether a member would be trained further: it neither stopped early nor failed."""
        return self.state is None or not (self.state.stopped[row] or self.state.failed_step[row] >= 0)

    def failure(self, row: int) -> str | None:
        """One line on why a member failed; None if it did not."""
        return None if self.state is None else self._result().failure(row)

    def take(self, rows: Sequence[int]) -> TrainState:
        """The state of some members."""
        assert self.state is not None
        return jax.tree.map(lambda leaf: leaf[list(rows)], self.state)

    def put(self, rows: Sequence[int], state: TrainState, lanes: Sequence[int]) -> None:
        """Takes over the new state of some members.

        Args:
            rows: which members.
            state: of a population that they were part of.
            lanes: for each of ``rows`` its place in that population.
        """
        chosen = np.asarray(lanes)
        if self.state is None:
            self.state = jax.tree.map(
                lambda leaf: np.zeros((len(self.members), *np.shape(leaf)[1:]), np.asarray(leaf).dtype), state
            )
        for whole, part in zip(jax.tree.leaves(self.state), jax.tree.leaves(jax.device_get(state)), strict=True):
            whole[list(rows)] = np.asarray(part)[chosen]

    def template(self) -> TrainState:
        """The shapes of the state."""
        return state_template(self.network, self.config.optimizer, self.config.train, len(self.members))

    def fitted(self, row: int) -> Fitted:
        """What is kept of a member."""
        member = self.members[row]
        result = self._result()
        resolved = dataclasses.replace(member.config, data=self.prepared.config)
        return Fitted.of(resolved, member.config.model.name, self.prepared)._replace(
            # A copy, lest one member's weights hold on to those of all.
            weights=jax.tree.map(np.array, result.weights(row)),
            summary=summary(result, row, seconds=float(self.seconds[row])),
        )

    def _result(self) -> TrainResult:
        assert self.state is not None
        structure, _ = functional(self.network)
        return TrainResult(structure, self.state, False, 0.0, self.config.train.batch_size, 1)


class Groups(NamedTuple):
    """The trials of a block, by what they share."""

    groups: list[Group]
    refused: dict[int, str]
    """Why a trial cannot be trained, by its position."""


def make_groups(
    base: RunConfig, panel: Panel, space: Space, trials: Sequence[Trial], *, seeds: int, metric: str
) -> Groups:
    """Sorts trials by what is compiled in, and prepares the data of each group.

    Args:
        base: the options that trials do not name.
        panel: the data.
        space: what is searched.
        trials: which.
        seeds: members of each.
        metric: what trials are ranked by.

    Returns:
        The groups, in the order of their first trials. A trial whose options do not go together, or whose data
        cannot be prepared, is refused.

    Raises:
        ConfigError: the metric cannot be had.
        DataError: the base config's data cannot be used.
    """
    data = _Data(panel, space.longest_lookback(base), metric)
    data.training(base.data)  # what is wrong with this is wrong with every trial
    refused: dict[int, str] = {}
    sorted_members: dict[RunConfig, list[Member]] = {}
    for position, trial in enumerate(trials):
        try:
            config = base.replace({**trial.params, "train.batch_shards": 1})
        except ConfigError as error:
            refused[position] = str(error)
            continue
        members = sorted_members.setdefault(static_part(config, space.names), [])
        for seed in range(config.train.seed, config.train.seed + seeds):
            own = config.replace({"train.seed": seed})
            members.append(Member(position, own, numbers(own, space.names, seed=seed)))
    groups = []
    for config, members in sorted_members.items():
        try:
            groups.append(_make_group(config, data, members))
        except (ConfigError, DataError) as error:
            refused |= {member.trial: str(error) for member in members}
    return Groups(groups, refused)


def _make_group(config: RunConfig, data: "_Data", members: list[Member]) -> Group:
    prepared, training = data.training(config.data)
    network = models.Builder(prepared.spec, config.model)
    functional(network)  # which refuses options that do not go together
    return Group(config, prepared, training, network, members)


class _Data:
    """The data as trials have them, prepared once for all that have them alike."""

    def __init__(self, panel: Panel, longest: int, metric: str) -> None:
        self.panel, self.longest, self.metric = panel, longest, metric
        self._prepared: dict[DataConfig, tuple[Prepared, TrainingData]] = {}

    def training(self, config: DataConfig) -> tuple[Prepared, TrainingData]:
        if config not in self._prepared:
            prepared = prepare(self.panel, config, with_test=True)
            prepared = prepared._replace(validation=common_windows(prepared.validation, self.longest))
            objective = make_objective(self.metric, prepared)
            self._prepared[config] = (
                prepared,
                TrainingData(prepared.arrays, prepared.train, prepared.validation, prepared.spec, objective),
            )
        return self._prepared[config]


def common_windows(windows: Windows, longest: int) -> Windows:
    """The windows that all trials are validated on: those whose longest lookback lies within the series.

    So no trial is judged by a window that is padded for others. Where every window would be, all of them count.

    Args:
        windows: those whose targets lie in validation rows.
        longest: the longest lookback of any trial, in rows.
    """
    whole = np.asarray(windows.origin) >= longest
    return Windows(*(np.asarray(column)[whole] for column in windows)) if whole.any() else windows
