"""The mean of several forecasters, and how far they are apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lstmjax.data.frame_kinds import in_kind
from lstmjax.data.panel import Panel
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError
from lstmjax.evaluation.calibration import interval_of, widest_interval
from lstmjax.evaluation.intervals import NOTHING, Asked
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.predict import panel_to_forecast, wanted


@dataclass(frozen=True)
class Spread:
    """Forecasts of several members, taken together. All in the table's units."""

    mean: Float[np.ndarray, "W H C"]
    deviation: Float[np.ndarray, "W H C"]
    """Their deviation (ddof = 1); 0 for one member."""
    members: Float[np.ndarray, "K W H C"]


class Ensemble:
    """Several trained forecasters as one, e.g. those of `lstmjax.fit_seeds`: their mean is better than most of them.

    Their lookbacks and networks may differ. Of their intervals, ``outputs.pool`` of the first member says how they are
    joined: the mean of the members' quantiles, or the quantiles of the mixture of their distributions.

    Args:
        members: trained forecasters of the same columns, frequency and horizon, with the same ``model.alias``.

    Raises:
        ConfigError: there are none, or what they forecast differs.

    References:
        Lichtendahl, Grushka-Cockayne, Winkler, `Is It Better to Average Probabilities or Quantiles?
        <https://doi.org/10.1287/mnsc.1120.1667>`_, 2013

    >>> import lstmjax
    >>> table = pd.DataFrame({"ds": np.arange(60), "y": np.sin(np.arange(60) / 2)})
    >>> config = lstmjax.RunConfig().replace({"data.h": 3, "data.input_size": 8, "train.max_steps": 2})
    >>> Ensemble(lstmjax.fit_seeds(config, table, seeds=[0, 1])).predict().columns.tolist()
    ['unique_id', 'ds', 'lstm', 'lstm-std']
    """

    def __init__(self, members: Sequence[Forecaster]) -> None:
        members = list(members)
        if not members:
            raise ConfigError("an ensemble has no members: give at least one trained forecaster")
        first = members[0].fitted
        for member in members[1:]:
            fitted = member.fitted
            for name, one, other in (
                ("data.h", first.config.data.h, fitted.config.data.h),
                ("model.alias", first.config.model.alias, fitted.config.model.alias),
                ("the targets", first.tail.schema.channels, fitted.tail.schema.channels),
                ("the frequency", first.tail.schema.freq, fitted.tail.schema.freq),
                ("the series", first.tail.ids.tolist(), fitted.tail.ids.tolist()),
                ("the time of the first forecast", _forecast_begins(first), _forecast_begins(fitted)),
            ):
                if one != other:
                    raise ConfigError(f"the members of an ensemble must agree on {name}: {one} and {other}")
        self.members = members

    def predict(
        self,
        df: Any = None,
        futr_df: Any = None,
        level: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
    ) -> Any:
        """As `Forecaster.predict`: the mean forecast, and one more column, named ``lstm-std``, of the deviation."""
        panels = [panel_to_forecast(member.fitted, df, futr_df) for member in self.members]
        return in_kind(self.predict_panels(panels, self._wanted(level, quantiles)), panels[0].form.frame)

    def predict_panels(self, panels: Sequence[Panel], asked: Asked) -> pd.DataFrame:
        """`predict` for the panel of each member."""
        own = self._of_members(asked)
        tables = [member.predict_panel(panel, *own) for member, panel in zip(self.members, panels, strict=True)]
        return self.mean(tables, asked)

    def evaluate(self, df: Any, level: Sequence[float] | None = None, quantiles: Sequence[float] | None = None) -> Any:
        """As `Forecaster.evaluate`, of the mean forecast, with its deviation beside it.

        Args:
            df: as there.
            level: as there.
            quantiles: as there.

        Returns:
            The rows that all members forecast: those with a longer lookback skip more rows of a new series.

        Raises:
            DataError: there is no such row.
        """
        panels, asked = [member.panel(df) for member in self.members], self._wanted(level, quantiles)
        own = self._of_members(asked)
        tables = [member.evaluate_panel(panel, *own).table for member, panel in zip(self.members, panels, strict=True)]
        columns = tables[0].columns.tolist()
        keys = columns[: columns.index("y")]
        common = tables[0][keys]
        for table in tables[1:]:
            common = common.merge(table[keys], on=keys)
        if common.empty:
            raise DataError("there is nothing to evaluate: no window is forecast by all members of the ensemble")
        return in_kind(self.mean([common.merge(table, on=keys) for table in tables], asked), panels[0].form.frame)

    def forecast_windows(self, panel: Panel, windows: Windows) -> Spread:
        """Forecasts of any windows of a panel, by the selected weights.

        Args:
            panel: the data.
            windows: W windows.
        """
        values = np.stack([member.forecast_windows(panel, windows) for member in self.members])
        return Spread(values.mean(axis=0), _deviation(values), values)

    def mean(self, tables: Sequence[pd.DataFrame], asked: Asked = NOTHING) -> pd.DataFrame:
        """Tables of forecasts as one, with the mean and the deviation of their forecasts.

        Args:
            tables: of each member, with equal rows, and where ``asked`` is not empty the columns of `_of_members`.
            asked: the intervals.
        """
        alias = self.members[0].fitted.config.model.alias
        values = np.stack([table[alias].to_numpy() for table in tables])
        table = tables[0].assign(**{alias: values.mean(axis=0)})
        table.insert(list(table.columns).index(alias) + 1, f"{alias}-std", _deviation(values))
        if self._pool == "quantiles":
            columns = list(asked.columns(alias))
            bounds = np.mean([one[columns].to_numpy() for one in tables], axis=0)
            return table.assign(**dict(zip(columns, bounds.T, strict=True)))
        return self._mixed(table, tables, asked) if asked else table

    def _mixed(self, table: pd.DataFrame, tables: Sequence[pd.DataFrame], asked: Asked) -> pd.DataFrame:
        """The table with the quantiles of the mixture of the members' distributions, of which each has a grid."""
        grid = self._grid(asked)
        grids = {model: list(grid.columns(model)) for model in _models(table, grid)}
        first = {grid[0]: model for model, grid in grids.items()}
        replaced = {name for grid in grids.values() for name in grid}
        columns: dict[Any, Any] = {}
        for name in table.columns:
            if name in first:
                model = first[name]
                of_members = [one[grids[model]].to_numpy(float) for one in tables]
                columns |= asked.values(model, mixed_quantiles(of_members, grid.quantiles, asked.probabilities))
            elif name not in replaced:
                columns[name] = table[name]
        return pd.DataFrame(columns)

    @property
    def _pool(self) -> str:
        return self.members[0].fitted.config.outputs.pool

    def _wanted(self, level: Any, quantiles: Any) -> Asked:
        return wanted(self.members[0].fitted, level, quantiles)

    def _of_members(self, asked: Asked) -> tuple[Sequence[float], Sequence[float]]:
        """The intervals and quantiles that are asked of each member."""
        if not asked or self._pool != "linear":
            return asked.level, asked.quantiles
        return (), self._grid(asked).quantiles

    def _grid(self, asked: Asked) -> Asked:
        """Quantiles that stand for the distribution of each member: those that are asked for are among them.

        Further out than those go only what every member can calibrate.
        """
        widest = 1.0
        for fitted in (member.fitted for member in self.members):
            if fitted.config.outputs.calibration != "none" and fitted.errors is not None:
                widest = min(widest, widest_interval(fitted.errors, fitted.config.outputs.calibration_scope))
        levels = {level for level in _GRID if interval_of(level) <= widest}
        return Asked(quantiles=tuple(sorted(levels | set(asked.probabilities))))


_TAIL = (0.0005, 0.001, 0.0025, 0.005)
_GRID = (*_TAIL, *np.round((np.arange(50) + 0.5) / 50, 6).tolist(), *(round(1.0 - level, 6) for level in _TAIL))
"""Levels of quantiles that stand for a distribution."""

_CHUNK = 1 << 22  # numbers that are mixed at once


def mixed_quantiles(
    members: Sequence[Float[np.ndarray, "W G"]], levels: Sequence[float], probabilities: Sequence[float]
) -> Float[np.ndarray, "W J"]:
    """Quantiles of the mixture of distributions that are known by some of their quantiles, linear between them.

    Args:
        members: the quantiles of each member's distributions, ascending.
        levels: the G probabilities of these, ascending.
        probabilities: of the J quantiles that are wanted, ascending, all among ``levels``.
    """
    rows = max(1, _CHUNK // (len(members) * len(levels)))
    parts = range(0, len(members[0]), rows)
    found = [_mixed([one[first : first + rows] for one in members], np.array(levels), probabilities) for first in parts]
    return np.concatenate(found) if found else np.empty((0, len(probabilities)))


def _mixed(
    members: Sequence[Float[np.ndarray, "W G"]], levels: Float[np.ndarray, " G"], probabilities: Sequence[float]
) -> Float[np.ndarray, "W J"]:
    values = np.concatenate(members, axis=1)  # (W, K G)
    order = values.argsort(axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    below = np.zeros(values.shape)  # the fraction of the mixture that lies below each value
    for number, one in enumerate(members):
        place = np.cumsum(order // len(levels) == number, axis=1) - 1  # the member's last quantile up to each value
        at = np.clip(place, 0, len(levels) - 2)
        low, high = (np.take_along_axis(one, index, axis=1) for index in (at, at + 1))
        part = np.where(high > low, (values - low) / np.where(high > low, high - low, 1.0), place > at)
        inside = levels[at] + np.clip(part, 0.0, 1.0) * (levels[at + 1] - levels[at])
        below += np.where(place < 0, 0.0, np.where((place == len(levels) - 1) & (values > one[:, -1:]), 1.0, inside))
    below /= len(members)
    columns = []
    for probability in probabilities:
        after = np.minimum((below < probability - 1e-9).sum(axis=1), values.shape[1] - 1)[:, None]
        before = np.maximum(after - 1, 0)
        (x0, x1), (f0, f1) = (
            [np.take_along_axis(array, index, axis=1)[:, 0] for index in (before, after)] for array in (values, below)
        )
        part = np.clip(np.where(f1 > f0, (probability - f0) / np.where(f1 > f0, f1 - f0, 1.0), 1.0), 0.0, 1.0)
        each = np.stack([one[:, int(np.argmin(abs(levels - probability)))] for one in members])
        columns.append(np.clip(x0 + part * (x1 - x0), each.min(axis=0), each.max(axis=0)))
    return np.stack(columns, axis=-1)


def _models(table: pd.DataFrame, asked: Asked) -> list[str]:
    """The models in a table that have all columns of some quantiles."""
    names = [name for name in table.columns if isinstance(name, str)]
    return [name for name in names if set(asked.columns(name)) <= set(names)]


def _forecast_begins(fitted: Fitted) -> list[int]:
    """The time after the last observation of each series."""
    return fitted.tail.schema.frequency.at(fitted.tail.start, fitted.tail.observed).tolist()


def _deviation(values: np.ndarray) -> np.ndarray:
    """Deviation along the first axis; 0 where it has one entry."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])
