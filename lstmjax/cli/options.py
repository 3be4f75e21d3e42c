"""Which options were typed, and what the others are: those of a config file, or of the run that is named."""

import dataclasses
import itertools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstmjax.cli.commands import Evaluate, Predict
from lstmjax.config import SOURCES, OutputsConfig, RunConfig
from lstmjax.errors import ConfigError, ConfigWarning


def check_typed(arguments: Sequence[str], *, inert: Mapping[str, str], fixed: Mapping[str, str] = {}) -> None:
    """Warns of options that were typed and have no effect; refuses those that a script sets itself.

    Args:
        arguments: the command line.
        inert: options that have no effect, by dotted name, and why: see `RunConfig.inert`.
        fixed: options that may not be given, by dotted name, and what to do instead.

    Raises:
        ConfigError: an option in ``fixed`` was given.
    """
    typed = _typed(arguments)
    for name, instead in fixed.items():
        if name in typed:
            raise ConfigError(f"{name} is set by this script: {instead}")
    for name, why in inert.items():
        if name in typed or name.replace(".", ".no_") in typed:
            warnings.warn(f"{name} has no effect: {why}", ConfigWarning, stacklevel=2)


def _typed(arguments: Sequence[str]) -> set[str]:
    """The names of the options on a command line, dotted, as in a config."""
    return {argument.split("=")[0].removeprefix("--").replace("-", "_") for argument in arguments}


def defaults(arguments: list[str]) -> RunConfig:
    """The options' values where no flag gives them: those of the config file, or of the run that is resumed."""
    given = [name for name in SOURCES if _values(arguments, f"--data.{name}")]

    def of_file(path: Path) -> RunConfig:
        # Data that are named on the command line are instead of those of the file.
        return _config(path).replace({f"data.{name}": None for name in SOURCES} if given else {})

    if named := _values(arguments, "--config"):
        return of_file(Path(named[-1]))
    if named := _values(arguments, "--resume"):
        return of_file(Path(named[-1]) / "config.json")
    if named := _values(arguments, "--finetune-from"):
        config = of_file(Path(named[-1]) / "config.json").replace({"train.batch_shards": None})
        return config.replace({"data.futr_path": None}) if given else config
    return RunConfig()


def with_outputs_of_run(command: Evaluate | Predict, arguments: Sequence[str]) -> Evaluate | Predict:
    """The options for intervals are those of the run that is evaluated or forecasts, where no flag gives them."""
    path = command.run / "config.json"
    if not path.exists():
        return command
    typed = _typed(arguments)
    names = [field.name for field in dataclasses.fields(OutputsConfig) if f"outputs.{field.name}" in typed]
    given: dict[str, Any] = {name: getattr(command.outputs, name) for name in names}
    return dataclasses.replace(command, outputs=dataclasses.replace(_config(path).outputs, **given))


def _values(arguments: list[str], flag: str) -> list[str]:
    """What follows a flag, as often as it is given. Tyro takes underscores in its name for hyphens."""
    apart = [value for name, value in itertools.pairwise(arguments) if name.replace("_", "-") == flag]
    joined = [argument.partition("=") for argument in arguments]
    return apart + [value for name, equals, value in joined if equals and name.replace("_", "-") == flag]


def _config(path: Path) -> RunConfig:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    return RunConfig.from_json(text, str(path))
