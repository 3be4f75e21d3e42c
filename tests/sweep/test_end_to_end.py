"""A small real sweep from the command line: what it writes, and that after a kill and a resume it writes the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from lstmjax.cli.app import main
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.sweep.population.block_checkpoint import BlockCheckpoints
from lstmjax.sweep.report.winner import TRIAL_FILE

pytestmark = pytest.mark.usefixtures("undrawn")

SPACE = """
"optimizer.learning_rate" = { type = "loguniform", low = 1e-4, high = 0.3 }
"model.dropout" = { type = "uniform", low = 0.0, high = 0.5 }
"""
OPTIONS = [
    "--trials=8",
    "--population=4",
    "--sampler=sobol",
    "--halving=2",
    "--data.h=6",
    "--data.input-size=12",
    "--model.hidden-size=4",
    "--model.name=direct",
    "--model.head-size=0",
    "--train.batch-size=16",
    "--train.max-steps=20",
    "--train.val-check-steps=5",
]


def arguments(folder, name, *more):
    where = ["--run-dir", str(folder / name), "--data.path", str(folder / "d.csv")]
    return ["sweep", str(folder / "space.toml"), *where, *OPTIONS, *more]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "space.toml").write_text(SPACE)
    noise = np.random.default_rng(0).normal(0, 0.1, 300)
    ds = pd.date_range("2024-01-01", periods=300, freq="h")
    table = pd.DataFrame({"ds": ds, "y": 5 + np.sin(np.arange(300) * np.pi / 12) + noise})
    table.to_csv(folder / "d.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def swept(folder):
    main(arguments(folder, "r"))
    return folder / "r"


def test_the_winner_is_a_run_directory_of_the_best_complete_trial(swept, capsys):
    table = pd.read_csv(swept / "trials.csv")
    assert set(table["state"]) == {"COMPLETE", "PRUNED"}
    assert (table.groupby("state")["steps"].max()["COMPLETE"], table["steps"].min()) == (20, 5)
    complete = table[table["state"] == "COMPLETE"]
    best = complete.loc[complete["value"].idxmin()]
    stored = json.loads((swept / "best" / TRIAL_FILE).read_text())
    assert stored["number"] == best["number"]
    config = json.loads((swept / "best" / "config.json").read_text())
    assert config["optimizer"]["learning_rate"] == pytest.approx(best["params.optimizer.learning_rate"])
    assert config["model"]["dropout"] == pytest.approx(best["params.model.dropout"])
    capsys.readouterr()
    main(["evaluate", str(swept / "best"), "--json"])
    stored = json.loads((swept / "best" / "metrics.json").read_text())
    assert json.loads(capsys.readouterr().out)["test"] == stored["test"]
    assert len(Forecaster.load(swept / "best").predict()) == 6


def test_the_winner_is_of_its_data_but_has_no_training_to_resume(swept, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--resume", str(swept / "best")])
    assert stopped.value.code == 2
    assert "no training to resume: finetune its weights (--finetune-from)" in capsys.readouterr().err


def test_the_winner_has_the_log_and_the_curve_of_its_training(swept):
    lines = [json.loads(line) for line in (swept / "best" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert all(line["train_loss"] > 0 and line["val_loss"] > 0 and line["seconds"] >= 0 for line in lines)
    best = json.loads((swept / "best" / "metrics.json").read_text())["best_step"]
    assert min(lines, key=lambda line: line["val_loss"])["step"] == best
    assert {path.name for path in (swept / "best" / "plots").iterdir()} >= {"learning_curve.png", "forecast.png"}


def test_a_new_winner_leaves_the_users_files(folder, swept):
    shutil.copytree(swept, folder / "again")
    best = folder / "again" / "best"
    described = json.loads((best / TRIAL_FILE).read_text())
    (best / TRIAL_FILE).write_text(json.dumps(described | {"number": 99}))
    for name in ("notes.txt", "plots/mine.png", "seed-7/notes.txt"):
        (best / name).parent.mkdir(exist_ok=True)
        (best / name).write_text("mine")
    (best / "refit").mkdir()
    (best / "refit" / "config.json").write_text("of the earlier winner")
    main(arguments(folder, "again"))
    assert json.loads((best / TRIAL_FILE).read_text()) == described
    for name in ("notes.txt", "plots/mine.png", "seed-7/notes.txt"):
        assert (best / name).read_text() == "mine"
    assert not (best / "refit").exists()
    assert (best / "forecast.csv").read_bytes() == (swept / "best" / "forecast.csv").read_bytes()
    assert [path.name for path in best.parent.glob("best*")] == ["best"]


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_a_sweep_s_folder_is_refused_and_its_winner_named(command, swept, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main([command, str(swept), *(["--out", str(tmp_path / "m.stablehlo")] if command == "export" else [])])
    assert stopped.value.code == 2
    assert f"holds a sweep: name its winner, {swept / 'best'}" in capsys.readouterr().err


def test_a_sweep_whose_trials_all_fail_is_one_line_with_status_1(folder, capsys):
    (folder / "wild.toml").write_text('"optimizer.learning_rate" = { type = "loguniform", low = 1e37, high = 1e38 }\n')
    wild = [
        word if word != str(folder / "space.toml") else str(folder / "wild.toml") for word in arguments(folder, "w")
    ]
    with pytest.raises(SystemExit) as stopped:
        main([*wild, "--trials=4"])
    assert stopped.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("lstmjax: error: no trial is complete, so there is no winner: see the column reason in")
    with pytest.raises(SystemExit) as stopped:
        main(["predict", str(folder / "w")])
    assert stopped.value.code == 2
    assert "holds a sweep without a winner: see the column reason in" in capsys.readouterr().err


def test_nothing_is_left_of_blocks_but_the_winner(swept):
    assert not list(swept.glob("blocks/*/state"))
    assert len(list(swept.glob("blocks/*/best"))) == 1
    assert not list((swept / "workers").iterdir())


@pytest.fixture(scope="module")
def seeded(folder, without_pictures):
    asked = ["--outputs.calibration=conformal", "--outputs.level", "80"]
    with without_pictures():
        main(arguments(folder, "seeds", "--seeds=2", "--trials=2", "--population=2", *asked))
    return folder / "seeds"


def test_a_sweep_again_with_two_seeds_ranks_by_their_mean(seeded):
    table = pd.read_csv(seeded / "trials.csv")
    assert (table.loc[table["state"] == "COMPLETE", "steps"] == 40).all()
    assert (table["value_low"] < table["value"]).all()
    seeds = pd.read_csv(seeded / "best" / "seeds.csv", index_col="seed")
    assert seeds.index.tolist() == [0, 1]
    stored = json.loads((seeded / "best" / "metrics.json").read_text())
    assert seeds["mae"][0] == pytest.approx(stored["test"]["mae"])
    assert Forecaster.load(seeded / "best" / "seed-1").fitted.config.train.seed == 1


def test_every_seed_of_the_winner_has_calibrated_intervals(seeded):
    best = seeded / "best"
    assert pd.read_csv(best / "seeds.csv")["coverage-80"].between(0, 1).all()
    for path in (best, best / "seed-1"):
        assert "lstm-lo-50" in Forecaster.load(path).predict(level=[50])


FOLDS = ["--folds=3", "--fold-step=20", "--trials=4"]


@pytest.fixture(scope="module")
def folded(folder, without_pictures):
    with without_pictures():
        main(arguments(folder, "folds", *FOLDS))
    return folder / "folds"


def test_folds_rank_by_their_mean_and_the_winner_is_of_the_first(folder, folded):
    table = pd.read_csv(folded / "trials.csv")
    assert (table.loc[table["state"] == "COMPLETE", "steps"] == 60).all()
    assert (table["value_std"] > 0).all()
    assert "value_low" not in table
    best = table[table["state"] == "COMPLETE"].sort_values("value").iloc[0]
    rate, dropout = best["params.optimizer.learning_rate"], best["params.model.dropout"]
    set_to = [f"--optimizer.learning-rate={rate}", f"--model.dropout={dropout}"]
    main(["train", "--run-dir", str(folder / "alone"), "--data.path", str(folder / "d.csv"), *OPTIONS[4:], *set_to])
    ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (folded / "best", folder / "alone"))
    assert ours["test"]["mae"] == pytest.approx(theirs["test"]["mae"], rel=1e-4)
    assert not (folded / "best" / "seeds.csv").exists()
    main(["predict", str(folded / "best"), "--out", str(folder / "forecast.csv")])
    assert len(pd.read_csv(folder / "forecast.csv")) == 6


def test_folds_that_are_interrupted_resume_to_the_same_table(folder, folded, monkeypatch):
    saves = []
    save = BlockCheckpoints.save

    def killed(self):
        save(self)
        saves.append(len(saves))
        if len(saves) in (1, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(BlockCheckpoints, "save", killed)
    for _ in range(2):
        with pytest.raises(SystemExit, match="130"):
            main(arguments(folder, "cut", *FOLDS, "--train.save-every-seconds=0"))
    main(arguments(folder, "cut", *FOLDS, "--train.save-every-seconds=0"))
    assert len(saves) > 3
    ours, theirs = (pd.read_csv(path / "trials.csv").drop(columns="seconds") for path in (folder / "cut", folded))
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_sweep_that_is_stopped_resumes_to_the_same_table(folder, swept, number, status):
    name = f"stopped-{number}"
    command = [sys.executable, "-m", "lstmjax.cli", *arguments(folder, name)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"JAX_NUM_CPU_DEVICES": "2"}
    )
    end = time.monotonic() + 120
    while not list((folder / name).glob("blocks/0000")) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status
    assert number == signal.SIGKILL or "resume with lstmjax sweep" in errors
    main(arguments(folder, name))
    ours, theirs = (pd.read_csv(folder / run / "trials.csv").drop(columns="seconds") for run in (name, "r"))
    pd.testing.assert_frame_equal(ours, theirs)
