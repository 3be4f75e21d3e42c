"""A whole run on disk: what is left there, and that anybody can recompute it."""

import collections
import gzip
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
import utilsforecast.losses

from lstmjax.cli.app import main
from lstmjax.config import RunConfig
from lstmjax.data import prepare as prepare_module
from lstmjax.errors import CheckpointError, ConfigError, Interrupted
from lstmjax.forecaster import predict as predict_module
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.run_kind import kind_of
from lstmjax.forecaster.saved import REFIT
from lstmjax.runs import job as job_module
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.job import make_job
from lstmjax.runs.run import resume_run, train_run
from lstmjax.runs.table_file import replace_table, texts_of
from lstmjax.storage import checkpoint
from lstmjax.training import Callback

pytestmark = pytest.mark.usefixtures("undrawn")

ROWS, TEST = 300, 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two hourly series, 24 rows of one of whose test values are missing."""
    tables = []
    for number, name in enumerate(["north", "south"]):
        t = np.arange(ROWS)
        noise = np.random.default_rng(number).normal(0, 0.1, ROWS)
        ds = pd.date_range("2024-01-01", periods=ROWS, freq="h")
        tables.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": 5 + np.sin(t * np.pi / 12) + noise}))
    path = tmp_path_factory.mktemp("data") / "two.csv"
    pd.concat(tables).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def config(data):
    return RunConfig().replace(
        {
            "data.path": str(data),
            "data.h": 6,
            "data.input_size": 24,
            "data.test_size": TEST,
            "model.name": "direct",
            "model.hidden_size": 8,
            "model.head_size": 0,
            "optimizer.learning_rate": 1e-2,
            "train.max_steps": 40,
            "train.val_check_steps": 20,
            "train.batch_size": 16,
            "train.refit_all": True,
            "optimizer.schedule": "plateau",
            "outputs.plot_windows": 1,
        }
    )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    said = []
    result = train_run(config, tmp_path_factory.mktemp("runs") / "r", say=said.append)
    return result, said


def test_every_file_of_the_design_is_there(run):
    directory = run[0].directory
    files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert {
        "config.json",
        "run.json",
        "metrics.jsonl",
        "metrics.json",
        "test_forecasts.csv.gz",
        "forecast.csv",
        "plots/learning_curve.png",
        "plots/test_forecasts.png",
        "plots/forecast.png",
    } <= files
    assert not [name for name in files if name.startswith(".")]


def test_metrics_can_be_recomputed_from_the_forecasts_with_utilsforecast(run, data):
    metrics = json.loads((run[0].directory / "metrics.json").read_text())
    forecasts = pd.read_csv(run[0].directory / "test_forecasts.csv.gz", parse_dates=["ds", "cutoff"])
    assert len(forecasts) == 2 * (TEST - 6 + 1) * 6
    before = pd.read_csv(data, parse_dates=["ds"]).groupby("unique_id").head(ROWS - TEST)
    rows, losses = forecasts.drop(columns="cutoff"), utilsforecast.losses
    for name, model in [("lstm", "lstm"), ("naive", "naive"), ("seasonal_naive", "seasonal_naive")]:
        found = metrics["test"] if name == "lstm" else metrics["baselines"][name]
        mse = losses.mse(rows, [model])[model].mean()
        expected = {
            "mse": mse,
            "rmse": np.sqrt(mse),
            "mae": losses.mae(rows, [model])[model].mean(),
            "smape": 200 * losses.smape(rows, [model])[model].mean(),
            "mase": losses.mase(rows, [model], seasonality=24, train_df=before)[model].mean(),
        }
        for metric, value in expected.items():
            assert found[metric] == pytest.approx(value, abs=1e-6), (name, metric)


def test_scaled_metrics_are_in_units_of_the_training_rows_deviation(run, data):
    metrics = run[0].metrics
    table = pd.read_csv(data)
    scale = table.groupby("unique_id")["y"].apply(lambda y: y.iloc[: ROWS - TEST - 30].std(ddof=0))
    forecasts = pd.read_csv(run[0].directory / "test_forecasts.csv.gz")
    error = (forecasts["y"] - forecasts["lstm"]).abs() / forecasts["unique_id"].map(scale)
    assert metrics["test_scaled"]["mae"] == pytest.approx(error.mean(), rel=1e-9)


def test_the_forecast_is_of_the_weights_trained_on_all_rows(run):
    directory = run[0].directory
    forecast = pd.read_csv(directory / "forecast.csv", parse_dates=["ds"])
    assert forecast["ds"].min() == pd.Timestamp("2024-01-13 12:00")
    loaded = Forecaster.load(directory)
    for forecaster in (loaded, run[0].forecaster, Forecaster.load(directory / REFIT)):
        pd.testing.assert_frame_equal(forecast, forecaster.predict(), check_dtype=False, check_exact=False)
    assert loaded.fitted.refit.summary["steps"] == run[0].metrics["best_step"]
    selected = Forecaster.of(loaded.fitted.replace(refit=None))
    assert not np.allclose(selected.predict()["lstm"], forecast["lstm"])
    # It has no rows to validate on, so that no plateau would show.
    assert Forecaster.load(directory / REFIT).config.optimizer.schedule == "constant"
    assert "plateau: nothing is validated now, the learning rate stays 0.01" in run[1]


def test_a_fine_tuned_run_is_trained_on_all_rows_from_the_weights_it_began_with(run, config, tmp_path):
    def weights(directory):
        return jax.tree.leaves(Forecaster.load(directory).fitted.forecasting.weights)

    directory = tmp_path / "tuned"
    options = {"train.max_steps": 2, "optimizer.learning_rate": 1e-9}
    train_run(config.replace(options), directory, finetune_from=run[0].directory, say=lambda _: None)
    for found, pretrained in zip(weights(directory / REFIT), weights(run[0].directory), strict=True):
        np.testing.assert_allclose(found, pretrained, atol=1e-6)

    forecast = (directory / "forecast.csv").read_bytes()
    shutil.rmtree(directory / REFIT)  # as if killed before
    assert checkpoint.steps(directory / "checkpoints")
    resume_run(directory, say=lambda _: None)
    assert (directory / "forecast.csv").read_bytes() == forecast

    shutil.rmtree(directory / "start")  # as lstmjax left it when it did not keep these weights
    with pytest.raises(CheckpointError, match=r"did not keep the weights it began with.*--train\.no-refit-all"):
        resume_run(directory, say=lambda _: None)
    main(["train", "--resume", str(directory), "--train.no-refit-all"])
    assert not (directory / REFIT).exists()
    evaluated = Forecaster.load(directory).predict()["lstm"]
    np.testing.assert_allclose(pd.read_csv(directory / "forecast.csv")["lstm"], evaluated)


def test_evaluating_a_run_gives_its_metrics_refit_or_not(run, capsys):
    """The weights that validation selected, never those that saw the test rows."""
    main(["evaluate", str(run[0].directory), "--json"])
    found = json.loads(capsys.readouterr().out)
    stored = json.loads((run[0].directory / "metrics.json").read_text())
    assert found["test"] == stored["test"]
    assert found["baselines"] == stored["baselines"]


def test_the_log_has_one_line_per_check_and_the_config_all_that_was_inferred(run):
    directory = run[0].directory
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40]
    best = min(lines, key=lambda line: line["val_loss"])
    assert run[0].metrics["best_step"] == best["step"]
    stored = RunConfig.from_json((directory / "config.json").read_text())
    assert (stored.data.freq, stored.data.season_length, stored.data.val_size) == ("h", 24, 30)
    described = json.loads((directory / "run.json").read_text())
    assert {"command", "versions", "git_commit", "devices", "data_sha256"} <= described.keys()


def test_the_same_run_again_gives_the_same_files(run, config, tmp_path):
    again = train_run(config, tmp_path / "again", say=lambda line: None)
    for name in ("test_forecasts.csv.gz", "forecast.csv"):
        assert (again.directory / name).read_bytes() == (run[0].directory / name).read_bytes()


def test_a_run_that_is_there_is_refused_before_anything_is_read(config, run):
    missing = config.replace({"data.path": "missing.csv"})
    with pytest.raises(CheckpointError, match="holds a run already.*--overwrite"):
        train_run(missing, run[0].directory)


def test_overwriting_waits_until_the_new_data_is_known_to_be_good(config, tmp_path):
    run = train_run(
        config.replace({"train.max_steps": 2, "train.refit_all": False}), tmp_path / "r", say=lambda _: None
    )
    before = (run.directory / "metrics.json").read_bytes()
    with pytest.raises(Exception, match="no such file"):
        train_run(config.replace({"data.path": "missing.csv"}), run.directory, overwrite=True)
    assert (run.directory / "metrics.json").read_bytes() == before


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(CheckpointError, match="not a run directory"):
        RunDirectory.check_free(tmp_path, "run", overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["config.json", "run.json"])
def test_a_stranger_s_folder_with_a_file_of_our_names_is_no_run(name, config, tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / name).write_text('{"name": "shop", "port": 80}')
    for attempt in (
        lambda: train_run(config, folder, overwrite=True),
        lambda: train_run(config, folder, seeds=2, overwrite=True),
        lambda: resume_run(folder),
    ):
        with pytest.raises(CheckpointError, match="not a run directory"):
            attempt()
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize(
    ("kind", "files", "words"),
    [
        ("sweep", {"sweep.json": "{}", "study.db": "trials"}, "a sweep"),
        ("seeds", {"seed-0/config.json": RunConfig().to_json()}, "the runs of several seeds"),
    ],
)
@pytest.mark.parametrize("version", ["now", "before"])
def test_a_folder_of_another_kind_is_neither_emptied_nor_trained_in(kind, files, words, version, config, tmp_path):
    """Of earlier versions too, whose run.json does not say its kind."""
    with RunDirectory.create(tmp_path / "r", config, data_digest="") as made:
        made.describe(config, kind=kind, data_digest="")
    for name, text in files.items():
        (tmp_path / "r" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "r" / name).write_text(text)
    if version == "before":
        described = json.loads((tmp_path / "r" / "run.json").read_text())
        del described["kind"]
        (tmp_path / "r" / "run.json").write_text(json.dumps(described))
    assert kind_of(tmp_path / "r") == kind
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=f"holds {words}, which is not replaced by a run"):
        train_run(config, tmp_path / "r", overwrite=True)
    if kind == "sweep":
        with pytest.raises(CheckpointError, match="holds a sweep, not a run: resume it with the command of the sweep"):
            resume_run(tmp_path / "r")
    assert {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()} == before


def test_overwriting_deletes_what_a_run_wrote_and_nothing_else(run, config, tmp_path):
    quick = config.replace({"train.max_steps": 2, "train.refit_all": False})
    shutil.copytree(run[0].directory, tmp_path / "r")
    (tmp_path / "r" / "notes.txt").write_text("mine")
    (tmp_path / "r" / "seed-plots").mkdir()
    train_run(quick, tmp_path / "r", overwrite=True, say=lambda _: None)
    assert (tmp_path / "r" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "r" / "seed-plots").exists()
    assert not (tmp_path / "r" / REFIT).exists()


def test_nothing_is_computed_twice(config, tmp_path, monkeypatch):
    """The digest of the data, the resolved config, the training windows and the scaled panel are carried along."""
    counts = collections.Counter()

    def counted(module, name):
        function = getattr(module, name)

        def call(*arguments, **options):
            counts[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    counted(job_module, "panel_digest")
    counted(job_module, "resolved_config")
    counted(job_module, "prepare")
    counted(prepare_module, "train_windows")
    counted(prepare_module, "scaled_panel")
    counted(predict_module, "scaled_panel")
    train_run(config.replace({"train.refit_all": False}), tmp_path / "r", say=lambda _: None)
    assert counts == {"panel_digest": 1, "resolved_config": 1, "prepare": 1, "train_windows": 1, "scaled_panel": 1}


def test_metrics_that_are_not_numbers_are_null(tmp_path):
    directory = RunDirectory.create(tmp_path / "r", RunConfig(), data_digest="")
    directory.write_metrics({"test": {"mase": float("nan")}, "steps": 3})
    stored = (tmp_path / "r" / "metrics.json").read_text()
    assert json.loads(stored) == {"test": {"mase": None}, "steps": 3}


def test_compressed_forecasts_are_the_same_bytes_for_the_same_table(tmp_path):
    table = pd.DataFrame({"y": [0.1, 1e9 + 1e-6]})
    contents = []
    for _ in range(2):
        replace_table([table], tmp_path, "test_forecasts.csv.gz", "csv", texts=texts_of(table))
        contents.append((tmp_path / "test_forecasts.csv.gz").read_bytes())
    assert contents[0] == contents[1]
    assert pd.read_csv(tmp_path / "test_forecasts.csv.gz").equals(table)
    assert gzip.decompress(contents[0]).startswith(b"y\n")


@pytest.mark.filterwarnings("ignore:train.batch_shards is 4")
def test_a_run_that_goes_on_with_fewer_devices_tells_how_it_is_split(tmp_path):
    config = RunConfig().replace({"train.batch_size": 64, "train.batch_shards": 4})
    with RunDirectory.create(tmp_path / "run", config, data_digest="") as run:
        run.record_resume(config, 0)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["batch_shards"] == 2


@pytest.mark.parametrize("seconds", [0, 20])
def test_a_resume_that_is_refused_leaves_every_checkpoint(seconds, config, tmp_path, data):
    """Also of a run whose last check a longer one would not make, and of one that was saved at its end only."""
    config = config.replace({"train.save_every_seconds": seconds})
    odd = config.replace({"train.max_steps": 30, "train.refit_all": False})
    train_run(odd, tmp_path / "r", say=lambda _: None)
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    longer = RunConfig.from_json((tmp_path / "r" / "config.json").read_text()).replace({"train.max_steps": 50})
    other = tmp_path / "other.csv"
    pd.read_csv(data).assign(y=lambda t: t["y"] + 1).to_csv(other, index=False)
    for attempt in (
        lambda: resume_run(tmp_path / "r", longer.replace({"data.path": str(other)}), say=lambda _: None),
        lambda: resume_run(tmp_path / "r", longer, network=lambda spec, *, rngs: None, say=lambda _: None),
        lambda: resume_run(tmp_path / "r", longer.replace({"data.path": str(other)}), into=tmp_path / "copy"),
        lambda: Forecaster(longer).resume(tmp_path / "r", pd.read_csv(other, parse_dates=["ds"])),
    ):
        with pytest.raises((CheckpointError, ConfigError)):
            attempt()
        after = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
        assert {path: text for path, text in after.items() if path.name != "lock"} == {
            path: text for path, text in before.items() if path.name != "lock"
        }
    assert not (tmp_path / "copy").exists()
    resume_run(tmp_path / "r", longer, say=lambda _: None)
    assert [line["step"] for line in RunDirectory(tmp_path / "r").checks()] == [20, 40, 50]


def test_a_sweep_s_folder_is_not_trained_in_from_python_either(config, tmp_path, data):
    with RunDirectory.create(tmp_path / "s", config, data_digest="") as made:
        made.describe(config, kind="sweep", data_digest="")
    with pytest.raises(CheckpointError, match="holds a sweep, not a run"):
        Forecaster().resume(tmp_path / "s", pd.read_csv(data, parse_dates=["ds"]))
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"config.json", "run.json", "lock"}


def test_a_refit_of_an_earlier_end_is_not_that_of_a_longer_run(run, config, tmp_path):
    shutil.copytree(run[0].directory, tmp_path / "r")
    longer = RunConfig.from_json((tmp_path / "r" / "config.json").read_text()).replace({"train.max_steps": 60})

    class Broken(Callback):
        def on_check(self, check):
            raise RuntimeError("stopped")

    assert Forecaster.load(tmp_path / "r").fitted.refit is not None
    with pytest.raises(RuntimeError, match="stopped"):
        resume_run(tmp_path / "r", longer, callbacks=[Broken()], say=lambda _: None)
    assert Forecaster.load(tmp_path / "r").fitted.refit is None
    again = resume_run(tmp_path / "r", longer, say=lambda _: None)
    assert Forecaster.load(tmp_path / "r").predict().equals(again.forecaster.predict())


@pytest.mark.parametrize("method", ["write_metrics", "write_test_forecasts", "write_forecast", "write_plot"])
def test_a_full_disk_after_training_is_one_line_and_costs_nothing(drawn, method, run, config, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, method, full)
        with pytest.raises(CheckpointError, match=r"No space left on device\): make room, and resume the run"):
            train_run(config, tmp_path / "r", say=lambda _: None)
    resume_run(tmp_path / "r", say=lambda _: None)
    for name in ("forecast.csv", "test_forecasts.csv.gz"):
        assert (tmp_path / "r" / name).read_bytes() == (run[0].directory / name).read_bytes()


def test_overwriting_follows_no_link(drawn, config, tmp_path):
    quick = config.replace({"train.max_steps": 2, "train.refit_all": False})
    train_run(quick, tmp_path / "r", say=lambda _: None)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "r" / "checkpoints", tmp_path / "elsewhere" / "checkpoints")
    (tmp_path / "r" / "checkpoints").symlink_to(tmp_path / "elsewhere" / "checkpoints")
    (tmp_path / "r" / "plots" / "mine.png").write_text("mine")
    train_run(quick, tmp_path / "r", overwrite=True, say=lambda _: None)
    assert list((tmp_path / "elsewhere" / "checkpoints").iterdir())
    assert (tmp_path / "r" / "plots" / "mine.png").read_text() == "mine"


def test_rows_of_the_known_future_are_no_rows_of_the_table(tmp_path):
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=60, freq="h"), "y": np.sin(np.arange(60.0))})
    table.assign(holiday=0.0).to_csv(tmp_path / "t.csv", index=False)
    ahead = pd.DataFrame({"ds": pd.date_range("2024-01-03 12:00", periods=6, freq="h"), "holiday": 1.0})
    ahead.to_csv(tmp_path / "f.csv", index=False)
    options = {"data.path": str(tmp_path / "t.csv"), "data.h": 2, "data.input_size": 4}
    assert make_job(RunConfig().replace(options), None, None).sizes().startswith("60 rows, 1 series, every h, ")
    options |= {"data.futr_path": str(tmp_path / "f.csv"), "data.futr_exog": ["holiday"]}
    assert make_job(RunConfig().replace(options), None, None).sizes().startswith("60 rows, 1 series, every h, ")


def test_a_signal_during_the_last_chunk_ends_the_run_before_its_outputs(config, tmp_path, last_chunk):
    """All steps are done and saved; the outputs are made when the run is resumed."""
    with pytest.raises(Interrupted, match="interrupted after step 40"):
        train_run(
            config.replace({"train.refit_all": False}),
            tmp_path / "r",
            signals=last_chunk.signals,
            callbacks=[last_chunk],
            say=lambda _: None,
        )
    assert last_chunk.steps == [40]
    assert not list((tmp_path / "r").rglob("metrics.json"))
    assert not list((tmp_path / "r").rglob("forecast.csv"))
    resume_run(tmp_path / "r", say=lambda _: None)
    assert (tmp_path / "r" / "metrics.json").exists()
