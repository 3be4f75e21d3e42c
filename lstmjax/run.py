"""A whole run: from a config to a trained forecaster, its evaluation, its forecast and its pictures on disk.

It is what ``lstmjax train`` does, and what the experiments do with configs of their own.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstmjax import plots
from lstmjax.config import RunConfig
from lstmjax.data.frames import truth
from lstmjax.data.future import require_future
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.data.windows import Windows, forecast_windows, test_windows
from lstmjax.errors import DataError
from lstmjax.evaluation.table import render_metrics
from lstmjax.forecaster import Forecaster
from lstmjax.run_directory import RunDirectory
from lstmjax.training.progress import ProgressDisplay

REFIT = "refit"
"""Folder, within a run's, of the forecaster that was trained again on all rows."""

_PICTURED = 3  # windows in a picture
_HISTORY = 2.0  # horizons of history before a forecast, in a picture


class Run(NamedTuple):
    """What a run came to."""

    directory: Path
    forecaster: Forecaster
    """The one that was evaluated."""
    panel: Panel
    """The data."""
    metrics: dict[str, Any]
    """What metrics.json holds."""


def train_run(
    config: RunConfig,
    directory: Path | str,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Run:
    """Trains, evaluates, forecasts, and leaves all of it in a run directory (see `run_directory`).

    Whatever is wrong with the options or the data shows before anything is written.

    Args:
        config: the options.
        directory: where to.
        overwrite: whether to replace a run that is there.
        say: where to tell how it goes, a line at a time.

    Returns:
        The run.

    Raises:
        ConfigError: an option does not fit.
        DataError: the data cannot be used.
        CheckpointError: the directory holds something already, or cannot be written.
    """
    RunDirectory.check_free(directory, overwrite=overwrite)
    config = dataclasses.replace(config, data=absolute_paths(with_dataset_settings(config.data)))
    forecaster = Forecaster(config)
    source = load_source(config.data)
    panel = source.panel(config.data)
    prepared = prepare(panel, config.data, with_test=True)
    resolved = dataclasses.replace(config, data=prepared.config)
    say(_sizes(prepared))
    run = RunDirectory.create(directory, resolved, data_digest=source.digest(), overwrite=overwrite)
    with ProgressDisplay() as display:

        def on_check(check: Any) -> None:
            run.append_check(check)
            display.on_check(check)

        forecaster.fit_prepared(prepared, on_check=on_check, on_chunk=display.on_chunk)
    metrics = conclude(run, forecaster, panel, prepared, say=say)
    say(f"run directory: {run.path}")
    return Run(run.path, forecaster, panel, metrics)


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
    forecaster.save(run.path, overwrite=True)
    metrics: dict[str, Any] = {}
    tested = test_windows(prepared.split, h=config.data.h)
    if len(tested.series):
        evaluation = forecaster.evaluate_panel(panel)
        run.write_test_forecasts(evaluation.table)
        metrics |= evaluation.metrics
        say(metrics_table(metrics, config.model.alias))
    metrics |= fitted.summary
    run.write_metrics(metrics)
    forecast = _write_forecast(run, forecaster, panel, say)
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


def absolute_paths(data: Any) -> Any:
    """Paths as they are from anywhere, for whoever reads the run's config later."""
    paths = {name: getattr(data, name) for name in ("path", "futr_path")}
    return dataclasses.replace(data, **{name: str(Path(p).resolve()) for name, p in paths.items() if p is not None})


def _sizes(prepared: Prepared) -> str:
    rows, series = len(prepared.panel.y), len(prepared.panel.ids)
    counts = {
        "training": len(prepared.train.series),
        "validation": len(prepared.validation.series),
        "test": len(test_windows(prepared.split, h=prepared.spec.h).series),
    }
    windows = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{rows} rows, {series} series, every {prepared.config.freq}; windows: {windows}"


def _write_forecast(run: RunDirectory, forecaster: Forecaster, panel: Panel, say: Callable[[str], None]) -> bool:
    """Forecasts beyond the last row. False where that needs future covariates that are not there."""
    config = forecaster.fitted.config
    try:
        require_future(panel, config.data.h)
    except DataError as error:
        say(f"no forecast beyond the last row is written: {error}")
        return False
    if config.train.refit_all:
        everything = dataclasses.replace(config.data, val_size=0, test_size=0, train_end=None, val_end=None)
        steps = forecaster.fitted.summary["best_step"]
        say(f"training again on all rows, for {steps} steps")
        forecaster = Forecaster(config, network=forecaster.network)
        forecaster.fit_prepared(prepare(panel, everything, with_test=False), until=steps)
        forecaster.save(run.path / REFIT, overwrite=True)
    run.write_forecast(forecaster.predict_panel(panel))
    return True


def _draw(run: RunDirectory, forecaster: Forecaster, panel: Panel, tested: Windows, forecast: bool) -> None:
    config, best_step = forecaster.fitted.config, forecaster.fitted.summary["best_step"]
    if run.checks():
        curve = plots.learning_curve(run.checks(), best_step=best_step, loss=f"{config.train.loss} (scaled units)")
        run.write_plot("learning_curve", curve)
    drawn = {}
    if len(tested.series):
        drawn["test_forecasts"] = _some(tested)
    if forecast:
        drawn["forecast"] = _some(forecast_windows(panel))
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
