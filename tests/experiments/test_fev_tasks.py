"""The measures and the seasonal naive rows of fev-bench, and that one recipe fits tasks of all kinds."""

import dataclasses
import importlib
import math
import os
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.errors import ConfigError


@pytest.fixture(scope="module")
def fev(experiments_on_path):
    return importlib.import_module("fev_tasks")


def seasonal_naive_scores(fev, task):
    panel, windows, cutoff = fev.windows_of(task)
    return fev.Scorer(panel, windows, cutoff, task)(fev.seasonal_naive(panel, windows, task))


@pytest.mark.parametrize(
    ("file", "options", "published"),
    [
        ("EPF-NP", {"target": ("price",), "h": 24}, {"sql": 1.530, "mase": 1.761}),
        ("EPF-PJM", {"target": ("price",), "h": 24}, {"sql": 0.515, "mase": 0.581}),
        ("GEFCom2014-E", {"target": ("load",), "h": 168}, {"sql": 1.075, "mase": 1.199}),
        (
            "AirQualityUCI",
            {"target": ("C6H6(GT)", "CO(GT)", "NO2(GT)", "NOx(GT)"), "h": 168},
            {"sql": 1.384, "mase": 1.443},
        ),
        ("M3-monthly", {"target": ("y",), "h": 18, "windows": 1, "season": 12}, {"mase": 1.146}),
        ("Tourism-monthly", {"target": ("y",), "h": 24, "windows": 1, "season": 12}, {"mase": 1.631}),
    ],
)
@pytest.mark.filterwarnings("ignore::lstmjax.data.table.DataWarning")
def test_published_rows_of_seasonal_naive(fev, public_data, monkeypatch, file, options, published):
    public_data(f"{file}.csv.gz")
    found = seasonal_naive_scores(fev, fev.Task(data=Path(os.environ["LSTMJAX_DATA"]) / f"{file}.csv.gz", **options))
    for name, value in published.items():
        assert found[name] == pytest.approx(value, rel=3e-3)


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    """Five weeks of hourly prices of two zones, with a load that is known ahead and a column that nobody names."""
    rng = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=35 * 24, freq="h")
    load = 10 + np.sin(2 * np.pi * times.hour / 24) + 0.1 * rng.normal(size=len(times))
    table = pd.DataFrame({"time": times, "load": load, "price": 3 * load + rng.normal(size=len(times)), "note": "x"})
    path = tmp_path_factory.mktemp("prices") / "prices.csv.gz"
    table.to_csv(path, index=False)
    return path, table


def test_measures_by_hand(fev, prices):
    path, table = prices
    task = fev.Task(data=path, target=("price",), time_col="time", h=24, windows=2)
    y = table["price"].to_numpy()
    scores = {"sql": [], "mase": [], "wql": [], "wape": []}
    for cutoff in (len(y) - 48, len(y) - 24):
        past, truth = y[:cutoff], y[cutoff : cutoff + 24]
        scale = np.mean([abs(past[t] - past[t - 24]) for t in range(24, cutoff)])
        recent = past[-1000:]
        sigma = math.sqrt(sum((recent[24:] - recent[:-24]) ** 2) / (len(recent) - 24))
        losses = []
        for level in fev.LEVELS:
            forecast = past[-24:] + NormalDist().inv_cdf(level) * sigma
            losses.append(
                [2 * max(level * (a - b), (level - 1) * (a - b)) for a, b in zip(truth, forecast, strict=True)]
            )
        errors = abs(truth - past[-24:])
        scores["sql"].append(np.mean(losses) / scale)
        scores["mase"].append(errors.mean() / scale)
        scores["wql"].append(np.sum(losses) / 9 / abs(truth).sum())
        scores["wape"].append(errors.sum() / abs(truth).sum())
    assert seasonal_naive_scores(fev, task) == pytest.approx({name: np.mean(values) for name, values in scores.items()})


def test_a_task_is_run_and_no_forecast_depends_on_rows_after_its_cutoff(fev, prices, tmp_path, monkeypatch):
    path, table = prices
    shorter = {"train.max_steps": 2, "model.hidden_size": 4, "model.decoder_size": 4}
    whole = fev.recipes
    monkeypatch.setattr(fev, "recipes", lambda panel, data: [whole(panel, data)[2].replace(shorter)])
    task = fev.Task(
        data=path, target=("price",), futr_exog=("load",), time_col="time", h=24, windows=2, seeds=2, refit=1
    )
    found = fev.run(task)
    assert found["seeds"] == 2
    assert found["windows"] == 2
    assert set(found["deviation"]) == set(found["ensemble"]) == set(found["seasonal_naive"]) == set(fev.MEASURES)
    assert all(np.isfinite(found[name]) and found["deviation"][name] > 0 for name in fev.MEASURES)
    later = table.assign(price=table["price"].where(table.index < len(table) - 48, 1e3))
    later.to_csv(tmp_path / "later.csv.gz", index=False)
    changed = dataclasses.replace(task, data=tmp_path / "later.csv.gz")
    here, there = (fev.members(each, *fev.windows_of(each))[0][0] for each in (task, changed))
    np.testing.assert_array_equal(here[0], there[0])
    assert not np.array_equal(here[1], there[1])  # trained on them


@pytest.mark.parametrize(
    ("season", "h", "freq", "rows"),
    [
        (24, 24, "h", 900),
        (24, 168, "h", 5000),
        (12, 18, "MS", 70),
        (7, 14, "D", 400),
        (1, 6, "YS", 30),
        (48, 48, "30min", 2000),
        (52, 13, "W", 300),
        (24, 36, "h", 3000),
        (24, 24, "h", 60),
    ],
)
def test_the_recipe_fits_any_length_season_and_frequency(fev, season, h, freq, rows):
    table = pd.DataFrame({"ds": pd.date_range("1900-01-01", periods=rows, freq=freq), "y": np.arange(rows) % 7.0})
    data = DataConfig(h=h, season_length=season)
    panel = panel_from_table(table, data)
    for config in fev.recipes(panel, data):
        prepared = fev.prepare_before(panel, panel.observed, config.data)
        assert len(prepared.train.series) > 0
        assert (config.data.h, config.data.season_length) == (h, season)


def test_a_number_below_one_is_one_line(fev, prices):
    for name in ("h", "windows", "season", "seeds", "refit"):
        with pytest.raises(ConfigError, match=f"--{name} is 0: expected at least 1"):
            fev.Task(data=prices[0], target=("price",), **({"h": 24} | {name: 0}))


@pytest.mark.parametrize("where", [".", "nowhere/found.json"])
def test_a_file_that_cannot_be_written_is_one_line_before_the_training(fev, prices, tmp_path, monkeypatch, where):
    monkeypatch.setattr(fev, "run", lambda task: pytest.fail("trained"))
    with pytest.raises(ConfigError, match=r"--json is '.*': cannot be written \(.*\): name a new file"):
        fev.main(fev.Task(data=prices[0], target=("price",), h=24, json=tmp_path / where))


def test_a_run_that_fails_leaves_the_file_of_results_as_it_was(fev, prices, tmp_path, monkeypatch):
    def fail(task):
        raise ConfigError("no")

    monkeypatch.setattr(fev, "run", fail)
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    old.write_text("before")
    for path in (new, old):
        with pytest.raises(ConfigError, match="no"):
            fev.main(fev.Task(data=prices[0], target=("price",), h=24, json=path))
    assert not new.exists()
    assert old.read_text() == "before"


def test_measures_that_no_window_has_are_nan_without_a_warning(fev, tmp_path):
    times = pd.date_range("2024", periods=60, freq="h")
    for value, known in ((3.0, {"wql", "wape"}), (0.0, set())):
        pd.DataFrame({"ds": times, "y": value}).to_csv(tmp_path / "t.csv", index=False)
        scores = seasonal_naive_scores(fev, fev.Task(data=tmp_path / "t.csv", target=("y",), h=3, windows=2))
        assert {name for name, score in scores.items() if not math.isnan(score)} == known
