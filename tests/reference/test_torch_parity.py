"""The LSTM against PyTorch itself, over random shapes, where it is installed."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lstmjax.nn

torch = pytest.importorskip("torch")

# Its notice that it takes its slower path.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@settings(max_examples=10)  # each compiles a program of its own
@given(
    seed=st.integers(0, 2**16),
    batch=st.integers(1, 4),
    steps=st.integers(1, 7),
    features=st.integers(1, 5),
    hidden=st.integers(1, 6),
    layers=st.integers(1, 2),
    direction=st.sampled_from(["forward", "reverse", "both"]),
    lengths=st.booleans(),
    projected=st.booleans(),
)
def test_everything_agrees_with_pytorch(reference, lstmjax_results, **drawn):
    direction, projected = drawn.pop("direction"), drawn.pop("projected")
    proj_size = drawn["hidden"] // 2 if projected else 0
    case = reference.random_case(
        **drawn, bidirectional=direction == "both", reverse=direction == "reverse", proj_size=proj_size
    )
    found = lstmjax_results(case)
    expected = reference.torch_results(case)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-10, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"proj_size": 2}, {"bias": False}])
def test_a_module_of_pytorch_goes_there_and_back(options):
    module = torch.nn.LSTM(3, 5, batch_first=True, **options)
    stack = lstmjax.nn.from_torch(module.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    expected = module(torch.from_numpy(x))[0].detach().numpy()
    np.testing.assert_allclose(stack(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-6)

    again = torch.nn.LSTM(3, 5, batch_first=True, **options | {"bias": True})
    again.load_state_dict({name: torch.from_numpy(array) for name, array in lstmjax.nn.to_torch(stack).items()})
    np.testing.assert_allclose(again(torch.from_numpy(x))[0].detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_tensors_of_half_precision_are_read():
    state = torch.nn.LSTM(3, 5).to(torch.bfloat16).state_dict()
    kernel = lstmjax.nn.from_torch(state).forward[0].cell.kernel[...]
    np.testing.assert_array_equal(kernel, state["weight_ih_l0"].float().numpy().T)
