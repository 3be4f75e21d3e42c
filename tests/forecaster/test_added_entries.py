"""A scaler, transform, loss, metric, data set or network is an entry and its name in config: no other file knows it."""

import json
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from lstmjax import Forecast, Forecaster, RunConfig
from lstmjax.config import DataConfig, ModelConfig, TrainConfig
from lstmjax.data.datasets import DATASETS, Dataset
from lstmjax.data.scalers import SCALERS
from lstmjax.data.transform import TRANSFORMS, Transform
from lstmjax.evaluation.metrics import METRICS, Metric
from lstmjax.forecaster.export import forecast_function
from lstmjax.models import NETWORKS
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.run import train_run
from lstmjax.training.losses import LOSSES
from lstmjax.training.metric_objective import metric_names

CONFIG = RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {
        "data.h": 2,
        "data.input_size": 6,
        "data.val_size": 8,
        "data.test_size": 10,
        "data.season_length": 3,
        "model.hidden_size": 3,
        "model.head_size": 0,
        "train.max_steps": 4,
        "train.val_check_steps": 2,
        "train.batch_size": 8,
        "train.batch_shards": 1,
        "outputs.plot_windows": 1,
    }
)
Y = 20 + 3 * np.random.default_rng(0).normal(size=60)
TABLE = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=60, freq="h"), "y": Y})


@pytest.fixture
def named(monkeypatch):
    """Adds a name to the choices of an option."""

    def add(section, option, name):
        hint = typing.get_type_hints(section)[option]
        optional = type(None) in typing.get_args(hint)
        (choices,) = [part for part in typing.get_args(hint) if part is not type(None)] if optional else [hint]
        longer = typing.Literal[(*typing.get_args(choices), name)]
        monkeypatch.setitem(section.__annotations__, option, longer | None if optional else longer)

    return add


def exported(forecaster, series):
    """What the exported function says after the table's last row."""
    y = TABLE["y"].to_numpy(np.float32)[None, -6:, None]
    call = jax.jit(forecast_function(forecaster))
    return np.asarray(call({"y": y, "series": np.array([series], np.int32)}))[0, :, 0]


@pytest.mark.filterwarnings("ignore:.*were not trained on")
def test_a_scaler(named, monkeypatch):
    def maxabs(values):
        xp = values.__array_namespace__()
        return xp.zeros(values.shape[1:]), xp.nanmax(xp.abs(values), axis=0)

    monkeypatch.setitem(SCALERS, "maxabs", maxabs)
    named(DataConfig, "scaler", "maxabs")
    forecaster = Forecaster(CONFIG.replace({"data.scaler": "maxabs"})).fit(TABLE)
    scaling = forecaster.fitted.selected.scaling
    assert scaling.y_scale[0, 0] == Y[:42].max()
    forecast = forecaster.predict()["lstm"].to_numpy()
    np.testing.assert_allclose(exported(forecaster, 0), forecast, rtol=1e-5)
    new = forecaster.predict(TABLE.iloc[-6:].assign(unique_id="new"))["lstm"].to_numpy()
    np.testing.assert_allclose(exported(forecaster, -1), new, rtol=1e-5)
    assert np.isfinite(forecaster.metrics(TABLE)["mae"]).all()


@pytest.mark.filterwarnings("ignore:.*were not trained on")
def test_a_transform(named, monkeypatch, tmp_path):
    roots = Transform(lambda values: values**0.5, lambda values: values**2, above=-1e-300, needs="values of at least 0")
    monkeypatch.setitem(TRANSFORMS, "sqrt", roots)
    named(DataConfig, "transform", "sqrt")
    forecaster = Forecaster(CONFIG.replace({"data.transform": "sqrt"})).fit(TABLE)
    assert forecaster.fitted.selected.scaling.y_center[0, 0] == pytest.approx(np.sqrt(Y[:42]).mean())
    forecaster.save(tmp_path)
    forecast = Forecaster.load(tmp_path).predict()["lstm"].to_numpy()
    assert 10 < forecast.mean() < 30
    np.testing.assert_allclose(exported(forecaster, 0), forecast, rtol=1e-5)
    with pytest.raises(Exception, match="data.transform 'sqrt' needs values of at least 0"):
        forecaster.predict(TABLE.assign(y=TABLE["y"] - 50))


def test_a_loss(named, monkeypatch):
    losses = []

    def quartic(forecast, target, hyper):
        losses.append(hyper.huber_delta)
        return (forecast.point() - target.y) ** 4

    monkeypatch.setitem(LOSSES, "quartic", quartic)
    named(TrainConfig, "loss", "quartic")
    forecaster = Forecaster(CONFIG.replace({"train.loss": "quartic"})).fit(TABLE)
    assert losses
    assert forecaster.fitted.config.train.loss == "quartic"
    assert np.isfinite(forecaster.predict()["lstm"]).all()


def test_a_dataset(named, monkeypatch, tmp_path):
    monkeypatch.setitem(DATASETS, "mine", Dataset((), lambda: TABLE, {"freq": "h", "val_size": 7, "test_size": 9}))
    named(DataConfig, "dataset", "mine")
    config = CONFIG.replace({"data.dataset": "mine", "data.val_size": None, "data.test_size": None})
    data = train_run(config, tmp_path / "r", say=lambda line: None).forecaster.fitted.config.data
    assert (data.freq, data.val_size, data.test_size) == ("h", 7, 9)
    assert RunDirectory(tmp_path / "r").description["data_sha256"]


def test_a_network(named, monkeypatch):
    class Mean(nnx.Module):
        def __init__(self, spec, config, *, rngs):
            self.spec, self.scale = spec, nnx.Param(jnp.ones(()))

        def __call__(self, window, *, rngs=None, deterministic=None):
            mean = window.y.mean(axis=1, keepdims=True) * self.scale[...]
            return Forecast(jnp.repeat(mean, self.spec.h, axis=1)[..., None])

    monkeypatch.setitem(NETWORKS, "mean", Mean)
    named(ModelConfig, "name", "mean")
    forecaster = Forecaster(CONFIG.replace({"model.name": "mean"})).fit(TABLE)
    forecast = forecaster.predict()["lstm"].to_numpy()
    np.testing.assert_allclose(exported(forecaster, 0), forecast, rtol=1e-5)
    assert forecast[0] == forecast[1]


def test_a_metric(monkeypatch, tmp_path):
    bias = Metric("Bias", lambda y, forecast: forecast - y, unit="{unit}")
    monkeypatch.setitem(METRICS, "bias", bias)
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    said = []
    run = train_run(CONFIG.replace({"data.path": str(tmp_path / "t.csv")}), tmp_path / "r", say=said.append)
    written = pd.read_csv(tmp_path / "r" / "test_forecasts.csv.gz")
    expected = (written["lstm"] - written["y"]).mean()
    assert run.metrics["test"]["bias"] == pytest.approx(expected)
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["test"]["bias"] == pytest.approx(expected)
    by_horizon = pd.read_csv(tmp_path / "r" / "metrics_by_horizon.csv")
    assert by_horizon.query("model == 'lstm'")["bias"].mean() == pytest.approx(expected)
    assert "Bias" in "".join(said)
    assert "bias" in metric_names()


@pytest.mark.filterwarnings("ignore:.*were not trained on")
def test_no_forecast_is_below_clip_min_whatever_says_it(tmp_path):
    least = float(Y[:42].mean())
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    config = CONFIG.replace({"data.clip_min": least, "data.path": str(tmp_path / "t.csv"), "train.refit_all": True})
    with pytest.warns(UserWarning, match="data.clip_min is"):
        run = train_run(config, tmp_path / "r", say=lambda line: None)
    evaluated = pd.read_csv(tmp_path / "r" / "test_forecasts.csv.gz")["lstm"]
    assert evaluated.min() == pytest.approx(least)
    assert evaluated.max() > least
    assert evaluated.nunique() < len(evaluated)  # the bound did act
    forecaster = Forecaster.load(tmp_path / "r")
    written = pd.read_csv(tmp_path / "r" / "forecast.csv")["lstm"]
    np.testing.assert_allclose(forecaster.predict()["lstm"], written)
    assert written.min() >= least
    low = TABLE.assign(y=TABLE["y"] - 50, unique_id="new")  # scaled by its own statistics
    assert (forecaster.predict(low)["lstm"] == least).all()
    assert (forecaster.evaluate(low)["lstm"] == least).all()
    y = jnp.asarray(low["y"].to_numpy(np.float32)[None, -6:, None])
    export = forecast_function(forecaster)({"y": y, "series": jnp.full(1, -1, jnp.int32)})
    np.testing.assert_allclose(export, least, rtol=1e-6)
    assert run.metrics["test"]["mae"] == pytest.approx(
        (evaluated - pd.read_csv(tmp_path / "r" / "test_forecasts.csv.gz")["y"]).abs().mean()
    )
