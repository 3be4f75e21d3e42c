"""Metrics that are added up part by part: those of the table of all windows, however the windows are cut."""

import warnings

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.evaluation import windows
from lstmjax.evaluation.intervals import NOTHING, Asked
from lstmjax.evaluation.probabilistic import frequencies
from lstmjax.evaluation.table import metric_names
from lstmjax.evaluation.windows import evaluate

H = 3
ASKED = Asked(level=(80, 95), quantiles=(0.1, 0.5))


@pytest.fixture(scope="module")
def prepared():
    """Two targets: gaps, a series without a season before the test, one that is constant, one without truths."""
    random = np.random.default_rng(0)
    tables = []
    for name, rows in {"a": 60, "b": 45, "short": 24, "flat": 50, "gone": 50}.items():
        y, z = 5 + random.normal(size=rows).cumsum(), 1000 * random.normal(size=rows)
        y[random.random(rows) < 0.2] = np.nan
        y, z = (np.full(rows, 0.3), z) if name == "flat" else (y, z)
        y[-20:-1] = np.nan if name == "gone" else y[-20:-1]
        z[-20:-1] = np.nan if name == "gone" else z[-20:-1]
        tables.append(
            pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024-01-01", periods=rows), "y": y, "z": z})
        )
    sizes = {"val_size": 3, "test_size": 20, "season_length": 7}
    config = DataConfig(h=H, input_size=4, target_cols=("y", "z"), **sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty cells
        return prepare(panel_from_table(pd.concat(tables), config), config, with_test=True)


def evaluation_of(prepared, asked):
    random, shape = np.random.default_rng(1), (len(prepared.test.series), H, 2)
    bounds = np.sort(random.normal(size=(*shape, len(asked.probabilities))) * 5 + 5, axis=-1) if asked else None
    return evaluate(
        prepared.panel,
        prepared.test,
        random.normal(size=shape),
        model="mine",
        first_row=prepared.split.calibration_end,
        scaling=prepared.scaling,
        season_length=7,
        asked=asked,
        quantiles=bounds,
        baselines={"own": lambda history, h: np.full(h, history[-1])},  # missing in some windows
    )


@pytest.mark.filterwarnings("ignore:MASE leaves out")
@pytest.mark.parametrize("values", [30, 1 << 18], ids="{} values at a time".format)
@pytest.mark.parametrize("asked", [NOTHING, ASKED], ids=["points", "intervals"])
@pytest.mark.parametrize("what", [None, "series", "target", "horizon", "cutoff"])
def test_metrics_of_parts_are_those_of_the_whole_table(prepared, monkeypatch, what, asked, values):
    monkeypatch.setattr(windows, "_VALUES", values)
    found = evaluation_of(prepared, asked)
    whole = found.by(what, own={})  # from the table
    pd.testing.assert_frame_equal(found.by(what), whole, rtol=1e-12, atol=0)
    assert whole["mase"].notna().any()
    assert found.by(what)[metric_names(asked)].columns.tolist() == metric_names(asked)


@pytest.mark.filterwarnings("ignore:MASE leaves out")
def test_the_parts_of_the_table_are_the_table(prepared, monkeypatch):
    monkeypatch.setattr(windows, "_VALUES", 100)
    found = evaluation_of(prepared, ASKED)
    pd.testing.assert_frame_equal(pd.concat(found.tables(), ignore_index=True), found.table, check_exact=True)
    assert set(found.table["unique_id"]) | set(found.table["target"]) | set(found.table.columns) <= set(found.texts)
    rows, at = found.table, dict(zip(ASKED.columns("mine").values(), ASKED.columns("mine"), strict=True))
    columns = rows[[at[probability] for probability in ASKED.probabilities]]
    expected = frequencies(rows["y"].to_numpy(), columns.to_numpy())
    np.testing.assert_allclose(found.frequencies()["mine"], expected, rtol=1e-12)
    assert found.frequencies().keys() == {"mine", "naive", "seasonal_naive"}
