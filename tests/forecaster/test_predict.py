"""What is evaluated, and by which statistics: beside series that were too short to train on, and new ones."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest

from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.origins import forecast_windows
from lstmjax.data.prepare import prepare
from lstmjax.data.table import DataWarning
from lstmjax.forecaster import export
from lstmjax.forecaster.forecaster import Forecaster

CONFIG = RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {
        "data.h": 3,
        "data.input_size": 8,
        "data.val_size": 10,
        "data.test_size": 20,
        "model.hidden_size": 4,
        "model.head_size": 0,
        "model.series_embedding": 2,
        "train.batch_shards": 1,
    }
)


def rows_of(name, values):
    return pd.DataFrame({"unique_id": name, "ds": np.arange(len(values)), "y": values})


def walk(rows, seed):
    return np.random.default_rng(seed).normal(size=rows).cumsum()


LONG, SHORT = rows_of("long", walk(60, 0)), rows_of("short", walk(25, 1))  # val_size + test_size are 30


def untrained(*tables):
    """A forecaster with its first weights: what is evaluated does not depend on how well it forecasts."""
    panel = panel_from_table(pd.concat(tables), CONFIG.data)
    with pytest.warns(DataWarning, match="1 of 2 series .* are forecast only, not trained on: 'short'$"):
        prepared = prepare(panel, CONFIG.data, with_test=True)
    return Forecaster(CONFIG).fit_prepared(prepared, until=0), panel


@pytest.fixture(scope="module")
def forecaster():
    return untrained(LONG, SHORT)[0]


def test_a_series_whose_statistics_saw_every_row_is_not_evaluated_on_them(forecaster, tmp_path):
    table = pd.concat([LONG, SHORT])
    found = forecaster.evaluate(table)
    assert found.groupby("unique_id")["cutoff"].nunique().to_dict() == {"long": 20 - 3 + 1}
    wild = SHORT.assign(y=np.where(SHORT["ds"] < 8, SHORT["y"], 1e6 * SHORT["y"]))
    other, panel = untrained(LONG, wild)
    assert other.evaluate_panel(panel).metrics == forecaster.evaluate_panel(forecaster.panel(table)).metrics
    forecaster.save(tmp_path)
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path).evaluate(table), found)


def test_rows_that_came_later_are_evaluated(forecaster):
    later = rows_of("short", np.append(SHORT["y"], walk(6, 2)))
    new = rows_of("new", walk(20, 3))
    found = forecaster.evaluate(pd.concat([LONG, later, new]))
    assert found.groupby("unique_id")["ds"].min().to_dict() == {"long": 40, "short": 25, "new": 8}


def test_the_network_knows_no_series_that_it_was_not_trained_on(forecaster):
    """Its learned features would be those that the seed drew."""
    assert forecaster.fitted.selected.scaling.series.tolist() == [0, -1]
    panel = forecaster.panel(pd.concat([rows_of("new", walk(9, 4)), SHORT, LONG]))
    windows = forecast_windows(panel)
    trained = forecaster.fitted.selected
    features = jax.tree.map(np.array, trained.weights)
    (name,) = [name for name, array in features.params.items() if array.shape == (2, 1, 2)]
    features.params[name][:] += np.array([1.0, -1.0])[:, None, None]  # the mean of both stays as it is
    moved = Forecaster.of(forecaster.fitted.replace(selected=dataclasses.replace(trained, weights=features)))
    before, after = (one.forecast_windows(panel, windows) for one in (forecaster, moved))
    np.testing.assert_allclose(after[:2], before[:2], rtol=1e-5)
    assert not np.allclose(after[2], before[2], rtol=1e-3)


def test_an_exported_function_says_the_same_of_it(forecaster):
    y = np.stack([LONG["y"][-8:], SHORT["y"][-8:]])[..., None].astype(np.float32)
    call = jax.jit(export.forecast_function(forecaster))
    found = np.asarray(call({"y": y, "series": np.array([0, 1], np.int32)}))
    np.testing.assert_allclose(found.ravel(), forecaster.predict()["lstm"], rtol=1e-4)


def test_forecasts_that_are_not_finite_are_warned_of():
    """The weights after the first step are finite; what they forecast is not."""
    y = np.sin(np.arange(80) / 3)
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=80, freq="h"), "y": y})
    config = RunConfig().replace(
        {
            "data.h": 2,
            "data.input_size": 4,
            "optimizer.learning_rate": 1e38,
            "train.max_steps": 1,
            "model.hidden_size": 4,
        }
    )
    forecaster = Forecaster(config).fit(table, val_size=0)
    with pytest.warns(DataWarning, match=r"1 of 1 forecasts are not finite numbers: .* optimizer\.learning_rate"):
        forecaster.predict()
