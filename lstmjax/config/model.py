"""The options of the section model."""

import dataclasses
from dataclasses import dataclass
from typing import Self

from lstmjax.config.choices import (
    COUNTS,
    BaselineName,
    HeadName,
    InstanceNormName,
    InstanceScaleName,
    KnownFutureName,
    ModelName,
)
from lstmjax.config.fields import check_fields, check_names, check_quantiles, option
from lstmjax.errors import ConfigError


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
        counts = self.head in COUNTS
        norm, scale = self.instance_norm, self.instance_scale
        if norm == "auto":
            norm = "none" if counts else "last"
        if scale == "auto":
            scale = "mean_abs" if counts else "std"
        return dataclasses.replace(self, instance_norm=norm, instance_scale=scale)
