"""A training step, and runs of steps: from window indices to updated weights, for one member.

Written for one member; `parallel.over_members` maps it over a population. Inside it the axis "batch" holds the parts
into which a batch is split.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from lstmjax import parallel
from lstmjax.data.windows import PanelArrays, Rescaling, Windows, gather, shortened
from lstmjax.training.batch_order import batch_positions
from lstmjax.training.feed import PARTS, Fed, of_part
from lstmjax.training.functional import Functional, Weights
from lstmjax.training.hyperparameters import Hyperparameters
from lstmjax.training.joined_weights import JoinedWeights
from lstmjax.training.losses import Loss, loss_values
from lstmjax.training.objective import Measure, Units
from lstmjax.training.optimizer import OPTIMIZERS, clip
from lstmjax.training.schedules import learning_rate
from lstmjax.training.state import TrainState, is_active, noise_key
from lstmjax.window import Target, WindowBatch, WindowSpec


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a compiled training program depends on besides the shapes of its arrays. Hashable.

    Attributes:
        network: the network without its arrays.
        spec: sizes of a window.
        optimizer: key of `OPTIMIZERS`.
        schedule: key of `SCHEDULES`.
        clip_value: whether gradients are bounded by element.
        clip_norm: whether gradients are bounded by global norm.
        random_lookback: whether a random number of each window's first rows is masked.
        loss: key of `LOSSES`, or a function of the user's own.
        batch_size: windows per step, over all parts.
        batch_shards: parts of a batch.
        block_size: windows that validation looks at together, over all parts.
        objective: what a sweep ranks by; None where nothing is ranked.
    """

    network: Functional
    spec: WindowSpec
    optimizer: str
    schedule: str
    clip_value: bool
    clip_norm: bool
    random_lookback: bool
    loss: Loss
    batch_size: int
    batch_shards: int
    block_size: int
    objective: Measure | None = None


class MemberData(NamedTuple):
    """What a member sees of the data that are on the device: numbers only, so that members may differ in them."""

    first_window: Int[Any, "*K"]
    """Where its training windows begin in the table of all training windows."""
    window_count: Int[Any, "*K"]
    """Its training windows."""
    first_block: Int[Any, "*K"]
    """Where its validation blocks begin in the table of all validation windows, in blocks."""
    block_count: Int[Any, "*K"]
    """Its validation blocks."""
    rescaling: Rescaling | None = None
    """From the panel's scaled units to its own; None where they are the same."""
    units: Units | None = None
    """Of the objective; None where nothing is ranked."""


_LOOKBACK = 3  # tells the key of lookbacks from those of dropout, which streams make of the same key

Member = tuple[TrainState, Hyperparameters, MemberData | None, Fed | None]
"""State and numbers of one member, its data where they are not those of all, and its windows where the host cut them
out."""

MEMBER_PARTS = (*(PartitionSpec("member"),) * 3, PARTS)
"""How members lie on the devices."""


class Span(NamedTuple):
    """What all members share in a run of steps, which begins where each of them is."""

    arrays: PanelArrays | None
    """None where the host cuts windows out."""
    windows: Windows | None
    """All training windows."""
    data: MemberData | None
    """Which of them the members learn from; None where that differs by member."""
    stop: Int[Array, ""]
    """Updates after which to stop, counted from the beginning of the run."""
    first: Int[Array, ""] | None = None
    """The step of the first windows that the host cut out."""


def run_steps(setting: Setting, member: Member, span: Span) -> TrainState:
    """Trains one member from where it is up to step ``stop``, or until it fails.

    The batch of a step is a function of the member's seed and the step (`batch_positions`), and the end of the span is
    traced: so one compilation serves spans of every length, and a run cut into spans has the bytes of a run in one.

    Args:
        setting: what is compiled in.
        member: its state, its numbers, and its data where they are not those of all.
        span: which steps, on what.

    Returns:
        The state afterwards; a member that had stopped or failed is left as it is.
    """
    state, hyper, own, fed = member
    fed = of_part(fed)
    data = member_data(own, span.data)
    layout = JoinedWeights.of(state.params)

    def step(state: TrainState) -> TrainState:
        if fed is None:
            assert span.arrays is not None
            windows = _part_of_batch(setting, span.windows, data, hyper, state.step)
            spec = setting.spec
            batch = gather(span.arrays, windows, input_size=spec.input_size, h=spec.h, rescaling=data.rescaling)
        else:
            assert span.first is not None
            size = setting.batch_size // setting.batch_shards
            batch = fed.gather(state.step - span.first, size, setting.spec, data.rescaling)
        return train_step(setting, layout, state, hyper, data, batch)

    state = state._replace(params=layout.join(state.params), opt_state=layout.join_state(state.opt_state))
    state = lax.while_loop(lambda s: (s.step < span.stop) & is_active(s), step, state)
    return state._replace(params=layout.split(state.params), opt_state=layout.split_state(state.opt_state))


def member_data(own: MemberData | None, shared: MemberData | None) -> MemberData:
    """A member's own data, or else those that all members share."""
    data = shared if own is None else own
    assert data is not None
    return data


def _part_of_batch(
    setting: Setting, windows: Windows | None, data: MemberData, hyper: Hyperparameters, step: Int[Array, ""]
) -> Windows:
    """This device's windows of the batch of a step."""
    size = setting.batch_size // setting.batch_shards
    positions = batch_positions(hyper.seed, step, data.window_count, setting.batch_size)
    chosen = data.first_window + lax.dynamic_slice_in_dim(positions, lax.axis_index("batch") * size, size)
    return jax.tree.map(lambda column: column[chosen], windows)


def train_step(
    setting: Setting,
    layout: JoinedWeights,
    state: TrainState,
    hyper: Hyperparameters,
    data: MemberData,
    batch: tuple[WindowBatch, Target],
) -> TrainState:
    """One update from one batch, of which this device holds a part.

    Args:
        setting: what is compiled in.
        layout: how the weights and the optimiser's state are joined in ``state``.
        state: the member's state; it must be active.
        hyper: its numbers.
        data: what it sees of the data.
        batch: this device's windows.

    Returns:
        The state with ``step`` one higher; or, where the loss, the gradient or the new weights are not finite, the
        state as it was with ``failed_step`` set.
    """
    loss, gradients, model_state = _gradients(setting, layout, state, hyper, batch)
    norm = optax.tree.norm(gradients)
    gradients = clip(gradients, norm, hyper, by_value=setting.clip_value, by_norm=setting.clip_norm)
    rate = current_rate(setting, state, hyper, data)
    transformation = OPTIMIZERS[setting.optimizer](hyper, rate)
    updates, opt_state = transformation.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)

    taken = state._replace(
        params=params,
        model_state=model_state,
        opt_state=opt_state,
        step=state.step + 1,
        loss_sum=state.loss_sum + loss,
        loss_count=state.loss_count + 1,
    )
    refused = state._replace(failed_step=state.step)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm) & _all_finite(params)
    # A select, which XLA fuses into the update, rather than a branch, which would copy the state.
    return jax.tree.map(lambda new, old: jnp.where(finite, new, old), taken, refused)


def current_rate(setting: Setting, state: TrainState, hyper: Hyperparameters, data: MemberData) -> Float[Array, ""]:
    """The learning rate of the member's next step: the schedule's, and under plateau its factor besides."""
    steps_per_epoch = data.window_count // setting.batch_size
    rate = learning_rate(setting.schedule, state.step, hyper, steps_per_epoch)
    return rate if state.plateau is None else rate * state.plateau.scale


def _gradients(
    setting: Setting,
    layout: JoinedWeights,
    state: TrainState,
    hyper: Hyperparameters,
    batch: tuple[WindowBatch, Target],
) -> tuple[Float[Array, ""], dict[str, Array], dict[str, Array]]:
    """Loss and joined gradient of the whole batch, and the network's new state: the same on all parts."""
    spec = setting.spec
    window, target = batch
    counts = 1.0 if target.weight is None else target.weight[..., None]  # (B, H, 1)
    shard = lax.axis_index("batch")
    key = noise_key(hyper.seed, state.step, shard)
    if setting.random_lookback:
        drawn = jax.random.randint(jax.random.fold_in(key, _LOOKBACK), (len(window.y),), 1, spec.input_size + 1)
        window = shortened(window, drawn)

    def loss_sum(params: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        weights = Weights(params, state.model_state)
        forecast, model_state = setting.network.forecast_in_training(weights, window, key, shard)
        losses = loss_values(setting.loss, forecast, target, hyper)
        # The sum is float32 whatever the network computes in, as the state's is.
        return jnp.sum(jnp.where(target.mask, losses, 0.0) * counts, dtype=jnp.float32), model_state

    (total, model_state), gradients = jax.value_and_grad(loss_sum, has_aux=True)(layout.split(state.params))
    gradients = layout.join(gradients)
    observed = jnp.sum(target.mask * counts, dtype=jnp.float32)
    if setting.batch_shards > 1:
        # One sum for all, since every sum over devices costs a synchronisation.
        # Running statistics become the parts' mean; as changes, so that what did not change stays as it is.
        changes = {
            name: (new - state.model_state[name]) / setting.batch_shards
            for name, new in model_state.items()
            if jnp.issubdtype(new.dtype, jnp.floating)
        }
        total, observed, gradients, changes = parallel.sum_over_batch((total, observed, gradients, changes))
        model_state = model_state | {name: state.model_state[name] + change for name, change in changes.items()}
    weight = jnp.where(observed > 0.0, 1.0 / jnp.where(observed > 0.0, observed, 1.0), 0.0)
    return total * weight, jax.tree.map(lambda g: g * weight, gradients), model_state


def _all_finite(params: dict[str, Array]) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in params.values()]))
