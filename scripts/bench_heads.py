"""What a head costs: a training step with nine quantiles, or with a distribution, beside one with a point forecast.

Command:  python scripts/bench_heads.py [--turns 15] [--seconds 1] [--input-size 168] [--h 24] [--json FILE]
Runtime:  about two minutes on two cores

The heads take turns, a chunk of about a second each; a ratio is the median over turns of its seconds per step over
those of the point forecast in the same turn. Batches hold 64 windows, the networks have their default sizes.
"""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import get_args

import tyro
from bench_windows import Contestant

from lstmjax import configure_devices
from lstmjax.config import HeadName, ModelConfig, ModelName
from lstmjax.nn.heads import HEADS
from lstmjax.window import WindowSpec


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What the command line takes."""

    turns: int = 15
    """Chunks of each head that are timed."""
    seconds: float = 1.0
    """How long a chunk takes, about."""
    input_size: int = 168
    """Lookback."""
    h: int = 24
    """Horizon."""
    json: Path | None = None
    """A file for the results."""


def main(benchmark: Benchmark) -> None:
    """Times every head on every network, and prints the ratios to the point forecast."""
    spec, found = WindowSpec(benchmark.input_size, benchmark.h, season_length=24), {}
    print("| network | head | ms per step | ratio to point |\n|---|---|---|---|")
    for network in get_args(ModelName):
        contestants = {
            head: Contestant(10_000, ModelConfig(name=network, head=head), spec)
            for head in get_args(HeadName)
            if not HEADS[head]((0.5,)).counts  # the data are none
        }
        for contestant in contestants.values():
            contestant.run(2)  # what the first call does besides
        steps = max(1, round(benchmark.seconds / contestants["point"].run(20) * 20))
        seconds: dict[str, list[float]] = {head: [] for head in contestants}
        for _ in range(benchmark.turns):
            for head, contestant in contestants.items():
                seconds[head].append(contestant.run(steps) / steps)
        for head, each in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(each, seconds["point"], strict=True))
            found[f"{network} {head}"] = {"ms": 1e3 * statistics.median(each), "ratio": ratio}
            print(f"| {network} | {head} | {1e3 * statistics.median(each):.2f} | {ratio:.3f} |")
    if benchmark.json is not None:
        benchmark.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    configure_devices()
    main(tyro.cli(Benchmark, description=__doc__))
