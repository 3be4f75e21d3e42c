"""A whole run: from a config to a trained forecaster, its evaluation, its forecast and its pictures on disk.

It is what ``lstmjax train`` does, and what the experiments do with configs of their own.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lstmjax.storage import checkpoint
from lstmjax.runs.outputs import REFIT as REFIT
from lstmjax.runs.outputs import conclude as conclude
from lstmjax.runs.outputs import metrics_table as metrics_table
from lstmjax.runs.outputs import windows_to_draw as windows_to_draw
from lstmjax.config import RunConfig
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.data.origins import test_windows
from lstmjax.errors import CheckpointError
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.errors import Interrupted
from lstmjax.runs.signals import Interrupt
from lstmjax.forecaster.resume import agreed_config, check_data, newest_checkpoint, read_config
from lstmjax.runs.directory import RunDirectory
from lstmjax.forecaster.checkpoint import START, panel_digest
from lstmjax.forecaster.fit import Keeping, Watcher, check_members, check_start, network_for, resolved_config
from lstmjax.training import ProgressDisplay, Status, Weights


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
    finetune_from: Path | None = None,
    interrupt: Interrupt | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Trains, evaluates, forecasts, and leaves all of it in a run directory (see `run_directory`).

    Whatever is wrong with the options or the data shows before anything is written.

    Args:
        config: the options.
        directory: where to.
        overwrite: whether to replace a run that is there.
        finetune_from: a run whose weights to start with, instead of those that the seed draws.
        interrupt: who says when to stop. Default: nobody.
        say: where to tell how it goes, a line at a time.

    Returns:
        The run.

    Raises:
        ConfigError: an option does not fit.
        DataError: the data cannot be used.
        CheckpointError: the directory holds something already, is in use, or cannot be written.
        Interrupted: it was told to stop, and its state is saved.
    """
    RunDirectory.check_free(directory, overwrite=overwrite)
    config = dataclasses.replace(config, data=absolute_paths(with_dataset_settings(config.data)))
    forecaster = Forecaster(config)
    panel = load_source(config.data).panel(config.data)
    prepared = prepare(panel, config.data, with_test=True)
    start = None if finetune_from is None else _starting_weights(finetune_from, forecaster, prepared)
    say(_sizes(prepared))
    with RunDirectory.create(
        directory,
        resolved_config(config, prepared),
        data_digest=panel_digest(panel),
        overwrite=overwrite,
        finetuned_from=finetune_from,
    ) as run:
        return _carry_out(run, forecaster, panel, prepared, Keeping(run.path), start, interrupt or Interrupt(), say)


def resume_run(
    directory: Path | str,
    config: RunConfig | None = None,
    *,
    into: Path | str | None = None,
    interrupt: Interrupt | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Goes on with a run from its newest checkpoint, or from the beginning where it has none; then as `train_run`.

    The files it leaves have the same bytes as if the run had not been interrupted, but for the times in them.

    Args:
        directory: the run's.
        config: the options. Default: the run's own; see `lstmjax.forecaster.resume` for those that may differ.
        into: a new directory, to leave the run's own as it is.
        interrupt: who says when to stop.
        say: where to tell how it goes, a line at a time.

    Returns:
        The run.

    Raises:
        CheckpointError: there is no run, it is in use, its checkpoints do not verify, or the data are others.
        ConfigError: other options than the run's.
        Interrupted: it was told to stop again.
    """
    stored = read_config(directory)
    config = stored if config is None else agreed_config(stored, config, directory)
    config = dataclasses.replace(config, data=absolute_paths(config.data))
    source = load_source(config.data)
    panel = source.panel(config.data)
    prepared = prepare(panel, config.data, with_test=True)
    with RunDirectory.reopen(directory, into=into) as run:
        description = run.description
        check_data(description.get("data_sha256"), panel_digest(panel), directory, source.name)
        found = newest_checkpoint(run.path, stored, config)
        if found is not None:
            check_members(found, [config.train.seed])
        _check_origin(run, found, config)
        step = 0 if found is None else found.step
        say(f"{_sizes(prepared)}\ngoing on after step {step} of {config.train.max_steps}")
        run.go_on(config, step)
        keeping = Keeping(run.path, found)
        return _carry_out(run, Forecaster(config), panel, prepared, keeping, None, interrupt or Interrupt(), say)


def _check_origin(run: RunDirectory, found: checkpoint.Checkpoint | None, config: RunConfig) -> None:
    """Refuses to go on with a fine-tuned run where the weights it began with are needed and not there."""
    origin = run.description.get("finetuned_from")
    if origin is None:
        return
    if found is None:
        raise CheckpointError(
            f"{run.path} was killed before the weights it starts with were saved: begin again with "
            f"--overwrite --finetune-from {origin}"
        )
    if config.train.refit_all and not checkpoint.steps(run.path / START):
        raise CheckpointError(
            f"{run.path} was fine-tuned by an lstmjax that did not keep the weights it began with, with which "
            "train.refit_all begins again: leave that out with --train.no-refit-all, or begin again with "
            f"--overwrite --finetune-from {origin}"
        )


def _starting_weights(directory: Path, forecaster: Forecaster, prepared: Prepared) -> Weights:
    weights = Forecaster.load(directory).fitted.weights
    check_start(weights, network_for(forecaster.network, forecaster.config, prepared.spec))
    return weights


def _carry_out(
    run: RunDirectory,
    forecaster: Forecaster,
    panel: Panel,
    prepared: Prepared,
    keeping: Keeping,
    start: Weights | None,
    interrupt: Interrupt,
    say: Callable[[str], None],
) -> Run:
    """Trains, and concludes."""
    with ProgressDisplay() as display:

        def on_chunk(status: Status) -> None:
            interrupt.arm()
            display.on_chunk(status)

        watcher = Watcher(display.on_check, on_chunk, interrupt.requested)
        forecaster.fit_prepared(prepared, start=start, keeping=keeping, watcher=watcher)
    interrupt.disarm()
    if interrupt.requested():
        raise Interrupted(f"interrupted after step {forecaster.fitted.summary['steps']}")
    metrics = conclude(run, forecaster, panel, prepared, say=say)
    say(f"run directory: {run.path}")
    return Run(run.path, forecaster, panel, metrics)


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
