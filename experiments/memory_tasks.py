"""The tests of long memory of `long_memory.py`: what their sequences are, and when they count as solved.

References:
    Hochreiter & Schmidhuber (1997), "Long short-term memory", Neural Computation 9(8), experiments 1, 4 and 6a.
    Arjovsky, Shah & Bengio (2016), "Unitary evolution recurrent neural networks", ICML: the copy task as it is here.
    Tallec & Ollivier (2018), "Can recurrent neural networks warp time?", ICLR.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int


class Batch(NamedTuple):
    """Sequences and what is asked of them."""

    x: Float[Array, "B T I"]
    lengths: Int[Array, " B"]
    target: Array
    """The number or class to give after the last step (B,), or the symbol to give at each step (B, T)."""
    legal: Bool[Array, "B T O"] | None = None
    """Embedded Reber grammar: the symbols that may come next."""


Judge = Callable[[Array, Batch], Array]
"""Maps the network's outputs, (B, O) or (B, T, O), and the batch to a number a sequence (B,)."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A test of memory, and how it is trained for.

    Attributes:
        name: in the report.
        draw: ``draw(key, n) -> Batch``, n sequences.
        loss: what training minimises on average.
        score: what must on average be at most `threshold` on fresh sequences.
        threshold: see there; 0 where no error is allowed.
        outputs: numbers that the network puts out.
        every_step: whether it does so at every step, or after the last one only.
        memory: steps that matter, for chrono initialisation.
        hidden: features of the LSTM.
        max_sequences: training sequences after which a run ends unsolved.
        limit: training sequences within which every seed should solve it, with chrono initialisation.
        published: training sequences that the LSTM of 1997 took.
        optimizer: what makes an update of a clipped gradient.
        check_every: training steps from one check to the next.
    """

    name: str
    draw: Callable[[Array, int], Batch]
    loss: Judge
    score: Judge
    threshold: float
    outputs: int
    every_step: bool
    memory: int
    hidden: int
    max_sequences: int
    limit: int | None = None
    published: int | None = None
    optimizer: optax.GradientTransformation = optax.adam(1e-2, b2=0.99)  # noqa: RUF009 - it cannot be changed
    check_every: int = 25


def adding(steps: int = 100) -> Task:
    """Two of many random numbers are marked, one in each half: give their sum.

    The numbers are uniform in [0, 1]: giving always 1 has a mean squared error of 1/6.
    """

    def draw(key: Array, n: int) -> Batch:
        of_numbers, of_first, of_second = jax.random.split(key, 3)
        numbers = jax.random.uniform(of_numbers, (n, steps))
        first = jax.random.randint(of_first, (n, 1), 0, steps // 2)
        second = jax.random.randint(of_second, (n, 1), steps // 2, steps)
        marked = (jnp.arange(steps) == first) | (jnp.arange(steps) == second)
        x = jnp.stack([numbers, marked.astype(jnp.float32)], axis=-1)
        return Batch(x, jnp.full(n, steps), jnp.sum(numbers * marked, axis=1))

    def squared_error(outputs: Array, batch: Batch) -> Array:
        return optax.losses.squared_error(outputs[:, 0], batch.target)

    return Task(
        name=f"adding, T = {steps}",
        draw=draw,
        loss=squared_error,
        score=squared_error,
        threshold=0.001,
        outputs=1,
        every_step=False,
        memory=steps,
        hidden=64,
        max_sequences=40_000,
        limit=15_000,
        published=74_000,
    )


def temporal_order() -> Task:
    """Among symbols that mean nothing there are two that are X or Y: in which order (XX, XY, YX, YY)?

    Sequences have 100 to 110 symbols: a start, noise out of four symbols, and an end. X or Y stand at two random
    places, among symbols 10 to 20 and 50 to 60.
    """
    start, end, x, noise, steps = 0, 1, 2, 4, 110

    def draw(key: Array, n: int) -> Batch:
        of_lengths, of_noise, of_kinds, of_places = jax.random.split(key, 4)
        lengths = jax.random.randint(of_lengths, (n,), 100, steps + 1)
        symbols = jax.random.randint(of_noise, (n, steps), noise, noise + 4)
        kinds = jax.random.randint(of_kinds, (n, 2), 0, 2)
        places = jnp.array([10, 50]) + jax.random.randint(of_places, (n, 2), 0, 11)
        rows = jnp.arange(n)
        symbols = symbols.at[rows[:, None], places - 1].set(x + kinds)
        symbols = symbols.at[:, 0].set(start).at[rows, lengths - 1].set(end)
        return Batch(jax.nn.one_hot(symbols, 8), lengths, 2 * kinds[:, 0] + kinds[:, 1])

    def wrong(outputs: Array, batch: Batch) -> Array:
        return (jnp.argmax(outputs, axis=-1) != batch.target).astype(jnp.float32)

    return Task(
        name="temporal order (6a)",
        draw=draw,
        loss=lambda outputs, batch: optax.softmax_cross_entropy_with_integer_labels(outputs, batch.target),
        score=wrong,
        threshold=0.0,
        outputs=4,
        every_step=False,
        memory=100,
        hidden=32,
        max_sequences=40_000,
        limit=10_000,
        published=31_390,
    )


SYMBOLS = "BTPSXVE"
REBER = (("B1", "B1"), ("P3", "T2"), ("S2", "X4"), ("T3", "V5"), ("X3", "S6"), ("P4", "V6"), ("E7", "E7"))
"""Where each state of Reber's grammar leads: two ways of equal chance, the second one the nearer to the end (7)."""
LONGEST_WAY_OUT = 6


def embedded_reber(steps: int = 50) -> Task:
    """Between two equal symbols, T or P, stands a string of Reber's grammar: tell at each symbol what may come next.

    A string is right if at each of its symbols all that may come next have higher outputs than all that may not. For
    the last but one this takes memory of the second symbol. Strings that do not end in time take the shortest way
    out: fewer than one in ten thousand do.
    """
    symbol_of = jnp.array([[SYMBOLS.index(way[0]) for way in ways] for ways in REBER])
    leads_to = jnp.array([[int(way[1]) for way in ways] for ways in REBER])
    inner_steps, final = steps - 4, len(REBER)

    def inner_strings(key: Array, n: int) -> tuple[Array, Array]:
        """Strings of Reber's grammar (n, T), -1 after their end, and the symbols that may stand there (n, T, O)."""
        ways = jax.random.bernoulli(key, 0.5, (inner_steps, n)).astype(jnp.int32).at[-LONGEST_WAY_OUT:].set(1)

        def walk(state: Array, way: Array) -> tuple[Array, tuple[Array, Array]]:
            at = jnp.minimum(state, final - 1)
            legal = jax.nn.one_hot(symbol_of[at], len(SYMBOLS)).max(axis=1) > 0
            ended = state == final
            return jnp.where(ended, final, leads_to[at, way]), (jnp.where(ended, -1, symbol_of[at, way]), legal)

        _, (symbols, legal) = lax.scan(walk, jnp.zeros(n, jnp.int32), ways)
        return symbols.T, legal.swapaxes(0, 1)

    def draw(key: Array, n: int) -> Batch:
        of_inner, of_kind = jax.random.split(key)
        inner, legal_inner = inner_strings(of_inner, n)
        kind = jax.random.randint(of_kind, (n,), SYMBOLS.index("T"), SYMBOLS.index("P") + 1)
        rows, after = jnp.arange(n), 2 + jnp.sum(inner >= 0, axis=1)
        symbols = jnp.zeros((n, steps), jnp.int32).at[:, 1].set(kind).at[:, 2:-2].set(jnp.maximum(inner, 0))
        symbols = symbols.at[rows, after].set(kind).at[rows, after + 1].set(SYMBOLS.index("E"))
        legal = jnp.zeros((n, steps, len(SYMBOLS)), bool).at[:, 1, 1:3].set(True).at[:, 2:-2].set(legal_inner)
        for where in (after, after + 1):
            legal = legal.at[rows, where].set(jax.nn.one_hot(symbols[rows, where], len(SYMBOLS)) > 0)
        x = jax.nn.one_hot(symbols[:, :-1], len(SYMBOLS))
        return Batch(x, after + 1, symbols[:, 1:], legal[:, 1:])

    def counted(batch: Batch) -> Array:
        return jnp.arange(steps - 1) < batch.lengths[:, None]

    def loss(outputs: Array, batch: Batch) -> Array:
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, batch.target)
        return jnp.sum(losses * counted(batch), axis=1)

    def wrong(outputs: Array, batch: Batch) -> Array:
        least_legal = jnp.min(jnp.where(batch.legal, outputs, jnp.inf), axis=-1)
        most_illegal = jnp.max(jnp.where(batch.legal, -jnp.inf, outputs), axis=-1)
        return jnp.any((least_legal <= most_illegal) & counted(batch), axis=1).astype(jnp.float32)

    return Task(
        name="embedded Reber grammar",
        draw=draw,
        loss=loss,
        score=wrong,
        threshold=0.0,
        outputs=len(SYMBOLS),
        every_step=True,
        memory=20,
        hidden=32,
        max_sequences=40_000,
        limit=8_440,
        published=8_440,
    )


def copy_memory(wait: int = 500) -> Task:
    """Ten symbols out of eight, a wait, a signal: give the ten symbols again, and blanks before.

    Loss and score are a fraction of the loss of a network without memory, which is sure of the blanks and guesses the
    symbols: on average over the steps, 10 ln 8 / (T + 20).
    """
    blank, signal, length = 8, 9, 10

    def draw(key: Array, n: int) -> Batch:
        symbols = jax.random.randint(key, (n, length), 0, 8)
        x = jnp.full((n, wait + 2 * length), blank).at[:, :length].set(symbols).at[:, wait + length - 1].set(signal)
        target = jnp.full((n, wait + 2 * length), blank).at[:, -length:].set(symbols)
        return Batch(jax.nn.one_hot(x, 10), jnp.full(n, wait + 2 * length), target)

    def loss(outputs: Array, batch: Batch) -> Array:
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, batch.target)
        return jnp.sum(losses, axis=1) / (length * jnp.log(8.0))

    return Task(
        name=f"copy memory, T = {wait}",
        draw=draw,
        loss=loss,
        score=loss,
        threshold=0.1,
        outputs=9,
        every_step=True,
        memory=3 * wait // 2,
        hidden=128,
        max_sequences=160_000,
        # At 1e-2 to the end, one run of five lost what it had learned. Less momentum than Adam's 0.9 was faster in two
        # of three single runs.
        optimizer=optax.adam(optax.cosine_decay_schedule(1e-2, decay_steps=8_000), b1=0.5, b2=0.99),
        check_every=250,
    )


TASKS: dict[str, Callable[[], Task]] = {
    "adding": adding,
    "order": temporal_order,
    "reber": embedded_reber,
    "copy": copy_memory,
}
