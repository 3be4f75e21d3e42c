"""The same forecaster from several seeds, trained as one population."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.forecaster.fit import Keeping, Watcher, train_members
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.resume import new_run, old_run
from lstmjax.training import Check, Status


def fit_seeds(
    config: RunConfig,
    df: pd.DataFrame | Prepared,
    seeds: Sequence[int],
    *,
    val_size: int | None = None,
    futr_df: pd.DataFrame | None = None,
    directory: Path | str | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
    on_chunk: Callable[[Status], None] = lambda status: None,
) -> list[Forecaster]:
    """Trains the same forecaster from several seeds at once, as one population in one compiled program.

    Args:
        config: all options; ``train.seed`` is not used.
        df: the table, or data prepared already.
        seeds: one for each forecaster.
        val_size: as in `Forecaster.fit`.
        futr_df: as in `Forecaster.fit`.
        directory: a new folder for a checkpoint of all members at every validation check, for `resume_seeds` and
            ``Forecaster.load(directory, member=...)``. Default: nothing is written.
        on_check: called after every validation check, with the numbers of all members.
        on_chunk: called after every chunk of steps.

    Returns:
        One trained forecaster a seed, in their order.
    """
    if isinstance(df, pd.DataFrame):
        data = config.data if val_size is None else dataclasses.replace(config.data, val_size=val_size)
        prepared = prepare(panel_from_table(df, data, futr=futr_df), data, with_test=False)
    else:
        prepared = df
    with new_run(directory, config, prepared, members=len(seeds)) as keeping:
        return _train(config, prepared, seeds, keeping, Watcher(on_check, on_chunk))


def resume_seeds(
    directory: Path | str,
    df: pd.DataFrame,
    seeds: Sequence[int],
    *,
    futr_df: pd.DataFrame | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> list[Forecaster]:
    """Goes on with what `fit_seeds` began, as `Forecaster.resume` does with a single run.

    Args:
        directory: as given to `fit_seeds`.
        df: the same table.
        seeds: the same.
        futr_df: the same.
        on_check: called after every validation check.
    """
    with old_run(directory, RunConfig(), df, futr_df, seeds=seeds) as (config, prepared, keeping):
        return _train(config, prepared, seeds, keeping, Watcher(on_check))


def _train(
    config: RunConfig, prepared: Prepared, seeds: Sequence[int], keeping: Keeping | None, watcher: Watcher
) -> list[Forecaster]:
    members = train_members(config, None, prepared, seeds, keeping=keeping, watcher=watcher)
    return [
        Forecaster(config.replace({"train.seed": seed})).with_fitted(fitted)
        for seed, fitted in zip(seeds, members, strict=True)
    ]
