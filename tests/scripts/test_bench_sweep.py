"""The benchmark of populations, on a shape so small that its numbers mean nothing."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_sweep.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_sweep", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_sweep"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_run_prints_a_table_and_writes_every_number(tmp_path):
    command = [sys.executable, SCRIPT, "--shapes", "tiny", "--rounds", "2", "--members", "2"]
    done = subprocess.run(
        [*command, "--json", tmp_path / "bench.json"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "bench.json").read_text())
    (row,) = result["rows"]
    assert row["shape"] == [4, 6, 3, 4]
    here = {"lstmjax", "sequential", "vmap"}
    here |= {name for name in ("torch", "neuralforecast") if importlib.util.find_spec(name) is not None}
    assert set(row["ms_per_member_step"]) == {"lstmjax", "sequential", "vmap", "torch", "neuralforecast"}
    assert {name for name, ms in row["ms_per_member_step"].items() if ms is not None} == here
    assert set(row["ratio"]) == here - {"lstmjax"}
    assert all(ratio > 0 for ratio in row["ratio"].values())
    assert row["block_memory"]["states_bytes"] > 0
    assert f"| 4, 6, 3, 4 | {row['ms_per_member_step']['lstmjax']:.2f} |" in done.stdout


def test_its_populations_train(bench, monkeypatch):
    monkeypatch.setattr(bench, "SECONDS_A_TURN", 0.01)
    population = bench.Population((4, 6, 3, 4), 2)
    before = population.state.params
    assert population.turn() > 0
    assert population.state.step.tolist() == [population.step] * 2
    assert all((population.state.params[name] != before[name]).any() for name in before)


def test_ratios_are_peers_by_ours_paired_by_round(bench):
    times = {"lstmjax": [1.0, 2.0, 4.0], "torch": [2.0, 6.0, 4.0]}
    row = bench.summary((32, 96, 7, 64), times)
    assert row["ratio"] == {"torch": 2.0}  # the median of 2, 3 and 1
    assert row["ms_per_member_step"] == {
        "lstmjax": 2000.0, "sequential": None, "vmap": None, "torch": 4000.0, "neuralforecast": None,
    }  # fmt: skip
    assert row["against_reference"] == {"torch": pytest.approx(4000.0 / 5.8)}
    assert row["member_steps_per_second"]["lstmjax"] == 0.5
