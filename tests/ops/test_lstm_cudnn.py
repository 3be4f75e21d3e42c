"""NVIDIA's kernel: parity where there is a GPU, its arguments and its refusals where there is none."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from lstmjax.ops import lstm

on_gpu = jax.default_backend() == "gpu"
call = inspect.unwrap(lstm)


def assert_parity(problem: Any, atol: float) -> None:
    arguments = problem.weights, problem.x, problem.carry
    for options in (
        {},
        {"seq_lengths": problem.seq_lengths},
        {"seq_lengths": problem.seq_lengths, "reverse": True},
        {"return_sequence": False},
    ):
        found, expected = (
            jax.jit(
                jax.value_and_grad(
                    functools.partial(problem.loss, lambda *a, n=name, o=options, **_: lstm(*a, **o, implementation=n)),
                    argnums=(0, 1, 2),
                ),
                static_argnames="recurrent_mask",
            )(*arguments, recurrent_mask=None)
            for name in ("cudnn", "scan")
        )
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol)


def test_the_kernel_reads_and_writes_row_by_row(monkeypatch: pytest.MonkeyPatch, make_problem: Any) -> None:
    """Where XLA chose another order in memory, the kernel computed other numbers: seen on an H100, reversed in time."""
    simulated(monkeypatch)
    weights, x, *_ = make_problem()

    def loss(x: Any) -> Any:
        return call(weights, x, implementation="cudnn", reverse=True)[1].sum()

    forward, backward = (
        str(jax.make_jaxpr(function)(x)).count("layout_constraint") for function in (loss, jax.grad(loss))
    )
    assert forward == 6  # x, h, c, and what the kernel returns
    assert backward > forward  # their gradients too


@pytest.mark.skipif(not on_gpu, reason="needs an NVIDIA GPU")
def test_the_kernel_equals_the_scan_with_its_gradients(make_problem: Any) -> None:
    with jax.default_matmul_precision("highest"):  # otherwise both may use TF32, each in its own way
        assert_parity(make_problem(batch=6, steps=40, in_features=8, hidden=32), atol=1e-4)


def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """jax.experimental.rnn's own reference in the kernel's place, and a GPU reported."""

    def reference(x: Any, h: Any, c: Any, weights: Any, seq_lengths: Any, **options: Any) -> Any:
        sizes = (options["input_size"], options["hidden_size"], options["num_layers"], options["bidirectional"])
        unpacked = rnn.unpack_lstm_weights(weights, *sizes)
        return rnn.lstm_ref(x, h, c, *unpacked, seq_lengths=seq_lengths, **options)

    monkeypatch.setattr(rnn, "lstm", reference)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


@pytest.mark.least
def test_what_the_kernel_is_given_means_the_same(monkeypatch: pytest.MonkeyPatch, make_problem: Any) -> None:
    """Layout of the weights, both directions, lengths, 0 among them: all but the kernel itself, on any machine."""
    simulated(monkeypatch)
    with jax.default_matmul_precision("highest"):
        assert_parity(make_problem(), atol=1e-5)


def test_it_is_refused_without_a_gpu(make_problem: Any) -> None:
    if on_gpu:
        pytest.skip("there is a GPU here")
    problem = make_problem()
    with pytest.raises(ValueError, match='implementation="cudnn" needs an NVIDIA GPU, found cpu: use "auto"'):
        call(problem.weights, problem.x, implementation="cudnn")


def test_it_is_refused_where_it_does_not_apply(monkeypatch: pytest.MonkeyPatch, make_problem: Any) -> None:
    simulated(monkeypatch)
    weights, x, _, mask, *_ = make_problem()
    with pytest.raises(ValueError, match="computes in float32, found bfloat16"):
        call(weights, x, implementation="cudnn", dtype=jnp.bfloat16)
    with pytest.raises(ValueError, match="no recurrent dropout"):
        call(weights, x, recurrent_mask=mask, implementation="cudnn")
    with pytest.raises(ValueError, match="leave remat out"):
        call(weights, x, remat=True, implementation="cudnn")

    def unbatched(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("Batching rule for 'rnn_fwd' not implemented")

    monkeypatch.setattr(rnn, "lstm", unbatched)
    with pytest.raises(ValueError, match="one model at a time"):
        jax.vmap(lambda x: call(weights, x, implementation="cudnn"))(jnp.stack([x, x]))
