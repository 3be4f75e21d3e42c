"""What a trained forecaster says: forecasts of any windows of a panel, and their comparison with what came."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float

from lstmjax.data.frames import forecast_frame
from lstmjax.data.future import require_future
from lstmjax.data.origins import forecast_windows, test_windows
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import window_spec
from lstmjax.data.scaling import Scaling, align, scale, unscale
from lstmjax.data.split import Split
from lstmjax.data.windows import Windows
from lstmjax.errors import DataError
from lstmjax.evaluation.windows import Evaluation, evaluate
from lstmjax.forecaster.fitted import Fitted
from lstmjax.training import Network, functional, predict
from lstmjax.window import WindowSpec

NetworkFor = Callable[[WindowSpec], Network]
"""Gives the network for windows of some sizes."""


def forecast_values(
    fitted: Fitted, network: NetworkFor, panel: Panel, windows: Windows, scaling: Scaling | None = None
) -> Float[np.ndarray, "W H C"]:
    """Forecasts of windows in the table's units.

    Args:
        fitted: a trained forecaster.
        network: its network.
        panel: the data.
        windows: which windows of it, any number.
        scaling: statistics of the panel's series. Default: those of training; of series unseen there, their own.
    """
    if scaling is None:
        scaling = align(fitted.scaling, fitted.tail.ids, panel)
    spec = window_spec(fitted.tail, fitted.config.data)
    structure, _ = functional(network(spec))
    scaled = predict(structure, fitted.weights, scale(panel, scaling), windows, spec)
    return unscale(scaled, np.asarray(windows.series), scaling)


def forecast_future(fitted: Fitted, network: NetworkFor, panel: Panel) -> pd.DataFrame:
    """The rows after every series' last observation; see `Forecaster.predict`."""
    require_future(panel, fitted.config.data.h)
    windows = forecast_windows(panel)
    values = forecast_values(fitted, network, panel, windows)
    return forecast_frame(panel, windows, {fitted.config.model.alias: values}, cutoff=False)


def evaluate_unseen(fitted: Fitted, network: NetworkFor, panel: Panel) -> Evaluation:
    """Every window of the rows that had no part in training; see `Forecaster.evaluate`."""
    data = fitted.config.data
    seen = fitted.rows_seen(panel)
    # A forecast needs at least one row to look back upon; of new series only whole lookbacks are used.
    first_row = np.minimum(np.where(seen < 0, data.input_size, np.maximum(seen, 1)), panel.observed)
    windows = test_windows(Split(first_row, first_row, panel.observed), h=data.h)
    if not len(windows.series):
        raise DataError(
            f"there is nothing to evaluate: no series has {data.h} rows (data.h) after those trained and validated "
            "on; hold rows out with data.test_size, or give a table that goes on"
        )
    # The statistics of new series are those of the rows before the first forecast.
    before = dataclasses.replace(panel, observed=first_row)
    scaling = align(fitted.scaling, fitted.tail.ids, before)
    return evaluate(
        panel,
        windows,
        forecast_values(fitted, network, panel, windows, scaling),
        model=fitted.config.model.alias,
        first_row=first_row,
        scaling=scaling,
        season_length=data.season_length or 1,
    )
