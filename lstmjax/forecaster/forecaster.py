"""`Forecaster`: the one class that joins data, network, training and checkpoint."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Float

from lstmjax.config import BacktestConfig, OutputsConfig, RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.frame_kinds import in_kind
from lstmjax.data.host_panel import scaled_panel
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared
from lstmjax.data.summary import summarize
from lstmjax.data.windows import Windows
from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.evaluation.baselines import OwnBaseline
from lstmjax.evaluation.intervals import Asked
from lstmjax.evaluation.metrics import OwnMetric
from lstmjax.evaluation.windows import Evaluation
from lstmjax.forecaster.backtest import cross_validate
from lstmjax.forecaster.finetune import in_trained_order
from lstmjax.forecaster.fit import fit_members, resume_members
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.intervals import require_intervals, sample_paths
from lstmjax.forecaster.network import UserNetwork, head_of, network_name
from lstmjax.forecaster.own_loss import require_loss, warn_of_missing_loss
from lstmjax.forecaster.predict import (
    aligned,
    compatible_panel,
    evaluate_unseen,
    forecast_future,
    forecast_values,
    future_paths,
    panel_to_forecast,
    trained_network,
    wanted,
)
from lstmjax.forecaster.saved import load_fitted, save_fitted
from lstmjax.training import Callback
from lstmjax.training.losses import OwnLoss

if TYPE_CHECKING:
    from lstmjax.forecaster.stream import Stream


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
        loss: a loss of your own instead of ``train.loss``: a JAX function ``(forecast, y)`` of two arrays (batch, h,
            targets) in scaled units that returns one value per element; missing truths are masked for you.
    """

    def __init__(
        self, config: RunConfig | None = None, *, network: UserNetwork | None = None, loss: OwnLoss | None = None
    ) -> None:
        self.config = RunConfig() if config is None else config
        self.network = network
        self.loss = loss
        self._fitted: Fitted | None = None

    @classmethod
    def of(cls, fitted: Fitted, network: UserNetwork | None = None, loss: OwnLoss | None = None) -> Self:
        """The forecaster of what was trained elsewhere."""
        forecaster = cls(fitted.config, network=network, loss=loss)
        forecaster._fitted = fitted
        return forecaster

    @property
    def fitted(self) -> Fitted:
        """What training left.

        Raises:
            CheckpointError: nothing was trained or loaded yet.
        """
        if self._fitted is None:
            raise CheckpointError("the forecaster is not trained: call fit first, or load a trained one")
        return self._fitted

    def __repr__(self) -> str:
        data, name = self.config.data, network_name(self.network, self.config)
        state = "not trained" if self._fitted is None else self._fitted.described()
        return f"Forecaster({name}, input_size={data.input_size}, h={data.h}; {state})"

    def summary(self) -> str:
        """The trained network's arrays by name, with their shapes and numbers of parameters, one per line."""
        return f"{self!r}\n{self.fitted.forecasting.parameters_table()}"

    def module(self) -> nnx.Module:
        """The trained network, with the weights that `predict` uses, for a model of your own."""
        return trained_network(self.fitted, self.network)

    def check(self, df: Any, *, futr_df: Any = None) -> dict[str, Any]:
        """What is understood of a table, as ``lstmjax check`` says it: see `lstmjax.data.summary.summarize`."""
        return summarize(df, self.config.data, futr=futr_df)

    def fit(
        self,
        df: Any,
        *,
        val_size: int | None = None,
        futr_df: Any = None,
        directory: Path | str | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Trains afresh, and keeps the weights of the best validation check.

        Args:
            df: the table, of pandas, polars or pyarrow; ``config.data`` says what its columns mean.
            val_size: rows at the end of each series to validate on, 0 for none. Default: ``data.val_size``. Test rows
                are held out only where ``data.test_size`` or ``data.val_end`` says so.
            futr_df: known-future covariates beyond the last observed row, for `predict`.
            directory: a new folder for checkpoints, for `resume` and `load`. Default: nothing is written.
            callbacks: called as training goes, see `lstmjax.training.Callback`.

        After an error the forecaster is as it was before.

        Raises:
            DataError: the table cannot be used.
            ConfigError: an option does not fit the table.
            CheckpointError: the folder is in use, holds a run already, or cannot be written.
        """
        asked: dict[str, Any] = {"val_size": val_size, "futr_df": futr_df, "directory": directory}
        return self._trained(self.config, df, callbacks=callbacks, **asked)

    def resume(
        self, directory: Path | str, df: Any = None, *, futr_df: Any = None, callbacks: Sequence[Callback] = ()
    ) -> Self:
        """Continues a run that was interrupted; it ends with the bytes of one that was not.

        Args:
            directory: what `fit` was given, or a run directory.
            df: the table the run was given. Default: what its config names.
            futr_df: the known-future covariates the run was given.
            callbacks: as in `fit`.

        Returns:
            The forecaster itself, which takes the run's config: its own must be the same, or `RunConfig()`.

        Raises:
            CheckpointError: no run is found, its checkpoints do not verify, or the table is another.
            ConfigError: this forecaster's config is another; names the options.
        """
        asked: dict[str, Any] = {"futr_df": futr_df, "callbacks": callbacks, "loss": self.loss}
        (fitted,) = resume_members(directory, self.config, self.network, df, None, **asked)
        return self._commit(fitted.config, fitted)

    def finetune(
        self,
        df: Any,
        *,
        options: Mapping[str, Any] | None = None,
        val_size: int | None = None,
        futr_df: Any = None,
        directory: Path | str | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Starts a new run from the trained weights, those that `predict` uses, on the same or on other series.

        Statistics of the scaler are fitted anew, on the training rows of the new table. The embedding of a series is
        found by its identifier (so for a network of your own, if it keeps it in `lstmjax.nn.SeriesEmbedding`); a series
        that was not trained before starts from the mean, with a warning. Columns are found by their names.

        Args:
            df: the table.
            options: options to change by dotted name, e.g. ``{"optimizer.learning_rate": 1e-4}``; those that give the
                network its shape cannot.
            val_size: as in `fit`.
            futr_df: as in `fit`.
            directory: as in `fit`.
            callbacks: as in `fit`.

        Raises:
            ConfigError: a network of these options does not fit the weights. Otherwise as in `fit`.
            CheckpointError: it was trained with a loss of your own, which is missing.
        """
        trained = self.fitted
        require_loss(trained.own_loss, self.loss)
        unset = {"train.batch_shards": None, "train.refit_all": False}
        config = in_trained_order(trained.config.replace(unset | dict(options or {})), trained)
        asked: dict[str, Any] = {"val_size": val_size, "futr_df": futr_df, "directory": directory, "trained": trained}
        return self._trained(config, df, callbacks=callbacks, **asked)

    def fit_prepared(self, prepared: Prepared, *, until: int | None = None, callbacks: Sequence[Callback] = ()) -> Self:
        """`fit` on data that is split, scaled and windowed already.

        Args:
            prepared: from `lstmjax.data.prepare.prepare`.
            until: stop at this step, short of ``train.max_steps``; the schedule is that of the whole run.
            callbacks: as in `fit`.
        """
        return self._trained(self.config, prepared, until=until, callbacks=callbacks)

    def predict(
        self,
        df: Any = None,
        futr_df: Any = None,
        level: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
        num_samples: int | None = None,
    ) -> Any:
        """Forecasts the ``h`` rows after the last observation of every series.

        Args:
            df: a table to forecast from, with the columns and the frequency of the training data; its series may be
                others. Default: the last rows that `fit` was given.
            futr_df: known-future covariates of those ``h`` rows, unless rows with an empty target have them.
            level: intervals in percent: [80, 95] adds the columns ``lstm-lo-95``, ``lstm-lo-80``, ``lstm-hi-80`` and
                ``lstm-hi-95``. Default: those of ``outputs.level``.
            quantiles: quantile levels: [0.1, 0.9] adds ``lstm_ql0.1`` and ``lstm_ql0.9``. Default: those of
                ``outputs.quantiles``.
            num_samples: so many paths over the horizon instead, numbered from 0 in the column ``sample``: joined along
                the horizon as held-out errors were, so that a sum over the horizon has an honest spread. The same for
                the same ``train.seed``.

        Returns:
            A table with the id column, ``target`` if there are several, the time column, and the forecast in the
            table's units, named after ``model.alias`` (the median, where the head is a distribution); in the kind of
            frame that was given.

        Raises:
            DataError: the table cannot be used, future covariates are missing, or there are too few held-out windows
                for a level.
            ConfigError: intervals are asked of a point forecast that is not calibrated; or samples and intervals at
                once.
        """
        panel = panel_to_forecast(self.fitted, df, futr_df)
        return in_kind(self.predict_panel(panel, level, quantiles, num_samples), panel.form.frame, df)

    def stream(
        self,
        df: Any = None,
        mode: str = "window",
        *,
        futr_df: Any = None,
        late: str = "error",
        new_series: str = "add",
    ) -> "Stream":
        """Follows live data: takes new rows as they come, forecasts what follows, and scores what it forecast.

        Args:
            df: the rows that the stream begins with, as in `predict`. Default: the last rows that `fit` was given.
            mode: ``window`` keeps the last rows, and forecasts exactly what `predict` would from the whole table.
                ``stateful`` keeps the recurrent state since the first row, at the cost of one step per row whatever the
                lookback: for direct networks without normalisation of windows or residual, best trained with
                ``train.random_lookback``.
            futr_df: as in `predict`.
            late: what becomes of a row that is not newer than those before it and says something new: an error; it is
                skipped; it corrects the row that was there (window mode; else it is skipped).
            new_series: whether a series that was not there joins, or is an error.

        Raises:
            ConfigError: the network's forecast depends on more than its state; or an argument is something else.
            DataError: the table cannot be used.
        """
        from lstmjax.forecaster.stream import Stream
        from lstmjax.forecaster.stream.base import Policies

        panel = panel_to_forecast(self.fitted, df, futr_df)
        return Stream.begin(self.fitted, self.network, panel, Policies(mode, late, new_series))

    def predict_panel(
        self,
        panel: Panel,
        level: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
        num_samples: int | None = None,
    ) -> pd.DataFrame:
        """`predict` for a panel."""
        if num_samples is None:
            return forecast_future(self.fitted, self.network, panel, wanted(self.fitted, level, quantiles))
        if level is not None or quantiles is not None:
            raise ConfigError("num_samples gives paths, which have no intervals: leave level and quantiles out")
        return future_paths(self.fitted, self.network, panel, num_samples)

    def with_outputs(self, outputs: OutputsConfig) -> Self:
        """The same trained forecaster with other options for its intervals.

        Raises:
            ConfigError: the forecaster cannot give the intervals that are asked for; says how to get them.
        """
        fitted = self.fitted.replace(config=dataclasses.replace(self.fitted.config, outputs=outputs))
        require_intervals(head_of(self.network, fitted.config, fitted.spec), outputs)
        return type(self).of(fitted, self.network, self.loss)

    def evaluate(self, df: Any, level: Sequence[float] | None = None, quantiles: Sequence[float] | None = None) -> Any:
        """Forecasts every window of the rows that were neither trained, validated nor calibrated on.

        It uses the weights that validation selected.

        Args:
            df: the training table with test rows held out, or a table that continues it. Of series that `fit` did
                not see, all rows after the first ``input_size`` are forecast; of those too short to train on, the rows
                that came later.
            level: as in `predict`.
            quantiles: as in `predict`.

        Returns:
            One row per window and horizon step: the id column, ``target`` if there are several, the time column,
            ``cutoff`` (the time of the last row seen), ``y``, the forecast, ``naive`` and ``seasonal_naive``, each
            followed by its bounds, which the baselines have from their residuals.

        Raises:
            DataError: the table cannot be used, or has no whole window of unseen rows.
        """
        panel = self.panel(df)
        return in_kind(self.evaluate_panel(panel, level, quantiles).table, panel.form.frame, df)

    def metrics(
        self,
        df: pd.DataFrame,
        *,
        by: str | None = None,
        own: Mapping[str, OwnMetric] | None = None,
        level: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """The metrics of `evaluate`'s forecasts: one row per model, the baselines included.

        Args:
            df: as in `evaluate`.
            by: ``series``, ``target`` or ``horizon``: one row per each of these and model. Default: over all rows.
            own: metrics of your own besides, by the name of their column: functions ``(y, forecast) -> float`` of two
                flat NumPy arrays in the table's units, without missing truths.
            level: as in `predict`.
            quantiles: as in `predict`.

        Returns:
            ``key`` (where ``by`` is given), ``model``, ``mse``, ``rmse``, ``mae``, ``smape``, ``mase``, with intervals
            or quantiles ``crps``, ``wql``, ``sql`` and by level ``coverage-80``, ``width-80``, ``interval_score-80``,
            the own ones, ``n`` (observed truths); see README, "What the numbers mean".
        """
        return self.evaluate_panel(self.panel(df), level, quantiles).by(by, own)

    def evaluate_panel(
        self, panel: Panel, level: Sequence[float] | None = None, quantiles: Sequence[float] | None = None
    ) -> Evaluation:
        """`evaluate` for a panel, with the metrics."""
        return evaluate_unseen(self.fitted, self.network, panel, wanted(self.fitted, level, quantiles))

    def forecast_windows(self, panel: Panel, windows: Windows, *, refit: bool = False) -> Float[np.ndarray, "W H C"]:
        """Forecasts of any windows of a panel, in the table's units.

        Args:
            panel: the data.
            windows: which windows.
            refit: whether to use the weights that were trained again on all rows, where there are some, as `predict`
                does. Default: the selected ones, as `evaluate` does.
        """
        trained = self.fitted.forecasting if refit else self.fitted.selected
        return forecast_values(self.fitted, self.network, panel, windows, aligned(self.fitted, trained, panel))[0]

    def sample_windows(self, panel: Panel, windows: Windows, num_samples: int) -> Float[np.ndarray, "W S H C"]:
        """Sample paths of any windows of a panel, in the table's units, by the selected weights; see `predict`.

        Args:
            panel: the data.
            windows: W windows.
            num_samples: S, paths per window.
        """
        trained = aligned(self.fitted, self.fitted.selected, panel)
        arrays = scaled_panel(panel, trained.scaling, self.config.train.feed)
        return sample_paths(self.fitted, self.network, windows, trained, arrays, num_samples)

    def cross_validation(
        self,
        df: Any,
        n_windows: int = 4,
        step_size: int | None = None,
        refit: bool | int = False,
        warm_start: bool = False,
        train_size: int | None = None,
        level: Sequence[float] | None = None,
        baselines: Mapping[str, OwnBaseline] | None = None,
        *,
        futr_df: Any = None,
        callbacks: Sequence[Callback] = (),
    ) -> Any:
        """Backtests: trains on the rows before each of several cutoffs, and forecasts the ``h`` rows after it.

        Weights, statistics, early stopping and calibration of a cutoff depend on rows before it only. The models of
        all cutoffs are trained together, as one population. The forecaster itself stays as it is.

        Args:
            df: the table.
            n_windows: windows per series, counted from the end of each; a shorter series has as many as it has room
                for.
            step_size: rows between two windows. Default: ``h``, or the next number that ``data.origins`` allows.
            refit: True trains a model before every cutoff, 3 before every third, False only before the first.
            warm_start: begin each training with the weights of the one before, instead of weights drawn anew.
            train_size: rows of each series to train on, the last ones before the ``data.calibration_size`` and
                ``data.val_size`` rows that are held out before each cutoff. Default: all.
            level: as in `predict`.
            baselines: other forecasts to compare with, by the name of their column: functions ``(history, h)`` of the
                rows of one series before a cutoff (a NumPy array of float64, NaN where missing) that return ``h``
                numbers.
            futr_df: as in `fit`; not needed, as the windows lie within the table.
            callbacks: as in `fit`; their arrays hold the numbers of all members of a population.

        Returns:
            One row per window and horizon step, by series, then cutoff: the id column, ``target`` if there are
            several, the time column, ``cutoff`` (the time of the last row seen), ``y``, the forecast, ``naive`` and
            ``seasonal_naive`` with their bounds, the own baselines.

        Raises:
            DataError: the table cannot be used, or has too few rows for so many windows.
            ConfigError: an option does not fit.
        """
        settings = BacktestConfig(
            n_windows, step_size, int(refit) if isinstance(refit, bool) else refit, warm_start, train_size
        )
        outputs = self.config.outputs
        asked = Asked.of(outputs.level if level is None else level, outputs.quantiles)
        panel = panel_from_table(df, self.config.data, futr=futr_df)
        options: dict[str, Any] = {"network": self.network, "loss": self.loss, "asked": asked}
        found = cross_validate(self.config, panel, settings, baselines=baselines, callbacks=callbacks, **options)
        return in_kind(found.table, panel.form.frame, df)

    def panel(self, df: Any, futr_df: Any = None, *, source: str = "the table") -> Panel:
        """A new table as a panel, checked against the training data.

        Args:
            df: the table.
            futr_df: known-future covariates beyond its last observed row.
            source: what to call the table in messages.

        Raises:
            DataError: the table cannot be used, or its columns or frequency are others.
        """
        return compatible_panel(self.fitted, df, futr_df, source)

    def save(self, directory: Path | str, *, overwrite: bool = False) -> None:
        """Writes the trained forecaster: its config as JSON, and checkpoints of all that `load` needs.

        Args:
            directory: made if it is not there.
            overwrite: whether to replace a forecaster that is there.

        Raises:
            CheckpointError: a forecaster is there already, or the folder cannot be written.
        """
        save_fitted(self.fitted, directory, overwrite=overwrite)

    @classmethod
    def load(
        cls,
        directory: Path | str,
        *,
        network: UserNetwork | None = None,
        loss: OwnLoss | None = None,
        member: int | None = None,
    ) -> Self:
        """A forecaster from what `save`, `fit` or ``lstmjax train`` wrote, refit weights included.

        Args:
            directory: where it was written. Of a run that has not ended, the best weights so far are taken.
            network: the network of your own that it was trained with.
            loss: the loss of your own that it was trained with, or another; only `finetune` needs it.
            member: which, where several were trained together; there it must be given.

        Raises:
            CheckpointError: nothing is there, it does not verify, it was trained with another network, or there are
                several.

        Warns:
            CheckpointWarning: it was trained with a loss of your own, and none is given.
        """
        fitted = load_fitted(directory, network, member)
        warn_of_missing_loss(fitted.own_loss, loss, directory)
        return cls.of(fitted, network, loss)

    def _trained(self, config: RunConfig, df: Any, **asked: Any) -> Self:
        (fitted,) = fit_members(config, self.network, df, [config.train.seed], loss=self.loss, **asked)
        return self._commit(config, fitted)

    def _commit(self, config: RunConfig, fitted: Fitted) -> Self:
        """Takes what was trained; nothing before it changes the forecaster."""
        self.config, self._fitted = config, fitted
        return self
