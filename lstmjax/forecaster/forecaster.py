"""`Forecaster`: the one class that joins data, network, training and checkpoint."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Float

from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.future import with_future
from lstmjax.data.panel import Panel, check_compatible
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.windows import Windows
from lstmjax.errors import CheckpointError
from lstmjax.evaluation.windows import Evaluation
from lstmjax.forecaster import predict as forecasting
from lstmjax.forecaster.fit import CHECKPOINTS, Keeping, Watcher, check_network, network_for, train_members
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.resume import new_run, old_run, save_fitted
from lstmjax.models.user_network import NetworkMaker
from lstmjax.storage import checkpoint
from lstmjax.training import Check, Network, Weights
from lstmjax.window import WindowSpec


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
    """

    def __init__(self, config: RunConfig | None = None, *, network: nnx.Module | NetworkMaker | None = None) -> None:
        self.config = RunConfig() if config is None else config
        self.network = network
        self._fitted: Fitted | None = None

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
        directory: Path | str | None = None,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> Self:
        """Trains afresh, and keeps the weights of the best validation check.

        Args:
            df: the table; ``config.data`` says what its columns mean.
            val_size: rows at the end of each series to validate on, 0 for none. Default: ``data.val_size``. Test rows
                are held out only where ``data.test_size`` or ``data.val_end`` says so.
            futr_df: known-future covariates beyond the last observed row, for `predict`.
            directory: a new folder for a checkpoint at every validation check, for `resume` and `load`. Default:
                nothing is written.
            on_check: called after every validation check.

        Raises:
            DataError: the table cannot be used.
            ConfigError: an option does not fit the table.
            CheckpointError: the folder is in use, holds a run already, or cannot be written.
        """
        prepared = self._prepare(df, val_size, futr_df)
        with new_run(directory, self.config, prepared, network=self.network) as keeping:
            return self.fit_prepared(prepared, keeping=keeping, watcher=Watcher(on_check))

    def resume(
        self,
        directory: Path | str,
        df: pd.DataFrame | None = None,
        *,
        futr_df: pd.DataFrame | None = None,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> Self:
        """Goes on with a run that was interrupted; it ends with the bytes of one that was not.

        Args:
            directory: what `fit` was given, or a run directory.
            df: the table the run was given. Default: what its config names.
            futr_df: the known-future covariates the run was given.
            on_check: as in `fit`.

        Returns:
            The forecaster itself, which takes the run's config: its own must be the same, or `RunConfig()`.

        Raises:
            CheckpointError: there is no run, its checkpoints do not verify, or the table is another.
            ConfigError: this forecaster's config is another; names the options.
        """
        with old_run(directory, self.config, df, futr_df) as (self.config, prepared, keeping):
            return self.fit_prepared(prepared, keeping=keeping, watcher=Watcher(on_check))

    def finetune(
        self,
        df: pd.DataFrame,
        *,
        options: Mapping[str, Any] | None = None,
        val_size: int | None = None,
        futr_df: pd.DataFrame | None = None,
        directory: Path | str | None = None,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> Self:
        """Starts a new run from the trained weights, on the same or on other series.

        Statistics of the scaler are fitted anew, on the training rows of the new table.

        Args:
            df: the table.
            options: options to change by dotted name, e.g. ``{"optimizer.learning_rate": 1e-4}``; those that give the
                network its shape cannot.
            val_size: as in `fit`.
            futr_df: as in `fit`.
            directory: as in `fit`.
            on_check: as in `fit`.

        Raises:
            ConfigError: a network of these options does not fit the weights. Otherwise as in `fit`.
        """
        start = self.fitted.weights
        self.config = self.fitted.config.replace({"train.batch_shards": None} | dict(options or {}))
        prepared = self._prepare(df, val_size, futr_df)
        with new_run(directory, self.config, prepared, network=self.network) as keeping:
            return self.fit_prepared(prepared, start=start, keeping=keeping, watcher=Watcher(on_check))

    def fit_prepared(
        self,
        prepared: Prepared,
        *,
        until: int | None = None,
        start: Weights | None = None,
        keeping: Keeping | None = None,
        watcher: Watcher = Watcher(),  # noqa: B008  # immutable
    ) -> Self:
        """Trains on data that is split, scaled and windowed already.

        Args:
            prepared: from `lstmjax.data.prepare.prepare`.
            until: stop at this step, short of ``train.max_steps``; the schedule goes as if training went on.
            start: weights to begin with. Default: drawn from ``train.seed``.
            keeping: where to save, and what to go on from. Default: nothing is saved.
            watcher: who is told how it goes.

        Raises:
            Interrupted: it was told to stop, and the state is saved.
            CheckpointError: the last state cannot be saved.
        """
        told: dict[str, Any] = {"until": until, "start": start, "keeping": keeping, "watcher": watcher}
        (fitted,) = train_members(self.config, self.network, prepared, [self.config.train.seed], **told)
        return self.with_fitted(fitted)

    def with_fitted(self, fitted: Fitted) -> Self:
        """Takes what was trained elsewhere; returns the forecaster itself."""
        self._fitted = fitted
        return self

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
        return forecasting.forecast_future(self.fitted, self._network, panel)

    def evaluate(self, df: pd.DataFrame) -> pd.DataFrame:
        """Forecasts every window of the rows that were neither trained nor validated on.

        Args:
            df: the training table with test rows held out, or a table that goes on after it. Of series that `fit` did
                not see, all rows after the first ``input_size`` are forecast; of those too short to train on, the rows
                that came later.

        Returns:
            One row a window and horizon step: the id column, ``target`` if there are several, the time column,
            ``cutoff`` (the time of the last row seen), ``y``, the forecast, ``naive`` and ``seasonal_naive``.

        Raises:
            DataError: the table cannot be used, or has no whole window of unseen rows.
        """
        return self.evaluate_panel(self.panel(df)).table

    def evaluate_panel(self, panel: Panel) -> Evaluation:
        """`evaluate` for a panel, with the metrics."""
        return forecasting.evaluate_unseen(self.fitted, self._network, panel)

    def forecast_windows(self, panel: Panel, windows: Windows) -> Float[np.ndarray, "W H C"]:
        """Forecasts of any windows of a panel, in the table's units."""
        return forecasting.forecast_values(self.fitted, self._network, panel, windows)

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
        data = dataclasses.replace(fitted.config.data, weight_col=None)  # weights matter to training only
        panel = panel_from_table(df, data, source=source, futr=futr_df, series_id=only)
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
        save_fitted(self.fitted, directory, overwrite=overwrite)

    @classmethod
    def load(
        cls, directory: Path | str, *, network: nnx.Module | NetworkMaker | None = None, member: int | None = None
    ) -> Self:
        """A trained forecaster from what `save`, `fit` or ``lstmjax train`` wrote.

        Args:
            directory: where it was written. Of a run that has not ended, the best weights so far are taken.
            network: the network of your own that it was trained with.
            member: which, where several were trained together; there it must be given.

        Raises:
            CheckpointError: nothing is there, it does not verify, it was trained with another network, or there are
                several.
        """
        stored = checkpoint.load(Path(directory) / CHECKPOINTS)
        seeds = stored.metadata.get("seeds", [])
        if member is None and len(seeds) > 1:
            first = Path(directory) / f"seed-{seeds[0]}"
            hint = f"name one of them, such as {first}" if first.exists() else "say which by member="
            raise CheckpointError(
                f"{directory} holds {len(seeds)} runs, of the seeds {', '.join(map(str, seeds))}: {hint}"
            )
        forecaster = cls(RunConfig.from_json(stored.metadata["config"], f"{directory}"), network=network)
        check_network(stored, network, forecaster.config, directory)
        fitted = Fitted.from_arrays(stored, forecaster._network, member or 0)
        forecaster.config = fitted.config
        return forecaster.with_fitted(fitted)

    def _prepare(self, df: pd.DataFrame, val_size: int | None, futr_df: pd.DataFrame | None) -> Prepared:
        data = self.config.data if val_size is None else dataclasses.replace(self.config.data, val_size=val_size)
        return prepare(panel_from_table(df, data, futr=futr_df), data, with_test=False)

    def _network(self, spec: WindowSpec) -> Network:
        return network_for(self.network, self.config, spec)
