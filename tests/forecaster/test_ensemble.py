"""Several forecasters as one."""

import numpy as np
import pandas as pd
import pytest

import lstmjax
from lstmjax.data import forecast_windows
from lstmjax.errors import ConfigError

CONFIG = lstmjax.RunConfig().replace(
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
    other = lstmjax.Forecaster(CONFIG.replace({"model.alias": "mine"}))
    fitted = members[0].fitted
    other.with_fitted(fitted._replace(config=fitted.config.replace({"model.alias": "mine"})))
    with pytest.raises(ConfigError, match="were trained on different data, or have different names"):
        lstmjax.Ensemble([members[0], other])
