"""The mean of several forecasters, and how far they are apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from lstmjax.data.panel import Panel
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError
from lstmjax.forecaster.forecaster import Forecaster


class Spread(NamedTuple):
    """Forecasts of several members, taken together. All in the table's units."""

    mean: Float[np.ndarray, "W H C"]
    deviation: Float[np.ndarray, "W H C"]
    """Their deviation (ddof = 1); 0 for one member."""
    members: Float[np.ndarray, "K W H C"]


class Ensemble:
    """Several trained forecasters as one, e.g. those of `lstmjax.fit_seeds`: their mean is better than most of them.

    Args:
        members: trained forecasters of the same data and horizon.

    Raises:
        ConfigError: there are none, or their data differ.

    >>> import lstmjax
    >>> table = pd.DataFrame({"ds": np.arange(60), "y": np.sin(np.arange(60) / 2)})
    >>> config = lstmjax.RunConfig().replace({"data.h": 3, "data.input_size": 8, "train.max_steps": 2})
    >>> Ensemble(lstmjax.fit_seeds(config, table, seeds=[0, 1])).predict().columns.tolist()
    ['unique_id', 'ds', 'lstm', 'lstm-std']
    """

    def __init__(self, members: Sequence[Forecaster]) -> None:
        if not members:
            raise ConfigError("an ensemble has no members: give at least one trained forecaster")
        first = members[0].fitted.config
        for member in members[1:]:
            if member.fitted.config.data != first.data or member.fitted.config.model.alias != first.model.alias:
                raise ConfigError("the members of an ensemble were trained on different data, or have different names")
        self.members = list(members)

    def predict(self, df: pd.DataFrame | None = None, futr_df: pd.DataFrame | None = None) -> pd.DataFrame:
        """As `Forecaster.predict`: the mean forecast, and a column more, named ``lstm-std``, of the deviation."""
        tables = [member.predict(df, futr_df) for member in self.members]
        alias = self.members[0].fitted.config.model.alias
        values = np.stack([table[alias].to_numpy() for table in tables])
        return tables[0].assign(**{alias: values.mean(axis=0), f"{alias}-std": _deviation(values)})

    def forecast_windows(self, panel: Panel, windows: Windows) -> Spread:
        """Forecasts of any windows of a panel.

        Args:
            panel: the data.
            windows: W windows.
        """
        values = np.stack([member.forecast_windows(panel, windows) for member in self.members])
        return Spread(values.mean(axis=0), _deviation(values), values)


def _deviation(values: np.ndarray) -> np.ndarray:
    """Deviation along the first axis; 0 where it has one entry."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])
