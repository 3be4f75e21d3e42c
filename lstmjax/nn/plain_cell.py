"""One step of a plain LSTM, as a module."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lstmjax.nn.initializers import LECUN_NORMAL, Initializer, initial_bias, orthogonal_gates
from lstmjax.nn.regularization import Rngs
from lstmjax.ops import LSTMWeights, lstm_step
from lstmjax.ops.precision import wide

Carry = tuple[Float[Array, "*B H"], Float[Array, "*B P"]]


class PlainLSTMCell(nnx.RNNCellBase):
    r"""One step of an LSTM, without options; `LSTMCell` is this cell with its variants from the literature.

        i, f, g, o = split(x W + h U + b)
        c' = σ(f) * c + σ(i) * tanh(g)
        h' = σ(o) * tanh(c')

    Args:
        in_features: features of the input.
        hidden_features: features of c and h.
        dtype: of the products, e.g. `jnp.bfloat16`; default that of input and weights together. c stays float32.
        param_dtype: of the weights.
        rngs: the initial weights come from its stream "params".

    Attributes:
        kernel: W, shape (I, 4H).
        recurrent_kernel: U, shape (H, 4H).
        bias: b, shape (4H,).

    References:
        Hochreiter & Schmidhuber (1997), "Long short-term memory", Neural Computation 9(8).

    The cell is the function that `jax.lax.scan` repeats over time:

    >>> import jax
    >>> cell = PlainLSTMCell(3, 8, rngs=nnx.Rngs(0))
    >>> x = jnp.ones((5, 2, 3))  # (T, B, I)
    >>> (c, h), ys = jax.lax.scan(cell, cell.initialize_carry((2, 3)), x)
    >>> ys.shape, h.shape
    ((5, 2, 8), (2, 8))
    >>> bool((ys[-1] == h).all())
    True
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.in_features = in_features
        self.hidden_features = self.out_features = hidden_features
        self.dtype = dtype
        self.param_dtype = param_dtype
        width = 4 * hidden_features
        self.kernel = nnx.Param(LECUN_NORMAL(rngs.params(), (in_features, width), param_dtype))
        blocks = orthogonal_gates(rngs.params(), (hidden_features, width), param_dtype, gates=4)
        self.recurrent_kernel = nnx.Param(blocks)
        self.bias = nnx.Param(initial_bias(rngs.params(), width, hidden_features).astype(param_dtype))

    @property
    def weights(self) -> LSTMWeights:
        """W, U and b, for `lstmjax.ops`."""
        return LSTMWeights(self.kernel[...], self.recurrent_kernel[...], self.bias[...])

    def __call__(self, carry: Carry, x: Float[Array, "*B I"]) -> tuple[Carry, Float[Array, "*B P"]]:
        """Runs one step.

        Args:
            carry: state (c, h) before it.
            x: input, shape (..., I).

        Returns:
            The state (c, h) after the step, and h.
        """
        return lstm_step(self.weights, carry, x, dtype=self.dtype)

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Rngs | None = None, carry_init: Initializer | None = None
    ) -> Carry:
        """Returns the state before the first step: zeros, or drawn by `carry_init`.

        Args:
            input_shape: shape of one step's input, (..., I).
            rngs: needed with `carry_init` only (stream "carry").
            carry_init: an initializer called with (key, shape, dtype), once for c and once for h.
        """
        dtype = self.param_dtype if self.dtype is None else self.dtype
        c = ((*input_shape[:-1], self.hidden_features), wide(dtype))
        h = ((*input_shape[:-1], self.out_features), dtype)
        if carry_init is None:
            return jnp.zeros(*c), jnp.zeros(*h)
        if rngs is None:
            raise ValueError("carry_init draws random numbers: pass rngs=nnx.Rngs(carry=...)")
        stream = getattr(rngs, "carry", rngs)
        return carry_init(stream(), *c), carry_init(stream(), *h)

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of the input: the last one; all axes before it are batches."""
        return 1
