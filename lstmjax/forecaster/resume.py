"""Resuming a run: with the same options and the same data, or not at all."""

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstmjax import parallel
from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.digest import panel_digest
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.source import load_source
from lstmjax.errors import CheckpointError
from lstmjax.forecaster.checkpoints import (
    CHECKPOINTS,
    LOG_FILE,
    PREFIX,
    Store,
    check_resumable,
    save_start,
    start_categories,
)
from lstmjax.forecaster.fitted import versions
from lstmjax.forecaster.network import UserNetwork, check_network, network_name
from lstmjax.forecaster.own_loss import check_loss
from lstmjax.forecaster.resumed_options import agreed_config
from lstmjax.forecaster.run_kind import RUN_FILE, check_kind, read_description
from lstmjax.forecaster.saved import CONFIG_FILE, ERRORS, read_config, write_config, write_file
from lstmjax.storage import checkpoint
from lstmjax.storage.checkpoint import CheckpointWarning
from lstmjax.storage.lock import DirectoryLock
from lstmjax.training import Weights
from lstmjax.training.losses import OwnLoss, loss_name


@contextlib.contextmanager
def new_run(
    directory: Path | str | None,
    config: RunConfig,
    prepared: Prepared,
    names: Mapping[str, str],
    members: int = 1,
    start: Weights | None = None,
) -> Iterator[Store | None]:
    """A new folder for this process alone, with the options in it.

    Args:
        directory: where; None: nothing is written.
        config: the options, from `resolved_config`.
        prepared: the data.
        names: from `trained_names`.
        members: members trained together.
        start: weights to begin with; saved before the options, which a resume needs.

    Yields:
        Where to save.

    Raises:
        CheckpointError: the folder is in use, holds a run already, or cannot be written.
    """
    if directory is None:
        yield None
        return
    digest = panel_digest(prepared.panel)
    with contextlib.ExitStack() as stack:
        with parallel.together():
            if parallel.is_first_process():
                stack.enter_context(DirectoryLock(directory))
                _begin(Path(directory), {"versions": versions(), "data_sha256": digest, **names})
        if start is not None:
            save_start(Path(directory), start, prepared.scaling.categories)
        with parallel.together():
            if parallel.is_first_process():
                write_config(directory, config)
        yield Store(Path(directory), digest, logs=_logs(directory, members))


def _begin(directory: Path, description: dict[str, Any]) -> None:
    """Refuses a folder that holds a run; else says in it what is trained."""
    taken = any((directory / name).exists() for name in (CONFIG_FILE, LOG_FILE))
    if taken or checkpoint.steps(directory / CHECKPOINTS):
        raise CheckpointError(f"{directory} holds a run already: resume it, or name another folder")
    write_file(directory / RUN_FILE, json.dumps(description, indent=2) + "\n")


@contextlib.contextmanager
def old_run(
    directory: Path | str,
    config: RunConfig,
    df: Any,
    futr_df: Any,
    *,
    seeds: Sequence[int] | None = None,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
) -> Iterator[tuple[RunConfig, Prepared, Store]]:
    """A run to resume, for this process alone.

    Args:
        directory: where it is.
        config: the options asked for; ``RunConfig()`` for those of the run.
        df: its table. Default: what its config names.
        futr_df: its known-future covariates.
        seeds: those of a population. Default: ``train.seed``.
        network: the network of the user's own that it was begun with.
        loss: the loss of the user's own that it was begun with.

    Yields:
        The options, the data, and where to continue from.

    Raises:
        CheckpointError: no run is found, its checkpoints do not verify, or the data are others.
        ConfigError: the options are others.
    """
    with contextlib.ExitStack() as stack:
        with parallel.together():
            stored = read_config(directory)
            check_kind(directory, "run", "seeds")
            if parallel.is_first_process():
                stack.enter_context(DirectoryLock(directory))
            agreed = (stored if config == RunConfig() else agreed_config(stored, config, directory)).chosen
            if df is None:
                source = load_source(agreed.data)
                panel, name = source.panel(agreed.data), source.name
            else:
                panel, name = panel_from_table(df, agreed.data, futr=futr_df), "the table"
            seeds, digest = [agreed.train.seed] if seeds is None else list(seeds), panel_digest(panel)
            asked: dict[str, Any] = {
                "data_sha256": digest,
                "source": name,
                "seeds": seeds,
                "network": network,
                "loss": loss,
            }
            found = checkpoint_to_resume(directory, stored, agreed, **asked)
            given: dict[str, Any] = {"categories": start_categories(directory), "feed": agreed.train.feed}
            prepared = prepare(panel, agreed.data, with_test=False, **given)
        if parallel.is_first_process():  # now that all have read what is there
            write_config(directory, agreed)
        yield agreed, prepared, Store(Path(directory), digest, found, _logs(directory, len(seeds)))


def _logs(directory: Path | str, members: int) -> tuple[Path, ...]:
    return (Path(directory) / LOG_FILE,) if members == 1 else ()


def check_seeds(theirs: Sequence[int], seeds: Sequence[int]) -> None:
    """Refuses to resume a run with other seeds than its own.

    Raises:
        CheckpointError: names both.
    """
    if list(theirs) != list(seeds):
        raise CheckpointError(f"the run's seeds are {list(theirs)}, not {list(seeds)}: resume it with the same")


def take_member(source: Path | str, member: int, target: Path | str) -> None:
    """Takes one member out of a population, as a run of its own that can be loaded, resumed and finetuned.

    Args:
        source: the population's folder.
        member: which, counted from 0.
        target: a new folder.

    Raises:
        CheckpointError: there is no such member, the population cannot be resumed, or the target cannot be written.
    """
    stored = checkpoint.load(Path(source) / CHECKPOINTS)
    check_resumable(stored, source)
    seeds = stored.metadata["seeds"]
    if not 0 <= member < len(seeds):
        raise CheckpointError(f"{source} has no member {member}: it has {len(seeds)}, counted from 0")
    config = RunConfig.from_json(stored.metadata["config"], f"{source}").replace({"train.seed": seeds[member]})
    arrays = {
        name: array[member : member + 1] if name.startswith(f"{PREFIX}/") else array
        for name, array in stored.arrays.items()
    }
    metadata = stored.metadata | {"config": config.to_json(), "seeds": [seeds[member]]}
    with DirectoryLock(target):
        if checkpoint.steps(Path(target) / CHECKPOINTS):
            raise CheckpointError(f"{target} holds a run already: name another folder")
        checkpoint.save(Path(target) / CHECKPOINTS, int(arrays[f"{PREFIX}/step"][0]), arrays, metadata)
        if member in checkpoint.steps(Path(source) / ERRORS):
            errors = checkpoint.load_step(Path(source) / ERRORS, member)
            checkpoint.save(Path(target) / ERRORS, 0, errors.arrays, errors.metadata)
        write_config(target, config)


def checkpoint_to_resume(
    directory: Path | str,
    stored: RunConfig,
    config: RunConfig,
    *,
    data_sha256: str,
    source: str,
    seeds: Sequence[int],
    network: UserNetwork | None,
    loss: OwnLoss | None,
) -> checkpoint.Checkpoint | None:
    """The checkpoint that a run is resumed from. It changes nothing on disk.

    Of a run that is given more steps, a checkpoint that they make wrong is passed over.

    Args:
        directory: the run's.
        stored: its options.
        config: those it is resumed with.
        data_sha256: digest of the data at hand.
        source: what to call the data.
        seeds: one per member.
        network: the network of the user's own that it was begun with.
        loss: the loss of the user's own.

    Returns:
        None where nothing was saved yet: the run starts from the beginning.

    Raises:
        CheckpointError: the data, the seeds, the network or the loss are others; no checkpoint verifies; or an earlier
            version trained otherwise.
    """
    folder = Path(directory) / CHECKPOINTS
    described = read_description(Path(directory))
    check_data(described.get("data_sha256"), data_sha256, directory, source)
    if "network" in described:  # earlier versions said it in checkpoints only
        check_network(described["network"], network, config, directory)
        check_loss(described.get("own_loss"), loss, directory)
    saved = checkpoint.steps(folder)
    if not saved:
        return None
    found = checkpoint.load(folder)
    check_resumable(found, directory)
    if "seeds" not in found.metadata:
        raise CheckpointError("a saved forecaster has no training to resume: finetune its weights (--finetune-from)")
    check_seeds(found.metadata["seeds"], seeds)
    check_data(found.metadata["data_sha256"], data_sha256, directory, source)
    check_network(found.metadata["network"], network, config, directory)
    check_loss(found.metadata.get("own_loss"), loss, directory)
    last = stored.train.max_steps
    if config.train.max_steps > last and last % stored.train.val_check_steps:
        last -= 1  # the run's last check was one that a longer run does not make there
    if found.step > last:
        if saved[0] > last:
            return None
        found = checkpoint.load(folder, upto=last)
    _warn_of_other_versions(found.metadata.get("versions", {}), directory)
    return found


def trained_names(config: RunConfig, network: UserNetwork | None, loss: OwnLoss | None) -> dict[str, str]:
    """What run.json says of what is trained, so that a run that was killed before its first save keeps to it."""
    names = {"network": network_name(network, config)}
    return names if loss is None else names | {"own_loss": loss_name(loss)}


def check_data(then: str | None, now: str, directory: Path | str, source: str) -> None:
    """Refuses other data than that of the run.

    Args:
        then: SHA-256 of the run's data; None where it is not known.
        now: SHA-256 of the data at hand.
        directory: the run's.
        source: what to call the data.

    Raises:
        CheckpointError: they differ.
    """
    if then is not None and then != now:
        raise CheckpointError(
            f"{directory}: {source} is not the data the run was trained on (SHA-256 {now[:12]}…, not {then[:12]}…): "
            f"restore it, or start a new run from the weights: lstmjax train --finetune-from {directory}"
        )


def _warn_of_other_versions(then: dict[str, str], directory: Path | str) -> None:
    now = versions()
    told = [f"{name} {then[name]}, now {now[name]}" for name in now if name in then and then[name] != now[name]]
    if told:
        warnings.warn(
            f"{directory} was trained with {'; '.join(told)}: from here on its numbers may differ by rounding",
            CheckpointWarning,
            stacklevel=3,
        )
