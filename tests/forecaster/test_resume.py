"""A run that was stopped goes on to the bytes of one that was not; one that was changed is refused, in words."""

import json
import pickle
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from lstmjax.config import RunConfig
from lstmjax.errors import CheckpointError, ConfigError, TrainingWarning
from lstmjax.forecaster.checkpoints import CHECKPOINTS, LOG_FILE, SaveCheckpoints, is_trained
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.resume import take_member
from lstmjax.forecaster.resumed_options import agreed_config
from lstmjax.forecaster.run_kind import RUN_FILE
from lstmjax.forecaster.seeds import fit_seeds, resume_seeds
from lstmjax.storage import checkpoint
from lstmjax.storage.checkpoint import CheckpointWarning
from lstmjax.storage.lock import DirectoryLock
from lstmjax.storage.metrics_log import MetricsLog

CONFIG = RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {
        "data.h": 2,
        "data.input_size": 4,
        "data.val_size": 10,
        "model.name": "direct",
        "model.instance_norm": "none",
        "model.hidden_size": 4,
        "model.head_size": 0,
        "model.dropout": 0.2,
        "optimizer.learning_rate": 1e-2,
        "optimizer.schedule": "constant",
        "optimizer.warmup_steps": 3,
        "train.max_steps": 14,
        "train.val_check_steps": 4,
        "train.batch_size": 16,
        "train.batch_shards": 1,
        "train.chunk_steps": 3,
        "train.loss": "mse",
        "train.save_every_seconds": 0,
    }
)


@pytest.fixture(scope="module")
def table():
    """70 windows: four steps an epoch."""
    t = np.arange(90)
    noise = np.random.default_rng(0).normal(0, 0.1, len(t))
    return pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=len(t), freq="h"), "y": np.sin(t / 3) + noise})


@pytest.fixture(scope="module")
def whole(table, tmp_path_factory):
    """A run that nothing interrupted."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    Forecaster(CONFIG).fit(table, directory=directory)
    return directory


@pytest.fixture(scope="module")
def stop_after(table, calls):
    """Leaves a run that was asked to stop after some chunks of steps."""

    def stop(chunks, directory):
        asked = iter(range(1, 1000))
        Forecaster(CONFIG).fit(table, directory=directory, callbacks=[calls(should_stop=lambda: next(asked) == chunks)])

    return stop


def assert_same_weights(one, other):
    leaves = [jax.tree.leaves(forecaster.fitted.selected.weights) for forecaster in (one, other)]
    for left, right in zip(*leaves, strict=True):
        np.testing.assert_array_equal(left, right)


def without_saves(metadata):
    """What does not say how long the run took and how often it was saved."""
    config = RunConfig.from_json(metadata["config"]).replace({"train.save_every_seconds": 0})
    return metadata | {"seconds": 0, "config": config}


def assert_same_end(one, other):
    left, right = (checkpoint.load(directory / CHECKPOINTS) for directory in (one, other))
    assert left.step == right.step
    assert left.arrays.keys() == right.arrays.keys()
    for name, array in left.arrays.items():
        assert array.tobytes() == right.arrays[name].tobytes(), name
    assert without_saves(left.metadata) == without_saves(right.metadata)
    logs = [[line | {"seconds": 0} for line in MetricsLog(path / LOG_FILE).read()] for path in (one, other)]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("chunks", [1, 2, 4, 6])
def test_a_stopped_run_ends_with_the_bytes_of_one_that_was_not(chunks, whole, table, tmp_path, stop_after):
    stop_after(chunks, tmp_path / "r")
    stopped = checkpoint.steps(tmp_path / "r" / CHECKPOINTS)[-1]
    assert 0 < stopped < 14
    resumed = Forecaster().resume(tmp_path / "r", table)
    assert_same_end(tmp_path / "r", whole)
    assert resumed.predict().equals(Forecaster.load(whole).predict())
    assert resumed.fitted.summary["steps"] == 14


@pytest.mark.parametrize("seconds", [(1e9, 1e9), (1e9, 0), (0, 1e9)])
def test_a_run_killed_between_saves_resumes_from_an_older_state(seconds, whole, table, tmp_path, monkeypatch, calls):
    """How often the state is saved, then and now, changes no byte; the log has each line once, and the best is kept."""

    def kill(check):
        if check.step == 12:
            monkeypatch.setattr(SaveCheckpoints, "on_end", lambda *_: None)  # nothing is saved after a kill
            raise KeyboardInterrupt

    config = CONFIG.replace({"train.save_every_seconds": seconds[0]})
    with pytest.raises(KeyboardInterrupt):
        Forecaster(config).fit(table, directory=tmp_path / "r", callbacks=[calls(on_check=kill)])
    monkeypatch.undo()
    assert [line["step"] for line in MetricsLog(tmp_path / "r" / LOG_FILE).read()] == [4, 8, 12]
    saved = checkpoint.steps(tmp_path / "r" / CHECKPOINTS)
    assert saved == ([] if seconds[0] else [4, 8])
    again = config.replace({"train.save_every_seconds": seconds[1]})
    resumed = Forecaster(again).resume(tmp_path / "r", table)
    assert_same_end(tmp_path / "r", whole)
    assert resumed.predict().equals(Forecaster.load(whole).predict())
    assert checkpoint.steps(tmp_path / "r" / CHECKPOINTS)[-1] == 14


def test_by_default_a_short_run_is_saved_once_at_its_end(table, whole, tmp_path, calls):
    config = CONFIG.replace({"train.save_every_seconds": RunConfig().train.save_every_seconds})
    seen = []
    look = calls(on_check=lambda check: seen.append(checkpoint.steps(tmp_path / "r" / CHECKPOINTS)))
    Forecaster(config).fit(table, directory=tmp_path / "r", callbacks=[look])
    assert seen == [[]] * 4
    assert checkpoint.steps(tmp_path / "r" / CHECKPOINTS) == [14]
    assert checkpoint.load(tmp_path / "r" / CHECKPOINTS).loss == checkpoint.load(whole / CHECKPOINTS).loss
    assert_same_end(tmp_path / "r", whole)


def test_a_run_that_saved_nothing_begins_again(whole, table, tmp_path):
    shutil.copytree(whole, tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / CHECKPOINTS)
    Forecaster().resume(tmp_path / "r", table)
    assert_same_end(tmp_path / "r", whole)


def test_other_data_are_refused_before_anything_was_saved(whole, table, tmp_path):
    shutil.copytree(whole, tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / CHECKPOINTS)
    with pytest.raises(CheckpointError, match="not the data the run was trained on"):
        Forecaster().resume(tmp_path / "r", table.assign(y=table["y"] + 1))


def test_a_run_that_ended_stays_as_it_is(whole, table, tmp_path, calls):
    shutil.copytree(whole, tmp_path / "r")
    seen = []
    Forecaster().resume(tmp_path / "r", table, callbacks=[calls(on_check=seen.append)])
    assert not seen
    assert_same_end(tmp_path / "r", whole)


@pytest.mark.parametrize("fault", ["flipped", "deleted", "stray"])
def test_from_a_damaged_checkpoint_it_goes_back_to_one_that_verifies(fault, whole, table, tmp_path):
    shutil.copytree(whole, tmp_path / "r")
    folder = tmp_path / "r" / CHECKPOINTS
    if fault == "stray":
        (folder / "99").mkdir()
        newest, used = 99, 14
    else:
        newest, used = 14, checkpoint.steps(folder)[-2]
        file = max((folder / "14" / "state").rglob("d/*"), key=lambda file: file.stat().st_size)
        contents = bytearray(file.read_bytes())
        contents[len(contents) // 2] ^= 1
        file.unlink() if fault == "deleted" else file.write_bytes(contents)
    with pytest.warns(CheckpointWarning, match=f"step {newest} .*: step {used} is used"):
        Forecaster().resume(tmp_path / "r", table)
    assert_same_end(tmp_path / "r", whole)


def test_loading_unpickles_nothing(whole, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    assert Forecaster.load(whole).fitted.summary["steps"] == 14


def test_saving_changes_nothing(whole, table):
    alone = Forecaster(CONFIG).fit(table)
    for left, right in zip(
        *(jax.tree.leaves(f.fitted.selected.weights) for f in (alone, Forecaster.load(whole))), strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_an_unfinished_run_forecasts_with_its_best_weights_so_far(tmp_path, stop_after):
    stop_after(2, tmp_path / "r")
    forecaster = Forecaster.load(tmp_path / "r")
    assert forecaster.fitted.summary["best_step"] == 4
    assert np.isfinite(forecaster.predict()["lstm"]).all()


def test_more_steps_go_on_as_if_they_had_been_asked_for_at_first(whole, table, tmp_path):
    longer = CONFIG.replace({"train.max_steps": 18})
    Forecaster(longer).fit(table, directory=tmp_path / "longer")
    shutil.copytree(whole, tmp_path / "r")
    # The run of 14 steps made a check at 14, which one of 18 does not: so it goes back to an earlier one.
    Forecaster(longer).resume(tmp_path / "r", table)
    assert_same_end(tmp_path / "r", tmp_path / "longer")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model.hidden_size": 8}, r"model\.hidden_size \(was 4, now 8\).*--finetune-from"),
        ({"train.seed": 1, "data.h": 3}, r"data\.h \(was 2, now 3\), train\.seed \(was 0, now 1\)"),
        ({"train.max_steps": 5}, r"train\.max_steps \(was 14, now 5\)"),
    ],
)
def test_other_options_are_refused_by_name(changes, expected, whole, table):
    with pytest.raises(ConfigError, match=expected):
        Forecaster(CONFIG.replace(changes)).resume(whole, table)


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_more_steps_are_refused_where_the_schedule_depends_on_them(schedule):
    stored = CONFIG.replace({"optimizer.schedule": schedule})
    with pytest.raises(ConfigError, match=rf"'{schedule}', which depends on train\.max_steps.*--finetune-from"):
        agreed_config(stored, stored.replace({"train.max_steps": 20}), "r")


def test_safe_changes_are_taken():
    changes = {"data.path": "elsewhere.csv", "train.chunk_steps": 9, "train.refit_all": True, "train.max_steps": 15}
    assert agreed_config(CONFIG, CONFIG.replace(changes), "r") == CONFIG.replace(changes)


def test_other_data_are_refused(whole, table):
    changed = table.copy()
    changed.loc[3, "y"] += 1e-9
    with pytest.raises(CheckpointError, match=r"not the data the run was trained on.*--finetune-from"):
        Forecaster().resume(whole, changed)


def test_other_versions_are_said(whole, table, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "r")
    now = checkpoint.load(whole / CHECKPOINTS).metadata["versions"]
    monkeypatch.setattr("lstmjax.forecaster.resume.versions", lambda: now | {"jax": "99.0"})
    with pytest.warns(CheckpointWarning, match=r"trained with jax \S+, now 99.0"):
        Forecaster().resume(tmp_path / "r", table)


def test_what_is_no_run_is_refused(tmp_path, whole, table):
    with pytest.raises(CheckpointError, match="not a run directory"):
        Forecaster().resume(tmp_path / "nowhere", table)
    with pytest.raises(CheckpointError, match="holds a run already"):
        Forecaster(CONFIG).fit(table, directory=whole)
    Forecaster.load(whole).save(tmp_path / "saved")
    with pytest.raises(CheckpointError, match="no training to resume"):
        Forecaster().resume(tmp_path / "saved", table)


def test_a_directory_in_use_is_refused(whole, table):
    with DirectoryLock(whole), pytest.raises(CheckpointError, match=r"in use by process \d+"):
        Forecaster().resume(whole, table)
    with DirectoryLock(whole):  # free again
        pass


def test_a_run_that_broke_keeps_finite_weights_and_says_so_again(table, tmp_path):
    config = CONFIG.replace({"optimizer.learning_rate": 1e38})
    with pytest.warns(TrainingWarning, match="not finite"):
        first = Forecaster(config).fit(table, directory=tmp_path / "r")
    assert "not finite" in first.fitted.summary["failure"]
    stored = checkpoint.load(tmp_path / "r" / CHECKPOINTS)
    assert stored.arrays["state/failed_step"] >= 0
    assert all(np.isfinite(array).all() for name, array in stored.arrays.items() if is_trained(name))
    with pytest.warns(TrainingWarning, match="not finite"):
        again = Forecaster().resume(tmp_path / "r", table)
    assert again.fitted.summary["failure"] == first.fitted.summary["failure"]
    assert np.isfinite(again.predict()["lstm"]).all()


class TestFinetune:
    """A new run that starts from trained weights."""

    def test_it_starts_from_the_weights_on_other_series(self, whole, table):
        changed = table.assign(unique_id="new", y=100 + 7 * table["y"])
        forecaster = Forecaster.load(whole)
        before = jax.tree.map(np.array, forecaster.fitted.selected.weights)
        forecaster.finetune(changed, options={"train.max_steps": 4, "optimizer.learning_rate": 1e-9})
        for left, right in zip(
            jax.tree.leaves(before), jax.tree.leaves(forecaster.fitted.selected.weights), strict=True
        ):
            np.testing.assert_allclose(left, right, atol=1e-6)
        assert forecaster.fitted.summary["steps"] == 4
        assert forecaster.predict()["lstm"].between(80, 120).all()
        assert forecaster.config.optimizer.learning_rate == 1e-9

    def test_it_learns(self, whole, table, calls):
        checks = []
        forecaster = Forecaster.load(whole)
        best = checkpoint.load(whole / CHECKPOINTS).arrays["state/best_loss"]
        forecaster.finetune(table, callbacks=[calls(on_check=checks.append)])
        assert checks[-1].best_loss < best

    def test_killed_before_its_first_check_it_still_starts_from_the_weights(self, whole, table, tmp_path, calls):
        Forecaster.load(whole).finetune(table, directory=tmp_path / "tuned")
        stopping = calls(should_stop=iter([True]).__next__)
        Forecaster.load(whole).finetune(table, directory=tmp_path / "r", callbacks=[stopping])
        for step in checkpoint.steps(tmp_path / "r" / CHECKPOINTS)[1:]:
            checkpoint.remove(tmp_path / "r" / CHECKPOINTS, step)
        assert checkpoint.steps(tmp_path / "r" / CHECKPOINTS) == [0]
        shutil.copytree(tmp_path / "r", tmp_path / "sooner")
        shutil.rmtree(tmp_path / "sooner" / CHECKPOINTS)
        for killed in ("r", "sooner"):
            Forecaster().resume(tmp_path / killed, table)
            assert_same_end(tmp_path / killed, tmp_path / "tuned")

    def test_a_network_of_another_shape_is_refused(self, whole, table):
        with pytest.raises(ConfigError, match=r"trained network's \S+ has shape .*, the new one's has"):
            Forecaster.load(whole).finetune(table, options={"model.hidden_size": 8})


class TestPopulation:
    """Every member in one checkpoint; each can be taken out."""

    seeds = (0, 3, 4)

    @pytest.fixture
    def population(self, table, tmp_path, calls):
        """The forecasters of a population that was stopped before its first check."""
        stopping = calls(should_stop=lambda: True)
        return fit_seeds(CONFIG, table, self.seeds, directory=tmp_path / "r", callbacks=[stopping])

    def test_every_member_can_be_loaded_and_resumed_as_a_run_of_its_own(self, population, table, tmp_path):
        with pytest.raises(CheckpointError, match="holds 3 runs, of the seeds 0, 3, 4: say which by member="):
            Forecaster.load(tmp_path / "r")
        for member, trained in enumerate(population):
            loaded = Forecaster.load(tmp_path / "r", member=member)
            assert loaded.config.train.seed == self.seeds[member]
            for left, right in zip(
                *(jax.tree.leaves(f.fitted.selected.weights) for f in (loaded, trained)), strict=True
            ):
                np.testing.assert_array_equal(left, right)
        alone = CONFIG.replace({"train.seed": 3})
        Forecaster(alone).fit(table, directory=tmp_path / "alone")
        take_member(tmp_path / "r", 1, tmp_path / "taken")
        Forecaster().resume(tmp_path / "taken", table)
        assert_same_end(tmp_path / "taken", tmp_path / "alone")

    def test_what_is_not_there_is_refused(self, population, table, tmp_path):
        for take in (lambda: Forecaster.load(tmp_path / "r", member=3), lambda: take_member(tmp_path / "r", 3, "x")):
            with pytest.raises(CheckpointError, match="no member 3: it has 3"):
                take()
        with pytest.raises(CheckpointError, match=r"seeds are \[0, 3, 4\], not \[1, 2\]"):
            resume_seeds(tmp_path / "r", table, [1, 2])

    @pytest.mark.slow
    def test_it_is_resumed_as_one(self, table, tmp_path):
        fit_seeds(CONFIG, table, self.seeds, directory=tmp_path / "whole")
        shutil.copytree(tmp_path / "whole", tmp_path / "r")
        checkpoint.remove(tmp_path / "r" / CHECKPOINTS, 14)
        assert checkpoint.steps(tmp_path / "r" / CHECKPOINTS)
        resume_seeds(tmp_path / "r", table, self.seeds)
        assert_same_end(tmp_path / "r", tmp_path / "whole")


@pytest.mark.least
def test_another_implementation_of_the_lstm_is_said_and_agrees_within_rounding(
    table, tmp_path, monkeypatch, stop_after
):
    """The last of this file: it forgets all compiled programs."""
    monkeypatch.setenv("LSTMJAX_LSTM", "xla")
    jax.clear_caches()
    whole = Forecaster(CONFIG).fit(table)
    stop_after(2, tmp_path / "r")
    assert json.loads((tmp_path / "r" / RUN_FILE).read_text())["versions"]["lstm"] == "xla"
    monkeypatch.setenv("LSTMJAX_LSTM", "scan")
    jax.clear_caches()
    with pytest.warns(CheckpointWarning, match=r"trained with lstm xla, now scan: from here on its numbers may differ"):
        resumed = Forecaster().resume(tmp_path / "r", table)
    jax.clear_caches()
    leaves = [jax.tree.leaves(forecaster.fitted.selected.weights) for forecaster in (whole, resumed)]
    for left, right in zip(*leaves, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-5)
