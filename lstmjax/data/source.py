"""From a config to its table: a file or a named data set, with the table of future covariates beside it."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lstmjax.config import DataConfig
from lstmjax.data import datasets
from lstmjax.data.build import panel_from_table
from lstmjax.data.panel import Panel
from lstmjax.data.table import read_table
from lstmjax.errors import ConfigError


class Source(NamedTuple):
    """A table and what to call it."""

    table: pd.DataFrame
    """The user's table."""
    name: str
    """Its path or the data set's name, for messages."""
    series_id: str
    """The identifier of its only series, where it has no id column."""
    futr: pd.DataFrame | None
    """Known-future covariates beyond its last observed row."""

    def panel(self, config: DataConfig, *, freq: str | None = None) -> Panel:
        """The table as a panel; arguments and errors as in `panel_from_table`."""
        return panel_from_table(
            self.table, config, source=self.name, freq=freq, futr=self.futr, series_id=self.series_id
        )


def load_source(config: DataConfig) -> Source:
    """Reads what a config names.

    Args:
        config: ``dataset`` or ``path``, and ``futr_path``.

    Raises:
        ConfigError: neither a data set nor a path is named.
        DataError: a file cannot be read.
    """
    futr = None if config.futr_path is None else read_table(config.futr_path)
    if config.dataset is not None:
        return Source(datasets.load(config.dataset), config.dataset, config.dataset, futr)
    if config.path is None:
        raise ConfigError(
            f"no data is named: give data.path (a CSV or Parquet file) or data.dataset ({', '.join(datasets.NAMES)})"
        )
    return Source(read_table(config.path), config.path, Path(config.path).name.split(".")[0], futr)


def with_dataset_settings(config: DataConfig) -> DataConfig:
    """The config with the columns, frequency, season and split of its named data set, where the user gave none.

    What the columns mean is one thing: unless ``time_col``, ``target_cols`` and ``layout`` all have their defaults,
    they are taken as the user's. The same holds for the ways to say where the splits are. The horizon and the
    lookback are always the config's own.
    """
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
