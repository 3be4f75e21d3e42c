"""Backtests: models trained on the rows before rolling cutoffs, and their forecasts of what came after.

The models of the cutoffs, the refits, are members of one population: they share a compiled program, and each has
windows and statistics of its own. No model, nor anything that it is trained with, depends on a row after its cutoff.
"""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from lstmjax.config import BacktestConfig, RunConfig
from lstmjax.data.cutoffs import before, windows_at
from lstmjax.data.host_panel import ScaledPanel, scaled_panel
from lstmjax.data.panel import Panel
from lstmjax.data.scaling_fit import align
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, ConfigWarning, TrainingWarning
from lstmjax.evaluation.baselines import BASELINES, OwnBaseline
from lstmjax.evaluation.intervals import Asked
from lstmjax.evaluation.windows import Evaluation, evaluate
from lstmjax.forecaster.backtest_plan import Plan, Refit, make_plan
from lstmjax.forecaster.checkpoints import Store, training_summary
from lstmjax.forecaster.fit import train_stored
from lstmjax.forecaster.fitted import Fitted, Trained
from lstmjax.forecaster.intervals import with_errors
from lstmjax.forecaster.network import UserNetwork, network_name
from lstmjax.forecaster.own_loss import own_loss_name
from lstmjax.forecaster.predict import forecast_values, wanted
from lstmjax.training import Callback, Weights
from lstmjax.training.losses import OwnLoss


def train_refits(
    plan: Plan,
    network: UserNetwork | None,
    loss: OwnLoss | None,
    *,
    store: Callable[[Sequence[Refit]], Store | None] = lambda population: None,
    callbacks: Sequence[Callback] = (),
) -> list[Fitted]:
    """Trains all models of a backtest.

    Args:
        plan: from `lstmjax.forecaster.backtest_plan.make_plan`.
        network: as there.
        loss: as there.
        store: where a population is kept, and what it continues from. Default: nothing is kept.
        callbacks: called as training goes, for each population.

    Returns:
        The models, in order of time.

    Raises:
        As `lstmjax.forecaster.fit.train_members`.

    Warns:
        TrainingWarning: the training of a model failed.
    """
    fitted: dict[int, Fitted] = {}
    start: Weights | None = None
    for population in plan.populations:
        first = population[0]
        seeds = [first.config.train.seed] * len(population)
        contents = _untrained(first, network, loss).to_arrays(weights=False)
        asked: dict[str, Any] = {"start": start, "store": store(population), "callbacks": callbacks}
        data = [refit.data for refit in population]
        result, seconds = train_stored(first.config, network, data, seeds, contents=contents, **asked)
        for member, refit in enumerate(population):
            summary = training_summary(result, member, seconds=seconds)
            trained = Trained.of(refit.prepared, result.weights(member), summary)
            fitted[refit.cutoff] = _untrained(refit, network, loss).replace(selected=trained)
            if summary["failure"]:
                warnings.warn(f"cutoff {refit.cutoff + 1}: {summary['failure']}", TrainingWarning, stacklevel=3)
        if result.interrupted:
            break
        start = result.weights(0) if plan.settings.warm_start else None
    return [fitted[number] for number in sorted(fitted)]


def _untrained(refit: Refit, network: UserNetwork | None, loss: OwnLoss | None) -> Fitted:
    name = network_name(network, refit.config)
    return Fitted.of(refit.config, name, refit.prepared, Trained.of(refit.prepared), own_loss_name(loss))


def evaluate_backtest(
    plan: Plan,
    fitted: Sequence[Fitted],
    network: UserNetwork | None,
    *,
    baselines: Mapping[str, OwnBaseline] | None = None,
) -> Evaluation:
    """Forecasts all windows of a backtest, each by the last model trained before it, and compares them with the truth.

    Args:
        plan: from `lstmjax.forecaster.backtest_plan.make_plan`.
        fitted: from `train_refits`.
        network: as there.
        baselines: of the user's own, see `lstmjax.evaluation.baselines.OwnBaseline`.

    Raises:
        ConfigError: intervals cannot be given, or a baseline does not forecast.
    """
    asked = wanted(fitted[0])
    windows, cutoff = windows_at(plan.rows)
    h, channels = plan.config.data.h, plan.panel.y.shape[1]
    values = np.empty((len(cutoff), h, channels))
    bounds = np.empty((len(cutoff), h, channels, len(asked.probabilities)))
    numbers = np.array([refit.cutoff for refit in plan.refits])
    model = np.searchsorted(numbers, cutoff, side="right") - 1
    used = []
    for place, (refit, one) in enumerate(zip(plan.refits, fitted, strict=True)):
        at = model == place
        own = Windows(np.asarray(windows.series)[at], np.asarray(windows.origin)[at])
        trained, arrays = _on_whole_panel(plan, refit, one, own)
        used.append(trained)
        one = with_errors(one, network, dataclasses.replace(refit.prepared, arrays=arrays))
        values[at], bounds[at] = forecast_values(one, network, plan.panel, own, trained, arrays, asked.probabilities)
    return evaluate(
        plan.panel,
        windows,
        values,
        asked=asked,
        quantiles=bounds,
        model=plan.config.model.alias,
        first_row=_first_rows(windows, len(plan.panel.ids)),
        scaling=used[0].scaling,
        season_length=fitted[0].config.data.season_length or 1,
        baselines=baselines,
    )


def _on_whole_panel(plan: Plan, refit: Refit, fitted: Fitted, windows: Windows) -> tuple[Trained, ScaledPanel]:
    """A model's weights with statistics of all series that it forecasts, and the panel scaled by them.

    A series of which it saw no row has those of its rows before its first window.
    """
    trained, panel = fitted.selected, plan.panel
    unseen = np.setdiff1d(windows.series, np.flatnonzero(plan.rows[refit.cutoff] > 0))
    if len(unseen):
        own = align(trained.scaling, [], before(panel, _first_rows(windows, len(panel.ids))))
        of_unseen = np.isin(np.arange(len(panel.ids)), unseen)[:, None]
        by_series = ("y_center", "y_scale", "y_deviation") if own.per_series else ("y_deviation",)
        changed = {name: np.where(of_unseen, getattr(own, name), getattr(trained.scaling, name)) for name in by_series}
        trained = dataclasses.replace(trained, scaling=dataclasses.replace(trained.scaling, **changed))
    return trained, scaled_panel(panel, trained.scaling, fitted.config.train.feed)


def _first_rows(windows: Windows, series: int) -> Int64[np.ndarray, " N"]:
    """The origin of the first window of each series; 0 where it has none."""
    rows = np.zeros(series, np.int64)
    found, place = np.unique(windows.series, return_index=True)  # windows are sorted by series, then time
    rows[found] = np.asarray(windows.origin)[place]
    return rows


def _check_names(baselines: Mapping[str, OwnBaseline], plan: Plan, asked: Asked) -> None:
    """Refuses baselines that cannot be called, or have the name of another column.

    Raises:
        ConfigError: names it.
    """
    schema, alias = plan.panel.schema, plan.config.model.alias
    models = (alias, *BASELINES)
    taken = {schema.id_col, schema.time_col, "target", "cutoff", "y", *models}
    taken |= {name for model in models for name in asked.columns(model)}
    if not isinstance(baselines, Mapping):
        raise ConfigError(f"baselines is {type(baselines).__name__}: expected functions (history, h) by their names")
    for name, baseline in baselines.items():
        if not callable(baseline):
            raise ConfigError(f"the baseline {name!r} is {type(baseline).__name__}: expected a function (history, h)")
        if not isinstance(name, str) or not name or name in taken:
            raise ConfigError(f"a baseline is named {name!r}, as another column of the result is: give it another name")


def cross_validate(
    config: RunConfig,
    panel: Panel,
    settings: BacktestConfig,
    *,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    asked: Asked,
    baselines: Mapping[str, OwnBaseline] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Evaluation:
    """Trains and evaluates a backtest in memory; arguments and errors are as in `Forecaster.cross_validation`."""
    if config.train.refit_all:
        warnings.warn(
            "train.refit_all has no effect in a backtest, whose models see no row after their cutoff",
            ConfigWarning,
            stacklevel=3,
        )
    outputs = dataclasses.replace(config.outputs, level=asked.level, quantiles=asked.quantiles)
    plan = make_plan(dataclasses.replace(config, outputs=outputs), panel, settings, network=network, loss=loss)
    _check_names(baselines or {}, plan, asked)  # before training
    fitted = train_refits(plan, network, loss, callbacks=callbacks)
    return evaluate_backtest(plan, fitted, network, baselines=baselines)
