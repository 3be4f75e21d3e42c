"""The training loop on the host: calls the compiled programs one chunk of steps at a time, and its callbacks.

It knows nothing of files, terminals or signals: these are callbacks.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lstmjax import parallel
from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.training.callback import Callback, Callbacks
from lstmjax.training.data import MembersData
from lstmjax.training.functional import Initializer, Network, Weights, functional, widest
from lstmjax.training.hyperparameters import Hyperparameters
from lstmjax.training.plan import Plan, fill_members, make_plan
from lstmjax.training.population import initializer
from lstmjax.training.report import Check, Status, TrainResult
from lstmjax.training.state import TrainState, is_active
from lstmjax.training.validation import Scores

CHUNK_SECONDS = 2.0
"""How long a chunk of steps should take, so that signals, progress and saves get their turn."""


def train(
    network: Network,
    data: MembersData,
    optimizer: OptimizerConfig,
    config: TrainConfig,
    *,
    seeds: Sequence[int] | None = None,
    hyperparameters: Sequence[Hyperparameters] | None = None,
    state: TrainState | Callable[[], TrainState] | None = None,
    until: int | None = None,
    mapping: parallel.MappingName | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Trains a network, or a population of them, on windows of a panel.

    With the same arguments and the same number of batch shards the result has the same bytes, however long the
    chunks, and whether or not the run was interrupted and resumed.

    Args:
        network: a function from a key to a new network, or a network that has its weights already (then every
            member begins with them).
        data: what to train on: the same for all members, or one for each, with windows and statistics of its own and
            the panel in common; `Assigned` where several members have the same.
        optimizer: how gradients become updates.
        config: how long, on what, and when to stop.
        seeds: one per member. Default: ``config.seed``, one member.
        hyperparameters: one for each member, instead of seeds, where members differ in more.
        state: the state to continue from, with as many members; or a function that makes it, so that no caller holds
            on to its memory.
        until: stop at this step, short of ``config.max_steps``, without a check of its own.
        mapping: see `parallel.over_members`. Default: by platform.
        callbacks: called as training goes, see `Callback`.

    Returns:
        The last state, and how it was reached. A member whose loss ceased to be finite raises nothing here: see
        `TrainResult.failure`.

    Raises:
        DataError: no window to train on.
        ConfigError: the shards asked for do not divide the batch.
        ValueError: ``state`` has another number of members, or members at different steps; the members' data have no
            panel in common, or call for batches of different sizes.
        Exception: what a callback raised, once all of them were called with the last state.
    """
    began = time.monotonic()
    structure, first = functional(network)
    if hyperparameters is None:
        seeds = (config.seed,) if seeds is None else seeds
        hyperparameters = [Hyperparameters.from_config(optimizer, config, seed=seed) for seed in seeds]
    plan = make_plan(structure, data, optimizer, config, hyperparameters, mapping, widest=widest(first))

    current = _stop_fillers(_first_state(plan, first, state), plan.members, plan.mesh)
    end = config.max_steps if until is None else min(until, config.max_steps)
    pace = _Pace(config.chunk_steps)
    step = _common_step(current)
    called = Callbacks(callbacks)
    called.notify("on_start", Status(step, config.max_steps, 0.0, np.full(plan.members, np.nan, np.float32)))
    interrupted, refused = False, parallel.agree(called.error is not None)
    while not refused and step < end and _any_active(current):
        due = min((step // config.val_check_steps + 1) * config.val_check_steps, config.max_steps)
        stop = min(due, end, step + parallel.from_first(pace.steps))
        current = pace.time(stop - step, functools.partial(plan.run, current, step, stop))
        step = stop
        called.notify("on_chunk", _status(current, step, config.max_steps, pace.rate, plan))
        if step == due and _any_active(current):
            current, scores = plan.check(current)
            called.notify("on_check", _checked(current, scores, step, time.monotonic() - began, pace.rate, plan))
        if parallel.agree(called.should_stop()):
            interrupted = step < end and _any_active(current)
            break
    result = TrainResult(
        network=structure,
        state=_fetch(current, plan),
        interrupted=interrupted,
        seconds=time.monotonic() - began,
        batch_size=plan.setting.batch_size,
        batch_shards=plan.setting.batch_shards,
    )
    called.notify("on_end", result)
    with parallel.together():
        if called.error is not None:
            raise called.error
    return result


def make_train(
    network: Network,
    data: MembersData,
    optimizer: OptimizerConfig,
    config: TrainConfig,
    *,
    mapping: parallel.MappingName | None = None,
) -> Callable[..., TrainResult]:
    """Fixes what is compiled in.

    Args:
        network: see `train`.
        data: what the members are trained on, as for `train`.
        optimizer: of it, what is compiled in: the names, and whether gradients are clipped.
        config: how long to train, and of it what is compiled in: the loss, the batch size and its shards.
        mapping: see `parallel.over_members`.

    Returns:
        ``train(hyperparameters=[...], state=None, until=None, ...) -> TrainResult``: a function of what differs by
        member, the seed included, so that new values compile nothing; the other arguments as for `train`.
    """
    return functools.partial(train, network, data, optimizer, config, mapping=mapping)


class _Pace:
    """How many steps to take at a time."""

    def __init__(self, fixed: int | None) -> None:
        self.fixed = fixed
        self.steps = 1 if fixed is None else fixed
        self.rate = 0.0
        self._compiled = False

    def time(self, steps: int, run: Callable[[], TrainState]) -> TrainState:
        """Runs a chunk, and adapts to how long it took; not to the first, which is mostly compilation."""
        began = time.monotonic()
        state = jax.block_until_ready(run())
        seconds = max(time.monotonic() - began, 1e-9)
        if self._compiled:
            self.rate = steps / seconds
        if self.fixed is None:
            # A few steps at first: the second chunk of a slow model would otherwise take minutes.
            self.steps = max(1, min(8 * self.steps, int(self.rate * CHUNK_SECONDS))) if self._compiled else 2
        self._compiled = True
        return state


def first_weights(first: Initializer | Weights) -> tuple[Initializer | None, Weights | None]:
    """What draws the members' first weights, and the weights that all begin with: one of the two is None."""
    return (None, first) if isinstance(first, Weights) else (first, None)


def _first_state(
    plan: Plan, first: Initializer | Weights, given: TrainState | Callable[[], TrainState] | None = None
) -> TrainState:
    """The state to begin with: the given one, or that of new weights."""
    if given is not None:
        return fill_members(given() if callable(given) else given, plan.members, plan.mesh)
    draw, weights = first_weights(first)
    setting = plan.setting
    program = initializer(setting.network, draw, setting.optimizer, setting.schedule, plan.mesh, plan.mapping)
    return program(plan.hyper, parallel.place_shared(weights, plan.mesh))


# One program of all arrays each: an operation at a time, every shape of an array would be compiled.
_is_active = jax.jit(is_active)


@functools.partial(jax.jit, static_argnums=1)
def _first_members(state: TrainState, members: int) -> TrainState:
    return jax.tree.map(lambda leaf: leaf[:members], state)


def _stop_fillers(state: TrainState, members: int, mesh: Mesh) -> TrainState:
    """Members that only fill the mesh are stopped from the start."""
    filler = np.arange(len(state.stopped)) >= members
    return state._replace(stopped=parallel.place_members(parallel.fetch(state.stopped) | filler, mesh))


def _any_active(state: TrainState) -> bool:
    return bool(np.any(parallel.fetch(_is_active(state))))


def _common_step(state: TrainState) -> int:
    """The step at which all members that still train are."""
    steps, active = parallel.fetch((state.step, _is_active(state)))
    going = set(steps[active].tolist()) or {int(steps.max())}
    if len(going) > 1:
        raise ValueError(f"state must have its active members at one step, got {sorted(going)}")
    return going.pop()


def _fetch(tree: Any, plan: Plan) -> Any:
    """Arrays by member as NumPy, without members that only fill the mesh."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: plan.members], parallel.fetch(tree))


def _status(state: TrainState, step: int, max_steps: int, rate: float, plan: Plan) -> Status:
    total, count = _fetch((state.loss_sum, state.loss_count), plan)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return Status(step, max_steps, rate, mean)


def _checked(state: TrainState, scores: Scores, step: int, seconds: float, rate: float, plan: Plan) -> Check:
    found, best_step, best_loss, active = _fetch((scores, state.best_step, state.best_loss, _is_active(state)), plan)
    state = parallel.whole(state)
    if len(state.step) > plan.members:
        state = _first_members(state, plan.members)
    return Check(
        step=step,
        state=state,
        train_loss=found.train_loss,
        val_loss=found.loss,
        val_mae=found.mae,
        val_mse=found.mse,
        learning_rate=found.learning_rate,
        objective=found.objective,
        best_step=best_step,
        best_loss=best_loss,
        active=active,
        seconds=seconds,
        steps_per_second=rate,
    )
