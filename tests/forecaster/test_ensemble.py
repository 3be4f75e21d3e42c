"""Several forecasters as one."""

import numpy as np
import pandas as pd
import pytest

import lstmjax
from lstmjax.data import forecast_windows
from lstmjax.errors import ConfigError

CONFIG = lstmjax.RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {"data.h": 3, "data.input_size": 8, "data.val_size": 9, "model.hidden_size": 4, "model.head_size": 0}
    | {"train.max_steps": 3, "train.batch_size": 8}
)


def table(offset=0.0):
    return pd.DataFrame({"ds": np.arange(60), "y": offset + np.sin(np.arange(60) / 2)})


@pytest.fixture(scope="module")
def members():
    return lstmjax.fit_seeds(CONFIG, table(), seeds=[0, 1])


def test_the_forecast_is_the_mean_and_the_spread_the_deviation_of_the_members(members):
    values = np.stack([member.predict()["lstm"].to_numpy() for member in members])
    assert not np.array_equal(*values)
    ensemble = lstmjax.Ensemble(members)
    found = ensemble.predict()
    np.testing.assert_allclose(found["lstm"], values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["lstm-std"], np.abs(values[0] - values[1]) / np.sqrt(2), rtol=1e-9)
    panel = members[0].fitted.tail
    spread = ensemble.forecast_windows(panel, forecast_windows(panel))
    np.testing.assert_array_equal(spread.mean[0, :, 0], found["lstm"])
    np.testing.assert_array_equal(spread.members[:, 0, :, 0], values)
    assert lstmjax.Ensemble(members[:1]).predict()["lstm-std"].tolist() == [0.0] * 3


def test_members_must_be_there_and_belong_together(members):
    with pytest.raises(ConfigError, match="an ensemble has no members"):
        lstmjax.Ensemble([])
    fitted = members[0].fitted
    for changes, expected in (
        ({"model.alias": "mine"}, "must agree on model.alias: lstm and mine"),
        ({"data.h": 4}, "must agree on data.h: 3 and 4"),
    ):
        other = lstmjax.Forecaster.of(fitted.replace(config=fitted.config.replace(changes)))
        with pytest.raises(ConfigError, match=expected):
            lstmjax.Ensemble([members[0], other])
    longer = lstmjax.Forecaster(CONFIG).fit(table().iloc[:-1])
    with pytest.raises(ConfigError, match=r"must agree on the time of the first forecast: \[60\] and \[59\]"):
        lstmjax.Ensemble([members[0], longer])


@pytest.mark.filterwarnings("ignore:.*were not trained on")
def test_members_of_different_lookbacks_forecast_and_are_evaluated_together(members):
    other = lstmjax.Forecaster(CONFIG.replace({"data.input_size": 14, "model.hidden_size": 3})).fit(table())
    ensemble = lstmjax.Ensemble([members[0], other])
    np.testing.assert_allclose(
        ensemble.predict()["lstm"], (members[0].predict()["lstm"] + other.predict()["lstm"]) / 2, rtol=1e-12
    )
    later = pd.DataFrame({"ds": np.arange(70), "y": np.sin(np.arange(70) / 2)})
    new = later.assign(unique_id="new")
    tables = [one.evaluate(new) for one in (members[0], other)]
    found = ensemble.evaluate(new)
    assert len(tables[0]) > len(tables[1]) == len(found)  # the longer lookback skips more rows of a new series
    assert found.columns.tolist() == [*tables[0].columns[:5], "lstm-std", *tables[0].columns[5:]]
    both = tables[1].merge(tables[0], on=["unique_id", "ds", "cutoff", "y"])
    np.testing.assert_allclose(found["lstm"], (both["lstm_x"] + both["lstm_y"]) / 2, rtol=1e-12)
    np.testing.assert_allclose(found["lstm-std"], (both["lstm_x"] - both["lstm_y"]).abs() / np.sqrt(2), rtol=1e-9)
