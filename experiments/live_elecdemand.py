"""A forecaster on live data: November of Victoria's electricity demand, half-hour by half-hour, with a level shift.

Command:  python experiments/live_elecdemand.py [--shift 1.0] [--out live.png] [--json FILE] [any option of RunConfig]
Runtime:  two minutes on two cores
Score:    means over the three places of the shift: adaptive 90% intervals hold 88.0% (82 to 95% by week), split
          conformal ones 78.0% (72 to 85%; 60 to 75% in the week of the shift); the alarm rings 11.5 to 17.5 hours
          after the shift, and never before it or without one. Results: `results/live_elecdemand.json` (one seed)
Source:   fpp2::elecdemand, 17,520 half-hours of 2014 (Hyndman & Athanasopoulos, Forecasting: Principles and Practice)

The forecaster is trained on January to October; the last four weeks of them decide when training stops, and are the
held-out rows by whose errors intervals and the alarm begin. Then November comes row by row: after each the next day is
forecast, and scored as its truth comes. This is done as it was, and three times with a level shift: from the 8th, the
15th or the 22nd on, demand is higher by ``--shift`` gigawatts. Split conformal intervals stay as wide as the held-out
rows say; the adaptive ones follow the errors. A coverage is that of the targets of a week.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import pandas as pd
import tyro

from lstmjax import Forecaster, RunConfig, configure_devices
from lstmjax.cli import check_typed, one_line_messages
from lstmjax.data.source import load_source, with_dataset_settings

DAY = 48
LEVEL = 90.0
BEGIN, END = pd.Timestamp("2014-11-01"), pd.Timestamp("2014-12-01")
SHIFTS = tuple(map(pd.Timestamp, ("2014-11-08", "2014-11-15", "2014-11-22")))
WEEK = pd.Timedelta(days=7)

CONFIG = RunConfig().replace(
    {
        "data.dataset": "elecdemand",
        "data.h": DAY,
        "data.input_size": 7 * DAY,
        "data.futr_exog": ("workday",),
        "data.hist_exog": ("temperature",),
        "data.val_size": 28 * DAY,
        "data.test_size": 0,
        "outputs.calibration": "conformal",
        "train.max_steps": 1000,
    }
)
FIXED = dict.fromkeys(("data.val_size", "data.test_size", "outputs.calibration"), "see the file")
"""Options that the script sets, and what to do instead."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What the command line takes."""

    options: Annotated[RunConfig, tyro.conf.arg(name="")] = CONFIG
    shift: float = 1.0
    """Gigawatts by which demand is higher from the day of the shift on."""
    out: Path | None = None
    """A picture of rolling error and coverage."""
    json: Path | None = None
    """A file for the results."""


def main(experiment: Experiment) -> None:
    """Trains the forecaster, replays November four times, and prints coverages, errors and when the alarm rang."""
    check_typed(sys.argv[1:], inert=experiment.options.inert(), fixed=FIXED)
    data = with_dataset_settings(experiment.options.data)
    config = dataclasses.replace(experiment.options, data=dataclasses.replace(data, test_size=0))
    table = load_source(data).table
    times = pd.to_datetime(table[data.time_col])
    forecaster = Forecaster(config).fit(table[times < BEGIN])
    replays = {"as it was": replay(forecaster, table, None, 0.0)}
    replays |= {f"{day:%d %B}": replay(forecaster, table, day, experiment.shift) for day in SHIFTS}
    shown = pd.DataFrame({name: found["said"] for name, found in replays.items()})
    shown["mean of three"] = shown.iloc[:, 1:].mean(axis=1)
    print(f"\nA shift by {experiment.shift:g} GW, from:\n\n{shown.round(3).to_string()}\n")
    if experiment.json is not None:
        said = {name: {key: _plain(value) for key, value in column.items()} for name, column in shown.to_dict().items()}
        experiment.json.write_text(json.dumps(said, indent=2) + "\n")
    if experiment.out is not None:
        picture(replays, experiment.out)


def replay(forecaster: Forecaster, table: pd.DataFrame, day: pd.Timestamp | None, shift: float) -> dict[str, Any]:
    """Streams November, and scores each forecast at each of its rows.

    Args:
        forecaster: trained on what came before.
        table: all rows.
        day: of the shift; None for none.
        shift: how much higher demand is from then on.
    """
    data = forecaster.fitted.config.data
    times = pd.to_datetime(table[data.time_col])
    (target,) = data.target_cols
    if day is not None:
        table = table.assign(**{target: table[target] + shift * (times >= day)})
    h, november = data.h, table[(times >= BEGIN) & (times < END)]
    rows = november.assign(**{data.time_col: november[data.time_col].astype(str)}).to_dict("records")
    stream, one = forecaster.stream(), np.zeros(1, np.int64)
    # The calendar is known a day ahead; the last day's rows are known from the rows after November.
    ahead = table[(times >= BEGIN) & (times < END + pd.Timedelta(hours=h / 2))]
    unknown = dict.fromkeys((target, *data.hist_exog), np.nan)
    ahead = ahead.assign(**unknown, **{data.time_col: ahead[data.time_col].astype(str)}).to_dict("records")
    for row in ahead[:h]:
        stream.update(row)
    point, lower, upper, alarm = [], [], [], []
    for place in range(-1, len(rows)):
        if place >= 0:
            stream.update(rows[place])
            stream.update(ahead[place + h])
            alarm.append(stream.rings(0))
        forecast, low, high = stream.forecast_arrays(one, (LEVEL,))
        for held, values in ((point, forecast), (lower, low[:, 0]), (upper, high[:, 0])):
            held.append(values[0, :, 0])
    return scored(november[target].to_numpy(), *map(np.array, (point, lower, upper, alarm)), day)


def scored(
    y: np.ndarray, point: np.ndarray, lower: np.ndarray, upper: np.ndarray, alarm: np.ndarray, day: pd.Timestamp | None
) -> dict[str, Any]:
    """Coverage by week, error, and the hours until the alarm; forecasts are (rows + 1, h), in the order of time."""
    h = point.shape[1]
    target = np.arange(len(point))[:, None] + np.arange(h)  # the row that is forecast
    known = target < len(y)
    truth = np.where(known, y[np.minimum(target, len(y) - 1)], np.nan)
    half = (upper[0] - lower[0]) / 2  # as the held-out rows say
    inside = {"adaptive": (lower <= truth) & (truth <= upper), "split": abs(truth - point) <= half}
    week = np.minimum(target // (7 * DAY), 3)
    said: dict[str, float] = {"mae": float(np.nanmean(abs(truth - point)))}
    for name, hits in inside.items():
        said[f"{name}, November"] = float(hits[known].mean())
        for number in range(4):
            said[f"{name}, week {number + 1}"] = float(hits[known & (week == number)].mean())
    rung = np.flatnonzero(alarm)
    shifted = len(y) if day is None else int((day - BEGIN) / pd.Timedelta(minutes=30))
    after = rung[rung >= shifted]
    said["false alarms, hours"] = float((rung < shifted).sum() / 2)
    said["alarm after hours"] = float((after[0] - shifted) / 2) if len(after) else np.nan
    errors = np.where(known, abs(truth - point), np.nan)
    by_row = {name: _by_row(hits, target, known, len(y)) for name, hits in inside.items()}
    return {"said": said, "error": _by_row(errors, target, known, len(y)), "inside": by_row, "alarm": alarm}


def _by_row(values: np.ndarray, target: np.ndarray, known: np.ndarray, rows: int) -> np.ndarray:
    """The mean over all forecasts of each row."""
    total = np.bincount(target[known], values[known].astype(float), minlength=rows)
    return total / np.bincount(target[known], minlength=rows)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def picture(replays: dict[str, dict[str, Any]], path: Path) -> None:
    """Draws the error and the coverage of the last day, row by row."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(replays), figsize=(4 * len(replays), 5), sharex=True, sharey="row")
    for column, (name, found) in zip(axes.T, replays.items(), strict=True):
        days = 1 + np.arange(len(found["error"])) / DAY
        column[0].plot(days, pd.Series(found["error"]).rolling(DAY).mean(), color="tab:red")
        column[0].set_title(name if name == "as it was" else f"shift on {name}", fontsize=10)
        for kind, hits in found["inside"].items():
            column[1].plot(days, pd.Series(hits).rolling(DAY).mean(), label=kind)
        column[1].axhline(LEVEL / 100, color="gray", linewidth=0.8)
        for axis in column:
            axis.fill_between(
                days, 0, 1, where=found["alarm"], alpha=0.15, color="tab:orange", transform=axis.get_xaxis_transform()
            )
        column[1].set_xlabel("day of November")
    axes[0, 0].set_ylabel("mean absolute error, GW")
    axes[1, 0].set_ylabel("coverage of 90% intervals")
    axes[1, 0].legend(fontsize=8)
    figure.suptitle("The last day's forecasts; shaded: the alarm rings", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    configure_devices()
    with one_line_messages("live_elecdemand.py"):
        main(tyro.cli(Experiment, description=__doc__))
