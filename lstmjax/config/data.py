"""The options of the section data."""

import re
from dataclasses import dataclass

from lstmjax.config.choices import (
    SOURCES,
    TIME_FORMATS,
    CalendarName,
    DatasetName,
    GapsPolicy,
    LayoutName,
    ScalerName,
    ScalerScope,
    TransformName,
    without_none,
)
from lstmjax.config.fields import check_fields, check_names, option
from lstmjax.errors import ConfigError

SAME_DATA = "no: every trial is ranked on the same targets"


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
    scaler_scope: ScalerScope = option("series", only={"scaler": without_none(ScalerName)})
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
        self._check_roles()
        if len(set(self.calendar)) < len(self.calendar):
            raise ConfigError(f"data.calendar is {', '.join(self.calendar)}: expected each name once")
        self._check_ends()

    def _check_roles(self) -> None:
        """Requires a target, and one role for each column."""
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

    def _check_ends(self) -> None:
        """Requires that one option says where each part of the rows ends."""
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
