"""A task of fev-bench's form on any file: quantile forecasts of every window, several seeds, one recipe for all tasks.

Command:  python experiments/fev_tasks.py --data FILE --target A [B ...] --h 24 --season 24 [--windows 20]
          [--futr-exog ...] [--hist-exog ...] [--time-col ds] [--id-col unique_id] [--freq F] [--seeds 3] [--refit K]
          [--json OUT]
Runtime:  three to seven minutes on two cores; the table in the README has each
Score:    see the table in the README. Results: `results/fev_tasks.json`
Source:   Shchur et al., `fev-bench: A Realistic Benchmark for Time Series Forecasting
          <https://arxiv.org/abs/2509.26468>`_, 2025 (protocol and measures)

The last windows of each series, counted from its own end, are forecast from the rows before them: quantiles 0.1, 0.2,
..., 0.9, the median as the point forecast. SQL and MASE are in units of the mean |y_t - y_{t-m}| of each window's whole
past; all measures are means over the targets, then plain means over the windows. A forecaster is trained before the
first window, or before every K-th (``--refit K``). Columns that are not named are ignored.

The recipe (`recipes`) was chosen on the 200 windows before the last 20 of both price tasks, and on the 200 before
those: SQL of Nord Pool and PJM, one seed, trained before these windows (some on a GPU).

                                                     the last 200        the 200 before
    a lookback of 7 days                             0.603  0.406        0.850  0.555
    of random length, up to 7 days (R)               0.597  0.406        0.789  0.536
    7 days in segments of 6 hours; R too             0.568  0.397        0.791  0.585
                                                     0.567  0.395        0.779  0.573
    7 days with a decoder; R too                     0.592  0.408        0.862  0.594
                                                     0.578  0.407        0.857  0.565
    4 days                                           0.599  0.402        0.837  0.548
    7 days, batches of 256                           0.669  0.453        0.955  0.600
    7 days, hidden size 32; 256                      0.599  0.421        0.819  0.570
                                                     0.647  0.405        0.864  0.572
    14 days, windows at every hour; in 2,000 steps   0.598  0.419        0.869  0.571
                                                     0.591  0.404        0.851  0.554
    mean of three: 7 days, decoder, every hour       0.558  0.394        0.797  0.551
    mean of four: R, 6 hours + R, decoder + R,
      every hour in 2,000 steps                      0.545  0.385        0.760  0.531

The other tasks, on windows before the last 20 (before the last), one network: with a horizon of a week random lookbacks
cost more than they gave (GEFCom2014-E: SQL 0.347, with them 0.376); monthly series want windows at every row (Tourism:
MASE 1.830 at one row per year, 1.744 at every) and units of what is read (M3, mean of three: 0.875, with them 0.869).
Rows held out for validation cost more than they gave (two seeds: 0.611 with 24 weeks, 0.608 without; 0.410, 0.406). The
batch of many series was chosen on the window before the last of M3 (MASE with 64, 128, 256 windows: 0.916, 0.904,
0.896).
"""

import contextlib
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from scipy.special import ndtri

from lstmjax import ConfigError, Forecaster, RunConfig, configure_devices
from lstmjax.cli import one_line_messages
from lstmjax.config import DataConfig
from lstmjax.data import Panel, Windows
from lstmjax.data.cutoffs import before, cutoff_rows, prepare_before, windows_at
from lstmjax.data.frames import truth
from lstmjax.data.frequency import DAY
from lstmjax.data.source import load_source
from lstmjax.evaluation.past_scales import past_scales
from lstmjax.evaluation.probabilistic import sql, wql
from lstmjax.forecaster.predict import forecast_values
from lstmjax.runs.description import as_json

LEVELS = tuple(round(0.1 * k, 1) for k in range(1, 10))
MEDIAN = LEVELS.index(0.5)


@dataclasses.dataclass(frozen=True)
class Task:
    """What the command line takes."""

    data: Path
    """A CSV (.gz too) or Parquet file, one row per series and time."""
    target: tuple[str, ...]
    """Columns to forecast."""
    h: int
    """Rows to forecast."""
    windows: int = 20
    """Windows per series, h rows apart, the last of which ends at its last row."""
    season: int = 24
    """Rows in one season."""
    futr_exog: tuple[str, ...] = ()
    """Covariates known ahead."""
    hist_exog: tuple[str, ...] = ()
    """Covariates known up to the cut-off."""
    time_col: str = "ds"
    """Column of the times."""
    id_col: str = "unique_id"
    """Column that tells series apart; a file without it is one series."""
    freq: str | None = None
    """Pandas alias of the frequency; inferred if not given."""
    seeds: int = 3
    """Forecasters, from the seeds 0, 1, ... on."""
    refit: int | None = None
    """Train anew before every so many windows. Default: once, before the first."""
    json: Path | None = None
    """A file for the results."""

    def __post_init__(self) -> None:
        for name in ("h", "windows", "season", "seeds", "refit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name} is {value}: expected at least 1")


def main(task: Task) -> None:
    """Runs a task, and prints the measures beside those of seasonal naive."""
    if task.json is not None:
        with writing(task.json):  # a path that cannot be written is said before the training
            new = not task.json.exists()
            task.json.open("a").close()
            if new:
                task.json.unlink()
    found = run(task)
    rows = {
        "mean of the seeds": {name: found[name] for name in MEASURES},
        "deviation": found["deviation"],
        "ensemble": found["ensemble"],
        "seasonal naive": found["seasonal_naive"],
    }
    print(pd.DataFrame(rows).T.round(4).to_string())
    print(f"{found['seconds']:.0f} s for {task.seeds} seeds")
    if task.json is not None:
        with writing(task.json):
            task.json.write_text(as_json(found))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says in one line that the results cannot be written."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"--json is {str(path)!r}: cannot be written ({error.strerror}): name a new file") from None


def run(task: Task) -> dict[str, Any]:
    """The scores of the seeds, of their mean quantiles and of seasonal naive."""
    began = time.monotonic()
    panel, windows, cutoff = windows_of(task)
    score = Scorer(panel, windows, cutoff, task)
    found, configs = members(task, panel, windows, cutoff)
    scores = [score(quantiles) for quantiles in found]
    spread = {name: statistics.stdev(one[name] for one in scores) if len(scores) > 1 else 0.0 for name in MEASURES}
    return {name: statistics.fmean(one[name] for one in scores) for name in MEASURES} | {
        "deviation": spread,
        "ensemble": score(np.mean(found, axis=0)),
        "seasonal_naive": score(seasonal_naive(panel, windows, task)),
        "seconds": round(time.monotonic() - began, 1),
        "seeds": task.seeds,
        "windows": int(cutoff.max()) + 1,
        "config": [json.loads(config.to_json()) for config in configs],
    }


def options(task: Task) -> DataConfig:
    """The task as options of a forecaster."""
    return DataConfig(
        path=str(task.data),
        target_cols=task.target,
        futr_exog=task.futr_exog,
        hist_exog=task.hist_exog,
        time_col=task.time_col,
        id_col=task.id_col,
        freq=task.freq,
        season_length=task.season,
        h=task.h,
    )


def windows_of(task: Task) -> tuple[Panel, Windows, np.ndarray]:
    """The data, the windows to forecast, and which of the task's windows, 0, 1, ..., each of them is."""
    panel = load_source(options(task)).panel(options(task))
    rows = cutoff_rows(panel, options(task), n_windows=task.windows, step_size=task.h)
    return panel, *windows_at(rows)


def members(task: Task, panel: Panel, windows: Windows, cutoff: np.ndarray) -> tuple[list[np.ndarray], list[RunConfig]]:
    """The quantiles (W, H, C, K) of each seed, the mean of those of the networks of `recipes`; and the last recipe."""
    series, origin = np.asarray(windows.series), np.asarray(windows.origin)
    found = [np.zeros((len(cutoff), task.h, len(task.target), len(LEVELS))) for _ in range(task.seeds)]
    every = task.refit or task.windows
    for first in range(0, int(cutoff.max()) + 1, every):
        at = (cutoff >= first) & (cutoff < first + every)
        rows = np.zeros(len(panel.ids), np.int64)
        rows[series[at][::-1]] = origin[at][::-1]  # of each series its first window
        seen = before(panel, rows)
        configs = recipes(seen, options(task))
        for config in configs:
            prepared = prepare_before(panel, rows, config.data)
            for seed, quantiles in enumerate(found):
                forecaster = Forecaster(config.replace({"train.seed": seed})).fit_prepared(prepared)
                fitted = forecaster.fitted
                values = forecast_values(
                    fitted, None, panel, Windows(series[at], origin[at]), fitted.selected, None, LEVELS
                )
                quantiles[at] += values[1] / len(configs)
    return found, configs


def recipes(panel: Panel, data: DataConfig) -> list[RunConfig]:
    """The options of each network for a task, from what is known of it before its windows.

    All are trained on all rows before the windows, for a number of steps that does not depend on the data, and their
    quantiles are averaged:

    1. one that reads a week (or three seasons), and sees only windows that begin where those of the task begin;
    2. where the horizon is shorter than that, the same in segments of a quarter of a season;
    3. the same as the first with a decoder, in units of the week;
    4. one that reads twice as much and sees windows that begin at every row, in twice as many steps.

    Where the horizon is shorter than what they read, the first three are trained on lookbacks of random lengths. Where
    a season is no day, the horizon no number of days, or days are few, there is no second, the first is in units of
    what it reads too, all see windows that begin at every row, and the last is trained in as many steps as the others.

    Args:
        panel: the rows before the windows.
        data: columns, horizon and season of the task.
    """
    h, season = data.h, data.season_length or 1
    frequency, rows = panel.schema.frequency, int(np.median(panel.observed[panel.observed > 0]))
    daily = not frequency.integer and frequency.base is None and frequency.step * season == DAY
    most = max(1, min(rows - h - FEW // 10, (rows - h) * 2 // 3))  # leaves windows to train on
    short = min(most, 7 * season if daily else 3 * season if season > 1 else 4 * h)
    aligned = daily and h % season == 0 and (panel.observed - short - h).clip(0).sum() // season >= FEW
    shared = {
        "data.val_size": 0,
        "data.input_size": short,
        "model.head": "quantile",
        "model.quantiles": LEVELS,
        "model.dropout": 0.2,
        "optimizer.name": "adamw",
        "train.batch_size": 256 if len(panel.ids) >= MANY else 64,
        "train.max_steps": 1000,
    }
    grid = {"data.origins": str(season)}
    unit = {"model.instance_norm": "mean", "model.instance_scale": "mad"}
    lags = tuple(lag for lag in dict.fromkeys((season, 7 * season if daily else season)) if lag <= short)
    decoder = unit | {"model.known_future": "decoder", "model.lags": lags}
    if not aligned:
        networks = [unit, decoder]
    elif h >= short:
        networks = [grid, grid | decoder]
    else:
        grid |= {"train.random_lookback": True}
        networks = [grid, grid | {"model.segment_size": max(1, season // 4)}, grid | decoder]
    every = {"data.input_size": min(most, 2 * short), "train.max_steps": 2000 if aligned else 1000}
    return [RunConfig(data=data).replace(shared | one) for one in (*networks, every)]


FEW = 100
"""Windows on the grid of seasons that are enough to train on."""
MANY = 100
"""Series from which on batches are larger."""


MEASURES = ("sql", "mase", "wql", "wape")


@dataclasses.dataclass(frozen=True)
class Scorer:
    """The measures of fev-bench."""

    panel: Panel
    windows: Windows
    cutoff: np.ndarray
    """Which of the task's windows each has."""
    task: Task

    def __call__(self, quantiles: np.ndarray) -> dict[str, float]:
        """SQL, MASE, WQL and WAPE of quantiles (W, H, C, K): plain means over the task's windows."""
        where = (self.panel.y, self.panel.offsets, np.asarray(self.windows.series), np.asarray(self.windows.origin))
        scale = past_scales(*where, season_length=self.task.season)
        y = truth(self.panel, self.windows, self.task.h)
        found = []
        for number in range(self.cutoff.max() + 1):
            at = self.cutoff == number
            # The pinball loss of the median alone is the absolute error.
            median = quantiles[at][..., MEDIAN : MEDIAN + 1]
            found.append(
                {
                    "sql": sql(y[at], quantiles[at], LEVELS, scale[at]),
                    "mase": sql(y[at], median, (0.5,), scale[at]),
                    "wql": wql(y[at], quantiles[at], LEVELS),
                    "wape": wql(y[at], median, (0.5,)),
                }
            )
        values = {name: [one[name] for one in found if not np.isnan(one[name])] for name in MEASURES}
        # NaN where no window has one: e.g. the past of all repeats itself, or is shorter than a season.
        return {name: statistics.fmean(given) if given else math.nan for name, given in values.items()}


def seasonal_naive(panel: Panel, windows: Windows, task: Task) -> np.ndarray:
    """Seasonal naive as fev-bench runs it: of the last 1,000 rows, filled forward, with normal quantiles."""
    found = np.full((len(np.asarray(windows.series)), task.h, len(task.target), len(LEVELS)), np.nan)
    steps = np.arange(task.h)
    for window, (series, origin) in enumerate(zip(np.asarray(windows.series), np.asarray(windows.origin), strict=True)):
        begin = panel.offsets[series]
        past = pd.DataFrame(panel.y[begin : begin + origin][-PAST:]).ffill().to_numpy()  # (n, C)
        m = task.season if len(past) > task.season else 1
        deviation = np.sqrt(np.nansum((past[m:] - past[:-m]) ** 2, axis=0) / max(1, len(past) - m))  # (C,)
        values = past[len(past) - m + steps % m]  # (H, C)
        wide = deviation * np.sqrt(1 + steps[:, None] // m)
        found[window] = values[..., None] + wide[..., None] * ndtri(LEVELS)
    return found


PAST = 1000
"""Rows that fev-bench gives to seasonal naive."""


if __name__ == "__main__":
    configure_devices()
    with one_line_messages("fev_tasks.py"):
        main(tyro.cli(Task, description=__doc__))
