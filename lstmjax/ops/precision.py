"""Mixed precision: narrow factors, wide sums."""

from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def wide(dtype: DTypeLike) -> Any:
    """Returns the dtype of sums and cell states: float32, or `dtype` if that is wider.

    >>> wide(jnp.bfloat16), wide(jnp.float64)
    (dtype('float32'), dtype('float64'))
    """
    return jnp.dtype(dtype if jnp.dtype(dtype).itemsize > 4 else jnp.float32)


def product(a: Float[Array, "*N K"], b: Float[Array, "K M"], dtype: DTypeLike) -> Float[Array, "*N M"]:
    """Returns ``a @ b`` with factors of `dtype`, in the wide dtype of its sum."""
    return jnp.matmul(a.astype(dtype), b.astype(dtype), preferred_element_type=wide(dtype))
