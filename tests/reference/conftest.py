"""The same computation as `make_lstm_reference.torch_results`, by lstmjax."""

import importlib.util
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax.nn

FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The script that made the reference arrays."""
    spec = importlib.util.spec_from_file_location("make_lstm_reference", FOLDER / "make_lstm_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def lstmjax_results(reference):
    """Outputs, last carries and gradients of a case, by the names that PyTorch's have."""

    def results(case: dict[str, np.ndarray], **options) -> dict[str, np.ndarray]:
        with jax.enable_x64(True):
            stack = lstmjax.nn.from_torch(reference.state_of(case), **options)
            graphdef, params, rest = nnx.split(stack, nnx.Param, ...)

            def loss(params, x, h0, c0):
                stack = nnx.merge(graphdef, params, rest)
                carries, ys = stack(
                    x,
                    seq_lengths=jnp.asarray(case["lengths"]),
                    initial_carry=_as_carries(c0, h0, stack.bidirectional),
                    return_carry=True,
                    keep_order=True,
                    reverse=bool(case["reverse"]),
                )
                flat = [pair for layer in carries for pair in (layer if stack.bidirectional else [layer])]
                found = {"ys": ys, "h": jnp.stack([h for _, h in flat]), "c": jnp.stack([c for c, _ in flat])}
                return sum(jnp.sum(array * case[f"factor/{name}"]) for name, array in found.items()), found

            arrays = [jnp.asarray(case[name]) for name in ("x", "h0", "c0")]
            run = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))
            (of_params, *of_arrays), found = run(params, *arrays)
            # Gradients have the structure of the weights, so the same conversion gives them PyTorch's names.
            by_name = lstmjax.nn.to_torch(nnx.merge(graphdef, of_params, rest))
            for name in list(by_name):
                if name.startswith("bias_hh"):  # the sum of two biases passes its gradient on to both
                    by_name[name] = by_name[name.replace("_hh_", "_ih_")]
            by_name |= dict(zip(("x", "h0", "c0"), of_arrays, strict=True))
            found |= {f"gradient/{name}": array for name, array in by_name.items()}
            return {name: np.asarray(array) for name, array in found.items()}

    return results


def _as_carries(c: jax.Array, h: jax.Array, bidirectional: bool) -> tuple:
    flat = list(zip(c, h, strict=True))
    return tuple(zip(flat[::2], flat[1::2], strict=True)) if bidirectional else tuple(flat)
