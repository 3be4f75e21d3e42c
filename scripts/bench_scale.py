"""Data beyond memory: packing and training from a store, against the same network on a panel that fits.

Command:  python scripts/bench_scale.py [--series 20000 --rows 2000 --folder /tmp/scale]
Runtime:  about ten minutes on two cores; 3 GB of disk, freed at the end.
Expects:  packing below 1.5 GB of memory, training from the store below 2.5 GB, at least 85% of the steps per second of
          a panel that fits, and on that panel the same bytes from either feed.

Each part runs in a process of its own, so that its peak memory (of the process, memory-mapped pages included) is its
own.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RUN = [
    *("--data.h", "24", "--data.input-size", "96", "--data.val-size", "48", "--data.test-size", "24"),
    *("--model.name", "direct", "--model.hidden-size", "64", "--train.batch-size", "64", "--optimizer.schedule"),
    *("constant", "--outputs.plot-windows", "1"),
]


def make_table(folder: Path, series: int, rows: int, at_once: int = 500) -> None:
    """Writes hourly series with a day, a week, a level and noise of their own, as Parquet files of some series each."""
    import pandas as pd

    folder.mkdir(parents=True)
    times = pd.date_range("2023-01-02", periods=rows, freq="h")
    hours = np.arange(rows)
    for first in range(0, series, at_once):
        rng = np.random.default_rng(first)
        count = min(at_once, series - first)
        level, day, week, noise = (rng.gamma(2.0, size=(count, 1)) for _ in range(4))
        y = 10 * level + day * np.sin(2 * np.pi * (hours / 24 + rng.random((count, 1))))
        y += week * np.sin(2 * np.pi * (hours / 168 + rng.random((count, 1))))
        y += 0.3 * noise * rng.normal(size=y.shape).cumsum(axis=1) / 10 + 0.3 * noise * rng.normal(size=y.shape)
        names = np.repeat([f"meter {first + number:06d}" for number in range(count)], rows)
        frame = pd.DataFrame({"unique_id": names, "ds": np.tile(times, count), "y": y.reshape(-1).astype(np.float32)})
        frame.to_parquet(folder / f"part-{first:07d}.parquet", index=False)


def child(arguments: list[str]) -> dict[str, float]:
    """Runs a command line of lstmjax in a process of its own.

    Returns:
        Its seconds, and its peak memory in GB.
    """
    code = (
        "import resource, sys; from lstmjax.cli.app import main; main(sys.argv[1:]); "
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"lstmjax {' '.join(arguments)} failed:\n{done.stderr}")
    peak = int(next(line for line in done.stdout.splitlines() if line.startswith("PEAK")).split()[1])
    return {"seconds": time.monotonic() - began, "gigabytes": peak * 1024 / 1e9}


def steps_per_second(run: Path) -> float:
    """Of a run, between its first and its last validation check: without compilation."""
    checks = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return (checks[-1]["step"] - checks[0]["step"]) / (checks[-1]["seconds"] - checks[0]["seconds"])


def weights(run: Path) -> dict[str, bytes]:
    """The selected weights of a run, as bytes."""
    from lstmjax.forecaster import Forecaster

    selected = Forecaster.load(run).fitted.selected.weights.params
    return {name: np.asarray(leaf).tobytes() for name, leaf in selected.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--fitting", type=int, default=200, help="series of the panel that fits")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--folder", type=Path, help="where the files are made; default: a temporary folder")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir=asked.folder))
    train = [*RUN, "--train.max-steps", str(asked.steps), "--train.val-check-steps", str(asked.steps // 4)]
    try:
        for name, series in (("large", asked.series), ("fitting", asked.fitting)):
            make_table(folder / name, series, asked.rows)
            packed = child(["pack", str(folder / name), str(folder / f"{name}.store")])
            print(f"pack {name}: {series * asked.rows:,} rows, {packed['seconds']:.0f} s, {packed['gigabytes']:.2f} GB")
            shutil.rmtree(folder / name)
        rates = {}
        for name, feed in (("fitting", "device"), ("fitting", "host"), ("large", "host")):
            run = folder / f"{name}-{feed}"
            given = ["--data.store", str(folder / f"{name}.store"), "--train.feed", feed, "--run-dir", str(run)]
            done = child(["train", *given, *train])
            rates[name, feed] = steps_per_second(run)
            print(
                f"train {name}, feed {feed}: {rates[name, feed]:.1f} steps/s, {done['seconds']:.0f} s in all, "
                f"{done['gigabytes']:.2f} GB"
            )
        for key in (("fitting", "host"), ("large", "host")):
            print(f"{key[0]} from the host / fitting on the device: {rates[key] / rates['fitting', 'device']:.2f}")
        same = weights(folder / "fitting-device") == weights(folder / "fitting-host")
        print(f"on the panel that fits, both feeds leave {'the same' if same else 'OTHER'} bytes")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{os.cpu_count()} cores")


if __name__ == "__main__":
    main()
