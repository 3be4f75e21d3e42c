"""The same forecaster from several seeds, trained as one population."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.errors import ConfigError
from lstmjax.forecaster.fit import resolved_config, train_members, warn_of_refit
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.network import UserNetwork
from lstmjax.forecaster.resume import new_run, old_run
from lstmjax.training import Callback
from lstmjax.training.losses import OwnLoss


def fit_seeds(
    config: RunConfig,
    df: pd.DataFrame | Prepared,
    seeds: Sequence[int],
    *,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    val_size: int | None = None,
    futr_df: pd.DataFrame | None = None,
    directory: Path | str | None = None,
    callbacks: Sequence[Callback] = (),
) -> list[Forecaster]:
    """Trains the same forecaster from several seeds at once, as one population in one compiled program.

    Args:
        config: all options; ``train.seed`` is not used.
        df: the table, or data prepared already.
        seeds: one for each forecaster.
        network: a network of your own, as `Forecaster` takes it.
        loss: a loss of your own, as `Forecaster` takes it.
        val_size: as in `Forecaster.fit`.
        futr_df: as in `Forecaster.fit`.
        directory: a new folder for a checkpoint of all members at every validation check, for `resume_seeds` and
            ``Forecaster.load(directory, member=...)``. Default: nothing is written.
        callbacks: as in `Forecaster.fit`; their arrays hold the numbers of all members.

    Returns:
        One trained forecaster per seed, in their order.

    Raises:
        ConfigError: there are no seeds. Otherwise as in `Forecaster.fit`.
    """
    if not seeds:
        raise ConfigError("fit_seeds was given no seeds: give at least one")
    warn_of_refit(config)
    if isinstance(df, pd.DataFrame):
        data = config.data if val_size is None else dataclasses.replace(config.data, val_size=val_size)
        prepared = prepare(panel_from_table(df, data, futr=futr_df), data, with_test=False)
    else:
        prepared = df
    resolved = resolved_config(config, prepared, network, len(seeds))
    with new_run(directory, resolved, prepared.panel, len(seeds)) as store:
        fitted = train_members(resolved, network, prepared, seeds, store=store, callbacks=callbacks, loss=loss)
        return [Forecaster.of(member, network, loss) for member in fitted]


def resume_seeds(
    directory: Path | str,
    df: pd.DataFrame,
    seeds: Sequence[int],
    *,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    futr_df: pd.DataFrame | None = None,
    callbacks: Sequence[Callback] = (),
) -> list[Forecaster]:
    """Continues what `fit_seeds` began, as `Forecaster.resume` does with a single run; arguments as there."""
    asked: dict[str, Any] = {"seeds": seeds, "network": network, "loss": loss}
    with old_run(directory, RunConfig(), df, futr_df, **asked) as (config, prepared, store):
        resolved = resolved_config(config, prepared, network, len(seeds))
        fitted = train_members(resolved, network, prepared, seeds, store=store, callbacks=callbacks, loss=loss)
        return [Forecaster.of(member, network, loss) for member in fitted]
