"""Any option with any other: it works, and equals a plain loop over cells, or is refused."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.nn import Hyperparameter, StackedLSTM

BATCH, STEPS, IN, HIDDEN, LAYERS = 3, 3, 3, 4, 2

OPTIONS: dict[str, tuple[Any, ...]] = {
    "bidirectional": (False, True),
    "dropout": (0.0, 0.3, Hyperparameter),
    "residual": (False, True),
    "reverse": (False, True),
    "time_major": (False, True),
    "input_dropout": (0.0, 0.2),
    "recurrent_dropout": (0.0, 0.4),
    "cell_zoneout": (0.0, 0.1, Hyperparameter),
    "hidden_zoneout": (0.0, 0.2),
    "peepholes": (False, True),
    "layer_norm": (False, True),
    "coupled_gates": (False, True),
    "proj_size": (0, 2),
    "forget_bias": (1.0, 0.5),
    "chrono_steps": (None, 8),
    "activation_fn": (jnp.tanh, jax.nn.soft_sign),
    "dtype": (None, jnp.bfloat16),
    "remat": (False, True, 2),
    "unroll": (1, 2),
    "implementation": ("auto", "scan"),
    "lengths": (False, True),
    "initial_carry": (False, True),
    "return_sequence": (True, False),
    "keep_order": (False, True),
}
CALL = ("lengths", "initial_carry", "return_sequence", "keep_order")
REFUSED = {
    "leave reverse out": lambda s: s["bidirectional"] and s["reverse"],
    "leave forget_bias and bias_init out": lambda s: s["chrono_steps"] is not None and s["forget_bias"] != 1.0,
}


def pairs_of(setting: dict[str, Any]) -> set[Any]:
    return set(itertools.combinations([(name, OPTIONS[name].index(value)) for name, value in setting.items()], 2))


# One setting per line, the number of the value of each option in the order above. Found by simulated annealing, which
# needs ten settings where a greedy search needs sixteen. An option that is added is one more digit in each line.
ALLOWED = [
    {name: values[int(digit)] for (name, values), digit in zip(OPTIONS.items(), line, strict=True)}
    for line in """
        120010010011010102010101
        011101111010000011000100
        100000120011101111010001
        021111021100001012101100
        000000001101010012000110
        021100100011110010001101
        001111110100101100111010
        111010100110101002111011
        110001021001010100100010
        020111001100110101111011""".split()
]
DEFAULTS = {name: values[0] for name, values in OPTIONS.items()}
FORBIDDEN = [
    setting
    for a, b in itertools.combinations(OPTIONS, 2)
    for x, y in itertools.product(OPTIONS[a], OPTIONS[b])
    if any(rule(setting := DEFAULTS | {a: x, b: y}) for rule in REFUSED.values())
]


def build(setting: dict[str, Any]) -> StackedLSTM:
    options = {name: value for name, value in setting.items() if name not in CALL}
    for name, value in options.items():
        if value is Hyperparameter:
            options[name] = Hyperparameter(jnp.float32(0.25))
    return StackedLSTM(IN, HIDDEN, LAYERS, rngs=nnx.Rngs(0), **options)


@functools.partial(jax.jit, static_argnums=0)
def step(cell: Any, state: Any, carry: Any, x: Any) -> Any:
    """One step of a cell in evaluation mode."""
    return nnx.merge(cell, state)(carry, x, deterministic=True)


def plain_loop(stack: StackedLSTM, x: Any, lengths: Any, carry: Any, setting: dict[str, Any]) -> tuple[Any, Any]:
    """The stack in evaluation mode as anybody would write it: sequence by sequence, step by step."""
    directions = [(stack.forward, setting["reverse"])] + [(stack.backward, True)] * setting["bidirectional"]
    steps = [[functools.partial(step, *nnx.split(layer.cell)) for layer in layers] for layers, _ in directions]
    outputs, carries = [], []
    for b in range(BATCH):
        length, sequence, last = lengths[b], [x[b, t] for t in range(lengths[b])], []
        for number in range(LAYERS):
            halves: list[Any] = []
            states = []
            for direction, (_, backwards) in enumerate(directions):
                state = jax.tree.map(lambda leaf, b=b: leaf[b], carry[number])
                state = state[direction] if setting["bidirectional"] else state
                ys: list[Any] = [None] * length
                for t in reversed(range(length)) if backwards else range(length):
                    state, ys[t] = steps[direction][number](state, sequence[t])
                halves.append(ys)
                states.append(state)
            joined = [np.concatenate([ys[t] for ys in halves]) for t in range(length)]
            if setting["residual"] and number > 0:
                joined = [y + np.asarray(s) for y, s in zip(joined, sequence, strict=True)]
            sequence = joined
            last.append(tuple(states) if setting["bidirectional"] else states[0])
        carries.append(tuple(last))
        if setting["return_sequence"]:
            if setting["reverse"] and not setting["keep_order"]:
                sequence = sequence[::-1]
            outputs.append(np.stack(sequence + [np.zeros_like(sequence[0])] * (STEPS - length)))
        else:
            ends = [0 if backwards else length - 1 for _, backwards in directions]
            features = stack.out_features // len(ends)
            outputs.append(
                np.concatenate([sequence[end][n * features : (n + 1) * features] for n, end in enumerate(ends)])
            )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *carries), np.stack(outputs)


@pytest.mark.parametrize("number", range(len(ALLOWED)))
def test_any_option_with_any_other(number: int) -> None:
    setting = ALLOWED[number]
    stack = build(setting)
    x = jax.random.normal(jax.random.key(1), (BATCH, STEPS, IN))
    lengths = [3, 1, 2] if setting["lengths"] else [STEPS] * BATCH
    given = (
        jax.random.normal(jax.random.key(2), (BATCH, HIDDEN))
        if setting["initial_carry"]
        else jnp.zeros((BATCH, HIDDEN))
    )
    one = (given, given[:, : stack.forward[0].cell.out_features].astype(setting["dtype"]))
    carry = ((one, one) if setting["bidirectional"] else one,) * LAYERS
    inputs = jnp.swapaxes(x, 0, 1) if setting["time_major"] else x
    options = {
        "seq_lengths": jnp.array(lengths) if setting["lengths"] else None,
        "initial_carry": carry if setting["initial_carry"] else None,
        "return_sequence": setting["return_sequence"],
        "keep_order": setting["keep_order"],
        "return_carry": True,
    }

    def loss(stack: StackedLSTM) -> tuple[jax.Array, Any]:
        trained = stack(inputs, rngs=nnx.Rngs(dropout=3), **options)
        return sum(jnp.sum(jnp.sin(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(trained)), trained

    with jax.disable_jit():  # one operation after the other: compiling so many programs would take minutes
        evaluated = stack(inputs, deterministic=True, **options)
        gradients, trained = nnx.grad(loss, has_aux=True)(stack)
    expected = plain_loop(stack, x, lengths, carry, setting)
    if setting["time_major"] and setting["return_sequence"]:
        evaluated, trained = ((carries, jnp.swapaxes(ys, 0, 1)) for carries, ys in (evaluated, trained))
    tolerance = 1e-5 if setting["dtype"] is None else 0.05
    assert jax.tree.structure(evaluated) == jax.tree.structure(expected) == jax.tree.structure(trained)
    for found, wanted in zip(jax.tree.leaves(evaluated), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(found, float), np.asarray(wanted, float), atol=tolerance)
    if setting["lengths"] and setting["return_sequence"]:
        padding = np.arange(STEPS) >= np.asarray(lengths)[:, None]
        assert not np.any(np.asarray(trained[1], float)[padding])
    assert all(np.all(np.isfinite(np.asarray(leaf, float))) for leaf in jax.tree.leaves((trained, gradients)))
    assert all(np.any(np.asarray(leaf, float)) for leaf in jax.tree.leaves(gradients))
    noisy = any(setting[name] != 0.0 for name in OPTIONS if name.endswith(("dropout", "zoneout")))
    same = np.allclose(np.asarray(trained[1], float), np.asarray(evaluated[1], float), atol=1e-5)
    assert same != noisy


@pytest.mark.parametrize("number", range(len(FORBIDDEN)))
def test_what_cannot_be_combined_is_refused(number: int) -> None:
    setting = FORBIDDEN[number]
    (message,) = (message for message, rule in REFUSED.items() if rule(setting))
    with pytest.raises(ValueError, match=message):
        build(setting)


def test_every_pair_is_either_tried_or_refused() -> None:
    tried = set().union(*(pairs_of(setting) for setting in ALLOWED))
    total = sum(len(OPTIONS[a]) * len(OPTIONS[b]) for a, b in itertools.combinations(OPTIONS, 2))
    assert len(tried) + len(FORBIDDEN) == total
    assert len(FORBIDDEN) == 2
