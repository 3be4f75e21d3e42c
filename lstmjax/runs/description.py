"""run.json: how a run came about."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from lstmjax import parallel
from lstmjax.config import RunConfig
from lstmjax.forecaster.fitted import versions


def describe_process(config: RunConfig, members: int) -> dict[str, Any]:
    """The process that runs: command, time, versions, commit, devices.

    Args:
        config: the options, resolved.
        members: trained together.
    """
    shards = config.train.batch_shards or 1
    others = members == 1 and shards % parallel.process_count() != 0
    if shards > parallel.device_count() or others:  # a run that is resumed with other devices or processes
        shards = parallel.resolve_batch_shards(config.train.batch_size, shards, members=members)
    return {
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "versions": versions(),
        "git_commit": _git_commit(),
        "platform": jax.default_backend(),
        "processes": parallel.process_count(),
        "devices": [str(device) for device in jax.devices()],
        "mapping": parallel.default_mapping(members, parallel.make_mesh(members, shards)),
        "batch_shards": shards,
    }


def _git_commit() -> str | None:
    """The commit of the source tree this package runs from; None where it was installed from elsewhere."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # else it lies in somebody else's tree
        return git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


def as_json(value: Any) -> str:
    """Indented JSON text; what is not a finite number, which JSON does not know, becomes null."""
    return json.dumps(_finite(value), indent=2) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
