"""Every option of a run: frozen dataclasses, validated on construction, with a JSON round trip.

The names are the contract with users: ``--optimizer.learning-rate 3e-3`` on a command line is
``"optimizer.learning_rate"`` in a sweep's space and `RunConfig.optimizer.learning_rate` in Python. This file names
the choices an option has; the dict from name to function lives where the functions do, and a test holds the two equal.
"""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from lstmjax.errors import ConfigError

FORMAT_VERSION = 1
"""Version of the stored form of a config. A newer one is refused, never guessed at."""

DatasetName = Literal["elecdemand", "etth1", "etth2", "m4_hourly", "m4_weekly", "exchange"]
LayoutName = Literal["long", "wide"]
ScalerName = Literal["standard", "minmax", "robust", "none"]
ScalerScope = Literal["series", "global"]
TransformName = Literal["none", "log"]
CalendarName = Literal["minute", "hour", "weekday", "day", "dayofyear", "week", "month", "quarter"]
GapsPolicy = Literal["mask", "error"]
ModelName = Literal["direct", "segment"]
InstanceNormName = Literal["none", "last", "mean", "median", "revin"]
InstanceScaleName = Literal["none", "std", "mad", "mean_abs"]
BaselineName = Literal["none", "naive", "seasonal_naive"]
OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop", "lion"]
ScheduleName = Literal["constant", "cosine", "exponential", "step", "onecycle", "plateau"]
LossName = Literal["mse", "mae", "huber"]

RESULT_COLUMNS = ("target", "cutoff", "y", "scale", *typing.get_args(BaselineName)[1:])
"""Columns that tables of results and of their metrics have besides the user's own and the forecast's."""


def option(
    default: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    only: Mapping[str, tuple[str, ...]] | None = None,
) -> Any:
    """A dataclass field that says what its option allows, and where it acts.

    Args:
        default: value where none is given.
        low: the least number allowed.
        above: a bound that a number must exceed.
        high: the greatest number allowed.
        only: other options of the section, and for each the values under which this one acts; where there are several,
            one of them is enough. None: it always acts.
    """
    return dataclasses.field(default=default, metadata={"bounds": (low, above, high), "only": only})


def inert_fields(config: Any, section: str) -> dict[str, str]:
    """The options of a section that have no effect, given the others.

    Args:
        config: the section's dataclass.
        section: its name.

    Returns:
        By dotted name, where the option acts and why it does not act here, for a message.
    """
    found = {}
    for named in dataclasses.fields(config):
        only = named.metadata.get("only")
        if only is None or any(getattr(config, name) in values for name, values in only.items()):
            continue
        acts = " or ".join(f"{section}.{name} {_either(values)}" for name, values in only.items())
        here = " and ".join(f"{section}.{name} is {getattr(config, name)!r}" for name in only)
        found[f"{section}.{named.name}"] = f"it acts only with {acts}, and {here}"
    return found


def _either(values: tuple[str, ...]) -> str:
    return " or ".join(filter(None, [", ".join(values[:-1]), values[-1]]))


def check_name(name: str, known: list[str], source: str | None = None) -> None:
    """Refuses an option that does not exist.

    Args:
        name: what the user calls it.
        known: the names there are; the nearest is suggested.
        source: where the name came from, for the message.

    Raises:
        ConfigError: it is not among the known.
    """
    if name in known:
        return
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f": did you mean {nearest[0]!r}?" if nearest else f": the options are {', '.join(known)}"
    raise ConfigError(f"{source + ': ' if source else ''}unknown option {name!r}{hint}")


def check_fields(config: Any, section: str) -> None:
    """Brings every field of a frozen dataclass to its declared type: lists to tuples, whole floats to ints.

    Args:
        config: the dataclass, just constructed.
        section: what comes before the dot in its options' names.

    Raises:
        ConfigError: a value that its type or its bounds do not allow.
    """
    hints = typing.get_type_hints(type(config))
    for option in dataclasses.fields(config):
        name = f"{section}.{option.name}"
        value = _as_type(getattr(config, option.name), hints[option.name], name)
        object.__setattr__(config, option.name, value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            _check_bounds(value, name, *option.metadata.get("bounds", (None, None, None)))


def _check_bounds(value: float, name: str, low: float | None, above: float | None, high: float | None) -> None:
    if not math.isfinite(value):
        raise ConfigError(f"{name} is {value}: expected a finite number")
    if low is not None and value < low:
        raise ConfigError(f"{name} is {value}: expected at least {low}")
    if above is not None and value <= above:
        raise ConfigError(f"{name} is {value}: expected more than {above}")
    if high is not None and value > high:
        raise ConfigError(f"{name} is {value}: expected at most {high}")


def _as_type(value: Any, hint: Any, name: str) -> Any:
    """`value` as the type `hint` says, or a `ConfigError` that says what is allowed."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value is None and type(None) in typing.get_args(hint):
            return None
        (hint,) = (argument for argument in typing.get_args(hint) if argument is not type(None))
    if typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint):
            return value
        raise ConfigError(f"{name} is {value!r}: expected one of {', '.join(typing.get_args(hint))}")
    if typing.get_origin(hint) is tuple:
        choices = typing.get_args(typing.get_args(hint)[0])
        if choices and isinstance(value, (list, tuple)):
            return tuple(_as_type(item, Literal[choices], name) for item in value)
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{name} is {value!r}: expected a list of names")
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    kinds = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    raise ConfigError(f"{name} is {value!r}: expected {kinds[hint]}")


@dataclass(frozen=True)
class DataConfig:
    """Where the series come from and how they are cut, scaled and windowed. Constructing it touches no file."""

    dataset: DatasetName | None = None
    """A named dataset, instead of a path."""
    path: str | None = None
    """A CSV or Parquet file."""
    layout: LayoutName = "long"
    """long: one row per series and time, target columns are the targets of one network. wide: a time column and value
    columns, each of which becomes a series named after it."""
    futr_path: str | None = None
    """A CSV or Parquet file with the known-future covariates beyond the last observed row."""
    time_col: str = "ds"
    """Name of the column of timestamps (or of integers)."""
    id_col: str = "unique_id"
    """Name of the column that tells series apart; a table without it is one series."""
    target_cols: tuple[str, ...] = ("y",)
    """Names of the columns to forecast."""
    futr_exog: tuple[str, ...] = ()
    """Names of covariates known ahead of time."""
    hist_exog: tuple[str, ...] = ()
    """Names of covariates known up to the cut-off only."""
    stat_exog: tuple[str, ...] = ()
    """Names of covariates that are constant within a series."""
    calendar: tuple[CalendarName, ...] = ()
    """Covariates made from the timestamps, known ahead without any table: each becomes a sine and a cosine."""
    weight_col: str | None = None
    """Name of the column that says how much a row counts in the loss of training and validation; all alike if not
    given. Metrics count all rows alike."""
    freq: str | None = None
    """Pandas frequency alias, e.g. "h" or "30min"; a number as text ("1") for integer times. Inferred if not given."""
    season_length: int | None = option(None, low=1)
    """Rows in one season, for seasonal naive and MASE; by frequency if not given."""
    h: int = option(24, low=1)
    """Horizon: rows to forecast."""
    input_size: int = option(96, low=1)
    """Lookback: rows a forecast sees."""
    val_size: int | None = option(None, low=0)
    """Rows held out for validation, before the test rows of each series. Default: a tenth of the median series, at
    least h."""
    test_size: int | None = option(None, low=0)
    """Rows held out for the test, at the end of each series. Default: a fifth of the median series, at least h;
    `Forecaster.fit` holds none out."""
    train_end: str | None = None
    """Last timestamp of the training rows, instead of val_size."""
    val_end: str | None = None
    """Last timestamp of the validation rows, instead of test_size."""
    transform: TransformName = "none"
    """log: targets, which must be positive, are modelled by their logarithm; it is undone on the forecast."""
    scaler: ScalerName = "standard"
    """How targets are scaled, with statistics of the training rows only."""
    scaler_scope: ScalerScope = option("series", only={"scaler": ("standard", "minmax", "robust")})  # noqa: RUF009
    """One set of statistics per series, or one for all."""
    gaps: GapsPolicy = "mask"
    """A missing timestamp becomes a masked step (with a warning), or an error."""
    step_size: int = option(1, low=1)
    """Stride between training windows, in rows. Evaluation always uses every window."""

    def __post_init__(self) -> None:
        check_fields(self, "data")
        if self.dataset is not None and self.path is not None:
            raise ConfigError(f"data.path is {self.path!r} and data.dataset is {self.dataset!r}: give one of the two")
        if not self.target_cols:
            raise ConfigError("data.target_cols is empty: name at least one column to forecast")
        roles = ("target_cols", "futr_exog", "hist_exog", "stat_exog")
        seen: dict[str, str] = {self.time_col: "time_col", self.id_col: "id_col"}
        for role in roles:
            for column in getattr(self, role):
                if column in seen:
                    raise ConfigError(
                        f"data.{role} names {column!r}, which data.{seen[column]} names too: a column has one role"
                    )
                seen[column] = role
        if self.weight_col is not None and self.weight_col in seen:
            raise ConfigError(
                f"data.weight_col names {self.weight_col!r}, which data.{seen[self.weight_col]} names too: "
                "a column has one role"
            )
        if len(set(self.calendar)) < len(self.calendar):
            raise ConfigError(f"data.calendar is {', '.join(self.calendar)}: expected each name once")
        if self.train_end is not None and self.val_size is not None:
            raise ConfigError("data.train_end and data.val_size both say where training ends: give one of the two")
        if self.val_end is not None and self.test_size is not None:
            raise ConfigError("data.val_end and data.test_size both say where validation ends: give one of the two")
        if (self.train_end is None) != (self.val_end is None):
            missing = "val_end" if self.val_end is None else "train_end"
            raise ConfigError(f"data.{missing} is missing: data.train_end and data.val_end are given together")


@dataclass(frozen=True)
class ModelConfig:
    """The network. The sizes of its input come from the data."""

    name: ModelName = "direct"
    """Which network."""
    hidden_size: int = option(128, low=1)
    """Hidden features of the LSTM."""
    num_layers: int = option(1, low=1)
    """Stacked LSTM layers."""
    dropout: float = option(0.0, low=0.0, high=1.0)
    """Probability of dropping a feature between layers and before the head."""
    forget_bias: float = option(1.0)
    """Of the forget gates at first: the higher, the longer memory lasts (Jozefowicz et al. 2015)."""
    head_size: int = option(128, low=0, only={"name": ("direct",)})
    """direct: hidden features of the head; 0 for a linear head."""
    segment_size: int = option(24, low=1, only={"name": ("segment",)})
    """segment: rows in a segment, of the lookback and of the horizon. The first segment is padded, the last cut off."""
    highway: bool = option(False, only={"name": ("segment",)})
    """segment: add a linear map from the normalised lookback to the horizon, one for all channels."""
    recall: bool = option(False, only={"name": ("segment",)})
    """segment: add to each segment of the forecast a mean of the lookback's segments, with weights that the network
    chooses: yesterday again, the same day last week, or several of them. A segment should be whole seasons long."""
    residual: BaselineName = "none"
    """A baseline the network learns the difference to."""
    residual_season: int | None = option(None, low=1, only={"residual": ("seasonal_naive",)})
    """Rows in a season of the baseline seasonal_naive; `data.season_length` if not given."""
    instance_norm: InstanceNormName = "none"
    """What is subtracted from each window's targets and added to its forecast: the last observed value, the mean, the
    median; revin: the mean, with the deviation divided out and a learned scale and shift for each channel."""
    instance_scale: InstanceScaleName = "none"
    """What each window's targets are divided by and its forecast multiplied with: the standard deviation, the mean
    absolute deviation (both from the mean), the mean absolute value."""
    instance_rows: int | None = option(
        None, low=1, only={"instance_norm": ("last", "mean", "median"), "instance_scale": ("std", "mad", "mean_abs")}
    )
    """Last rows of the lookback from which these statistics come; all if not given."""
    series_embedding: int = option(0, low=0)
    """Learned features of each series and channel; a series that was not trained on has the mean of all."""
    alias: str = "lstm"
    """Name of the forecast's column."""

    def __post_init__(self) -> None:
        check_fields(self, "model")
        if self.instance_norm == "revin" and self.instance_scale != "none":
            raise ConfigError(
                f"model.instance_scale is {self.instance_scale!r} and model.instance_norm is 'revin', which divides by "
                "the deviation itself: leave one of them out"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """How a gradient becomes an update, and the schedule of the learning rate."""

    name: OptimizerName = "adam"
    """Which optimiser; the defaults of its other numbers are Optax's."""
    learning_rate: float = option(1e-3, above=0.0)
    """Peak learning rate."""
    schedule: ScheduleName = "constant"
    """The learning rate after the warm-up. plateau: needs validation rows; `train.refit_all`, which has none,
    trains again at the peak learning rate throughout."""
    warmup_steps: int = option(0, low=0)
    """Steps over which the learning rate rises linearly from 0."""
    decay_rate: float = option(0.9, above=0.0, high=1.0, only={"schedule": ("exponential", "step", "plateau")})
    """exponential: factor every decay_steps; step: factor every epoch; plateau: factor after the patience."""
    decay_steps: int = option(1000, low=1, only={"schedule": ("exponential",)})
    """exponential: steps over which the learning rate falls by decay_rate."""
    decay_start_epoch: int = option(0, low=0, only={"schedule": ("step",)})
    """step: epochs before the first decay."""
    final_fraction: float = option(0.0, low=0.0, high=1.0, only={"schedule": ("cosine",)})
    """cosine: the last learning rate, as a fraction of the peak."""
    plateau_patience: int = option(3, low=1, only={"schedule": ("plateau",)})
    """plateau: validation checks without improvement before the learning rate falls."""
    momentum: float = option(0.0, low=0.0, high=1.0, only={"name": ("sgd", "rmsprop")})
    """sgd, rmsprop: decay of the accumulated gradient."""
    weight_decay: float = option(0.0, low=0.0)
    """adamw, lion: decoupled decay; the others: added to the gradient (L2)."""
    clip_norm: float | None = option(1.0, above=0.0)
    """Largest global norm of the gradient; None for no clipping."""
    clip_value: float | None = option(None, above=0.0)
    """Largest absolute value of any element of the gradient; None for no clipping."""

    def __post_init__(self) -> None:
        check_fields(self, "optimizer")


@dataclass(frozen=True)
class TrainConfig:
    """How long to train, on what, and when to stop."""

    max_steps: int = option(1000, low=1)
    """Updates at most."""
    batch_size: int = option(64, low=1)
    """Windows per update."""
    val_check_steps: int = option(100, low=1)
    """Updates between validation checks."""
    early_stop_patience_steps: int = option(5, low=-1)
    """Validation checks without improvement after which training stops (in checks, as in neuralforecast), at least 1;
    -1: never."""
    loss: LossName = "mse"
    """What training minimises and validation watches, in scaled units."""
    huber_delta: float = option(1.0, above=0.0, only={"loss": ("huber",)})
    """huber: where the loss turns from quadratic to linear."""
    seed: int = option(0, low=0, high=2**64 - 1)
    """Seed of the initial weights, the order of the windows and the dropout masks."""
    batch_shards: int | None = option(None, low=1)
    """Devices over which a batch is split. Resolved once and stored: equal values give equal bytes."""
    chunk_steps: int | None = option(None, low=1)
    """Updates in one call of the compiled program; about two seconds' worth if not given. Never changes a byte."""
    save_every_seconds: float = option(20.0, low=0.0)
    """Seconds between saves of the state, at validation checks; 0: at every check. It is also saved at the end, at a
    signal and before a refit. Never changes a byte: a run that is killed is resumed from its last save."""
    refit_all: bool = False
    """After the evaluation, train again on all rows, for the steps that were best, before forecasting the future."""

    def __post_init__(self) -> None:
        check_fields(self, "train")
        if self.early_stop_patience_steps == 0:
            raise ConfigError("train.early_stop_patience_steps is 0: expected at least 1, or -1 for no early stopping")


@dataclass(frozen=True)
class RunConfig:
    """All options of a run.

    >>> config = RunConfig().replace({"data.h": 48, "optimizer.learning_rate": 3e-3})
    >>> config.data.h, config.optimizer.learning_rate
    (48, 0.003)
    >>> RunConfig.from_json(config.to_json()) == config
    True
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        """Refuses names that would meet in one table of results, which is made after hours of training."""
        taken = dict.fromkeys(RESULT_COLUMNS, "a column of the results")
        for name in ("data.id_col", "data.time_col", "model.alias"):
            section, named = name.split(".")
            column = getattr(getattr(self, section), named)
            if column in taken:
                raise ConfigError(
                    f"{name} is {column!r}, which is the name of {taken[column]}: give the column another name"
                )
            taken[column] = f"{name} too"

    def replace(self, values: dict[str, Any]) -> Self:
        """A copy with some options changed.

        Args:
            values: new values by dotted name, e.g. ``{"optimizer.learning_rate": 3e-3}``.

        Returns:
            The changed config.

        Raises:
            ConfigError: a name that does not exist (the nearest is suggested) or a value it cannot have.
        """
        sections: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            check_name(name, option_names())
            section, option = name.split(".")
            sections.setdefault(section, {})[option] = value
        changed = {name: dataclasses.replace(getattr(self, name), **options) for name, options in sections.items()}
        return dataclasses.replace(self, **changed)

    def inert(self) -> dict[str, str]:
        """The options that have no effect, given the others; they are accepted all the same.

        Returns:
            By dotted name, where the option acts and why it does not act here.

        >>> RunConfig().inert()["train.huber_delta"]
        "it acts only with train.loss huber, and train.loss is 'mse'"
        """
        found: dict[str, str] = {}
        for section in dataclasses.fields(self):
            found |= inert_fields(getattr(self, section.name), section.name)
        return found

    def to_json(self) -> str:
        """The config as indented JSON text, with its format version."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "config") -> Self:
        """A config from JSON text; options that are not named keep their defaults.

        Args:
            text: what `to_json` wrote, or a hand-written part of it.
            source: where the text came from, for the messages.

        Raises:
            ConfigError: not JSON, an unknown option (the nearest is suggested), a value that is not allowed, or a
                config written by a newer version.
        """
        try:
            stored = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{source}: line {error.lineno} is not JSON ({error.msg})") from None
        if not isinstance(stored, dict):
            raise ConfigError(f"{source}: expected a JSON object, found {type(stored).__name__}")
        version = stored.get("format_version", FORMAT_VERSION)
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise ConfigError(
                f"{source}: format_version is {version}, this lstmjax reads up to {FORMAT_VERSION}: update lstmjax"
            )
        values: dict[str, Any] = {}
        for section, options in stored.items():
            if section == "format_version":
                continue
            check_name(section, [f.name for f in dataclasses.fields(cls)], source)
            if not isinstance(options, dict):
                raise ConfigError(f"{source}: {section} is {options!r}, expected an object of options")
            values |= {f"{section}.{option}": value for option, value in options.items()}
        for name in values:
            check_name(name, option_names(), source)
        if "format_version" in stored and values.get("train.early_stop_patience_steps") == 0:
            values["train.early_stop_patience_steps"] = 1  # what it did, before it was refused
        try:
            return cls().replace(values)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None


def option_names() -> list[str]:
    """The dotted names of all options, e.g. ``"optimizer.learning_rate"``."""
    return [
        f"{section.name}.{named.name}"
        for section in dataclasses.fields(RunConfig)
        for named in dataclasses.fields(typing.cast(type, section.type))
    ]


def controllers(name: str) -> set[str]:
    """The options whose values decide whether an option acts.

    Args:
        name: dotted name of the option.

    >>> controllers("train.huber_delta")
    {'train.loss'}
    """
    section, option = name.split(".")
    (config,) = (typing.cast(type, field.type) for field in dataclasses.fields(RunConfig) if field.name == section)
    (named,) = (field for field in dataclasses.fields(config) if field.name == option)
    return {f"{section}.{other}" for other in named.metadata.get("only") or ()}
