"""The ETT and M4 experiments: their recipes, measures and tables; nothing is trained here."""

import importlib
import json
import runpy
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from lstmjax import WindowSpec, models
from lstmjax.data import test_windows as windows_to_test
from lstmjax.data.prepare import prepare
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.evaluation.baselines import BASELINES


@pytest.fixture(scope="module")
def etth(experiments_on_path):
    return importlib.import_module("etth")


@pytest.fixture(scope="module")
def m4(experiments_on_path):
    return importlib.import_module("m4_hourly")


def test_an_option_on_the_command_line_counts_for_every_horizon(etth, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["etth.py", "--optimizer.learning-rate", "0.001", "--data.dataset", "etth2"])
    for h in etth.HORIZONS:
        options = etth.parse(h).options
        assert options == etth.recipe(h).replace({"optimizer.learning_rate": 1e-3, "data.dataset": "etth2"})
    monkeypatch.setattr(sys, "argv", ["m4_hourly.py"])
    assert etth.recipe(720) != etth.recipe(96).replace({"data.h": 720})


def test_every_recipe_makes_a_network(etth, m4):
    configs = [etth.recipe(h) for h in etth.HORIZONS]
    configs += [etth.recipe(96).replace({**m4.SHARED, **recipe}) for recipe in m4.RECIPES.values()]
    for config in configs:
        spec = WindowSpec(config.data.input_size, config.data.h, season_length=1)
        weights = models.Builder(spec, config.model)
        assert config.model.name == "segment"
        assert weights.spec.h == config.data.h


def test_published_rows_have_every_horizon_and_their_known_means(etth):
    for rows in etth.PUBLISHED.values():
        assert all(len(row) == len(etth.HORIZONS) for row in rows.values())
    means = {
        name: tuple(round(statistics.fmean(column), 3) for column in zip(*row, strict=True))
        for name, row in etth.PUBLISHED["etth1"].items()
    }
    assert means["DLinear (Zeng et al. 2023)"] == (0.423, 0.437)
    assert means["NLinear (Zeng et al. 2023)"] == (0.413, 0.422)


def test_the_table_holds_the_network_its_baselines_and_the_others(etth):
    scores = {"mse": 0.3, "mae": 0.4}
    result = {
        "test_scaled": scores,
        "ensemble": {"mse": 0.2, "mae": 0.3},
        "baselines_scaled": {"naive": {"mse": 1.0, "mae": 1.0}, "seasonal_naive": {"mse": 0.5, "mae": 0.6}},
    }
    lines = etth.table({"96": result, "720": result}, "etth1").splitlines()
    assert lines[0] == "| MSE / MAE | 96 | 720 | mean |"
    assert lines[2] == "| **lstmjax segment** | 0.300 / 0.400 | 0.300 / 0.400 | 0.300 / 0.400 |"
    assert "| DLinear (Zeng et al. 2023) | 0.375 / 0.399 | 0.472 / 0.490 | 0.423 / 0.445 |" in lines
    assert len(lines) == 2 + 4 + len(etth.PUBLISHED["etth1"])
    assert len(etth.table({"12": result}, "etth1").splitlines()) == 2 + 4  # nobody published that horizon


def test_the_protocols_score_seasonal_naive_as_published(m4, public_data):
    public_data("M4-Hourly-train.csv", "M4-Hourly-test.csv")
    config = m4.RunConfig().replace({"data.dataset": "m4_hourly", **m4.RECIPES["m4_hourly"]})
    data = with_dataset_settings(config.data)
    panel = load_source(data).panel(data)
    prepared = prepare(panel, data, with_test=True)
    windows = windows_to_test(prepared.split, h=48)
    naive = BASELINES["seasonal_naive"](panel.y, panel.offsets, windows.series, windows.origin, h=48, season_length=24)
    found = m4.Scorer(panel, windows, 48, 24, "m4_hourly")(naive)
    assert {name: round(value, 3) for name, value in found.items()} == {"smape": 13.912, "mase": 1.193, "owa": 0.628}


def test_results_are_those_of_the_recipes(etth, m4):
    """What is committed was run with what is committed: other recipes need other results."""
    folder = Path(__file__).parents[2] / "experiments" / "results"
    stored = json.loads((folder / "etth1.json").read_text())
    for h, result in stored["horizons"].items():
        assert m4.RunConfig.from_json(json.dumps(result["config"])).chosen == etth.recipe(int(h)).chosen
        assert result["windows"] == 7 * {"96": 2785, "192": 2689, "336": 2545, "720": 2161}[h]
    assert stored["seeds"] >= 3


@pytest.mark.parametrize(
    ("script", "flags", "expected"),
    [
        ("etth", ["--train.seed=4"], "etth.py: error: train.seed is set by this script"),
        ("m4_hourly", ["--train.seed", "4"], "m4_hourly.py: error: train.seed is set by this script"),
        ("elecdemand", ["--data.hist-exog", "x"], "elecdemand.py: error: data.hist_exog is set by this script"),
        ("sweep_elecdemand", ["--model.dropout=0.3"], "error: model.dropout is set by this script: it is searched"),
        ("sweep_etth", ["--model.dropout=0.3"], "error: model.dropout is set by this script: it is searched"),
    ],
)
def test_an_option_that_a_script_sets_is_refused_in_one_line(script, flags, expected, tmp_path, monkeypatch, capsys):
    path = Path(__file__).parents[2] / "experiments" / f"{script}.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), *flags])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(path), run_name="__main__")
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_script_that_is_started_as_a_process_refuses_it_too(tmp_path):
    path = Path(__file__).parents[2] / "experiments" / "etth.py"
    done = subprocess.run([sys.executable, path, "--data.h", "24"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "etth.py: error: data.h is set by this script: give --horizons\n"
    assert not list(tmp_path.iterdir())
