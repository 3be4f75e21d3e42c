"""The benchmark of streams runs, on a handful of series."""

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::lstmjax.data.table.DataWarning")


@pytest.fixture(scope="module")
def bench():
    folder = str(Path(__file__).parents[2] / "scripts")
    sys.path.insert(0, folder)
    import bench_stream

    yield bench_stream
    sys.path.remove(folder)


def test_every_part_measures_something(bench):
    small = bench.Benchmark(series=3, lookback=12, hidden_size=4, turns=2, rows=3, many=5)
    found = bench.several(small) | bench.single(small) | bench.many(small)
    assert len(found) == 13
    assert all(value > 0 for value in found.values())


def test_rows_come_hour_by_hour(bench):
    found = bench.table(range(2), 2, 5)
    assert found["unique_id"].tolist() == [0, 1, 0, 1]
    assert found["ds"].dt.hour.tolist() == [5, 5, 6, 6]
