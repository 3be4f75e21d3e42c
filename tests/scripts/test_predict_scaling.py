"""The prediction of how one model trains on many devices."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

from lstmjax import parallel


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "scripts" / "predict_scaling.py"
    spec = importlib.util.spec_from_file_location("predict_scaling", path)
    module = sys.modules["predict_scaling"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_step_has_one_all_reduce_of_the_gradients(script):
    asked = script.Prediction(hidden_sizes=(8,), windows=(4,), input_size=4, h=2)
    program, (state, *_), _ = script.compiled(8, 8, 2, asked)
    parameters = sum(math.prod(leaf.shape[1:]) for leaf in state.params.values())
    assert script.summed(program.as_text()) == (1, 4 * (parameters + 2))  # the loss and the number of its values too
    alone, *_ = script.compiled(8, 4, 1, asked)
    assert script.summed(alone.as_text()) == (0, 0)
    assert parallel.device_count() == 2


def test_the_time_to_sum_is_that_of_the_better_way(script):
    slow, late = script.Network("", 1e6, 0.0), script.Network("", float("inf"), 1e-3)
    assert script.all_reduce_seconds(10**6, 1, slow) == 0
    assert script.all_reduce_seconds(10**6, 512, slow) == pytest.approx(2 * 511 / 512)  # a ring
    assert script.all_reduce_seconds(10**3, 512, late) == pytest.approx(18e-3)  # a tree


def test_a_step_measured_elsewhere(script, capsys):
    asked = script.Prediction(hidden_sizes=(8,), windows=(4,), input_size=4, h=2, step_seconds=1.0)
    script.main(asked, [script.Network("a network", 1e9, 1e-6)])
    assert "| 8 | 4 | 1000.0 ms | 1 | " in capsys.readouterr().out
