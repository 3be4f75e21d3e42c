"""The flags of each command: one dataclass per command, whose docstrings are the help texts."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lstmjax.config import BacktestConfig, DataConfig, DistributedConfig, OutputsConfig, RunConfig
from lstmjax.errors import ConfigError
from lstmjax.sweep.config import SweepConfig


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
    resume: Path | None = None
    """Resume the run in this directory, to the same bytes as if it had not been interrupted. Options are the run's;
    with --run-dir it is resumed in a copy."""
    finetune_from: Path | None = None
    """Start a new run from the weights of the run in this directory. Options are that run's, where no flag is given."""
    seeds: int | None = None
    """Train from so many seeds at once, train.seed and those after it: one run directory per seed, and a table."""
    distributed: DistributedConfig = dataclasses.field(default_factory=DistributedConfig)

    def __post_init__(self) -> None:
        if self.seeds is not None and self.finetune_from is not None:
            raise ConfigError("--seeds begins from weights drawn anew, --finetune-from does not: give one of the two")
        if self.seeds is not None and self.resume is not None and self.run_dir is not None:
            raise ConfigError("several seeds are resumed in place: leave --run-dir out")
        if self.resume is not None and (self.finetune_from is not None or self.overwrite):
            other = "--overwrite" if self.overwrite else "--finetune-from"
            raise ConfigError(f"--resume continues a run, {other} begins one: give one of the two")


@dataclasses.dataclass(frozen=True)
class Backtest:
    """Train on the rows before each of several cutoffs, forecast what came after, and compare it with the truth.

    The models of all cutoffs are trained together; what each of them sees ends at its cutoff.
    """

    options: Annotated[RunConfig, tyro.conf.arg(name="")]
    """data.test_size has no effect: what comes after a cutoff is its test."""
    n_windows: int | None = None
    """Windows per series, the last of which ends at its last observation. Default: 4."""
    step_size: int | None = None
    """Rows between two windows. Default: data.h, or the next number that data.origins allows."""
    refit: str | None = None
    """no: train before the first cutoff only; yes: before every cutoff; 3: before every third. Default: no."""
    warm: bool = False
    """Begin each training with the weights of the one before, instead of weights drawn anew."""
    train_size: int | None = None
    """Rows of each series to train on, the last ones before those held out for validation. Default: all."""
    run_dir: Path | None = None
    """Where to leave the backtest. Default: runs/ and the time."""
    config: Path | None = None
    """A JSON file with options, such as the config.json of a run; flags win over it."""
    overwrite: bool = False
    """Replace a backtest that is in the run directory."""
    resume: Path | None = None
    """Resume the backtest in this directory, to the same bytes as if it had not been interrupted."""

    def __post_init__(self) -> None:
        given = {
            "--n-windows": self.n_windows,
            "--step-size": self.step_size,
            "--refit": self.refit,
            "--warm": self.warm,
            "--train-size": self.train_size,
            "--run-dir": self.run_dir,
            "--overwrite": self.overwrite,
        }
        typed = [flag for flag, value in given.items() if value not in (None, False)]
        if self.resume is not None and typed:
            raise ConfigError(f"--resume continues a backtest as it was begun: leave {', '.join(typed)} out")
        if self.refit is not None and self.refit not in ("no", "yes") and not self.refit.isdecimal():
            raise ConfigError(f"--refit is {self.refit!r}: expected no, yes, or a number of cutoffs such as 3")
        _ = self.settings

    @property
    def settings(self) -> BacktestConfig:
        """The cutoffs, and what is trained."""
        refit = self.refit or "no"
        return BacktestConfig(
            n_windows=BacktestConfig.n_windows if self.n_windows is None else self.n_windows,
            step_size=self.step_size,
            refit={"no": 0, "yes": 1}[refit] if refit in ("no", "yes") else int(refit),
            warm_start=self.warm,
            train_size=self.train_size,
        )


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Search for good options: train whole populations of settings at once, and keep the winner.

    The same command resumes a search that was interrupted, and several at once share the work.
    """

    search: Annotated[SweepConfig, tyro.conf.arg(name="")]
    options: Annotated[RunConfig, tyro.conf.arg(name="")]
    """Those that all settings share."""
    space: tyro.conf.Positional[Path] = Path("space.toml")
    """A TOML file with a line for each searched option."""
    run_dir: Path | None = None
    """Where to leave the trials and the winner. Default: runs/ and the time."""
    config: Path | None = None
    """A JSON file with options; flags win over it."""


@dataclasses.dataclass(frozen=True)
class SweepProxy:
    """Serve a database of trials to the workers of sweeps, which name it as --storage grpc://HOST:PORT.

    It has no authentication: listen on an address that only your workers can reach.
    """

    storage: str
    """The database, such as sqlite:///study.db."""
    host: str = "localhost"
    """The address to listen on. Workers on other hosts need 0.0.0.0, or the address of this host."""
    port: int = 13000
    """The port to listen on."""


@dataclasses.dataclass(frozen=True)
class Check:
    """Say what is understood of a table, on one screen: times, gaps, roles of the columns, what would be trained on.

    Nothing is trained or written. The exit status is 2 where the table cannot be used.
    """

    table: tyro.conf.Positional[Path | None] = None
    """A CSV or Parquet file; as --data.path."""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    json: bool = False
    """Print it as JSON."""


@dataclasses.dataclass(frozen=True)
class Pack:
    """Pack a table into a store that data.store trains from, in memory that does not grow with the table.

    What is refused and warned of is what training from the table would be.
    """

    table: tyro.conf.Positional[Path]
    """A CSV or Parquet file, or a folder of them, which are taken in the order of their names."""
    store: tyro.conf.Positional[Path]
    """The folder to make."""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    """The meaning of the columns, and how the files are read. With data.calendar or data.holidays also data.h."""
    overwrite: bool = False
    """Replace a store that is there."""


@dataclasses.dataclass(frozen=True)
class NewData:
    """Other data than that of the run."""

    path: Path | None = None
    """A table with the columns and the frequency of the training data."""
    store: Path | None = None
    """A store of such a table, instead of the table."""
    futr_path: Path | None = None
    """A table with the known-future covariates beyond its last observed row."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained forecaster on every window of the rows it was neither trained nor validated on."""

    run: tyro.conf.Positional[Path]
    """The run directory."""
    data: NewData = dataclasses.field(default_factory=NewData)
    outputs: OutputsConfig = dataclasses.field(default_factory=OutputsConfig)
    """Intervals and their calibration. Default: those of the run."""
    out: Path | None = None
    """Also write every forecast to this CSV or Parquet file."""
    json: bool = False
    """Print the metrics as JSON."""


@dataclasses.dataclass(frozen=True)
class Predict:
    """Forecast beyond the last row."""

    run: tyro.conf.Positional[Path]
    """The run directory."""
    data: NewData = dataclasses.field(default_factory=NewData)
    outputs: OutputsConfig = dataclasses.field(default_factory=OutputsConfig)
    """Intervals and their calibration. Default: those of the run."""
    num_samples: int | None = None
    """Instead of one forecast, so many paths over the horizon, numbered in the column sample."""
    out: Path | None = None
    """The CSV or Parquet file to write. Default: standard output."""


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a trained forecaster for use without lstmjax."""

    run: tyro.conf.Positional[Path]
    """The run directory."""
    out: Path
    """The file: model.stablehlo (the forecast function, for jax on CPU, CUDA and TPU) or model.safetensors (the
    weights)."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """Follow live data: read rows as they come, forecast after each, and score the forecasts when the truth comes.

    Input is CSV with a header, or without one in the columns of the training table, or JSON lines; output is one JSON
    line per series and row. Without a state it starts from the end of the training data.
    """

    run: tyro.conf.Positional[Path]
    """The run directory."""
    mode: Literal["window", "stateful"] = "window"
    """window: keep the last data.input_size rows. stateful: keep the recurrent state of a direct network."""
    state: Path | None = None
    """A directory for the state, saved at most once a second; the same command continues from it."""
    follow: Path | None = None
    """A file that grows, read from its beginning. Default: standard input."""
    out: Path | None = None
    """The file to write. Default: standard output."""
    level: tuple[float, ...] | None = None
    """Adaptive intervals in percent. Default: outputs.level of the run."""
    late: Literal["error", "skip", "correct"] = "error"
    """What becomes of a row that is not newer than those before it: reported as malformed; skipped; it corrects the row
    that was there."""
    new_series: Literal["error", "add"] = "error"
    """Whether rows of a series that was not there are reported as malformed, or it joins."""
    strict: bool = False
    """Stop at the first malformed line. Default: it is reported, skipped and counted."""
