"""Converts weights from and to other libraries: PyTorch, Flax (NNX and Linen), Keras.

All of them have the gates in the order i, f, g, o, as this package does (Keras calls g "c"). They differ in which
arrays are transposed, in the number of biases, and in how the kernels are split. PyTorch and Keras need not be
installed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack, cast

import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax.nn._from_arrays import (
    Direction,
    LayerRunOptions,
    StackRunOptions,
    as_numpy,
    check_shapes,
    hidden_features,
    layer_from_arrays,
    stack_from_arrays,
)
from lstmjax.nn.cell import LSTMCell
from lstmjax.nn.recurrent import LSTM
from lstmjax.nn.stacked import StackedLSTM


def from_torch(state_dict: Any, *, prefix: str = "", **options: Unpack[StackRunOptions]) -> StackedLSTM:
    """Builds the layers of a PyTorch `nn.LSTM`, from the module or from its ``state_dict()``.

    Layers, directions, projection and the absence of biases follow from the names and shapes. PyTorch's two biases
    are added; a module without biases gets zeros. A module also says its ``batch_first`` and ``dropout``, which are
    taken unless an option says otherwise, and whether it is in evaluation mode.

    Args:
        state_dict: the module, or one that contains it under ``prefix``; or arrays by PyTorch's names
            (``weight_ih_l0``, ``bias_hh_l1_reverse``, ...): tensors, or anything NumPy reads, as from a safetensors
            file.
        prefix: the beginning of these names in the state of a larger model, e.g. ``"encoder."``; other entries are
            ignored.
        **options: options of `StackedLSTM` that have no weights; PyTorch's ``batch_first=False``, which a module's
            default is and a state does not say, is ``time_major=True``.

    Returns:
        The stack, whose carries are (c, h) where PyTorch has (h, c).

    Raises:
        ValueError: a name is missing or unknown, a shape does not fit, or the module is another one.

    >>> import numpy as np
    >>> state = {"weight_ih_l0": np.zeros((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
    >>> from_torch(state)(jnp.ones((1, 5, 3))).shape
    (1, 5, 2)
    """
    state_dict, said, training = _torch_module(state_dict, prefix)
    options = {**said, **options}
    unused = {name: value for name, value in state_dict.items() if name.startswith(prefix)}

    def take(name: str) -> np.ndarray:
        if prefix + name not in unused:
            raise ValueError(
                f"the state has no {prefix}{name}: expected that of a torch.nn.LSTM, got {_list(state_dict)}"
            )
        return as_numpy(unused.pop(prefix + name))

    ends = ("", "_reverse") if f"{prefix}weight_ih_l0_reverse" in unused else ("",)
    parts = ["weight_ih", "weight_hh"]
    parts += ["bias_ih", "bias_hh"] if f"{prefix}bias_ih_l0" in unused else []
    parts += ["weight_hr"] if f"{prefix}weight_hr_l0" in unused else []
    layers: list[list[Direction]] = []
    features = -1
    while not layers or f"{prefix}weight_ih_l{len(layers)}" in unused:
        layer: list[Direction] = []
        for end in ends:
            suffix = f"_l{len(layers)}{end}"
            arrays = {part: take(part + suffix) for part in parts}
            if not layers and not layer:
                features, dtype = arrays["weight_ih"].shape[-1], arrays["weight_ih"].dtype
                hidden = hidden_features(f"{prefix}weight_hh{suffix}", arrays["weight_hh"], axis=0)
                out = arrays["weight_hr"].shape[0] if "weight_hr" in arrays else hidden
            expected = {
                "weight_ih": (4 * hidden, features),
                "weight_hh": (4 * hidden, out),
                "bias_ih": (4 * hidden,),
                "bias_hh": (4 * hidden,),
                "weight_hr": (out, hidden),
            }
            check_shapes({prefix + part + suffix: (array, expected[part]) for part, array in arrays.items()})
            bias = arrays["bias_ih"] + arrays["bias_hh"] if "bias_ih" in arrays else np.zeros(4 * hidden, dtype)
            projection = arrays["weight_hr"].T if "weight_hr" in arrays else None
            layer.append(Direction(arrays["weight_ih"].T, arrays["weight_hh"].T, bias, projection))
        layers.append(layer)
        features = out * len(ends)
    if unused:
        raise ValueError(f"the state has {next(iter(unused))}, which no torch.nn.LSTM of {len(layers)} layers has")
    stack = stack_from_arrays(layers, options)
    if not training:
        stack.eval()
    return stack


def _torch_module(module: Any, prefix: str) -> tuple[Mapping[str, Any], StackRunOptions, bool]:
    """The state of a module, the options that it says, and whether it is in training mode; a state says none."""
    if isinstance(module, Mapping):
        return module, {}, True
    if not callable(getattr(module, "state_dict", None)):
        raise ValueError(f"from_torch got {type(module).__name__}: expected a torch.nn.LSTM, or its state_dict()")
    inner = module
    for name in filter(None, prefix.split(".")):
        inner = getattr(inner, name, None)
    mode = getattr(inner, "mode", "LSTM")
    if mode != "LSTM":
        raise ValueError(f"from_torch got a torch.nn.{mode}: expected a torch.nn.LSTM")
    said: StackRunOptions = {}
    if hasattr(inner, "batch_first"):
        said["time_major"] = not inner.batch_first
    if getattr(inner, "dropout", 0.0) and getattr(inner, "num_layers", 2) > 1:
        said["dropout"] = inner.dropout
    return module.state_dict(), said, getattr(inner, "training", True)


def to_torch(stack: StackedLSTM | LSTM) -> dict[str, np.ndarray]:
    """Returns the state of the PyTorch `nn.LSTM` that computes the same.

    Load it with ``module.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()})``, where ``module``
    is ``nn.LSTM(in_features, hidden_features, num_layers, bidirectional=..., proj_size=...)``.

    Args:
        stack: a stack or a layer, of a kind that PyTorch also has.

    Returns:
        Arrays by PyTorch's names. Of its two biases ``bias_ih`` is the sum and ``bias_hh`` zero.

    Raises:
        ValueError: PyTorch has no such layer; the message names the option.

    >>> from flax import nnx
    >>> {name: a.shape for name, a in to_torch(LSTM(3, 2, rngs=nnx.Rngs(0))).items()}
    {'weight_ih_l0': (8, 3), 'weight_hh_l0': (8, 2), 'bias_ih_l0': (8,), 'bias_hh_l0': (8,)}
    """
    if stack.reverse:
        raise ValueError("reverse: torch.nn.LSTM runs backward only beside a forward direction (bidirectional)")
    if isinstance(stack, LSTM):
        sides = {"": [stack]}
    else:
        if stack.residual:
            raise ValueError("residual: torch.nn.LSTM has no such option")
        sides = {"": list(stack.forward), "_reverse": list(stack.backward)}
    state: dict[str, np.ndarray] = {}
    for number in range(len(sides[""])):
        for end, layers in sides.items():
            if layers:
                arrays = _to_torch_parts(layers[number].cell)
                state |= {f"{name}_l{number}{end}": array for name, array in arrays.items()}
    return state


def _to_torch_parts(cell: LSTMCell) -> dict[str, np.ndarray]:
    if cell.variants:
        raise ValueError(f"{cell.variants[0]}: torch.nn.LSTM has no such option")
    parts = {
        "weight_ih": cell.kernel[...].T,
        "weight_hh": cell.recurrent_kernel[...].T,
        "bias_ih": cell.bias[...],
        "bias_hh": jnp.zeros_like(cell.bias[...]),
    }
    if cell.projection is not None:
        parts["weight_hr"] = cell.projection[...].T
    # Copies, as torch.from_numpy wants arrays that may be written to.
    return {name: np.array(array, order="C") for name, array in parts.items()}


def from_flax(cell: nnx.Module | Mapping[str, Any], **options: Unpack[LayerRunOptions]) -> LSTM:
    """Builds the layer that runs a Flax cell over time.

    Args:
        cell: an `nnx.OptimizedLSTMCell` or `nnx.LSTMCell`, whose activations are kept; or the parameters of a
            Linen `LSTMCell` or `OptimizedLSTMCell` (``ii`` ... ``ho``), alone or as the only entry of a tree such as
            ``{"params": {"cell": ...}}``.
        **options: options of `LSTM` that have no weights.

    Returns:
        The layer; its ``cell`` is the cell alone.

    Raises:
        ValueError: the parameters are not those of an LSTM cell, or a shape does not fit.

    >>> from flax import nnx
    >>> from_flax(nnx.OptimizedLSTMCell(3, 2, rngs=nnx.Rngs(0)))(jnp.ones((1, 5, 3))).shape
    (1, 5, 2)
    """
    functions: dict[str, Any] = {}
    params: Mapping[str, Any]
    if isinstance(cell, nnx.LSTMCell | nnx.OptimizedLSTMCell):
        functions = {"gate_fn": cell.gate_fn, "activation_fn": cell.activation_fn}
        params = nnx.to_pure_dict(nnx.state(cell, nnx.Param))
        options = {"dtype": cell.dtype, **options}
    elif isinstance(cell, Mapping):
        params = cell
    else:
        raise ValueError(f"from_flax got {type(cell).__name__}: expected an LSTM cell of flax.nnx, or Linen parameters")
    while len(params) == 1 and isinstance(inner := next(iter(params.values())), Mapping):
        params = inner
    if "dense_i" in params:
        kernel, recurrent_kernel, bias = (_leaf(params, *path) for path in _FUSED)
    else:
        kernel, recurrent_kernel, bias = (
            np.concatenate([_leaf(params, _gate(params, side, gate), leaf) for gate in "ifgo"], axis=-1)
            for side, leaf in (("i", "kernel"), ("h", "kernel"), ("h", "bias"))
        )
    hidden = hidden_features("the recurrent kernel", recurrent_kernel, axis=1)
    check_shapes(
        {
            "the recurrent kernel": (recurrent_kernel, (hidden, 4 * hidden)),
            "the input kernel": (kernel, (*kernel.shape[:1], 4 * hidden)),
            "the bias": (bias, (4 * hidden,)),
        }
    )
    return layer_from_arrays(Direction(kernel, recurrent_kernel, bias), options, **functions)


_FUSED = (("dense_i", "kernel"), ("dense_h", "kernel"), ("dense_h", "bias"))


def _gate(params: Mapping[str, Any], side: str, gate: str) -> str:
    # An attribute cannot be named "if", so NNX has "if_".
    return f"{side}{gate}_" if f"{side}{gate}_" in params else side + gate


def _leaf(params: Mapping[str, Any], name: str, leaf: str) -> np.ndarray:
    if name not in params or leaf not in params[name]:
        raise ValueError(
            f"the parameters have no {name}/{leaf}: expected those of a Flax LSTM cell, got {_list(params)}"
        )
    return as_numpy(params[name][leaf])


def from_keras(
    weights: Sequence[np.ndarray] | Sequence[Sequence[np.ndarray]], **options: Unpack[StackRunOptions]
) -> StackedLSTM:
    """Builds the layers of Keras `LSTM` from ``layer.get_weights()``.

    Args:
        weights: the result of ``get_weights()`` of an `LSTM` (kernel, recurrent kernel and, unless ``use_bias=False``,
            bias), or of a `Bidirectional` `LSTM` (those of both directions, one after the other); or a list of such
            lists, one per layer, the lowest first.
        **options: options of `StackedLSTM` that have no weights. Keras' ``go_backwards=True`` is ``reverse=True``.

    Returns:
        A stack with the same number of layers; both directions are joined, as in ``merge_mode="concat"``.

    Raises:
        ValueError: the number of arrays or a shape does not fit an LSTM.

    >>> import numpy as np
    >>> from_keras([np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8)])(jnp.ones((1, 5, 3))).shape
    (1, 5, 2)
    """
    nested = len(weights) > 0 and isinstance(weights[0], list | tuple)
    stacked = cast(Sequence[Sequence[np.ndarray]], weights if nested else [weights])
    directions = _DIRECTIONS.get(len(stacked[0]), 0)
    layers: list[list[Direction]] = []
    for number, arrays in enumerate(stacked):
        if not directions or len(arrays) != len(stacked[0]):
            raise ValueError(
                f"layer {number} has {len(arrays)} arrays: expected kernel, recurrent kernel and bias (2 without bias; "
                "twice as many if bidirectional), the same in all layers"
            )
        size = len(arrays) // directions
        layer: list[Direction] = []
        for start in range(0, len(arrays), size):
            kernel, recurrent_kernel, *bias = (as_numpy(array) for array in arrays[start : start + size])
            if not layers and not layer:
                features = kernel.shape[0]
                hidden = hidden_features("layer 0's recurrent kernel", recurrent_kernel, axis=1)
            direction = Direction(kernel, recurrent_kernel, bias[0] if bias else np.zeros(4 * hidden, kernel.dtype))
            expected = ((features, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))
            names = (f"layer {number}'s {name}" for name in ("kernel", "recurrent kernel", "bias"))
            check_shapes(dict(zip(names, zip(direction[:3], expected, strict=True), strict=True)))
            layer.append(direction)
        layers.append(layer)
        features = hidden * directions
    return stack_from_arrays(layers, options)


_DIRECTIONS = {2: 1, 3: 1, 4: 2, 6: 2}
"""Number of directions of a Keras LSTM, by its number of arrays."""


def _list(names: Mapping[str, Any]) -> str:
    shown = [str(name) for name in names]
    return ", ".join(shown[:4]) + (", ..." if len(shown) > 4 else "") if shown else "nothing"
