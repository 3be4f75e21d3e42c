"""Every option of a run: frozen dataclasses, validated on construction, with a JSON round trip.

The names are the contract with users: ``--optimizer.learning-rate 3e-3`` on a command line is
``"optimizer.learning_rate"`` in a sweep's space and `RunConfig.optimizer.learning_rate` in Python. This file names
the choices an option has; the dict from name to function lives where the functions do, and a test holds the two equal.
"""

import dataclasses
import difflib
import functools
import itertools
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from lstmjax.errors import ConfigError

FORMAT_VERSION = 2
"""Version of the stored form of a config. A newer one is refused, never guessed at."""

DatasetName = Literal["elecdemand", "etth1", "etth2", "m4_hourly", "m4_weekly", "exchange"]
LayoutName = Literal["long", "wide"]
ScalerName = Literal["auto", "standard", "minmax", "robust", "none"]
ScalerScope = Literal["series", "global"]
TransformName = Literal["none", "log", "log1p"]
CalendarName = Literal["minute", "hour", "weekday", "day", "dayofyear", "week", "month", "quarter"]
FeedName = Literal["auto", "device", "host"]
GapsPolicy = Literal["mask", "error"]
ModelName = Literal["direct", "segment"]
HeadName = Literal["point", "quantile", "normal", "student_t", "negative_binomial"]
InstanceNormName = Literal["auto", "none", "last", "mean", "median", "revin"]
InstanceScaleName = Literal["auto", "none", "std", "mad", "mean_abs"]
BaselineName = Literal["none", "naive", "seasonal_naive"]
KnownFutureName = Literal["query", "decoder"]
OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop", "lion"]
ScheduleName = Literal["constant", "cosine", "exponential", "step", "onecycle", "plateau"]
LossName = Literal["auto", "mse", "mae", "huber", "pinball", "nll"]
CalibrationName = Literal["none", "conformal", "cqr"]
CalibrationScope = Literal["series", "pooled"]
PoolName = Literal["quantiles", "linear"]
TableFormat = Literal["csv", "parquet"]

LOSS_OF_HEAD = {"quantile": "pinball", "normal": "nll", "student_t": "nll", "negative_binomial": "nll"}
"""The only loss that fits each head but point, which takes any other."""

_COUNTS = ("negative_binomial",)
"""Heads of counts, whose values are never shifted."""

TIME_FORMATS = ("epoch_s", "epoch_ms", "integer")
"""Values of ``data.time_format`` besides strptime formats."""

RESULT_COLUMNS = ("target", "cutoff", "y", "scale", *typing.get_args(BaselineName)[1:])
"""Columns that tables of results and of their metrics have besides the user's own and the forecast's."""


SOURCES = ("path", "dataset", "store")
"""Options of the section data that name the data: one of them is given."""

Resume = Literal["same", "more", "inferred", "free"]
SAME_DATA = "no: every trial is ranked on the same targets"
_DEFAULT: Any = object()

TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
"""What messages call the values of an option of this type."""


@dataclass(frozen=True)
class Rules:
    """What an option allows, and where it acts.

    Checks, warnings, what a resumed run may change, what a sweep may search and the table in the docs are derived from
    it.
    """

    low: float | None = None
    """The least number allowed."""
    above: float | None = None
    """A bound that a number must exceed."""
    high: float | None = None
    """The greatest number allowed."""
    only: Mapping[str, tuple[str, ...]] | None = None
    """Other options of the section, and for each the values under which this one acts; where there are several, one of
    them is enough. None: it always acts."""
    resume: Resume = "same"
    """Whether a resumed run may change it. same: no. more: it may only grow. inferred: no, but the run fills it in
    where it is None or auto, so that these are no change. free: yes, since nothing that is trained depends on it."""
    sweep: str = "shape"
    """How a sweep searches it. traced: as an input of the compiled program, so that a new value compiles nothing.
    shape: trials that differ in it are compiled apart. "no: ...": not at all, and why."""
    format_1: Any = _DEFAULT
    """Its value in a config of format 1 that does not name it. Default: its default."""

    @property
    def unsearchable(self) -> str | None:
        """Why a sweep cannot search it; None if it can."""
        return self.sweep.removeprefix("no: ") if self.sweep.startswith("no: ") else None


def option(default: Any, **rules: Any) -> Any:
    """A dataclass field that describes its option.

    Args:
        default: value where none is given.
        rules: see `Rules`.
    """
    return dataclasses.field(default=default, metadata={"rules": Rules(**rules)})


def inert_fields(config: Any, section: str) -> dict[str, str]:
    """The options of a section that have no effect, given the others.

    Args:
        config: the section's dataclass.
        section: its name.

    Returns:
        By dotted name, where the option acts and why it does not act here, for a message.
    """
    only = {named.name: named.metadata["rules"].only for named in dataclasses.fields(config)}

    def acts(name: str) -> bool:
        if only[name] is None:
            return True
        return any(getattr(config, other) in values and acts(other) for other, values in only[name].items())

    found = {}
    for name, others in only.items():
        if not acts(name):
            where = " or ".join(f"{section}.{other} {_either(values)}" for other, values in others.items())
            here = " and ".join(f"{section}.{other} is {getattr(config, other)!r}" for other in others if acts(other))
            found[f"{section}.{name}"] = f"it acts only with {where}, and {here}"
    return found


def _without_none(choices: Any) -> tuple[str, ...]:
    return tuple(name for name in typing.get_args(choices) if name != "none")


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
            _check_bounds(value, name, option.metadata["rules"])


def check_names(config: Any, section: str, *options: str) -> None:
    """Refuses names of columns that are empty or blank: a table has no place for them.

    Args:
        config: the section's dataclass.
        section: its name.
        options: those that hold a name or several, or None.

    Raises:
        ConfigError: names the option.
    """
    for option in options:
        value = getattr(config, option)
        for name in (value,) if isinstance(value, str) else value or ():
            if not name.strip():
                raise ConfigError(f"{section}.{option} is {value!r}: expected the name of a column, not an empty one")


def check_quantiles(levels: Sequence[float], name: str) -> None:
    """Refuses levels of quantiles that are not ascending between 0 and 1.

    Args:
        levels: the levels.
        name: the option's dotted name, for the message.

    Raises:
        ConfigError: names the option.
    """
    for level in levels:
        if not 0 < level < 1:
            raise ConfigError(
                f"{name} is {level:.10g}: expected probabilities above 0 and below 1, such as 0.1 0.5 0.9"
            )
    for before, after in itertools.pairwise(levels):
        if before >= after or f"{before:.10g}" == f"{after:.10g}":
            raise ConfigError(
                f"{name} has {after:.10g} after {before:.10g}: expected each probability once, in ascending order"
            )


def check_intervals(levels: Sequence[float], name: str) -> None:
    """Refuses levels of intervals that are not percents, each once.

    Args:
        levels: the levels.
        name: the option's dotted name, for the message.

    Raises:
        ConfigError: names the option.
    """
    for level in levels:
        if not 0 < level < 100:
            raise ConfigError(f"{name} is {level:.10g}: expected a number of percent above 0 and below 100")
    names = [f"{level:.10g}" for level in levels]
    for text in names:
        if names.count(text) > 1:
            raise ConfigError(f"{name} names {text} twice: expected each level once")


def _check_bounds(value: float, name: str, rules: Rules) -> None:
    if not math.isfinite(value):
        raise ConfigError(f"{name} is {value}: expected a finite number")
    if rules.low is not None and value < rules.low:
        raise ConfigError(f"{name} is {value}: expected at least {rules.low}")
    if rules.above is not None and value <= rules.above:
        raise ConfigError(f"{name} is {value}: expected more than {rules.above}")
    if rules.high is not None and value > rules.high:
        raise ConfigError(f"{name} is {value}: expected at most {rules.high}")


def _as_type(value: Any, hint: Any, name: str) -> Any:
    """`value` as the type `hint` says, or a `ConfigError` that says what is allowed."""
    hint, optional = _without_none_type(hint)
    if value is None and optional:
        return None
    if typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint):
            return value
        raise ConfigError(f"{name} is {value!r}: expected one of {', '.join(typing.get_args(hint))}")
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if item in (float, int):
            if isinstance(value, (list, tuple)):
                return tuple(_as_type(number, item, name) for number in value)
            raise ConfigError(f"{name} is {value!r}: expected a list of numbers")
        choices = typing.get_args(item)
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
    raise ConfigError(f"{name} is {value!r}: expected {TYPE_NAMES[hint]}")


def _without_none_type(hint: Any) -> tuple[Any, bool]:
    """A declared type without None, and whether None is allowed."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (alone,) = (argument for argument in typing.get_args(hint) if argument is not type(None))
        return alone, True
    return hint, False


@dataclass(frozen=True)
class DataConfig:
    """Where the series come from and how they are cut, scaled and windowed. Constructing it touches no file."""

    dataset: DatasetName | None = option(None, resume="inferred", sweep=SAME_DATA)
    """A named dataset, instead of a path."""
    path: str | None = option(None, resume="free", sweep=SAME_DATA)
    """A CSV or Parquet file."""
    store: str | None = option(None, resume="free", sweep=SAME_DATA)
    """A store that lstmjax pack made of a table, instead of the table: it may be larger than memory."""
    layout: LayoutName = option("long", sweep=SAME_DATA)
    """long: one row per series and time, target columns are the targets of one network. wide: a time column and value
    columns, each of which becomes a series named after it."""
    sep: str = option(",", sweep=SAME_DATA)
    """The character between the cells of a CSV file; \\t for a tab."""
    decimal: str = option(".", sweep=SAME_DATA)
    """The decimal mark of the numbers in a CSV file."""
    futr_path: str | None = option(None, resume="free", sweep=SAME_DATA)
    """A CSV or Parquet file with the known-future covariates beyond the last observed row."""
    time_col: str = option("ds", sweep=SAME_DATA)
    """Name of the column of timestamps (or of integers)."""
    time_format: str | None = option(None, resume="inferred", sweep=SAME_DATA)
    """How the text of time_col is written, where it could mean several times: a strptime format such as %d/%m/%Y, also
    for whole numbers such as 20240131; epoch_s or epoch_ms, seconds or milliseconds since 1970 in UTC; integer, whole
    numbers that count. It holds for every table of the run. Default: ISO 8601, or what is certain."""
    time_zone: str | None = option(None, sweep=SAME_DATA)
    """Time zone such as Europe/Berlin: local times are in it, and times with another zone or offset are converted to
    it. Default: that of the table, or none."""
    id_col: str = option("unique_id", sweep=SAME_DATA)
    """Name of the column that tells series apart; a table without it is one series."""
    target_cols: tuple[str, ...] = option(("y",), sweep=SAME_DATA)
    """Names of the columns to forecast."""
    futr_exog: tuple[str, ...] = option((), sweep=SAME_DATA)
    """Names of covariates known ahead of time."""
    hist_exog: tuple[str, ...] = option((), sweep=SAME_DATA)
    """Names of covariates known up to the cut-off only."""
    stat_exog: tuple[str, ...] = option((), sweep=SAME_DATA)
    """Names of covariates that are constant within a series."""
    calendar: tuple[CalendarName, ...] = option((), sweep=SAME_DATA)
    """Covariates made from the timestamps, known ahead without any table: each becomes a sine and a cosine."""
    holidays: str | None = option(None, sweep=SAME_DATA)
    """A country, or one of its regions as in AU-VIC: adds a known-future covariate that is 1 on its public holidays.
    Needs the package holidays: pip install 'lstmjax[holidays]'."""
    weight_col: str | None = option(None, sweep=SAME_DATA)
    """Name of the column that says how much a row counts in the loss of training and validation; all alike if not
    given. Metrics count all rows alike."""
    freq: str | None = option(None, resume="inferred", sweep=SAME_DATA)
    """Pandas frequency alias, e.g. "h" or "30min"; a number as text ("1") for integer times. Inferred if not given."""
    season_length: int | None = option(None, low=1, resume="inferred", sweep=SAME_DATA)
    """Rows in one season, for seasonal naive and MASE; by frequency if not given."""
    h: int = option(24, low=1, sweep=SAME_DATA)
    """Horizon: rows to forecast."""
    input_size: int = option(96, low=1)
    """Lookback: rows a forecast sees."""
    val_size: int | None = option(None, low=0, resume="inferred", sweep=SAME_DATA)
    """Rows held out for validation, before the calibration and test rows of each series. Default: a tenth of the median
    series, at least h."""
    calibration_size: int = option(0, low=0, sweep=SAME_DATA)
    """Rows between validation and test that are neither trained on nor used for early stopping: intervals are
    calibrated on them (outputs.calibration); 0: on the validation rows."""
    test_size: int | None = option(None, low=0, resume="inferred", sweep=SAME_DATA)
    """Rows held out for the test, at the end of each series. Default: a fifth of the median series, at least h;
    `Forecaster.fit` holds none out."""
    train_end: str | None = option(None, sweep=SAME_DATA)
    """Last timestamp of the training rows, instead of val_size."""
    val_end: str | None = option(None, sweep=SAME_DATA)
    """Last timestamp of the validation rows, instead of test_size."""
    calibration_end: str | None = option(None, sweep=SAME_DATA)
    """Last timestamp of the calibration rows, with train_end and val_end, instead of calibration_size."""
    transform: TransformName = option("none")
    """What targets are modelled by; it is undone on the forecast, which is in the table's units. log: the logarithm,
    of positive targets; log1p: the logarithm of 1 + target, for counts and other values with zeros. Both forecast what
    lies in the middle (with the mse loss the exponential of the mean logarithm, near the median), not the mean, which
    is higher where values are skewed."""
    clip_min: float | None = option(None, sweep=SAME_DATA)
    """The least value of a forecast, in the table's units, e.g. 0 for what cannot be negative; any if not given."""
    scaler: ScalerName = option("auto", resume="inferred")
    """How targets are scaled, with statistics of the training rows only. auto: standard; none for model.head
    negative_binomial."""
    scaler_scope: ScalerScope = option("series", only={"scaler": _without_none(ScalerName)})
    """One set of statistics per series, or one for all."""
    gaps: GapsPolicy = option("mask", sweep=SAME_DATA)
    """A missing timestamp becomes a masked step (with a warning), or an error."""
    step_size: int = option(1, low=1)
    """Stride between training windows, in rows. Evaluation always uses every window."""
    origins: str = option("every", sweep=SAME_DATA)
    """Where the forecasts of training, validation, calibration and test begin. every: at every row. A whole number K:
    at every K-th row, counted back from the first row after the last observation of each series. A time such as 00:00:
    where the first forecast row is at this time of day, in the time zone of the table."""

    def __post_init__(self) -> None:
        if isinstance(self.origins, int) and not isinstance(self.origins, bool):
            object.__setattr__(self, "origins", str(self.origins))
        check_fields(self, "data")
        self._check_origins()
        check_names(self, "data", "time_col", "id_col", "weight_col")
        check_names(self, "data", "target_cols", "futr_exog", "hist_exog", "stat_exog")
        sources = [f"data.{name} is {getattr(self, name)!r}" for name in SOURCES if getattr(self, name) is not None]
        if len(sources) > 1:
            raise ConfigError(f"{' and '.join(sources)}: give one of the {'two' if len(sources) == 2 else 'three'}")
        for name, mark in (("sep", self.separator), ("decimal", self.decimal)):
            if len(mark) != 1:
                raise ConfigError(f"data.{name} is {mark!r}: expected one character")
        if self.separator == self.decimal:
            raise ConfigError(
                f"data.sep and data.decimal are both {self.decimal!r}: give another character to data.sep, such as ';'"
            )
        if self.time_format is not None and "%" not in self.time_format and self.time_format not in TIME_FORMATS:
            raise ConfigError(
                f"data.time_format is {self.time_format!r}: expected a strptime format such as %d/%m/%Y, or one of "
                f"{', '.join(TIME_FORMATS)}"
            )
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
        if self.calibration_end is not None and self.train_end is None:
            raise ConfigError(
                "data.calibration_end is given without data.train_end and data.val_end: give all three, or "
                "data.calibration_size"
            )
        if self.calibration_size and self.train_end is not None:
            raise ConfigError(
                f"data.calibration_size is {self.calibration_size}, but data.train_end and data.val_end say where the "
                "parts end: give data.calibration_end"
            )

    def _check_origins(self) -> None:
        """Brings ``origins`` to one form, so that equal ones are equal: every, a whole number, HH:MM."""
        text, form = self.origins.strip(), None
        number = re.fullmatch(r"0*([1-9][0-9]{0,8})", text)
        time = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
        if text == "every" or number:
            form = number[1] if number else text
        elif time:
            form = f"{int(time[1]):02d}:{time[2]}"
        if form is None:
            raise ConfigError(
                f"data.origins is {self.origins!r}: expected every, a whole number of rows such as 24, or a time of "
                "day such as 00:00"
            )
        object.__setattr__(self, "origins", form)
        if form != "every" and self.step_size > 1:
            raise ConfigError(
                f"data.origins is {form!r} and data.step_size is {self.step_size}: both say which windows are trained "
                "on, give one of the two"
            )

    @property
    def separator(self) -> str:
        """`sep` as the character that it stands for."""
        return "\t" if self.sep == "\\t" else self.sep


@dataclass(frozen=True)
class ModelConfig:
    """The network. The sizes of its input come from the data."""

    name: ModelName = option("segment", format_1="direct")
    """Which network."""
    hidden_size: int | None = option(None, low=1, resume="inferred", format_1=128)
    """Hidden features of the LSTM. Default: 128; 32 where there are fewer than 1,000 windows to train on."""
    head: HeadName = option("point", format_1="point")
    """What is forecast of each value. point: one number. quantile: the levels of model.quantiles. normal, student_t,
    negative_binomial (counts): a distribution. All but point give intervals, and the median as the forecast."""
    quantiles: tuple[float, ...] = option(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        only={"head": ("quantile",)},
        sweep="no: trials are compared on the same levels",
    )
    """quantile: the levels that are learned; others are interpolated."""
    num_layers: int = option(1, low=1)
    """Stacked LSTM layers."""
    dropout: float = option(0.0, low=0.0, high=1.0, sweep="traced")
    """Probability of dropping a feature between layers and before the head."""
    forget_bias: float = option(1.0, sweep="traced")
    """Of the forget gates at first: the higher, the longer memory lasts (Jozefowicz et al. 2015)."""
    head_size: int = option(128, low=0, only={"name": ("direct",)})
    """direct: hidden features of the head; 0 for a linear head."""
    segment_size: int | None = option(None, low=1, only={"name": ("segment",)}, resume="inferred", format_1=24)
    """segment: rows in a segment, of the lookback and of the horizon. The first segment is padded, the last cut off.
    Default: by season, horizon and lookback, a day of hours for example."""
    highway: bool = option(True, only={"name": ("segment",)}, format_1=False)
    """segment: add a linear map from the normalised lookback to the horizon, one for all channels."""
    recall: bool = option(True, only={"name": ("segment",)}, format_1=False)
    """segment: add to each segment of the forecast a mean of the lookback's segments, with weights that the network
    chooses: yesterday again, the same day last week, or several of them. A segment should be whole seasons long."""
    known_future: KnownFutureName = option("query", only={"name": ("segment",)})
    """segment: where covariates known ahead enter, beside those of the lookback. query: each segment of the horizon is
    asked for with those of its rows. decoder: also dense layers read them, after the LSTM, beside its state."""
    decoder_size: int = option(256, low=1, only={"known_future": ("decoder",)})
    """segment: hidden features of the decoder's two dense layers."""
    lags: tuple[int, ...] = option((), only={"known_future": ("decoder",)})
    """segment: what the decoder reads besides, of each row of the horizon: the targets, and the covariates known ahead,
    of the row so many rows before it (or twice as many, and so on, where that is not observed yet). 24 168: an hour's
    value a day ago and a week ago."""
    residual: BaselineName = option("none")
    """A baseline the network learns the difference to."""
    residual_season: int | None = option(None, low=1, only={"residual": ("seasonal_naive",)})
    """Rows in a season of the baseline seasonal_naive; `data.season_length` if not given."""
    instance_norm: InstanceNormName = option("auto", resume="inferred", format_1="none")
    """What is subtracted from each window's targets and added to its forecast: the last observed value, the mean, the
    median; revin: the mean, with the deviation divided out and a learned scale and shift for each channel. auto: last;
    none for head negative_binomial."""
    instance_scale: InstanceScaleName = option(
        "auto",
        only={"instance_norm": ("auto", "none", "last", "mean", "median")},
        resume="inferred",
        format_1="none",
    )
    """What each window's targets are divided by and its forecast multiplied with: the standard deviation, the mean
    absolute deviation (both from the mean), the mean absolute value. auto: std; mean_abs for head
    negative_binomial."""
    instance_rows: int | None = option(
        None,
        low=1,
        only={
            "instance_norm": ("auto", "last", "mean", "median"),
            "instance_scale": ("auto", "std", "mad", "mean_abs"),
        },
    )
    """Last rows of the lookback from which these statistics come; all if not given."""
    series_embedding: int = option(0, low=0)
    """Learned features of each series and channel; a series that was not trained on has the mean of all."""
    alias: str = option("lstm", sweep="no: it is a name")
    """Name of the forecast's column."""

    def __post_init__(self) -> None:
        check_fields(self, "model")
        check_names(self, "model", "alias")
        check_quantiles(self.quantiles, "model.quantiles")
        if not self.quantiles:
            raise ConfigError("model.quantiles is empty: give at least one level, such as 0.1 0.5 0.9")
        for lag in self.lags:
            if lag < 1 or self.lags.count(lag) > 1:
                raise ConfigError(f"model.lags has {lag}: expected whole numbers of rows from 1 on, each once")

    @property
    def chosen(self) -> Self:
        """The options with each auto replaced by what it means with this head."""
        counts = self.head in _COUNTS
        norm, scale = self.instance_norm, self.instance_scale
        if norm == "auto":
            norm = "none" if counts else "last"
        if scale == "auto":
            scale = "mean_abs" if counts else "std"
        return dataclasses.replace(self, instance_norm=norm, instance_scale=scale)


@dataclass(frozen=True)
class OptimizerConfig:
    """How a gradient becomes an update, and the schedule of the learning rate."""

    name: OptimizerName = option("adam")
    """Which optimiser; the defaults of its other numbers are Optax's."""
    learning_rate: float = option(2e-3, above=0.0, sweep="traced", format_1=1e-3)
    """Peak learning rate."""
    schedule: ScheduleName = option("cosine", format_1="constant")
    """The learning rate after the warm-up. plateau: needs validation rows; `train.refit_all`, which has none,
    trains again at the peak learning rate throughout."""
    warmup_steps: int = option(0, low=0, sweep="traced")
    """Steps over which the learning rate rises linearly from 0."""
    decay_rate: float = option(
        0.9, above=0.0, high=1.0, only={"schedule": ("exponential", "step", "plateau")}, sweep="traced"
    )
    """exponential: factor every decay_steps; step: factor every epoch; plateau: factor after the patience."""
    decay_steps: int = option(1000, low=1, only={"schedule": ("exponential",)}, sweep="traced")
    """exponential: steps over which the learning rate falls by decay_rate."""
    decay_start_epoch: int = option(0, low=0, only={"schedule": ("step",)}, sweep="traced")
    """step: epochs before the first decay."""
    final_fraction: float = option(0.0, low=0.0, high=1.0, only={"schedule": ("cosine",)}, sweep="traced")
    """cosine: the last learning rate, as a fraction of the peak."""
    plateau_patience: int = option(3, low=1, only={"schedule": ("plateau",)}, sweep="traced")
    """plateau: validation checks without improvement before the learning rate falls."""
    momentum: float = option(0.0, low=0.0, high=1.0, only={"name": ("sgd", "rmsprop")}, sweep="traced")
    """sgd, rmsprop: decay of the accumulated gradient."""
    weight_decay: float = option(0.0, low=0.0, sweep="traced")
    """adamw, lion: decoupled decay; the others: added to the gradient (L2)."""
    clip_norm: float | None = option(1.0, above=0.0, sweep="traced")
    """Largest global norm of the gradient; None for no clipping."""
    clip_value: float | None = option(None, above=0.0, sweep="traced")
    """Largest absolute value of any element of the gradient; None for no clipping."""

    def __post_init__(self) -> None:
        check_fields(self, "optimizer")


@dataclass(frozen=True)
class TrainConfig:
    """How long to train, on what, and when to stop."""

    max_steps: int = option(
        2000,
        low=1,
        format_1=1000,
        resume="more",
        sweep="no: trials are compared after the same number of steps, and halving gives the best ones more",
    )
    """Updates at most."""
    batch_size: int = option(64, low=1)
    """Windows per update."""
    val_check_steps: int = option(100, low=1, sweep="no: trials are compared at the same checks")
    """Updates between validation checks."""
    early_stop_patience_steps: int = option(5, low=-1, sweep="traced")
    """Validation checks without improvement after which training stops (in checks, as in neuralforecast), at least 1;
    -1: never."""
    val_windows: int | None = option(
        None,
        low=0,
        resume="inferred",
        sweep="no: trials are compared on the same windows",
        format_1=0,
    )
    """Windows of a validation check, evenly spaced among all; 0: all. Default: three tenths of the windows that are
    trained on between two checks, at least 256, so that a check takes under a tenth of the time between them. The test
    always takes every window."""
    max_seconds: float | None = option(
        None, above=0.0, resume="free", sweep="no: trials are compared after the same number of steps"
    )
    """Seconds after which training ends in good order: the weights of the best check are evaluated and forecast. A
    resumed run has as many again."""
    loss: LossName = option("auto", resume="inferred", format_1="mse")
    """What training minimises and validation watches, in scaled units. auto: what fits the head: mae for point; pinball
    (the mean over the levels) for quantile; nll, the negative log-likelihood, for distributions. mse and huber are for
    point too."""
    huber_delta: float = option(1.0, above=0.0, only={"loss": ("huber",)}, sweep="traced")
    """huber: where the loss turns from quadratic to linear."""
    random_lookback: bool = option(False)
    """Train on lookbacks of random lengths, for a stream that keeps its state, or against overfitting where windows are
    few: of each window a random number of the last rows, 1 to data.input_size, is shown, and the earlier ones are
    masked. Validation and forecasts see all."""
    seed: int = option(0, low=0, high=2**64 - 1, sweep="traced")
    """Seed of the initial weights, the order of the windows and the dropout masks."""
    batch_shards: int | None = option(
        None, low=1, resume="inferred", sweep="no: in a sweep devices are for members, and batches stay whole"
    )
    """Devices over which a batch is split. Resolved once and stored: equal values give equal bytes."""
    chunk_steps: int | None = option(None, low=1, resume="free", sweep="no: it changes no trial")
    """Updates in one call of the compiled program; about two seconds' worth if not given. Never changes a byte."""
    feed: FeedName = option("auto", resume="free", sweep="no: it changes no trial")
    """Where the windows of a batch are cut out. device: of the scaled panel, which is on the device. host: of the panel
    where it is, on disk for data.store, for some steps at a time while the device works on those before. auto: device,
    unless a store does not fit it comfortably. It changes no byte on CPU."""
    save_every_seconds: float = option(20.0, low=0.0, resume="free", sweep="no: it changes no trial")
    """Seconds between saves of the state, at validation checks; 0: at every check. It is also saved at the end, at a
    signal and before a refit. Never changes a byte: a run that is killed is resumed from its last save."""
    refit_all: bool = option(False, resume="free", sweep="no: it changes no trial")
    """After the evaluation, train again on all rows, for the steps that were best, before forecasting the future."""

    def __post_init__(self) -> None:
        check_fields(self, "train")
        if self.early_stop_patience_steps == 0:
            raise ConfigError("train.early_stop_patience_steps is 0: expected at least 1, or -1 for no early stopping")


@dataclass(frozen=True)
class OutputsConfig:
    """What a run leaves besides its numbers, intervals above all. No option of it changes what is trained."""

    level: tuple[float, ...] = option((), resume="free", sweep="no: it changes no trial")
    """Intervals, in percent: 80 95 adds the columns lstm-lo-95, lstm-lo-80, lstm-hi-80 and lstm-hi-95."""
    quantiles: tuple[float, ...] = option((), resume="free", sweep="no: it changes no trial")
    """Quantiles: 0.1 0.9 adds the columns lstm_ql0.1 and lstm_ql0.9."""
    calibration: CalibrationName = option("none", resume="free", sweep="no: it changes no trial")
    """How held-out errors set the intervals. none: they are the head's own. conformal: the forecast plus and minus a
    quantile of the errors of each horizon step, in units of the head's own spread where it has one. cqr: the head's
    own quantiles, moved apart or together (Romano et al. 2019). The errors are those of data.calibration_size rows,
    or, slightly optimistic, of the validation rows."""
    calibration_scope: CalibrationScope = option(
        "pooled", only={"calibration": ("conformal", "cqr")}, resume="free", sweep="no: it changes no trial"
    )
    """pooled: the scaled errors of all series together. series: those of each series alone; one that has none gets the
    pooled ones."""
    pool: PoolName = option("quantiles", resume="free", sweep="no: it changes no trial")
    """Of several seeds. quantiles: the mean of their quantiles. linear: the quantiles of the mixture of their
    distributions, which is wider where they disagree."""
    format: TableFormat = option("csv", resume="free", sweep="no: it changes no trial")
    """Of the tables of forecasts: test_forecasts.csv.gz and forecast.csv, or test_forecasts.parquet and
    forecast.parquet."""
    plot_windows: int = option(3, low=1, resume="free", sweep="no: it changes no trial")
    """Windows in each picture of forecasts, from the first to the last; every target of each is drawn."""

    def __post_init__(self) -> None:
        check_fields(self, "outputs")
        check_quantiles(self.quantiles, "outputs.quantiles")
        check_intervals(self.level, "outputs.level")


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
    outputs: OutputsConfig = field(default_factory=OutputsConfig)

    def __post_init__(self) -> None:
        """Refuses names that would meet in one table of results, which is made after hours of training."""
        taken = dict.fromkeys(RESULT_COLUMNS, "a column of the results")
        taken[f"{self.model.alias}-std"] = "the deviation of several forecasters"
        for name in ("data.id_col", "data.time_col", "model.alias"):
            section, named = name.split(".")
            column = getattr(getattr(self, section), named)
            if column in taken:
                raise ConfigError(
                    f"{name} is {column!r}, which is the name of {taken[column]}: give the column another name"
                )
            models = [*typing.get_args(BaselineName)[1:], *([] if name == "model.alias" else [self.model.alias])]
            if re.fullmatch(rf"({'|'.join(map(re.escape, models))})(-lo-|-hi-|_ql)[0-9.e-]+", column):
                raise ConfigError(
                    f"{name} is {column!r}, which is the name of a bound of a forecast: give the column another name"
                )
            taken[column] = f"{name} too"
        own, loss = LOSS_OF_HEAD.get(self.model.head), self.train.loss
        if loss not in ("auto", own) and (own or loss in LOSS_OF_HEAD.values()):
            raise ConfigError(
                f"train.loss is {loss!r}, which does not fit model.head {self.model.head!r}: expected auto or "
                f"{own or 'a loss of point forecasts, such as mae'}"
            )
        if self.model.head in _COUNTS:
            for name, value in (
                ("data.scaler", self.data.scaler),
                ("data.transform", self.data.transform),
                ("model.instance_norm", self.model.instance_norm),
            ):
                if value not in ("auto", "none"):
                    raise ConfigError(
                        f"{name} is {value!r}, and model.head {self.model.head!r} forecasts counts, which may be "
                        "divided but not shifted: leave it out, or give none"
                    )

    @property
    def chosen(self) -> Self:
        """The options with each auto of the normalisation replaced by what it means with this head.

        >>> RunConfig().chosen.data.scaler, RunConfig().replace({"model.head": "negative_binomial"}).chosen.data.scaler
        ('standard', 'none')
        """
        data, counts = self.data, self.model.head in _COUNTS
        if data.scaler == "auto":
            data = dataclasses.replace(data, scaler="none" if counts else "standard")
        return dataclasses.replace(self, data=data, model=self.model.chosen)

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
        "it acts only with train.loss huber, and train.loss is 'auto'"
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
        version = stored.pop("format_version", FORMAT_VERSION)
        if type(version) is not int or version < 1:
            raise ConfigError(f"{source}: format_version is {version!r}: expected a whole number from 1 on")
        if version > FORMAT_VERSION:
            raise ConfigError(
                f"{source}: format_version is {version}, this lstmjax reads up to {FORMAT_VERSION}: update lstmjax"
            )
        values: dict[str, Any] = {}
        if version == 1:  # what it does not name has the meaning it had there
            found = {name: field.metadata["rules"].format_1 for name, field in option_fields().items()}
            values = {name: value for name, value in found.items() if value is not _DEFAULT}
        for section, options in stored.items():
            check_name(section, [f.name for f in dataclasses.fields(cls)], source)
            if not isinstance(options, dict):
                raise ConfigError(f"{source}: {section} is {options!r}, expected an object of options")
            values |= {f"{section}.{name}": value for name, value in options.items()}
        for name in values:
            check_name(name, option_names(), source)
        if version == 1 and values.get("train.early_stop_patience_steps") == 0:
            values["train.early_stop_patience_steps"] = 1  # what it did, before it was refused
        try:
            return cls().replace(values)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None


@dataclass(frozen=True)
class BacktestConfig:
    """The cutoffs of a backtest, and what is trained before each of them."""

    n_windows: int = option(4, low=1)
    """Windows per series, the last of which ends at its last observation."""
    step_size: int | None = option(None, low=1)
    """Rows between two windows. Default: data.h, or the next number that data.origins allows."""
    refit: int = option(0, low=0)
    """Train a model before every so many cutoffs. 0: only before the first."""
    warm_start: bool = False
    """Begin each training with the weights of the one before, instead of weights drawn anew."""
    train_size: int | None = option(None, low=1)
    """Rows of each series to train on, the last ones before those held out for validation. Default: all."""

    def __post_init__(self) -> None:
        check_fields(self, "backtest")
        if self.warm_start and not self.refit:
            raise ConfigError("backtest.warm_start needs backtest.refit: without it one model is trained")


@dataclass(frozen=True)
class DistributedConfig:
    """How the processes of one run, on one host or many, find each other; see docs/scaling.md."""

    auto: bool = False
    """Take the other three from the cluster: a SLURM job, a TPU pod, or Open MPI."""
    coordinator: str | None = None
    """HOST:PORT of process 0, the same for all processes; any free port of its host."""
    processes: int | None = option(None, low=1)
    """How many processes train together: start each with the same command."""
    process_id: int | None = option(None, low=0)
    """Number of this process, from 0. The first one alone writes files and reports."""
    timeout: float = option(300.0, above=0.0)
    """Seconds to wait for the other processes at the start."""

    def __post_init__(self) -> None:
        check_fields(self, "distributed")
        three = {
            "--distributed.coordinator": self.coordinator,
            "--distributed.processes": self.processes,
            "--distributed.process-id": self.process_id,
        }
        given = [flag for flag, value in three.items() if value is not None]
        missing = [flag for flag in three if flag not in given]
        if self.auto and given:
            raise ConfigError(f"--distributed.auto finds {', '.join(given)} itself: leave one or the other out")
        if given and missing:
            raise ConfigError(f"{', '.join(given)} without {', '.join(missing)}: give all three, or --distributed.auto")
        if self.coordinator is None or self.processes is None or self.process_id is None:
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise ConfigError(
                f"distributed.coordinator is {self.coordinator!r}: expected HOST:PORT, such as 10.0.0.1:8476"
            )
        if self.process_id >= self.processes:
            raise ConfigError(
                f"distributed.process_id is {self.process_id}: expected 0 to {self.processes - 1}, as there are "
                f"{self.processes} processes"
            )

    @property
    def active(self) -> bool:
        """Whether there are other processes."""
        return self.auto or self.coordinator is not None


@functools.cache
def option_fields() -> dict[str, dataclasses.Field]:
    """The fields of all options by dotted name, e.g. ``"optimizer.learning_rate"``."""
    return {
        f"{section.name}.{named.name}": named
        for section in dataclasses.fields(RunConfig)
        for named in dataclasses.fields(typing.cast(type, section.type))
    }


def option_names() -> list[str]:
    """The dotted names of all options."""
    return list(option_fields())


def rules(name: str) -> Rules:
    """What an option allows.

    Args:
        name: dotted name of the option.

    >>> rules("optimizer.learning_rate").sweep, rules("model.hidden_size").low
    ('traced', 1)
    """
    found: Rules = option_fields()[name].metadata["rules"]
    return found


def option_type(name: str) -> tuple[Any, bool]:
    """The declared type of an option, and whether it may also be None.

    Args:
        name: dotted name of the option.

    >>> option_type("optimizer.clip_norm")
    (<class 'float'>, True)
    """
    section, option = name.split(".")
    return _without_none_type(typing.get_type_hints(type(getattr(RunConfig(), section)))[option])


def controllers(name: str) -> set[str]:
    """The options whose values decide whether an option acts.

    Args:
        name: dotted name of the option.

    >>> controllers("train.huber_delta")
    {'train.loss'}
    """
    return {f"{name.split('.')[0]}.{other}" for other in rules(name).only or ()}
