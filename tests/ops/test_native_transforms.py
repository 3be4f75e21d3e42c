"""The native CPU kernel under JAX's transformations, on any number of threads, and on numbers that are none."""

import functools
import time
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lstmjax.ops import LSTMWeights, _library, lstm
from lstmjax.ops.lstm import warn_not_native

P = PartitionSpec
needs_kernel = pytest.mark.skipif(isinstance(_library.load(), str), reason=f"needs the kernel: {_library.load()}")


def step(problem: Any, implementation: Any = "native", **options: Any) -> Any:
    """A loss and its gradients, as a function of the weights and the inputs."""
    options = {"seq_lengths": problem.seq_lengths} | options
    run = functools.partial(lstm, implementation=implementation, **options)

    def loss(weights: LSTMWeights, x: Any) -> Any:
        return problem.loss(run, weights, x, problem.carry, problem.recurrent_mask)

    return jax.value_and_grad(loss, argnums=(0, 1))


def assert_close(found: Any, expected: Any, atol: float = 2e-6) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)


def assert_same_bytes(found: Any, expected: Any) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def text(function: Any, *given: Any) -> str:
    """The compiled program."""
    return jax.jit(function).lower(*given).compile().as_text()


@pytest.fixture
def mesh() -> Any:
    return jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))


@needs_kernel
def test_it_runs_by_default_under_jit_and_without(make_problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LSTMJAX_LSTM", raising=False)
    problem = make_problem(hidden=20)
    given = problem.weights, problem.x
    program = text(step(problem, "auto"), *given)
    assert "lstmjax_forward" in program
    assert "lstmjax_backward" in program
    assert "lstmjax_forward" not in text(step(problem, "xla"), *given)
    assert_same_bytes(step(problem)(*given)[1], jax.jit(step(problem))(*given)[1])


@needs_kernel
@pytest.mark.least
def test_second_derivatives_run_through_the_jax_code(make_problem: Any) -> None:
    problem = make_problem(batch=3, steps=4, in_features=2)
    given = problem.weights, problem.x

    def gradients(implementation: str, *given: Any) -> Any:
        return step(problem, implementation, reverse=True)(*given)[1]

    def of_a_number(implementation: str) -> Any:
        def number(*given: Any) -> Any:
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(gradients(implementation, *given)))

        return jax.grad(number, argnums=(0, 1))(*given)

    def along(implementation: str) -> Any:
        return jax.jvp(functools.partial(gradients, implementation), given, jax.tree.map(jnp.ones_like, given))[1]

    for derivative in (of_a_number, along):
        native, jax_code = (jax.jit(derivative, static_argnums=0)(name) for name in ("native", "xla"))
        assert_close(native, jax_code, atol=1e-5)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: lstm(problem.weights, x, implementation="native")[1], (problem.x,), (problem.x,))


@needs_kernel
def test_members_have_the_same_bytes_under_vmap_under_lax_map_and_alone(make_problem: Any) -> None:
    problems = [make_problem(hidden=20, seed=seed) for seed in range(3)]
    run = step(problems[0], reverse=True)
    weights, xs = jax.tree.map(lambda *a: jnp.stack(a), *((problem.weights, problem.x) for problem in problems))
    together = jax.jit(jax.vmap(run))(weights, xs)
    in_turn = jax.jit(lambda members: jax.lax.map(lambda member: run(*member), members))((weights, xs))
    crossed = jax.jit(jax.vmap(jax.vmap(run, in_axes=(None, 0)), in_axes=(0, None)))(weights, xs)
    for number, problem in enumerate(problems):
        _, alone = jax.jit(run)(problem.weights, problem.x)
        assert_same_bytes(jax.tree.map(lambda leaf, n=number: leaf[n], together[1]), alone)
        assert_same_bytes(jax.tree.map(lambda leaf, n=number: leaf[n], in_turn[1]), alone)
        _, other = jax.jit(run)(problems[0].weights, problem.x)
        assert_same_bytes(jax.tree.map(lambda leaf, n=number: leaf[0, n], crossed[1]), other)


@needs_kernel
@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("remat", [False, 3])
def test_in_shard_map_each_device_calls_it(make_problem: Any, mesh: Any, check_vma: bool, remat: Any) -> None:
    problem = make_problem(batch=4)

    def gradients(weights: LSTMWeights, x: Any) -> Any:
        one = jax.tree.map(lambda leaf: jax.lax.pcast(leaf, "batch", to="varying"), weights) if check_vma else weights
        of_part = jax.grad(
            lambda weights: jnp.sum(jnp.square(lstm(weights, x, remat=remat, implementation="native")[1]))
        )(one)
        return jax.lax.psum(of_part, "batch")

    split = jax.shard_map(gradients, mesh=mesh, in_specs=(P(), P("batch")), out_specs=P(), check_vma=check_vma)
    assert "lstmjax_backward" in text(split, problem.weights, problem.x)

    def whole(weights: LSTMWeights) -> Any:
        return jnp.sum(jnp.square(lstm(weights, problem.x, implementation="xla")[1]))

    assert_close(jax.jit(split)(problem.weights, problem.x), jax.jit(jax.grad(whole))(problem.weights))


@needs_kernel
def test_where_the_compiler_splits_the_batch_the_jax_code_runs(make_problem: Any, mesh: Any) -> None:
    problem = make_problem(batch=4)
    split = jax.device_put(problem.x, NamedSharding(mesh, P("batch")))
    for implementation in ("auto", "native"):
        run = jax.jit(step(problem, implementation))
        assert "lstmjax_forward" not in run.lower(problem.weights, split).compile().as_text()
        assert_close(run(problem.weights, split), run(problem.weights, problem.x))


@needs_kernel
def test_an_exported_function_holds_no_call(make_problem: Any) -> None:
    problem = make_problem()
    given = problem.weights, problem.x
    for platforms in (("cpu",), ("cpu", "cuda", "tpu")):
        exported = jax.export.export(jax.jit(step(problem)), platforms=platforms)(*given)
        assert "lstmjax_" not in exported.mlir_module()
        assert_close(exported.call(*given), step(problem)(*given))


@needs_kernel
@pytest.mark.parametrize("batch", [64, 100, 300])
def test_the_number_of_threads_changes_no_byte(make_problem: Any, mesh: Any, batch: int) -> None:
    problem = make_problem(batch=batch, in_features=5, hidden=24)
    given = problem.weights, problem.x
    _, threads = jax.jit(step(problem))(*given)  # of as many threads as there are

    def on_each(*given: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[None], step(problem)(*given)[1])

    on_devices = jax.shard_map(on_each, mesh=mesh, in_specs=(P(), P()), out_specs=P("batch"), check_vma=False)
    found = jax.jit(on_devices)(*given)  # of one thread per device
    for device in range(2):
        assert_same_bytes(jax.tree.map(lambda leaf, n=device: leaf[n], found), threads)


@needs_kernel
def test_a_row_does_not_depend_on_the_rows_beside_it(make_problem: Any) -> None:
    problem = make_problem(batch=37, in_features=5, hidden=24)
    run = jax.jit(lambda x: lstm(problem.weights, x, implementation="native"))
    whole = run(problem.x)[1]
    for rows in (slice(0, 1), slice(5, 9), slice(30, 37)):
        assert_same_bytes(run(problem.x[rows])[1], whole[rows])


@needs_kernel
def test_numbers_that_are_none_go_where_they_go_in_the_jax_code(make_problem: Any) -> None:
    problem = make_problem(batch=9, hidden=18)

    def results(implementation: str, weights: LSTMWeights, x: Any) -> Any:
        def loss(weights: LSTMWeights, x: Any) -> Any:
            ys = lstm(weights, x, implementation=implementation)[1]
            return jnp.sum(ys), ys

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(weights, x)

    for place, number in (((2, 3, 1), np.nan), ((8, 0, 0), np.inf), ((0, 4, 2), -np.inf)):
        broken = problem.x.at[place].set(number)
        native, jax_code = (results(name, problem.weights, broken) for name in ("native", "xla"))
        for found, expected in zip(jax.tree.leaves(native), jax.tree.leaves(jax_code), strict=True):
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    extreme = jax.tree.map(lambda leaf: 1e6 * leaf, problem.weights)
    (_, ys), _ = results("native", extreme, problem.x)
    assert np.isfinite(ys).all()


@needs_kernel
def test_denormal_numbers_do_not_slow_it_down(make_problem: Any) -> None:
    problem = make_problem(batch=32, steps=60, in_features=32, hidden=64)
    run = jax.jit(step(problem, seq_lengths=None))
    tiny = jax.tree.map(lambda leaf: leaf * 1e-39, (problem.weights, problem.x))

    def seconds(*given: Any) -> float:
        def once() -> float:
            began = time.perf_counter()
            jax.block_until_ready(run(*given))
            return time.perf_counter() - began

        return min(once() for _ in range(20))

    seconds(problem.weights, problem.x)
    assert seconds(*tiny) < 4 * seconds(problem.weights, problem.x)


@needs_kernel
def test_nothing_to_compute(make_problem: Any) -> None:
    problem = make_problem()
    weights, x = problem.weights, problem.x
    gradient = jax.grad(lambda weights, x: jnp.sum(lstm(weights, x, implementation="native")[1]))
    for none in (x[:, :0], x[:0]):
        assert lstm(weights, none, implementation="native")[1].shape == (*none.shape[:2], 4)
        assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient(weights, none)))


def test_asked_for_by_name_where_it_does_not_apply_it_says_so_once(
    make_problem: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    warn_not_native.cache_clear()
    problem = make_problem()

    def half(implementation: Any) -> Any:
        return lstm(problem.weights, problem.x, dtype=jnp.bfloat16, implementation=implementation)

    with pytest.warns(RuntimeWarning, match="the JAX code runs instead: it computes in float32, found bfloat16"):
        found = half("native")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        half("native")
        assert_same_bytes(found, half("auto"))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.warns(RuntimeWarning, match="it runs on CPU, and this is gpu"):
        lstm(problem.weights, problem.x, implementation="native")
