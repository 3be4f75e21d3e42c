"""What the number of training windows costs: the same network on 40 thousand windows and on 40 million.

Command:  python scripts/bench_windows.py [--few 40000] [--many 40000000] [--turns 9] [--seconds 2] [--json FILE]
Runtime:  about a minute on two cores; 2 GB of memory

The two take turns, a chunk of about two seconds each; the ratio of their rates is the median over turns. Beside it: how
long the first step takes once the program is compiled, for the windows lie on the device by then. The panel has as
many rows as there are windows, one long series, and no value is looked at twice by a batch of 64.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from lstmjax import configure_devices, models
from lstmjax.config import ModelConfig, OptimizerConfig, TrainConfig
from lstmjax.data.windows import PanelArrays, Windows
from lstmjax.training import Hyperparameters, TrainingData, functional
from lstmjax.training.loop import _first_state
from lstmjax.training.plan import make_plan
from lstmjax.window import WindowSpec

LOOKBACK, HORIZON = 48, 24


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What the command line takes."""

    few: int = 40_000
    """Windows of the first contestant."""
    many: int = 40_000_000
    """Windows of the second."""
    turns: int = 9
    """Chunks of each that are timed."""
    seconds: float = 2.0
    """How long a chunk takes, about."""
    json: Path | None = None
    """A file for the results."""


def main(benchmark: Benchmark) -> None:
    """Times both, and prints the ratio of their rates."""
    contestants = {count: Contestant(count) for count in (benchmark.few, benchmark.many)}
    first_steps = {count: one.run(1) for count, one in contestants.items()}
    steps = max(1, round(benchmark.seconds / contestants[benchmark.few].run(20) * 20))
    rates: dict[int, list[float]] = {count: [] for count in contestants}
    for _ in range(benchmark.turns):
        for count, one in contestants.items():
            rates[count].append(steps / one.run(steps))
    ratio = statistics.median(b / a for a, b in zip(*rates.values(), strict=True))
    found: dict[str, Any] = {
        str(count): {
            "placing_seconds": one.placing_seconds,
            "compile_seconds": one.compile_seconds,
            "first_step_seconds": first_steps[count],
            "steps_per_second": statistics.median(rates[count]),
        }
        for count, one in contestants.items()
    }
    print("| windows | on the device | compiled | first step | steps per second |\n|---|---|---|---|---|")
    for count, row in found.items():
        cells = [f"{row[name]:.2f} s" for name in ("placing_seconds", "compile_seconds")]
        print(
            f"| {int(count):,} | {' | '.join(cells)} | {1e3 * row['first_step_seconds']:.1f} ms | "
            f"{row['steps_per_second']:.1f} |"
        )
    print(f"steps per second, many over few: {ratio:.3f} (median of {benchmark.turns} turns)")
    if benchmark.json is not None:
        benchmark.json.write_text(json.dumps(found | {"ratio": ratio}, indent=2) + "\n")


class Contestant:
    """One training run on so many windows.

    Args:
        count: windows.
        model: the network. Default: a direct one.
        spec: sizes of a window.
    """

    def __init__(
        self,
        count: int,
        model: ModelConfig = ModelConfig(name="direct", hidden_size=64),  # noqa: B008 (it is frozen)
        spec: WindowSpec = WindowSpec(LOOKBACK, HORIZON),  # noqa: B008
    ) -> None:
        rows = count + spec.input_size + spec.h - 1
        y = np.sin(np.arange(rows, dtype=np.float32) / 7)[:, None]
        none, flags = np.zeros((rows, 0), np.float32), np.zeros((rows, 0), bool)
        arrays = PanelArrays(
            y=y,
            y_mask=np.ones_like(y, bool),
            hist=none,
            hist_mask=flags,
            futr=none,
            futr_mask=flags,
            stat=np.zeros((1, 0), np.float32),
            offsets=np.array([0, rows], np.int32),
        )
        first_row = spec.input_size
        windows = Windows(np.zeros(count, np.int32), np.arange(first_row, first_row + count, dtype=np.int32))
        data = TrainingData(arrays, windows, Windows(*(np.zeros(0, np.int32),) * 2), spec)
        optimizer, config = OptimizerConfig(schedule="constant"), TrainConfig(max_steps=2**30)
        structure, first = functional(models.Builder(spec, model))
        began = time.perf_counter()
        self.plan = make_plan(
            structure, data, optimizer, config, [Hyperparameters.from_config(optimizer, config)], None
        )
        jax.block_until_ready(self.plan.span(0))
        self.placing_seconds = time.perf_counter() - began
        self.state = _first_state(self.plan, first)
        began = time.perf_counter()
        self.compiled: Callable[..., Any] = self.plan.programs.run.lower(  # type: ignore[attr-defined]
            self.plan.with_state(self.state), self.plan.span(1)
        ).compile()
        self.compile_seconds = time.perf_counter() - began
        self.step = 0

    def run(self, steps: int) -> float:
        """Trains so many steps; returns the seconds they took."""
        began = time.perf_counter()
        self.step += steps
        self.state = jax.block_until_ready(self.compiled(self.plan.with_state(self.state), self.plan.span(self.step)))
        return time.perf_counter() - began


if __name__ == "__main__":
    configure_devices()
    main(tyro.cli(Benchmark, description=__doc__))
