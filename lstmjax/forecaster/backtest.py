"""Backtests: models trained on the rows before rolling cutoffs, and their forecasts of what came after.

The models of the cutoffs, the refits, are members of one population: they share a compiled program, and each has
windows and statistics of its own. No model, nor anything that it is trained with, depends on a row after its cutoff.
"""

import contextlib
import dataclasses
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from lstmjax.config import BacktestConfig, RunConfig
from lstmjax.data.cutoffs import before, cutoff_rows, prepare_before, windows_at
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared
from lstmjax.data.scaling import align, rescaling, scale
from lstmjax.data.windows import PanelArrays, Windows
from lstmjax.errors import ConfigError, ConfigWarning, DataError, TrainingWarning
from lstmjax.evaluation.baselines import BASELINES, OwnBaseline
from lstmjax.evaluation.intervals import Asked
from lstmjax.evaluation.windows import Evaluation, evaluate
from lstmjax.forecaster.checkpoints import Store, training_summary
from lstmjax.forecaster.fit import require_outputs, resolved_config, train_stored
from lstmjax.forecaster.fitted import Fitted, Trained
from lstmjax.forecaster.intervals import with_errors
from lstmjax.forecaster.network import UserNetwork, network_name
from lstmjax.forecaster.own_loss import own_loss_name
from lstmjax.forecaster.predict import forecast_values, wanted
from lstmjax.training import Callback, TrainingData, Weights, evenly_spaced, resolve_batch, val_windows
from lstmjax.training.losses import OwnLoss

MOST_TOGETHER = 64
"""Members of a population, at most: on an accelerator all of them are in memory."""


@dataclass(frozen=True)
class Refit:
    """A model of a backtest, before it is trained."""

    cutoff: int
    """Number of the cutoff before which it is trained, from 0."""
    config: RunConfig
    """With all that was inferred filled in, from the rows before the cutoff."""
    prepared: Prepared
    """These rows; without their scaled values, see `Population.arrays`."""
    data: TrainingData
    """What it is trained on."""


@dataclass(frozen=True)
class Plan:
    """A backtest, resolved."""

    config: RunConfig
    """As the user gave it, without test rows."""
    panel: Panel
    settings: BacktestConfig
    rows: Int64[np.ndarray, "K N"]
    """The first forecast row of each series at each of K cutoffs; 0 where it has none."""
    populations: list[list[Refit]]
    """The models that are trained together, in order of time."""

    @property
    def refits(self) -> list[Refit]:
        """All models, in order of time."""
        every = itertools.chain.from_iterable(self.populations)
        return sorted(every, key=lambda refit: refit.cutoff)


def make_plan(
    config: RunConfig,
    panel: Panel,
    settings: BacktestConfig,
    *,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
) -> Plan:
    """Resolves a backtest, and finds what is wrong with it before anything is trained.

    Args:
        config: all options. Its test rows are not held out: what comes after a cutoff is its test.
        panel: the data.
        settings: the cutoffs, and what is trained.
        network: a network of the user's own; None for that of ``config.model``.
        loss: a loss of the user's own; None for that of ``train.loss``.

    Raises:
        ConfigError: an option does not fit.
        DataError: the rows before a cutoff cannot be trained on, or there are too few rows for so many cutoffs.
    """
    if config.data.train_end is not None:
        raise ConfigError("a backtest holds rows out before each cutoff: leave data.train_end out, give data.val_size")
    config = config.replace({"data.test_size": 0, "train.refit_all": False}).chosen
    given: dict[str, Any] = {"n_windows": settings.n_windows, "step_size": settings.step_size}
    rows = cutoff_rows(panel, config.data, **given)
    numbers = range(0, len(rows), settings.refit) if settings.refit else [0]
    refits: list[Refit] = []
    said: set[str] = set()
    bases: dict[Any, list[Refit]] = {}
    for number in numbers:
        like = refits[0] if refits and settings.warm_start else None
        try:
            with _each_once(said):
                refit = _make_refit(config, panel, rows[number], number, settings, len(numbers), network, loss, like)
        except DataError as error:
            raise DataError(f"before cutoff {number + 1} of {len(rows)}: {error}") from None
        same = bases.setdefault(number if settings.warm_start else _compiled_in(refit), [])
        refits.append(refit if settings.warm_start or len(numbers) == 1 else _on_panel_of([*same, refit][0], refit))
        same.append(refits[-1])
    populations = [
        each[first : first + MOST_TOGETHER] for each in bases.values() for first in range(0, len(each), MOST_TOGETHER)
    ]
    return Plan(config, panel, settings, rows, populations)


@contextlib.contextmanager
def _each_once(said: set[str]) -> Iterator[None]:
    """Passes warnings on that were not said before: each cutoff has the same data up to it.

    Args:
        said: what was said; new messages are added.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if str(warning.message) not in said:
            said.add(str(warning.message))
            warnings.warn(warning.message, warning.category, stacklevel=4)


def _make_refit(
    config: RunConfig,
    panel: Panel,
    rows: Int64[np.ndarray, " N"],
    number: int,
    settings: BacktestConfig,
    members: int,
    network: UserNetwork | None,
    loss: OwnLoss | None,
    like: Refit | None,
) -> Refit:
    """The model that is trained before a cutoff; ``like`` is the one whose weights it begins with, of equal shape."""
    categories = None
    if like is not None:
        categories = like.prepared.scaling.categories
        config = dataclasses.replace(config, model=like.config.model)
    prepared = prepare_before(panel, rows, config.data, train_size=settings.train_size, categories=categories)
    # The batches of members are not split over devices; nor are they where only one of several refits is a population
    # of its own, as its bytes must not depend on the others.
    resolved = resolved_config(config, prepared, network, 1 if settings.warm_start else members)
    require_outputs(resolved, prepared, network)
    held = evenly_spaced(prepared.validation, val_windows(resolved.train))
    data = TrainingData(prepared.arrays, prepared.train, held, prepared.spec, loss=loss)
    return Refit(number, resolved, prepared, data)


def _compiled_in(refit: Refit) -> Any:
    """What members of one population have in common."""
    config, data = refit.config, refit.data
    batch = resolve_batch(config.train, len(data.train.series), 2)
    categories = json.dumps(refit.prepared.scaling.categories)
    shared = dataclasses.replace(config, data=RunConfig().data)
    return shared, data.spec, categories, batch, len(data.validation.series) > 0


def _on_panel_of(base: Refit, refit: Refit) -> Refit:
    """The same model on the scaled panel of an earlier one, which nothing later has a part in."""
    arrays = base.data.arrays
    own = rescaling(base.prepared.scaling, refit.prepared.scaling, arrays)
    data = refit.data._replace(arrays=arrays, rescaling=own)
    return dataclasses.replace(refit, data=data, prepared=refit.prepared._replace(arrays=arrays))


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
        plan: from `make_plan`.
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
    asked: Asked | None = None,
    baselines: Mapping[str, OwnBaseline] | None = None,
) -> Evaluation:
    """Forecasts all windows of a backtest, each by the last model trained before it, and compares them with the truth.

    Args:
        plan: from `make_plan`.
        fitted: from `train_refits`.
        network: as there.
        asked: intervals and quantiles. Default: those of ``config.outputs``.
        baselines: of the user's own, see `lstmjax.evaluation.baselines.OwnBaseline`.

    Raises:
        ConfigError: intervals cannot be given, or a baseline has the name of another column, or does not forecast.
    """
    asked = wanted(fitted[0]) if asked is None else asked
    _check_names(baselines or {}, plan, asked)
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
        one = with_errors(one, network, refit.prepared._replace(arrays=arrays))
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


def _on_whole_panel(plan: Plan, refit: Refit, fitted: Fitted, windows: Windows) -> tuple[Trained, PanelArrays]:
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
    return trained, scale(panel, trained.scaling)


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
