"""The pictures of a run: its learning curve, some test windows, and the forecast beyond the last row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from lstmjax.config import RunConfig
from lstmjax.data.frames import truth
from lstmjax.data.panel import Panel
from lstmjax.data.windows import Windows
from lstmjax.evaluation import interval_plots, plots
from lstmjax.evaluation.baselines import BASELINES
from lstmjax.evaluation.intervals import NOTHING, Asked
from lstmjax.evaluation.windows import Evaluation
from lstmjax.runs.decoration import decoration
from lstmjax.runs.directory import RunDirectory

_HISTORY = 2.0  # horizons of history before a forecast


def some_windows(windows: Windows, count: int) -> Windows:
    """A few of many windows, from the first to the last."""
    chosen = np.unique(np.linspace(0, len(windows.series) - 1, count).astype(int))
    return Windows(np.asarray(windows.series)[chosen], np.asarray(windows.origin)[chosen])


def draw_learning_curve(
    run: RunDirectory, members: Mapping[str, Sequence[Mapping[str, Any]]], best: int, loss: str
) -> None:
    """Draws the losses of a run, or those of several seeds in one picture.

    Args:
        run: where to leave the picture.
        members: the validation checks of each.
        best: the step whose weights were kept, where it is one member.
        loss: name of the loss.
    """
    if not run.writes:
        return
    known = {name: checks for name, checks in members.items() if checks}
    with decoration("the picture learning_curve.png"):
        if len(members) > 1 and known:
            run.write_plot("learning_curve", plots.learning_curves(known, loss=loss))
        elif known:
            (checks,) = known.values()
            run.write_plot("learning_curve", plots.learning_curve(checks, best_step=best, loss=loss))


def draw_forecasts(
    run: RunDirectory,
    name: str,
    config: RunConfig,
    panel: Panel,
    windows: Windows,
    members: Sequence[Float[np.ndarray, "W H C"]],
    bounds: Sequence[Float[np.ndarray, "W H C K"]] = (),
    asked: Asked = NOTHING,
) -> None:
    """Draws forecasts, their mean where there are several, with their intervals and the baselines.

    Args:
        run: where to leave the picture.
        name: of the picture.
        config: the options, resolved.
        panel: the data.
        windows: W windows.
        members: the forecasts of each member, in the table's units.
        bounds: the quantiles of each member at ``asked.probabilities``.
        asked: the intervals.
    """
    if not run.writes:
        return
    with decoration(f"the picture {name}.png"):
        h, season = config.data.h, config.data.season_length or 1
        series, origin = np.asarray(windows.series), np.asarray(windows.origin)
        baselines = {
            name: baseline(panel.y, panel.offsets, series, origin, h=h, season_length=season)
            for name, baseline in BASELINES.items()
        }
        quantiles = np.mean(bounds, axis=0) if asked else None
        drawn = windows_to_draw(panel, windows, np.mean(members, axis=0), baselines, members, quantiles, asked)
        if drawn:
            run.write_plot(name, plots.forecasts(drawn, model=config.model.alias))


def draw_intervals(run: RunDirectory, evaluation: Evaluation, by_horizon: pd.DataFrame) -> None:
    """Draws how good the intervals are; of a run that has none, deletes the pictures that an earlier one left.

    Args:
        run: where to leave the pictures.
        evaluation: on the test rows.
        by_horizon: its metrics by the step ahead.
    """
    if not run.writes:
        return
    asked = evaluation.asked
    draw: dict[str, Callable[[], Figure]] = {
        "calibration": lambda: interval_plots.calibration(evaluation.frequencies(), asked.probabilities),
        "by_horizon": lambda: interval_plots.by_horizon(by_horizon, asked),
    }
    for name, figure in draw.items():
        with decoration(f"the picture {name}.png"):
            if asked:
                run.write_plot(name, figure())
            else:
                run.remove_plot(name)


def windows_to_draw(
    panel: Panel,
    windows: Windows,
    values: Float[np.ndarray, "W H C"],
    baselines: Mapping[str, Float[np.ndarray, "W H C"]] = {},
    members: Sequence[Float[np.ndarray, "W H C"]] = (),
    quantiles: Float[np.ndarray, "W H C K"] | None = None,
    asked: Asked = NOTHING,
) -> list[plots.ForecastWindow]:
    """Forecasts with the truth and the history before them, for `plots`: one per window and target.

    Args:
        panel: the data.
        windows: W windows.
        values: their forecasts, in the table's units.
        baselines: other forecasts by name.
        members: the forecasts whose mean ``values`` is; drawn where there are several.
        quantiles: at ``asked.probabilities``, in the table's units.
        asked: the intervals, which are drawn as bands.
    """
    at = {probability: number for number, probability in enumerate(asked.probabilities)}
    h, channels = values.shape[1:]
    y = truth(panel, windows, h)
    drawn = []
    for number, (series, origin) in enumerate(zip(windows.series.tolist(), windows.origin.tolist(), strict=True)):
        past = np.arange(max(0, origin - round(_HISTORY * h)), origin)
        ahead = np.arange(origin, origin + h)
        for channel in range(channels):
            known = not np.isnan(y[number, :, channel]).all()
            drawn.append(
                plots.ForecastWindow(
                    history_time=panel.timestamps(np.full(len(past), series), past),
                    history=panel.y[panel.offsets[series] + past, channel],
                    time=panel.timestamps(np.full(h, series), ahead),
                    forecast=values[number, :, channel],
                    truth=y[number, :, channel] if known else None,
                    baselines={name: other[number, :, channel] for name, other in baselines.items()},
                    title=str(panel.ids[series]),
                    value=str(panel.schema.channels[channel]),
                    members=np.stack([m[number, :, channel] for m in members]) if len(members) > 1 else None,
                    bands={}
                    if quantiles is None
                    else {
                        level: (quantiles[number, :, channel, at[low]], quantiles[number, :, channel, at[high]])
                        for level, (low, high) in asked.bands.items()
                    },
                )
            )
    return drawn
