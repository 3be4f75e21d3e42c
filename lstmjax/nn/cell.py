"""One step of an LSTM, with its variants from the literature."""

import functools
from collections.abc import Callable
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lstmjax.nn.initializers import LECUN_NORMAL, Initializer, initial_bias, orthogonal_gates
from lstmjax.nn.plain_cell import Carry, PlainLSTMCell
from lstmjax.nn.regularization import Rate, Rngs, Zoneout, check_rate, draw_key, is_zero
from lstmjax.ops.precision import product
from lstmjax.ops.step import masked

Activation = Callable[[Array], Array]


class CellRunOptions(TypedDict, total=False):
    """The options of `LSTMCell` that neither have weights nor draw them."""

    cell_zoneout: Rate
    hidden_zoneout: Rate
    dtype: DTypeLike | None


class CellOptions(CellRunOptions, total=False):
    """The options of `LSTMCell`, which explains them; `LSTM` and `StackedLSTM` pass them to their cells."""

    proj_size: int
    peepholes: bool
    layer_norm: bool
    coupled_gates: bool
    forget_bias: float
    chrono_steps: int | None
    gate_fn: Activation
    activation_fn: Activation
    kernel_init: Initializer
    recurrent_kernel_init: Initializer | None
    bias_init: Initializer | None
    param_dtype: DTypeLike


class LSTMCell(PlainLSTMCell):
    r"""One step of an LSTM with options; without any it is the `PlainLSTMCell`, whose equations and example hold here.

    It runs alone, in `nnx.RNN` or `jax.lax.scan`, or over a whole sequence at once in `LSTM`, which is faster.

    Args:
        in_features: features of the input.
        hidden_features: features of the cell state c, and of h unless projected.
        proj_size: if positive, a further kernel projects h to this many features (Sak et al. 2014).
        peepholes: the gates read the cell state: i and f the old one, o the new one (Gers & Schmidhuber 2000).
        layer_norm: normalise x W, h U and the cell state before the output gate (Ba et al. 2016).
        coupled_gates: no input gate; i = 1 - f (Greff et al. 2017). The gates are then f, g, o.
        cell_zoneout: probability that a feature of c keeps its old value (Krueger et al. 2017).
        hidden_zoneout: the same for h.
        forget_bias: added to the bias of f, so that an untrained cell remembers (Jozefowicz et al. 2015).
        chrono_steps: draw the biases of f and i for memories of up to this many steps, log u and -log u with u uniform
            in [1, chrono_steps - 1] (Tallec & Ollivier 2018). Replaces `forget_bias` and `bias_init`.
        gate_fn: activation of i, f and o; default sigmoid.
        activation_fn: activation of g and c; default tanh.
        kernel_init: of W; default LeCun normal.
        recurrent_kernel_init: of U; default one orthogonal block per gate.
        bias_init: of b, before `forget_bias` is added; default zeros.
        dtype: of the products, e.g. `jnp.bfloat16`; default that of input and weights together. c stays float32.
        param_dtype: of the weights.
        rngs: the initial weights come from its stream "params".

    Attributes:
        kernel: W, shape (I, 4H).
        recurrent_kernel: U, shape (H, 4H), or (P, 4H) where h is projected to P features.
        bias: b, shape (4H,).
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        proj_size: int = 0,
        peepholes: bool = False,
        layer_norm: bool = False,
        coupled_gates: bool = False,
        cell_zoneout: Rate = 0.0,
        hidden_zoneout: Rate = 0.0,
        forget_bias: float = 1.0,
        chrono_steps: int | None = None,
        gate_fn: Activation = jax.nn.sigmoid,
        activation_fn: Activation = jnp.tanh,
        kernel_init: Initializer = LECUN_NORMAL,
        recurrent_kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        _check_sizes(in_features, hidden_features, proj_size)
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.out_features = proj_size or hidden_features
        self.coupled_gates = coupled_gates
        self.gate_fn = gate_fn
        self.activation_fn = activation_fn
        self.dtype = dtype
        self.param_dtype = param_dtype
        gates = 3 if coupled_gates else 4
        width = gates * hidden_features

        def param(values: Array) -> nnx.Param:
            return nnx.Param(values.astype(param_dtype))

        self.kernel = nnx.Param(kernel_init(rngs.params(), (in_features, width), param_dtype))
        draw = recurrent_kernel_init or functools.partial(orthogonal_gates, gates=gates)
        self.recurrent_kernel = nnx.Param(draw(rngs.params(), (self.out_features, width), param_dtype))
        self.bias = param(initial_bias(rngs.params(), width, hidden_features, forget_bias, chrono_steps, bias_init))
        self.peephole = param(jnp.zeros((gates - 1, hidden_features))) if peepholes else None
        self.input_scale = param(jnp.ones(width)) if layer_norm else None
        self.recurrent_scale = param(jnp.ones(width)) if layer_norm else None
        self.cell_scale = param(jnp.ones(hidden_features)) if layer_norm else None
        self.cell_bias = param(jnp.zeros(hidden_features)) if layer_norm else None
        self.projection = param(kernel_init(rngs.params(), (hidden_features, proj_size))) if proj_size else None
        self.cell_zoneout = Zoneout(check_rate(cell_zoneout, "cell_zoneout"))
        self.hidden_zoneout = Zoneout(check_rate(hidden_zoneout, "hidden_zoneout"))

    @property
    def is_plain(self) -> bool:
        """Whether `lstmjax.ops.lstm` computes this cell: it has no variant and no projection."""
        return not self.variants and self.projection is None

    @property
    def variants(self) -> tuple[str, ...]:
        """The options by which this cell differs from the plain one, projection apart."""
        used = {
            "peepholes": self.peephole is not None,
            "layer_norm": self.input_scale is not None,
            "coupled_gates": self.coupled_gates,
            "zoneout": self.has_zoneout,
            "gate_fn": self.gate_fn not in (jax.nn.sigmoid, nnx.sigmoid),
            "activation_fn": self.activation_fn not in (jnp.tanh, nnx.tanh),
        }
        return tuple(option for option, is_used in used.items() if is_used)

    @property
    def has_zoneout(self) -> bool:
        """Whether zoneout may change anything."""
        return not (is_zero(self.cell_zoneout.rate) and is_zero(self.hidden_zoneout.rate))

    def draws(self, deterministic: bool | None) -> bool:
        """Whether a step draws zoneout masks; ``deterministic`` as in `__call__`."""
        return self.has_zoneout and not (self.cell_zoneout.deterministic if deterministic is None else deterministic)

    def __call__(
        self,
        carry: Carry,
        x: Float[Array, "*B I"],
        *,
        rngs: Rngs | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Carry, Float[Array, "*B P"]]:
        """Runs one step.

        Args:
            carry: state (c, h) before it.
            x: input, shape (..., I).
            rngs: where zoneout masks come from (stream "dropout").
            deterministic: the mean of the zoneout masks instead of masks; default as set by `train()` or `eval()`.

        Returns:
            The state (c, h) after the step, and h.
        """
        if self.is_plain:
            return super().__call__(carry, x)
        key = draw_key(rngs, "zoneout") if self.draws(deterministic) else None
        return self.step(carry, x, zoneout_key=key, deterministic=deterministic)

    def step(
        self,
        carry: Carry,
        x: Float[Array, "*B I"],
        *,
        recurrent_mask: Float[Array, "*B P"] | None = None,
        zoneout_key: jax.Array | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Carry, Float[Array, "*B P"]]:
        """Runs one step of a variant with given random numbers: `LSTM` scans it over time.

        Args:
            carry: state (c, h) before it.
            x: input, shape (..., I).
            recurrent_mask: factor on the h that the gates read (recurrent dropout).
            zoneout_key: draws the zoneout masks.
            deterministic: as in `__call__`.
        """
        c, h = carry
        i, f, g, o = self._preactivations(x, masked(h, recurrent_mask))
        if self.peephole is not None:
            *p_i, p_f, p_o = self.peephole[...]
            i, f = (i + p_i[0] * c if p_i else i), f + p_f * c
        f, g = self.gate_fn(f), self.activation_fn(g)
        i = 1 - f if self.coupled_gates else self.gate_fn(i)
        c_new = f * c + i * g
        if self.peephole is not None:
            o = o + p_o * c_new
        h_new = self.gate_fn(o) * self.activation_fn(self._normalized_state(c_new))
        if self.projection is not None:
            h_new = product(h_new, self.projection[...], self.compute_dtype(x))
        keys = (None, None) if zoneout_key is None else jax.random.split(zoneout_key)
        c_new = self.cell_zoneout(c_new.astype(c.dtype), c, key=keys[0], deterministic=deterministic)
        h_new = self.hidden_zoneout(h_new.astype(h.dtype), h, key=keys[1], deterministic=deterministic)
        return (c_new, h_new), h_new

    def compute_dtype(self, x: Array) -> Any:
        """Returns the dtype of the products, of h and of the outputs; c and all sums are at least float32."""
        return jnp.dtype(jnp.result_type(x, self.kernel[...]) if self.dtype is None else self.dtype)

    def _preactivations(self, x: Array, h: Array) -> tuple[Array, Array, Array, Array]:
        """Returns the inputs of the activations of i, f, g, o; where i is coupled to f, that of f twice."""
        dtype = self.compute_dtype(x)
        z_x, z_h = product(x, self.kernel[...], dtype), product(h, self.recurrent_kernel[...], dtype)
        if self.input_scale is not None and self.recurrent_scale is not None:
            z_x = _normalize(z_x) * self.input_scale[...]
            z_h = _normalize(z_h) * self.recurrent_scale[...]
        z = z_x + z_h + self.bias[...]
        *i, f, g, o = jnp.split(z, z.shape[-1] // self.hidden_features, axis=-1)
        return i[0] if i else f, f, g, o

    def _normalized_state(self, c: Array) -> Array:
        if self.cell_scale is None or self.cell_bias is None:
            return c
        return _normalize(c) * self.cell_scale[...] + self.cell_bias[...]


def _normalize(x: Array, epsilon: float = 1e-5) -> Array:
    centered = x - jnp.mean(x, axis=-1, keepdims=True)
    return centered * jax.lax.rsqrt(jnp.mean(centered * centered, axis=-1, keepdims=True) + epsilon)


def _check_sizes(in_features: Any, hidden_features: Any, proj_size: Any) -> None:
    for name, size in (("in_features", in_features), ("hidden_features", hidden_features)):
        if size < 1:
            raise ValueError(f"{name} is {size}: expected at least 1")
    if not 0 <= proj_size < max(hidden_features, 1):
        raise ValueError(f"proj_size is {proj_size}: expected 0 for none, or less than hidden_features")
