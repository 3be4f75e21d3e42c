"""Blocks of trials: each member as if it were alone, whoever is trained beside it, pruned, out of memory or cut off."""

import math

import numpy as np
import pytest

from lstmjax.sweep import Halving, train_block

RATES = [0.001, 0.01, 0.03, 0.1, 0.3, 0.0003, 0.02, 0.003, 0.0001]


@pytest.fixture(scope="module")
def whole(panel, small):
    """Nine trials without pruning, and what was reported of them."""
    reports = []
    outcomes = train_block(small.base, panel, small.rates, small.trials_at(RATES), on_report=reports.append)
    return outcomes, reports


def test_every_trial_comes_to_an_outcome(whole, small):
    outcomes, reports = whole
    assert [outcome.number for outcome in outcomes] == list(range(9))
    assert {outcome.state for outcome in outcomes} == {"COMPLETE"}
    for outcome in outcomes:
        assert outcome.steps == 27
        assert list(outcome.intermediate) == [3, 6, 9, 12, 15, 18, 21, 24, 27]
        assert outcome.value == outcome.intermediate[outcome.fitted[0].summary["best_step"]]
        assert outcome.value_std is None
        assert outcome.fitted[0].config.optimizer.learning_rate == RATES[outcome.number]
    assert reports[-1].member_steps == 9 * 27
    assert reports[-1].values == {outcome.number: outcome.value for outcome in outcomes}
