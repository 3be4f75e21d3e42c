"""Rungs and brackets, against the papers."""

import pytest

from lstmjax.errors import ConfigError
from lstmjax.sweep import Halving

# Li et al., Hyperband, JMLR 18 (2018), Table 1: R = 81, eta = 3. (n_i, r_i) at each rung of each bracket s.
HYPERBAND = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(34, 3), (11, 9), (3, 27), (1, 81)],
    2: [(15, 9), (5, 27), (1, 81)],
    1: [(8, 27), (2, 81)],
    0: [(5, 81)],
}


def test_hyperbands_brackets_are_those_of_its_paper():
    halving = Halving(3, hyperband=True)
    brackets = halving.brackets(81 + 34 + 15 + 8 + 5, max_steps=81, every=1)
    assert len(brackets) == 5
    for (trials, steps), rungs in zip(brackets, HYPERBAND.values(), strict=True):
        counts = [trials]
        for _ in steps[1:]:
            counts.append(halving.survivors(counts[-1]))
        assert list(zip(counts, steps, strict=True)) == rungs


@pytest.mark.parametrize("trials", [1, 2, 7, 16, 64, 200])
def test_brackets_share_out_every_trial(trials):
    brackets = Halving(3, hyperband=True).brackets(trials, max_steps=270, every=10)
    assert sum(count for count, _ in brackets) == trials
    assert all(count > 0 for count, _ in brackets)
    if trials >= 16:
        assert [steps for _, steps in brackets] == [(10, 30, 90, 270), (30, 90, 270), (90, 270), (270,)]


@pytest.mark.parametrize(
    ("halving", "trials", "max_steps", "every", "steps"),
    [
        (Halving(3), 64, 810, 30, (30, 90, 270, 810)),
        (Halving(3), 64, 810, 90, (90, 270, 810)),  # no rung before the first check
        (Halving(3), 10, 810, 30, (90, 270, 810)),  # no rung for which there are too few trials
        (Halving(3, rungs=1), 64, 810, 30, (270, 810)),
        (Halving(2), 4, 100, 10, (20, 50, 100)),  # 25 is no check: rounded
        (Halving(3), 1, 810, 30, (810,)),
        (Halving(4), 64, 100, 60, (100,)),
        (Halving(3), 9, 1000, 100, (100, 300, 1000)),
    ],
)
def test_rungs_lie_on_checks(halving, trials, max_steps, every, steps):
    assert halving.brackets(trials, max_steps, every) == [(trials, steps)]


def test_64_trials_cost_less_than_a_quarter():
    halving = Halving(3)
    ((trials, steps),) = halving.brackets(64, max_steps=810, every=30)
    total, before = 0, 0
    for step in steps:
        total += trials * (step - before)
        trials, before = halving.survivors(trials), step
    assert total / (64 * 810) < 0.11


def test_invalid_halvings():
    with pytest.raises(ConfigError, match="halving is 1: expected at least 2"):
        Halving(1)
    with pytest.raises(ConfigError, match="the number of rungs is 0: expected at least 1"):
        Halving(3, rungs=0)
