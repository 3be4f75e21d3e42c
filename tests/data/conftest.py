"""Small tables for the tests of the data layer."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data import Panel, panel_from_table

Table = Callable[..., pd.DataFrame]


@pytest.fixture
def hourly() -> Table:
    """Makes one series of hourly rows: y is 0, 1, 2, ... unless given."""

    def make(rows: int = 10, **columns: object) -> pd.DataFrame:
        times = pd.date_range("2024-01-01", periods=rows, freq="h")
        return pd.DataFrame({"ds": times, "y": np.arange(float(rows)), **columns})

    return make


@pytest.fixture
def series_of() -> Callable[..., Panel]:
    """Makes a panel of hourly series from their values, named s0, s1, ..."""

    def make(*values: object, **options: object) -> Panel:
        tables = [
            pd.DataFrame(
                {
                    "unique_id": f"s{number}",
                    "ds": pd.date_range("2024-01-01", periods=len(y), freq="h"),
                    "y": np.asarray(y, float),
                }
            )
            for number, y in enumerate(values)
        ]
        return panel_from_table(pd.concat(tables), DataConfig(freq="h", **options))

    return make
