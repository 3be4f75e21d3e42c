"""A checkpoint written by the first version of the format: every later version must read it.

``tests/stored/format-1`` is a run directory: `Forecaster.fit(table, directory=...)` on Python 3.11 with jax 0.10.2,
lstmjax 0.1.0; ``forecast.csv`` in it is what `predict` said then, ``table.csv`` the data. It is never made anew: a
change that breaks this test needs a higher `checkpoint.FORMAT_VERSION` and code that reads both.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from lstmjax import checkpoint, snapshot
from lstmjax.data.prepare import window_spec
from lstmjax.forecaster import Forecaster
from lstmjax.resume import agreed_config, check_data, read_config
from lstmjax.trainer import CHECKPOINTS

STORED = Path(__file__).parent / "stored" / "format-1"


def test_it_forecasts_what_it_did():
    then = pd.read_csv(STORED / "forecast.csv", parse_dates=["ds"])
    now = Forecaster.load(STORED).predict()
    assert now["ds"].tolist() == then["ds"].tolist()
    np.testing.assert_allclose(now["lstm"], then["lstm"], rtol=1e-5)


def test_it_can_be_gone_on_with():
    stored, config = checkpoint.load(STORED / CHECKPOINTS), read_config(STORED)
    assert agreed_config(config, config, STORED) == config
    forecaster = Forecaster.load(STORED)
    network = forecaster._network(window_spec(forecaster.fitted.tail, config.data))
    state = snapshot.stored_state(stored, network, config.optimizer, config.train)
    assert state.step.tolist() == [stored.step]
    assert forecaster.fitted.summary["best_step"] == state.best_step[0]
    panel = forecaster.panel(pd.read_csv(STORED / "table.csv", parse_dates=["ds"]))
    check_data(stored.metadata["data_sha256"], snapshot.panel_digest(panel), STORED, "table.csv")
