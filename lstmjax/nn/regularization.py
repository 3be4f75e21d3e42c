"""Noise that regularises: dropout and zoneout, with rates that may be traced.

`nnx.Dropout` branches on its rate in Python; these do not, so that a sweep can train many rates in one program. They
take `rngs` when called and store no random stream.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float


class Hyperparameter(nnx.Variable):
    """A number that a sweep may trace and that training does not change: filters for `nnx.Param` leave it out.

    >>> from flax import nnx
    >>> rate = Hyperparameter(jnp.float32(0.3))
    >>> float(Dropout(rate).rate[...])  # doctest: +ELLIPSIS
    0.3...
    """


Rate = float | nnx.Variable
"""A probability: a Python float, or a variable such as `Hyperparameter` whose value may be traced."""

Rngs = nnx.Rngs | nnx.RngStream


def draw_key(rngs: Rngs | None, what: str) -> jax.Array:
    """Draws the next key of the stream "dropout", or of the given stream.

    Raises:
        ValueError: no `rngs` were given.
    """
    stream = rngs
    if isinstance(rngs, nnx.Rngs):
        stream = rngs.dropout if "dropout" in rngs or "default" in rngs else None
    if stream is None:
        raise ValueError(f"{what} draws random numbers: pass rngs=nnx.Rngs(dropout=...), or deterministic=True")
    return stream()


def is_zero(rate: Rate) -> bool:
    """Tells whether `rate` is the Python number 0: then nothing is drawn or computed."""
    return not isinstance(rate, nnx.Variable) and rate == 0.0


def check_rate(rate: Rate, name: str) -> Rate:
    """Returns `rate`; raises a ValueError if it cannot be a probability."""
    if not isinstance(rate, nnx.Variable) and not 0.0 <= rate <= 1.0:
        raise ValueError(f"{name} is {rate}: expected a probability, at least 0 and at most 1")
    return rate


def _value(rate: Rate) -> Float[Array, ""]:
    return jnp.asarray(rate[...] if isinstance(rate, nnx.Variable) else rate, jnp.float32)


class Dropout(nnx.Module):
    """Sets features to zero at random and scales the others up, so that the mean does not change.

    Args:
        rate: probability of dropping a feature; at 0.0 no key is drawn and nothing is computed.
        broadcast_dims: axes along which one mask is shared, e.g. ``(1,)`` for one mask over all steps of (B, T, F).
        deterministic: start in evaluation mode. `train()` and `eval()` of any module that holds this one change it.

    References:
        Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15.

    >>> from flax import nnx
    >>> Dropout(0.5)(jnp.ones((1, 4)), rngs=nnx.Rngs(dropout=0))
    Array([[...]], dtype=float32)
    >>> Dropout(0.5)(jnp.ones((1, 4)), deterministic=True)
    Array([[1., 1., 1., 1.]], dtype=float32)
    """

    def __init__(self, rate: Rate, *, broadcast_dims: Sequence[int] = (), deterministic: bool = False) -> None:
        self.rate = check_rate(rate, "rate")
        self.broadcast_dims = tuple(broadcast_dims)
        self.deterministic = deterministic

    def __call__(
        self, x: Float[Array, "..."], *, rngs: Rngs | None = None, deterministic: bool | None = None
    ) -> Float[Array, "..."]:
        """Drops features of `x`.

        Args:
            x: any array.
            rngs: where the mask comes from (stream "dropout"); needed unless nothing is dropped.
            deterministic: True to return `x` as it is; default as set by `train()` or `eval()`.

        Raises:
            ValueError: a mask is needed and `rngs` was not given.
        """
        shape = tuple(1 if axis in self.broadcast_dims else size for axis, size in enumerate(x.shape))
        mask = self.mask(shape, x.dtype, rngs=rngs, deterministic=deterministic)
        return x if mask is None else x * mask

    def mask(
        self,
        shape: tuple[Any, ...],
        dtype: DTypeLike = jnp.float32,
        *,
        rngs: Rngs | None = None,
        deterministic: bool | None = None,
    ) -> Float[Array, "..."] | None:
        """Returns the factors of `__call__`: 0, or 1 / (1 - rate); None where nothing is dropped."""
        if (self.deterministic if deterministic is None else deterministic) or is_zero(self.rate):
            return None
        keep = 1.0 - _value(self.rate)
        kept = jax.random.bernoulli(draw_key(rngs, "Dropout"), keep, shape)
        scale = 1.0 / jnp.where(keep > 0.0, keep, 1.0)  # at rate 1 nothing is kept: avoid 1 / 0
        return jnp.where(kept, scale, 0.0).astype(dtype)


class Zoneout(nnx.Module):
    """Keeps features of a recurrent state at random as they were one step before.

    Args:
        rate: probability of keeping a feature as it was; at 0.0 nothing is computed.
        deterministic: start in evaluation mode: the mean of both cases, weighted by their probabilities.

    References:
        Krueger et al. (2017), "Zoneout: regularizing RNNs by randomly preserving hidden activations", ICLR.
    """

    def __init__(self, rate: Rate, *, deterministic: bool = False) -> None:
        self.rate = check_rate(rate, "rate")
        self.deterministic = deterministic

    def __call__(
        self,
        new: Float[Array, "..."],
        old: Float[Array, "..."],
        *,
        key: jax.Array | None = None,
        deterministic: bool | None = None,
    ) -> Float[Array, "..."]:
        """Returns the state after a step.

        Args:
            new: the state that the step computed.
            old: the state before the step.
            key: draws the mask; needed unless deterministic.
            deterministic: default as set by `train()` or `eval()`.
        """
        if is_zero(self.rate):
            return new
        rate = _value(self.rate)
        if self.deterministic if deterministic is None else deterministic:
            return new + rate.astype(new.dtype) * (old - new)
        if key is None:
            raise ValueError("zoneout draws random numbers: pass rngs=nnx.Rngs(dropout=...), or deterministic=True")
        return jnp.where(jax.random.bernoulli(key, rate, new.shape), old, new)
