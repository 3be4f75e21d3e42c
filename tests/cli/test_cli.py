"""The command line as it is typed: what works, and every mistake as one line with exit status 2."""

import contextlib
import gzip
import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import polars
import pytest

import lstmjax
from lstmjax.cli.app import main
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.sweep import search

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = [
    "--data.h=6",
    "--data.input-size=24",
    "--model.name=direct",
    "--model.hidden-size=8",
    "--model.head-size=0",
    "--train.max-steps=10",
    "--train.val-check-steps=5",
    "--train.batch-size=16",
    "--outputs.plot-windows=1",
]

MEET = ["--distributed.coordinator=127.0.0.1:4567", "--distributed.processes=2"]


def hourly(rows=300):
    ds = pd.date_range("2024-01-01", periods=rows, freq="h")
    t = np.arange(rows)
    return pd.DataFrame({"ds": ds, "y": 5 + np.sin(t * np.pi / 12) + 0.1 * np.cos(0.7 * t)})  # no two days are alike


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "hourly.csv"
    hourly().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(csv, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    main(["train", "--run-dir", str(directory), "--data.path", str(csv), *SMALL])
    return directory


def mistake(arguments, capsys):
    """The one line a mistake ends with."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("lstmjax: warning: ")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("lstmjax: error: ")
    return lines[0].removeprefix("lstmjax: error: ")


def test_evaluate_repeats_the_metrics_of_the_run(run, capsys):
    main(["evaluate", str(run), "--json"])
    found = json.loads(capsys.readouterr().out)
    stored = json.loads((run / "metrics.json").read_text())
    assert found == {name: stored[name] for name in found}
    assert found["test"]["mae"] > 0


@pytest.mark.filterwarnings("always::lstmjax.data.table.DataWarning")
def test_metrics_that_are_not_numbers_are_null_in_json(run, capsys, tmp_path):
    # A new series is forecast from row 24 on: before it no two rows are a season of 24 apart, by which MASE is scaled.
    hourly(40).assign(unique_id="new").to_csv(tmp_path / "short.csv", index=False)
    main(["evaluate", str(run), "--data.path", str(tmp_path / "short.csv"), "--json"])

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    printed = capsys.readouterr()
    assert "lstmjax: warning: MASE leaves out" in printed.err
    assert "'new' ('y' has no two rows that far apart)" in printed.err
    found = json.loads(printed.out, parse_constant=refuse)
    assert found["test"]["mase"] is None
    assert found["test"]["mae"] > 0


@pytest.mark.parametrize("arguments", [["train", "--help"], ["predict", "RUN"]])
def test_a_reader_that_wants_no_more_is_no_error(arguments, run, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as stopped:
            main([str(run) if argument == "RUN" else argument for argument in arguments])
    assert stopped.value.code == 141
    assert capsys.readouterr().err == ""


def test_evaluate_prints_the_model_above_the_baselines(run, capsys, tmp_path):
    main(["evaluate", str(run), "--out", str(tmp_path / "all.csv")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["lstm", "naive", "seasonal_naive"]
    with gzip.open(run / "test_forecasts.csv.gz") as file:
        assert (tmp_path / "all.csv").read_bytes() == file.read()


def test_predict_needs_no_data_and_gives_the_run_s_forecast(run, capsys, tmp_path):
    main(["predict", str(run)])
    assert capsys.readouterr().out == (run / "forecast.csv").read_text()
    main(["predict", str(run), "--out", str(tmp_path / "f.csv")])
    assert (tmp_path / "f.csv").read_text() == (run / "forecast.csv").read_text()


def test_predict_from_new_rows_goes_on_after_them(run, tmp_path, capsys):
    hourly(320).to_csv(tmp_path / "new.csv", index=False)
    main(["predict", str(run), "--data.path", str(tmp_path / "new.csv")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split(",")[1] == "2024-01-14 08:00:00"
    assert len(lines) == 7


def test_flags_win_over_the_config_file(csv, run, tmp_path):
    target = tmp_path / "again"
    main(["train", "--config", str(run / "config.json"), "--run-dir", str(target), "--train.max-steps", "3"])
    stored = json.loads((target / "config.json").read_text())
    assert stored["train"]["max_steps"] == 3
    assert stored["data"]["input_size"] == 24


def test_finetuning_starts_from_the_run_s_weights_with_its_options(csv, run, tmp_path, capsys):
    target = tmp_path / "tuned"
    main(["train", "--finetune-from", str(run), "--run-dir", str(target), "--optimizer.learning-rate=1e-9"])
    tuned, trained = (json.loads((path / "metrics.json").read_text()) for path in (target, run))
    assert tuned["test"]["mae"] == pytest.approx(trained["test"]["mae"], rel=1e-4)
    stored = json.loads((target / "config.json").read_text())
    assert (stored["data"]["input_size"], stored["optimizer"]["learning_rate"]) == (24, 1e-9)
    assert json.loads((target / "run.json").read_text())["finetuned_from"] == str(run)
    capsys.readouterr()
    # With an underscore it is the same flag, and the run's options are taken all the same.
    arguments = ["train", "--finetune_from", run, "--run_dir", tmp_path / "other", "--model.hidden_size=4"]
    assert "has shape" in mistake(arguments, capsys)
    assert not (tmp_path / "other").exists()


def test_a_run_that_ended_is_resumed_to_the_same_files(csv, run, tmp_path, capsys):
    def left():
        names = ("config.json", "metrics.jsonl", "test_forecasts.csv.gz", "forecast.csv")
        metrics = json.loads((run / "metrics.json").read_text()) | {"seconds": 0}
        return metrics, [(run / name).read_bytes() for name in names]

    before = left()
    main(["train", "--resume", str(run)])
    assert "resuming after step 10 of 10" in capsys.readouterr().out
    assert left() == before
    assert json.loads((run / "run.json").read_text())["resumed"][-1]["step"] == 10


def test_a_resume_that_changes_something_is_one_line(csv, run, tmp_path, capsys):
    line = mistake(["train", "--resume", run, "--model.hidden-size=4"], capsys)
    assert "model.hidden_size (was 8, now 4)" in line
    assert "--finetune-from" in line
    assert "begins one" in mistake(["train", "--resume", run, "--overwrite"], capsys)
    hourly().assign(y=lambda t: t["y"] + 1e-6).to_csv(tmp_path / "changed.csv", index=False)
    line = mistake(["train", "--resume", run, "--data.path", tmp_path / "changed.csv"], capsys)
    assert "not the data the run was trained on" in line
    assert "cannot be read" in mistake(["train", "--resume", tmp_path / "nowhere"], capsys)


@pytest.fixture(scope="module")
def flagged(tmp_path_factory, without_pictures):
    """A run with a covariate of which the future is not known, and what it printed."""
    folder = tmp_path_factory.mktemp("flagged")
    hourly().assign(flag=1.0 * (np.arange(300) % 7 == 0)).to_csv(folder / "d.csv", index=False)
    arguments = ["train", "--run-dir", folder / "r", "--data.path", folder / "d.csv", "--data.futr-exog", "flag"]
    with contextlib.redirect_stdout(io.StringIO()) as said, without_pictures():
        main([*map(str, arguments), *SMALL, "--train.refit-all"])
    return folder / "r", said.getvalue()


def test_missing_future_covariates_leave_no_forecast_and_a_word(flagged, tmp_path, capsys):
    run, said = flagged
    assert "no forecast beyond the last row is written: " in said
    assert not (run / "forecast.csv").exists()
    assert (run / "metrics.json").exists()
    line = mistake(["predict", run], capsys)
    assert "flag" in line
    assert "data.futr_path" in line
    # Given later, they lead to a forecast by the weights that were trained again on all rows.
    ahead = pd.date_range("2024-01-01", periods=306, freq="h")[300:]
    futr = pd.DataFrame({"ds": ahead, "flag": 0.0})
    futr.to_csv(tmp_path / "futr.csv", index=False)
    main(["predict", str(run), "--data.futr-path", str(tmp_path / "futr.csv"), "--out", f"{tmp_path}/f.csv"])
    found = pd.read_csv(tmp_path / "f.csv")["lstm"]
    forecaster = Forecaster.load(run)
    np.testing.assert_allclose(found, forecaster.predict(futr_df=futr)["lstm"])
    evaluated = Forecaster.of(forecaster.fitted.replace(refit=None)).predict(futr_df=futr)["lstm"]
    assert not np.allclose(found, evaluated)


def test_a_file_of_the_future_that_lacks_a_column_is_named(flagged, tmp_path, capsys):
    hourly().to_csv(tmp_path / "futr.csv", index=False)
    line = mistake(["predict", flagged[0], "--data.futr-path", tmp_path / "futr.csv"], capsys)
    assert "futr.csv has no column 'flag'" in line


@pytest.mark.filterwarnings("ignore::lstmjax.data.table.DataWarning")
def test_a_series_that_was_never_observed_is_forecast_but_not_drawn(drawn, tmp_path):
    hourly().assign(empty=np.nan).to_csv(tmp_path / "d.csv", index=False)
    table = ["--data.path", str(tmp_path / "d.csv"), "--data.layout", "wide", "--data.target-cols", "y", "empty"]
    main(["train", "--run-dir", str(tmp_path / "r"), *table, *SMALL])
    assert (tmp_path / "r/plots/forecast.png").exists()
    forecast = pd.read_csv(tmp_path / "r/forecast.csv")
    assert forecast["unique_id"].value_counts().to_dict() == {"y": 6, "empty": 6}


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (None, "no such file"),
        (b"\x00\x01\x02\xff" * 100, "not a CSV"),
        (b"", "is empty"),
        (b"ds,y\n", "no rows"),
        (b"time,y\n2024-01-01,1\n", "no column 'ds'"),
        (b"ds,yy\n2024-01-01,1\n2024-01-02,1\n", "did you mean 'yy'"),
        (b"ds,y\n2024-01-01,1\n2024-01-02,two\n", "row 3, column 'y'"),
        (b"ds,y\n2024-01-01,1\n2024-01-01,2\n2024-01-02,2\n", "row 3"),
        (b"ds,y\n2024-01-01T00:00+01:00,1\n2024-01-02T00:00+02:00,2\n", "time zones"),
        (b"ds,y\nsoon,1\nlater,2\n", "row 2, column 'ds'"),
        (b"ds,y\n2024-01-01,1\n2024-01-02,inf\n", "row 3, column 'y'"),
        (b"ds,y\n2024-01-01,\n2024-01-02,\n2024-01-03,\n", "y"),
        (b"ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-03,2\n", "data.val_size"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line_and_leaves_nothing(contents, expected, tmp_path, capsys):
    path = tmp_path / "table.csv"
    if contents is not None:
        path.write_bytes(contents)
    line = mistake(["train", "--run-dir", tmp_path / "r", "--data.path", path, *SMALL], capsys)
    assert expected in line
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--data.h", "0"], "data.h is 0"),
        (["--data.input-size", "-1"], "data.input_size is -1"),
        (["--optimizer.learning-rate", "0"], "optimizer.learning_rate is 0"),
        (["--data.target-cols", "Y"], "did you mean 'y'"),
        (["--data.val-size", "200", "--data.test-size", "200"], "data.val_size (200)"),
        (["--data.val-size", "3"], "data.val_size is 3"),
        (["--data.freq", "fortnightly"], "data.freq is 'fortnightly'"),
        (["--data.dataset", "etth1"], "data.dataset"),
        (["--model.alias", "naive"], "model.alias is 'naive', which is the name of a column of the results"),
        (["--model.alias", "ds"], "model.alias is 'ds', which is the name of data.time_col too"),
        (["--data.id-col", "target"], "data.id_col is 'target', which is the name of a column of the results"),
        (["--data.time-col", "cutoff"], "data.time_col is 'cutoff'"),
        (["--data.id-col", "ds"], "data.time_col is 'ds', which is the name of data.id_col too"),
        (["--data.futr-path", "nowhere.csv"], "nowhere.csv: no such file"),
    ],
)
def test_an_option_that_cannot_be_is_one_line_and_leaves_nothing(flags, expected, csv, tmp_path, capsys):
    base = [flag for flag in SMALL if flag.split("=")[0] not in flags]
    line = mistake(["train", "--run-dir", tmp_path / "r", "--data.path", csv, *base, *flags], capsys)
    assert expected in line
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"train": {"max_step": 3}}', "did you mean 'train.max_steps'"),
        ('{"format_version": 99}', "update lstmjax"),
        ("{", "not JSON"),
        (None, "cannot be read"),
    ],
)
def test_a_config_file_that_cannot_be_used_is_one_line(text, expected, tmp_path, capsys):
    path = tmp_path / "c.json"
    if text is not None:
        path.write_text(text)
    assert expected in mistake(["train", "--config", path], capsys)


def test_no_data_named_is_one_line(tmp_path, capsys):
    assert "data.path" in mistake(["train", "--run-dir", tmp_path / "r"], capsys)


def test_a_run_directory_that_is_there_is_refused_unless_told(run, csv, capsys, tmp_path):
    before = (run / "metrics.json").read_bytes()
    assert "--overwrite" in mistake(["train", "--run-dir", run, "--data.path", csv, *SMALL], capsys)
    assert (run / "metrics.json").read_bytes() == before


@pytest.mark.filterwarnings("default::lstmjax.data.table.DataWarning")
def test_a_gap_is_masked_with_a_warning_or_refused(tmp_path, capsys):
    hourly().drop(index=[50, 51]).to_csv(tmp_path / "gap.csv", index=False)
    arguments = ["train", "--run-dir", tmp_path / "r", "--data.path", tmp_path / "gap.csv", *SMALL]
    main([str(argument) for argument in arguments])
    assert "lstmjax: warning: " in capsys.readouterr().err
    arguments[2] = tmp_path / "r2"
    assert "gap" in mistake([*arguments, "--data.gaps", "error"], capsys)


def test_a_forecaster_that_was_trained_on_polars_predicts_as_a_command(run, tmp_path, capsys):
    config = lstmjax.RunConfig.from_json((run / "config.json").read_text())  # of programs that are compiled already
    rows = hourly()[["ds", "y"]].iloc[: -config.data.test_size]
    forecaster = Forecaster(config).fit(polars.from_pandas(rows), val_size=config.data.val_size)
    forecaster.save(tmp_path / "f")
    main(["predict", str(tmp_path / "f")])
    shown = pd.read_csv(io.StringIO(capsys.readouterr().out))
    np.testing.assert_allclose(shown["lstm"], forecaster.predict()["lstm"].to_numpy())


def test_a_forecast_is_written_as_parquet_where_its_name_says_so(run, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    for name in ("f.csv", "f.parquet"):
        main(["predict", str(run), "--out", str(tmp_path / name)])
    found, expected = pd.read_parquet(tmp_path / "f.parquet"), pd.read_csv(tmp_path / "f.csv", parse_dates=["ds"])
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = mistake(["predict", run, "--out", tmp_path / "g.parquet"], capsys)
    assert said.endswith("is parquet, which needs pyarrow: pip install 'lstmjax[parquet]'")
    assert not (tmp_path / "g.parquet").exists()


def test_two_tables_to_check_are_refused(csv, capsys):
    assert "two tables are given" in mistake(["check", csv, "--data.path", csv], capsys)


def test_a_run_that_is_none_is_one_line(tmp_path, capsys):
    assert "no checkpoint found" in mistake(["evaluate", tmp_path], capsys)
    assert "no checkpoint found" in mistake(["predict", tmp_path / "nowhere"], capsys)


def test_new_data_unlike_that_of_training_is_one_line(run, tmp_path, capsys):
    hourly().iloc[::2].to_csv(tmp_path / "slow.csv", index=False)
    assert "frequency" in mistake(["predict", run, "--data.path", tmp_path / "slow.csv"], capsys)
    hourly().rename(columns={"y": "z"}).to_csv(tmp_path / "other.csv", index=False)
    assert "no column 'y'" in mistake(["predict", run, "--data.path", tmp_path / "other.csv"], capsys)


def test_help_and_mistyped_options_as_a_process():
    command = [sys.executable, "-m", "lstmjax.cli", "train"]
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0
    assert "--data.input-size" in helped.stdout
    typo = subprocess.run(
        [sys.executable, "-m", "lstmjax.cli", "train", "--data.hh", "3"], capture_output=True, text=True
    )
    assert typo.returncode == 2
    assert "--data.hh" in typo.stderr
    assert "Traceback" not in typo.stderr


@pytest.mark.filterwarnings("always::lstmjax.errors.ConfigWarning")
def test_an_option_that_was_typed_and_has_no_effect_is_one_line(csv, tmp_path, capsys):
    table, typed = ["--data.path", str(csv)], ["--train.huber_delta", "2", "--model.highway"]
    main(["train", "--run-dir", str(tmp_path / "r"), *table, *SMALL, *typed])
    lines = [line for line in capsys.readouterr().err.splitlines() if "no effect" in line]
    assert lines == [
        f"lstmjax: warning: {name} has no effect: it acts only with {other} {value}, and {other} is {here!r}"
        for name, other, value, here in (
            ("model.highway", "model.name", "segment", "direct"),
            ("train.huber_delta", "train.loss", "huber", "auto"),
        )
    ]
    main(["train", "--run-dir", str(tmp_path / "plain"), *table, *SMALL])
    assert "no effect" not in capsys.readouterr().err
    one, other = (gzip.decompress((tmp_path / run / "test_forecasts.csv.gz").read_bytes()) for run in ("r", "plain"))
    assert one == other


@pytest.mark.filterwarnings("always::lstmjax.errors.ConfigWarning")
def test_a_searched_option_that_acts_in_no_trial_is_one_line(csv, tmp_path, capsys, monkeypatch):
    space = tmp_path / "space.toml"
    space.write_text('"train.huber_delta" = { type = "uniform", low = 0.5, high = 2.0 }\n')
    arguments = ["sweep", str(space), "--run-dir", str(tmp_path / "s"), "--data.path", str(csv), *SMALL]
    arguments += ["--trials=2", "--sampler=random", "--train.huber-delta=3"]
    monkeypatch.setattr(search, "work", lambda *_, **__: None)  # nothing is trained
    monkeypatch.setattr(search, "write_report", lambda sweep, say: pd.DataFrame())
    monkeypatch.setattr(sys, "argv", ["lstmjax", *arguments])
    main(arguments)
    found = capsys.readouterr().err
    assert "lstmjax: warning: train.huber_delta has no effect: it is searched\n" in found
    assert "searching train.huber_delta has no effect: it acts only with train.loss huber, and train.loss is" in found
    space.write_text(space.read_text() + '"train.loss" = { type = "choice", values = ["mse", "huber"] }\n')
    arguments[3] = str(tmp_path / "both")
    monkeypatch.setattr(sys, "argv", ["lstmjax", *arguments[:-1]])
    main(arguments[:-1])
    assert "no effect" not in capsys.readouterr().err
    # Fixed, but acting in those trials that draw the loss it belongs to.
    space.write_text('"train.loss" = { type = "choice", values = ["mse", "huber"] }\n')
    arguments[3] = str(tmp_path / "fixed")
    monkeypatch.setattr(sys, "argv", ["lstmjax", *arguments])
    main(arguments)
    assert "no effect" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", "space.toml", "--distributed.auto"], "lstmjax sweep takes no --distributed option, as its workers"),
        (["backtest", "--distributed.auto"], "unknown option --distributed.auto"),
        (["train", "--distributed.processes=2"], "--distributed.processes without --distributed.coordinator, --distr"),
        (["train", "--distributed.auto", "--distributed.process-id=0"], "--distributed.auto finds --distributed.proce"),
        (
            ["train", *MEET, "--distributed.process-id=2"],
            "distributed.process_id is 2: expected 0 to 1, as there are 2",
        ),
        (["train", *MEET, "--distributed.process-id=-1"], "distributed.process_id is -1: expected at least 0"),
        (["train", *MEET[1:], "--distributed.process-id=0", "--distributed.coordinator=here"], "expected HOST:PORT"),
        (["train", *MEET, "--distributed.process-id=0", "--distributed.timeout=0"], "distributed.timeout is 0"),
    ],
)
def test_options_of_several_processes_are_validated(arguments, said, capsys):
    assert said in mistake(arguments, capsys)
