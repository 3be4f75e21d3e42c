"""The weights of an LSTM before training."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

Initializer = Callable[..., Array]
LECUN_NORMAL: Initializer = nnx.initializers.lecun_normal()


def orthogonal_gates(
    key: jax.Array, shape: tuple[int, int], dtype: DTypeLike = jnp.float32, *, gates: int
) -> Float[Array, "rows columns"]:
    """Draws one orthogonal block per gate, side by side: the state keeps its length on its way into each gate.

    Args:
        key: random key.
        shape: of the kernel, (P, gates * H). Each block has the shape (P, H), with orthonormal rows where P <= H and
            orthonormal columns where P >= H. Without projection P is H.
        dtype: of the result.
        gates: number of gates. It cannot be read off the shape, as P may divide gates * H in other ways too.

    Raises:
        ValueError: the number of columns is not a multiple of ``gates``.

    References:
        Saxe, McClelland & Ganguli (2014), "Exact solutions to the nonlinear dynamics of learning", ICLR.

    >>> kernel = orthogonal_gates(jax.random.key(0), (3, 20), gates=4)
    >>> forget = kernel[:, 5:10]
    >>> bool(jnp.allclose(forget @ forget.T, jnp.eye(3), atol=1e-6))
    True
    """
    rows, columns = shape
    if columns % gates:
        raise ValueError(f"shape is {shape}: expected a multiple of {gates} columns, one block per gate")
    orthogonal = nnx.initializers.orthogonal()
    # Under vmap one after the other: on CPU, jaxlib's batched QR waits for threads that may all be waiting in others.
    draw = jax.custom_batching.sequential_vmap(lambda key: orthogonal(key, (rows, columns // gates), jnp.float32))
    return jnp.concatenate([draw(block) for block in jax.random.split(key, gates)], axis=1).astype(dtype)


def with_forget_gate(bias: Float[Array, " N"], hidden: int, value: Float[Array, "..."] | float) -> Float[Array, " N"]:
    """Sets the bias of the forget gate.

    Args:
        bias: of the gates (i,) f, g, o, shape (4H,), or (3H,) where i and f are coupled.
        hidden: H.
        value: the number, or one per feature.
    """
    return bias.at[_forget(bias.size, hidden)].set(value)


def initial_bias(
    key: jax.Array,
    size: int,
    hidden: int,
    forget: float = 1.0,
    chrono_steps: int | None = None,
    bias_init: Initializer | None = None,
) -> Float[Array, " N"]:
    """Draws the biases of the gates.

    Args:
        key: random key.
        size: 4H, or 3H where i and f are coupled.
        hidden: H.
        forget: added to the bias of the forget gate, so that an untrained cell remembers.
        chrono_steps: for memories of 1 to this many steps, f gets log u and i gets -log u, u uniform in
            [1, chrono_steps - 1]: at least 3, the longest memory that the task needs.
        bias_init: of the bias before `forget` is added; default zeros.

    Raises:
        ValueError: `chrono_steps` is too small, or another option sets the biases too.

    References:
        Jozefowicz, Zaremba & Sutskever (2015), "An empirical exploration of recurrent network architectures", ICML.
        Tallec & Ollivier (2018), "Can recurrent neural networks warp time?", ICLR.
    """
    if chrono_steps is None:
        bias = jnp.zeros(size) if bias_init is None else bias_init(key, (size,))
        return bias.at[_forget(size, hidden)].add(forget)
    if forget != 1.0 or bias_init is not None:
        raise ValueError("chrono_steps sets the biases itself: leave forget_bias and bias_init out")
    if chrono_steps < 3:
        raise ValueError(f"chrono_steps is {chrono_steps}: expected at least 3, the longest memory in steps")
    memory = jnp.log(jax.random.uniform(key, (hidden,), minval=1.0, maxval=chrono_steps - 1.0))
    bias = with_forget_gate(jnp.zeros(size), hidden, memory)
    return bias if size == 3 * hidden else bias.at[:hidden].set(-memory)


def _forget(size: int, hidden: int) -> slice:
    return slice(size - 3 * hidden, size - 2 * hidden)
