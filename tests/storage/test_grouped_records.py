import itertools

import numpy as np
import pytest

from lstmjax.storage.grouped_records import GroupedRecords

DTYPE = np.dtype([("group", np.int64), ("number", np.int64), ("cells", np.float64, (2,))])


def records(groups):
    made = np.zeros(len(groups), DTYPE)
    made["group"], made["number"] = groups, np.arange(len(groups))
    made["cells"] = made["number"][:, None] + [0.0, 0.5]
    return made


@pytest.mark.parametrize("order", ["grouped", "by time", "random"])
@pytest.mark.parametrize("most", [1, 7, 50, 10_000])
def test_groups_come_together_whatever_the_order(tmp_path, order, most):
    rng = np.random.default_rng(0)
    groups = {
        "grouped": np.sort(rng.integers(20, size=300)),
        "by time": np.tile(np.arange(20), 15),
        "random": rng.integers(20, size=300),
    }[order]
    whole = records(groups)
    kept = GroupedRecords(tmp_path, DTYPE)
    for first in range(0, 300, 64):
        kept.append(whole[first : first + 64])
    kept.append(whole[:0])
    for _ in range(2):
        parts = list(kept.parts(most))
        assert all(len(part) <= most or len(set(part["group"].tolist())) == 1 for part in parts)
        assert sum(len(part) for part in parts) == 300
        np.testing.assert_array_equal(np.concatenate(parts), whole[np.argsort(groups, kind="stable")])
    edges = [(part["group"][0], part["group"][-1]) for part in parts]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(edges))
