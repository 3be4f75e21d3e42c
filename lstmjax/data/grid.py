"""The grid of origins (``data.origins``): which rows may be the first of a forecast."""

import dataclasses
import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Bool

from lstmjax.config import DataConfig
from lstmjax.data.frequency import DAY
from lstmjax.data.panel import Panel
from lstmjax.data.table import DataWarning, first_few
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Grid:
    """Which rows of a panel may be the first of a forecast: one grid for training, validation, calibration and test.

    Attributes:
        panel: the data.
        every: rows between two origins, counted back from the row after each series' last observation; 1 for all.
        time: time of day of the first forecast row, in minutes; None for any.
    """

    panel: Panel
    every: int = 1
    time: int | None = None

    @classmethod
    def of(cls, panel: Panel, config: DataConfig) -> Self:
        """The grid that ``config.origins`` asks for."""
        if ":" in config.origins:
            hours, minutes = config.origins.split(":")
            return cls(panel, time=60 * int(hours) + int(minutes))
        return cls(panel, every=1 if config.origins == "every" else int(config.origins))

    def check(self) -> None:
        """Requires rows at the time of day.

        Raises:
            ConfigError: times are whole numbers, or no row is at that time.
        """
        if self.time is None:
            return
        schema = self.panel.schema
        if schema.frequency.integer:
            raise ConfigError(
                f"data.origins is {self.clock!r}, but column {schema.time_col!r} holds whole numbers, which have no "
                "time of day: give a number of rows, such as 24"
            )
        if not self._begins(*self.panel.rows).any():
            raise ConfigError(
                f"data.origins is {self.clock!r}, but no row is at that time: column {schema.time_col!r} has a row "
                f"every {schema.freq}, the first at {self.panel.timestamp(0, 0)}; give a time at which there are rows"
            )

    @property
    def clock(self) -> str:
        """The time of day as text."""
        return "any" if self.time is None else f"{self.time // 60:02d}:{self.time % 60:02d}"

    @property
    def period(self) -> int:
        """Rows between two origins, about: of a time of day, the rows in a day."""
        frequency = self.panel.schema.frequency
        if self.time is None:
            return self.every
        return 1 if frequency.wall_clock else max(1, -(-DAY // frequency.step))

    def keep(self, windows: Windows) -> Windows:
        """The windows that begin on the grid."""
        if self.time is None and self.every == 1:
            return windows
        kept = self._begins(*windows)
        return Windows(*(np.asarray(column)[kept] for column in windows))

    def warn_of_others(self, windows: Windows) -> None:
        """Warns of forecasts of the future that begin off the grid.

        Args:
            windows: from `lstmjax.data.origins.forecast_windows`.

        Warns:
            DataWarning: names the series, when their forecast begins, and what to do.
        """
        if self.time is None:
            return
        off = ~self._begins(*windows)
        if not off.any():
            return
        series, origin = (np.asarray(column)[off].astype(np.int64) for column in windows)
        begins = self.panel.timestamps(series, origin)
        named = [f"{self.panel.ids[one]!r} at {time}" for one, time in zip(series[:6], begins[:6], strict=True)]
        warnings.warn(
            f"{len(series)} forecast{'s begin' if len(series) > 1 else ' begins'} at another time of day than "
            f"{self.clock} (data.origins), where all forecasts of training began: {first_few(named)}; end the table at "
            f"the row before {self.clock}",
            DataWarning,
            stacklevel=4,
        )

    def _begins(self, *rows: Any) -> Bool[np.ndarray, " W"]:
        """Tells which rows are on the grid, of (W,) series and (W,) row numbers."""
        series, origin = (np.asarray(column, np.int64) for column in rows)
        if self.time is None:
            return (self.panel.observed[series] - origin) % self.every == 0
        times = self.panel.timestamps(series, origin)
        assert isinstance(times, pd.DatetimeIndex)
        wall = times.tz_localize(None)
        meant = wall.normalize() + pd.Timedelta(minutes=self.time)
        if times.tz is None:
            return np.asarray(meant == wall)
        # Of a time that clocks show twice the first counts, of one that they skip the next that they show.
        first = np.ones(len(meant), bool)
        return np.asarray(meant.tz_localize(times.tz, ambiguous=first, nonexistent="shift_forward") == times)
