"""run.json: what kind of run a folder holds, and how it came about."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import jax

from lstmjax import parallel
from lstmjax.config import RunConfig
from lstmjax.errors import CheckpointError
from lstmjax.forecaster.fitted import versions
from lstmjax.forecaster.saved import CONFIG_FILE

RUN_FILE = "run.json"

Kind = Literal["run", "seeds", "sweep", "backtest"]

KINDS: dict[Kind, str] = {
    "run": "a run",
    "seeds": "the runs of several seeds",
    "sweep": "a sweep",
    "backtest": "a backtest",
}
"""What a folder may hold, by the ``kind`` that its run.json says, in words."""

_RESUMED_BY: dict[Kind, str] = {
    "run": "lstmjax train --resume",
    "seeds": "lstmjax train --resume --seeds",
    "sweep": "the command of the sweep",
    "backtest": "lstmjax backtest --resume",
}


def kind_of(path: Path | str) -> Kind | None:
    """What kind of run a folder holds; None where it holds none.

    Runs of earlier versions do not say it; it follows from what else is there.
    """
    path = Path(path)
    description = read_description(path)
    if description.get("kind") in KINDS:
        return description["kind"]
    try:
        config = json.loads((path / CONFIG_FILE).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or "format_version" not in config or "train" not in config:
        return None
    if (path / "sweep.json").exists():
        return "sweep"
    return "seeds" if any(path.glob("seed-*/config.json")) else "run"


def check_kind(path: Path | str, kind: Kind) -> None:
    """Refuses a folder that holds no run of a kind.

    Raises:
        CheckpointError: says what it holds, and how that is resumed.
    """
    found = kind_of(path)
    if found is None:
        raise CheckpointError(f"{path} is not a run directory: name one that lstmjax wrote")
    if found != kind:
        raise CheckpointError(f"{path} holds {KINDS[found]}, not {KINDS[kind]}: resume it with {_RESUMED_BY[found]}")


def number_of_seeds(path: Path | str) -> int:
    """How many seeds the runs of several seeds are trained from; those of earlier versions have a folder each."""
    folders = len(list(Path(path).glob(f"seed-*/{CONFIG_FILE}")))
    return len(read_description(Path(path)).get("seeds", [])) or folders


def read_description(path: Path) -> dict[str, Any]:
    """What run.json says; empty where it cannot be read."""
    try:
        found = json.loads((path / RUN_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def describe_process(config: RunConfig, members: int) -> dict[str, Any]:
    """The process that runs: command, time, versions, commit, devices.

    Args:
        config: the options, resolved.
        members: trained together.
    """
    shards = config.train.batch_shards or 1
    if shards > jax.device_count():  # a run that is resumed where there are fewer devices
        shards = parallel.resolve_batch_shards(config.train.batch_size, shards)
    return {
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "versions": versions(),
        "git_commit": _git_commit(),
        "platform": jax.default_backend(),
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
