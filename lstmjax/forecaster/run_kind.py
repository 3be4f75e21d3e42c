"""What kind of run a folder holds: a run, those of several seeds, a sweep, a backtest, or none of ours."""

import json
from pathlib import Path
from typing import Any, Literal

from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.forecaster.saved import CONFIG_FILE, read_config

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
    """What kind of run a folder holds; None where it holds none of ours.

    It is ours if run.json names the version of lstmjax, or config.json is one that lstmjax reads. Runs of earlier
    versions do not say their kind; it follows from what else is there.
    """
    path = Path(path)
    description = read_description(path)
    versions, kind = description.get("versions"), description.get("kind")
    if not (isinstance(versions, dict) and "lstmjax" in versions) and not _has_config(path):
        return None
    if isinstance(kind, str) and kind in KINDS:
        return kind  # type: ignore[return-value]
    if (path / "sweep.json").exists():
        return "sweep"
    return "seeds" if seed_directories(path) else "run"


def check_kind(path: Path | str, *kinds: Kind) -> None:
    """Refuses a folder that holds no run of some kinds.

    Raises:
        CheckpointError: says what it holds, and how that is resumed.
    """
    found = kind_of(path)
    if found is None:
        raise CheckpointError(f"{path} is not a run directory: name one that lstmjax wrote")
    if found not in kinds:
        raise CheckpointError(
            f"{path} holds {KINDS[found]}, not {KINDS[kinds[0]]}: resume it with {_RESUMED_BY[found]}"
        )


def seed_directories(path: Path | str) -> list[Path]:
    """The directories of the runs of several seeds, such as ``seed-0``."""
    found = (config.parent for config in Path(path).glob(f"seed-*/{CONFIG_FILE}"))
    return sorted(seed for seed in found if seed.name.removeprefix("seed-").isdecimal() and _has_config(seed))


def seeds_of(path: Path | str) -> list[int]:
    """The seeds of the runs of several seeds; those of earlier versions have a directory each."""
    described = read_description(Path(path)).get("seeds")
    if isinstance(described, list) and described:
        return described
    return [int(seed.name.removeprefix("seed-")) for seed in seed_directories(path)]


def read_description(path: Path) -> dict[str, Any]:
    """What run.json says; empty where it cannot be read."""
    try:
        found = json.loads((path / RUN_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _has_config(path: Path) -> bool:
    """Whether there is a config.json that `RunConfig.to_json` wrote."""
    try:
        read_config(path)
        return "format_version" in json.loads((path / CONFIG_FILE).read_text())
    except (CheckpointError, ConfigError, OSError, ValueError):
        return False
