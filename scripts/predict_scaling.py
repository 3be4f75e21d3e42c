"""Predicts how fast one model trains on 8, 64 and 512 devices: from a measured step and the bytes that a step sums.

    python scripts/predict_scaling.py

A minute on two cores. It measures a step on one device of this machine, with as many windows as one of the many
devices would have, and reads from the compiled text of the same step on two devices what is summed over all of them.
The network between the hosts is not measured: its bandwidth and latency are assumptions, which can be given. See
docs/scaling.md.
"""

import dataclasses
import json
import math
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from lstmjax import models, parallel
from lstmjax.config import ModelConfig, OptimizerConfig, TrainConfig
from lstmjax.data.windows import PanelArrays, Windows
from lstmjax.training import TrainingData, functional
from lstmjax.training.hyperparameters import Hyperparameters
from lstmjax.training.loop import _first_state
from lstmjax.training.plan import make_plan
from lstmjax.window import WindowSpec

DEVICES = (8, 64, 512)

_BYTES = {"f32": 4, "f64": 8, "f16": 2, "bf16": 2, "s32": 4, "u32": 4, "pred": 1}


@dataclasses.dataclass(frozen=True)
class Network:
    """What connects the devices, an assumption."""

    name: str
    bandwidth: float
    """Bytes per second that a device can send while it receives as many."""
    latency: float
    """Seconds from one device to the next."""


NETWORKS = (
    Network("10 Gbit/s Ethernet", 10e9 / 8, 50e-6),
    Network("100 Gbit/s, RDMA", 100e9 / 8, 5e-6),
    Network("400 Gbit/s, RDMA", 400e9 / 8, 5e-6),
)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What is predicted for."""

    hidden_sizes: tuple[int, ...] = (64, 256)
    """Of a direct network."""
    windows: tuple[int, ...] = (64, 256)
    """Per device and step."""
    input_size: int = 96
    h: int = 24
    rounds: int = 5
    """Times a step is measured; the median counts."""
    step_seconds: float | None = None
    """Seconds of a step, measured elsewhere. Default: measured here."""
    json: Path | None = None
    """Where to write all numbers."""


def all_reduce_seconds(size: int, devices: int, network: Network) -> float:
    """Seconds to sum an array over all devices.

    The better of two: a ring, which sends each byte about twice and needs 2 (n - 1) turns; and a tree, which sends the
    array up and down, in 2 log2(n) turns.

    Args:
        size: bytes of the array.
        devices: how many.
        network: what connects them.

    >>> all_reduce_seconds(1_000_000, 2, Network("", 1e9, 0.0))
    0.001
    """
    if devices == 1:
        return 0.0
    ring = 2 * (devices - 1) * (network.latency + size / devices / network.bandwidth)
    tree = 2 * math.ceil(math.log2(devices)) * (network.latency + size / network.bandwidth)
    return min(ring, tree)


def summed(text: str) -> tuple[int, int]:
    """The all-reduces in a compiled program, and the bytes that they sum together.

    >>> summed("x = (f32[2,3], /*index=1*/f32[]) all-reduce(a, b), to_apply=add")
    (1, 28)
    """
    text = re.sub(r"/\*.*?\*/", "", text)  # the numbers of the parts, which the compiler adds
    found = re.findall(r"= ([^=]*?) all-reduce(?:-start)?\(", text)
    parts = [part for one in found for part in re.findall(r"([a-z]+[0-9]*)\[([0-9,]*)\]", one)]
    sizes = [_BYTES[kind] * math.prod(int(side) for side in sides.split(",") if side) for kind, sides in parts]
    return len(found), sum(sizes)


def compiled(hidden_size: int, batch_size: int, shards: int, asked: Prediction) -> tuple[Any, Any, Any]:
    """A training step, compiled, with what it is called with: members in a state, and a function of the last step."""
    spec = WindowSpec(asked.input_size, asked.h)
    count = 4 * batch_size
    rows = count + spec.input_size + spec.h
    y = np.sin(np.arange(rows, dtype=np.float32) / 7)[:, None]
    none, flags = np.zeros((rows, 0), np.float32), np.zeros((rows, 0), bool)
    stat, offsets = np.zeros((1, 0), np.float32), np.array([0, rows], np.int32)
    arrays = PanelArrays(y, np.ones_like(y, bool), none, flags, none, flags, stat, offsets)
    windows = Windows(np.zeros(count, np.int32), np.arange(spec.input_size, spec.input_size + count, dtype=np.int32))
    data = TrainingData(arrays, windows, Windows(*(np.zeros(0, np.int32),) * 2), spec)
    optimizer = OptimizerConfig(schedule="constant")
    config = TrainConfig(max_steps=2**30, batch_size=batch_size, batch_shards=shards)
    structure, first = functional(models.Builder(spec, ModelConfig(name="direct", hidden_size=hidden_size)))
    plan = make_plan(structure, data, optimizer, config, [Hyperparameters.from_config(optimizer, config)], None)
    members = plan.with_state(_first_state(plan, first))
    run: Any = plan.programs.run
    return run.lower(members, plan.span(1)).compile(), members, plan.span


def step_seconds(hidden_size: int, windows: int, asked: Prediction) -> float:
    """Seconds of a step of so many windows on one device of this machine."""
    program, members, span = compiled(hidden_size, windows, 1, asked)
    steps, found = 3, []
    jax.block_until_ready(program(members, span(1)))
    for _ in range(asked.rounds):
        began = time.perf_counter()
        jax.block_until_ready(program(members, span(steps)))
        found.append((time.perf_counter() - began) / steps)
    return statistics.median(found)


def main(asked: Prediction, networks: Sequence[Network] = NETWORKS) -> None:
    rows = []
    for hidden_size in asked.hidden_sizes:
        count, size = summed(compiled(hidden_size, 2 * asked.windows[0], 2, asked)[0].as_text())
        for windows in asked.windows:
            given = asked.step_seconds
            seconds = step_seconds(hidden_size, windows, asked) if given is None else given
            row: dict[str, Any] = {"hidden_size": hidden_size, "windows": windows, "step_seconds": seconds}
            row |= {"all_reduces": count, "all_reduce_bytes": size}
            for network in networks:
                row[network.name] = {n: seconds / (seconds + all_reduce_seconds(size, n, network)) for n in DEVICES}
            rows.append(row)
    if asked.step_seconds is None:
        print(f"steps measured on one {jax.devices()[0].device_kind} device of {jax.local_device_count()}")
    titles = ["hidden", "windows per device", "step", "all-reduces", "bytes", "network", *map(str, DEVICES)]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for row in rows:
        measured = [str(row["hidden_size"]), str(row["windows"]), f"{1e3 * row['step_seconds']:.1f} ms"]
        measured += [str(row["all_reduces"]), f"{row['all_reduce_bytes']:,}"]
        for network in networks:
            shares = [f"{n * row[network.name][n]:.1f} ({row[network.name][n]:.0%})" for n in DEVICES]
            print(f"| {' | '.join([*measured, network.name, *shares])} |")
    print("columns of devices: times the windows per second of one device, and that divided by their number")
    if asked.json is not None:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    parallel.configure_devices(2)
    main(tyro.cli(Prediction, description=__doc__))
