"""Every variant of the cell against its equations in NumPy, its initial weights, and finite differences."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

from lstmjax.nn import LSTM, LSTMCell, PlainLSTMCell

IN, HIDDEN, PROJECTED = 3, 4, 2

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "peepholes": {"peepholes": True},
    "layer_norm": {"layer_norm": True},
    "coupled_gates": {"coupled_gates": True},
    "projection": {"proj_size": PROJECTED},
    "activations": {"gate_fn": jax.nn.hard_sigmoid, "activation_fn": jax.nn.soft_sign},
    "all": {"peepholes": True, "layer_norm": True, "coupled_gates": True, "proj_size": PROJECTED},
    "all but coupled": {"peepholes": True, "layer_norm": True, "proj_size": PROJECTED},
}


def numpy_step(cell: LSTMCell, c: np.ndarray, h: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The equations of the papers, gate by gate."""
    usual = cell.gate_fn is jax.nn.sigmoid
    squash = (lambda z: 1 / (1 + np.exp(-z))) if usual else (lambda z: np.clip(z / 6 + 0.5, 0, 1))
    tanh = np.tanh if usual else (lambda z: z / (1 + np.abs(z)))

    def normalize(z: np.ndarray) -> np.ndarray:
        return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5)

    z_x, z_h = x @ np.asarray(cell.kernel[...]), h @ np.asarray(cell.recurrent_kernel[...])
    if cell.input_scale is not None:
        z_x = normalize(z_x) * np.asarray(cell.input_scale[...])
        z_h = normalize(z_h) * np.asarray(cell.recurrent_scale[...])
    z = z_x + z_h + np.asarray(cell.bias[...])
    f, g, o = np.split(z[..., -3 * HIDDEN :], 3, axis=-1)
    i = z[..., : -3 * HIDDEN]
    peephole = np.zeros((3, HIDDEN))
    if cell.peephole is not None:
        peephole[-len(cell.peephole[...]) :] = np.asarray(cell.peephole[...])
    f = squash(f + peephole[1] * c)
    i = 1 - f if cell.coupled_gates else squash(i + peephole[0] * c)
    c = f * c + i * tanh(g)
    o = squash(o + peephole[2] * c)
    shown = c
    if cell.cell_scale is not None:
        shown = normalize(c) * np.asarray(cell.cell_scale[...]) + np.asarray(cell.cell_bias[...])
    h = o * tanh(shown)
    return c, h if cell.projection is None else h @ np.asarray(cell.projection[...])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.usefixtures("x64")
def test_layer_gives_the_values_of_the_equations_and_the_gradients_of_finite_differences(
    randomize: Any, variant: str
) -> None:
    layer = LSTM(IN, HIDDEN, rngs=nnx.Rngs(0), param_dtype=jnp.float64, **VARIANTS[variant])
    randomize(layer)
    assert layer.cell.is_plain == (variant == "plain")
    rng = np.random.default_rng(1)
    out = layer.cell.out_features
    x, c, h = rng.normal(size=(2, 4, IN)), rng.normal(size=(2, HIDDEN)), rng.normal(size=(2, out))
    lengths = jnp.array([4, 2])
    graphdef, params = nnx.split(layer)
    weight = jnp.asarray(rng.normal(size=(2, 4, out)))

    @jax.jit
    def run(params: Any, x: Any, carry: Any) -> Any:
        (c, h), ys = nnx.merge(graphdef, params)(x, initial_carry=carry, seq_lengths=lengths, return_carry=True)
        return jnp.sum(ys * weight) + jnp.sum(jnp.sin(c)) + jnp.sum(h * h), (c, h, ys)

    _, (found_c, found_h, found) = run(params, jnp.asarray(x), (jnp.asarray(c), jnp.asarray(h)))
    expected = np.zeros((2, 4, out))
    for b, length in enumerate((4, 2)):
        for t in range(length):
            c[b], h[b] = numpy_step(layer.cell, c[b], h[b], x[b, t])
            expected[b, t] = h[b]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found_c, c, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found_h, h, rtol=0, atol=1e-12)
    loss = jax.jit(lambda *arguments: run(*arguments)[0])
    carry = (jnp.ones((2, HIDDEN)), jnp.ones((2, out)))
    check_grads(loss, (params, jnp.asarray(x), carry), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("variant", ["plain", "all"])
def test_a_cell_in_nnx_rnn_equals_the_layer(randomize: Any, variant: str) -> None:
    layer = LSTM(IN, HIDDEN, rngs=nnx.Rngs(0), **VARIANTS[variant])
    randomize(layer)
    rnn = nnx.RNN(layer.cell, return_carry=True, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 5, IN))
    lengths = jnp.array([5, 3])
    (c, h), ys = nnx.jit(lambda rnn: rnn(x, seq_lengths=lengths))(rnn)
    (expected_c, expected_h), expected = layer(x, seq_lengths=lengths, return_carry=True)
    np.testing.assert_allclose(jnp.where((jnp.arange(5) < lengths[:, None])[..., None], ys, 0), expected, atol=1e-6)
    np.testing.assert_allclose(c, expected_c, atol=1e-6)
    np.testing.assert_allclose(h, expected_h, atol=1e-6)


def test_the_plain_cell_is_the_cell_without_options_and_the_function_that_a_scan_repeats() -> None:
    plain, cell = PlainLSTMCell(IN, HIDDEN, rngs=nnx.Rngs(3)), LSTMCell(IN, HIDDEN, rngs=nnx.Rngs(3))
    for (path, found), (expected_path, expected) in zip(
        nnx.to_flat_state(nnx.state(plain)), nnx.to_flat_state(nnx.state(cell)), strict=True
    ):
        assert path == expected_path
        np.testing.assert_array_equal(found[...], expected[...])
    xs = jax.random.normal(jax.random.key(0), (5, 2, IN))
    layer = LSTM(IN, HIDDEN, time_major=True, rngs=nnx.Rngs(3))
    (expected_c, expected_h), expected_ys = layer(xs, return_carry=True)
    for module in (plain, cell):
        (c, h), ys = jax.lax.scan(module, module.initialize_carry((2, IN)), xs)
        for a, b in ((c, expected_c), (h, expected_h), (ys, expected_ys)):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_plain_cell_computes_in_mixed_precision() -> None:
    cell = PlainLSTMCell(IN, HIDDEN, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(cell))} == {jnp.dtype(jnp.bfloat16)}
    (c, h), y = cell(cell.initialize_carry((2, IN)), jnp.ones((2, IN)))
    assert (c.dtype, h.dtype, y.dtype) == (jnp.float32, jnp.bfloat16, jnp.bfloat16)


@pytest.mark.parametrize("cell", [PlainLSTMCell, LSTMCell])
def test_an_input_that_does_not_fit_a_plain_cell_is_named(cell: Any) -> None:
    module = cell(IN, HIDDEN, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"weights.kernel has shape \(3, 16\): expected \(2, 16\) for x"):
        module(module.initialize_carry((5, 2)), jnp.ones((5, 2)))


@pytest.mark.parametrize("options", [{}, {"coupled_gates": True}])
def test_a_recurrent_kernel_without_projection_starts_as_one_orthogonal_block_per_gate(options: dict[str, Any]) -> None:
    cell = LSTMCell(IN, HIDDEN, rngs=nnx.Rngs(3), **options)
    gates = 3 if options else 4
    blocks = [np.asarray(block) for block in jnp.split(cell.recurrent_kernel[...], gates, axis=1)]
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, np.eye(HIDDEN), atol=1e-5)
    rngs = nnx.Rngs(3)
    rngs.params()  # the key of the input kernel
    draw = nnx.initializers.orthogonal()
    alone = [draw(key, (HIDDEN, HIDDEN), jnp.float32) for key in jax.random.split(rngs.params(), gates)]
    np.testing.assert_array_equal(blocks, alone)  # to the byte: the weights of a seed stay what they are
    assert not np.allclose(blocks[0], blocks[1])


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize(("hidden", "projected"), [(128, 64), (12, 6), (12, 8), (12, 5), (12, 11), (3, 2), (8, 1)])
def test_a_projected_recurrent_kernel_starts_with_rows_of_unit_norm_in_each_gate(
    hidden: int, projected: int, coupled: bool
) -> None:
    cell = LSTMCell(IN, hidden, proj_size=projected, coupled_gates=coupled, rngs=nnx.Rngs(0))
    blocks = jnp.split(cell.recurrent_kernel[...], 3 if coupled else 4, axis=1)
    for block in map(np.asarray, blocks):
        assert block.shape == (projected, hidden)
        np.testing.assert_allclose(block @ block.T, np.eye(projected), atol=1e-5)
    assert not np.allclose(blocks[0], blocks[1])


def test_biases_start_at_zero_but_the_forget_gate_at_one() -> None:
    ordinary = LSTMCell(IN, HIDDEN, rngs=nnx.Rngs(0)).bias[...]
    np.testing.assert_array_equal(ordinary, np.repeat([0.0, 1.0, 0.0, 0.0], HIDDEN))
    coupled = LSTMCell(IN, HIDDEN, coupled_gates=True, forget_bias=2.0, rngs=nnx.Rngs(0)).bias[...]
    np.testing.assert_array_equal(coupled, np.repeat([2.0, 0.0, 0.0], HIDDEN))
    ones = nnx.initializers.ones_init()
    given = LSTMCell(IN, HIDDEN, bias_init=ones, forget_bias=0.0, rngs=nnx.Rngs(0)).bias[...]
    np.testing.assert_array_equal(given, np.ones(4 * HIDDEN))


def test_chrono_biases_spread_memories_evenly_up_to_the_longest() -> None:
    hidden, steps = 2000, 500
    bias = np.asarray(
        LSTMCell(
            1, hidden, chrono_steps=steps, recurrent_kernel_init=nnx.initializers.zeros_init(), rngs=nnx.Rngs(0)
        ).bias[...]
    )
    i, f, g, o = np.split(bias, 4)
    memories = np.exp(f)
    assert 1 <= memories.min() < 5
    assert 490 < memories.max() <= 499
    np.testing.assert_allclose(np.quantile(memories, [0.25, 0.5, 0.75]), [125, 250, 375], atol=15)
    np.testing.assert_array_equal(i, -f)
    np.testing.assert_array_equal(np.concatenate([g, o]), np.zeros(2 * hidden))


def test_initial_carry_is_zeros_or_drawn() -> None:
    cell = LSTMCell(IN, HIDDEN, proj_size=PROJECTED, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    c, h = cell.initialize_carry((5, 6, IN))
    assert (c.shape, h.shape) == ((5, 6, HIDDEN), (5, 6, PROJECTED))
    assert (c.dtype, h.dtype) == (jnp.float32, jnp.bfloat16)
    assert not np.any(c)
    drawn, _ = cell.initialize_carry((5, 6, IN), nnx.Rngs(carry=0), nnx.initializers.normal())
    assert np.unique(drawn).size == drawn.size
    with pytest.raises(ValueError, match="carry_init draws random numbers"):
        cell.initialize_carry((5, IN), carry_init=nnx.initializers.normal())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_features": 0}, "in_features is 0"),
        ({"hidden_features": 0}, "hidden_features is 0"),
        ({"proj_size": 4}, "proj_size is 4"),
        ({"chrono_steps": 2}, "chrono_steps is 2"),
        ({"chrono_steps": 9, "forget_bias": 2.0}, "leave forget_bias and bias_init out"),
        ({"cell_zoneout": 1.5}, "cell_zoneout is 1.5"),
        ({"hidden_zoneout": -0.5}, "hidden_zoneout is -0.5"),
    ],
)
def test_impossible_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LSTMCell(**{"in_features": IN, "hidden_features": HIDDEN, "rngs": nnx.Rngs(0)} | options)
