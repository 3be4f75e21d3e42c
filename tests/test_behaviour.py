"""What theory says of the errors on series whose laws are known, and that memory does not grow with the windows."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd

from lstmjax.config import RunConfig
from lstmjax.forecaster.forecaster import Forecaster

CONFIG = RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {
        "data.freq": "1",
        "data.season_length": 1,
        "model.hidden_size": 16,
        "model.head_size": 0,
        "optimizer.learning_rate": 5e-3,
        "optimizer.schedule": "cosine",
        "train.val_check_steps": 100,
        "train.batch_size": 128,
        "train.early_stop_patience_steps": -1,
    }
)


def errors(y, values):
    """Test errors of a forecaster trained on series y, shape (series, rows): an array of shape (windows, horizon)."""
    config = CONFIG.replace(values)
    count, rows = y.shape
    name, row = np.divmod(np.arange(count * rows), rows)
    table = pd.DataFrame({"unique_id": name, "ds": row, "y": y.reshape(-1)})
    frame = Forecaster(config).fit(table).evaluate(table)
    return (frame["lstm"] - frame["y"]).to_numpy().reshape(-1, config.data.h)


def test_one_step_ahead_on_an_ar2_process_the_error_is_that_of_the_noise():
    noise = np.random.default_rng(0).normal(0, 1, 12_000)
    y = np.zeros(len(noise))
    for t in range(2, len(y)):
        y[t] = 1.2 * y[t - 1] - 0.6 * y[t - 2] + noise[t]
    sizes = {"data.h": 1, "data.input_size": 8, "data.val_size": 1000, "data.test_size": 4000, "train.max_steps": 500}
    rmse = np.sqrt(np.square(errors(y[None], sizes)).mean())
    assert abs(rmse / noise[-4000:].std() - 1) < 0.05


def test_on_a_random_walk_the_error_grows_with_the_root_of_the_step():
    y = np.random.default_rng(1).normal(0, 1, (200, 200)).cumsum(axis=1)
    sizes = {"data.h": 8, "data.input_size": 8, "data.val_size": 20, "data.test_size": 60, "train.max_steps": 300}
    # One scale for all series: centred on its own training rows, a walk seems to return to where it was in training.
    options = {"model.residual": "naive", "data.scaler_scope": "global"}
    rmse = np.sqrt(np.square(errors(y, sizes | options)).mean(axis=0))
    np.testing.assert_allclose(rmse / rmse[0], np.sqrt(np.arange(1, 9)), rtol=0.15)


def test_memory_does_not_grow_with_the_number_of_windows(calls):
    program = textwrap.dedent(
        """
        import json, os, resource
        from types import SimpleNamespace
        import jax, numpy as np, pandas as pd
        from lstmjax import Forecaster, RunConfig

        table = pd.DataFrame({
            "ds": pd.date_range("2020-01-01", periods=20_000, freq="h"),
            "y": np.random.default_rng(0).normal(size=20_000),
        })

        def train(step_size):
            held = []
            config = RunConfig.from_json('{"format_version": 1}').replace({
                "data.h": 32, "data.input_size": 32, "data.val_size": 960, "data.step_size": step_size,
                "model.hidden_size": 256, "train.max_steps": 2, "train.val_check_steps": 1, "train.batch_shards": 1,
            })
            device = lambda check: held.append(sum(array.nbytes for array in jax.live_arrays()))
            Forecaster(config).fit(table, callbacks=[SimpleNamespace(on_check=device)])
            process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"process": process, "device": max(held)}), flush=True)

        # Each in a process of its own, as memory is that of a process; all is imported once.
        for step_size in (24, 1):
            if os.fork() == 0:
                train(step_size)
                os._exit(0)
            assert os.wait()[1] == 0
        """
    )
    # More is computed here than compiled; and compiled in one piece, as the memory of several at once varies.
    flags = "--xla_cpu_parallel_codegen_split_count=1"
    optimized = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "XLA_FLAGS": flags}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=optimized)
    found = dict(zip((24, 1), map(json.loads, done.stdout.splitlines()), strict=True))
    assert abs(found[1]["process"] / found[24]["process"] - 1) < 0.10
    assert abs(found[1]["device"] / found[24]["device"] - 1) < 0.10
