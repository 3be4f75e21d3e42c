"""Intervals and quantiles in an evaluation: their columns, and metrics recomputed from the written table."""

import io
import math

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.errors import ConfigError
from lstmjax.evaluation.baselines import BASELINES, baseline_quantiles, past_deviations
from lstmjax.evaluation.intervals import NOTHING, Asked
from lstmjax.evaluation.render import render_intervals, render_metrics
from lstmjax.evaluation.table import metric_names
from lstmjax.evaluation.windows import evaluate

pytestmark = pytest.mark.filterwarnings("ignore:.*empty cell.*masked")

H, SEASON = 3, 4
ASKED = Asked(level=(80, 95), quantiles=(0.1, 0.25, 0.5, 0.75, 0.9))
MODELS = ("mine", "naive", "seasonal_naive")


@pytest.fixture(scope="module")
def prepared():
    """Two series of two targets in different units, of different lengths, with missing truths."""
    random = np.random.default_rng(0)
    tables = []
    for name, rows in (("a", 90), ("b", 70)):
        y, z = 5 + random.normal(size=rows).cumsum() / 5, 1000 * random.normal(size=rows)
        y[random.random(rows) < 0.1] = np.nan
        times = pd.date_range("2024-01-01", periods=rows, freq="h")
        tables.append(pd.DataFrame({"unique_id": name, "ds": times, "y": y, "z": z}))
    sizes = {"val_size": 6, "test_size": 20, "season_length": SEASON}
    config = DataConfig(h=H, input_size=6, target_cols=("y", "z"), **sizes)
    return prepare(panel_from_table(pd.concat(tables), config), config, with_test=True)


def evaluation_of(prepared, asked, quantiles=None, forecast=None):
    shape = (len(prepared.test.series), H, 2)
    forecast = np.random.default_rng(1).normal(size=shape) * [5.0, 500.0] if forecast is None else forecast
    return evaluate(
        prepared.panel,
        prepared.test,
        forecast,
        model="mine",
        first_row=prepared.split.calibration_end,
        scaling=prepared.scaling,
        season_length=SEASON,
        asked=asked,
        quantiles=quantiles,
    )


@pytest.fixture(scope="module")
def evaluation(prepared):
    shape = (len(prepared.test.series), H, 2, len(ASKED.probabilities))
    quantiles = np.sort(np.random.default_rng(2).normal(size=shape) * [[5.0], [500.0]], axis=-1)
    return evaluation_of(prepared, ASKED, quantiles), quantiles


@pytest.fixture(scope="module")
def written(evaluation, tmp_path_factory):
    """The table as a run writes it, and as anybody reads it."""
    path = tmp_path_factory.mktemp("run") / "test_forecasts.csv.gz"
    evaluation[0].table.to_csv(path, index=False)
    return pd.read_csv(path)


def recomputed(rows, model, scales):
    """Every metric of intervals and quantiles of one model, by their definitions, from rows of the written table."""
    rows = rows[rows["y"].notna()]
    y = rows["y"]
    losses = []
    for q in ASKED.quantiles:
        error = y - rows[f"{model}_ql{q:g}"]
        losses.append(2 * np.where(error > 0, q * error, (q - 1) * error))
    loss = pd.Series(np.mean(losses, axis=0), rows.index)
    by_series = loss.groupby([rows["unique_id"], rows["target"]]).mean()
    by_target = loss.groupby(rows["target"]).sum() / y.abs().groupby(rows["target"]).sum()
    found = {
        "crps": loss.mean(),
        "wql": by_target.mean(),
        "sql": (by_series / scales.loc[by_series.index]).mean(),
    }
    for level in (80, 95):
        low, high = rows[f"{model}-lo-{level}"], rows[f"{model}-hi-{level}"]
        found[f"coverage-{level}"] = ((low <= y) & (y <= high)).mean()
        found[f"width-{level}"] = (high - low).mean()
        missed = (low - y).clip(lower=0) + (y - high).clip(lower=0)
        found[f"interval_score-{level}"] = (high - low + 2 / (1 - level / 100) * missed).mean()
    return found


@pytest.fixture(scope="module")
def scales(prepared):
    """Of each series and target the mean change over a season in the rows before the test."""
    found, panel = {}, prepared.panel
    for number, name in enumerate(panel.ids.tolist()):
        begin = panel.offsets[number]
        rows = pd.DataFrame(panel.y[begin : begin + prepared.split.calibration_end[number]])
        for channel, target in enumerate(("y", "z")):
            found[name, target] = rows[channel].diff(SEASON).abs().mean()
    return pd.Series(found)


def test_columns_stand_behind_the_forecast_that_they_belong_to(evaluation, prepared):
    found, quantiles = evaluation
    bounds = [name for model in MODELS for name in (model, *ASKED.columns(model))]
    assert list(found.table.columns) == ["unique_id", "target", "ds", "cutoff", "y", *bounds]
    assert found.models == list(MODELS)
    at = ASKED.probabilities.index(0.025)
    np.testing.assert_array_equal(found.table["mine-lo-95"], quantiles[..., at].transpose(0, 2, 1).reshape(-1))
    panel, (series, origin) = prepared.panel, prepared.test
    for name, baseline in BASELINES.items():
        where = (panel.y, panel.offsets, series, origin)
        values = baseline(*where, h=H, season_length=SEASON)
        past = past_deviations(*where, season_length=SEASON)[name]
        own = baseline_quantiles(values, past, season_length=SEASON, probabilities=[0.25])
        np.testing.assert_allclose(found.table[f"{name}_ql0.25"], own[..., 0].transpose(0, 2, 1).reshape(-1))
        np.testing.assert_allclose(found.table[f"{name}_ql0.5"], found.table[name])


def test_every_metric_can_be_recomputed_from_the_written_table(evaluation, written, scales):
    metrics = evaluation[0].metrics
    for model, found in {"mine": metrics["test"], **metrics["baselines"]}.items():
        assert list(found) == metric_names(ASKED)
        expected = recomputed(written, model, scales)
        assert set(found) == {"mse", "rmse", "mae", "smape", "mase", *expected}
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-6), (model, name)
    for target, found in metrics["by_target"].items():
        expected = recomputed(written[written["target"] == target], "mine", scales)
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("what", ["series", "target", "horizon"])
def test_so_can_those_of_every_group(what, evaluation, written, scales):
    steps = written.groupby(["unique_id", "target", "cutoff"]).cumcount() + 1
    groups = {"series": written["unique_id"], "target": written["target"], "horizon": steps}[what]
    table = pd.read_csv(io.StringIO(evaluation[0].by(what).to_csv(index=False)))
    assert list(table.columns) == ["key", "model", *metric_names(ASKED), "n"]
    assert len(table) == 3 * groups.nunique()
    for _, row in table.iterrows():
        expected = recomputed(written[groups == row["key"]], row["model"], scales)
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_without_quantiles_the_ends_of_the_intervals_are_scored(prepared, scales):
    ends = Asked(level=(80,))
    quantiles = np.sort(np.random.default_rng(3).normal(size=(len(prepared.test.series), H, 2, 2)), axis=-1)
    found = evaluation_of(prepared, ends, quantiles)
    rows = found.table[found.table["y"].notna()]
    losses = [
        2 * np.maximum(q * (rows["y"] - rows[name]), (q - 1) * (rows["y"] - rows[name]))
        for name, q in (("mine-lo-80", 0.1), ("mine-hi-80", 0.9))
    ]
    assert found.metrics["test"]["crps"] == pytest.approx(np.mean(losses))
    interval = found.metrics["test"]["interval_score-80"]
    assert interval == pytest.approx(np.mean(losses) * 2 / 0.2)  # the interval score is the sum of both, over alpha


def test_without_intervals_nothing_is_added(prepared):
    found = evaluation_of(prepared, NOTHING)
    assert list(found.table.columns) == ["unique_id", "target", "ds", "cutoff", "y", *MODELS]
    assert list(found.metrics["test"]) == ["mse", "rmse", "mae", "smape", "mase"]
    empty = np.zeros((len(prepared.test.series), H, 2, 0))
    assert evaluation_of(prepared, NOTHING, empty).table.equals(found.table)
    with pytest.raises(ValueError, match="quantiles is None: expected the model's quantiles"):
        evaluation_of(prepared, ASKED)


def test_a_missing_bound_of_an_observed_truth_leaves_the_model_without_the_metric(evaluation, prepared):
    quantiles = evaluation[1].copy()
    observed = np.argwhere(~np.isnan(evaluation[0].y[..., 1]))[0]
    quantiles[observed[0], observed[1], 1, ASKED.probabilities.index(0.1)] = np.nan
    found = evaluation_of(prepared, ASKED, quantiles).metrics["test"]
    lacking = {name for name, value in found.items() if math.isnan(value)}
    assert lacking == {"crps", "wql", "sql", "coverage-80", "width-80", "interval_score-80"}


def test_a_metric_of_ones_own_cannot_have_their_names(evaluation):
    own = {"bias": lambda y, forecast: np.mean(forecast - y)}
    assert list(evaluation[0].by(own=own).columns) == ["model", *metric_names(ASKED), "bias", "n"]
    with pytest.raises(ConfigError, match="named 'coverage-80', as another column is"):
        evaluation[0].by(own={"coverage-80": own["bias"]})


def test_nominal_and_measured_coverage_stand_beside_each_other():
    found = {"coverage-80": 0.77, "width-80": 2.5, "interval_score-80": 4.0, "coverage-95": 0.9, "width-95": 3.0}
    metrics = {"lstm": {"mae": 1.0, "crps": 0.7, "sql": 0.5, **found}, "naive": {"mae": 2.0, "crps": math.nan, **found}}
    lines = render_intervals(metrics, unit="GW").splitlines()
    assert lines[0].split() == ["nominal", "coverage", "mean", "width", "(GW)", "interval", "score", "(GW)"]
    assert [line.split() for line in lines[2:]] == [
        ["lstm", "0.8000", "0.7700", "2.500", "4.000"],
        ["naive", "0.8000", "0.7700", "2.500", "4.000"],
        ["lstm", "0.9500", "0.9000", "3.000", "-"],
        ["naive", "0.9500", "0.9000", "3.000", "-"],
    ]
    assert render_metrics(metrics, unit="GW").splitlines()[0].split() == ["MAE", "(GW)", "CRPS", "(GW)", "SQL"]
    assert render_intervals({"lstm": {"mae": 1.0}}) == ""
