"""How a gradient becomes an update: Optax's transformations, with traced numbers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lstmjax.training.hyperparameters import Hyperparameters

Builder = Callable[[Hyperparameters, Float[Array, ""]], optax.GradientTransformation]


def _adam(hyper: Hyperparameters, rate: Array) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(hyper.weight_decay), optax.scale_by_adam(), optax.scale(-rate))


def _adamw(hyper: Hyperparameters, rate: Array) -> optax.GradientTransformation:
    return optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(hyper.weight_decay), optax.scale(-rate))


def _sgd(hyper: Hyperparameters, rate: Array) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(hyper.weight_decay), optax.trace(decay=hyper.momentum), optax.scale(-rate)
    )


def _rmsprop(hyper: Hyperparameters, rate: Array) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(hyper.weight_decay),
        optax.scale_by_rms(),
        optax.scale(-rate),
        optax.trace(decay=hyper.momentum),
    )


def _lion(hyper: Hyperparameters, rate: Array) -> optax.GradientTransformation:
    return optax.chain(
        optax.scale_by_lion(b1=0.9, b2=0.99), optax.add_decayed_weights(hyper.weight_decay), optax.scale(-rate)
    )


OPTIMIZERS: dict[str, Builder] = {"adam": _adam, "adamw": _adamw, "sgd": _sgd, "rmsprop": _rmsprop, "lion": _lion}
"""Optimisers by the name ``optimizer.name`` gives them: (numbers, learning rate) -> transformation."""


def clip(gradients: Any, norm: Float[Array, ""], hyper: Hyperparameters, *, by_value: bool, by_norm: bool) -> Any:
    """Bounds a gradient: each element first, then the whole.

    Args:
        gradients: a pytree of arrays.
        norm: global norm of ``gradients``, for when elements are not clipped.
        hyper: the member's numbers, among them ``clip_value`` and ``clip_norm``.
        by_value: whether to bound every element by ``clip_value``.
        by_norm: whether to bound the global norm by ``clip_norm``.

    Returns:
        The bounded gradients.

    References:
        Pascanu et al., `On the difficulty of training recurrent neural networks <https://arxiv.org/abs/1211.5063>`_,
        2012
    """
    if by_value:
        gradients = jax.tree.map(lambda g: jnp.clip(g, -hyper.clip_value, hyper.clip_value), gradients)
        norm = optax.tree.norm(gradients)
    if by_norm:
        factor = hyper.clip_norm / jnp.maximum(norm, hyper.clip_norm)
        gradients = jax.tree.map(lambda g: g * factor.astype(g.dtype), gradients)
    return gradients
