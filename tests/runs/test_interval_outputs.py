"""What a run with intervals leaves: columns, metrics that are recomputed from the files, and pictures."""

import json

import numpy as np
import pandas as pd
import pytest

from lstmjax.cli.app import main
from lstmjax.config import RunConfig
from lstmjax.evaluation.intervals import Asked
from lstmjax.evaluation.metrics import seasonal_scale
from lstmjax.runs.run import resume_run, train_run

SEASON = 6
CONFIG = RunConfig().replace(
    {
        "data.h": 3,
        "data.input_size": 6,
        "data.val_size": 12,
        "data.calibration_size": 40,
        "data.test_size": 40,
        "data.season_length": SEASON,
        "model.name": "direct",
        "model.head": "quantile",
        "model.hidden_size": 3,
        "model.head_size": 0,
        "optimizer.schedule": "constant",
        "train.max_steps": 4,
        "train.val_check_steps": 2,
        "train.batch_size": 8,
        "train.batch_shards": 1,
        "outputs.level": (80, 95),
        "outputs.quantiles": (0.1, 0.5, 0.9),
        "outputs.calibration": "conformal",
        "outputs.plot_windows": 1,
    }
)
ASKED = Asked((80, 95), (0.1, 0.5, 0.9))
MODELS = ("lstm", "naive", "seasonal_naive")
SCORES = ["crps", "wql", "sql"]
SCORES += [f"{name}-{level}" for level in (80, 95) for name in ("coverage", "width", "interval_score")]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "t.csv"
    random = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=260, freq="h"),
                "y": 5 + np.sin(np.arange(260) * np.pi / 3) + random.normal(0, 0.3, 260),
            }
        )
        for name in "ab"
    ]
    pd.concat(tables).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    said = []
    directory = tmp_path_factory.mktemp("runs") / "r"
    return train_run(CONFIG.replace({"data.path": str(table)}), directory, say=said.append), said


def recomputed(rows, model, scales):
    y = rows["y"]
    losses = [
        2 * np.maximum(q * (y - rows[f"{model}_ql{q}"]), (q - 1) * (y - rows[f"{model}_ql{q}"]))
        for q in (0.1, 0.5, 0.9)
    ]
    loss = sum(losses) / 3
    by_series = loss.groupby(rows["unique_id"]).mean()
    found = [loss.mean(), loss.sum() / y.abs().sum(), (by_series / scales[by_series.index]).mean()]
    for level in (80, 95):
        low, high = rows[f"{model}-lo-{level}"], rows[f"{model}-hi-{level}"]
        missed = (low - y).clip(lower=0) + (y - high).clip(lower=0)
        found += [((low <= y) & (y <= high)).mean(), (high - low).mean()]
        found += [(high - low + 2 / (1 - level / 100) * missed).mean()]
    return dict(zip(SCORES, found, strict=True))


def test_every_metric_is_recomputed_from_the_files_to_six_digits(run, table):
    directory = run[0].directory
    rows = pd.read_csv(directory / "test_forecasts.csv.gz")
    bounds = [name for model in MODELS for name in (model, *ASKED.columns(model))]
    assert list(rows.columns) == ["unique_id", "ds", "cutoff", "y", *bounds]
    assert len(rows) == 2 * (40 - 3 + 1) * 3
    history = pd.read_csv(table).groupby("unique_id")["y"]
    scales = history.apply(lambda y: seasonal_scale(y.to_numpy()[:220, None], SEASON)[0])
    stored = json.loads((directory / "metrics.json").read_text())
    for model, found in {"lstm": stored["test"], **stored["baselines"]}.items():
        expected = recomputed(rows, model, scales)
        assert list(found) == ["mse", "rmse", "mae", "smape", "mase", *SCORES]
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9), (model, name)
    by_series = pd.read_csv(directory / "metrics_by_series.csv").set_index(["key", "model"])
    for (key, model), found in by_series.iterrows():
        expected = recomputed(rows[rows["unique_id"] == key], model, scales)
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_the_bounds_stand_in_order_and_in_the_forecast_too(run):
    directory = run[0].directory
    ahead = pd.read_csv(directory / "forecast.csv")
    assert list(ahead.columns) == ["unique_id", "ds", "lstm", *ASKED.columns("lstm")]
    for rows, models in ((ahead, MODELS[:1]), (pd.read_csv(directory / "test_forecasts.csv.gz"), MODELS)):
        for model in models:
            names = [f"{model}-{end}" for end in ("lo-95", "lo-80", "hi-80", "hi-95")]
            assert (np.diff(rows[names].to_numpy(), axis=1) >= 0).all()
            np.testing.assert_allclose(rows[f"{model}-lo-80"], rows[f"{model}_ql0.1"])


def test_the_command_shows_nominal_beside_measured_coverage(run, capsys):
    main(["evaluate", str(run[0].directory), "--json"])
    printed = json.loads(capsys.readouterr().out)
    stored = json.loads((run[0].directory / "metrics.json").read_text())
    assert printed["test"] == pytest.approx(stored["test"], rel=1e-6)
    main(["evaluate", str(run[0].directory)])
    shown = capsys.readouterr().out
    assert shown == next(line for line in run[1] if "coverage" in line)
    first, second = shown.split("\n\n")
    assert {"CRPS", "WQL", "SQL"} < set(first.splitlines()[0].split())
    heading, _, *rows = second.splitlines()
    assert heading.split() == ["nominal", "coverage", "mean", "width", "interval", "score"]
    assert [row.split()[:2] for row in rows] == [[m, level] for level in ("0.8000", "0.9500") for m in MODELS]
    assert float(rows[0].split()[2]) == pytest.approx(stored["test"]["coverage-80"], abs=1e-4)


def test_flags_win_over_the_intervals_of_the_run(run, capsys, tmp_path):
    path = tmp_path / "f.csv"
    main(["predict", str(run[0].directory), "--out", str(path)])
    assert list(pd.read_csv(path).columns) == ["unique_id", "ds", "lstm", *ASKED.columns("lstm")]
    main(["predict", str(run[0].directory), "--out", str(path), "--outputs.level", "50"])
    assert list(pd.read_csv(path).columns) == [
        "unique_id",
        "ds",
        "lstm",
        *Asked((50,), ASKED.quantiles).columns("lstm"),
    ]
    main(["evaluate", str(run[0].directory), "--outputs.level", "--outputs.quantiles=0.5", "--json"])
    found = json.loads(capsys.readouterr().out)["test"]
    assert list(found) == ["mse", "rmse", "mae", "smape", "mase", "crps", "wql", "sql"]
    assert found["crps"] == pytest.approx(found["mae"])  # the median's


def test_the_metrics_in_python_are_those_of_the_files(run, table):
    forecaster, df = run[0].forecaster, pd.read_csv(table, parse_dates=["ds"])
    found = forecaster.metrics(df).set_index("model")
    assert found.loc["lstm", SCORES].to_dict() == pytest.approx(
        {n: run[0].metrics["test"][n] for n in SCORES}, rel=1e-6
    )
    other = forecaster.metrics(df, by="horizon", level=[50], quantiles=[0.5])
    assert list(other.columns)[7:] == ["crps", "wql", "sql", "coverage-50", "width-50", "interval_score-50", "n"]


def test_pictures_come_and_go_with_the_intervals(run, table, tmp_path):
    plots = run[0].directory / "plots"
    names = {"learning_curve.png", "test_forecasts.png", "forecast.png", "calibration.png", "by_horizon.png"}
    assert {path.name for path in plots.iterdir()} == names
    nothing = {"outputs.level": (), "outputs.quantiles": (), "outputs.calibration": "none"}
    config = CONFIG.replace({"data.path": str(table)} | nothing)
    resumed = resume_run(run[0].directory, config, into=tmp_path / "copy", say=lambda _: None)
    assert {path.name for path in (resumed.directory / "plots").iterdir()} == names - {
        "calibration.png",
        "by_horizon.png",
    }
    assert "crps" not in resumed.metrics["test"]
    columns = pd.read_csv(resumed.directory / "test_forecasts.csv.gz").columns
    assert list(columns) == ["unique_id", "ds", "cutoff", "y", *MODELS]


def test_seeds_have_the_mean_of_their_scores(table, tmp_path):
    said = []
    result = train_run(CONFIG.replace({"data.path": str(table)}), tmp_path / "s", seeds=2, say=said.append)
    stored = json.loads((tmp_path / "s" / "metrics.json").read_text())
    assert list(stored["test"]) == ["mse", "rmse", "mae", "smape", "mase", *SCORES]
    each = pd.read_csv(tmp_path / "s" / "seeds.csv")
    assert stored["test"]["crps"]["mean"] == pytest.approx(each["crps"].mean())
    assert result.table is not None
    heading = said[-2].splitlines()[0]
    assert heading.split() == ["seed", "mse", "rmse", "mae", "smape", "mase", *SCORES, "best_step", "steps"]
    assert (tmp_path / "s" / "plots" / "test_forecasts.png").exists()
