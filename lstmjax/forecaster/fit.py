"""Training on prepared data: afresh, from given weights, or from a checkpoint; one forecaster per seed."""

import contextlib
import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lstmjax import parallel
from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.rows import Known
from lstmjax.data.scaling_checks import require_counts
from lstmjax.errors import ConfigError, ConfigWarning, TrainingWarning
from lstmjax.forecaster.checkpoints import (
    MetricsLogs,
    SaveCheckpoints,
    Store,
    save_start,
    stored_start,
    stored_state,
    training_summary,
)
from lstmjax.forecaster.finetune import starting_weights
from lstmjax.forecaster.fitted import Fitted, Trained
from lstmjax.forecaster.intervals import require_errors, require_intervals, with_errors
from lstmjax.forecaster.network import UserNetwork, check_network, check_start, head_of, network_for, network_name
from lstmjax.forecaster.own_loss import own_loss_name
from lstmjax.forecaster.resume import new_run, old_run, trained_names
from lstmjax.forecaster.saved import save_errors
from lstmjax.models.sizes import with_sizes
from lstmjax.models.user_network import check_own_network
from lstmjax.training import (
    Callback,
    TimeLimit,
    TrainingData,
    TrainResult,
    Weights,
    evenly_spaced,
    functional,
    resolve_batch,
    train,
    val_windows,
    widest,
)
from lstmjax.training.losses import OwnLoss


def train_members(
    config: RunConfig,
    network: UserNetwork | None,
    prepared: Prepared,
    seeds: Sequence[int],
    *,
    until: int | None = None,
    start: Weights | None = None,
    store: Store | None = None,
    callbacks: Sequence[Callback] = (),
    loss: OwnLoss | None = None,
) -> list[Fitted]:
    """Trains one member per seed, as one population; a single run is a population of one.

    Args:
        config: all options, from `resolved_config`.
        network: a network of the user's own; None for that of ``config.model``.
        prepared: what to train on.
        seeds: one per member.
        until: stop at this step, short of ``train.max_steps``; the schedule is that of the whole run.
        start: weights to begin with, instead of those that the seeds draw.
        store: where to save, and what to continue from. Default: nothing is saved.
        callbacks: called as training goes; after each event the state is saved.
        loss: a loss of the user's own; None for that of ``train.loss``.

    Returns:
        What training left, by member.

    Raises:
        CheckpointError: the last state cannot be saved, or the stored one is of another network.
        DataError: no window to train on.
        ConfigError: the start weights do not fit the network.
        Exception: what a callback raised; the state is saved.
    """
    held = evenly_spaced(prepared.validation, val_windows(config.train))
    data = TrainingData(prepared.arrays, prepared.train, held, prepared.spec, loss=loss)
    frame = Fitted.of(config, network_name(network, config), prepared, Trained.of(prepared), own_loss_name(loss))
    contents = frame.to_arrays(weights=False)
    asked: dict[str, Any] = {"until": until, "start": start, "store": store, "contents": contents}
    result, seconds = train_stored(config, network, data, seeds, callbacks=callbacks, **asked)
    return [
        frame.replace(
            config=config.replace({"train.seed": seed}),
            selected=Trained.of(
                prepared,
                result.weights(member),
                training_summary(result, member, seconds=seconds),
            ),
        )
        for member, seed in enumerate(seeds)
    ]


def train_stored(
    config: RunConfig,
    network: UserNetwork | None,
    data: TrainingData | Sequence[TrainingData],
    seeds: Sequence[int],
    *,
    contents: tuple[dict[str, Any], dict[str, Any]],
    until: int | None = None,
    start: Weights | None = None,
    store: Store | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[TrainResult, float]:
    """Trains one population, and keeps its state on disk; arguments and errors are as in `train_members`.

    Args:
        config: see there.
        network: see there.
        data: the same for all members, or one for each.
        seeds: one per member.
        contents: what checkpoints hold beside the state: arrays by name, and metadata with ``network`` and ``scaling``;
            from `Fitted.to_arrays`.
        until: see there.
        start: see there.
        store: see there.
        callbacks: see there.

    Returns:
        What training left; and its seconds, over all processes.
    """
    made = network_for(network, config, (data if isinstance(data, TrainingData) else data[0]).spec)
    if start is None and store is not None and store.stored is None:
        start = stored_start(store.directory, made)  # of a run that was killed before its first state was saved
    if start is not None:
        check_start(start, made)
    source = made if start is None else functional(made)[0].merge(start)
    if config.train.max_seconds is not None:
        callbacks = [*callbacks, TimeLimit(config.train.max_seconds)]

    def run(until: int | None, **options: object) -> TrainResult:
        return train(source, data, config.optimizer, config.train, seeds=seeds, until=until, **options)  # type: ignore[arg-type]

    if store is None:
        result = run(until, callbacks=callbacks)
        return result, result.seconds
    arrays, metadata = contents
    metadata = metadata | {"seeds": list(seeds), "data_sha256": store.data_sha256}
    state = None
    if store.stored is not None:
        check_network(store.stored.metadata["network"], network, config, store.directory)
        state = stored_state(store.stored, made, config.optimizer, config.train)
    with contextlib.closing(SaveCheckpoints(store, arrays, metadata, config.train.save_every_seconds)) as saving:
        if start is not None and state is None:
            # A run that is resumed before its first check must not draw its weights from the seed.
            save_start(store.directory, start, metadata["scaling"]["categories"])
            state = run(0, callbacks=[saving]).state
        # Saved last: what is saved is in the log, and was seen by all callbacks.
        logs = [MetricsLogs(store)] if parallel.is_first_process() else []
        result = run(until, state=state, callbacks=[*logs, *callbacks, saving])
    return result, store.seconds + (result.seconds if result.state.step.max() > store.step else 0.0)


def fit_members(
    config: RunConfig,
    network: UserNetwork | None,
    df: Any,
    seeds: Sequence[int],
    *,
    val_size: int | None = None,
    futr_df: Any = None,
    directory: Path | str | None = None,
    until: int | None = None,
    callbacks: Sequence[Callback] = (),
    trained: Fitted | None = None,
    loss: OwnLoss | None = None,
) -> list[Fitted]:
    """Trains one forecaster per seed on a table or on prepared data, with options that are not resolved.

    Arguments and errors are as in `Forecaster.fit` and `Forecaster.finetune`.
    """
    if isinstance(df, Prepared):
        prepared = df
    else:
        config = config.chosen
        data = config.data if val_size is None else dataclasses.replace(config.data, val_size=val_size)
        categories = None if trained is None else trained.forecasting.scaling.categories
        panel = panel_from_table(df, data, futr=futr_df, known=Known.as_text(categories))
        prepared = prepare(panel, data, with_test=False, categories=categories, feed=config.train.feed)
    config = resolved_config(config, prepared, network, len(seeds))
    require_outputs(config, prepared, network)
    if config.train.refit_all:
        warnings.warn(
            "train.refit_all has no effect here: it belongs to lstmjax train and lstmjax.runs.run.train_run; fit with "
            "val_size=0 to train on all rows",
            ConfigWarning,
            stacklevel=4,
        )
    start = None if trained is None else starting_weights(trained, network, config, prepared)
    names = trained_names(config, network, loss)
    with new_run(directory, config, prepared, names, len(seeds), start) as store:
        asked: dict[str, Any] = {"until": until, "start": start, "store": store, "callbacks": callbacks, "loss": loss}
        members = _warned(train_members(config, network, prepared, seeds, **asked))
        return _calibrated(members, network, prepared, store)


def resume_members(
    directory: Path | str,
    config: RunConfig,
    network: UserNetwork | None,
    df: Any,
    seeds: Sequence[int] | None,
    *,
    futr_df: Any,
    callbacks: Sequence[Callback],
    loss: OwnLoss | None,
) -> list[Fitted]:
    """Continues what `fit_members` began; arguments and errors are as in `Forecaster.resume`."""
    asked: dict[str, Any] = {"seeds": seeds, "network": network, "loss": loss}
    with old_run(directory, config, df, futr_df, **asked) as (config, prepared, store):
        seeds = [config.train.seed] if seeds is None else seeds
        resolved = resolved_config(config, prepared, network, len(seeds))
        require_outputs(resolved, prepared, network)
        asked = {"store": store, "callbacks": callbacks, "loss": loss}
        members = _warned(train_members(resolved, network, prepared, seeds, **asked))
        return _calibrated(members, network, prepared, store)


def _calibrated(
    members: list[Fitted], network: UserNetwork | None, prepared: Prepared, store: Store | None
) -> list[Fitted]:
    """The members with the errors of held-out windows, see `with_errors`; these are saved where the members are."""
    members = [with_errors(member, network, prepared) for member in members]
    if store is not None:
        for number, member in enumerate(members):
            save_errors(member, store.directory, number)
    return members


def _warned(members: list[Fitted]) -> list[Fitted]:
    """The members, after a warning of each whose training failed: ``lstmjax train`` prints it."""
    for member in members:
        if member.summary["failure"]:
            of = f"seed {member.config.train.seed}: " if len(members) > 1 else ""
            warnings.warn(f"{of}{member.summary['failure']}", TrainingWarning, stacklevel=5)
    return members


def require_outputs(config: RunConfig, prepared: Prepared, network: UserNetwork | None) -> None:
    """Refuses intervals that cannot be given: before training, not after it.

    A refit holds no rows out, and takes the errors of the selected weights: it is not asked.

    Args:
        config: from `resolved_config`.
        prepared: what is trained on.
        network: a network of the user's own; None for that of ``config.model``.

    Raises:
        ConfigError: the head has none, and they are not calibrated.
        DataError: too few windows are held out for a level.
    """
    require_intervals(head_of(network, config, prepared.spec), config.outputs)
    require_errors(prepared, config.outputs)


def resolved_config(
    config: RunConfig, prepared: Prepared, network: UserNetwork | None = None, members: int = 1
) -> RunConfig:
    """The options with all that was inferred filled in: frequency, season, splits, sizes, and the parts of a batch.

    Args:
        config: as the user gave it.
        prepared: what is trained on.
        network: a network of the user's own; None for that of ``config.model``.
        members: members trained together.

    Raises:
        ConfigError: the shards asked for do not divide the batch, the schedule needs validation windows, or the network
            is none.
    """
    if config.optimizer.schedule == "plateau" and not len(prepared.validation.series):
        raise ConfigError(
            "optimizer.schedule is 'plateau', which needs validation windows, and there are none: give rows to "
            "data.val_size (at least data.h), or choose another schedule"
        )
    if network is not None:
        check_own_network(network, prepared.spec)
    windows = max(1, len(prepared.train.series))
    sizes = with_sizes(config.model.chosen, prepared.spec, windows) if network is None else config.model
    config = dataclasses.replace(config, data=prepared.config, model=sizes)
    if head_of(network, config, prepared.spec).counts:
        require_counts(prepared.panel, prepared.scaling.scaler, prepared.scaling.transform)
    _, first = functional(network_for(network, config, prepared.spec))
    _, shards = resolve_batch(config.train, windows, members, widest=widest(first))
    return config.replace({"train.batch_shards": shards, "train.val_windows": val_windows(config.train)})
