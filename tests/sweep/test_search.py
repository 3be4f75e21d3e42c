"""Sweeps from the command line, without training: what they write, how they resume, and mistakes as one line each."""

import contextlib
import errno
import json
import logging
import shutil
import typing
import warnings

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage

from lstmjax import parallel
from lstmjax.cli.app import main
from lstmjax.config import RunConfig
from lstmjax.data.digest import panel_digest
from lstmjax.data.folds import Folds
from lstmjax.data.source import load_source
from lstmjax.errors import ConfigWarning, Interrupted
from lstmjax.sweep import Distribution, NoWinnerError, Outcome, Space, SweepConfig, search
from lstmjax.sweep import config as settings
from lstmjax.sweep.report import outputs
from lstmjax.sweep.report.table import best_trial, trials_table
from lstmjax.sweep.study import storage
from lstmjax.sweep.study.distributions import distributions, original_value, stored_value
from lstmjax.sweep.study.storage import Storage
from lstmjax.sweep.study.study import Study
from lstmjax.sweep.study.suggest import make_suggest

SPACE = """
"optimizer.learning_rate" = { type = "loguniform", low = 1e-4, high = 1e-1 }
"model.hidden_size" = { type = "choice", values = [8, 16] }
"train.batch_size" = 16
"""
GRID = """
"optimizer.learning_rate" = { type = "choice", values = [0.1, 0.01] }
"model.hidden_size" = { type = "choice", values = [8, 16, 32] }
"""


DRAW = outputs.plots.draw


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    ds = pd.date_range("2024-01-01", periods=300, freq="h")
    path = tmp_path_factory.mktemp("data") / "hourly.csv"
    pd.DataFrame({"ds": ds, "y": 5 + np.sin(np.arange(300) * np.pi / 12)}).to_csv(path, index=False)
    return path


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def trained(monkeypatch):
    """The blocks that were trained, by a substitute for training; no winner is evaluated, nothing is drawn."""
    return substitute_training(monkeypatch)


def substitute_training(monkeypatch):
    blocks = []

    def train_block(base, panel, space, trials, **options):
        blocks.append((tuple(trials), options))
        return [outcome(trial) for trial in trials]

    monkeypatch.setattr(search, "train_block", train_block)
    monkeypatch.setattr(outputs, "write_winner", lambda directory, *_, **__: directory)
    monkeypatch.setattr(outputs.plots, "draw", lambda *_: {})
    return blocks


@pytest.fixture(scope="module")
def finished(csv, tmp_path_factory):
    """A sweep that ended, for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "space.toml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as monkeypatch:
        substitute_training(monkeypatch)
        main(command(folder / "space.toml", csv, folder / "r"))
    return folder / "r"


@contextlib.contextmanager
def optuna_study(path, name="lstmjax"):
    """A study as Optuna itself opens it."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    yield optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    storage.engine.dispose()


def outcome(trial):
    value = abs(np.log10(trial.params["optimizer.learning_rate"]) + 2) + 1 / trial.params["model.hidden_size"]
    state = ["COMPLETE", "PRUNED", "FAIL"][trial.number % 3]
    known = None if state == "FAIL" else value
    curve = {5: value + 1, 10: value}
    return Outcome(trial.number, state, known, known and 0.1, curve, 10, 1.0, known and "why", None)


def command(space, csv, directory, *more):
    small = ["--trials=6", "--population=2", "--sampler=random", "--data.h=6", "--data.input-size=24"]
    return ["sweep", *map(str, [space, "--run-dir", directory, "--data.path", csv, *small, *more])]


def mistake(arguments, capsys):
    """The one line a mistake ends with."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0].removeprefix("lstmjax: error: ")


def test_a_sweep_leaves_its_trials_as_a_table_in_a_study_and_as_plots(space, csv, tmp_path, trained, monkeypatch):
    directory = tmp_path / "r"
    monkeypatch.setattr(outputs.plots, "draw", DRAW)
    main(command(space, csv, directory, "--trials=12", "--population=4", "--halving=3", "--seeds=2"))
    table = pd.read_csv(directory / "trials.csv")
    names = ["params.model.hidden_size", "params.optimizer.learning_rate", "params.train.batch_size"]
    spread = ["value_std", "value_low", "value_high"]
    assert table.columns.tolist() == ["number", "state", "value", *spread, *names, "steps", "seconds", "reason"]
    assert table["number"].tolist() == list(range(12))
    assert table["state"].tolist() == ["COMPLETE", "PRUNED", "FAIL"] * 4
    assert table["params.train.batch_size"].unique().tolist() == [16]
    # t(0.975) with one degree of freedom is 12.706; the deviation of two seeds is 0.1
    assert table["value_high"][0] - table["value"][0] == pytest.approx(12.706 * 0.1 / np.sqrt(2), rel=1e-4)
    with optuna_study(directory / "study.db") as study:
        trials, best = study.trials, study.best_value
    assert [trial.state.name for trial in trials] == table["state"].tolist()
    assert best == table.loc[table["state"] == "COMPLETE", "value"].min()
    assert trials[1].intermediate_values == {5: pytest.approx(table["value"][1] + 1), 10: table["value"][1]}
    plots = {path.stem for path in (directory / "plots").iterdir()}
    assert plots == {"history", "parallel_coordinates", "importance", "learning_curves"}
    assert {options["halving"].eta for _, options in trained} == {3}
    assert {options["seeds"] for _, options in trained} == {2}


def test_folds_are_described_and_have_a_deviation_but_no_interval(space, csv, tmp_path, trained, capsys):
    directory = tmp_path / "r"
    main(command(space, csv, directory, "--folds=3", "--seeds=2"))
    columns = pd.read_csv(directory / "trials.csv").columns.tolist()
    assert columns[:5] == ["number", "state", "value", "value_std", "params.model.hidden_size"]
    described = json.loads((directory / "sweep.json").read_text())
    assert described["folds"] == {"count": 3, "step": 30}  # a tenth of the rows
    assert {(options["folds"], options["population"]) for _, options in trained} == {(Folds(3, 30), 2 * 2 * 3)}
    main(command(space, csv, directory, "--folds=3", "--seeds=2", "--fold-step=30"))
    for others in (["--folds=3", "--fold-step=31"], []):
        capsys.readouterr()
        assert "of other folds" in mistake(command(space, csv, directory, "--seeds=2", *others), capsys)


def test_the_same_command_resumes_and_ends_like_an_uninterrupted_one(
    space, csv, tmp_path, trained, monkeypatch, finished
):
    train_block = search.train_block

    def stopped(*arguments, **options):
        if len(trained) == 1:
            raise Interrupted
        return train_block(*arguments, **options)

    monkeypatch.setattr(search, "train_block", stopped)
    with pytest.raises(Interrupted):
        search.run(*_arguments(space, csv, tmp_path / "cut"))
    assert len(pd.read_csv(tmp_path / "cut" / "trials.csv")) == 2
    monkeypatch.setattr(search, "train_block", train_block)
    main(command(space, csv, tmp_path / "cut"))
    numbers = [trial.number for trials, _ in trained for trial in trials]
    assert numbers == list(range(6))
    assert (tmp_path / "cut" / "trials.csv").read_bytes() == (finished / "trials.csv").read_bytes()


def _arguments(space, csv, directory):
    base = RunConfig().replace({"data.path": str(csv), "data.h": 6, "data.input_size": 24})
    return space, base, directory, SweepConfig(trials=6, population=2, sampler="random")


def test_a_finished_sweep_trains_nothing_again_and_may_get_more_trials(space, csv, tmp_path, trained, finished):
    shutil.copytree(finished, tmp_path / "r")
    before = (tmp_path / "r" / "trials.csv").read_bytes()
    main(command(space, csv, tmp_path / "r"))
    assert not trained
    assert (tmp_path / "r" / "trials.csv").read_bytes() == before
    main(command(space, csv, tmp_path / "r", "--trials=8"))
    assert [trial.number for trials, _ in trained for trial in trials] == [6, 7]


def test_optuna_is_silent_during_a_sweep_and_as_before_after_it(space, csv, tmp_path, trained, caplog):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    logging.getLogger("alembic").setLevel(logging.INFO)
    filters = list(warnings.filters)
    search.run(*_arguments(space, csv, tmp_path / "r"), say=lambda line: None)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert logging.getLogger("alembic").level == logging.INFO
    assert warnings.filters == filters
    assert not [record for record in caplog.records if record.name.startswith(("optuna", "alembic"))]
    optuna.create_study()
    assert "A new study created" in caplog.text


def test_a_grid_ends_with_its_points(csv, tmp_path, trained):
    (tmp_path / "grid.toml").write_text(GRID)
    main(command(tmp_path / "grid.toml", csv, tmp_path / "r", "--sampler=grid"))
    table = pd.read_csv(tmp_path / "r" / "trials.csv")
    assert (
        len(table) == len(table[["params.optimizer.learning_rate", "params.model.hidden_size"]].drop_duplicates()) == 6
    )


def test_tpe_shares_a_block_s_shape(csv, tmp_path, trained, space):
    main(command(space, csv, tmp_path / "r", "--sampler=tpe", "--trials=21", "--population=7"))
    for trials, _ in trained:
        assert len({trial.params["model.hidden_size"] for trial in trials}) == 1
        assert {trial.params["train.batch_size"] for trial in trials} == {16}
    assert len({trial.params["optimizer.learning_rate"] for trials, _ in trained for trial in trials}) == 21


def test_tpe_learns_and_draws_the_same_again_given_the_same_past(tmp_path):
    space = Space.from_dict({"optimizer.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1e-1}})
    drawn = []
    for name in ("a", "b"):
        storage = Storage(f"sqlite:///{tmp_path}/{name}.db")
        study = Study(storage, "s", {}, space)
        for number in range(24):
            exponent = -4 + 3 * (number + 0.5) / 24
            params, value = {"optimizer.learning_rate": 10**exponent}, abs(exponent + 2)
            study.optuna.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions(space), value=value)
            )
        suggest = make_suggest(space, "tpe", 3, 8)
        drawn.append([suggest(study.optuna, 24 + i, [])["optimizer.learning_rate"] for i in range(8)])
        storage.close()
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 8
    assert np.abs(np.log10(drawn[0]) + 2).mean() < 0.4  # at random it would be 0.83


def test_lists_survive_optuna():
    space = Space.from_dict({"model.name": {"type": "choice", "values": ["direct", "segment"]}})
    assert [stored_value(value) for value in ([1, 2], (1, 2), 0.5, None)] == ["[1, 2]", "[1, 2]", 0.5, None]
    assert original_value(Distribution("choice", values=((1, 2), 3)), "[1, 2]") == (1, 2)
    assert distributions(space)["model.name"].choices == ("direct", "segment")


def test_a_sweep_without_a_complete_trial_raises(csv, tmp_path, trained, monkeypatch, space):
    def fail(base, panel, space, trials, **options):
        return [Outcome(t.number, "FAIL", None, None, {}, 0, 0.0, "its loss was not finite", None) for t in trials]

    monkeypatch.setattr(search, "train_block", fail)
    for _ in range(2):  # also when it is run again
        with pytest.raises(NoWinnerError, match=r"no trial is complete, .* column reason in .*/trials\.csv") as raised:
            search.run(*_arguments(space, csv, tmp_path / "r"))
        assert raised.value.exit_status == 1
    assert pd.read_csv(tmp_path / "r" / "trials.csv")["reason"].unique().tolist() == ["its loss was not finite"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '"optimizer.learning_rat" = { type = "uniform", low = 1, high = 2 }',
            "did you mean 'optimizer.learning_rate'",
        ),
        ('"model.hidden_size" = { type = "uniform", low = 1, high = 2 }', "model.hidden_size"),
        ('"optimizer.learning_rate" = { type = "uniform", low = 2.0, high = 1.0 }', "swap them"),
        (
            '"optimizer.learning_rate" = { type = "loguniform", low = 0.0, high = 1.0 }',
            "cannot start at 0.0",
        ),
        ('"optimizer.learning_rate" = 0.1', "the space has one point"),
        ('"optimizer.learning_rate" = { type = "uniform", low = -1.0, high = 1.0 }', "optimizer.learning_rate is -1"),
        ("learning rate", "not TOML"),
        (None, "cannot read the space"),
    ],
)
def test_a_space_that_cannot_be_searched_is_one_line_and_leaves_nothing(text, expected, csv, tmp_path, capsys):
    path = tmp_path / "s.toml"
    if text is not None:
        path.write_text(text)
    line = mistake(command(path, csv, tmp_path / "r"), capsys)
    assert expected in line
    assert str(path) in line
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--sampler=grid", "--trials=5"], "optimizer.learning_rate: a grid has no loguniform"),
        (["--storage=nowhere"], "expected the address of a database"),
        (["--storage=sqlite:////nowhere/study.db"], "cannot be used"),
        (["--storage=sqlite://"], "name a file"),
        (["--storage=redis://host/0"], "expected sqlite, postgresql or mysql"),
        (["--storage=mysql://me:secret@127.0.0.1:1/sweeps"], "needs the driver"),
        (["--metric=mea"], "metric is 'mea'"),
        (["--hyperband"], "needs sweep.halving"),
        (["--halving=1"], "halving is 1"),
        (["--trials=0"], "trials is 0"),
        (["--data.val-size=3"], "data.val_size is 3"),
        (["--data.val-size=0"], "there is no validation window to rank trials by"),
        (["--folds=0"], "sweep.folds is 0"),
        (["--folds=2", "--fold-step=0"], "sweep.fold_step is 0"),
        (["--fold-step=9"], "sweep.fold_step is 9, and there is one fold: give sweep.folds"),
        (["--folds=99"], "fold 7 would have no rows to train on; give at most 7 folds"),
        (["--folds=3", "--fold-step=205"], "fold 1 would have no rows to train on; give at most 1 fold, "),
        (["--outputs.level", "80"], "outputs.level cannot be given: a point forecast"),
        (["--outputs.calibration=cqr"], "which moves the quantiles of a head, and a point forecast has none"),
        (
            ["--outputs.calibration=conformal", "--outputs.level", "99.9"],
            "of 99.9% needs 999 held-out windows",
        ),
    ],
)
def test_an_invalid_option_is_one_line_and_leaves_nothing(flags, expected, space, csv, tmp_path, capsys):
    line = mistake(command(space, csv, tmp_path / "r", *flags), capsys)
    assert expected in line
    assert "secret" not in line
    assert not (tmp_path / "r").exists()


def test_a_head_of_counts_needs_counts(space, csv, tmp_path, capsys):
    asked = command(space, csv, tmp_path / "r", "--model.head=negative_binomial")
    assert "the head forecasts counts, whole numbers from 0 on" in mistake(asked, capsys)
    assert not (tmp_path / "r").exists()


def test_heads_that_are_searched_must_all_give_the_intervals(csv, tmp_path, capsys, trained):
    (tmp_path / "s.toml").write_text('"model.head" = { type = "choice", values = ["normal", "point"] }\n' + SPACE)
    asked = command(tmp_path / "s.toml", csv, tmp_path / "r", "--outputs.level", "80")
    assert "model.head 'point' is searched: outputs.level cannot be given" in mistake(asked, capsys)
    assert not (tmp_path / "r").exists()
    (tmp_path / "s.toml").write_text('"model.head" = { type = "choice", values = ["normal", "quantile"] }\n' + SPACE)
    main(asked)
    assert len(trained) == 3


def test_a_grid_of_more_points_than_trials_is_one_line(csv, tmp_path, capsys):
    (tmp_path / "grid.toml").write_text(GRID)
    line = mistake(command(tmp_path / "grid.toml", csv, tmp_path / "r", "--sampler=grid", "--trials=5"), capsys)
    assert "the grid has 6 points, and sweep.trials is 5: raise --trials to 6" in line


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--sampler=sobol"], "another sampler"),
        (["--optimizer.clip-norm=2"], "other options"),
        (["--seeds=2"], "other seeds"),
        (["--population=3"], "another population"),
        (["--folds=2"], "other folds"),
    ],
)
def test_a_storage_that_belongs_to_another_search_is_one_line(flags, part, space, csv, capsys, finished):
    line = mistake(command(space, csv, finished, *flags), capsys)
    assert f"holds a study 'lstmjax' of {part}: " in line


def test_a_storage_that_belongs_to_another_space_is_one_line(space, csv, tmp_path, capsys, trained):
    storage = f"--storage=sqlite:///{tmp_path}/all.db"
    main(command(space, csv, tmp_path / "r", storage, "--trials=2"))
    capsys.readouterr()
    assert "of another run directory" in mistake(command(space, csv, tmp_path / "r2", storage), capsys)
    (tmp_path / "grid.toml").write_text(GRID)
    assert "of another " in mistake(command(tmp_path / "grid.toml", csv, tmp_path / "r3", storage), capsys)
    main(command(tmp_path / "grid.toml", csv, tmp_path / "r3", storage, "--study=another", "--trials=3"))
    with optuna_study(tmp_path / "all.db", "another") as study:
        assert len(study.trials) == 3


def test_a_study_that_is_not_of_lstmjax_is_one_line(space, csv, tmp_path, capsys):
    with optuna_study(tmp_path / "theirs.db") as study:
        study.ask()
    line = mistake(command(space, csv, tmp_path / "r", f"--storage=sqlite:///{tmp_path}/theirs.db"), capsys)
    assert "that is not of lstmjax" in line


def test_a_folder_of_something_else_is_left_alone(space, csv, tmp_path, capsys):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.tex").write_text("")
    assert "not a sweep" in mistake(command(space, csv, tmp_path / "r"), capsys)
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["thesis.tex"]


def test_a_file_that_is_no_database_is_one_line(space, csv, tmp_path, capsys):
    (tmp_path / "notes.db").write_text("no database, but a text long enough to be taken for one's header")
    line = mistake(command(space, csv, tmp_path / "r", f"--storage=sqlite:///{tmp_path}/notes.db"), capsys)
    assert "not a database" in line


def test_a_table_that_cannot_be_written_is_one_line(space, csv, tmp_path, trained, monkeypatch, capsys):
    def full(path, contents):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(outputs, "replace_file", full)
    line = mistake(command(space, csv, tmp_path / "r"), capsys)
    assert "the outputs cannot be written (No space left on device)" in line


def test_a_storage_that_goes_away_is_one_line(space, csv, tmp_path, trained, monkeypatch, capsys):
    def gone(self, *_, **__):
        raise OSError("server closed the connection")

    monkeypatch.setattr(storage, "PATIENCE", 0.0)
    monkeypatch.setattr(JournalStorage, "get_all_trials", gone)
    line = mistake(command(space, csv, tmp_path / "r", f"--storage=journal:{tmp_path}/study.log"), capsys)
    assert "which cannot be used: server closed the connection" in line


def test_the_names_of_mappings_are_those_of_parallel():
    assert typing.get_args(settings.MappingChoice) == typing.get_args(parallel.MappingName)


def test_the_study_says_what_is_searched(space, finished):
    stored = json.loads((finished / "sweep.json").read_text())
    with optuna_study(finished / "study.db") as study:
        described = study.user_attrs["lstmjax"]
    assert described.pop("run directory") == stored.pop("id")
    assert described == stored
    assert Space.from_dict(stored["space"]).to_json() == Space.from_toml(space).to_json()
    assert stored["data_sha256"] == json.loads((finished / "run.json").read_text())["data_sha256"]
    data = RunConfig.from_json((finished / "config.json").read_text()).data
    assert stored["data_sha256"] == panel_digest(load_source(data).panel(data))


def test_a_study_of_another_version_is_one_line(space, csv, tmp_path, capsys, finished):
    shutil.copytree(finished, tmp_path / "r")
    with optuna_study(tmp_path / "r" / "study.db") as study:
        described = study.user_attrs["lstmjax"]
        study.set_user_attr("lstmjax", {"data": described.pop("data_sha256")} | described)
    assert "that another version of lstmjax began: " in mistake(command(space, csv, tmp_path / "r"), capsys)


def test_of_equal_trials_the_first_wins():
    def trial(number, state, value):
        found = optuna.trial.create_trial(state=getattr(optuna.trial.TrialState, state), value=value)
        found.number = number
        return found

    trials = [trial(0, "PRUNED", 0.1), trial(1, "COMPLETE", 0.3), trial(2, "COMPLETE", 0.2), trial(3, "COMPLETE", 0.2)]
    assert best_trial(trials).number == 2
    assert best_trial(trials[:1]) is None
    assert trials_table([], ["model.name"]).columns.tolist()[:4] == ["number", "state", "value", "params.model.name"]


def test_a_time_limit_has_no_effect_in_a_sweep_and_a_warning_says_so(space, csv, tmp_path, trained):
    searched, base, directory, settings = _arguments(space, csv, tmp_path / "r")
    with pytest.warns(ConfigWarning, match=r"train\.max_seconds has no effect in a sweep"):
        search.run(searched, base.replace({"train.max_seconds": 1e-6}), directory, settings)
    assert sum(len(trials) for trials, _ in trained) == 6
