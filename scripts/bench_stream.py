"""What a stream costs: an update of its state against encoding the lookback anew, one series, a hundred thousand.

Command:  python scripts/bench_stream.py [--series 1000] [--lookback 336] [--many 100000] [--json FILE]
Runtime:  about two minutes on two cores; 2 GB of memory
Expected: a stateful update of 1,000 series at most 1/20 of encoding their lookbacks; one row with a forecast under 5 ms
          at the median, 15 ms at the 99th percentile; 100,000 series in under 2 s and 2 GB

The two of the first ratio take turns in one process, ten updates and one encoding; the median over turns is shown. The
first updates after an encoding take twice as long as the others, since it has filled the caches. Updates are whole
calls of `Stream.update`, the reading of a table included. The last part runs in a process of its own, whose peak
memory is shown.
"""

import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro

from lstmjax import Forecaster, RunConfig, configure_devices
from lstmjax.data.table import DataWarning

IN_A_ROW = 10
"""Updates that are timed together."""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What the command line takes."""

    series: int = 1000
    """Of the first ratio."""
    lookback: int = 336
    """Rows that a window has, and a stateful stream need not read again."""
    hidden_size: int = 128
    """Of the network: the default of a run."""
    turns: int = 15
    """Calls of each that are timed."""
    rows: int = 1000
    """Rows of the single series."""
    many: int = 100_000
    """Series of the last part."""
    only_many: bool = False
    """Run the last part only, in this process."""
    json: Path | None = None
    """A file for the results."""


def main(benchmark: Benchmark) -> None:
    """Runs all parts, and prints what was found."""
    warnings.simplefilter("ignore", DataWarning)
    if benchmark.only_many:
        print(json.dumps(many(benchmark)))
        return
    found = several(benchmark) | single(benchmark)
    again = [
        sys.executable,
        __file__,
        "--only-many",
        "--many",
        str(benchmark.many),
        "--lookback",
        str(benchmark.lookback),
    ]
    found |= json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    for name, value in found.items():
        print(f"{name:<60} {value:.4g}")
    if benchmark.json is not None:
        benchmark.json.write_text(json.dumps(found, indent=2) + "\n")


def forecaster_of(benchmark: Benchmark, **options: Any) -> Forecaster:
    """A forecaster of one step of training: what it forecasts does not matter here."""
    config = RunConfig().replace(
        {
            "data.h": 24,
            "data.input_size": benchmark.lookback,
            "data.val_size": 48,
            "model.name": "direct",
            "model.hidden_size": benchmark.hidden_size,
            "model.instance_norm": "none",
            "model.instance_scale": "none",
            "outputs.calibration": "conformal",
            "train.max_steps": 1,
            **options,
        }
    )
    return Forecaster(config).fit(table(range(1), benchmark.lookback + 200))


def table(series: range, rows: int, first: int = 0) -> pd.DataFrame:
    """Rows of some series, hour by hour: for each hour all series."""
    hours, names = np.repeat(np.arange(first, first + rows), len(series)), np.tile(np.asarray(series), rows)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, "h")
    return pd.DataFrame({"unique_id": names, "ds": times, "y": np.sin(hours / 4 + names) + names % 7})


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def several(benchmark: Benchmark) -> dict[str, float]:
    """A stateful update of many series, against encoding their lookbacks."""
    forecaster, names = forecaster_of(benchmark), range(benchmark.series)
    begun = table(names, benchmark.lookback)
    stateful, window = (forecaster.stream(begun, mode=mode) for mode in ("stateful", "window"))
    every = np.arange(benchmark.series)

    def encode() -> None:
        window._programs.forecast(window._maker.cut(window.state, every, benchmark.lookback, 24))

    seconds: dict[str, list[float]] = {"update": [], "encode": []}
    for turn in range(benchmark.turns + 2):
        first = benchmark.lookback + IN_A_ROW * turn
        hours = [table(names, 1, hour) for hour in range(first, first + IN_A_ROW)]
        each = [timed(lambda: stateful.update(rows)) for rows in hours]  # noqa: B023
        seconds["update"].append(statistics.mean(each))
        seconds["encode"].append(timed(encode))
    update, encoded = (statistics.median(values[2:]) for values in seconds.values())
    return {
        f"update of {benchmark.series} series, stateful, ms": 1000 * update,
        f"encoding {benchmark.series} lookbacks of {benchmark.lookback} rows, ms": 1000 * encoded,
        "encoding / update": encoded / update,
    }


def single(benchmark: Benchmark) -> dict[str, float]:
    """One row of one series, and a forecast with an interval after it: rows as dicts, and as tables."""
    found = {}
    for mode in ("window", "stateful"):
        forecaster = forecaster_of(benchmark)
        rows = table(range(1), benchmark.rows + 20, benchmark.lookback + 200)
        texts = rows.assign(ds=rows["ds"].astype(str)).to_dict("records")
        for kind in ("dict", "table"):
            stream, seconds = forecaster.stream(mode=mode), []
            for place, row in enumerate(texts):
                given = row if kind == "dict" else rows.iloc[[place]]
                if kind == "dict":
                    taken = timed(lambda: stream.update(given).forecast_arrays(np.zeros(1, int), (80.0,)))  # noqa: B023
                else:
                    taken = timed(lambda: stream.update(given).forecast([80]))  # noqa: B023
                seconds.append(taken)
            median, high = (1000 * np.quantile(seconds[20:], q) for q in (0.5, 0.99))
            found[f"one row with a forecast, {mode}, {kind}, median ms"] = median
            found[f"one row with a forecast, {mode}, {kind}, 99th percentile ms"] = high
    return found


def many(benchmark: Benchmark) -> dict[str, float]:
    """One update of a hundred thousand new series, stateful; and the peak memory of the process."""
    forecaster, names = forecaster_of(benchmark), range(benchmark.many)
    stream = forecaster.stream(table(names, 2), mode="stateful")
    stream.update(table(names, 1, 2))
    rows = table(names, 1, 3)
    seconds = timed(lambda: stream.update(rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return {f"update of {benchmark.many} series, stateful, s": seconds, "peak memory, GB": peak}


if __name__ == "__main__":
    configure_devices()
    main(tyro.cli(Benchmark, description=__doc__))
