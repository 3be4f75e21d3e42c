"""The same forecaster from several seeds, trained as one population."""

import dataclasses
from collections.abc import Callable, Sequence

import pandas as pd

from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.forecaster import Forecaster
from lstmjax.training import Check, Status


def fit_seeds(
    config: RunConfig,
    df: pd.DataFrame | Prepared,
    seeds: Sequence[int],
    *,
    val_size: int | None = None,
    futr_df: pd.DataFrame | None = None,
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
    forecasters = [Forecaster(config.replace({"train.seed": seed})) for seed in seeds]
    members = forecasters[0].train_members(prepared, seeds, on_check=on_check, on_chunk=on_chunk)
    return [
        forecaster.with_fitted(fitted._replace(config=fitted.config.replace({"train.seed": seed})))
        for forecaster, fitted, seed in zip(forecasters, members, seeds, strict=True)
    ]
