"""A state saved on four devices comes back on two and on one: the same numbers; further training within rounding."""

import signal

import numpy as np

from lstmjax import checkpoint

PLACED = """
import numpy as np, sys
from pathlib import Path
import jax
from lstmjax import checkpoint, parallel, snapshot
from lstmjax.config import RunConfig
from lstmjax.forecaster import Forecaster
from lstmjax.training.plan import fill_members

assert len(jax.devices()) == {devices}
directory = Path({directory!r})
stored = checkpoint.load(directory / "checkpoints")
forecaster = Forecaster.load(directory)
spec = forecaster._network
config = forecaster.config
from lstmjax.data.prepare import window_spec
network = spec(window_spec(forecaster.fitted.tail, config.data))
state = snapshot.stored_state(stored, network, config.optimizer, config.train)
mesh = parallel.make_mesh(1, {devices})
placed = fill_members(state, 1, mesh)
assert all(len(leaf.devices()) == {devices} for leaf in jax.tree.leaves(placed))
arrays = {{name: np.asarray(array) for name, array in snapshot.state_arrays(placed).items()}}
np.savez({out!r}, **arrays)
np.save({out!r} + ".forecast", forecaster.predict()["lstm"].to_numpy())
"""


def test_four_two_one(start, options, whole, after, tmp_path):
    shards = [option for option in options if "batch-s" not in option] + ["--train.batch-size=64"]
    directory = tmp_path / "run"
    command = start(*shards, "--train.batch-shards=4", "--run-dir", directory, devices=4)
    for devices in (2, 1):
        after(command, directory, 8 if devices == 2 else 16)
        command.signal(signal.SIGTERM)
        assert command.wait() == 143, command.stderr
        stored = checkpoint.load(directory / "checkpoints")
        forecasts = []
        for number in (4, 2, 1):
            out = tmp_path / f"{devices}-{number}"
            placed = start(code=PLACED.format(devices=number, directory=str(directory), out=str(out)), devices=number)
            assert placed.wait() == 0, placed.stderr
            with np.load(f"{out}.npz") as arrays:
                for name in arrays:
                    assert arrays[name].tobytes() == stored.arrays[name].tobytes(), name
            forecasts.append(np.load(f"{out}.forecast.npy"))
        np.testing.assert_allclose(forecasts[1:], [forecasts[0]] * 2, rtol=1e-6)
        command = start("train", "--resume", directory, devices=devices)
    assert command.wait() == 0, command.stderr
    assert "sums are rounded differently" in command.stderr
    alone = start(*shards, "--train.batch-shards=1", "--run-dir", tmp_path / "alone")
    assert alone.wait() == 0, alone.stderr
    ours, theirs = (checkpoint.load(path / "checkpoints") for path in (directory, tmp_path / "alone"))
    assert ours.step == theirs.step
    for name, array in theirs.arrays.items():
        if name.startswith("state/.params"):
            np.testing.assert_allclose(ours.arrays[name], array, rtol=1e-3, atol=1e-5)
