"""What a search asks: its space, options and data, checked before anything is written, and the folder it is kept in."""

import dataclasses
import fcntl
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lstmjax.config import RunConfig
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import prepare
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.errors import CheckpointError
from lstmjax.forecaster.checkpoint import panel_digest
from lstmjax.forecaster.resume import SAFE
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.run import absolute_paths
from lstmjax.storage.files import replace_file
from lstmjax.sweep.config import COORDINATOR, SweepConfig
from lstmjax.sweep.population.objective import check_metric
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.storage import Storage
from lstmjax.sweep.study.study import Study
from lstmjax.sweep.study.suggest import asker, distributions, encode, number_of_trials
from lstmjax.sweep.worker import Plan

SWEEP_FILE = "sweep.json"


class Question(NamedTuple):
    """A search, ready to begin or to go on."""

    space: Space
    base: RunConfig
    """The options that trials share."""
    settings: SweepConfig
    panel: Panel
    digest: str
    """SHA-256 of the data."""
    directory: Path
    description: dict[str, Any]
    """What makes the search the one it is."""
    plan: Plan
    storage: Storage | None
    """None where another process owns the study."""

    def study(self, *, coordinated: bool = False) -> Study:
        """The trials.

        Args:
            coordinated: whether this process owns them for workers on any host.

        Raises:
            ConfigError: the storage holds another search.
        """
        assert self.storage is not None
        told = distributions(self.space)
        return Study(self.storage, self.settings.study, self.description, told, encode, coordinated=coordinated)

    def close(self) -> None:
        """Closes the database."""
        if self.storage is not None:
            self.storage.close()


def pose(
    space: Space | Mapping[str, Any] | Path | str, base: RunConfig, run_dir: Path | str, settings: SweepConfig
) -> Question:
    """Checks a search, and makes its folder unless it is there; arguments and errors as in `lstmjax.sweep.run`."""
    space, source_name = _space(space)
    space.check(base, source_name)
    check_metric(settings.metric)
    total = number_of_trials(settings, space)
    base = dataclasses.replace(base, data=absolute_paths(with_dataset_settings(base.data)))
    panel = load_source(base.data).panel(base.data)
    prepare(panel, base.data, with_test=True)
    digest, directory = panel_digest(panel), Path(run_dir)
    description = _describe(space, base, settings, digest)
    server = None if settings.storage in (None, COORDINATOR) else Storage(settings.storage)
    identity = _make_directory(directory, base, digest, description)
    storage = (
        None if settings.storage == COORDINATOR else server or Storage(f"sqlite:///{directory.resolve()}/study.db")
    )
    ask = asker(space, settings.sampler, base.train.seed, settings.population)
    return Question(
        space=space,
        base=base,
        settings=settings,
        panel=panel,
        digest=digest,
        directory=directory,
        description=description | {"run directory": identity},
        plan=Plan(total, settings.population, ask),
        storage=storage,
    )


def _space(space: Space | Mapping[str, Any] | Path | str) -> tuple[Space, str]:
    if isinstance(space, Space):
        return space, "space"
    if isinstance(space, Mapping):
        return Space.from_dict(space), "space"
    return Space.from_toml(space), str(space)


def _describe(space: Space, base: RunConfig, settings: SweepConfig, data_digest: str) -> dict[str, Any]:
    """What makes a search the one it is."""
    searched = ("sampler", "population", "halving", "hyperband", "seeds", "metric")
    neutral = dict.fromkeys(SAFE) | {"train.refit_all": False}
    # A path and a dataset exclude each other, and neither says what the data are: their digest does.
    options = json.loads(base.replace(neutral | {"data.dataset": None}).to_json())
    return {
        "space": json.loads(space.to_json()),
        "options": options,
        "data_sha256": data_digest,
        **{name: getattr(settings, name) for name in searched},
    }


def _make_directory(directory: Path, base: RunConfig, data_digest: str, description: Mapping[str, Any]) -> str:
    """Makes the sweep's folder, unless it is there.

    Returns:
        What tells it from every other.
    """
    lock = ".sweep.lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / lock).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            path = directory / SWEEP_FILE
            if path.exists():
                return json.loads(path.read_text())["id"]
            if {entry.name for entry in directory.iterdir()} - {lock}:
                (directory / lock).unlink()
                raise CheckpointError(f"{directory} holds something that is not a sweep: name another --run-dir")
            identity = uuid.uuid4().hex
            RunDirectory(directory).describe(base, data_digest=data_digest)
            replace_file(path, json.dumps({"id": identity, **description}, indent=2) + "\n")
            return identity
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be written ({error.strerror}): name another --run-dir") from None
