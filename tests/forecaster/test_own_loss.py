"""A loss of the user's own: trained with, validated by, named in the checkpoint, asked for where it is missing."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import lstmjax
from lstmjax import Forecaster, RunConfig
from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.runs.run import resume_run, train_run
from lstmjax.storage.checkpoint import CheckpointWarning

CONFIG = RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {
        "data.h": 2,
        "data.input_size": 6,
        "data.val_size": 10,
        "model.hidden_size": 3,
        "model.head_size": 0,
        "optimizer.learning_rate": 0.05,
        "train.max_steps": 20,
        "train.val_check_steps": 5,
        "train.batch_size": 16,
        "train.batch_shards": 1,
        "outputs.plot_windows": 1,
    }
)
TABLE = pd.DataFrame({"ds": np.arange(90), "y": 10 + np.random.default_rng(0).normal(size=90)})


def pinball(forecast, y):
    """Of the quantile 0.9."""
    return jnp.maximum(0.9 * (y - forecast), 0.1 * (forecast - y))


def squared(forecast, y):
    return (forecast - y) ** 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "r"
    Forecaster(CONFIG, loss=pinball).fit(TABLE, directory=folder)
    return folder


def test_it_is_what_training_minimises_and_validation_watches(calls):
    checks = []
    high = Forecaster(CONFIG, loss=pinball).fit(TABLE, callbacks=[calls(on_check=checks.append)])
    assert high.predict()["lstm"].mean() > Forecaster(CONFIG).fit(TABLE).predict()["lstm"].mean() + 0.3
    assert high.fitted.own_loss == "pinball"
    assert (checks[-1].val_loss < checks[-1].val_mae).all()


def test_the_same_loss_by_name_and_by_function_give_the_same_bytes():
    by_name, by_function = Forecaster(CONFIG).fit(TABLE), Forecaster(CONFIG, loss=squared).fit(TABLE)
    pd.testing.assert_frame_equal(by_name.predict(), by_function.predict())


def test_a_loaded_forecaster_forecasts_without_it_and_says_what_training_needs(folder):
    with pytest.warns(CheckpointWarning, match=r"with a loss of your own, pinball: it forecasts without it; .* loss="):
        loaded = Forecaster.load(folder)
    whole = Forecaster.load(folder, loss=pinball)
    pd.testing.assert_frame_equal(loaded.predict(), whole.predict())
    with pytest.raises(CheckpointError, match="trained with a loss of your own, pinball: pass it as loss="):
        loaded.finetune(TABLE)
    assert whole.finetune(TABLE, options={"train.max_steps": 1}).fitted.own_loss == "pinball"
    other = Forecaster.load(folder, loss=squared).finetune(TABLE, options={"train.max_steps": 1})
    assert other.fitted.own_loss == "squared"


@pytest.mark.parametrize("loss", [None, squared])
def test_a_run_is_resumed_with_its_loss_or_not_at_all(folder, loss):
    with pytest.raises(CheckpointError, match=r"trained with a loss of your own, pinball: (pass it as loss=|not with)"):
        Forecaster(loss=loss).resume(folder, TABLE)


def test_a_run_with_the_loss_of_its_config_is_not_resumed_with_another(tmp_path):
    Forecaster(CONFIG).fit(TABLE, directory=tmp_path / "r")
    with pytest.raises(CheckpointError, match=r"with the loss of train\.loss, not with squared: leave loss= out"):
        Forecaster(loss=squared).resume(tmp_path / "r", TABLE)


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(tmp_path, calls):
    whole = Forecaster(CONFIG, loss=pinball).fit(TABLE)
    half = calls(should_stop=lambda: True)
    Forecaster(CONFIG.replace({"train.chunk_steps": 10}), loss=pinball).fit(
        TABLE, directory=tmp_path / "r", callbacks=[half]
    )
    resumed = Forecaster(loss=pinball).resume(tmp_path / "r", TABLE)
    pd.testing.assert_frame_equal(whole.predict(), resumed.predict())


def test_seeds_take_it_too():
    one, two = lstmjax.fit_seeds(CONFIG, TABLE, [0, 1], loss=pinball)
    alone = Forecaster(CONFIG, loss=pinball).fit(TABLE)
    np.testing.assert_allclose(one.predict()["lstm"], alone.predict()["lstm"], rtol=1e-4)
    assert two.loss is pinball


def test_a_loss_that_returns_a_mean_is_refused():
    with pytest.raises(ConfigError, match=r"<lambda> returned the shape \(\) for forecasts of the shape \(16, 2"):
        Forecaster(CONFIG, loss=lambda forecast, y: jnp.mean(forecast - y)).fit(TABLE)


def test_a_run_directory_has_it_too(tmp_path):
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    config = CONFIG.replace({"data.path": str(tmp_path / "t.csv"), "data.test_size": 10, "train.refit_all": True})
    run = train_run(config, tmp_path / "r", loss=pinball, say=lambda line: None)
    assert run.forecaster.loss is pinball
    before = (tmp_path / "r" / "config.json").read_bytes(), (tmp_path / "r" / "run.json").read_bytes()
    more = config.replace({"train.max_steps": 30})
    with pytest.raises(CheckpointError, match="trained with a loss of your own, pinball: pass it as loss="):
        resume_run(tmp_path / "r", more, say=lambda line: None)
    assert before == ((tmp_path / "r" / "config.json").read_bytes(), (tmp_path / "r" / "run.json").read_bytes())
    resumed = resume_run(tmp_path / "r", more, loss=pinball, say=lambda line: None)
    assert resumed.metrics["steps"] == 30
    with pytest.warns(CheckpointWarning, match="a loss of your own, pinball"):
        forecast = Forecaster.load(tmp_path / "r").predict()
    np.testing.assert_allclose(forecast["lstm"], pd.read_csv(tmp_path / "r" / "forecast.csv")["lstm"])


def test_a_run_that_was_killed_before_its_first_save_keeps_to_its_loss_and_network(tmp_path, calls):
    def killed(status):
        raise KeyboardInterrupt

    folder = tmp_path / "r"
    with pytest.raises(KeyboardInterrupt):
        Forecaster(CONFIG, loss=pinball).fit(TABLE, directory=folder, callbacks=[calls(on_start=killed)])
    assert not (folder / "checkpoints").exists()
    with pytest.raises(CheckpointError, match="trained with a loss of your own, pinball: pass it as loss="):
        Forecaster().resume(folder, TABLE)
    whole = Forecaster(CONFIG, loss=pinball).fit(TABLE)
    pd.testing.assert_frame_equal(Forecaster(loss=pinball).resume(folder, TABLE).predict(), whole.predict())
