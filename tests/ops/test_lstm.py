"""The recurrence against NumPy, plain autodiff and finite differences, in float64."""

import functools
import inspect
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lstmjax.ops import LSTMWeights, lstm
from lstmjax.ops._backward import HOIST_FROM

# test_native.py and test_lstm_transforms.py compare what users run, in float32 and with full optimisation.
pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.least]

OPTIONS: dict[str, tuple[Any, ...]] = {
    "lengths": (False, True),
    "mask": (False, True),
    "reverse": (False, True),
    "time_major": (False, True),
    "return_sequence": (True, False),
    "remat": (False, True, 3),
    "unroll": (1, 2),
}


# Every value of every option with every value of every other: one setting per line, the number of each option's value.
SETTINGS = [
    {name: values[int(digit)] for (name, values), digit in zip(OPTIONS.items(), line, strict=True)}
    for line in "0010121 0100020 1111001 0011010 1001120 1100111 0000100".split()
]


def test_every_pair_of_options_is_among_the_settings() -> None:
    for a, b in itertools.combinations(OPTIONS, 2):
        assert {(s[a], s[b]) for s in SETTINGS} == set(itertools.product(OPTIONS[a], OPTIONS[b])), (a, b)


def assert_close(found: Any, expected: Any, atol: float = 1e-12) -> None:
    """All leaves equal within `atol`, in trees of the same structure."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def runner(problem: Any, setting: dict[str, Any], implementation: str) -> Any:
    """`lstm` with the options of a setting, batch first whatever the setting says."""

    def run(weights: LSTMWeights, x: Any, carry: Any, recurrent_mask: Any) -> Any:
        carry, ys = lstm(
            weights,
            x.swapaxes(0, 1) if setting["time_major"] else x,
            carry,
            seq_lengths=problem.seq_lengths if setting["lengths"] else None,
            recurrent_mask=recurrent_mask if setting["mask"] else None,
            reverse=setting["reverse"],
            time_major=setting["time_major"],
            return_sequence=setting["return_sequence"],
            remat=setting["remat"],
            unroll=setting["unroll"],
            implementation=implementation,
        )
        return carry, ys.swapaxes(0, 1) if setting["time_major"] and ys is not None else ys

    return run


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(f"{k}={v}" for k, v in s.items()))
def test_every_pair_of_options_gives_the_values_of_the_equations_and_the_gradients_of_autodiff(
    make_problem: Any, numpy_lstm: Any, setting: dict[str, Any]
) -> None:
    problem = make_problem()
    arguments = problem.weights, problem.x, problem.carry, problem.recurrent_mask

    def evaluate(implementation: str) -> Any:
        run = runner(problem, setting, implementation)
        gradients = jax.grad(functools.partial(problem.loss, run), argnums=(0, 1, 2, 3))
        return jax.jit(lambda *arguments: (run(*arguments), gradients(*arguments)))(*arguments)

    ((c, h), ys), written = evaluate("auto")
    autodiff_outputs, autodiff = evaluate("scan")
    (expected_c, expected_h), expected = numpy_lstm(
        problem.weights,
        problem.x,
        problem.carry,
        problem.seq_lengths if setting["lengths"] else [7] * 5,
        reverse=setting["reverse"],
        recurrent_mask=problem.recurrent_mask if setting["mask"] else 1.0,
    )
    assert_close((c, h), (expected_c, expected_h))
    assert_close(ys, expected if setting["return_sequence"] else None)
    assert_close(((c, h), ys), autodiff_outputs)
    assert_close(written, autodiff)
    assert float(jnp.max(jnp.abs(written[0].kernel))) > 0.1


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"lengths": True, "mask": True, "remat": 3},
        {"lengths": True, "reverse": True, "return_sequence": False},
    ],
    ids=str,
)
def test_gradients_agree_with_finite_differences(make_problem: Any, setting: dict[str, Any]) -> None:
    problem = make_problem(batch=3, steps=5, in_features=2, hidden=3)
    run = runner(problem, {name: values[0] for name, values in OPTIONS.items()} | setting, "auto")
    loss = jax.jit(functools.partial(problem.loss, run))
    arguments = problem.weights, problem.x, problem.carry, problem.recurrent_mask
    check_grads(loss, arguments, order=1, modes=["rev"], atol=1e-7, rtol=1e-7)
    assert float(loss(*arguments)) != 0.0


@pytest.mark.parametrize("hidden_input", [(1, 1), (HOIST_FROM, 3)], ids=["one feature", "hoisted projection"])
def test_gradients_do_not_depend_on_the_sizes(make_problem: Any, hidden_input: tuple[int, int]) -> None:
    in_features, hidden = hidden_input
    problem = make_problem(batch=2, steps=4, in_features=in_features, hidden=hidden)
    arguments = problem.weights, problem.x, problem.carry, problem.recurrent_mask
    written, autodiff = (
        jax.jit(jax.grad(functools.partial(problem.loss, functools.partial(lstm, implementation=name)), (0, 1, 2, 3)))(
            *arguments
        )
        for name in ("auto", "scan")
    )
    assert_close(written, autodiff)


def test_second_derivatives_agree_with_autodiff_and_finite_differences(make_problem: Any) -> None:
    problem = make_problem(batch=3, steps=4, in_features=2, hidden=2)
    arguments = problem.weights, problem.x

    def loss(implementation: str, weights: LSTMWeights, x: Any) -> Any:
        run = functools.partial(lstm, seq_lengths=problem.seq_lengths, implementation=implementation)
        return problem.loss(run, weights, x, problem.carry, problem.recurrent_mask)

    written, autodiff = functools.partial(loss, "auto"), functools.partial(loss, "scan")
    gradient = jax.jit(lambda x: jax.grad(written)(problem.weights, x).recurrent_kernel)
    check_grads(gradient, (problem.x,), order=1, modes=["rev"], atol=1e-7, rtol=1e-7)
    reverse_over_reverse = jax.jit(jax.jacrev(jax.grad(written), argnums=(0, 1)))(*arguments)
    assert_close(reverse_over_reverse, jax.jit(jax.jacrev(jax.grad(autodiff), argnums=(0, 1)))(*arguments))
    assert_close(reverse_over_reverse, jax.jit(jax.jacfwd(jax.grad(written), argnums=(0, 1)))(*arguments))
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(reverse_over_reverse)) > 0.01


def test_forward_mode_works_on_the_scan_and_says_so_elsewhere(make_problem: Any) -> None:
    problem = make_problem()

    def outputs(x: Any, implementation: str) -> Any:
        return lstm(problem.weights, x, implementation=implementation)[1]

    tangent = jnp.ones_like(problem.x)
    _, derivative = jax.jvp(functools.partial(outputs, implementation="scan"), (problem.x,), (tangent,))
    step = 1e-6
    difference = outputs(problem.x + step * tangent, "scan") - outputs(problem.x - step * tangent, "scan")
    np.testing.assert_allclose(derivative, difference / (2 * step), rtol=0, atol=1e-8)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(functools.partial(outputs, implementation="auto"), (problem.x,), (tangent,))


@pytest.mark.parametrize("implementation", ["auto", "scan"])
def test_padding_changes_nothing_and_gets_no_gradient(make_problem: Any, implementation: str) -> None:
    problem = make_problem()
    run = functools.partial(lstm, seq_lengths=problem.seq_lengths, implementation=implementation)
    loss = functools.partial(problem.loss, run, recurrent_mask=problem.recurrent_mask)
    padding = (jnp.arange(7)[None] >= problem.seq_lengths[:, None])[..., None]
    poisoned = jnp.where(padding, jnp.nan, problem.x)
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    clean = gradients(problem.weights, problem.x, problem.carry)
    dirty = gradients(problem.weights, poisoned, problem.carry)
    assert_close(clean, dirty, atol=0)
    assert not np.any(np.where(padding, clean[1], 0))
    ys = run(problem.weights, poisoned, problem.carry)[1]
    assert not np.any(np.where(padding, ys, 0))
    assert np.all(np.where(padding, 1, ys))


def test_length_zero_returns_the_state_it_was_given(make_problem: Any) -> None:
    problem = make_problem()
    (c, h), ys = lstm(problem.weights, problem.x, problem.carry, seq_lengths=problem.seq_lengths)
    np.testing.assert_array_equal(c[1], problem.carry[0][1])
    np.testing.assert_array_equal(h[1], problem.carry[1][1])
    assert not np.any(ys[1])


def test_a_long_lookback_can_be_cut_anywhere(make_problem: Any) -> None:
    problem = make_problem(steps=9)
    carry, ys = lstm(problem.weights, problem.x, problem.carry)
    middle, first = lstm(problem.weights, problem.x[:, :4], problem.carry)
    last, second = lstm(problem.weights, problem.x[:, 4:], middle)
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), ys, rtol=0, atol=1e-14)
    assert_close(carry, last, atol=1e-14)


def test_zero_steps_return_the_initial_state(make_problem: Any) -> None:
    problem = make_problem()
    for remat in (False, True, 3):
        carry, ys = lstm(problem.weights, problem.x[:, :0], problem.carry, remat=remat)
        assert ys.shape == (5, 0, 4)
        assert_close(carry, problem.carry, atol=0)


def test_mismatched_arguments_are_named(make_problem: Any) -> None:
    call_lstm = inspect.unwrap(lstm)  # as users have it: without the run-time check of annotations
    weights, x, carry, mask, lengths, _ = make_problem()
    wrong: list[tuple[str, Any]] = [
        (r"x has shape \(5, 7\)", lambda: call_lstm(weights, x[..., 0])),
        (r"weights.kernel has shape \(3, 16\): expected \(2, 16\)", lambda: call_lstm(weights, x[..., :2])),
        (
            r"weights.recurrent_kernel has shape \(4, 12\)",
            lambda: call_lstm(weights._replace(recurrent_kernel=weights.recurrent_kernel[:, :12]), x),
        ),
        (r"weights.bias has shape \(15,\)", lambda: call_lstm(weights._replace(bias=weights.bias[1:]), x)),
        (r"carry's h has shape \(4, 4\)", lambda: call_lstm(weights, x, (carry[0], carry[1][1:]))),
        (r"seq_lengths has shape \(3,\)", lambda: call_lstm(weights, x, seq_lengths=lengths[:3])),
        (r"recurrent_mask has shape \(1, 4\)", lambda: call_lstm(weights, x, recurrent_mask=mask[:1])),
        ("implementation is 'fast'", lambda: call_lstm(weights, x, implementation="fast")),
        ("remat is 0", lambda: call_lstm(weights, x, remat=0)),
        ("unroll is 0", lambda: call_lstm(weights, x, unroll=0)),
    ]
    for message, call in wrong:
        with pytest.raises(ValueError, match=message):
            call()
