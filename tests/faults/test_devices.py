"""A state comes back on four devices, on two and on one: the same numbers; further training within rounding."""

import signal

import numpy as np
import pytest

from lstmjax.storage import checkpoint

# What a resume does before the first step, and what a save does after it.
PLACED = """
from pathlib import Path
import jax
import numpy as np
from lstmjax import parallel
from lstmjax.storage import checkpoint
from lstmjax.forecaster.checkpoints import state_arrays, stored_state
from lstmjax.forecaster.network import network_for
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.training.plan import fill_members

assert len(jax.devices()) == {devices}
forecaster = Forecaster.load(Path({directory!r}))
config, network = forecaster.config, network_for(None, forecaster.config, forecaster.fitted.spec)
stored = checkpoint.load(Path({directory!r}) / "checkpoints")
state = stored_state(stored, network, config.optimizer, config.train)
placed = fill_members(state, 1, parallel.make_mesh(1, {devices}))
assert all(len(leaf.devices()) == {devices} for leaf in jax.tree.leaves(placed))
checkpoint.save({out!r}, stored.step, state_arrays(placed), {{}})
"""


def assert_placed_exactly(start, directory, tmp_path):
    stored = checkpoint.load(directory / "checkpoints")
    commands = []
    for devices in (4, 2, 1):
        code = PLACED.format(devices=devices, directory=str(directory), out=str(tmp_path / f"{stored.step}-{devices}"))
        commands.append(start(code=code, devices=devices))
    for devices, command in zip((4, 2, 1), commands, strict=True):
        assert command.wait() == 0, command.stderr
        placed = checkpoint.load(tmp_path / f"{stored.step}-{devices}").arrays
        assert {name for name in stored.arrays if name.startswith("state/")} == placed.keys()
        for name, array in placed.items():
            assert array.tobytes() == stored.arrays[name].tobytes(), name


def test_a_state_is_the_same_on_any_number_of_devices(start, whole, tmp_path):
    assert_placed_exactly(start, whole, tmp_path)


@pytest.mark.slow
def test_a_run_goes_from_four_devices_to_two_to_one(start, options, after, tmp_path):
    shards = [*(option for option in options if "batch-s" not in option), "--train.batch-size=64"]
    directory = tmp_path / "run"
    command = start(*shards, "--train.batch-shards=4", "--run-dir", directory, devices=4)
    for devices, checks in ((2, 8), (1, 16)):
        after(command, directory, checks)
        command.signal(signal.SIGTERM)
        assert command.wait() == 143, command.stderr
        assert_placed_exactly(start, directory, tmp_path)
        command = start("train", "--resume", directory, devices=devices)
    assert command.wait() == 0, command.stderr
    assert "sums are rounded differently" in command.stderr
    alone = start(*shards, "--train.batch-shards=1", "--run-dir", tmp_path / "alone")
    assert alone.wait() == 0, alone.stderr
    ours, theirs = (checkpoint.load(path / "checkpoints") for path in (directory, tmp_path / "alone"))
    assert ours.step == theirs.step
    for name, array in theirs.arrays.items():
        if name.startswith("state/params"):
            np.testing.assert_allclose(ours.arrays[name], array, rtol=1e-3, atol=1e-5)
