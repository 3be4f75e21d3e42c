"""Measures `lstmjax train` on many series and on a long one: seconds, CPU seconds and peak memory of the whole command.

    python scripts/bench_many_series.py                # 100,000 series of 60 rows; one series of 2 million rows
    python scripts/bench_many_series.py --scale 0.01   # a hundredth of both: a quick check

Each run reads a table, trains a few steps, evaluates every test window beside the baselines, and writes all outputs.
The first table is Parquet and its outputs CSV, the second is CSV and its outputs Parquet. CPU seconds and memory hold
on a machine that others use too.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd


def many(folder: Path, scale: float) -> list[str]:
    """100,000 daily series of 60 rows."""
    series, rows = max(1, round(100_000 * scale)), 60
    random, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=rows)
    y = 10 + 3 * np.sin(np.arange(rows) * 2 * np.pi / 7) + random.normal(size=(series, rows))
    ids = np.repeat(np.array([f"s{number:06d}" for number in range(series)], object), rows)
    table = pd.DataFrame({"unique_id": ids, "ds": np.tile(days, series), "y": y.reshape(-1)})
    table.to_parquet(folder / "many.parquet")
    return [f"--data.path={folder / 'many.parquet'}", "--data.h=7", "--data.input-size=28", "--train.max-steps=200"]


def long(folder: Path, scale: float) -> list[str]:
    """A series of 2 million rows, one per minute."""
    rows = round(2_000_000 * scale)
    y = 10 + 3 * np.sin(np.arange(rows) * 2 * np.pi / 1440) + np.random.default_rng(0).normal(size=rows)
    minutes = pd.date_range("2020-01-01", periods=rows, freq="min").strftime("%Y-%m-%d %H:%M:%S")
    pd.DataFrame({"ds": minutes, "y": y.round(4)}).to_csv(folder / "long.csv", index=False)
    sizes = ["--data.h=24", "--data.input-size=96", "--train.max-steps=20"]
    return [f"--data.path={folder / 'long.csv'}", *sizes, "--outputs.format=parquet"]


def main() -> None:
    """Runs both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the series, and of the rows of the long one")
    scale = parser.parse_args().scale
    for make in (many, long):
        with tempfile.TemporaryDirectory() as folder:
            # Made by another process: a child's peak of memory counts that of the process that starts it.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                options = process.submit(make, Path(folder), scale).result()
            begin = time.perf_counter()
            command = [sys.executable, "-m", "lstmjax.cli", "train", f"--run-dir={folder}/run", *options]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(child.pid, 0)
            if status:
                sys.exit(f"{make.__doc__} The command failed.")
            seconds = time.perf_counter() - begin
            print(
                f"{make.__doc__} {seconds:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU, "
                f"{used.ru_maxrss / 2**20:.2f} GiB at the peak"
            )


if __name__ == "__main__":
    main()
