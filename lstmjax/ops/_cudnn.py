"""The plain LSTM on NVIDIA's cuDNN kernel."""

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint

from lstmjax.ops import recurrence
from lstmjax.ops._backward import Arrays, Options
from lstmjax.ops.step import Carry


def cudnn(options: Options, arrays: Arrays) -> tuple[Carry, jax.Array | None]:
    """Runs the recurrence by `jax.experimental.rnn`: one model at a time, in float32, on an NVIDIA GPU.

    The kernel has two biases where we have one: the second is zero, and its gradient is not used.

    Raises:
        ValueError: one of these conditions does not hold.
    """
    _check_supported(options, arrays)
    from jax.experimental import rnn  # only here, as it needs a GPU

    steps, batch, in_features = arrays.x.shape
    (kernel, recurrent_kernel, bias), (c_first, h_first) = arrays.weights, arrays.carry
    lengths = jnp.full((batch,), steps, jnp.int32)
    if arrays.valid is not None:
        lengths = jnp.sum(arrays.valid[..., 0], axis=0, dtype=jnp.int32)
    x = recurrence.flip_sequences(arrays.x, lengths) if options.reverse else arrays.x
    weights = kernel.T, recurrent_kernel.T, bias, jnp.zeros_like(bias)
    try:
        ys, h, c = rnn.lstm(
            _row_major(x.swapaxes(0, 1)),  # (B, T, I)
            _row_major(h_first[None]),
            _row_major(c_first[None]),
            jnp.concatenate([part.reshape(-1) for part in weights]),
            jnp.maximum(lengths, 1),  # the kernel has no empty sequences: these are corrected below
            input_size=in_features,
            hidden_size=h_first.shape[1],
            num_layers=1,
            dropout=0.0,
            bidirectional=False,
        )
    except NotImplementedError as error:
        raise ValueError('implementation="cudnn" runs one model at a time: use "auto" under vmap') from error
    ys, h, c = _row_major(ys), _row_major(h), _row_major(c)
    empty = (lengths == 0)[:, None]
    last = jnp.where(empty, c_first, c[0]), jnp.where(empty, h_first, h[0])
    if not options.return_sequence:
        return last, None
    ys = ys.swapaxes(0, 1)  # (T, B, H)
    if options.reverse:
        ys = recurrence.flip_sequences(ys, lengths)
    return last, ys if arrays.valid is None else recurrence.zero_padding(ys, arrays.valid)


def _row_major(array: jax.Array) -> jax.Array:
    """Fixes the order of an array in memory, and that of its gradient.

    JAX does not tell XLA which order the kernel reads and writes (seen in jax 0.11 on an H100): where XLA chooses
    another one, as it does beside a transpose or a flip, the kernel computes other numbers without an error.
    """
    return with_layout_constraint(array, Layout(major_to_minor=tuple(range(array.ndim))))


def _check_supported(options: Options, arrays: Arrays) -> None:
    if jax.default_backend() != "gpu":
        raise ValueError(f'implementation="cudnn" needs an NVIDIA GPU, found {jax.default_backend()}: use "auto"')
    if any(array.dtype != jnp.float32 for array in jax.tree.leaves(arrays[:3])):
        raise ValueError(f'implementation="cudnn" computes in float32, found {jnp.dtype(options.dtype)}: use "auto"')
    if arrays.recurrent_mask is not None:
        raise ValueError('implementation="cudnn" has no recurrent dropout: use "auto"')
