"""Populations: members that share a compiled program, what they are trained on, and the state of each."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from lstmjax.config import DataConfig, RunConfig
from lstmjax.data.folds import ONE_FOLD, Folds
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared
from lstmjax.errors import ConfigError, DataError
from lstmjax.forecaster.checkpoints import state_template, training_summary
from lstmjax.forecaster.fit import resolved_config
from lstmjax.forecaster.fitted import Fitted, Trained
from lstmjax.forecaster.network import network_for, network_name
from lstmjax.models.user_network import NetworkMaker, check_own_network, own_name
from lstmjax.sweep.population.folds import training_data
from lstmjax.sweep.population.trial import Trial
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.space.traced import numbers, static_part
from lstmjax.training import Assigned, Hyperparameters, Network, TrainingData, TrainResult, TrainState, functional


@dataclasses.dataclass(frozen=True)
class Member:
    """One model: a trial trained on one fold from one seed."""

    trial: int
    """Number of its trial."""
    config: RunConfig
    """All options of its trial, with its own seed."""
    numbers: Hyperparameters
    """Its traced options."""
    fold: int = 0
    """Which of the population's folds it is trained and validated on."""

    @property
    def name(self) -> str:
        """Its name among the members of its trial."""
        seed = f"seed {self.config.train.seed}"
        return f"fold {self.fold}, {seed}" if self.fold else seed


@dataclasses.dataclass
class Population:
    """Members that share a compiled program.

    Attributes:
        config: the options that are compiled in.
        prepared: the data, prepared as these options say, with the split of fold 0.
        folds: what the members of each fold are trained on.
        own: makes the networks; None for that of ``config.model``.
        members: M members.
        state: of all members, NumPy arrays with a leading axis of M; None before they are begun.
        checks: for each member what each validation check found, by step: a line of ``metrics.jsonl``, and the
            ``objective``.
        seconds: (M,) each member's share of the time.
        slots: members trained at once, at most; None before that is known.
    """

    config: RunConfig
    prepared: Prepared
    folds: tuple[TrainingData, ...]
    own: NetworkMaker | None
    members: list[Member]
    state: TrainState | None = None
    slots: int | None = None

    def __post_init__(self) -> None:
        self.checks: list[dict[int, dict[str, Any]]] = [{} for _ in self.members]
        self.seconds = np.zeros(len(self.members))

    @property
    def network(self) -> Network:
        """Draws the networks."""
        return network_for(self.own, self.config, self.prepared.spec)

    @property
    def steps(self) -> np.ndarray:
        """(M,) updates of each member."""
        return np.zeros(len(self.members), np.int32) if self.state is None else np.asarray(self.state.step)

    @property
    def member_steps(self) -> int:
        """Updates of all members; of those that are trained just now, up to their last check."""
        return sum(max([int(step), *checks]) for step, checks in zip(self.steps, self.checks, strict=True))

    def data(self, rows: Sequence[int]) -> Assigned:
        """What some members are trained on."""
        return Assigned(self.folds, [self.members[row].fold for row in rows])

    def log(self, row: int) -> list[dict[str, Any]]:
        """What each validation check of a member found: the lines of its ``metrics.jsonl``."""
        return [{k: v for k, v in line.items() if k != "objective"} for _, line in sorted(self.checks[row].items())]

    def kept(self, row: int) -> float:
        """The objective of a member's kept weights; infinite before any check."""
        lines = self.checks[row]
        best = lines[max(lines)]["best_step"] if lines else None
        objective = lines[best]["objective"] if best in lines else math.nan
        return math.inf if math.isnan(objective) else objective

    def is_active(self, row: int) -> bool:
        """Whether a member would be trained further: it neither stopped early nor failed."""
        return self.state is None or not (self.state.stopped[row] or self.state.failed_step[row] >= 0)

    def failure(self, row: int) -> str | None:
        """One line on why a member failed; None if it did not."""
        return None if self.state is None else self._result().failure(row)

    def take(self, rows: Sequence[int], slots: Sequence[int]) -> TrainState:
        """The state of some members.

        Args:
            rows: the member in each slot.
            slots: those that are trained; members in others are stopped.
        """
        taken: TrainState = jax.tree.map(lambda leaf: leaf[list(rows)], self.state)
        stopped: Any = np.ones(len(rows), bool)
        stopped[list(slots)] = taken.stopped[list(slots)]
        return taken._replace(stopped=stopped)

    def put(self, rows: Sequence[int], state: TrainState, slots: Sequence[int]) -> None:
        """Stores the new state of some members.

        Args:
            rows: the members.
            state: of all that were trained at once.
            slots: for each of ``rows`` its place in that state.
        """
        if self.state is None:
            self.state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self.template())
        for whole, part in zip(jax.tree.leaves(self.state), jax.tree.leaves(jax.device_get(state)), strict=True):
            whole[list(rows)] = np.asarray(part)[list(slots)]

    def template(self) -> TrainState:
        """The shapes of the state."""
        return state_template(self.network, self.config.optimizer, self.config.train, len(self.members))

    def fitted(self, row: int) -> Fitted:
        """The trained forecaster of a member of fold 0."""
        member, result = self.members[row], self._result()
        assert member.fold == 0
        resolved = resolved_config(member.config, self.prepared, self.own, len(self.members))
        trained = Trained.of(
            self.prepared,
            # A copy, as a view of one member's weights would keep those of all in memory.
            jax.tree.map(np.array, result.weights(row)),
            training_summary(result, row, seconds=float(self.seconds[row])),
        )
        return Fitted.of(resolved, network_name(self.own, resolved), self.prepared, trained)

    def _result(self) -> TrainResult:
        assert self.state is not None
        structure, _ = functional(self.network)
        return TrainResult(structure, self.state, False, 0.0, self.config.train.batch_size, 1)


def make_populations(
    base: RunConfig,
    panel: Panel,
    space: Space,
    trials: Sequence[Trial],
    *,
    seeds: int,
    metric: str,
    folds: Folds = ONE_FOLD,
    network: NetworkMaker | None = None,
) -> tuple[list[Population], dict[int, str]]:
    """Divides trials into populations, by the options that are compiled in, and prepares the data of each.

    Args:
        base: the options that the trials do not name.
        panel: the data.
        space: what is searched.
        trials: the trials.
        seeds: members per trial and fold.
        metric: what trials are ranked by.
        folds: how many folds, and how far apart.
        network: see `train_block`.

    Returns:
        The populations, in the order of their first trials; and for each trial that cannot be trained, by its number,
        why: its options contradict each other, or its data cannot be prepared.

    Raises:
        ConfigError: the metric is unknown, or cannot be computed for this data; or as in `check_network`.
        DataError: the base config's data cannot be used.
    """
    check_network(network, space)

    @functools.cache
    def prepared_as(config: DataConfig) -> tuple[Prepared, tuple[TrainingData, ...]]:
        return training_data(panel, config, folds, metric=metric, space=space, base=base)

    spec = prepared_as(base.data)[0].spec  # an error here is an error of every trial
    if network is not None:
        check_own_network(network, spec)
    refused: dict[int, str] = {}
    members_of: dict[RunConfig, list[Member]] = {}
    for trial in trials:
        try:
            config = base.replace({**trial.params, "train.batch_shards": 1}).chosen
        except ConfigError as error:
            refused[trial.number] = str(error)
            continue
        members = members_of.setdefault(static_part(config, space.names), [])
        for fold, seed in itertools.product(range(folds.count), range(seeds)):
            own = config.replace({"train.seed": config.train.seed + seed})
            members.append(Member(trial.number, own, numbers(own, space.names, seed=own.train.seed), fold))
    populations = []
    for config, members in members_of.items():
        try:
            prepared, data = prepared_as(config.data)
            config = resolved_config(config, prepared, network, seeds * folds.count)
            fewest = min(len(fold.train.series) for fold in data)  # one size of batches for all folds
            config = config.replace({"train.batch_size": min(config.train.batch_size, fewest)})
            populations.append(Population(config, prepared, data, network, members))
        except (ConfigError, DataError) as error:
            refused |= {member.trial: str(error) for member in members}
    return populations, refused


def check_network(network: NetworkMaker | None, space: Space, source: str = "space") -> None:
    """Validates a network of the user's own.

    Args:
        network: makes the networks; None for that of ``config.model``, which is always valid.
        space: what is searched.
        source: where the space came from, for the messages.

    Raises:
        ConfigError: the network is a module, or the space has options of ``config.model``.
    """
    if isinstance(network, nnx.Module):
        raise ConfigError(
            f"network is a module ({own_name(network)}): give the class or function (spec, *, rngs) that makes it, as "
            "every member draws its own weights"
        )
    for name, _ in space.parameters if network is not None else ():
        if name.startswith("model."):
            raise ConfigError(f"{source}: {name} has no effect on a network of your own: remove it from the space")
