"""Several seeds from the command line: a run directory each, a table of all, stopped and resumed."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from lstmjax.cli.app import main
from lstmjax.config import RunConfig
from lstmjax.errors import CheckpointError, ConfigError, Interrupted
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.run_kind import seeds_of
from lstmjax.runs.run import resume_run, train_run
from lstmjax.runs.signals import Signals

pytestmark = pytest.mark.usefixtures("undrawn")

OPTIONS = {
    "data.h": 6,
    "data.input_size": 12,
    "model.hidden_size": 4,
    "model.name": "direct",
    "optimizer.schedule": "constant",
    "model.head_size": 0,
    "train.batch_size": 16,
    "train.max_steps": 20,
    "train.val_check_steps": 5,
    "train.seed": 3,
    "outputs.plot_windows": 1,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "hourly.csv"
    noise = np.random.default_rng(0).normal(0, 0.1, 300)
    ds = pd.date_range("2024-01-01", periods=300, freq="h")
    pd.DataFrame({"ds": ds, "y": 5 + np.sin(np.arange(300) * np.pi / 12) + noise}).to_csv(path, index=False)
    return RunConfig().replace(OPTIONS | {"data.path": str(path)})


def flags(config):
    return [
        f"--{name.replace('_', '-')}={value}" for name, value in (OPTIONS | {"data.path": config.data.path}).items()
    ]


@pytest.fixture(scope="module")
def runs(config, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "r"
    main(["train", "--seeds=2", "--run-dir", str(directory), *flags(config)])
    return directory


def test_every_seed_has_a_run_directory(runs):
    errors = []
    for seed in (3, 4):
        run = runs / f"seed-{seed}"
        assert json.loads((run / "config.json").read_text())["train"]["seed"] == seed
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [5, 10, 15, 20]
        metrics = json.loads((run / "metrics.json").read_text())
        assert metrics["best_step"] == min(lines, key=lambda line: line["val_loss"])["step"]
        assert len(Forecaster.load(run).predict()) == 6
        errors.append(metrics["test"]["mae"])
        assert {path.stem for path in (run / "plots").iterdir()} == {"learning_curve", "test_forecasts", "forecast"}
    assert len(set(errors)) == 2


def test_the_table_has_their_mean_and_deviation(runs):
    table = pd.read_csv(runs / "seeds.csv", index_col="seed")
    of_runs = [json.loads((runs / f"seed-{seed}" / "metrics.json").read_text())["test"]["mae"] for seed in (3, 4)]
    assert table["mae"].tolist() == pytest.approx(of_runs)
    stored = json.loads((runs / "metrics.json").read_text())
    assert stored["test"]["mae"] == {
        "mean": pytest.approx(np.mean(of_runs)),
        "deviation": pytest.approx(np.std(of_runs, ddof=1)),
    }
    assert stored["seeds"] == [3, 4]
    assert stored["baselines"]["naive"]["mae"] > 0


def test_their_mean_forecast_and_its_pictures_are_left_too(runs):
    mean, *each = (pd.read_csv(runs / folder / "forecast.csv") for folder in (".", "seed-3", "seed-4"))
    values = np.stack([table["lstm"] for table in each])
    assert mean.columns.tolist() == ["unique_id", "ds", "lstm", "lstm-std"]
    np.testing.assert_allclose(mean["lstm"], values.mean(axis=0))
    np.testing.assert_allclose(mean["lstm-std"], values.std(axis=0, ddof=1))
    assert {path.stem for path in (runs / "plots").iterdir()} == {"learning_curve", "test_forecasts", "forecast"}


def test_what_is_printed_has_the_baselines_and_whole_steps(config, tmp_path):
    said = []
    result = train_run(config.replace({"train.max_steps": 10}), tmp_path / "r", seeds=2, say=said.append)
    (table,) = (text for text in said if "deviation" in text)
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert list(rows) == ["seed", "3", "4", "mean", "deviation", "naive", "seasonal_naive"]
    assert rows["3"][-2:] == [str(result.table["best_step"][3]), "10"]
    naive = result.metrics["baselines"]["naive"]
    assert [float(value) for value in rows["naive"]] == pytest.approx(list(naive.values()), abs=1e-4)


class Stopping(Signals):
    """Asks to stop after some chunks of steps."""

    def __init__(self, chunks):
        super().__init__()
        self.left = chunks

    def requested(self):
        self.left -= 1
        return self.left < 0


def test_stopped_and_resumed_seeds_end_as_if_never_stopped(config, runs, tmp_path):
    with pytest.raises(Interrupted):
        train_run(config, tmp_path / "r", seeds=2, signals=Stopping(1))
    assert not (tmp_path / "r" / "seeds.csv").exists()
    main(["train", "--seeds=2", "--resume", str(tmp_path / "r")])
    assert (tmp_path / "r" / "seeds.csv").read_bytes() == (runs / "seeds.csv").read_bytes()
    for name in ("metrics.json", "seed-4/forecast.csv", "seed-4/test_forecasts.csv.gz"):
        assert (tmp_path / "r" / name).read_bytes() == (runs / name).read_bytes()


def test_a_signal_during_the_last_chunk_ends_the_run_before_its_outputs(config, tmp_path, last_chunk):
    """All steps are done and saved; the outputs are made when the run is resumed."""
    with pytest.raises(Interrupted, match="interrupted after step 20"):
        train_run(
            config, tmp_path / "r", seeds=2, signals=last_chunk.signals, callbacks=[last_chunk], say=lambda _: None
        )
    assert last_chunk.steps == [20]
    assert not list((tmp_path / "r").rglob("metrics.json"))
    assert not list((tmp_path / "r").rglob("forecast.csv"))
    resume_run(tmp_path / "r", say=lambda _: None)
    assert (tmp_path / "r" / "metrics.json").exists()


def test_the_seeds_of_a_run_are_known_when_it_is_resumed(runs, tmp_path, capsys):
    described = json.loads((runs / "run.json").read_text())
    assert (described["kind"], described["seeds"]) == ("seeds", [3, 4])
    assert json.loads((runs / "seed-3" / "run.json").read_text())["kind"] == "run"
    before = (runs / "seeds.csv").read_bytes()
    main(["train", "--resume", str(runs)])
    assert "resuming after step 20 of 20" in capsys.readouterr().out
    assert (runs / "seeds.csv").read_bytes() == before
    shutil.copytree(runs, tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / "seed-4")  # as if killed before it was made
    assert seeds_of(tmp_path / "r") == [3, 4]
    (tmp_path / "r" / "run.json").unlink()  # as an earlier version, which did not say it
    assert seeds_of(tmp_path / "r") == [3]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--seeds=0"], "seeds is 0"),
        (["--seeds=2", "--finetune-from", "RUN"], "--seeds begins from weights drawn anew"),
        (["--seeds=2", "--resume", "RUN"], "leave --run-dir out"),
    ],
)
def test_what_cannot_be_asked_of_seeds_is_one_line(arguments, expected, config, runs, tmp_path, capsys):
    named = [str(runs) if argument == "RUN" else argument for argument in arguments]
    with pytest.raises(SystemExit) as stopped:
        main(["train", *named, "--run-dir", str(tmp_path / "r"), *flags(config)])
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "command",
    ["evaluate RUN", "predict RUN", "export RUN --out x.stablehlo", "train --finetune-from RUN --run-dir NEW"],
)
def test_no_seed_is_taken_for_all_of_them(command, runs, tmp_path, capsys):
    places = {"RUN": str(runs), "NEW": str(tmp_path / "r")}
    with pytest.raises(SystemExit) as stopped:
        main([places.get(word, word) for word in command.split()])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"lstmjax: error: {runs} holds 2 runs, of the seeds 3, 4: name one of them, such as {runs}/seed-3"
    assert not (tmp_path / "r").exists()


def test_other_seeds_are_not_resumed(config, runs, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--seeds=3", "--resume", str(runs)])
    assert "the run's seeds are [3, 4], not [3, 4, 5]" in capsys.readouterr().err


def test_a_run_of_no_seeds_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="seeds is 0"):
        train_run(config, tmp_path / "r", seeds=0)


def test_after_more_steps_each_seed_s_directory_holds_its_new_weights(runs, config, tmp_path, capsys):
    shutil.copytree(runs, tmp_path / "r")
    longer = RunConfig.from_json((runs / "config.json").read_text()).replace({"train.max_steps": 30})
    result = resume_run(tmp_path / "r", longer, say=lambda _: None)
    for seed, forecaster in zip((3, 4), result.forecasters, strict=True):
        folder = tmp_path / "r" / f"seed-{seed}"
        capsys.readouterr()
        main(["evaluate", str(folder), "--json"])
        stored = json.loads((folder / "metrics.json").read_text())
        assert json.loads(capsys.readouterr().out)["test"] == stored["test"]
        assert stored["steps"] == 30
        assert Forecaster.load(folder).predict().equals(forecaster.predict())


def test_seeds_that_were_never_begun_are_not_lost(runs, tmp_path):
    """Killed while the directories are made: run.json says which seeds there are."""
    shutil.copytree(runs, tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / "seed-4")
    shutil.rmtree(tmp_path / "r" / "checkpoints")
    (tmp_path / "r" / "seed-bank").mkdir()
    (tmp_path / "r" / "seed-bank" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"seeds are \[3, 4\], not \[3, 4, 5\]"):
        resume_run(tmp_path / "r", seeds=3, say=lambda _: None)
    result = resume_run(tmp_path / "r", say=lambda _: None)
    assert result.table.index.tolist() == [3, 4]
    assert (tmp_path / "r" / "seed-4" / "forecast.csv").exists()


def test_overwriting_several_seeds_leaves_what_is_not_theirs(runs, config, tmp_path):
    shutil.copytree(runs, tmp_path / "r")
    for name in ("seed-0x/config.json", "seed-3/notes.txt", "seed-3/plots/mine.png"):
        (tmp_path / "r" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "r" / name).write_text("mine")
    quick = config.replace({"train.max_steps": 2, "train.seed": 2})
    train_run(quick, tmp_path / "r", seeds=2, overwrite=True, say=lambda _: None)
    for name in ("seed-0x/config.json", "seed-3/notes.txt", "seed-3/plots/mine.png"):
        assert (tmp_path / "r" / name).read_text() == "mine"
    assert not (tmp_path / "r" / "seed-4").exists()
