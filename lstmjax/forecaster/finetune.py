"""Starts a new run from trained weights: what belongs to a series, a target or a covariate is found by its name."""

import warnings
from typing import Any

import numpy as np
from flax import nnx

from lstmjax.config import RunConfig
from lstmjax.data.prepare import Prepared
from lstmjax.data.series_ids import places
from lstmjax.data.table import first_few
from lstmjax.errors import ConfigWarning
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork, check_start, network_for
from lstmjax.nn import SeriesEmbedding
from lstmjax.training import Weights, functional

_COLUMNS = ("target_cols", "hist_exog", "futr_exog", "stat_exog", "calendar")
"""Options of ``data`` that name columns, which a network knows by their places."""


def in_trained_order(config: RunConfig, trained: Fitted) -> RunConfig:
    """The options of a new run, with every column in the place that it had in training.

    Args:
        config: as the user gave it.
        trained: what the run starts from.

    Returns:
        The options; where the numbers of columns differ, in which case no weights fit, those are left as they are.

    Warns:
        ConfigWarning: a column takes the place of one of another name; names both.
    """
    before, changes, renamed = trained.config.data, {}, []
    for option in _COLUMNS:
        then, now = getattr(before, option), getattr(config.data, option)
        # In the wide layout the targets are series.
        if len(then) != len(now) or (option == "target_cols" and "wide" in (before.layout, config.data.layout)):
            continue
        others = iter([name for name in now if name not in then])
        placed = tuple(name if name in now else next(others) for name in then)
        renamed += [f"{new!r} takes the place of {old!r}" for old, new in zip(then, placed, strict=True) if old != new]
        changes[f"data.{option}"] = placed
    if renamed:
        warnings.warn(
            f"columns have other names than in training: {first_few(renamed)}: give them the names of training if that "
            "is not what you mean",
            ConfigWarning,
            stacklevel=3,
        )
    return config.replace(changes)


def starting_weights(trained: Fitted, network: UserNetwork | None, config: RunConfig, prepared: Prepared) -> Weights:
    """The weights that forecast, for the series of new data: each keeps its embedding, others start from the mean.

    Args:
        trained: what the run starts from.
        network: the network of the user's own that it was trained with.
        config: the options of the new run, from `in_trained_order`.
        prepared: its data.

    Raises:
        ConfigError: a network of these options does not fit the weights; names an array.

    Warns:
        ConfigWarning: a series was not trained before, so that it starts from the mean embedding.
    """
    weights = trained.forecasting.weights
    structure, _ = functional(network_for(network, trained.config, trained.spec))
    tables = [
        ".".join(map(str, (*path, "table")))
        for path, module in nnx.iter_modules(structure.merge(weights))
        if isinstance(module, SeriesEmbedding)
    ]
    if tables:
        numbers = trained.forecasting.scaling.series  # -1: it was in the table, but not trained on
        place = places(prepared.panel.ids, trained.tail.ids)
        rows = np.where(place >= 0, numbers[place], -1)
        _warn_of_new_series(prepared.panel.ids[rows < 0].tolist(), len(rows))
        params: dict[str, Any] = dict(weights.params)
        for name in tables:
            table = np.asarray(params[name])
            mean = table[numbers[numbers >= 0]].mean(axis=0)
            params[name] = np.where((rows >= 0)[:, None, None], table[rows], mean).astype(table.dtype)
        weights = weights._replace(params=params)
    check_start(weights, network_for(network, config, prepared.spec))
    return weights


def _warn_of_new_series(names: list[str | int], count: int) -> None:
    if names:
        warnings.warn(
            f"{len(names)} of {count} series were not trained before, and start from the mean embedding of those that "
            f"were: {first_few(map(repr, names))}",
            ConfigWarning,
            stacklevel=6,
        )
