"""The recurrence under JAX's transformations: jit, vmap, checkpoint, meshes, export, mixed precision."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lstmjax.ops import LSTMWeights, lstm

P = PartitionSpec


def training_step(
    weights: LSTMWeights, x: jax.Array, lengths: jax.Array | None = None
) -> tuple[jax.Array, LSTMWeights]:
    """A loss and an SGD step: what a whole training program asks of the layer."""

    def loss(weights: LSTMWeights) -> jax.Array:
        (_, h), ys = lstm(weights, x, seq_lengths=lengths)
        return jnp.mean(jnp.sum(ys * ys, axis=(1, 2)) + jnp.sum(h, axis=1))

    value, gradients = jax.value_and_grad(loss)(weights)
    return value, jax.tree.map(lambda weight, gradient: weight - 0.1 * gradient, weights, gradients)


def assert_close(found: Any, expected: Any, atol: float = 2e-6) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@pytest.fixture
def mesh() -> Any:
    return jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))


def test_strict_promotion_and_ranks(make_problem: Any) -> None:
    problem = make_problem()
    for dtype in (None, jnp.bfloat16):
        run = functools.partial(lstm, seq_lengths=problem.seq_lengths, dtype=dtype)
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            gradients = jax.jit(jax.grad(functools.partial(problem.loss, run), argnums=(0, 1, 2, 3)))(
                problem.weights, problem.x, problem.carry, problem.recurrent_mask
            )
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradients))
        assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients))


def test_vmap_over_weights_and_inputs_equals_a_loop(make_problem: Any) -> None:
    members = [make_problem(batch=4, seed=seed) for seed in range(3)]
    lengths = members[0].seq_lengths
    weights = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(member.weights for member in members))
    xs = jnp.stack([member.x for member in members])
    together = jax.jit(jax.vmap(training_step, in_axes=(0, 0, None)))(weights, xs, lengths)
    shared_input = jax.jit(jax.vmap(training_step, in_axes=(0, None)))(weights, xs[0])
    for number, member in enumerate(members):
        alone = jax.jit(training_step)(member.weights, member.x, lengths)
        assert_close(jax.tree.map(lambda leaf, n=number: leaf[n], together), alone)
    assert_close(
        jax.tree.map(lambda leaf: leaf[0], shared_input), jax.jit(training_step)(weights_of(members[0]), xs[0])
    )


def weights_of(problem: Any) -> LSTMWeights:
    return problem.weights


def test_checkpoint_changes_no_gradient(make_problem: Any) -> None:
    problem = make_problem()
    loss = functools.partial(problem.loss, lstm)
    arguments = problem.weights, problem.x, problem.carry, problem.recurrent_mask
    plain, again = (jax.jit(jax.grad(f))(*arguments) for f in (loss, jax.checkpoint(loss)))
    assert_close(again, plain, atol=1e-6)
    assert np.any(plain.kernel)


@pytest.mark.parametrize("remat", [False, True])
def test_shard_map_with_its_checks_equals_one_device(make_problem: Any, mesh: Any, remat: bool) -> None:
    problem = make_problem(batch=4)

    def step(weights: LSTMWeights, x: jax.Array, lengths: jax.Array) -> Any:
        def loss(weights: LSTMWeights) -> jax.Array:
            (_, h), ys = lstm(weights, x, seq_lengths=lengths, remat=remat)
            return jax.lax.pmean(jnp.mean(jnp.sum(ys * ys, axis=(1, 2)) + jnp.sum(h, axis=1)), "batch")

        return jax.value_and_grad(loss)(weights)

    split = jax.shard_map(step, mesh=mesh, in_specs=(P(), P("batch"), P("batch")), out_specs=P())
    value, gradients = jax.jit(split)(problem.weights, problem.x, problem.seq_lengths)
    expected, updated = training_step(problem.weights, problem.x, problem.seq_lengths)
    assert_close(value, expected)
    assert_close(jax.tree.map(lambda w, g: w - 0.1 * g, problem.weights, gradients), updated)


def test_a_sharded_batch_costs_one_exchange_of_gradients(make_problem: Any, mesh: Any) -> None:
    problem = make_problem(batch=4)
    split = NamedSharding(mesh, P("batch"))
    replicated = NamedSharding(mesh, P())
    step = jax.jit(
        lambda weights, x: training_step(weights, x), in_shardings=(replicated, split), out_shardings=replicated
    )
    text = step.lower(problem.weights, problem.x).compile().as_text()
    exchanges = re.findall(r"= (.*) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\(", text)
    print(exchanges)
    assert [kind for _, kind in exchanges] == ["all-reduce"]
    assert_close(step(problem.weights, problem.x), training_step(problem.weights, problem.x))


@pytest.mark.parametrize("in_features", [3, 300])
def test_a_training_step_lowers_for_every_platform_and_batch(in_features: int) -> None:
    (batch,) = jax.export.symbolic_shape("batch")
    hidden = 4

    def spec(*shape: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    weights = LSTMWeights(spec(in_features, 4 * hidden), spec(hidden, 4 * hidden), spec(4 * hidden))
    exported = jax.export.export(jax.jit(training_step), platforms=("cpu", "cuda", "tpu"))(
        weights, spec(batch, 7, in_features), jax.ShapeDtypeStruct((batch,), jnp.int32)
    )
    assert exported.platforms == ("cpu", "cuda", "tpu")
    rng = np.random.default_rng(0)
    for size in (2, 5):
        values = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape) * 0.3, jnp.float32), weights)
        x = jnp.asarray(rng.normal(size=(size, 7, in_features)), jnp.float32)
        lengths = jnp.arange(3, 3 + size)
        found = exported.call(values, x, lengths)
        assert_close(found, jax.jit(training_step)(values, x, lengths), atol=1e-5)


def test_only_a_cpu_keeps_a_narrow_projection_in_the_scan() -> None:
    """Outside the scan the projection is a product of three dimensions; in it, a part of the one with the state."""
    shapes = LSTMWeights(jnp.ones((3, 8)), jnp.ones((2, 8)), jnp.ones(8)), jnp.ones((4, 5, 3))
    dots = {}
    for platform in ("cpu", "cuda", "tpu"):
        text = jax.export.export(jax.jit(lambda w, x: lstm(w, x)[1]), platforms=(platform,))(*shapes).mlir_module()
        dots[platform] = sorted(re.findall(r"dot_general.*: \((\S+), \S+\) ->", text))
    inside, outside = "tensor<4x5xf32>", "tensor<5x4x3xf32>"
    recurrent = "tensor<4x2xf32>"
    assert dots == {
        "cpu": [inside],
        "cuda": sorted([outside, recurrent]),
        "tpu": sorted([outside, recurrent]),
    }


def test_bfloat16_products_keep_the_state_in_float32(make_problem: Any) -> None:
    problem = make_problem(steps=40, hidden=16)

    def run(dtype: Any) -> Any:
        (c, h), ys = lstm(problem.weights, problem.x, dtype=dtype)
        gradients = jax.jit(
            jax.grad(functools.partial(problem.loss, functools.partial(lstm, dtype=dtype)), argnums=(0, 1))
        )(problem.weights, problem.x, problem.carry, problem.recurrent_mask)
        return c, h, ys, gradients

    c, h, ys, gradients = run(jnp.bfloat16)
    assert c.dtype == jnp.float32
    assert h.dtype == ys.dtype == jnp.bfloat16
    exact_c, _, exact_ys, exact_gradients = run(None)
    np.testing.assert_allclose(c, exact_c, rtol=0, atol=0.1)
    np.testing.assert_allclose(np.asarray(ys, np.float32), exact_ys, rtol=0, atol=0.05)
    for found, expected in zip(jax.tree.leaves(gradients), jax.tree.leaves(exact_gradients), strict=True):
        assert found.dtype == jnp.float32
        assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)


def test_half_precision_inputs_are_computed_in_half_precision(make_problem: Any) -> None:
    problem = make_problem()
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), (problem.weights, problem.x))
    (c, h), ys = lstm(*half)
    assert (c.dtype, h.dtype, ys.dtype) == (jnp.float32, jnp.float16, jnp.float16)
    np.testing.assert_allclose(ys, lstm(problem.weights, problem.x)[1], rtol=0, atol=5e-3)


def test_remat_is_the_same_sum_in_chunks_that_need_not_divide_the_steps(make_problem: Any) -> None:
    problem = make_problem(steps=23)
    arguments = problem.weights, problem.x, problem.carry, problem.recurrent_mask

    def gradients(remat: bool | int, reverse: bool) -> Any:
        run = functools.partial(lstm, remat=remat, reverse=reverse, seq_lengths=problem.seq_lengths)
        return jax.jit(jax.value_and_grad(functools.partial(problem.loss, run), argnums=(0, 1, 2, 3)))(*arguments)

    for reverse in (False, True):
        whole = gradients(False, reverse)
        for remat in (5, 100):
            assert_close(gradients(remat, reverse), whole, atol=1e-5)
