"""`Forecaster`: the one class that joins data, network, training and checkpoint."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Float, PRNGKeyArray

from lstmjax import checkpoint, models
from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.frames import forecast_frame
from lstmjax.data.future import require_future, with_future
from lstmjax.data.panel import Panel, check_compatible
from lstmjax.data.prepare import Prepared, prepare, window_spec
from lstmjax.data.scaling import Scaling, align, scale, unscale
from lstmjax.data.split import Split
from lstmjax.data.windows import Windows, forecast_windows, test_windows
from lstmjax.errors import CheckpointError, ConfigError, DataError
from lstmjax.evaluation.baselines import BASELINES
from lstmjax.evaluation.windows import Evaluation, evaluate
from lstmjax.fitted import Fitted
from lstmjax.models.own import NetworkMaker, OwnBuilder, own_name
from lstmjax.training import Check, Status, TrainingData, functional, predict, train
from lstmjax.window import WindowSpec

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"


class Forecaster:
    """Forecasts time series with an LSTM.

    >>> import numpy as np, pandas as pd
    >>> times = pd.date_range("2024-01-01", periods=400, freq="h")
    >>> table = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.sin(np.arange(400) * np.pi / 12)})
    >>> config = RunConfig().replace({"data.h": 12, "data.input_size": 24, "train.max_steps": 20})
    >>> forecaster = Forecaster(config).fit(table, val_size=48)
    >>> forecast = forecaster.predict()
    >>> forecast.columns.tolist(), len(forecast)
    (['unique_id', 'ds', 'lstm'], 12)

    Args:
        config: all options. Default: `RunConfig()`.
        network: a network of your own instead of that of ``config.model``: an NNX module, called as
            ``network(window, *, rngs=None, deterministic=None) -> Forecast``, or a function
            ``(spec: WindowSpec, *, rngs: nnx.Rngs)`` that makes one, drawn anew for every seed.

    Raises:
        ConfigError: ``model.alias`` is the name of another column of the results.
    """

    def __init__(self, config: RunConfig | None = None, *, network: nnx.Module | NetworkMaker | None = None) -> None:
        self.config = RunConfig() if config is None else config
        self.network = network
        self._fitted: Fitted | None = None
        alias, data = self.config.model.alias, self.config.data
        if alias in {data.id_col, data.time_col, "target", "cutoff", "y", *BASELINES}:
            raise ConfigError(f"model.alias is {alias!r}, which is the name of another column: choose another")

    @property
    def fitted(self) -> Fitted:
        """What training left.

        Raises:
            CheckpointError: nothing was trained or loaded yet.
        """
        if self._fitted is None:
            raise CheckpointError("the forecaster is not trained: call fit first, or load a trained one")
        return self._fitted

    def fit(
        self,
        df: pd.DataFrame,
        *,
        val_size: int | None = None,
        futr_df: pd.DataFrame | None = None,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> Self:
        """Trains afresh, and keeps the weights of the best validation check.

        Args:
            df: the table; ``config.data`` says what its columns mean.
            val_size: rows at the end of each series to validate on, 0 for none. Default: ``data.val_size``. Test rows
                are held out only where ``data.test_size`` or ``data.val_end`` says so.
            futr_df: known-future covariates beyond the last observed row, for `predict`.
            on_check: called after every validation check.

        Returns:
            The forecaster itself.

        Raises:
            DataError: the table cannot be used.
            ConfigError: an option does not fit the table.
        """
        data = self.config.data if val_size is None else dataclasses.replace(self.config.data, val_size=val_size)
        panel = panel_from_table(df, data, futr=futr_df)
        return self.fit_prepared(prepare(panel, data, with_test=False), on_check=on_check)

    def fit_prepared(
        self,
        prepared: Prepared,
        *,
        until: int | None = None,
        on_check: Callable[[Check], None] = lambda check: None,
        on_chunk: Callable[[Status], None] = lambda status: None,
    ) -> Self:
        """Trains afresh on data that is split, scaled and windowed already.

        Args:
            prepared: from `lstmjax.data.prepare.prepare`.
            until: stop at this step, short of ``train.max_steps``; the schedule goes as if training went on.
            on_check: called after every validation check.
            on_chunk: called after every chunk of steps.
        """
        seeds = [self.config.train.seed]
        (fitted,) = self.train_members(prepared, seeds, until=until, on_check=on_check, on_chunk=on_chunk)
        return self.with_fitted(fitted)

    def with_fitted(self, fitted: Fitted) -> Self:
        """Takes what was trained elsewhere; returns the forecaster itself."""
        self._fitted = fitted
        return self

    def train_members(
        self,
        prepared: Prepared,
        seeds: Sequence[int],
        *,
        until: int | None = None,
        on_check: Callable[[Check], None] = lambda check: None,
        on_chunk: Callable[[Status], None] = lambda status: None,
    ) -> list[Fitted]:
        """Trains one member a seed, as one population; see `fit_prepared` for the arguments."""
        data = TrainingData(prepared.arrays, prepared.train, prepared.validation, prepared.spec)
        result = train(
            self._network(prepared.spec),
            data,
            self.config.optimizer,
            self.config.train,
            seeds=seeds,
            until=until,
            on_check=on_check,
            on_chunk=on_chunk,
        )
        name = self._network_name()
        return [Fitted.of(self.config, name, prepared, result, member) for member in range(len(seeds))]

    def predict(self, df: pd.DataFrame | None = None, futr_df: pd.DataFrame | None = None) -> pd.DataFrame:
        """Forecasts the ``h`` rows after the last observation of every series.

        Args:
            df: a table to forecast from, with the columns and the frequency of the training data; its series may be
                others. Default: the last rows that `fit` was given.
            futr_df: known-future covariates of those ``h`` rows, unless the table has them as rows with an empty
                target.

        Returns:
            A table with the id column, ``target`` if there are several, the time column, and the forecast in the
            table's units, named after ``model.alias``.

        Raises:
            DataError: the table cannot be used, or future covariates are missing.
        """
        if df is not None:
            return self.predict_panel(self.panel(df, futr_df))
        tail = self.fitted.tail
        return self.predict_panel(tail if futr_df is None else with_future(tail, futr_df, self.config.data))

    def predict_panel(self, panel: Panel) -> pd.DataFrame:
        """`predict` for a panel."""
        fitted, data = self.fitted, self.fitted.config.data
        require_future(panel, data.h)
        windows = forecast_windows(panel)
        values = self.forecast_windows(panel, windows)
        return forecast_frame(panel, windows, {fitted.config.model.alias: values}, cutoff=False)

    def evaluate(self, df: pd.DataFrame) -> pd.DataFrame:
        """Forecasts every window of the rows that were neither trained nor validated on.

        Args:
            df: the training table with test rows held out, or a table that goes on after it. Of series that `fit` did
                not see, all rows after the first ``input_size`` are forecast.

        Returns:
            One row a window and horizon step: the id column, ``target`` if there are several, the time column,
            ``cutoff`` (the time of the last row seen), ``y``, the forecast, ``naive`` and ``seasonal_naive``.

        Raises:
            DataError: the table cannot be used, or has no whole window of unseen rows.
        """
        return self.evaluate_panel(self.panel(df)).table

    def evaluate_panel(self, panel: Panel) -> Evaluation:
        """`evaluate` for a panel, with the metrics."""
        fitted, data = self.fitted, self.fitted.config.data
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
            self._forecast(panel, windows, scaling),
            model=fitted.config.model.alias,
            first_row=first_row,
            scaling=scaling,
            season_length=data.season_length or 1,
        )

    def forecast_windows(self, panel: Panel, windows: Windows) -> Float[np.ndarray, "W H C"]:
        """Forecasts of any windows of a panel, in the table's units."""
        return self._forecast(panel, windows, align(self.fitted.scaling, self.fitted.tail.ids, panel))

    def panel(self, df: pd.DataFrame, futr_df: pd.DataFrame | None = None, *, source: str = "the table") -> Panel:
        """A new table as a panel, checked against the training data.

        Args:
            df: the table.
            futr_df: known-future covariates beyond its last observed row.
            source: what to call the table in messages.

        Raises:
            DataError: the table cannot be used, or its columns or frequency are others.
        """
        fitted = self.fitted
        # A table without an id column is the one series there was, or else one that training did not see.
        only = str(fitted.tail.ids[0]) if len(fitted.tail.ids) == 1 else "series"
        panel = panel_from_table(df, fitted.config.data, source=source, futr=futr_df, series_id=only)
        check_compatible(fitted.tail.schema, panel.schema, source=source)
        return panel

    def save(self, directory: Path | str, *, overwrite: bool = False) -> None:
        """Writes the trained forecaster: its config as JSON, and a checkpoint of all that `load` needs.

        Args:
            directory: made if it is not there.
            overwrite: whether to replace a forecaster that is there.

        Raises:
            CheckpointError: a forecaster is there already, or the folder cannot be written.
        """
        fitted, directory = self.fitted, Path(directory)
        if not overwrite and checkpoint.steps(directory / CHECKPOINTS):
            raise CheckpointError(f"{directory} holds a trained forecaster: name another folder, or say overwrite=True")
        arrays, metadata = fitted.to_arrays()
        checkpoint.save(directory / CHECKPOINTS, fitted.summary["steps"], arrays, metadata)
        (directory / CONFIG_FILE).write_text(fitted.config.to_json())

    @classmethod
    def load(cls, directory: Path | str, *, network: nnx.Module | NetworkMaker | None = None) -> Self:
        """A trained forecaster from what `save` or ``lstmjax train`` wrote.

        Args:
            directory: where it was written.
            network: the network of your own that it was trained with.

        Raises:
            CheckpointError: nothing is there, it does not verify, or it was trained with another network.
        """
        stored = checkpoint.load(Path(directory) / CHECKPOINTS)
        forecaster = cls(RunConfig.from_json(stored.metadata["config"], f"{directory}"), network=network)
        theirs, ours = stored.metadata["network"], forecaster._network_name()
        if theirs != ours:
            hint = "pass it as network=" if network is None else f"not with {ours}"
            raise CheckpointError(f"{directory} was trained with the network {theirs}: {hint}")
        return forecaster.with_fitted(Fitted.from_arrays(stored, forecaster._network))

    def _forecast(self, panel: Panel, windows: Windows, scaling: Scaling) -> Float[np.ndarray, "W H C"]:
        """The network's forecasts in the table's units."""
        spec = window_spec(panel, self.fitted.config.data)
        network, _ = functional(self._network(spec))
        scaled = predict(network, self.fitted.weights, scale(panel, scaling), windows, spec)
        return unscale(scaled, np.asarray(windows.series), scaling)

    def _network(self, spec: WindowSpec) -> nnx.Module | Callable[[PRNGKeyArray], nnx.Module]:
        """What `training.train` draws networks from; equal for equal arguments, so that programs serve again."""
        if self.network is None:
            return models.Builder(spec, self.config.model)
        return self.network if isinstance(self.network, nnx.Module) else OwnBuilder(self.network, spec)

    def _network_name(self) -> str:
        return self.config.model.name if self.network is None else own_name(self.network)
