"""The names that options choose from. What they stand for is in a dict where it is written; a test holds both equal."""

import typing
from typing import Any, Literal

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

COUNTS = ("negative_binomial",)
"""Heads of counts, whose values are never shifted."""

TIME_FORMATS = ("epoch_s", "epoch_ms", "integer")
"""Values of ``data.time_format`` besides strptime formats."""

RESULT_COLUMNS = ("target", "cutoff", "y", "scale", *typing.get_args(BaselineName)[1:])
"""Columns that tables of results and of their metrics have besides the user's own and the forecast's."""

SOURCES = ("path", "dataset", "store")
"""Options of the section data that name the data: one of them is given."""


def without_none(choices: Any) -> tuple[str, ...]:
    """The names of a choice but none."""
    return tuple(name for name in typing.get_args(choices) if name != "none")
