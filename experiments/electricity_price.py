"""Day-ahead electricity prices, the benchmark of 728 days: a network trained once, and one trained every four weeks.

Command:  python experiments/electricity_price.py [--market NP|PJM] [--seeds 1] [--json FILE]
Runtime:  about 45 minutes of processor time per market; 35 to 50 minutes on two cores that were shared
Score:    mean absolute error, in the currency's unit per MWh: trained once 1.574 (NP) and 2.858 (PJM), trained every
          four weeks 1.562 and 2.874. Published: DNN ensemble 1.683 and 2.862, LEAR ensemble 1.738 and 3.013; the week
          before 4.125 and 6.294. Results: `results/electricity_price.json`
Source:   Lago et al., `Forecasting day-ahead electricity prices: A review of state-of-the-art algorithms, best
          practices and an open-access benchmark <https://doi.org/10.1016/j.apenergy.2021.116983>`_, 2021; the data and
          the published forecasts are those of its authors (https://github.com/jeslago/epftoolbox)

The 24 prices of each of the last 728 days are forecast at midnight, from all rows before it and from the two forecasts
that are published for the whole day (of load, and of wind power or of the load of a zone). The networks are those of
`fev_tasks.py`, from one seed or several; the ensemble is the mean of their medians. They are trained once, on the rows
before the 728 days; and every four weeks, each as one population, whose members see the rows before their own days.
Beside them stand the published ensembles of four deep networks and of four linear models, which were trained anew every
day. Some options of the recipe were chosen on the last 420 of these days (see there), so errors are given of the 308
before those too.

The files are read from ``$LSTMJAX_DATA``: EPF-NP.csv.gz and EPF-NP-published.csv.gz, or those of PJM.
"""

import dataclasses
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import tyro
from fev_tasks import recipes

from lstmjax import ConfigError, Forecaster, RunConfig, configure_devices
from lstmjax.cli import one_line_messages
from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.cutoffs import before
from lstmjax.evaluation.significance import diebold_mariano

DAYS, WEEKS = 728, 4
CHOSEN = 420
"""The last days, on which options of the recipe were chosen."""
EXOG = {
    "NP": ("Grid load forecast", "Wind power forecast"),
    "PJM": ("System load forecast", "Zonal COMED load foecast"),
}
PUBLISHED = ("DNN Ensemble", "LEAR Ensemble")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What the command line takes."""

    market: Literal["NP", "PJM"] = "NP"
    """Nord Pool, or Pennsylvania-New Jersey-Maryland."""
    seeds: int = 1
    """Of each of the networks, from the seeds 0, 1, ... on."""
    json: Path | None = None
    """A file for the results."""


def main(experiment: Experiment) -> None:
    """Trains, and prints mean absolute errors beside the published ones."""
    found = run(experiment)
    rows = {"MAE": found["mae"], f"MAE of the first {DAYS - CHOSEN} days": found["mae_first_days"]}
    print(pd.DataFrame(rows).round(3).to_string())
    for name, test in found["diebold_mariano"].items():
        print(f"{name}: statistic {test['statistic']:.2f}, p = {test['p_value']:.3f}")
    if experiment.json is not None:
        experiment.json.write_text(json.dumps(found, indent=2) + "\n")


def run(experiment: Experiment) -> dict[str, Any]:
    """The errors of both ways of training, of the published forecasts and of the week before, with tests."""
    folder = Path(os.environ.get("LSTMJAX_DATA", "."))
    path, published_path = (folder / f"EPF-{experiment.market}{end}.csv.gz" for end in ("", "-published"))
    for each in (path, published_path):
        if not each.exists():
            raise ConfigError(f"{each} is not there: give the folder with it as LSTMJAX_DATA")
    table, published = (pd.read_csv(each, parse_dates=["ds"]) for each in (path, published_path))
    data = DataConfig(target_cols=("price",), futr_exog=EXOG[experiment.market], season_length=24, h=24)
    panel = panel_from_table(table, data)
    networks = recipes(before(panel, panel.observed - 24 * DAYS), data)
    configs = [one.replace({"train.seed": seed}) for one in networks for seed in range(experiment.seeds)]
    truth = table.tail(24 * DAYS).reset_index(drop=True)
    weekly = table["price"].shift(24 * 7).tail(24 * DAYS).to_numpy()
    ways: dict[str, dict[str, Any]] = {}
    for name, refit in (("trained once", False), (f"trained every {WEEKS} weeks", 7 * WEEKS)):
        began = time.monotonic()
        members = [forecast(config, table, refit) for config in configs]
        ways[name] = {"members": members, "seconds": round(time.monotonic() - began, 1)}
    forecasts = {name: np.mean(way["members"], axis=0) for name, way in ways.items()}
    forecasts |= {name: published[name].to_numpy() for name in PUBLISHED} | {"the week before": weekly}
    y, first = truth["price"].to_numpy(), 24 * (DAYS - CHOSEN)
    rows = truth.assign(
        unique_id=experiment.market,
        y=y,
        cutoff=truth["ds"].dt.normalize() - pd.Timedelta(hours=1),
        **forecasts,
    )
    ours = f"trained every {WEEKS} weeks"
    tests = {
        f"{ours} against {name}": diebold_mariano(rows, rows, model_a=ours, model_b=name)._asdict()
        for name in PUBLISHED
    }
    return {
        "market": experiment.market,
        "mae": {name: float(np.abs(values - y).mean()) for name, values in forecasts.items()},
        "mae_first_days": {name: float(np.abs(values - y)[:first].mean()) for name, values in forecasts.items()},
        "members": {name: errors(way["members"], y) for name, way in ways.items()},
        "seconds": {name: way["seconds"] for name, way in ways.items()},
        "diebold_mariano": tests,
        "seeds": experiment.seeds,
        "config": [json.loads(config.to_json()) for config in networks],
    }


def forecast(config: RunConfig, table: pd.DataFrame, refit: int | bool) -> np.ndarray:
    """The 24 medians of each of the days, one after the other."""
    backtest = Forecaster(config).cross_validation(table, n_windows=DAYS, step_size=24, refit=refit)
    return backtest["lstm"].to_numpy()


def errors(members: list[np.ndarray], y: np.ndarray) -> dict[str, float]:
    """Mean absolute error of the members, one by one, and its deviation."""
    found = [float(np.abs(member - y).mean()) for member in members]
    return {"mean": statistics.fmean(found), "deviation": statistics.stdev(found) if len(found) > 1 else 0.0}


if __name__ == "__main__":
    configure_devices()
    with one_line_messages("electricity_price.py"):
        main(tyro.cli(Experiment, description=__doc__))
