"""The same run from several seeds, trained as one population: a run directory a seed, and a table of all.

R/seed-*/               each seed's run directory
R/seeds.csv             a row a seed: its metrics on the test rows, its best step
R/metrics.json          mean and deviation (ddof = 1) over the seeds
R/checkpoints/          the states of the whole population while it trains
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lstmjax.runs.outputs import conclude
from lstmjax.config import RunConfig
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.errors import ConfigError
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.runs.signals import Interrupt
from lstmjax.forecaster.resume import agreed_config, check_data, newest_checkpoint, read_config
from lstmjax.runs.run import absolute_paths
from lstmjax.runs.directory import RunDirectory, write_table
from lstmjax.forecaster.checkpoint import panel_digest
from lstmjax.forecaster.fit import Keeping, Watcher, check_members, resolved_config, train_members
from lstmjax.training import Check, ProgressDisplay, Status

TABLE_FILE = "seeds.csv"


class SeedRuns(NamedTuple):
    """What the runs came to."""

    directory: Path
    forecasters: list[Forecaster]
    """One a seed."""
    table: pd.DataFrame
    """What seeds.csv holds, by seed."""


def train_seeds(
    config: RunConfig,
    directory: Path | str,
    seeds: int,
    *,
    overwrite: bool = False,
    interrupt: Interrupt | None = None,
    say: Callable[[str], None] = print,
) -> SeedRuns:
    """Trains, evaluates and forecasts from the seeds ``train.seed``, ``train.seed + 1``, ...; leaves a directory each.

    Args:
        config: the options.
        directory: where to.
        seeds: how many.
        overwrite: whether to replace a run that is there.
        interrupt: who says when to stop.
        say: where to tell how it goes, a line at a time.

    Raises:
        ConfigError: an option does not fit.
        DataError: the data cannot be used.
        CheckpointError: the directory holds something already, is in use, or cannot be written.
        Interrupted: it was told to stop, and its state is saved.
    """
    if seeds < 1:
        raise ConfigError(f"seeds is {seeds}: expected at least 1")
    RunDirectory.check_free(directory, overwrite=overwrite)
    config = dataclasses.replace(config, data=absolute_paths(with_dataset_settings(config.data)))
    panel = load_source(config.data).panel(config.data)
    prepared = prepare(panel, config.data, with_test=True)
    resolved = resolved_config(config, prepared, members=seeds)
    create: dict[str, Any] = {"data_digest": panel_digest(panel), "overwrite": overwrite}
    with RunDirectory.create(directory, resolved, **create) as run, contextlib.ExitStack() as stack:
        members = {
            seed: stack.enter_context(
                RunDirectory.create(run.path / f"seed-{seed}", resolved.replace({"train.seed": seed}), **create)
            )
            for seed in _numbers(config, seeds)
        }
        return _carry_out(run, members, config, panel, prepared, Keeping(run.path), interrupt or Interrupt(), say)


def resume_seeds_run(
    config: RunConfig,
    directory: Path | str,
    seeds: int,
    *,
    interrupt: Interrupt | None = None,
    say: Callable[[str], None] = print,
) -> SeedRuns:
    """Goes on with what `train_seeds` began; arguments as there.

    Raises:
        CheckpointError: there are no such runs, their checkpoints do not verify, or the data are others.
        ConfigError: the options are others.
        Interrupted: it was told to stop again.
    """
    stored = read_config(directory)
    config = agreed_config(stored, config, directory)
    config = dataclasses.replace(config, data=absolute_paths(config.data))
    source = load_source(config.data)
    panel = source.panel(config.data)
    prepared = prepare(panel, config.data, with_test=True)
    with RunDirectory.reopen(directory) as run, contextlib.ExitStack() as stack:
        digest = panel_digest(panel)
        check_data(run.description.get("data_sha256"), digest, directory, source.name)
        found = newest_checkpoint(run.path, stored, config)
        if found is not None:
            check_members(found, _numbers(config, seeds))
        step = 0 if found is None else found.step
        say(f"going on after step {step} of {config.train.max_steps}")
        run.go_on(config, step)
        members = {}
        for seed in _numbers(config, seeds):
            path, own = run.path / f"seed-{seed}", config.replace({"train.seed": seed})
            if (path / "config.json").exists():
                members[seed] = stack.enter_context(RunDirectory.reopen(path))
                members[seed].go_on(own, step)
            else:
                members[seed] = stack.enter_context(RunDirectory.create(path, own, data_digest=digest, overwrite=True))
        return _carry_out(
            run, members, config, panel, prepared, Keeping(run.path, found), interrupt or Interrupt(), say
        )


def _numbers(config: RunConfig, seeds: int) -> list[int]:
    return list(range(config.train.seed, config.train.seed + seeds))


def _carry_out(
    run: RunDirectory,
    members: dict[int, RunDirectory],
    config: RunConfig,
    panel: Panel,
    prepared: Prepared,
    keeping: Keeping,
    interrupt: Interrupt,
    say: Callable[[str], None],
) -> SeedRuns:
    """Trains the population, and concludes each seed's run."""
    with ProgressDisplay() as display:

        def on_check(check: Check) -> None:
            for number, member in enumerate(members.values()):
                member.append_check(check, number)
            display.on_check(check)

        def on_chunk(status: Status) -> None:
            interrupt.arm()
            display.on_chunk(status)

        watcher = Watcher(on_check, on_chunk, interrupt.requested)
        fitted = train_members(config, None, prepared, list(members), keeping=keeping, watcher=watcher)
    interrupt.disarm()
    forecasters, rows = [], {}
    for (seed, member), weights in zip(members.items(), fitted, strict=True):
        forecaster = Forecaster(weights.config).with_fitted(weights)
        metrics = conclude(member, forecaster, panel, prepared, say=_muted(say, seed))
        rows[seed] = metrics.get("test", {}) | {"best_step": metrics["best_step"], "steps": metrics["steps"]}
        forecasters.append(forecaster)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")
    write_table(table.reset_index(), run.path / TABLE_FILE)
    run.write_metrics(summarize(table, metrics.get("baselines", {})))
    say(render_seeds(table))
    say(f"run directory: {run.path}")
    return SeedRuns(run.path, forecasters, table)


def summarize(table: pd.DataFrame, baselines: dict[str, Any]) -> dict[str, Any]:
    """What metrics.json holds for several seeds.

    Args:
        table: a row a seed.
        baselines: their metrics, which no seed changes.

    Returns:
        ``{"test": {metric: {"mean", "deviation"}}, "baselines", "seeds"}``.
    """
    metrics = [name for name in table.columns if name not in ("best_step", "steps")]
    spread = {
        name: {"mean": float(table[name].mean()), "deviation": float(table[name].std(ddof=1))} for name in metrics
    }
    return {"test": spread, "baselines": baselines, "seeds": [int(seed) for seed in table.index]}


def render_seeds(table: pd.DataFrame) -> str:
    """The seeds' metrics as text, with their mean and deviation (ddof = 1) below.

    Args:
        table: a row a seed.

    >>> print(render_seeds(pd.DataFrame({"mae": [1.0, 2.0], "best_step": [10, 20]}, index=[0, 1])), end="")
    seed               mae   best_step
    0               1.0000     10.0000
    1               2.0000     20.0000
    mean            1.5000     15.0000
    deviation       0.7071      7.0711
    """
    rows = {str(seed): table.loc[seed] for seed in table.index}
    rows |= {"mean": table.mean(), "deviation": table.std(ddof=1)}
    lines = [["seed", *table.columns]]
    lines += [[name, *(f"{value:.4f}" for value in row)] for name, row in rows.items()]
    return "".join(f"{name:<10}" + "".join(f"{cell:>12}" for cell in cells) + "\n" for name, *cells in lines)


def _muted(say: Callable[[str], None], seed: int) -> Callable[[str], None]:
    """Of a seed's run only what is out of the ordinary is told: the table comes for all."""
    return lambda line: say(f"seed {seed}: {line}") if "\n" not in line else None
