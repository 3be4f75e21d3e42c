"""What saving costs: the share of the main job's CPU time that goes into its checkpoints, the background included.

Command:  python scripts/bench_checkpoint.py [--seconds 60] [--save-every-seconds 20] [--json FILE]
Runtime:  two and a half minutes on two cores

The main job is that of `experiments/elecdemand.py`, trained for some seconds as it is by default: once as one run, once
as the three seeds that it trains together. The CPU time of a save, over all threads, is measured with nothing beside
it, on the last state that training left; the first save of a process, which also imports Orbax, in a new process.
The share is that of all saves of the training, and that of a run that is long.
"""

import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

from lstmjax import configure_devices
from lstmjax.forecaster.checkpoints import CHECKPOINTS
from lstmjax.storage import checkpoint
from lstmjax.training import Callback

SAVES = """
import sys, time
import jax, numpy as np
from lstmjax.storage import checkpoint

arrays = dict(np.load(sys.argv[1]))
for step in range(11):
    began = time.process_time()
    checkpoint.save(sys.argv[2], step, arrays, {})
    print(time.process_time() - began)
"""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What the command line takes."""

    seconds: float = 60.0
    """Of each training."""
    save_every_seconds: float | None = None
    """The option of that name. Default: the option's own."""
    json: Path | None = None
    """A file for the results."""


class StopAfter(Callback):
    """Ends training after some seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def should_stop(self) -> bool:
        """Whether they are over."""
        return time.monotonic() > self._end


@contextlib.contextmanager
def count_saves() -> Iterator[list[int]]:
    """The steps that are saved meanwhile."""
    steps, write = [], checkpoint.save

    def save(directory, step, *rest):
        steps.append(step)
        return write(directory, step, *rest)

    checkpoint.save = save
    yield steps
    checkpoint.save = write


def save_seconds(folder: Path) -> tuple[float, float]:
    """CPU seconds of the first save of a process, and of each other, of the last state of the run in a folder."""
    np.savez(folder / "arrays.npz", **checkpoint.load(folder / "run" / CHECKPOINTS).arrays)
    command = [sys.executable, "-c", SAVES, str(folder / "arrays.npz"), str(folder / "alone")]
    first, *others = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    return first, statistics.mean(others)


def main(benchmark: Benchmark) -> None:
    import elecdemand

    from lstmjax.data.prepare import prepare
    from lstmjax.data.source import load_source, with_dataset_settings
    from lstmjax.forecaster.fit import resolved_config, train_members
    from lstmjax.forecaster.resume import new_run, trained_names

    config = elecdemand.CONFIG.replace(elecdemand.COVARIATES[elecdemand.KNOWN] | {"train.max_steps": 100_000})
    if benchmark.save_every_seconds is not None:
        config = config.replace({"train.save_every_seconds": benchmark.save_every_seconds})
    data = with_dataset_settings(config.data)
    prepared = prepare(load_source(data).panel(data), data, with_test=True)
    results = {}
    for seeds in ([0], [0, 1, 2]):
        resolved = resolved_config(config, prepared, members=len(seeds))
        began, cpu = time.monotonic(), time.process_time()
        stop = StopAfter(benchmark.seconds)
        with tempfile.TemporaryDirectory() as folder, count_saves() as steps:
            with new_run(
                Path(folder) / "run", resolved, prepared, trained_names(resolved, None, None), len(seeds)
            ) as store:
                train_members(resolved, None, prepared, seeds, store=store, callbacks=[stop])
            wall, cpu = time.monotonic() - began, time.process_time() - cpu
            first, each = save_seconds(Path(folder))
        every = config.train.save_every_seconds
        found = {
            "wall_seconds": wall,
            "cpu_seconds": cpu,
            "saves": len(steps),
            "first_save_cpu_seconds": first,
            "save_cpu_seconds": each,
            "share": (first + (len(steps) - 1) * each) / cpu,
            "share_of_a_long_run": each / every * wall / cpu if every else None,
        }
        name = f"{len(seeds)} member{'s' * (len(seeds) > 1)}"
        results[name] = found
        print(
            f"{name}: saving takes {found['share']:.2%} of {cpu:.0f} s of CPU time ({wall:.0f} s, {len(steps)} saves: "
            f"the first {1000 * first:.0f} ms with the import of Orbax, each other {1000 * each:.0f} ms)",
            flush=True,
        )
        if every:
            print(f"  of a long run, with a save every {every:g} s: {found['share_of_a_long_run']:.2%}", flush=True)
    if benchmark.json is not None:
        benchmark.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    configure_devices()
    main(tyro.cli(Benchmark, description=__doc__))
