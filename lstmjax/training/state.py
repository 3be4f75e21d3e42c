"""All that changes while a member is trained. Saved and loaded again, training continues to the same bytes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from lstmjax.training.functional import Arrays, Weights
from lstmjax.training.hyperparameters import Hyperparameters
from lstmjax.training.optimizer import OPTIMIZERS


class Plateau(NamedTuple):
    """What the plateau schedule remembers of the validation checks."""

    scale: Float[Array, "*K"]
    """Factor of the learning rate."""
    best: Float[Array, "*K"]
    """Validation loss a check must undercut to count as an improvement."""
    bad_checks: Int[Array, "*K"]
    """Checks since then."""


class TrainState(NamedTuple):
    """The state of one member; in a population every leaf has a leading axis of members.

    Only arrays of numbers (random keys as raw words), so that a checkpoint is a set of plain arrays. The position in
    the data follows from ``step``: the windows and the dropout masks of a step are functions of (seed, step).
    """

    params: Arrays
    """Weights after ``step`` updates."""
    model_state: Arrays
    """The network's other arrays after ``step`` updates."""
    opt_state: Any
    """The optimiser's state, as Optax has it."""
    step: Int[Array, "*K"]
    """Updates done."""
    best_params: Arrays
    """Weights at the validation check with the lowest loss; the first weights before any check."""
    best_model_state: Arrays
    """The network's other arrays at that check."""
    best_step: Int[Array, "*K"]
    """Updates at that check; -1 before any."""
    best_loss: Float[Array, "*K"]
    """Validation loss at that check; infinite before any."""
    bad_checks: Int[Array, "*K"]
    """Checks since then."""
    stopped: Bool[Array, "*K"]
    """True once stopped early."""
    failed_step: Int[Array, "*K"]
    """The step, counted from 0, whose loss, gradient or weights were not finite and which was therefore not taken;
    -1: none. A member that failed is not trained further."""
    plateau: Plateau | None
    """Of the plateau schedule; None under every other, whose learning rate validation does not touch."""
    loss_sum: Float[Array, "*K"]
    """Sum of the batches' losses since the last check."""
    loss_count: Int[Array, "*K"]
    """Number of batches in it."""


def is_active(state: TrainState) -> Bool[Array, "*K"]:
    """True for members that neither stopped early nor failed."""
    return ~state.stopped & (state.failed_step < 0)


def kept_weights(state: TrainState, member: int) -> Weights:
    """The weights that a member's run would end with: the best validated, or the latest if none were.

    Args:
        state: of a population; NumPy or JAX arrays.
        member: which.
    """
    checked = state.best_step[member] >= 0
    kept = (state.best_params, state.best_model_state) if checked else (state.params, state.model_state)
    return Weights(*jax.tree.map(lambda leaf: leaf[member], kept))


def first_state(weights: Weights, optimizer: str, schedule: str, hyper: Hyperparameters) -> TrainState:
    """The state of a member before its first update.

    Args:
        weights: its first weights.
        optimizer: key of `OPTIMIZERS`.
        schedule: key of `lstmjax.training.schedules.SCHEDULES`.
        hyper: its numbers.
    """
    transformation = OPTIMIZERS[optimizer](hyper, jnp.float32(0.0))
    return TrainState(
        params=weights.params,
        model_state=weights.model_state,
        opt_state=transformation.init(jax.tree.map(_wide, weights.params)),
        step=jnp.int32(0),
        best_params=weights.params,
        best_model_state=weights.model_state,
        best_step=jnp.int32(-1),
        best_loss=jnp.float32(jnp.inf),
        bad_checks=jnp.int32(0),
        stopped=jnp.bool_(False),
        failed_step=jnp.int32(-1),
        plateau=Plateau(jnp.float32(1.0), jnp.float32(jnp.inf), jnp.int32(0)) if schedule == "plateau" else None,
        loss_sum=jnp.float32(0.0),
        loss_count=jnp.int32(0),
    )


def _wide(weights: Array) -> Array:
    """In float32 at least, which the optimiser computes in: squares of small gradients are 0 in float16."""
    return weights.astype(jnp.promote_types(weights.dtype, jnp.float32))


def seed_key(seed: UInt32[Array, "2"]) -> PRNGKeyArray:
    """The key of all random draws of a member."""
    # Named rather than JAX's default: a run's bytes must not depend on a global setting.
    return jax.random.wrap_key_data(seed, impl="threefry2x32")


def weights_key(seed: UInt32[Array, "2"]) -> PRNGKeyArray:
    """The key of the initial weights."""
    return jax.random.fold_in(seed_key(seed), 0)


def order_key(seed: UInt32[Array, "2"], epoch: Int[Array, ""]) -> PRNGKeyArray:
    """The key of the order in which an epoch visits the windows."""
    return jax.random.fold_in(jax.random.fold_in(seed_key(seed), 1), epoch)


def noise_key(seed: UInt32[Array, "2"], step: Int[Array, ""], shard: Int[Array, ""]) -> PRNGKeyArray:
    """The key of the dropout masks of one step and one part of its batch."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(seed_key(seed), 2), step), shard)
