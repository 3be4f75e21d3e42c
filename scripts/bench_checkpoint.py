"""What saving at every validation check costs: the main job's training with checkpoints, over the same without.

Command:  python scripts/bench_checkpoint.py [--rounds 5] [--steps 200] [--json FILE]
Runtime:  about five minutes on two cores

On the shape of `experiments/elecdemand.py`: once as one run whose batch is split over the cores, once as the three
seeds that it trains together. After one training of each kind that is not counted they take turns; the ratio is the
median over rounds. What two trainings without saving differ by in the same way says how noisy the machine is; where
that is more than saving costs, the CPU time of a save by the time between checks is the better number.
"""

import dataclasses
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

from lstmjax import configure_devices


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What the command line takes."""

    rounds: int = 5
    """Trainings with saving that are timed, each between two without."""
    steps: int = 200
    """Steps of a training; there is a check every 50."""
    json: Path | None = None
    """A file for the results."""


def main(benchmark: Benchmark) -> None:
    import elecdemand

    from lstmjax.data.prepare import prepare
    from lstmjax.data.source import load_source, with_dataset_settings
    from lstmjax.forecaster.checkpoints import CHECKPOINTS
    from lstmjax.forecaster.fit import resolved_config, train_members
    from lstmjax.forecaster.resume import new_run
    from lstmjax.storage import checkpoint

    options = elecdemand.COVARIATES[elecdemand.KNOWN] | {"train.max_steps": benchmark.steps}
    config = elecdemand.CONFIG.replace(options | {"train.early_stop_patience_steps": -1})
    data = with_dataset_settings(config.data)
    prepared = prepare(load_source(data).panel(data), data, with_test=True)
    checks = benchmark.steps // config.train.val_check_steps
    folder = Path(tempfile.mkdtemp(prefix="lstmjax-bench-"))

    def seconds(seeds: list[int], *, saving: bool) -> float:
        directory = folder / "run"
        shutil.rmtree(directory, ignore_errors=True)
        began = time.perf_counter()
        resolved = resolved_config(config, prepared, members=len(seeds))
        with new_run(directory if saving else None, resolved, prepared.panel, len(seeds)) as store:
            train_members(resolved, None, prepared, seeds, store=store)
        return time.perf_counter() - began

    def one_save() -> float:
        """CPU seconds of a save with nothing beside it; of the newest state that training left."""
        stored = checkpoint.load(folder / "run" / CHECKPOINTS)
        began = time.process_time()
        for step in range(20):
            checkpoint.save(folder / "alone", step, stored.arrays, stored.metadata)
        return (time.process_time() - began) / 20

    print(f"{benchmark.steps} steps, {checks} checks, {benchmark.rounds} rounds; time with saving over time without:")
    results = {}
    for seeds in ([0], [0, 1, 2]):
        for saving in (False, True):
            seconds(seeds, saving=saving)
        # Each training with saving lies between two without, so that a machine that grows slower favours neither.
        rounds = [[seconds(seeds, saving=saving) for saving in (False, True, False)] for _ in range(benchmark.rounds)]
        ratios = [saved / ((before + after) / 2) for before, saved, after in rounds]
        name = f"{len(seeds)} member{'s' * (len(seeds) > 1)}"
        results[name] = found = {
            "seconds": rounds,
            "checks": checks,
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "noise": statistics.median(after / before for before, _, after in rounds),
            "save_cpu_seconds": one_save(),
        }
        period = statistics.median(before for before, _, _ in rounds) / checks
        cost = found["save_cpu_seconds"]
        print(
            f"  {name}: {found['ratio']:.4f} ({min(ratios):.3f} to {max(ratios):.3f}); without by without: "
            f"{found['noise']:.4f}; a check every {period:.2f} s, a save {1000 * cost:.0f} ms of one core: "
            f"{cost / period / configure_devices():.2%} of all cores",
            flush=True,
        )
    shutil.rmtree(folder)
    if benchmark.json is not None:
        benchmark.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    configure_devices()
    main(tyro.cli(Benchmark, description=__doc__))
