"""The options of the section outputs."""

from dataclasses import dataclass

from lstmjax.config.choices import CalibrationName, CalibrationScope, PoolName, TableFormat
from lstmjax.config.fields import check_fields, check_intervals, check_quantiles, option


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
