"""A forecaster is a value: a method either succeeds and commits, or raises and leaves the object as it was."""

import copy
import pickle

import jax
import numpy as np
import pandas as pd
import pytest
from flax import nnx

import lstmjax
from lstmjax import Forecaster, RunConfig
from lstmjax.errors import CheckpointError, ConfigError, ConfigWarning, DataError
from lstmjax.window import Forecast

CONFIG = RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {
        "data.h": 4,
        "data.input_size": 8,
        "data.val_size": 12,
        "model.hidden_size": 4,
        "model.head_size": 0,
        "train.max_steps": 6,
        "train.val_check_steps": 3,
        "train.batch_size": 16,
        "train.batch_shards": 1,
    }
)


def sine(rows=90, level=0.0, **columns):
    ds = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame({"ds": ds, "y": level + np.sin(np.arange(rows) / 3), **columns})


@pytest.fixture(scope="module")
def trained():
    return Forecaster(CONFIG).fit(sine())


@pytest.fixture
def forecaster(trained):
    return copy.copy(trained)


def broken(*_):
    raise RuntimeError("the disk of the tracker is full")


REFUSALS = {
    "finetune: options that change the network": (
        ConfigError,
        lambda f, _: f.finetune(sine(level=5.0), options={"model.hidden_size": 8}),
    ),
    "finetune: an option that there is not": (ConfigError, lambda f, _: f.finetune(sine(), options={"train.steps": 3})),
    "finetune: a table that cannot be used": (DataError, lambda f, _: f.finetune(sine().iloc[:5])),
    "finetune: a folder in use": (
        CheckpointError,
        lambda f, folder: f.finetune(sine(level=5.0), options={"data.input_size": 8}, directory=folder),
    ),
    "fit: a table that cannot be used": (DataError, lambda f, _: f.fit(sine().drop(columns="y"))),
    "fit: validation smaller than a window": (ConfigError, lambda f, _: f.fit(sine(), val_size=2)),
    "fit: a folder in use": (CheckpointError, lambda f, folder: f.fit(sine(level=5.0), directory=folder)),
    "resume: no run": (CheckpointError, lambda f, folder: f.resume(folder.parent / "nowhere", sine())),
    "resume: other data": (CheckpointError, lambda f, folder: f.resume(folder, sine(level=1.0))),
    "resume: other options": (
        ConfigError,
        lambda f, folder: Forecaster.resume(_with(f, {"data.h": 5}), folder, sine()),
    ),
    "fit: a callback": (RuntimeError, lambda f, _: f.fit(sine(level=9.0), callbacks=[Broken()])),
    "finetune: a callback": (RuntimeError, lambda f, _: f.finetune(sine(level=9.0), callbacks=[Broken()])),
}


class Broken(lstmjax.training.Callback):
    on_check = broken


def _with(forecaster, options):
    forecaster.config = forecaster.config.replace(options)
    return forecaster


@pytest.mark.parametrize("name", REFUSALS)
def test_what_raises_changes_nothing(name, forecaster, tmp_path):
    error, call = REFUSALS[name]
    Forecaster(CONFIG).fit(sine(), directory=tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    forecast, config, fitted = forecaster.predict(), forecaster.config, forecaster.fitted
    if "other options" in name:
        config = config.replace({"data.h": 5})
    with pytest.raises(error):
        call(forecaster, tmp_path / "run")
    assert forecaster.config == config
    assert forecaster.fitted is fitted
    pd.testing.assert_frame_equal(forecaster.predict(), forecast)
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {path.name for path in after} - {path.name for path in before} <= {"lock"}
    assert all(after[path] == contents for path, contents in before.items() if path.name != "lock")


def test_a_forecaster_that_was_not_trained_stays_so(tmp_path):
    forecaster = Forecaster(CONFIG)
    with pytest.raises(RuntimeError, match="tracker"):
        forecaster.fit(sine(), directory=tmp_path / "r", callbacks=[Broken()])
    for use in (forecaster.predict, forecaster.summary, forecaster.module, lambda: forecaster.fitted):
        with pytest.raises(CheckpointError, match="not trained"):
            use()
    # The state was saved before the exception was raised: the run can be resumed.
    assert forecaster.resume(tmp_path / "r", sine()).predict().equals(Forecaster(CONFIG).fit(sine()).predict())


def test_it_says_what_it_is(trained):
    assert repr(Forecaster(CONFIG)) == "Forecaster(direct, input_size=8, h=4; not trained)"
    parameters = trained.fitted.summary["parameters"]
    best = trained.fitted.summary["best_step"]
    assert repr(trained) == (
        f"Forecaster(direct, input_size=8, h=4; {parameters:,} parameters, best of 6 steps: {best})"
    )
    lines = trained.summary().splitlines()
    assert lines[0] == repr(trained)
    shapes = {name: str(np.shape(leaf)) for name, leaf in trained.fitted.selected.weights.params.items()}
    assert {
        line.split()[0]: line.split("  ", 1)[1].strip().rsplit("  ", 1)[0].strip() for line in lines[1:-1]
    } == shapes
    assert lines[-1].split() == ["total", f"{parameters:,}"]


def test_its_module_is_the_trained_network(trained):
    module = trained.module()
    assert isinstance(module, nnx.Module)
    tail = trained.fitted.tail
    from lstmjax.data import forecast_windows, gather, scale, unscale

    windows, scaling = forecast_windows(tail), trained.fitted.selected.scaling
    window, _ = gather(jax.tree.map(np.asarray, scale(tail, scaling)), windows, input_size=8, h=4)
    forecast = module(window)
    assert isinstance(forecast, Forecast)
    values = unscale(np.asarray(forecast.mean()), windows.series, scaling)
    np.testing.assert_allclose(values.ravel(), trained.predict()["lstm"], rtol=1e-5)


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_copies_and_pickles_forecast_alike(through, trained):
    other = through(trained)
    pd.testing.assert_frame_equal(other.predict(), trained.predict())
    assert repr(other) == repr(trained)
    other.fit(sine(level=3.0))
    assert not np.allclose(other.predict()["lstm"], trained.predict()["lstm"])
    assert trained.predict()["lstm"].abs().max() < 2


class Last(nnx.Module):
    """The last value, with a learned shift."""

    def __init__(self, spec, *, rngs):
        self.h = spec.h
        self.shift = nnx.Param(jax.random.normal(rngs.params(), ()))

    def __call__(self, window, *, rngs=None, deterministic=None):
        ahead = window.y[:, -1:, :, None].repeat(self.h, axis=1)
        return Forecast(ahead + self.shift[...])


def test_seeds_of_a_network_of_one_s_own(tmp_path):
    members = lstmjax.fit_seeds(CONFIG, sine(), [0, 1], network=Last, directory=tmp_path / "r")
    alone = Forecaster(CONFIG.replace({"train.seed": 1}), network=Last).fit(sine())
    assert members[1].predict().equals(alone.predict())
    assert not members[0].predict().equals(members[1].predict())
    assert "Last" in repr(members[0])
    resumed = lstmjax.resume_seeds(tmp_path / "r", sine(), [0, 1], network=Last)
    assert resumed[1].predict().equals(alone.predict())
    loaded = Forecaster.load(tmp_path / "r", network=Last, member=1)
    assert loaded.predict().equals(alone.predict())


def test_refit_weights_go_through_a_file_and_are_used_where_they_belong(trained, tmp_path):
    """`predict`, `finetune`, `module` and a saved copy use them; `evaluate` uses the selected ones."""
    again = Forecaster(CONFIG.replace({"train.seed": 5})).fit(sine(), val_size=0)
    both = Forecaster.of(trained.fitted.replace(refit=again.fitted.selected))
    pd.testing.assert_frame_equal(both.predict(), again.predict())
    both.save(tmp_path / "saved")
    loaded = Forecaster.load(tmp_path / "saved")
    pd.testing.assert_frame_equal(loaded.predict(), again.predict())
    later = sine(120)
    pd.testing.assert_frame_equal(loaded.evaluate(later), trained.evaluate(later))
    assert not np.allclose(loaded.predict()["lstm"], trained.predict()["lstm"])
    still = {"train.max_steps": 1, "optimizer.learning_rate": 1e-12}
    tuned = loaded.finetune(sine(), options=still).fitted.selected.weights.params
    for name, leaf in again.fitted.selected.weights.params.items():
        np.testing.assert_allclose(tuned[name], leaf, atol=1e-6)
    trained.save(tmp_path / "saved", overwrite=True)  # the earlier refit goes
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "saved").predict(), trained.predict())


def test_saving_touches_nothing_that_is_not_a_forecaster_s(trained, tmp_path):
    (tmp_path / "refit").mkdir()
    (tmp_path / "refit" / "mine.txt").write_text("mine")
    (tmp_path / "config.json").write_text('{"mine": 1}')
    with pytest.raises((ConfigError, CheckpointError)):
        trained.save(tmp_path)
    assert (tmp_path / "config.json").read_text() == '{"mine": 1}'
    (tmp_path / "config.json").unlink()
    trained.save(tmp_path)
    assert (tmp_path / "refit" / "mine.txt").read_text() == "mine"
    log = tmp_path / "log"
    log.mkdir()
    (log / "metrics.jsonl").write_text("mine")
    with pytest.raises(CheckpointError, match="holds a run already"):
        Forecaster(CONFIG).fit(sine(), directory=log)
    assert (log / "metrics.jsonl").read_text() == "mine"


def test_a_refused_finetuning_leaves_no_folder_behind(trained, tmp_path):
    with pytest.raises(ConfigError, match="has shape"):
        copy.copy(trained).finetune(sine(), options={"model.hidden_size": 5}, directory=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_refit_belongs_to_runs_and_fit_says_so():
    refitting = CONFIG.replace({"train.refit_all": True})
    with pytest.warns(ConfigWarning, match="train.refit_all has no effect here"):
        forecaster = Forecaster(refitting).fit(sine())
    assert forecaster.fitted.refit is None
    forecaster.finetune(sine())  # which does not inherit it, and warns of nothing
    with pytest.warns(ConfigWarning, match="train.refit_all has no effect here"):
        lstmjax.fit_seeds(refitting, sine(), [0])
    with pytest.raises(ConfigError, match="no seeds"):
        lstmjax.fit_seeds(CONFIG, sine(), [])
