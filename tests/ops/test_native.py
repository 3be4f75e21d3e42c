"""The native CPU kernel against the equations, in float64."""

from typing import Any, NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from lstmjax.ops import LSTMWeights, _library, lstm

BUILT = not isinstance(_library.load(), str)
needs_kernel = pytest.mark.skipif(not BUILT, reason=f"needs the kernel: {_library.load()}")

TOLERANCE = 3e-6
"""Of float32, relative to an array's largest number: some tens of roundings."""


class Case(NamedTuple):
    """The sizes and options of one call."""

    batch: int
    steps: int
    in_features: int
    hidden: int
    reverse: bool = False
    lengths: bool = False
    mask: bool = False
    carry: bool = True
    time_major: bool = False
    return_sequence: bool = True
    remat: bool | int = False
    seed: int = 0


def arrays(case: Case) -> dict[str, Any]:
    """Random arguments of `lstm`, and the weights of its results in a sum, float32."""
    rng = np.random.default_rng(case.seed)

    def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
        return rng.normal(scale=scale, size=shape).astype(np.float32)

    batch, steps, features, hidden = case[:4]
    scale = (features + hidden) ** -0.5
    return {
        "weights": (draw(features, 4 * hidden, scale=scale), draw(hidden, 4 * hidden, scale=scale), draw(4 * hidden)),
        "x": draw(batch, steps, features),
        "carry": (draw(batch, hidden), draw(batch, hidden)),
        "mask": rng.choice(np.array([0.0, 1.0, 1.25], np.float32), (batch, hidden)),
        "lengths": rng.integers(0, steps + 1, batch),
        "d_carry": (draw(batch, hidden), draw(batch, hidden)),
        "dy": draw(batch, steps, hidden),
    }


def reference(case: Case, given: dict[str, Any]) -> dict[str, Any]:
    """The equations and their derivatives in NumPy and float64."""
    given = jax.tree.map(lambda a: a.astype(np.float64) if a.dtype == np.float32 else a, given)
    (kernel, recurrent, bias), x, hidden = given["weights"], given["x"], case.hidden
    c, h = given["carry"] if case.carry else (np.zeros((case.batch, hidden)),) * 2
    mask = given["mask"] if case.mask else np.ones_like(h)
    lengths = given["lengths"] if case.lengths else np.full(case.batch, case.steps)
    order = range(case.steps)[::-1] if case.reverse else range(case.steps)
    ys, kept = np.zeros((case.batch, case.steps, hidden)), {}
    for t in order:
        valid = (t < lengths)[:, None]
        z = x[:, t] @ kernel + (mask * h) @ recurrent + bias
        i, f, o = (1 / (1 + np.exp(-z[:, n * hidden : (n + 1) * hidden])) for n in (0, 1, 3))
        g = np.tanh(z[:, 2 * hidden : 3 * hidden])
        kept[t] = valid, c, h, i, f, g, o
        c, h = np.where(valid, f * c + i * g, c), np.where(valid, o * np.tanh(f * c + i * g), h)
        ys[:, t] = np.where(valid, h, 0)
    last, (dc, dh) = (c, h), given["d_carry"]
    d_kernel, d_recurrent, d_bias, d_x, d_mask = (np.zeros_like(a) for a in (kernel, recurrent, bias, x, mask))
    for t in reversed(order):
        valid, c, h, i, f, g, o = kept[t]
        tanh_c = np.tanh(f * c + i * g)
        total = dh + (given["dy"][:, t] if case.return_sequence else 0)
        dc_new = dc + total * o * (1 - tanh_c**2)
        dz = [
            dc_new * g * i * (1 - i),
            dc_new * c * f * (1 - f),
            dc_new * i * (1 - g * g),
            total * tanh_c * o * (1 - o),
        ]
        dz = np.where(valid, np.concatenate(dz, axis=1), 0)
        back = dz @ recurrent.T
        d_mask += h * back
        d_kernel += x[:, t].T @ dz
        d_recurrent += (mask * h).T @ dz
        d_bias += dz.sum(axis=0)
        d_x[:, t] = dz @ kernel.T
        dc, dh = np.where(valid, dc_new * f, dc), np.where(valid, mask * back, dh)
    found = {"c": last[0], "h": last[1], "y": ys, "d_c": dc, "d_h": dh, "d_x": d_x, "d_mask": d_mask}
    return found | {"d_kernel": d_kernel, "d_recurrent": d_recurrent, "d_bias": d_bias}


def evaluate(case: Case, given: dict[str, Any], implementation: Any = "native") -> dict[str, Any]:
    """The same by `lstm`."""

    def run(weights: LSTMWeights, x: Any, carry: Any, mask: Any) -> Any:
        (c, h), ys = lstm(
            weights,
            jnp.swapaxes(x, 0, 1) if case.time_major else x,
            carry if case.carry else None,
            seq_lengths=jnp.asarray(given["lengths"]) if case.lengths else None,
            recurrent_mask=mask if case.mask else None,
            reverse=case.reverse,
            time_major=case.time_major,
            return_sequence=case.return_sequence,
            remat=case.remat,
            implementation=implementation,
        )
        return (c, h), jnp.swapaxes(ys, 0, 1) if case.time_major and ys is not None else ys

    def both(*arguments: Any) -> Any:
        results, pull = jax.vjp(run, *arguments)
        dc, dh, dy = (jnp.asarray(cotangent) for cotangent in (*given["d_carry"], given["dy"]))
        return results, pull(((dc, dh), dy if case.return_sequence else None))

    arguments = LSTMWeights(*given["weights"]), given["x"], given["carry"], given["mask"]
    ((c, h), ys), (weights, x, carry, mask) = jax.jit(both)(*jax.tree.map(jnp.asarray, arguments))
    found = {"c": c, "h": h} | ({} if ys is None else {"y": ys})
    found |= dict(zip(("d_kernel", "d_recurrent", "d_bias"), weights, strict=True)) | {"d_x": x}
    found |= {"d_c": carry[0], "d_h": carry[1]} if case.carry else {}
    return found | ({"d_mask": mask} if case.mask else {})


def assert_parity(case: Case, tolerance: float = TOLERANCE) -> None:
    given = arrays(case)
    expected = reference(case, given)
    for name, array in evaluate(case, given).items():
        assert_near(name, array, expected[name], tolerance)


def assert_near(name: str, found: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    size = np.max(np.abs(expected), initial=0.0)  # what cancels, cancels numbers of about 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(size, 0.1), err_msg=name)


sizes = st.integers(1, 40)
cases = st.builds(
    Case,
    batch=st.one_of(sizes, st.integers(1, 150)),
    steps=st.integers(1, 20),
    in_features=sizes,
    hidden=st.one_of(sizes, st.integers(1, 100)),
    reverse=st.booleans(),
    lengths=st.booleans(),
    mask=st.booleans(),
    carry=st.booleans(),
    time_major=st.booleans(),
    return_sequence=st.booleans(),
    remat=st.sampled_from([False, True, 3]),
    seed=st.integers(0, 99),
)


@needs_kernel
@hypothesis.given(case=cases)
@hypothesis.settings(max_examples=15)
@hypothesis.example(case=Case(1, 1, 1, 1))
@hypothesis.example(case=Case(1, 1, 1, 1, reverse=True, lengths=True, mask=True))
@hypothesis.example(case=Case(67, 5, 3, 16, lengths=True))
@hypothesis.example(case=Case(300, 3, 17, 33, reverse=True, lengths=True, mask=True))
def test_outputs_and_gradients_are_those_of_the_equations(case: Case) -> None:
    assert_parity(case)


@needs_kernel
def test_the_nonlinearities_are_those_of_float64() -> None:
    """With all weights 0, one step from c = 0 or 1 is the logistic function of a bias, or its hyperbolic tangent."""
    z = np.concatenate([np.linspace(-30, 30, 20_001), np.geomspace(1e-6, 1, 2_000), [-1e4, 1e4]]).astype(np.float32)
    exact = z.astype(np.float64)
    with np.errstate(over="ignore"):
        functions = {1: 1 / (1 + np.exp(-exact)), 2: np.tanh(exact)}
    for gate, expected in functions.items():
        found = []
        for part in np.array_split(z, 20):
            hidden = len(part)
            bias = np.zeros((4, hidden), np.float32)
            bias[gate] = part
            bias[0] = 100.0  # i = 1
            zeros = np.zeros((1, hidden), np.float32)
            weights = LSTMWeights(*(jnp.zeros((n, 4 * hidden)) for n in (1, hidden)), jnp.asarray(bias.ravel()))
            carry = jnp.asarray(zeros + (gate == 1)), jnp.asarray(zeros)
            (c, _), _ = lstm(weights, jnp.zeros((1, 1, 1)), carry, implementation="native")
            found.append(np.asarray(c)[0])
        np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=3e-7)
