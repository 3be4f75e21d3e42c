"""A backtest as a run: its models, their forecasts, metrics and pictures on disk.

It is what ``lstmjax backtest`` does.

R/config.json, R/run.json   the options; the kind, command, versions, commit, devices, SHA-256 of the data, cutoffs
R/backtest.csv.gz           every window and step: unique_id, ds, cutoff, y, lstm, intervals, baselines
R/metrics.json              over all windows, as that of a run
R/metrics_by_*.csv          by series, target, horizon and cutoff
R/plots/*.png               the error by horizon and by cutoff
R/refits/                   the checkpoints of training, and the validation checks of the model of each cutoff
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstmjax.config import BacktestConfig, RunConfig, rules
from lstmjax.data.digest import panel_digest
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.data.summary import span
from lstmjax.errors import CheckpointError, ConfigError, Interrupted
from lstmjax.evaluation.error_plots import error_by
from lstmjax.evaluation.windows import Evaluation
from lstmjax.forecaster.backtest import evaluate_backtest, train_refits
from lstmjax.forecaster.backtest_plan import Plan, Refit, make_plan
from lstmjax.forecaster.checkpoints import CHECKPOINTS, LOG_FILE, Store
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork, check_network
from lstmjax.forecaster.own_loss import check_loss
from lstmjax.forecaster.resume import check_seeds, trained_names
from lstmjax.forecaster.resumed_options import flat
from lstmjax.forecaster.run_kind import check_kind, read_description
from lstmjax.forecaster.saved import read_config
from lstmjax.runs.decoration import decoration, heard
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.files import BACKTEST_BY, REFITS
from lstmjax.runs.job import absolute_paths
from lstmjax.runs.outputs import metrics_table, outputs_written
from lstmjax.runs.signals import Signals
from lstmjax.runs.stop_at_signal import StopAtSignal
from lstmjax.runs.table_file import require_format
from lstmjax.runs.tracker import Tracker
from lstmjax.storage import checkpoint
from lstmjax.training import Callback, ProgressDisplay
from lstmjax.training.losses import OwnLoss


@dataclass(frozen=True)
class BacktestRun:
    """What a backtest came to."""

    directory: Path
    evaluation: Evaluation
    metrics: dict[str, Any]
    """What metrics.json holds."""


@dataclass(frozen=True)
class _Job:
    """What is backtested, resolved once."""

    plan: Plan
    network: UserNetwork | None
    loss: OwnLoss | None
    data_sha256: str
    source: str


def backtest_run(
    config: RunConfig,
    directory: Path | str,
    settings: BacktestConfig | None = None,
    *,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    signals: Signals | None = None,
    say: Callable[[str], None] = print,
) -> BacktestRun:
    """Trains before each cutoff, forecasts what came after, and leaves all of it in a run directory.

    What is wrong with the options or the data is reported before anything is written.

    Args:
        config: the options; see `lstmjax.forecaster.backtest_plan.make_plan`.
        directory: where to.
        settings: the cutoffs, and what is trained. Default: `BacktestConfig()`.
        network: a network of your own, as `Forecaster` takes it.
        loss: a loss of your own, as `Forecaster` takes it.
        overwrite: whether to replace a backtest that is there.
        callbacks: called as training goes, for each population.
        signals: what ends the run early. Default: nothing.
        say: where to report, one line at a time.

    Returns:
        The backtest.

    Raises:
        ConfigError: an option does not fit.
        DataError: the data cannot be used, or have too few rows for so many windows.
        CheckpointError: the directory holds something already, is in use, or cannot be written.
        Interrupted: a signal came, and the state is saved.
    """
    say = heard(say)
    RunDirectory.check_free(directory, "backtest", overwrite=overwrite)
    settings = BacktestConfig() if settings is None else settings
    config = dataclasses.replace(config, data=absolute_paths(with_dataset_settings(config.data)))
    job = _make_job(config, settings, network, loss)
    said = trained_names(config, network, loss) | {"backtest": dataclasses.asdict(settings)}
    made: dict[str, Any] = {"kind": "backtest", "data_digest": job.data_sha256, "names": said, "overwrite": overwrite}
    with RunDirectory.create(directory, config, **made) as run:
        return _carry_out(run, job, callbacks, signals or Signals(), say)


def resume_backtest(
    directory: Path | str,
    config: RunConfig | None = None,
    *,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    callbacks: Sequence[Callback] = (),
    signals: Signals | None = None,
    say: Callable[[str], None] = print,
) -> BacktestRun:
    """Continues a backtest; the files it leaves have the same bytes as if it had not been interrupted, but for times.

    Args:
        directory: the backtest's.
        config: the options. Default: the backtest's own, of which only those may differ that training does not depend
            on.
        network: the network of your own that it was begun with.
        loss: the loss of your own that it was begun with.
        callbacks: as in `backtest_run`.
        signals: as in `backtest_run`.
        say: as in `backtest_run`.

    Raises:
        CheckpointError: no backtest is found, it is in use, its checkpoints do not verify, or the data are others.
        ConfigError: other options than the backtest's.
        Interrupted: a signal came again.
    """
    say = heard(say)
    check_kind(directory, "backtest")
    stored, described = read_config(directory), read_description(Path(directory))
    config = stored if config is None else _same_config(stored, config, directory)
    job = _make_job(config, BacktestConfig(**described["backtest"]), network, loss)
    then = described["data_sha256"]
    if then != job.data_sha256:
        raise CheckpointError(
            f"{directory}: {job.source} is not the data of the backtest (SHA-256 {job.data_sha256[:12]}…, not "
            f"{then[:12]}…): restore it, or start a new backtest"
        )
    check_network(described["network"], network, config, directory)
    check_loss(described.get("own_loss"), loss, directory)
    with RunDirectory.reopen(directory, "backtest") as run:
        say("resuming the backtest")
        with outputs_written(run.path):
            run.record_resume(config, 0)
        return _carry_out(run, job, callbacks, signals or Signals(), say)


def _same_config(stored: RunConfig, given: RunConfig, directory: Path | str) -> RunConfig:
    """The options to resume with: only those may differ that nothing that is trained depends on."""
    then, now = flat(stored), flat(given)
    changes = {name: value for name, value in now.items() if value != then[name]}
    refused = [name for name in changes if rules(name).resume != "free"]
    if refused:
        told = ", ".join(f"{name} (was {then[name]!r}, now {now[name]!r})" for name in refused)
        raise ConfigError(
            f"{directory}: a backtest is resumed with its own options, but these differ: {told}: leave them out, or "
            "start a new backtest"
        )
    return stored.replace(changes)


def _make_job(config: RunConfig, settings: BacktestConfig, network: UserNetwork | None, loss: OwnLoss | None) -> _Job:
    require_format(config.outputs.format)
    source = load_source(config.data)
    panel = source.panel(config.data)
    plan = make_plan(config, panel, settings, network=network, loss=loss)
    return _Job(plan, network, loss, panel_digest(panel), source.name)


def _carry_out(
    run: RunDirectory, job: _Job, callbacks: Sequence[Callback], signals: Signals, say: Callable[[str], None]
) -> BacktestRun:
    """Trains what is not trained yet, and writes the outputs."""
    say(_sizes(job.plan))

    def store(population: Sequence[Refit]) -> Store:
        folders = [run.path / REFITS / f"cutoff-{refit.cutoff + 1}" for refit in population]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        found = checkpoint.load(folders[0] / CHECKPOINTS) if checkpoint.steps(folders[0] / CHECKPOINTS) else None
        if found is not None:
            check_seeds(found.metadata["seeds"], [refit.config.train.seed for refit in population])
        return Store(folders[0], job.data_sha256, found, tuple(folder / LOG_FILE for folder in folders))

    with ProgressDisplay() as display:
        called = [StopAtSignal(signals), display, *map(Tracker, callbacks)]
        fitted = train_refits(job.plan, job.network, job.loss, store=store, callbacks=called)
    if signals.requested():
        raise Interrupted(f"interrupted with {len(fitted)} of {len(job.plan.refits)} models trained or begun")
    signals.disarm()  # all is saved
    with outputs_written(run.path):
        return _write(run, job, fitted, say)


def _sizes(plan: Plan) -> str:
    """What is backtested, in one line."""
    panel, series = plan.panel, len(plan.panel.ids)
    first, last = span(panel)
    models = len(plan.refits)
    together = f" in {len(plan.populations)} populations" if 1 < len(plan.populations) < models else ""
    return (
        f"{int(panel.observed.sum())} rows, {series} series, every {panel.schema.freq}, {first} to {last}; "
        f"{len(plan.rows)} cutoffs, {models} model{'s' if models > 1 else ''}{together}"
    )


def _write(run: RunDirectory, job: _Job, fitted: Sequence[Fitted], say: Callable[[str], None]) -> BacktestRun:
    """Writes the forecasts, metrics and pictures."""
    evaluation = evaluate_backtest(job.plan, fitted, job.network)
    config = job.plan.config
    run.write_backtest(evaluation, config.outputs.format)
    by = {what: evaluation.by(what) for what in BACKTEST_BY}
    for what, table in by.items():
        run.write_metrics_by(what, table)
    metrics = evaluation.metrics | _summary(job.plan, fitted)
    run.write_metrics(metrics)
    for what, label in {"horizon": "steps ahead", "cutoff": "cutoff"}.items():
        with decoration(f"the picture error_by_{what}.png"):
            run.write_plot(f"error_by_{what}", error_by(by[what], label))
    with decoration("the table of metrics"):
        say(metrics_table(metrics, config.model.alias))
    if metrics.get("mixed_units"):
        say("the targets' units differ, and the errors of the largest weigh most: see metrics_by_target.csv")
    say(f"run directory: {run.path}")
    return BacktestRun(run.path, evaluation, metrics)


def _summary(plan: Plan, fitted: Sequence[Fitted]) -> dict[str, Any]:
    """How training went: of each model, in order of time, and in all."""
    models = [
        {"cutoff": refit.cutoff + 1, **{name: one.summary[name] for name in ("steps", "best_step", "failure")}}
        for refit, one in zip(plan.refits, fitted, strict=True)
    ]
    of_cutoff = {refit.cutoff: one.summary for refit, one in zip(plan.refits, fitted, strict=True)}
    seconds = sum(of_cutoff[population[0].cutoff]["seconds"] for population in plan.populations)
    return {"refits": models, "seconds": round(seconds, 3), "parameters": fitted[0].summary["parameters"]}
