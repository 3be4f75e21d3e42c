"""What follows training: the evaluation, the forecast and the pictures of a run, all of which can be made again."""

import dataclasses
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from lstmjax.storage import checkpoint
from lstmjax.evaluation import plots
from lstmjax.data.frames import truth
from lstmjax.data.future import require_future
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.origins import forecast_windows, test_windows
from lstmjax.data.windows import Windows
from lstmjax.errors import DataError
from lstmjax.evaluation.table import render_metrics
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.resume import write_config
from lstmjax.runs.directory import RunDirectory
from lstmjax.forecaster.checkpoint import stored_start
from lstmjax.forecaster.fit import CHECKPOINTS, Keeping, network_for

REFIT = "refit"
"""Folder, within a run's, of the forecaster that was trained again on all rows; it has a config once it is whole."""

_PICTURED = 3  # windows in a picture
_HISTORY = 2.0  # horizons of history before a forecast, in a picture


def conclude(
    run: RunDirectory, forecaster: Forecaster, panel: Panel, prepared: Prepared, *, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Evaluates a trained forecaster, forecasts, draws, and leaves all of it and the forecaster in a run directory.

    Args:
        run: the directory, made already.
        forecaster: what was trained.
        panel: the data.
        prepared: the data as it was trained on.
        say: where to tell how it goes, a line at a time.

    Returns:
        What metrics.json holds.
    """
    config, fitted = forecaster.config, forecaster.fitted
    if fitted.summary["failure"]:
        say(fitted.summary["failure"])
    if not checkpoint.steps(run.path / CHECKPOINTS):
        forecaster.save(run.path)
    metrics: dict[str, Any] = {}
    tested = test_windows(prepared.split, h=config.data.h)
    if len(tested.series):
        evaluation = forecaster.evaluate_panel(panel)
        run.write_test_forecasts(evaluation.table)
        metrics |= evaluation.metrics
        say(metrics_table(metrics, config.model.alias))
    metrics |= fitted.summary
    run.write_metrics(metrics)
    if config.train.refit_all:
        last = _refit(run, forecaster, panel, say)
    else:
        last = forecaster
        shutil.rmtree(run.path / REFIT, ignore_errors=True)  # of a run that goes on without it
    forecast = _write_forecast(run, last, panel, say)
    _draw(run, forecaster, panel, tested, forecast)
    return metrics


def metrics_table(metrics: dict[str, Any], model: str, unit: str | None = None) -> str:
    """The metrics of a run as text: the model above the baselines, original units beside scaled ones.

    Args:
        metrics: what metrics.json holds.
        model: name of the model.
        unit: unit of the series.
    """
    return render_metrics(
        {model: metrics["test"], **metrics["baselines"]},
        {model: metrics["test_scaled"], **metrics["baselines_scaled"]},
        unit=unit,
    )


def _write_forecast(run: RunDirectory, forecaster: Forecaster, panel: Panel, say: Callable[[str], None]) -> bool:
    """Forecasts beyond the last row. False where that needs future covariates that are not there."""
    try:
        require_future(panel, forecaster.fitted.config.data.h)
    except DataError as error:
        say(f"no forecast beyond the last row is written: {error}")
        return False
    run.write_forecast(forecaster.predict_panel(panel))
    return True


def _refit(run: RunDirectory, evaluated: Forecaster, panel: Panel, say: Callable[[str], None]) -> Forecaster:
    """The forecaster trained again, on all rows, from the same weights; goes on with what a killed run left of that."""
    config, steps = evaluated.fitted.config, evaluated.fitted.summary["best_step"]
    say(f"training again on all rows, for {steps} steps")
    if config.optimizer.schedule == "plateau":  # no rows are left whose validation could lower the rate
        say(f"plateau: nothing is validated now, the learning rate stays {config.optimizer.learning_rate:g}")
        config = config.replace({"optimizer.schedule": "constant"})
    everything = dataclasses.replace(config.data, val_size=0, test_size=0, train_end=None, val_end=None)
    prepared = prepare(panel, everything, with_test=False)
    forecaster = Forecaster(config, network=evaluated.network)
    start = stored_start(run.path, network_for(evaluated.network, config, prepared.spec))
    folder = run.path / REFIT
    folder.mkdir(exist_ok=True)
    found = checkpoint.load(folder / CHECKPOINTS, upto=steps) if checkpoint.steps(folder / CHECKPOINTS) else None
    forecaster.fit_prepared(prepared, until=steps, start=start, keeping=Keeping(folder, found))
    write_config(folder, forecaster.fitted.config)  # says that it is whole
    return forecaster


def _draw(run: RunDirectory, forecaster: Forecaster, panel: Panel, tested: Windows, forecast: bool) -> None:
    config, best_step = forecaster.fitted.config, forecaster.fitted.summary["best_step"]
    if run.checks():
        curve = plots.learning_curve(run.checks(), best_step=best_step, loss=config.train.loss)
        run.write_plot("learning_curve", curve)
    drawn = {}
    if len(tested.series):
        drawn["test_forecasts"] = _some(tested)
    if forecast:
        # A series that was never observed is forecast, but has no history to draw the forecast after.
        drawn["forecast"] = _some(Windows(*(column[panel.observed > 0] for column in forecast_windows(panel))))
    for name, windows in drawn.items():
        pictured = windows_to_draw(forecaster, panel, windows)
        run.write_plot(name, plots.forecasts(pictured, model=config.model.alias, value=panel.schema.channels[0]))


def _some(windows: Windows) -> Windows:
    """A few of many windows, from the first to the last."""
    chosen = np.unique(np.linspace(0, len(windows.series) - 1, _PICTURED).astype(int))
    return Windows(np.asarray(windows.series)[chosen], np.asarray(windows.origin)[chosen])


def windows_to_draw(forecaster: Forecaster, panel: Panel, windows: Windows) -> list[plots.ForecastWindow]:
    """Forecasts of the first target with the truth and the history before them, for `plots`.

    Args:
        forecaster: a trained one.
        panel: the data.
        windows: which windows.
    """
    data = forecaster.fitted.config.data
    values, y = forecaster.forecast_windows(panel, windows), truth(panel, windows, data.h)
    drawn = []
    for number, (series, origin) in enumerate(zip(windows.series.tolist(), windows.origin.tolist(), strict=True)):
        past = np.arange(max(0, origin - round(_HISTORY * data.h)), origin)
        ahead = np.arange(origin, origin + data.h)
        known = not np.isnan(y[number, :, 0]).all()
        drawn.append(
            plots.ForecastWindow(
                history_time=panel.timestamps(np.full(len(past), series), past),
                history=panel.y[panel.offsets[series] + past, 0],
                time=panel.timestamps(np.full(data.h, series), ahead),
                forecast=values[number, :, 0],
                truth=y[number, :, 0] if known else None,
                title=str(panel.ids[series]),
            )
        )
    return drawn
