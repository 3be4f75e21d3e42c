"""The command line: one function a command, each a few lines over the package.

A user's mistake ends with exit status 2 and one line on standard error.
"""

import dataclasses
import itertools
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from lstmjax.config import RunConfig
from lstmjax.errors import ConfigError, LstmjaxError

MISTAKE = 2
"""Exit status of a mistake the user can mend."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a forecaster, evaluate it, forecast beyond the last row; leave all of it in a run directory."""

    options: Annotated[RunConfig, tyro.conf.arg(name="")]
    run_dir: Path | None = None
    """Where to leave the run. Default: runs/ and the time."""
    config: Path | None = None
    """A JSON file with options, such as the config.json of another run; flags win over it."""
    overwrite: bool = False
    """Replace a run that is in the run directory."""


@dataclasses.dataclass(frozen=True)
class NewData:
    """Other data than that of the run."""

    path: Path | None = None
    """A table with the columns and the frequency of the training data."""
    futr_path: Path | None = None
    """A table with the known-future covariates beyond its last observed row."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained forecaster on every window of the rows it was neither trained nor validated on."""

    run: tyro.conf.Positional[Path]
    """The run directory."""
    data: NewData = dataclasses.field(default_factory=NewData)
    out: Path | None = None
    """Also write every forecast to this CSV file."""
    json: bool = False
    """Print the metrics as JSON."""


@dataclasses.dataclass(frozen=True)
class Predict:
    """Forecast beyond the last row."""

    run: tyro.conf.Positional[Path]
    """The run directory."""
    data: NewData = dataclasses.field(default_factory=NewData)
    out: Path | None = None
    """The CSV file to write. Default: standard output."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script ``lstmjax``.

    Args:
        arguments: instead of those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]  # whatever else it is given is not shown
        try:
            command = _parse(arguments)
            _COMMANDS[type(command)](command)
        except LstmjaxError as error:
            print(f"lstmjax: error: {error}", file=sys.stderr)
            sys.exit(MISTAKE)


def train(command: Train) -> None:
    """``lstmjax train``."""
    from lstmjax import parallel
    from lstmjax.run import train_run
    from lstmjax.run_directory import default_path

    parallel.configure_devices()
    directory = default_path() if command.run_dir is None else command.run_dir
    train_run(command.options, directory, overwrite=command.overwrite)


def evaluate(command: Evaluate) -> None:
    """``lstmjax evaluate``."""
    from lstmjax import parallel
    from lstmjax.forecaster import Forecaster
    from lstmjax.run import metrics_table
    from lstmjax.run_directory import write_table

    parallel.configure_devices()
    forecaster = Forecaster.load(command.run)
    evaluation = forecaster.evaluate_panel(_panel(forecaster, command.data))
    if command.out is not None:
        write_table(evaluation.table, command.out)
    if command.json:
        print(json.dumps(evaluation.metrics, indent=2))
    else:
        print(metrics_table(evaluation.metrics, forecaster.config.model.alias), end="")


def predict(command: Predict) -> None:
    """``lstmjax predict``."""
    from lstmjax import parallel
    from lstmjax.forecaster import Forecaster
    from lstmjax.run import REFIT
    from lstmjax.run_directory import write_table

    parallel.configure_devices()
    # A run that was trained again on all rows forecasts with those weights.
    directory = command.run / REFIT if (command.run / REFIT).is_dir() else command.run
    forecaster = Forecaster.load(directory)
    if command.data.path is not None:
        forecast = forecaster.predict_panel(_panel(forecaster, command.data))
    else:
        futr = None if command.data.futr_path is None else _read(command.data.futr_path)
        forecast = forecaster.predict(futr_df=futr)
    if command.out is None:
        print(forecast.to_csv(index=False), end="")
    else:
        write_table(forecast, command.out)


_COMMANDS: dict[type, Callable[[Any], None]] = {Train: train, Evaluate: evaluate, Predict: predict}


def _parse(arguments: list[str]) -> Train | Evaluate | Predict:
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=Train(_defaults(arguments)))]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Predict, tyro.conf.subcommand("predict")]
    )
    return tyro.cli(commands, args=arguments, prog="lstmjax", description="Time-series forecasting with LSTMs in JAX.")  # type: ignore[arg-type, call-overload]


def _defaults(arguments: list[str]) -> RunConfig:
    """The options' values where no flag gives them: those of the config file, if one is named."""
    named = [value for flag, value in itertools.pairwise(arguments) if flag == "--config"]
    named += [flag.removeprefix("--config=") for flag in arguments if flag.startswith("--config=")]
    if not named:
        return RunConfig()
    try:
        text = Path(named[-1]).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{named[-1]}: cannot be read ({getattr(error, 'strerror', error)})") from None
    return RunConfig.from_json(text, named[-1])


def _panel(forecaster: Any, data: NewData) -> Any:
    """The data to work on: the new, or that of the run."""
    from lstmjax.data.source import load_source

    own = forecaster.fitted.config.data
    if data.path is not None:
        own = dataclasses.replace(own, dataset=None, path=str(data.path), futr_path=None)
    if data.futr_path is not None:
        own = dataclasses.replace(own, futr_path=str(data.futr_path))
    source = load_source(own)
    return forecaster.panel(source.table, source.futr, source=source.name)


def _read(path: Path) -> Any:
    from lstmjax.data.table import read_table

    return read_table(path)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """A warning as one line, without the place in the code that a user has nothing to do with."""
    print(f"lstmjax: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
