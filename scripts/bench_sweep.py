"""How fast a population is trained: against the same models one after the other, plain `vmap`, PyTorch, neuralforecast.

Command:  python scripts/bench_sweep.py [--json FILE]     (with the peers: pip install "lstmjax[bench]")
Runtime:  about four minutes on two cores. Run nothing beside it.

A member is one LSTM layer over windows of T steps and I features, and a dense layer from its last state to a horizon
of 24 steps of one series. A step gathers B windows, runs forward and backward, clips the gradient's norm and updates by
Adam. Everybody draws windows at random from the same table: in lstmjax by index on the device, in PyTorch by index from
a tensor, in neuralforecast as it does.

- lstmjax: N members as they are mapped by default. CPU: one XLA device a core, members one after the other on each.
- sequential: the same members, each a run of its own, its batch split over the devices as in `lstmjax train`.
- vmap: the same members in one product on one device, differentiated by JAX instead of by hand.
- torch: `torch.nn.LSTM` and Adam's fused form, one model after the other, on as many threads as there are cores. CPU
  only.
- neuralforecast: its `LSTM`, one model after the other; seconds of many steps less those of few, so that its set-up
  does not count. CPU only.

Those that are here take turns, round by round, the peers each in a process of its own. Milliseconds are medians over
rounds, per member and step; a ratio is the median over rounds of the peer's time by lstmjax's of the same round: above
1, lstmjax is faster. Compilation is not in them: it is told apart. So is memory: `block_memory` is the growth of the
process, at its peak, by a sweep's block of 64 members trained 16 at a time, beside the size of all it has to hold: the
panel, 64 members' states, and what one step of 16 members holds on to.
"""

import functools
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import pandas as pd
import tyro
from flax import nnx

sys.path.insert(0, str(Path(__file__).parent))

from contestants import Shape, own_process, resident_growth

import lstmjax
from lstmjax import parallel
from lstmjax.config import OptimizerConfig, RunConfig, TrainConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.nn import StackedLSTM
from lstmjax.ops import build
from lstmjax.ops.lstm import chosen
from lstmjax.parallel import cores
from lstmjax.sweep import Space, Trial, train_block
from lstmjax.sweep.population.population import make_populations
from lstmjax.training import Hyperparameters, TrainingData, functional, training_bytes
from lstmjax.training.hyperparameters import stack
from lstmjax.training.loop import first_weights
from lstmjax.training.plan import make_plan
from lstmjax.training.population import initializer, programs
from lstmjax.window import Forecast, WindowBatch, WindowSpec

SHAPES: dict[str, tuple[Shape, ...]] = {"table": ((32, 96, 7, 64), (32, 48, 7, 32)), "tiny": ((4, 6, 3, 4),)}
"""(B, T, I, H)."""

REFERENCE_MS = {
    (32, 96, 7, 64): {"torch": 5.8, "neuralforecast": 37.7, "vmap": 6.9},
    (32, 48, 7, 32): {"torch": 1.8, "neuralforecast": 13.7, "vmap": 1.2},
}
"""Peers on two cores of an AMD EPYC (Zen 4), undisturbed."""

CONTESTANTS = ("lstmjax", "sequential", "vmap", "torch", "neuralforecast")
HORIZON = 24
ROWS = 4000
CLIP = 1.0
RATE = 1e-3
SECONDS_A_TURN = 0.5

Turn = Callable[[], float]
"""Trains for a while; returns the seconds a member and step took."""


class Network(nnx.Module):
    """What is trained: values only, as the peers know no masks."""

    def __init__(self, features: int, hidden: int, implementation: str, *, rngs: nnx.Rngs) -> None:
        self.lstm = StackedLSTM(features, hidden, num_layers=1, implementation=implementation, rngs=rngs)
        self.head = nnx.Linear(hidden, HORIZON, rngs=rngs)

    def __call__(
        self, window: WindowBatch, *, rngs: nnx.Rngs | None = None, deterministic: bool | None = None
    ) -> Forecast:
        """Forecasts a batch of windows."""
        state = self.lstm(jax.numpy.concatenate([window.y, window.hist_exog], axis=-1), return_sequence=False)
        return Forecast(self.head(state)[:, :, None, None])


class Builder(NamedTuple):
    """A function of a key, equal to others of the same sizes."""

    features: int
    hidden: int
    implementation: str

    def __call__(self, key: jax.Array) -> Network:
        """A network drawn from a key."""
        return Network(*self, rngs=nnx.Rngs(key))


def table(features: int) -> pd.DataFrame:
    """One series and its historic covariates."""
    rng = np.random.default_rng(0)
    season = np.sin(np.arange(ROWS) * np.pi / 12)
    columns = {f"x{number}": rng.normal(size=ROWS) for number in range(features - 1)}
    times = pd.date_range("2020", periods=ROWS, freq="h")
    return pd.DataFrame({"unique_id": "a", "ds": times, "y": season + 0.3 * rng.normal(size=ROWS), **columns})


def run_config(shape: Shape) -> RunConfig:
    """The options of a run of this shape."""
    batch, length, features, hidden = shape
    return RunConfig().replace(
        {
            "data.h": HORIZON,
            "data.input_size": length,
            "data.hist_exog": tuple(f"x{number}" for number in range(features - 1)),
            "model.name": "direct",
            "model.hidden_size": hidden,
            "model.instance_norm": "none",
            "model.instance_scale": "none",
            "train.batch_size": batch,
            "optimizer.learning_rate": RATE,
            "optimizer.schedule": "constant",
            "train.loss": "mse",
            "optimizer.clip_norm": CLIP,
        }
    )


def prepared(shape: Shape) -> Prepared:
    """The data, scaled and cut."""
    config = run_config(shape).data
    return prepare(panel_from_table(table(shape[2]), config), config, with_test=True)


class Population:
    """Members of one shape, compiled, ready to be trained for any number of steps."""

    def __init__(
        self,
        shape: Shape,
        members: int,
        *,
        implementation: str = "auto",
        one_device: bool = False,
        mapping: parallel.MappingName | None = None,
    ) -> None:
        data, config = prepared(shape), run_config(shape)
        spec: WindowSpec = data.spec
        training = TrainingData(data.arrays, data.train, data.validation, spec)
        structure, first = functional(Builder(shape[2], shape[3], implementation))
        optimizer: OptimizerConfig = config.optimizer
        train: TrainConfig = config.train
        numbers = [Hyperparameters.from_config(optimizer, train, seed=seed) for seed in range(members)]
        plan = make_plan(structure, training, optimizer, train, numbers, mapping)
        self.members, self.hyper, self.span = members, plan.hyper, plan.span
        mesh, self.run = plan.mesh, plan.programs.run
        if one_device:
            mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]).reshape(1, 1), ("member", "batch"))
            self.run = programs(plan.setting, mesh, mapping or plan.mapping).run
            self.hyper = parallel.place_members(stack(numbers), mesh)
            self.span = lambda stop: parallel.place_shared(jax.device_get(plan.span(stop)), mesh)
        draw, given = first_weights(first)
        began = time.perf_counter()
        setting = plan.setting
        begin = initializer(structure, draw, setting.optimizer, setting.schedule, mesh, mapping or plan.mapping)
        self.state = begin(self.hyper, given)
        self.compiled = self.run.lower((self.state, self.hyper, None, None), self.span(1)).compile()
        self.compile_seconds = time.perf_counter() - began
        needed = self.compiled.memory_analysis()
        each = needed.argument_size_in_bytes + needed.output_size_in_bytes + needed.temp_size_in_bytes
        self.memory_bytes, self.activation_bytes = each * mesh.size, needed.temp_size_in_bytes * mesh.size
        self.step, self.pace = 0, 2

    def turn(self) -> float:
        """Trains for about a turn's time."""
        while True:
            began = time.perf_counter()
            span = self.span(self.step + self.pace)
            self.state = jax.block_until_ready(self.run((self.state, self.hyper, None, None), span))
            elapsed, steps = time.perf_counter() - began, self.pace
            self.step += steps
            self.pace = max(1, min(8 * steps, round(steps * SECONDS_A_TURN / elapsed)))
            if elapsed > SECONDS_A_TURN / 2:
                return elapsed / steps / self.members


def torch_turn(shape: Shape) -> Turn:
    """A bare loop in PyTorch over one model."""
    import torch

    torch.set_num_threads(cores())
    batch, length, features, hidden = shape
    data = prepared(shape)
    values = torch.from_numpy(np.concatenate([data.arrays.y, data.arrays.hist], axis=1))
    origins = torch.from_numpy(np.asarray(data.train.origin, np.int64))
    lstm = torch.nn.LSTM(features, hidden, batch_first=True)
    head = torch.nn.Linear(hidden, HORIZON)
    weights = [*lstm.parameters(), *head.parameters()]
    adam = torch.optim.Adam(weights, lr=RATE, fused=True)
    past, ahead = torch.arange(-length, 0), torch.arange(HORIZON)

    def step() -> None:
        chosen = origins[torch.randint(len(origins), (batch,))][:, None]
        _, (state, _) = lstm(values[chosen + past])
        loss = torch.nn.functional.mse_loss(head(state[-1]), values[chosen + ahead, 0])
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        adam.step()

    def turn() -> float:
        step()
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS_A_TURN:
            step()
            count += 1
        return (time.perf_counter() - began) / count

    return turn


def neuralforecast_turn(shape: Shape) -> Turn:
    """The LSTM of neuralforecast, of the same sizes."""
    import logging

    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MSE
    from neuralforecast.models import LSTM

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    batch, length, features, hidden = shape
    frame = table(features)

    def fit(steps: int) -> float:
        model = LSTM(
            h=HORIZON,
            input_size=length,
            encoder_n_layers=1,
            encoder_hidden_size=hidden,
            encoder_dropout=0.0,
            decoder_layers=1,
            decoder_hidden_size=hidden,
            hist_exog_list=[f"x{number}" for number in range(features - 1)],
            loss=MSE(),
            max_steps=steps,
            learning_rate=RATE,
            num_lr_decays=0,
            batch_size=1,
            windows_batch_size=batch,
            scaler_type="identity",
            gradient_clip_val=CLIP,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            logger=False,
            accelerator="cpu",
        )
        began = time.perf_counter()
        NeuralForecast(models=[model], freq="h").fit(frame)
        return time.perf_counter() - began

    def turn() -> float:
        few, many = 5, 45
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return max(1e-9, fit(many) - fit(few)) / (many - few)

    return turn


PEERS: dict[str, Callable[[Shape], Turn]] = {"torch": torch_turn, "neuralforecast": neuralforecast_turn}


def apart(name: str, shape: Shape) -> Turn:
    """Turns of a peer in a process of its own, so that its threads and its allocator are its own."""
    process = own_process()
    return lambda: process.submit(_peer_seconds, name, shape).result()


def _peer_seconds(name: str, shape: Shape) -> float:
    return _peer_turn(name, shape)()


@functools.lru_cache
def _peer_turn(name: str, shape: Shape) -> Turn:
    return PEERS[name](shape)


def block_memory(shape: Shape, members: int = 64, population: int = 16) -> dict[str, Any]:
    """Memory of a sweep's block against what it has to hold, in bytes."""
    base = run_config(shape).replace({"train.max_steps": 4, "train.val_check_steps": 2, "model.head_size": 0})
    panel = panel_from_table(table(shape[2]), base.data)
    space = Space.from_dict({"optimizer.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1e-2}})
    trials = [Trial(number, {"optimizer.learning_rate": 1e-3}) for number in range(members)]
    (group,), _ = make_populations(base, panel, space, trials, seeds=1, metric="scaled_mae")
    states = sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(group.template()))
    data = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(group.folds[0]))
    arguments = (group.network, group.folds[0], group.config.optimizer, group.config.train)
    together = jax.device_count() * training_bytes(*arguments, [group.members[0].numbers] * population)
    activations = together - jax.device_count() * data - 2 * states * population // members
    grown = resident_growth(lambda: train_block(base, panel, space, trials, population=population))
    held = data + states + max(0, activations)
    return {
        "members": members,
        "population": population,
        "panel_bytes": data,
        "states_bytes": states,
        "activations_bytes": activations,
        "grown_bytes": grown,
        "ratio": None if grown is None else grown / held,
    }


def measure(shape: Shape, members: int, rounds: int) -> dict[str, Any]:
    """One row."""
    populations = {
        "lstmjax": Population(shape, members),
        "sequential": Population(shape, 1),
        "vmap": Population(shape, members, implementation="scan", one_device=True, mapping="vmap"),
    }
    turns: dict[str, Turn] = {name: population.turn for name, population in populations.items()}
    if jax.default_backend() == "cpu":
        turns |= {name: apart(name, shape) for name in PEERS if importlib.util.find_spec(name) is not None}
    for turn in turns.values():
        turn()  # warms up, and finds how many steps fill a turn
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            times[name].append(turn())
    row = summary(shape, times)
    row |= {
        "members": members,
        "compile_seconds": {name: round(population.compile_seconds, 2) for name, population in populations.items()},
        "memory_bytes": {name: population.memory_bytes for name, population in populations.items()},
        "block_memory": block_memory(shape),
    }
    return row


def summary(shape: Shape, times: dict[str, list[float]]) -> dict[str, Any]:
    """What the times of some rounds come to."""
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    ratios = {
        name: statistics.median(theirs / ours for theirs, ours in zip(values, times["lstmjax"], strict=True))
        for name, values in times.items()
        if name != "lstmjax"
    }
    slower = {name: medians[name] / ms for name, ms in REFERENCE_MS.get(shape, {}).items() if name in medians}
    return {
        "shape": list(shape),
        "ms_per_member_step": {name: medians.get(name) for name in CONTESTANTS},
        "ratio": ratios,
        "member_steps_per_second": {name: 1e3 / ms for name, ms in medians.items()},
        "against_reference": slower,
    }


def shown(rows: list[dict[str, Any]], *, reference: bool) -> str:
    """The rows as a table in Markdown."""
    here = [name for name in CONTESTANTS if rows[0]["ms_per_member_step"][name] is not None]
    heads = ["(B, T, I, H)", *(f"{name} ms" for name in here), *(f"{peer} / lstmjax" for peer in here[1:])]
    heads += ["compiled in s", "MB", *(f"{peer} / reference" for peer in REFERENCE_MS[SHAPES["table"][0]] if reference)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [", ".join(map(str, row["shape"])), *(f"{row['ms_per_member_step'][name]:.2f}" for name in here)]
        cells += [f"{row['ratio'][peer]:.2f}" for peer in here[1:]]
        cells += [f"{row['compile_seconds']['lstmjax']:.1f}", f"{row['memory_bytes']['lstmjax'] / 1e6:.1f}"]
        for peer in REFERENCE_MS[SHAPES["table"][0]] if reference else ():
            slower = row["against_reference"].get(peer)
            cells.append("" if slower is None else f"{slower:.2f}" + (" (void)" if slower > 1.3 else ""))
        lines.append("| " + " | ".join(cells) + " |")
    for row in rows:
        memory = row["block_memory"]
        if memory["ratio"] is not None:
            held = sum(memory[part] for part in ("panel_bytes", "states_bytes", "activations_bytes"))
            lines.append(
                f"\n{', '.join(map(str, row['shape']))}: {memory['members']} members, {memory['population']} at a "
                f"time, take {memory['grown_bytes'] / 1e6:.0f} MB; what they hold is {held / 1e6:.0f} MB"
            )
    missing = [name for name in CONTESTANTS if name not in here]
    if missing:
        lines.append(f"\nLeft out, as they are not installed or this is not a CPU: {', '.join(missing)}.")
    return "\n".join(lines)


def main(
    *,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
    shapes: str = "table",
    members: int = 16,
    rounds: int = 7,
    reference: bool = False,
) -> None:
    """Measures, and prints a table.

    Args:
        json_file: where to write the results as well.
        shapes: "table" for the two of the design; "tiny" to try the script; or one shape, as "32,96,7,64".
        members: members of the population.
        rounds: turns of every contestant.
        reference: show how much slower the peers are here than on two cores of an AMD EPYC: a row above 1.3 is void
            there, and has to be measured again.
    """
    build.main([])  # the native CPU kernel, which lstmjax's members run on
    parallel.configure_devices()
    wanted = SHAPES.get(shapes) or (tuple(int(size) for size in shapes.split(",")),)
    rows = []
    for shape in wanted:
        rows.append(measure(shape, members, rounds))
        told = {name: round(ms, 2) for name, ms in rows[-1]["ms_per_member_step"].items() if ms is not None}
        print(*shape, told, file=sys.stderr, flush=True)
    versions = {"lstmjax": lstmjax.__version__, "jax": jax.__version__, "python": platform.python_version()}
    for peer in ("torch", "neuralforecast"):
        if rows[0]["ms_per_member_step"][peer] is not None:
            versions[peer] = importlib.metadata.version(peer)
    print(shown(rows, reference=reference))
    if json_file is not None:
        result = {"rows": rows, "rounds": rounds, "cores": cores(), "versions": versions, "lstm": chosen()[0]}
        json_file.write_text(json.dumps(result | {"devices": [str(device) for device in jax.devices()]}, indent=1))


if __name__ == "__main__":
    tyro.cli(main)
