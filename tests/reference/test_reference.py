"""The LSTM against arrays that PyTorch computed in float64, and against a checkpoint of Flax Linen."""

from pathlib import Path

import flax.serialization
import jax.numpy as jnp
import numpy as np
import pytest

import lstmjax.nn

FOLDER = Path(__file__).parent
CASES = sorted(path.stem for path in FOLDER.glob("lstm_*.npz"))


def test_every_kind_has_its_file(reference):
    assert [f"lstm_{kind}" for kind in sorted(reference.KINDS)] == CASES


@pytest.mark.parametrize(
    ("name", "implementation"),
    [(name, "auto") for name in CASES] + [("lstm_stacked_reversed_lengths", "scan")],
)
def test_outputs_carries_and_gradients_are_those_of_pytorch(name, implementation, lstmjax_results):
    case = dict(np.load(FOLDER / f"{name}.npz"))
    found = lstmjax_results(case, implementation=implementation)
    expected = {key.removeprefix("expected/"): array for key, array in case.items() if key.startswith("expected/")}
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == np.float64
        np.testing.assert_allclose(found[key], array, rtol=1e-10, atol=1e-10, err_msg=key)


def test_a_linen_checkpoint_computes_what_it_did():
    params = flax.serialization.msgpack_restore((FOLDER / "linen_lstm.msgpack").read_bytes())
    expected = np.load(FOLDER / "linen_lstm.npz")
    (c, h), ys = lstmjax.nn.from_flax(params)(jnp.asarray(expected["x"]), return_carry=True)
    for name, array in {"ys": ys, "c": c, "h": h}.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-6, err_msg=name)
