"""The layers: directions, orders, carries, last steps, and other libraries' wrappers around them."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax.nnx import bridge
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from lstmjax.nn import LSTM, StackedLSTM

X = jax.random.normal(jax.random.key(0), (3, 6, 4))
LENGTHS = jnp.array([6, 1, 4])
VALID = np.asarray(jnp.arange(6) < LENGTHS[:, None])[..., None]


@pytest.fixture(scope="module")
def layer() -> LSTM:
    return LSTM(4, 5, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("keep_order", [False, True])
def test_orders_and_carries_are_those_of_nnx_rnn(layer: LSTM, reverse: bool, keep_order: bool) -> None:
    rnn = nnx.RNN(layer.cell, rngs=nnx.Rngs(0))
    options: dict[str, Any] = {
        "seq_lengths": LENGTHS,
        "initial_carry": (jnp.ones((3, 5)), -jnp.ones((3, 5))),
        "return_carry": True,
        "reverse": reverse,
        "keep_order": keep_order,
    }
    (c, h), ys = layer(X, **options)
    (expected_c, expected_h), expected = nnx.jit(lambda rnn: rnn(X, **options))(rnn)
    np.testing.assert_allclose(ys, np.where(VALID, expected, 0), atol=1e-6)
    np.testing.assert_allclose(c, expected_c, atol=1e-6)
    np.testing.assert_allclose(h, expected_h, atol=1e-6)


def test_time_major_only_turns_the_axes(layer: LSTM) -> None:
    turned = layer(X.swapaxes(0, 1), seq_lengths=LENGTHS, time_major=True)
    np.testing.assert_array_equal(turned.swapaxes(0, 1), layer(X, seq_lengths=LENGTHS))
    constructed = LSTM(4, 5, time_major=True, reverse=True, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(constructed(X.swapaxes(0, 1)).swapaxes(0, 1), layer(X, reverse=True))
    np.testing.assert_array_equal(constructed(X, time_major=False, reverse=False), layer(X))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_last_output_is_that_of_each_sequences_last_step(layer: LSTM, reverse: bool) -> None:
    last = layer(X, seq_lengths=LENGTHS, reverse=reverse, return_sequence=False)
    ys = layer(X, seq_lengths=LENGTHS, reverse=reverse, keep_order=True)
    ends = jnp.zeros(3, int) if reverse else LENGTHS - 1
    np.testing.assert_allclose(last, ys[jnp.arange(3), ends], atol=1e-6)


def test_bidirectional_in_flax_equals_the_stack() -> None:
    stack = StackedLSTM(4, 5, 1, bidirectional=True, rngs=nnx.Rngs(0))
    flax = nnx.Bidirectional(stack.forward[0], stack.backward[0], time_major=True, rngs=nnx.Rngs(0))
    x = X.swapaxes(0, 1)
    carries, ys = flax(x, seq_lengths=LENGTHS, return_carry=True)
    expected_carries, expected = stack(x, seq_lengths=LENGTHS, return_carry=True, time_major=True)
    np.testing.assert_allclose(ys, expected, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), (carries,), expected_carries)


def test_a_stack_is_its_layers_one_after_the_other() -> None:
    stack = StackedLSTM(4, 5, 3, residual=True, dropout=0.4, rngs=nnx.Rngs(0))
    carry = (jnp.full((3, 5), 0.3), jnp.full((3, 5), -0.2))
    carries, ys = stack(X, seq_lengths=LENGTHS, initial_carry=(carry,) * 3, return_carry=True, rngs=nnx.Rngs(dropout=1))
    rngs = nnx.Rngs(dropout=1)
    h: Any = X
    for number, layer in enumerate(stack.forward):
        expected_carry, y = layer(h, time_major=False, seq_lengths=LENGTHS, initial_carry=carry, return_carry=True)
        h = y + h if number else y
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), carries[number], expected_carry)
        if number < 2:
            mask = stack.dropout.mask((6, 3, 5), rngs=rngs)
            assert mask is not None
            h = h * mask.swapaxes(0, 1)
    np.testing.assert_allclose(ys, h, atol=1e-6)


def test_a_stacks_features_and_bad_arguments() -> None:
    stack = StackedLSTM(4, 5, 2, bidirectional=True, proj_size=3, rngs=nnx.Rngs(0))
    assert stack.out_features == 6
    with pytest.raises(ValueError, match="initial_carry has 1 parts: expected one for each of 2 layers"):
        stack(X, initial_carry=(None,))
    with pytest.raises(ValueError, match="leave reverse out"):
        stack(X, reverse=True)
    with pytest.raises(ValueError, match="num_layers is 0"):
        StackedLSTM(4, 5, 0, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("variant", [{}, {"layer_norm": True}, {"proj_size": 3}], ids=str)
@pytest.mark.parametrize("time_major", [False, True])
def test_arrays_that_do_not_fit_are_refused_by_every_cell_in_the_users_shapes(variant: Any, time_major: bool) -> None:
    call = inspect.unwrap(LSTM.__call__)  # as users have it: without the run-time check of annotations
    layer = LSTM(4, 5, time_major=time_major, rngs=nnx.Rngs(0), **variant)
    x = jnp.ones((7, 2, 4) if time_major else (2, 7, 4))
    out = layer.cell.out_features
    c, h = jnp.zeros((2, 5)), jnp.zeros((2, out))
    wrong = {
        "x has shape .*3.: expected .*4.": ((x[..., :3],), {}),
        "x has shape .7, 4.: expected .B, T, I.": ((jnp.ones((7, 4)),), {}),
        # One length would have been broadcast to all sequences.
        f"seq_lengths has shape .1,.: expected .2,. for x of shape .{str(x.shape)[1:-1]}": (
            (x,),
            {"seq_lengths": jnp.array([3])},
        ),
        "initial_carry's c has shape .1, 5.: expected .2, 5.": ((x,), {"initial_carry": (c[:1], h)}),
        f"initial_carry's h has shape .2, 6.: expected .2, {out}.": ((x,), {"initial_carry": (c, jnp.zeros((2, 6)))}),
    }
    for message, (args, options) in wrong.items():
        with pytest.raises(ValueError, match=message):
            call(layer, *args, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"remat": 0}, "remat is 0"),
        ({"unroll": 0}, "unroll is 0"),
    ],
)
def test_options_that_do_not_exist_are_refused_when_the_layer_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LSTM(4, 5, peepholes=True, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peepholes": True}, "plain cell only"),
        ({"hidden_zoneout": 0.1}, "plain cell only"),
        ({"recurrent_dropout": 0.1}, "no recurrent dropout"),
        ({"remat": True}, "leave remat out"),
        ({"dtype": jnp.bfloat16}, "computes in float32"),
    ],
)
def test_what_cudnn_cannot_do_is_refused_when_the_layer_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LSTM(4, 5, implementation="cudnn", rngs=nnx.Rngs(0), **options)


class LinenModel(linen.Module):
    """A Linen model of somebody else's, with our layer inside."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        encoded = bridge.to_linen(LSTM, 4, 5, name="encoder")(x, return_sequence=False)
        return linen.Dense(1)(encoded)


def test_a_linen_model_trains_the_layer() -> None:
    model = LinenModel()
    variables = model.init(jax.random.key(0), X)
    cell = variables["params"]["encoder"]["cell"]
    assert set(cell) == {"kernel", "recurrent_kernel", "bias"}

    def loss(variables: Any) -> jax.Array:
        return jnp.mean((model.apply(variables, X) - jnp.sum(X, axis=(1, 2))[:, None]) ** 2)

    step = jax.jit(lambda v: jax.tree.map(lambda a, g: a - 0.05 * g, v, jax.grad(loss)(v)))
    trained = variables
    for _ in range(20):
        trained = step(trained)
    assert loss(trained) < 0.5 * loss(variables)


def test_vmapped_layers_equal_each_alone() -> None:
    """A population: weights stacked along a new axis, one compiled program."""

    @nnx.vmap(in_axes=(0, None), out_axes=0)
    def run(layer: LSTM, x: jax.Array) -> jax.Array:
        return layer(x, seq_lengths=LENGTHS)

    @nnx.vmap
    def make(key: jax.Array) -> LSTM:
        return LSTM(4, 5, rngs=nnx.Rngs(params=key))

    keys = jax.random.split(jax.random.key(5), 2)
    together = run(make(keys), X)
    for number in range(2):
        alone = LSTM(4, 5, rngs=nnx.Rngs(params=keys[number]))(X, seq_lengths=LENGTHS)
        np.testing.assert_allclose(together[number], alone, atol=1e-6)


def test_a_variant_in_shard_map_with_its_checks_equals_one_device() -> None:
    layer = LSTM(4, 5, peepholes=True, cell_zoneout=0.2, remat=3, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(layer)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    x, lengths = jnp.concatenate([X, X[:1]]), jnp.array([6, 1, 4, 0])

    def gradients(params: Any, x: jax.Array, lengths: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            ys = nnx.merge(graphdef, params)(x, seq_lengths=lengths, deterministic=True)
            return jnp.sum(ys * ys)

        return jax.grad(loss)(params)

    split = jax.shard_map(gradients, mesh=mesh, in_specs=(P(), P("batch"), P("batch")), out_specs=P())
    found = jax.jit(split)(params, x, lengths)
    expected = jax.jit(gradients)(params, x, lengths)
    assert jax.tree.leaves(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)
