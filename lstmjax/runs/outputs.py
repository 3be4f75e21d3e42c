"""What follows training: the evaluation, the forecast and the pictures of a run, all of which can be made again."""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lstmjax import parallel
from lstmjax.data.future import require_future
from lstmjax.data.host_panel import ScaledPanel
from lstmjax.data.origins import forecast_windows
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.windows import Windows
from lstmjax.errors import CheckpointError, DataError, one_line
from lstmjax.evaluation.render import render_intervals, render_metrics
from lstmjax.forecaster import Forecaster
from lstmjax.forecaster.checkpoints import CHECKPOINTS, LOG_FILE, Store, stored_start
from lstmjax.forecaster.fit import resolved_config, train_members
from lstmjax.forecaster.intervals import with_errors
from lstmjax.forecaster.network import network_for
from lstmjax.forecaster.predict import aligned, evaluate_unseen, forecast_future, forecast_values, wanted
from lstmjax.forecaster.saved import CONFIG_FILE, REFIT, save_errors, write_config
from lstmjax.runs.decoration import decoration
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.files import METRICS_BY
from lstmjax.runs.pictures import draw_forecasts, draw_intervals, draw_learning_curve, some_windows
from lstmjax.storage import checkpoint

_SIZES, _ENDS = ("val_size", "calibration_size", "test_size"), ("train_end", "val_end", "calibration_end")
"""Options that hold rows out."""


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What follows the training of one member."""

    forecaster: Forecaster
    """With refit weights where they are asked for."""
    metrics: dict[str, Any]
    """What metrics.json holds."""
    forecast: pd.DataFrame | None
    """What forecast.csv holds; None where covariates of the future are missing."""
    pictured: dict[str, tuple[Windows, Float[np.ndarray, "W H C"], Float[np.ndarray, "W H C K"]]]
    """The windows of each picture of forecasts, their forecasts, and the quantiles that are asked for."""


def write_outputs(
    run: RunDirectory,
    forecaster: Forecaster,
    prepared: Prepared,
    data_sha256: str,
    *,
    trained_here: bool = False,
    began: Path | None = None,
    say: Callable[[str], None] = print,
) -> Outputs:
    """Evaluates a trained forecaster, forecasts, draws, and leaves all of it and the forecaster in a run directory.

    Args:
        run: the directory, made already.
        forecaster: what was trained.
        prepared: the data as it was trained on.
        data_sha256: digest of the data.
        trained_here: whether the directory has the checkpoints of its training; else the forecaster is saved in it.
        began: the directory that keeps the weights which training was given to begin with, if it was; a refit begins
            with them too. Default: that of the run.
        say: where to report, one line at a time.

    Returns:
        What was written.
    """
    network, panel = forecaster.network, prepared.panel
    fitted = with_errors(forecaster.fitted, network, prepared)
    forecaster, config = Forecaster.of(fitted, network, forecaster.loss), fitted.config
    asked = wanted(fitted)
    if fitted.summary["failure"]:
        say(fitted.summary["failure"])
    kept = trained_here or checkpoint.steps(run.path / CHECKPOINTS) == [fitted.summary["steps"]]
    if not parallel.from_first(kept):
        forecaster.save(run.path, overwrite=True)
    else:
        save_errors(fitted, run.path)
    metrics: dict[str, Any] = {}
    tested = prepared.test
    if len(tested.series):
        evaluation = evaluate_unseen(fitted, network, panel, asked, prepared.arrays)
        run.write_test_forecasts(evaluation, config.outputs.format)
        by = {what: evaluation.by(what) for what in METRICS_BY}
        for what, table in by.items():
            run.write_metrics_by(what, table)
        draw_intervals(run, evaluation, by["horizon"])
        metrics |= evaluation.metrics
        with decoration("the table of metrics"):
            say(metrics_table(metrics, config.model.alias))
        if metrics.get("mixed_units"):
            say("the targets' units differ, and the errors of the largest weigh most: see metrics_by_target.csv")
    metrics |= fitted.summary
    run.write_metrics(metrics)
    scaled = prepared.arrays
    if config.train.refit_all:
        forecaster, scaled = _refit(run, began or run.path, forecaster, panel, data_sha256, say)
    elif run.writes:
        shutil.rmtree(run.path / REFIT, ignore_errors=True)  # of a run that is resumed without it
    future = _write_forecast(run, forecaster, panel, scaled, say)
    draw_learning_curve(run, {"": run.checks()}, fitted.summary["best_step"], fitted.own_loss or config.train.loss)
    pictured = {}
    for name, windows, trained, arrays in (
        ("test_forecasts", tested, fitted.selected, prepared.arrays),
        # A series that was never observed is forecast, but has no history to draw the forecast after.
        ("forecast", _observed(panel) if future is not None else None, forecaster.fitted.forecasting, scaled),
    ):
        if windows is not None and len(windows.series):
            some = some_windows(windows, config.outputs.plot_windows)
            of_panel = aligned(fitted, trained, panel)
            values, bounds = forecast_values(fitted, network, panel, some, of_panel, arrays, asked.probabilities)
            draw_forecasts(run, name, config, panel, some, [values], [bounds], asked)
            pictured[name] = some, values, bounds
    return Outputs(forecaster, metrics, future, pictured)


def _observed(panel: Panel) -> Windows:
    return Windows(*(column[panel.observed > 0] for column in forecast_windows(panel)))


def metrics_table(metrics: dict[str, Any], model: str, unit: str | None = None) -> str:
    """The metrics of a run as text: the model above the baselines, original units beside scaled ones.

    Below them, in a table of their own, those of the intervals, nominal beside measured coverage.

    Args:
        metrics: what metrics.json holds.
        model: name of the model.
        unit: unit of the series.
    """
    model = one_line(model, limit=40)
    original = {model: metrics["test"], **metrics["baselines"]}
    scaled = {model: metrics["test_scaled"], **metrics["baselines_scaled"]}
    intervals = render_intervals(original, unit=unit)
    return render_metrics(original, scaled, unit=unit) + (f"\n{intervals}" if intervals else "")


def _write_forecast(
    run: RunDirectory, forecaster: Forecaster, panel: Panel, scaled: ScaledPanel, say: Callable[[str], None]
) -> pd.DataFrame | None:
    """Forecasts beyond the last row. None where that needs future covariates that are missing."""
    try:
        require_future(panel, forecaster.fitted.config.data.h)
    except DataError as error:
        say(f"no forecast beyond the last row is written: {error}")
        return None
    fitted = forecaster.fitted
    table = forecast_future(fitted, forecaster.network, panel, wanted(fitted), scaled)
    run.write_forecast(table, fitted.config.outputs.format)
    return table


def _refit(
    run: RunDirectory, began: Path, evaluated: Forecaster, panel: Panel, data_sha256: str, say: Callable[[str], None]
) -> tuple[Forecaster, ScaledPanel]:
    """Trains again on all rows, from the same first weights, for the steps that were best; resumes a killed refit.

    Returns:
        The forecaster with its refit, and the panel as it was scaled for that.
    """
    fitted, network = evaluated.fitted, evaluated.network
    config, steps = fitted.config, fitted.summary["best_step"]
    say(f"training again on all rows, for {steps} steps")
    if config.optimizer.schedule == "plateau":  # no rows are left whose validation could lower the rate
        say(f"plateau: nothing is validated now, the learning rate stays {config.optimizer.learning_rate:g}")
        config = config.replace({"optimizer.schedule": "constant"})
    sizes, ends = dict.fromkeys(_SIZES, 0), dict.fromkeys(_ENDS)
    everything = dataclasses.replace(config.data, **sizes, **ends)  # type: ignore[arg-type]
    categories = fitted.selected.scaling.categories
    prepared = prepare(panel, everything, with_test=False, categories=categories, feed=config.train.feed)
    config = resolved_config(config, prepared, network)
    folder = run.path / REFIT
    with parallel.together():  # all have read before the first process writes
        start = stored_start(began, network_for(network, config, prepared.spec))
        found = checkpoint.load(folder / CHECKPOINTS, upto=steps) if checkpoint.steps(folder / CHECKPOINTS) else None
    if run.writes:
        folder.mkdir(exist_ok=True)
        (folder / CONFIG_FILE).unlink(missing_ok=True)  # which says that a refit is whole
    store = Store(folder, data_sha256, found, (folder / LOG_FILE,))
    asked: dict[str, Any] = {"until": steps, "start": start, "store": store, "loss": evaluated.loss}
    (again,) = train_members(config, network, prepared, [config.train.seed], **asked)
    if run.writes:
        write_config(folder, again.config)
    return Forecaster.of(fitted.replace(refit=again.selected), network, evaluated.loss), prepared.arrays


@contextlib.contextmanager
def outputs_written(directory: Path) -> Iterator[None]:
    """Turns a full disk, or one that may not be written, into one line; the state of training is safe.

    Args:
        directory: the run's.

    Raises:
        CheckpointError: instead of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{directory}: the outputs cannot be written ({error.strerror or error}): make room, and resume the run"
        ) from None
