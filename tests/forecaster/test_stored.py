"""Checkpoints written in earlier formats: every later version must read them.

``stored/format-1`` is a run directory: `Forecaster.fit(table, directory=...)` on Python 3.11 with jax 0.10.2,
lstmjax 0.1.0; ``forecast.csv`` in it is what `predict` said then, ``table.csv`` the data. ``stored/format-2`` holds a
fine-tuned run, a run with ``train.refit_all`` and a sweep of three trials, without their pictures and tables. They are
never made anew: a change that breaks this test needs a higher `checkpoint.FORMAT_VERSION` and code that reads all.
"""

import dataclasses
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lstmjax.data.digest import panel_digest
from lstmjax.errors import CheckpointError
from lstmjax.forecaster.checkpoints import CHECKPOINTS, stored_start, stored_state
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.network import network_for
from lstmjax.forecaster.resume import check_data
from lstmjax.forecaster.resumed_options import agreed_config
from lstmjax.forecaster.run_kind import kind_of
from lstmjax.forecaster.saved import read_config
from lstmjax.storage import checkpoint
from lstmjax.storage.checkpoint import CheckpointWarning

STORED = Path(__file__).parent / "stored" / "format-1"
FORMAT_2 = STORED.with_name("format-2")


def assert_forecasts(forecaster, expected):
    then = pd.read_csv(expected, parse_dates=["ds"])
    now = forecaster.predict()
    assert now[["unique_id", "ds"]].equals(then[["unique_id", "ds"]])
    np.testing.assert_allclose(now["lstm"], then["lstm"], rtol=1e-5)


def test_it_forecasts_what_it_did():
    assert_forecasts(Forecaster.load(STORED), STORED / "forecast.csv")


def test_its_state_is_read_and_its_training_is_not_continued(tmp_path):
    """Format 1 drew batches in another order and trained at other rates."""
    stored, config = checkpoint.load(STORED / CHECKPOINTS), read_config(STORED)
    assert stored.format_version == 1
    forecaster = Forecaster.load(STORED)
    network = network_for(None, config, forecaster.fitted.spec)
    state = stored_state(stored, network, config.optimizer, config.train)
    assert state.step.tolist() == [stored.step]
    assert forecaster.fitted.summary["best_step"] == state.best_step[0]
    run = tmp_path / "run"
    shutil.copytree(STORED, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    table = pd.read_csv(STORED / "table.csv", parse_dates=["ds"])
    with pytest.raises(CheckpointError, match=r"another order.*--finetune-from") as refused:
        Forecaster(config).resume(run, table)
    assert "\n" not in str(refused.value)
    (run / "lock").unlink()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    tuned = forecaster.finetune(table, options={"train.max_steps": 2})
    assert tuned.fitted.summary["steps"] == 2


def test_a_plateau_of_format_1_is_read():
    stored, config = checkpoint.load(STORED / CHECKPOINTS), read_config(STORED)
    forecaster = Forecaster.load(STORED)
    network = network_for(None, config, forecaster.fitted.spec)
    plateau = dataclasses.replace(config.optimizer, schedule="plateau")
    state = stored_state(stored, network, plateau, config.train)
    assert state.plateau.scale.tolist() == stored.arrays["state/plateau_scale"].tolist()
    assert state.plateau.bad_checks.tolist() == stored.arrays["state/plateau_count"].tolist()


def test_its_options_and_its_data_are_recognised():
    stored, config = checkpoint.load(STORED / CHECKPOINTS), read_config(STORED)
    assert agreed_config(config, config, STORED) == config
    panel = Forecaster.load(STORED).panel(pd.read_csv(STORED / "table.csv", parse_dates=["ds"]))
    check_data(stored.metadata["data_sha256"], panel_digest(panel), STORED, "table.csv")


@pytest.mark.parametrize("name", ["finetuned", "refit", "sweep/best"])
def test_runs_of_format_2_forecast_what_they_did(name):
    forecaster = Forecaster.load(FORMAT_2 / name)
    assert checkpoint.load(FORMAT_2 / name / CHECKPOINTS).format_version == 2
    assert_forecasts(forecaster, FORMAT_2 / name / "forecast.csv")
    assert (forecaster.fitted.refit is not None) == (name == "refit")
    assert kind_of(FORMAT_2 / "sweep") == "sweep"


def test_a_run_of_format_2_is_resumed_and_ends_with_its_weights(tmp_path):
    run, table = tmp_path / "run", pd.read_csv(FORMAT_2 / "table.csv", parse_dates=["ds"])
    shutil.copytree(FORMAT_2 / "finetuned", run)
    checkpoint.remove(run / CHECKPOINTS, 8)
    assert checkpoint.steps(run / CHECKPOINTS) == [4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)  # other versions of the libraries
        resumed = Forecaster().resume(run, table)
    assert_forecasts(resumed, FORMAT_2 / "finetuned" / "forecast.csv")
    assert_forecasts(Forecaster.load(run), FORMAT_2 / "finetuned" / "forecast.csv")


def test_the_first_weights_of_a_run_of_format_2_are_read():
    config, spec = read_config(FORMAT_2 / "finetuned"), Forecaster.load(FORMAT_2 / "finetuned").fitted.spec
    start = stored_start(FORMAT_2 / "finetuned", network_for(None, config, spec))
    assert all(np.isfinite(leaf).all() and leaf.any() for leaf in start.params.values())
