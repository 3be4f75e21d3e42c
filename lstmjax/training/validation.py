"""Validation checks: scores over all validation windows; early stopping and the plateau schedule follow from them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lstmjax.data.windows import PanelArrays, Windows, gather
from lstmjax.training.functional import Weights
from lstmjax.training.hyperparameters import Hyperparameters
from lstmjax.training.losses import loss_values
from lstmjax.training.state import Plateau, TrainState, is_active
from lstmjax.training.step import Member, MemberData, Setting, current_rate, member_data

PLATEAU_TOLERANCE = 1e-4
"""Relative improvement that the plateau schedule takes notice of; Optax's default."""


class Scores(NamedTuple):
    """The scores of a check, in scaled units, over all observed targets of all validation windows."""

    loss: Float[Array, "*K"]
    """The training loss's metric."""
    mae: Float[Array, "*K"]
    mse: Float[Array, "*K"]
    train_loss: Float[Array, "*K"]
    """Mean of the batches' losses since the last check."""
    learning_rate: Float[Array, "*K"]
    """Learning rate of the next step."""
    objective: Float[Array, "*K"]
    """What a sweep ranks by, see `lstmjax.training.objective`; NaN where nothing is ranked."""


class Held(NamedTuple):
    """What all members of a check share."""

    arrays: PanelArrays
    """The panel; or a small one, whose series are the windows that the host cut out."""
    windows: Windows
    """All validation windows, filled up to whole blocks."""
    counts: Bool[Array, "W"]
    """False for windows that only fill a block."""
    data: MemberData | None
    """Which of them the members are validated on; None where that differs by member."""
    series: Int[Array, "W"] | None = None
    """The series of each window in the whole panel; None: as in ``windows``."""


def check(setting: Setting, member: Member, held: Held) -> tuple[TrainState, Scores]:
    """Validates one member, and updates its early stopping and, under the plateau schedule, its plateau.

    Args:
        setting: what is compiled in.
        member: its state, its numbers, and its data where they are not those of all.
        held: the validation windows.

    Returns:
        The state afterwards, and the scores. A member that had stopped or failed is left as it is, with scores of NaN.
        Without validation windows the training loss is the only score, and no weights are selected.
    """
    state, hyper, own, _ = member
    data = member_data(own, held.data)
    not_a_number = jnp.float32(jnp.nan)

    def active(state: TrainState) -> tuple[TrainState, Scores]:
        train_loss = state.loss_sum / state.loss_count.astype(jnp.float32)
        state = state._replace(loss_sum=jnp.float32(0.0), loss_count=jnp.int32(0))
        loss = mae = mse = objective = not_a_number
        if held.counts.shape[0]:
            weights = Weights(state.params, state.model_state)
            loss, mae, mse, objective = evaluate(setting, weights, hyper, data, held)
            state = _move_early_stopping(state, hyper, loss)
            if state.plateau is not None:
                state = state._replace(plateau=_move_plateau(state.plateau, hyper, loss))
        return state, Scores(loss, mae, mse, train_loss, current_rate(setting, state, hyper, data), objective)

    def stopped(state: TrainState) -> tuple[TrainState, Scores]:
        return state, Scores(*(not_a_number,) * len(Scores._fields))

    return lax.cond(is_active(state), active, stopped, state)


def evaluate(
    setting: Setting, weights: Weights, hyper: Hyperparameters, data: MemberData, held: Held
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Loss, MAE and MSE over a member's windows, one block after the other; each part of the batch takes its share.

    Returns:
        Means over the observed targets, in scaled units; and the objective, NaN where there is none.
    """
    size = setting.block_size // setting.batch_shards
    spec = setting.spec

    def add_block(block: Array, sums: Float[Array, "6"]) -> Float[Array, "6"]:
        first = block * setting.block_size + lax.axis_index("batch") * size
        windows, counts, series = jax.tree.map(
            lambda column: lax.dynamic_slice_in_dim(column, first, size), (held.windows, held.counts, held.series)
        )
        series = windows.series if series is None else series
        sizes: dict[str, Any] = {"input_size": spec.input_size, "h": spec.h}
        window, target = gather(held.arrays, windows, **sizes, rescaling=data.rescaling, series=series)
        forecast = setting.network.forecast(weights, window)
        mask = target.mask & counts[:, None, None]
        losses = loss_values(setting.loss, forecast, target, hyper)
        if setting.objective is None or data.units is None:
            errors = jnp.zeros_like(losses)
        else:
            errors = setting.objective.errors(forecast, target.y, data.units, series)
        share = 1.0 if target.weight is None else target.weight[..., None]  # (B, H, 1): the loss's, as in training
        error = forecast.point() - target.y
        columns = (losses * share, jnp.abs(error), error * error, errors)
        new = [jnp.sum(jnp.where(mask, column, 0.0), dtype=jnp.float32) for column in columns]
        return sums + jnp.stack([*new, jnp.sum(mask, dtype=jnp.float32), jnp.sum(mask * share, dtype=jnp.float32)])

    last = data.first_block + data.block_count
    sums = lax.fori_loop(data.first_block, last, add_block, jnp.zeros(6, jnp.float32))
    if setting.batch_shards > 1:
        sums = lax.psum(sums, "batch")
    loss = sums[0] / jnp.where(sums[5] > 0.0, sums[5], 1.0)
    mae, mse, objective = sums[1:4] / jnp.maximum(sums[4], 1.0)
    objective = jnp.float32(jnp.nan) if setting.objective is None else setting.objective.finish(objective)
    return loss, mae, mse, objective


def _move_early_stopping(state: TrainState, hyper: Hyperparameters, loss: Float[Array, ""]) -> TrainState:
    improved = loss < state.best_loss  # False for NaN
    bad_checks = jnp.where(improved, 0, state.bad_checks + 1)
    patience = hyper.early_stop_patience

    def keep(latest: Array, best: Array) -> Array:
        return jnp.where(improved, latest, best)

    return state._replace(
        best_params=jax.tree.map(keep, state.params, state.best_params),
        best_model_state=jax.tree.map(keep, state.model_state, state.best_model_state),
        best_step=keep(state.step, state.best_step),
        best_loss=keep(loss, state.best_loss),
        bad_checks=bad_checks,
        stopped=(patience >= 0) & (bad_checks >= patience),
    )


def _move_plateau(plateau: Plateau, hyper: Hyperparameters, loss: Float[Array, ""]) -> Plateau:
    """Optax's ``reduce_on_plateau``, whose factor must be a Python number, with a traced one."""
    improved = loss < (1.0 - PLATEAU_TOLERANCE) * plateau.best
    bad_checks = jnp.where(improved, 0, plateau.bad_checks + 1)
    reached = bad_checks >= hyper.plateau_patience
    return Plateau(
        scale=jnp.where(reached, plateau.scale * hyper.decay_rate, plateau.scale),
        best=jnp.where(improved, loss, plateau.best),
        bad_checks=jnp.where(reached, 0, bad_checks),
    )
