"""Backtests as runs: what they leave on disk, and when they are refused, replaced and resumed."""

import gzip
import io
import json

import numpy as np
import pandas as pd
import pytest

from lstmjax import Forecaster
from lstmjax.cli.app import main
from lstmjax.config import BacktestConfig, RunConfig
from lstmjax.errors import CheckpointError, ConfigError, Interrupted
from lstmjax.runs.backtest import backtest_run, resume_backtest
from lstmjax.runs.run import resume_run
from lstmjax.runs.signals import Signals

OPTIONS = {
    "data.h": 6,
    "data.input_size": 12,
    "data.val_size": 30,
    "model.hidden_size": 4,
    "model.name": "direct",
    "model.head_size": 0,
    "train.batch_size": 16,
    "train.max_steps": 6,
    "train.val_check_steps": 2,
}
SETTINGS = BacktestConfig(n_windows=3, step_size=8, refit=2)
FILES = ["backtest.csv.gz", *(f"metrics_by_{what}.csv" for what in ("series", "target", "horizon", "cutoff"))]


@pytest.fixture(scope="module")
def table():
    noise = np.random.default_rng(0).normal(0, 0.1, 200)
    ds = pd.date_range("2024-01-01", periods=200, freq="h")
    return pd.DataFrame({"ds": ds, "y": 5 + np.sin(np.arange(200) * np.pi / 12) + noise})


@pytest.fixture(scope="module")
def config(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "hourly.csv"
    table.to_csv(path, index=False)
    return RunConfig().replace(OPTIONS | {"data.path": str(path)})


def flags(config):
    options = OPTIONS | {"data.path": config.data.path}
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]


@pytest.fixture(scope="module")
def said():
    return []


@pytest.fixture(scope="module")
def run(config, said, tmp_path_factory):
    return backtest_run(config, tmp_path_factory.mktemp("runs") / "b", SETTINGS, say=said.append)


def test_what_is_on_disk(run, config, table, said):
    there = {path.name for path in run.directory.iterdir()}
    assert there == {"config.json", "run.json", "metrics.json", "plots", "refits", "lock", *FILES}
    assert {path.name for path in (run.directory / "plots").iterdir()} == {
        "error_by_horizon.png",
        "error_by_cutoff.png",
    }
    assert {path.name for path in (run.directory / "refits").iterdir()} == {"cutoff-1", "cutoff-3"}
    described = json.loads((run.directory / "run.json").read_text())
    assert described["kind"] == "backtest"
    assert described["backtest"] == {
        "n_windows": 3,
        "step_size": 8,
        "refit": 2,
        "warm_start": False,
        "train_size": None,
    }
    assert RunConfig.from_json((run.directory / "config.json").read_text()) == config
    forecasts = pd.read_csv(run.directory / "backtest.csv.gz", parse_dates=["ds", "cutoff"])
    own = Forecaster(config).cross_validation(table, 3, 8, refit=2)
    own["unique_id"] = "hourly"  # named after the file
    pd.testing.assert_frame_equal(forecasts, own.astype(forecasts.dtypes), rtol=1e-12)
    assert said[0] == ("200 rows, 1 series, every h, 2024-01-01 00:00:00 to 2024-01-09 07:00:00; 3 cutoffs, 2 models")
    assert said[-1] == f"run directory: {run.directory}"


def test_metrics_are_those_of_the_table(run):
    forecasts = pd.read_csv(run.directory / "backtest.csv.gz", parse_dates=["ds", "cutoff"])
    metrics = json.loads((run.directory / "metrics.json").read_text())
    error = (forecasts["lstm"] - forecasts["y"]).abs()
    assert metrics["test"]["mae"] == pytest.approx(error.mean())
    assert metrics["baselines"]["naive"]["mae"] == pytest.approx((forecasts["naive"] - forecasts["y"]).abs().mean())
    assert [model["cutoff"] for model in metrics["refits"]] == [1, 3]
    assert all(model["steps"] == 6 and model["failure"] is None for model in metrics["refits"])
    by = pd.read_csv(run.directory / "metrics_by_cutoff.csv", parse_dates=["key"])
    assert by.columns.tolist() == ["key", "model", "mse", "rmse", "mae", "smape", "mase", "n"]
    ours = by[by["model"] == "lstm"].set_index("key")["mae"]
    pd.testing.assert_series_equal(ours, error.groupby(forecasts["cutoff"]).mean(), check_names=False)
    horizon = pd.read_csv(run.directory / "metrics_by_horizon.csv")
    assert horizon["key"].unique().tolist() == [1, 2, 3, 4, 5, 6]
    for cutoff in (1, 3):
        log = (run.directory / "refits" / f"cutoff-{cutoff}" / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in log] == [2, 4, 6]


class _Signalled(Signals):
    """A signal that comes after some looks at it."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    def requested(self):
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize(
    ("warm", "looks"),
    [pytest.param(warm, 0, marks=pytest.mark.slow) for warm in (False, True)] + [(False, 2), (True, 7)],
)
def test_interrupted_and_resumed_it_ends_with_the_same_bytes(config, tmp_path, warm, looks):
    settings = BacktestConfig(n_windows=3, step_size=8, refit=1 if warm else 2, warm_start=warm)
    config = config.replace({"train.chunk_steps": 1, "train.save_every_seconds": 0.0})
    quiet = {"say": lambda line: None}
    whole = backtest_run(config, tmp_path / "whole", settings, **quiet).directory
    with pytest.raises(Interrupted, match=f"of {3 if warm else 2} models trained or begun"):
        backtest_run(config, tmp_path / "again", settings, signals=_Signalled(looks), **quiet)
    assert not (tmp_path / "again" / "metrics.json").exists()
    resume_backtest(tmp_path / "again", **quiet)
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_finished_backtest_is_written_again_with_the_same_bytes(run, capsys):
    before = {name: (run.directory / name).read_bytes() for name in FILES}
    (run.directory / "backtest.csv.gz").unlink()
    main(["backtest", "--resume", str(run.directory)])
    assert "resuming the backtest" in capsys.readouterr().out
    assert {name: (run.directory / name).read_bytes() for name in FILES} == before


def test_the_command_line(config, run, tmp_path, capsys):
    main(["backtest", "--run-dir", str(tmp_path / "b"), "--n-windows=3", "--step-size=8", "--refit=2", *flags(config)])
    for name in FILES:
        assert (tmp_path / "b" / name).read_bytes() == (run.directory / name).read_bytes(), name
    out = capsys.readouterr().out
    assert "seasonal_naive" in out
    assert f"run directory: {tmp_path / 'b'}" in out


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--n-windows=0"], "backtest.n_windows is 0: expected at least 1"),
        (["--refit=often"], "--refit is 'often': expected no, yes, or a number of cutoffs such as 3"),
        (["--warm"], "backtest.warm_start needs backtest.refit"),
        (["--n-windows=99"], "n_windows is 99, with 6 rows between two windows"),
        (["--train-size=9"], "train_size is 9: expected at least data.input_size + data.h (18)"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(config, tmp_path, capsys, typed, message):
    with pytest.raises(SystemExit) as stopped:
        main(["backtest", "--run-dir", str(tmp_path / "b"), *flags(config), *typed])
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("lstmjax: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "b").exists()


@pytest.mark.filterwarnings("default::lstmjax.errors.ConfigWarning")
def test_options_without_effect_are_warned_of(config, tmp_path, capsys):
    typed = ["--data.test-size=30", "--train.refit-all", "--n-windows=1"]
    main(["backtest", "--run-dir", str(tmp_path / "b"), *flags(config), *typed])
    said = capsys.readouterr().err
    assert "data.test_size has no effect: what comes after a cutoff of a backtest is its test" in said
    assert "train.refit_all has no effect: no model of a backtest sees a row after its cutoff" in said


def test_a_resume_keeps_to_what_was_begun(run, config, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["backtest", "--resume", str(run.directory), "--n-windows=5"])
    assert "--resume continues a backtest as it was begun: leave --n-windows out" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="model.hidden_size .was 4, now 8"):
        resume_backtest(run.directory, config.replace({"model.hidden_size": 8}))
    with pytest.raises(ConfigError, match="train.max_steps .was 6, now 9.*start a new backtest"):
        resume_backtest(run.directory, config.replace({"train.max_steps": 9}))
    with pytest.raises(CheckpointError, match="holds a backtest, not a run: resume it with lstmjax backtest --resume"):
        resume_run(run.directory)
    with pytest.raises(CheckpointError, match="is not a run directory"):
        resume_backtest(tmp_path)


def test_other_data_are_refused(config, table, tmp_path):
    path = tmp_path / "own.csv"
    table.to_csv(path, index=False)
    own = config.replace({"data.path": str(path)})
    backtest_run(own, tmp_path / "b", BacktestConfig(1), say=lambda line: None)
    table.assign(y=table["y"] + 1).to_csv(path, index=False)
    before = {file: file.read_bytes() for file in (tmp_path / "b").rglob("*") if file.is_file()}
    with pytest.raises(CheckpointError, match="is not the data of the backtest .*start a new backtest"):
        resume_backtest(tmp_path / "b")
    assert {file: file.read_bytes() for file in (tmp_path / "b").rglob("*") if file.is_file()} == before


def test_one_is_replaced_only_when_asked_and_nothing_of_the_users_is_deleted(config, tmp_path):
    quiet = {"say": lambda line: None}
    backtest_run(config, tmp_path / "b", SETTINGS, **quiet)
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="holds a run already"):
        backtest_run(config, tmp_path / "b", BacktestConfig(1), **quiet)
    backtest_run(config, tmp_path / "b", BacktestConfig(1), overwrite=True, **quiet)
    assert (tmp_path / "b" / "notes.txt").read_text() == "mine"
    assert {path.name for path in (tmp_path / "b" / "refits").iterdir()} == {"cutoff-1"}
    with gzip.open(tmp_path / "b" / "backtest.csv.gz") as file:
        assert len(pd.read_csv(io.BytesIO(file.read()))) == 6


def test_parquet(config, tmp_path):
    pytest.importorskip("pyarrow")
    written = config.replace({"outputs.format": "parquet"})
    run = backtest_run(written, tmp_path / "b", BacktestConfig(1), say=lambda line: None)
    pd.testing.assert_frame_equal(pd.read_parquet(run.directory / "backtest.parquet"), run.evaluation.table)
    assert not (run.directory / "backtest.csv.gz").exists()
