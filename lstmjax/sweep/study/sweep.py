"""A sweep: what it searches, and where its study and its files are."""

import dataclasses
from pathlib import Path
from typing import Any

from lstmjax.config import RunConfig
from lstmjax.data.panel import Panel
from lstmjax.models.user_network import NetworkMaker
from lstmjax.sweep.config import SweepConfig
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.storage import Storage
from lstmjax.sweep.study.study import Plan, Study

LOCK_FILE = ".sweep.lock"
"""The file in a sweep's directory that is locked while its folder is made, and while its report is written."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep that is ready to begin or to continue."""

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
    description: dict[str, Any]
    """What tells this sweep from every other."""
    plan: Plan
    storage: Storage

    def study(self) -> Study:
        """The trials; errors as of `Study`."""
        return Study(self.storage, self.settings.study, self.description, self.space)
