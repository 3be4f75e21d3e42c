"""Learned features of each series, for models of many series."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int


class SeriesEmbedding(nnx.Module):
    """Features of each series and channel, looked up by the series' number.

    Args:
        series: number of series N that are trained on.
        channels: target channels C of each.
        features: learned features E.
        param_dtype: of the features.
        rngs: the initial features come from its stream "params".

    >>> from flax import nnx
    >>> embedding = SeriesEmbedding(5, 2, 3, rngs=nnx.Rngs(0))
    >>> embedding(jnp.array([4, -1])).shape
    (2, 2, 3)
    """

    def __init__(
        self, series: int, channels: int, features: int, *, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
    ) -> None:
        for name, size in (("series", series), ("channels", channels), ("features", features)):
            if size < 1:
                raise ValueError(f"{name} is {size}: expected at least 1")
        shape = (series, channels, features)
        self.table = nnx.Param(nnx.initializers.normal(0.1)(rngs.params(), shape, param_dtype))

    def __call__(self, series: Int[Array, " B"] | None) -> Float[Array, "B C E"]:
        """Looks up the features of series.

        Args:
            series: (B,) their numbers; -1 for a series that was not trained on: it has the mean of all.

        Returns:
            Array of shape (B, C, E).

        Raises:
            ValueError: a window has no series number (None).
        """
        if series is None:
            raise ValueError("window.series is None: a series embedding needs the series' numbers")
        table = self.table[...]
        known = jnp.take(table, jnp.maximum(series, 0), axis=0, mode="clip")
        return jnp.where((series >= 0)[:, None, None], known, jnp.mean(table, axis=0))
