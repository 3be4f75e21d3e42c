"""Four tests of long memory, with forget bias 1 and with chrono initialisation, by an optax loop of one's own.

Command:  python experiments/long_memory.py [--tasks adding order reber copy] [--json FILE]
Runtime:  on two cores some minutes for each of the first three; copy memory, 520 steps a sequence, 75 minutes
          for both initialisations
Score:    with chrono initialisation all seeds solve adding within 15,000 training sequences, temporal order within
          10,000, the embedded Reber grammar within 8,440, copy memory. Measured: 4,500-6,000, 2,000-6,500,
          2,000-4,000 and 70,000-120,000; with forget bias 1: 15,000-18,000, not in 40,000, 1,500-4,500 and not in
          160,000. Runs of one seed differ with the rounding of the machine, those of copy memory by a factor of two.
          Results: `results/long_memory.json`
Source:   Hochreiter & Schmidhuber (1997), "Long short-term memory", Neural Computation 9(8);
          Tallec & Ollivier (2018), "Can recurrent neural networks warp time?", ICLR
"""

import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Int
from memory_tasks import TASKS, Batch, Task

from lstmjax import nn, parallel

BATCH = 20
TESTS, TESTS_AT_ONCE = 2560, 128
"""Fresh sequences at each check."""
AVERAGED = 0.9
"""Decay, a step, of the average of the weights that is tested."""
STEPS_A_CALL = 250
"""Training steps in one call of the compiled program, after which progress is reported."""

Initialisation = Literal["forget", "chrono"]


class Network(nnx.Module):
    """One LSTM and a linear layer."""

    def __init__(self, features: int, task: Task, *, rngs: nnx.Rngs, **options: Any) -> None:
        # One input at a time is not zero, so that their number, by which usual initialisers divide, does not matter.
        unit = nnx.initializers.normal(1.0)
        self.lstm = nn.LSTM(features, task.hidden, kernel_init=unit, rngs=rngs, **options)
        self.head = nnx.Linear(task.hidden, task.outputs, rngs=rngs)
        self.every_step = task.every_step

    def __call__(self, x: Float[Array, "B T I"], lengths: Int[Array, " B"]) -> Float[Array, "B *T O"]:
        """Outputs at every step, or after the last one."""
        return self.head(self.lstm(x, seq_lengths=lengths, return_sequence=self.every_step))


class Member(NamedTuple):
    """One training run, and how far it is."""

    params: Any
    average: Any
    """Exponential average of the weights."""
    opt_state: Any
    key: Array
    step: Int[Array, ""]
    score: Float[Array, ""]
    """At the last check."""
    solved: Bool[Array, ""]


def programs(task: Task) -> tuple[Callable[[Any, Any], Member], Callable[[Member, Any], Member]]:
    """Two functions of one member: its beginning from (seed, whether chrono), and its training up to some step."""
    features = jax.eval_shape(lambda: task.draw(jax.random.key(0), 1)).x.shape[-1]
    build = functools.partial(Network, features, task)
    graph = nnx.graphdef(nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0))))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), task.optimizer)

    def outputs(params: Any, batch: Batch) -> Array:
        return nnx.merge(graph, params)(batch.x, batch.lengths)

    def begin(member: tuple[Array, Array], _: Any) -> Member:
        seed, chrono = member
        of_weights, key = jax.random.split(jax.random.key(seed))
        with_bias_1, with_chrono = (
            nnx.state(build(rngs=nnx.Rngs(of_weights), **options))
            for options in ({"forget_bias": 1.0}, {"chrono_steps": task.memory})
        )
        params = jax.tree.map(functools.partial(jnp.where, chrono), with_chrono, with_bias_1)
        zero = jnp.zeros((), jnp.int32)
        return Member(params, params, optimizer.init(params), key, zero, jnp.float32(jnp.inf), zero > 0)

    def step(_: Array, member: Member) -> Member:
        batch = task.draw(jax.random.fold_in(member.key, member.step), BATCH)
        gradient = jax.grad(lambda params: jnp.mean(task.loss(outputs(params, batch), batch)))(member.params)
        updates, opt_state = optimizer.update(gradient, member.opt_state)
        params = optax.apply_updates(member.params, updates)
        average = optax.incremental_update(params, member.average, 1.0 - AVERAGED)
        return member._replace(params=params, average=average, opt_state=opt_state, step=member.step + 1)

    def check(member: Member) -> Member:
        # A key of its own, so that no test is drawn that was trained on.
        of_tests = jax.random.fold_in(jax.random.fold_in(member.key, 2**32 - 1), member.step)

        def score(key: Array) -> Array:
            batch = task.draw(key, TESTS_AT_ONCE)
            return jnp.mean(task.score(outputs(member.average, batch), batch))

        mean = jnp.mean(lax.map(score, jax.random.split(of_tests, TESTS // TESTS_AT_ONCE)))
        return member._replace(score=mean, solved=mean <= task.threshold)

    def train(member: Member, stop: Int[Array, ""]) -> Member:
        def up_to_check(member: Member) -> Member:
            return check(lax.fori_loop(0, task.check_every, step, member))

        return lax.while_loop(lambda member: ~member.solved & (member.step < stop), up_to_check, member)

    return begin, train


def run(task: Task, seeds: int, initialisations: Sequence[Initialisation], max_sequences: int) -> Iterator[dict]:
    """Trains all seeds with all initialisations at once, spread over the devices; tells now and then how far it is.

    A run ends at the first check that it passes; its device then goes on with the others.
    """
    pairs = [(seed, name) for seed in range(seeds) for name in initialisations]
    mesh = parallel.make_mesh(members=len(pairs))
    idle = parallel.padded_members(len(pairs), mesh) - len(pairs)
    padded = pairs + pairs[:1] * idle
    begin, train = (parallel.over_members(program, mesh, "map") for program in programs(task))
    arguments = np.array([seed for seed, _ in padded]), np.array([name == "chrono" for _, name in padded])
    members = begin(parallel.place_members(arguments, mesh), None)
    members = members._replace(solved=members.solved | (jnp.arange(len(padded)) >= len(pairs)))

    start, stop, last = time.perf_counter(), 0, max_sequences // BATCH
    while stop < last and not np.all(members.solved):
        stop = min(stop + STEPS_A_CALL, last)
        members = train(parallel.place_members(members, mesh), jnp.int32(stop))
        trained = (np.asarray(members.step) * BATCH).tolist()
        columns = np.asarray(members.solved), np.asarray(members.score).astype(float).tolist(), trained
        seconds = round(time.perf_counter() - start)
        found: dict[str, dict[str, Any]] = {
            name: {"sequences": [], "scores": [], "trained_up_to": 0, "seconds": seconds} for name in initialisations
        }
        for (_, name), solved, score, count in zip(pairs, *columns, strict=False):
            found[name]["sequences"].append(count if solved else None)
            found[name]["scores"].append(score)
            found[name]["trained_up_to"] = max(found[name]["trained_up_to"], count)
        yield {"task": task.name, "limit": task.limit, "published": task.published, **found}


def describe(found: dict[str, Any]) -> str:
    """The training sequences of all seeds, in few words."""
    taken = found["sequences"]
    solved = sorted(count for count in taken if count is not None)
    if not solved:
        return f"none of {len(taken)} in {found['trained_up_to']:,}"
    return f"{len(solved)} of {len(taken)}: {solved[0]:,} to {solved[-1]:,}"


def table(results: dict[str, dict]) -> str:
    """Training sequences until solved, in Markdown."""
    lines = ["| test | forget bias 1 | chrono | within | in 1997 |", "|---|---|---|---|---|"]
    for result in results.values():
        cells = [result["task"]]
        cells += [describe(result[name]) if name in result else "" for name in ("forget", "chrono")]
        cells += [f"{number:,}" if number else "" for number in (result["limit"], result["published"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    *,
    tasks: tuple[Literal["adding", "order", "reber", "copy"], ...] = ("adding", "order", "reber", "copy"),
    initialisations: tuple[Initialisation, ...] = ("forget", "chrono"),
    seeds: int = 5,
    max_sequences: int | None = None,
    json_file: Annotated[Path, tyro.conf.arg(name="json")] = Path(__file__).parent / "results" / "long_memory.json",
) -> None:
    """Trains, and prints a table of the training sequences that each test took.

    Args:
        tasks: which tests.
        initialisations: "forget", a forget bias of 1, and "chrono".
        seeds: runs of each.
        max_sequences: training sequences after which to give up; default as in `memory_tasks.py`.
        json_file: where results go, as they come; those of other tests and initialisations in it stay.
    """
    parallel.configure_devices()
    json_file.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(json_file.read_text()) if json_file.exists() else {}
    for name in tasks:
        task = TASKS[name]()
        for result in run(task, seeds, initialisations, max_sequences or task.max_sequences):
            results[name] = results.get(name, {}) | result
            json_file.write_text(json.dumps(results, indent=1))
            for initialisation in initialisations:
                found = result[initialisation]
                scores = " ".join(f"{score:.3g}" for score in found["scores"])
                trained = f"{found['trained_up_to']} sequences, {found['seconds']} s"
                print(f"{name} {initialisation}: {trained}, {scores}", flush=True)
    print(table(results))


if __name__ == "__main__":
    tyro.cli(main)
