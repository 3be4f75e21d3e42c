"""The benchmark of the layer, on a shape so small that its numbers mean nothing."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_lstm.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_lstm", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_prints_a_table_and_writes_every_number(tmp_path):
    command = [sys.executable, SCRIPT, "--shapes", "tiny", "--rounds", "2", "--json", tmp_path / "bench.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "bench.json").read_text())

    with_torch = importlib.util.find_spec("torch") is not None
    peers = {"torch", "flax"} if with_torch else {"flax"}
    assert [(row["shape"], row["pass"]) for row in result["rows"]] == [
        ([32, 6, 3, 8], "forward"),
        ([32, 6, 3, 8], "forward+backward"),
    ]
    for row in result["rows"]:
        assert set(row["ms"]) == peers | {"lstmjax"}
        assert set(row["ratio"]) == peers
        assert all(ms > 0 for ms in row["ms"].values())
        assert 0 < row["fraction_of_peak"]["lstmjax"] < 1
        assert row["memory_bytes"]["lstmjax"] > 0
    assert set(result["geomean"]) == set(result["worst"]) == peers
    assert result["worst"]["flax"] == result["rows"][1]["ratio"]["flax"] == pytest.approx(result["geomean"]["flax"])
    assert ("torch is left out" in done.stdout) == (not with_torch)
    assert f"| 32, 6, 3, 8 | forward+backward | {result['rows'][1]['ms']['lstmjax']:.1f} |" in done.stdout


def test_ratios_are_peers_by_ours_paired_by_round(bench):
    times = {"lstmjax": [1.0, 2.0, 4.0], "flax": [2.0, 6.0, 4.0]}
    row = bench.summary((1, 1, 1, 1), "forward", {"lstmjax": 1.0, "flax": 1.0}, times, peak=1.0)
    assert row["ratio"] == {"flax": 2.0}  # the median of 2, 3 and 1
    assert row["ms"] == {"lstmjax": 2000.0, "flax": 4000.0}


def test_totals_count_forward_and_backward_only(bench):
    ratios = [("forward", 100.0), ("forward+backward", 0.5), ("forward", 100.0), ("forward+backward", 8.0)]
    rows = [{"pass": of, "ratio": {"torch": ratio, "flax": 3.0}} for of, ratio in ratios]
    totals = bench.totals(rows)
    assert totals["geomean"] == pytest.approx({"torch": 2.0, "flax": 3.0})
    assert totals["worst"] == {"torch": 0.5, "flax": 3.0}


def test_operations_are_those_of_the_products(bench):
    # One sequence of one step: x W and h U, then dz U' in the backward pass, and both weight gradients.
    assert bench.operations((1, 1, 3, 2), "forward") == 2 * (3 * 8 + 2 * 8)
    assert bench.operations((1, 1, 3, 2), "forward+backward") == 2 * (3 * 8 + 2 * 8 + 8 * 2 + 3 * 8 + 2 * 8)
