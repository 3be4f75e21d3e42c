"""What a trained forecaster says: forecasts of any windows of a panel, and their comparison with the truth."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Float

from lstmjax.data.build import panel_from_table
from lstmjax.data.frames import forecast_frame
from lstmjax.data.future import require_future, with_future
from lstmjax.data.grid import Grid
from lstmjax.data.host_panel import ScaledPanel, scaled_panel
from lstmjax.data.origins import forecast_windows, test_windows
from lstmjax.data.panel import Panel, check_compatible
from lstmjax.data.rows import Known
from lstmjax.data.scaling_fit import align
from lstmjax.data.series_ids import known_ids
from lstmjax.data.source import Source
from lstmjax.data.split import Split
from lstmjax.data.store import Store
from lstmjax.data.table import DataWarning
from lstmjax.data.windows import Windows
from lstmjax.errors import DataError
from lstmjax.evaluation.intervals import Asked
from lstmjax.evaluation.windows import Evaluation, evaluate
from lstmjax.forecaster.fitted import Fitted, Trained
from lstmjax.forecaster.intervals import forecast_bounds, sample_paths
from lstmjax.forecaster.network import UserNetwork, network_for
from lstmjax.training import functional


def forecast_values(
    fitted: Fitted,
    network: UserNetwork | None,
    panel: Panel,
    windows: Windows,
    trained: Trained,
    scaled: ScaledPanel | None = None,
    probabilities: Sequence[float] = (),
) -> tuple[Float[np.ndarray, "W H C"], Float[np.ndarray, "W H C K"]]:
    """Forecasts of windows in the table's units, and their bounds at K quantile levels.

    Args:
        fitted: a trained forecaster.
        network: a network of the user's own; None for that of its config.
        panel: the data.
        windows: which windows of it, any number.
        trained: which of its weights, ``fitted.selected`` or ``fitted.forecasting``, with statistics of the panel's
            series: see `aligned`.
        scaled: the panel scaled by them, where that is at hand.
        probabilities: ascending quantile levels.

    Raises:
        ConfigError: bounds are asked of a point forecast that is not calibrated.
        DataError: there are too few held-out windows for a level.

    Warns:
        DataWarning: a forecast is no finite number, as where training diverged and nothing was validated.
    """
    arrays = scaled_panel(panel, trained.scaling, fitted.config.train.feed) if scaled is None else scaled
    forecast, bounds = forecast_bounds(fitted, network, windows, trained, arrays, probabilities)
    finite = np.isfinite(forecast).all(axis=(1, 2))
    if not finite.all():
        warnings.warn(
            f"{(~finite).sum()} of {len(finite)} forecasts are not finite numbers: the weights became too large in "
            "training; train with a lower optimizer.learning_rate",
            DataWarning,
            stacklevel=4,
        )
    return forecast, bounds


def trained_network(fitted: Fitted, network: UserNetwork | None) -> nnx.Module:
    """The network with the weights that forecast the future, in evaluation mode; see `Forecaster.module`."""
    structure, _ = functional(network_for(network, fitted.config, fitted.spec))
    module = structure.merge(jax.tree.map(jnp.asarray, fitted.forecasting.weights))
    module.eval()
    return module


def compatible_panel(fitted: Fitted, df: Any, futr_df: Any, source: str) -> Panel:
    """A new table as a panel, checked against the training data; see `Forecaster.panel`."""
    tail = fitted.tail
    # A table without an id column is the one series there was, or else one that training did not see.
    only = len(tail.ids) == 1
    known = Known(zone=tail.schema.time_zone, categories=tail.schema.categories)
    data = dataclasses.replace(fitted.config.data, weight_col=None)  # weights matter to training only
    panel = panel_from_table(
        df, data, source=source, futr=futr_df, series_id=tail.labels[0] if only else "series", known=known
    )
    return checked_panel(fitted, panel, source)


def panel_of(fitted: Fitted, source: Source | Store) -> Panel:
    """The table or store that a config names as a panel, checked against the training data."""
    if isinstance(source, Source):
        return compatible_panel(fitted, source.table, source.futr, source.name)
    own = dataclasses.replace(fitted.config.data, store=source.name, path=None, dataset=None, weight_col=None)
    return checked_panel(fitted, source.panel(own), source.name)


def checked_panel(fitted: Fitted, panel: Panel, source: str) -> Panel:
    """A panel of new data, checked against the training data."""
    tail = fitted.tail
    only = len(tail.ids) == 1
    check_compatible(tail.schema, panel.schema, source=source)
    if panel.form.id_dtype is None and tail.form.id_dtype is not None and only:
        warnings.warn(
            f"{source} has no column {fitted.config.data.id_col!r}: its rows are taken for those of series "
            f"{tail.ids[0]!r}, the only one that was trained on",
            DataWarning,
            stacklevel=4,
        )
    ids = known_ids(tail.labels, tail.form.id_dtype, panel.labels, panel.form.id_dtype, source)
    return dataclasses.replace(panel, ids=ids)


def panel_to_forecast(fitted: Fitted, df: Any, futr_df: Any) -> Panel:
    """The panel that `Forecaster.predict` forecasts from; arguments as there."""
    if df is not None:
        return compatible_panel(fitted, df, futr_df, "the table")
    return fitted.tail if futr_df is None else with_future(fitted.tail, futr_df, fitted.config.data)


def aligned(fitted: Fitted, trained: Trained, panel: Panel) -> Trained:
    """The same weights with statistics in the order of a panel's series; unseen series have their own."""
    return dataclasses.replace(trained, scaling=align(trained.scaling, fitted.tail.ids, panel))


def wanted(fitted: Fitted, level: Any = None, quantiles: Any = None) -> Asked:
    """The intervals that are asked for; where nothing is given, those of the config."""
    outputs = fitted.config.outputs
    return Asked.of(outputs.level if level is None else level, outputs.quantiles if quantiles is None else quantiles)


def forecast_future(
    fitted: Fitted,
    network: UserNetwork | None,
    panel: Panel,
    asked: Asked,
    scaled: ScaledPanel | None = None,
) -> pd.DataFrame:
    """The rows after every series' last observation; see `Forecaster.predict`, and `evaluate_unseen` for ``scaled``."""
    require_future(panel, fitted.config.data.h)
    windows, trained = forecast_windows(panel), aligned(fitted, fitted.forecasting, panel)
    Grid.of(panel, fitted.config.data).warn_of_others(windows)
    values, bounds = forecast_values(fitted, network, panel, windows, trained, scaled, asked.probabilities)
    alias = fitted.config.model.alias
    return forecast_frame(panel, windows, {alias: values} | asked.values(alias, bounds), cutoff=False)


def future_paths(fitted: Fitted, network: UserNetwork | None, panel: Panel, count: int) -> pd.DataFrame:
    """Sample paths over the rows after every series' last observation; see `Forecaster.predict`."""
    require_future(panel, fitted.config.data.h)
    windows, trained = forecast_windows(panel), aligned(fitted, fitted.forecasting, panel)
    Grid.of(panel, fitted.config.data).warn_of_others(windows)
    arrays = scaled_panel(panel, trained.scaling, fitted.config.train.feed)
    paths = sample_paths(fitted, network, windows, trained, arrays, count)  # (W, S, H, C)
    repeated = Windows(*(np.repeat(column, count) for column in windows))
    values = paths.reshape(-1, *paths.shape[2:])
    numbers = np.tile(np.arange(count), len(windows.series))[:, None, None]
    columns = {"sample": np.broadcast_to(numbers, values.shape), fitted.config.model.alias: values}
    return forecast_frame(panel, repeated, columns, cutoff=False)


def evaluate_unseen(
    fitted: Fitted,
    network: UserNetwork | None,
    panel: Panel,
    asked: Asked,
    scaled: ScaledPanel | None = None,
) -> Evaluation:
    """Every window of the rows that had no part in the weights or the intervals; see `Forecaster.evaluate`.

    Args:
        fitted: a trained forecaster.
        network: a network of the user's own; None for that of its config.
        panel: the data.
        asked: the intervals.
        scaled: the panel as it was scaled for training, where it is the training data.
    """
    data = fitted.config.data
    seen = fitted.rows_seen(panel)
    # A forecast needs at least one row to look back upon; of new series only whole lookbacks are used.
    first_row = np.minimum(np.where(seen < 0, data.input_size, np.maximum(seen, 1)), panel.observed)
    ends = Split(first_row, first_row, first_row, panel.observed)
    windows = Grid.of(panel, data).keep(test_windows(ends, h=data.h))
    if not len(windows.series):
        begin = "" if data.origins == "every" else f", beginning at data.origins {data.origins},"
        raise DataError(
            f"there is nothing to evaluate: no series has {data.h} rows (data.h){begin} after those trained and "
            "validated on; hold rows out with data.test_size, or give a table that continues it"
        )
    # The statistics of new series are those of the rows before the first forecast.
    trained = aligned(fitted, fitted.selected, dataclasses.replace(panel, observed=first_row))
    values, bounds = forecast_values(fitted, network, panel, windows, trained, scaled, asked.probabilities)
    return evaluate(
        panel,
        windows,
        values,
        asked=asked,
        quantiles=bounds,
        model=fitted.config.model.alias,
        first_row=first_row,
        scaling=trained.scaling,
        season_length=data.season_length or 1,
    )
