"""Sets up a sweep: validates its space, options and data before anything is written, and makes its folder and study."""

import contextlib
import dataclasses
import json
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lstmjax.config import RunConfig
from lstmjax.data.digest import panel_digest
from lstmjax.data.folds import Folds
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared
from lstmjax.data.scaling_checks import require_counts
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.errors import CheckpointError, ConfigError, ConfigWarning
from lstmjax.forecaster.fit import require_outputs
from lstmjax.forecaster.network import head_of
from lstmjax.forecaster.resumed_options import without_free
from lstmjax.models.user_network import NetworkMaker, check_own_network, own_name
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.job import absolute_paths
from lstmjax.storage.files import replace_file
from lstmjax.storage.lock import file_lock
from lstmjax.sweep.config import SweepConfig
from lstmjax.sweep.population.folds import training_data
from lstmjax.sweep.population.population import check_network
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.blocks import Plan
from lstmjax.sweep.study.storage import Storage
from lstmjax.sweep.study.study import Study
from lstmjax.sweep.study.suggest import make_suggest, number_of_trials

SWEEP_FILE = "sweep.json"

DATABASE = "study.db"
"""The trials, in the sweep's directory, unless a storage is named."""

LOCK_FILE = ".sweep.lock"
"""The file in a sweep's directory that is locked while its folder is made, and while its report is written."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep that is ready to begin or to continue: what it searches, and where its trials and its files are."""

    space: Space
    base: RunConfig
    """The options that trials share."""
    settings: SweepConfig
    network: NetworkMaker | None
    """A network of the user's own; None for that of ``base.model``."""
    panel: Panel
    data_digest: str
    """SHA-256 of the data."""
    directory: Path
    plan: Plan
    study: Study


@contextlib.contextmanager
def set_up(
    space: Space | Mapping[str, Any] | Path | str,
    base: RunConfig,
    run_dir: Path | str,
    settings: SweepConfig,
    network: NetworkMaker | None,
) -> Iterator[Sweep]:
    """Validates a sweep, and makes its folder unless it exists; arguments and errors as in `lstmjax.sweep.run`.

    Yields:
        The sweep; its storage is closed at the end.
    """
    source_name = "space"
    if isinstance(space, Mapping):
        space = Space.from_dict(space)
    elif not isinstance(space, Space):
        space, source_name = Space.from_toml(space), str(space)
    space.check(base, source_name)
    if base.train.max_seconds is not None:
        warnings.warn(
            "train.max_seconds has no effect in a sweep, whose trials are compared after the same number of steps: "
            "leave it out, and stop the sweep when you like; the same command resumes it",
            ConfigWarning,
            stacklevel=4,
        )
    check_network(network, space, source_name)
    total = number_of_trials(settings, space)
    base = dataclasses.replace(base, data=absolute_paths(with_dataset_settings(base.data)))
    panel = load_source(base.data).panel(base.data)
    folds = Folds(settings.folds, settings.fold_step)
    prepared, _ = training_data(panel, base.data, folds, metric=settings.metric, space=space, base=base)
    if network is not None:
        check_own_network(network, prepared.spec)
    _require_outputs(base, space, prepared, network)
    if folds.count > 1:
        settings = dataclasses.replace(settings, fold_step=folds.rows(prepared))
    digest, directory = panel_digest(panel), Path(run_dir)
    description = _describe(space, base, settings, network, digest)
    with contextlib.ExitStack() as stack:

        def opened(url: str) -> Storage:
            return stack.enter_context(contextlib.closing(Storage(url)))

        storage = None if settings.storage is None else opened(settings.storage)
        identity = _make_directory(directory, base, digest, description)
        storage = storage or opened(f"sqlite:///{directory.resolve() / DATABASE}")
        study = Study(storage, settings.study, description | {"run directory": identity}, space)
        suggest = make_suggest(space, settings.sampler, base.train.seed, settings.population)
        plan = Plan(total, settings.population, suggest)
        yield Sweep(space, base, settings, network, panel, digest, directory, plan, study)


def _describe(
    space: Space, base: RunConfig, settings: SweepConfig, network: NetworkMaker | None, data_digest: str
) -> dict[str, Any]:
    """What tells a sweep from every other."""
    searched = ("sampler", "population", "halving", "hyperband", "seeds", "metric")
    return {
        "space": json.loads(space.to_json()),
        "options": json.loads(without_free(base).to_json()),
        "data_sha256": data_digest,
        **{name: getattr(settings, name) for name in searched},
        "folds": {"count": settings.folds, "step": settings.fold_step},
        "network": None if network is None else own_name(network),
    }


def _require_outputs(base: RunConfig, space: Space, prepared: Prepared, network: NetworkMaker | None) -> None:
    """Refuses intervals that the winner could not give, and a head that does not fit the data: before the search."""
    searched = dict(space.parameters).get("model.head")
    for head in [base.model.head] if searched is None else searched.points or ():
        try:
            require_outputs(base.replace({"model.head": head}), prepared, network)
        except ConfigError as error:
            raise ConfigError(str(error) if searched is None else f"model.head {head!r} is searched: {error}") from None
    if searched is None and head_of(network, base, prepared.spec).counts:
        require_counts(prepared.panel, base.chosen.data.scaler, base.data.transform)


def _make_directory(directory: Path, base: RunConfig, data_digest: str, description: Mapping[str, Any]) -> str:
    """Makes the sweep's folder unless it exists; returns the sweep's identifier, different for every sweep."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with file_lock(directory / LOCK_FILE):
            path = directory / SWEEP_FILE
            if path.exists():
                return json.loads(path.read_text())["id"]
            # A proxy may serve the database of a sweep that is to begin.
            if {entry.name for entry in directory.iterdir()} - {LOCK_FILE, DATABASE, f"{DATABASE}-journal"}:
                (directory / LOCK_FILE).unlink()
                raise CheckpointError(f"{directory} holds something that is not a sweep: name another --run-dir")
            identity = uuid.uuid4().hex
            RunDirectory(directory).describe(base, kind="sweep", data_digest=data_digest)
            replace_file(path, json.dumps({"id": identity, **description}, indent=2) + "\n")
            return identity
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be written ({error.strerror}): name another --run-dir") from None
