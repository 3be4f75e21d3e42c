"""The experiment on electricity prices, on a few weeks of made-up days: what is compared with what."""

import importlib

import numpy as np
import pandas as pd
import pytest

from lstmjax import RunConfig
from lstmjax.errors import ConfigError


@pytest.fixture(scope="module")
def prices(experiments_on_path):
    return importlib.import_module("electricity_price")


def tiny(panel, data):
    small = {
        "data.input_size": 24,
        "data.val_size": 0,
        "model.name": "direct",
        "model.hidden_size": 4,
        "train.max_steps": 2,
    }
    return [RunConfig(data=data).replace(small)]


def test_both_ways_of_training_stand_beside_the_published_forecasts(prices, tmp_path, monkeypatch):
    monkeypatch.setattr(prices, "DAYS", 14)
    monkeypatch.setattr(prices, "CHOSEN", 10)
    monkeypatch.setattr(prices, "WEEKS", 1)
    monkeypatch.setattr(prices, "recipes", tiny)
    monkeypatch.setenv("LSTMJAX_DATA", str(tmp_path))
    times = pd.date_range("2018-01-01", periods=35 * 24, freq="h")
    draw = np.random.default_rng(0).normal
    table = pd.DataFrame({"ds": times, "price": 30 + draw(size=len(times))})
    for name in prices.EXOG["NP"]:
        table[name] = draw(size=len(times))
    table.to_csv(tmp_path / "EPF-NP.csv.gz", index=False)
    last = table.tail(14 * 24)
    shown = {"ds": last["ds"], "Real price": last["price"], "DNN Ensemble": last["price"] + 2.0}
    pd.DataFrame(shown | {"LEAR Ensemble": last["price"] + draw(size=len(last))}).to_csv(
        tmp_path / "EPF-NP-published.csv.gz", index=False
    )
    found = prices.run(prices.Experiment())
    mae = found["mae"]
    assert mae["DNN Ensemble"] == pytest.approx(2.0)
    week_before = table["price"].to_numpy()[-21 * 24 : -7 * 24]
    assert mae["the week before"] == pytest.approx(np.abs(week_before - last["price"].to_numpy()).mean())
    errors = np.abs(week_before - last["price"].to_numpy())
    assert found["mae_first_days"]["the week before"] == pytest.approx(errors[: 4 * 24].mean())
    assert 0.0 < mae["trained every 1 weeks"] < 60.0
    assert mae["trained every 1 weeks"] != mae["trained once"]
    assert len(found["config"]) == 1
    assert set(found["diebold_mariano"]) == {f"trained every 1 weeks against {name}" for name in prices.PUBLISHED}


def test_a_missing_file_is_one_line(prices, tmp_path, monkeypatch):
    monkeypatch.setenv("LSTMJAX_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match=r"EPF-PJM.csv.gz is not there: give the folder with it as LSTMJAX_DATA"):
        prices.run(prices.Experiment(market="PJM"))
