"""Weights from and to other libraries, against what these say that they compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from lstmjax.nn import LSTM, StackedLSTM, from_flax, from_keras, from_torch, to_torch

X = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def numpy_lstm(x, kernel, recurrent_kernel, bias):
    """Keras' and PyTorch's equations with time in a Python loop: outputs (B, T, H)."""
    h = c = np.zeros((x.shape[0], recurrent_kernel.shape[0]))
    ys = []
    for x_t in x.swapaxes(0, 1):
        i, f, g, o = np.split(x_t @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
    return np.stack(ys, axis=1)


def draw(*shapes):
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype(np.float32) / 2 for shape in shapes]


def test_from_torch_adds_up_the_biases_and_finds_its_names_in_a_larger_state():
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    kernel, recurrent_kernel, *biases = draw((16, 3), (16, 4), (16,), (16,))
    state = {f"net.lstm.{name}": a for name, a in zip(names, (kernel, recurrent_kernel, *biases), strict=True)}
    stack = from_torch({**state, "net.head.weight": np.zeros((1, 4))}, prefix="net.lstm.")
    expected = numpy_lstm(X, kernel.T, recurrent_kernel.T, sum(biases))
    np.testing.assert_allclose(stack(jnp.asarray(X)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"proj_size": 2}])
def test_a_stack_goes_to_torch_and_back(options):
    stack = StackedLSTM(3, 4, 2, rngs=nnx.Rngs(0), **options)
    again = from_torch(to_torch(stack))
    assert jax.tree.structure(nnx.state(again, nnx.Param)) == jax.tree.structure(nnx.state(stack, nnx.Param))
    np.testing.assert_array_equal(again(jnp.asarray(X)), stack(jnp.asarray(X)))


def test_options_without_weights_are_handed_on():
    stack = from_torch(to_torch(LSTM(3, 4, rngs=nnx.Rngs(0))), time_major=True, dropout=0.5, reverse=True)
    assert (stack.time_major, stack.dropout.rate, stack.reverse) == (True, 0.5, True)


class Module:
    """What a torch.nn.LSTM has, where PyTorch is not installed."""

    def __init__(self, state, **attributes):
        vars(self).update({"mode": "LSTM", "batch_first": False, "dropout": 0.0, "training": True} | attributes)
        self.num_layers = sum(name.startswith("weight_ih") and name[-1].isdigit() for name in state)
        self.state_dict = lambda: state


def test_a_torch_module_is_taken_with_its_layout_and_dropout():
    stack = StackedLSTM(3, 4, 2, rngs=nnx.Rngs(0))
    state, expected = to_torch(stack), stack(jnp.asarray(X))
    by_time = from_torch(Module(state, dropout=0.25))
    assert (by_time.time_major, by_time.dropout.rate) == (True, 0.25)
    by_batch = from_torch(Module(state, batch_first=True, dropout=0.25, training=False))
    np.testing.assert_array_equal(by_batch(jnp.asarray(X)), expected)  # in evaluation mode nothing is dropped
    np.testing.assert_array_equal(from_torch(Module(state), time_major=False)(jnp.asarray(X)), expected)
    one = from_torch(Module(to_torch(LSTM(3, 4, rngs=nnx.Rngs(0))), dropout=0.25))
    assert one.dropout.rate == 0.0  # PyTorch has none above a single layer


def test_a_torch_module_is_found_in_a_larger_one():
    state = to_torch(StackedLSTM(3, 4, 1, rngs=nnx.Rngs(0)))
    inner = Module(state, batch_first=True)
    outer = Module({f"net.lstm.{name}": array for name, array in state.items()} | {"head": np.zeros(3)})
    outer.net = Module({}, lstm=inner)
    assert from_torch(outer, prefix="net.lstm.").time_major is False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Module({}, mode="GRU"), "a torch.nn.GRU: expected a torch.nn.LSTM"),
        (Module({}, mode="RNN_TANH"), "a torch.nn.RNN_TANH: expected"),
        (Module({"weight": np.zeros(3)}), "the state has no weight_ih_l0"),
        ([np.zeros(3)], r"from_torch got list: expected a torch.nn.LSTM, or its state_dict\(\)"),
    ],
)
def test_what_is_no_torch_lstm_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        from_torch(given)


def test_a_module_of_pytorch_itself():
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 4, 2, batch_first=True, dropout=0.5, bidirectional=True).eval()
    expected = module(torch.from_numpy(X))[0].detach().numpy()
    np.testing.assert_allclose(from_torch(module)(jnp.asarray(X)), expected, rtol=1e-5, atol=1e-6)


def without(state, name):
    return {key: array for key, array in state.items() if key != name}


STATE = to_torch(StackedLSTM(3, 4, 2, bidirectional=True, rngs=nnx.Rngs(0)))
SHORT = np.zeros((16, 7), np.float32)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "the state has no weight_ih_l0: .* got nothing"),
        ({"linear.weight": SHORT}, "the state has no weight_ih_l0: .* got linear.weight"),
        (without(STATE, "bias_hh_l1"), "the state has no bias_hh_l1"),
        (without(STATE, "weight_hh_l1_reverse"), "the state has no weight_hh_l1_reverse"),
        ({**STATE, "weight_ih_l3": SHORT}, "the state has weight_ih_l3, which no torch.nn.LSTM of 2 layers has"),
        ({**STATE, "weight_ih_l1": SHORT}, r"weight_ih_l1 has shape \(16, 7\): expected \(16, 8\)"),
        ({**STATE, "bias_ih_l0": np.zeros(4)}, r"bias_ih_l0 has shape \(4,\): expected \(16,\)"),
        ({**STATE, "weight_hh_l0": np.zeros((15, 4))}, r"weight_hh_l0 has shape \(15, 4\): expected .* four gates"),
    ],
)
def test_a_state_that_does_not_belong_to_an_lstm_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        from_torch(state)


def test_options_that_have_weights_are_refused():
    with pytest.raises(ValueError, match="peepholes is not an option of a converted layer"):
        from_torch(STATE, peepholes=True)
    with pytest.raises(ValueError, match="dropout is not an option of a converted layer"):
        from_flax(nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0)), dropout=0.1)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"peepholes": True}, "peepholes"),
        ({"layer_norm": True}, "layer_norm"),
        ({"coupled_gates": True}, "coupled_gates"),
        ({"cell_zoneout": 0.1}, "zoneout"),
        ({"activation_fn": nnx.relu}, "activation_fn"),
        ({"gate_fn": nnx.hard_sigmoid}, "gate_fn"),
        ({"residual": True}, "residual"),
        ({"reverse": True}, "reverse"),
    ],
)
def test_what_torch_does_not_have_is_refused_by_name(option, named):
    with pytest.raises(ValueError, match=f"^{named}: torch.nn.LSTM"):
        to_torch(StackedLSTM(3, 4, 2, rngs=nnx.Rngs(0), **option))


@pytest.mark.parametrize("kind", [nnx.OptimizedLSTMCell, nnx.LSTMCell])
@pytest.mark.parametrize("functions", [{}, {"gate_fn": nnx.hard_sigmoid, "activation_fn": nnx.soft_sign}])
def test_flax_cells_compute_the_same(kind, functions):
    cell = kind(3, 4, bias_init=nnx.initializers.normal(), rngs=nnx.Rngs(0), **functions)
    expected = nnx.RNN(cell)(jnp.asarray(X), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(from_flax(cell)(jnp.asarray(X)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [linen.OptimizedLSTMCell, linen.LSTMCell])
def test_linen_parameters_compute_the_same(kind):
    layer = linen.RNN(kind(4, bias_init=nnx.initializers.normal()))
    variables = layer.init(jax.random.key(0), X)
    expected = layer.apply(variables, X)
    np.testing.assert_allclose(from_flax(variables)(jnp.asarray(X)), expected, rtol=1e-5, atol=1e-6)
    inner = next(iter(variables["params"].values()))
    np.testing.assert_array_equal(from_flax(inner)(jnp.asarray(X)), from_flax(variables)(jnp.asarray(X)))


def test_other_layers_of_flax_are_refused():
    with pytest.raises(ValueError, match="GRUCell: expected an LSTM cell"):
        from_flax(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)))
    gru = linen.GRUCell(4).init(jax.random.key(0), jnp.zeros((1, 4)), jnp.zeros((1, 3)))
    with pytest.raises(ValueError, match="the parameters have no ii/kernel: .* got"):
        from_flax(gru)
    parts = {f"i{gate}": {"kernel": np.zeros((3, 4))} for gate in "ifgo"}
    parts |= {f"h{gate}": {"kernel": np.zeros((5, 4)), "bias": np.zeros(4)} for gate in "ifgo"}
    with pytest.raises(ValueError, match=r"the recurrent kernel has shape \(5, 16\): expected \(4, 16\)"):
        from_flax(parts)


def test_keras_weights_compute_the_same_in_both_directions_and_two_layers():
    shapes = [(3, 16), (4, 16), (16,)]
    arrays = draw(*shapes, *shapes, (8, 16), (4, 16), (16,), (8, 16), (4, 16), (16,))
    ys = X
    for forward, backward in ((arrays[:3], arrays[3:6]), (arrays[6:9], arrays[9:])):
        ys = np.concatenate([numpy_lstm(ys, *forward), numpy_lstm(ys[:, ::-1], *backward)[:, ::-1]], axis=-1)
    stack = from_keras([arrays[:6], arrays[6:]])
    np.testing.assert_allclose(stack(jnp.asarray(X)), ys, rtol=1e-5, atol=1e-6)


def test_a_keras_layer_without_bias():
    kernel, recurrent_kernel = draw((3, 16), (4, 16))
    expected = numpy_lstm(X, kernel, recurrent_kernel, 0.0)
    np.testing.assert_allclose(from_keras([kernel, recurrent_kernel])(jnp.asarray(X)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(3, 16)], "layer 0 has 1 arrays: expected kernel"),
        ([(3, 12), (4, 12), (2, 12)], r"layer 0's recurrent kernel has shape \(4, 12\): expected \(3, 12\)"),
        ([(3, 16), (4, 16), (15,)], r"layer 0's bias has shape \(15,\): expected \(16,\)"),
    ],
)
def test_keras_weights_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        from_keras(draw(*shapes))
