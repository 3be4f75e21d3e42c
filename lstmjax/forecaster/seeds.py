"""The same forecaster from several seeds, trained as one population."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lstmjax.config import RunConfig
from lstmjax.errors import ConfigError
from lstmjax.forecaster.fit import fit_members, resume_members
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.network import UserNetwork
from lstmjax.training import Callback
from lstmjax.training.losses import OwnLoss


def fit_seeds(
    config: RunConfig,
    df: Any,
    seeds: Sequence[int],
    *,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    val_size: int | None = None,
    futr_df: Any = None,
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
        directory: a new folder for checkpoints of all members, for `resume_seeds` and
            ``Forecaster.load(directory, member=...)``. Default: nothing is written.
        callbacks: as in `Forecaster.fit`; their arrays hold the numbers of all members.

    Returns:
        One trained forecaster per seed, in their order.

    Raises:
        ConfigError: there are no seeds. Otherwise as in `Forecaster.fit`.
    """
    if not seeds:
        raise ConfigError("fit_seeds was given no seeds: give at least one")
    asked: dict[str, Any] = {"val_size": val_size, "futr_df": futr_df, "directory": directory, "loss": loss}
    members = fit_members(config, network, df, seeds, callbacks=callbacks, **asked)
    return [Forecaster.of(member, network, loss) for member in members]


def resume_seeds(
    directory: Path | str,
    df: Any,
    seeds: Sequence[int],
    *,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    futr_df: Any = None,
    callbacks: Sequence[Callback] = (),
) -> list[Forecaster]:
    """Continues what `fit_seeds` began, as `Forecaster.resume` does with a single run; arguments as there."""
    asked: dict[str, Any] = {"futr_df": futr_df, "callbacks": callbacks, "loss": loss}
    members = resume_members(directory, RunConfig(), network, df, seeds, **asked)
    return [Forecaster.of(member, network, loss) for member in members]
