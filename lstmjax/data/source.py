"""Reads the table that a config names: a file or a named data set, and the table of future covariates."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from lstmjax.config import DataConfig
from lstmjax.data import datasets
from lstmjax.data.build import panel_from_table
from lstmjax.data.panel import Panel
from lstmjax.data.rows import Known
from lstmjax.data.store import Store
from lstmjax.data.table import read_table
from lstmjax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Source:
    """A table and its name.

    Attributes:
        table: the user's table.
        name: its path or the data set's name, for messages.
        series_id: the identifier of its only series, where it has no id column.
        futr: known-future covariates beyond its last observed row.
    """

    table: pd.DataFrame
    name: str
    series_id: str
    futr: pd.DataFrame | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the table's columns."""
        return tuple(map(str, self.table.columns))

    def panel(self, config: DataConfig, *, freq: str | None = None, known: Known = Known()) -> Panel:  # noqa: B008  # frozen
        """Returns the table as a panel; arguments and errors as in `panel_from_table`."""
        asked: dict[str, Any] = {"source": self.name, "futr": self.futr, "series_id": self.series_id}
        return panel_from_table(self.table, config, freq=freq, known=known, **asked)


def load_source(config: DataConfig) -> Source | Store:
    """Reads the tables that a config names, or opens its store.

    Args:
        config: ``dataset``, ``path`` or ``store``; and ``futr_path``.

    Raises:
        ConfigError: no data are named.
        DataError: a file cannot be read.
    """
    if config.store is not None:
        return Store.open(config.store)
    futr = None if config.futr_path is None else read_table(config.futr_path, config)
    if config.dataset is not None:
        return Source(datasets.load(config.dataset), config.dataset, config.dataset, futr)
    if config.path is None:
        raise ConfigError(
            "no data is named: give data.path (a CSV or Parquet file), data.store (from lstmjax pack) or data.dataset "
            f"({', '.join(datasets.DATASETS)})"
        )
    return Source(read_table(config.path, config), config.path, Path(config.path).name.split(".")[0], futr)


def with_dataset_settings(config: DataConfig) -> DataConfig:
    """Takes the columns, frequency, season and split of a config's named data set, where the user gave none.

    Of a store it takes the columns and the frequency: see `lstmjax.data.store.Store.settle`.

    The columns belong together: unless ``time_col``, ``id_col``, ``target_cols`` and ``layout`` all have their
    defaults, the user's are kept. So do the options of the split. The horizon and the lookback are always the config's
    own.
    """
    if config.store is not None:
        return Store.open(config.store).settle(config)
    if config.dataset is None:
        return config
    settings = datasets.settings(config.dataset)
    groups = (
        ("time_col", "id_col", "target_cols", "layout"),
        ("freq",),
        ("season_length",),
        ("val_size", "test_size", "train_end", "val_end"),
    )
    defaults = DataConfig()
    chosen: dict[str, Any] = {}
    for group in groups:
        if all(getattr(config, name) == getattr(defaults, name) for name in group):
            chosen |= {name: settings[name] for name in group if name in settings}
    return dataclasses.replace(config, **chosen)
