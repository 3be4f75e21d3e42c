"""The learning rate as a function of the step.

Optax has these schedules, but takes their counts as Python numbers, so that each new value compiles anew. Here they
are functions of the step and of traced numbers. Tests hold them equal to Optax's.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lstmjax.training.hyperparameters import Hyperparameters

ONECYCLE_DIVISOR = 25.0
"""onecycle: peak over first learning rate."""
ONECYCLE_FINAL_DIVISOR = 1e4
"""onecycle: first over last learning rate."""

Step = Int[Array, ""]
Rate = Float[Array, ""]
Count = Int[Array, ""] | int


def constant(step: Step, hyper: Hyperparameters, steps_per_epoch: Count) -> Rate:
    """The peak learning rate at every step."""
    return hyper.learning_rate


def cosine(step: Step, hyper: Hyperparameters, steps_per_epoch: Count) -> Rate:
    """From the peak along half a cosine to ``final_fraction`` of it, at ``total_steps`` (warm-up included).

    References:
        Loshchilov and Hutter, `SGDR <https://arxiv.org/abs/1608.03983>`_, 2017
    """
    length = jnp.maximum(hyper.total_steps - hyper.warmup_steps, 1)
    falling = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(step, length) / length))
    return hyper.learning_rate * ((1.0 - hyper.final_fraction) * falling + hyper.final_fraction)


def exponential(step: Step, hyper: Hyperparameters, steps_per_epoch: Count) -> Rate:
    """By ``decay_rate`` every ``decay_steps``, smoothly."""
    return hyper.learning_rate * jnp.power(hyper.decay_rate, step / hyper.decay_steps)


def step_decay(step: Step, hyper: Hyperparameters, steps_per_epoch: Count) -> Rate:
    """By ``decay_rate`` at the end of every epoch after the first ``decay_start_epoch``.

    Epochs are those of the data: a warm-up does not shift them.
    """
    epoch = (step + hyper.warmup_steps) // steps_per_epoch
    decays = jnp.maximum(epoch - hyper.decay_start_epoch, 0)
    return hyper.learning_rate * jnp.power(hyper.decay_rate, decays.astype(jnp.float32))


def onecycle(step: Step, hyper: Hyperparameters, steps_per_epoch: Count) -> Rate:
    """Up to the peak in three tenths of the steps, then down far below where it began, along cosines.

    References:
        Smith and Topin, `Super-Convergence <https://arxiv.org/abs/1708.07120>`_, 2017
    """
    length = jnp.maximum(hyper.total_steps - hyper.warmup_steps, 1)
    summit = (3 * length) // 10
    first = hyper.learning_rate / ONECYCLE_DIVISOR
    last = first / ONECYCLE_FINAL_DIVISOR
    rising = _between(first, hyper.learning_rate, step / jnp.maximum(summit, 1))
    falling = _between(hyper.learning_rate, last, (step - summit) / jnp.maximum(length - summit, 1))
    return jnp.where(step < summit, rising, falling)


def _between(start: Rate, end: Rate, part: Rate) -> Rate:
    """Half a cosine from start to end, for a part of the way within [0, 1]."""
    return end + 0.5 * (start - end) * (jnp.cos(jnp.pi * jnp.clip(part, 0.0, 1.0)) + 1.0)


SCHEDULES: dict[str, Callable[[Step, Hyperparameters, Count], Rate]] = {
    "constant": constant,
    "cosine": cosine,
    "exponential": exponential,
    "step": step_decay,
    "onecycle": onecycle,
    # What makes it a plateau schedule is a factor in the training state, which validation lowers: `TrainState.plateau`.
    "plateau": constant,
}
"""Schedules by the name ``optimizer.schedule`` gives them. The step is counted from the end of the warm-up."""

STRETCHED = ("cosine", "onecycle")
"""Those that stretch over ``train.max_steps``: with more steps, all learning rates would have been others."""


def learning_rate(name: str, step: Step, hyper: Hyperparameters, steps_per_epoch: Count) -> Rate:
    """The learning rate of a step: a linear warm-up from 0, then the schedule.

    Args:
        name: key of `SCHEDULES`.
        step: steps done so far, from 0.
        hyper: the member's numbers.
        steps_per_epoch: steps in one pass through the training windows.

    Returns:
        The learning rate, before a plateau's factor.
    """
    schedule = SCHEDULES[name]
    first = schedule(jnp.int32(0), hyper, steps_per_epoch)
    warming = first * step / jnp.maximum(hyper.warmup_steps, 1)
    after = schedule(jnp.maximum(step - hyper.warmup_steps, 0), hyper, steps_per_epoch)
    return jnp.where(step < hyper.warmup_steps, warming, after)
