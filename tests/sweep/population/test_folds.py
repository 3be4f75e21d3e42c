"""Folds: each is what a run of its own would be, sees nothing after its validation rows, and counts in the mean."""

import dataclasses
import statistics

import jax
import numpy as np
import pandas as pd
import pytest

from lstmjax import training
from lstmjax.data.build import panel_from_table
from lstmjax.data.folds import Folds, prepare_folds
from lstmjax.data.prepare import prepare
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError
from lstmjax.sweep import Halving, Interrupted, SweepConfig, Trial
from lstmjax.sweep.population.folds import common_windows
from lstmjax.sweep.population.population import make_populations

THREE = Folds(3)
RATES = [0.01, 0.03, 0.3, 0.0003]


@pytest.fixture(scope="module")
def folded(panel, small):
    """Four trials of three folds."""
    return small.train(panel, small.trials_at(RATES), folds=THREE)


def rich_table(rows=(110, 130, 60)):
    """Series of different lengths, the last too short for the earliest fold, with text that appears late."""
    rng = np.random.default_rng(3)
    parts = []
    for number, count in enumerate(rows):
        ds = pd.date_range("2024", periods=count, freq="h")
        sky = np.where(np.arange(count) % 5 < 3, "sun", "rain").astype(object)
        sky[-30:] = np.where(np.arange(30) % 2, "snow", "fog")
        y = 10.0 * number + rng.normal(size=count).cumsum()
        y[5:8] = np.nan
        parts.append(
            pd.DataFrame({"unique_id": f"s{number}", "ds": ds, "y": y, "sky": sky, "x": rng.normal(size=count)})
        )
    return pd.concat(parts, ignore_index=True)


def rich_base(small, **options):
    return small.base.replace({"data.hist_exog": ("sky", "x"), "train.max_steps": 6, **options})


def population(base, panel, small, folds=THREE):
    (found,), refused = make_populations(
        base, panel, small.space, [Trial(0, {})], seeds=1, metric="scaled_mae", folds=folds
    )
    assert not refused
    return found


def trained(found):
    """The members of a population, trained together."""
    config = found.config
    numbers = [member.numbers for member in found.members]
    asked = {"hyperparameters": numbers, "mapping": "map"}
    return training.train(found.network, found.data(range(len(numbers))), config.optimizer, config.train, **asked)


# --- each fold


@pytest.mark.filterwarnings("ignore::lstmjax.data.table.DataWarning")
@pytest.mark.parametrize("options", [{}, {"data.scaler": "robust", "data.scaler_scope": "global"}])
def test_each_equals_a_run_on_the_rows_up_to_its_end(small, options):
    """The rows after the fold's validation part are cut off, and the run holds out the same validation rows."""
    table, base = rich_table(), rich_base(small, **options)
    panel = panel_from_table(table, base.data)
    found = population(base, panel, small)
    together = trained(found)
    data = dataclasses.replace(base.data, test_size=0)
    categories = found.prepared.scaling.categories
    for fold in (0, 2):  # for each its sizes are compiled
        cut = table[~late(table, 12 + 20 * fold)]  # test rows, and validation rows of later folds
        one = prepare(panel_from_table(cut, data), data, with_test=False, categories=categories)
        alone = training.train(
            found.network,
            training.TrainingData(one.arrays, one.train, one.validation, one.spec),
            found.config.optimizer,
            found.config.train,
            hyperparameters=[found.members[0].numbers],
        )
        for name, leaf in alone.state.best_params.items():
            np.testing.assert_allclose(together.state.best_params[name][fold], leaf[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(together.state.best_loss[fold], alone.state.best_loss[0], rtol=1e-5)
    assert set(found.folds[2].train.series) == {0, 1}  # the third series has no training rows so early


def late(table, rows):
    """Which rows are among the last of their series."""
    series = table.groupby("unique_id")
    return series.cumcount() >= series["ds"].transform("size") - rows


@pytest.mark.filterwarnings("ignore::lstmjax.data.table.DataWarning")
@pytest.mark.parametrize("fold", [0, 1, 2])
def test_rows_after_its_validation_rows_change_no_byte_of_it(small, fold):
    table, base = rich_table(), rich_base(small)
    before = trained(population(base, panel_from_table(table, base.data), small))
    changed = table.copy()
    rows = late(table, 12 + 20 * fold)
    count = rows.sum()
    assert count == 3 * (12 + 20 * fold)
    rng = np.random.default_rng(fold)
    changed.loc[rows, "y"] = rng.normal(1e3, 1e2, count)
    changed.loc[rows, "x"] = rng.normal(-50, 9, count)
    changed.loc[rows, "sky"] = rng.choice(["sun", "fog", "rain"], count)
    after = trained(population(base, panel_from_table(changed, base.data), small))
    differ = [not small.same_bytes(*(member(result, number) for result in (before, after))) for number in range(3)]
    assert differ == [number < fold for number in range(3)]


def member(result, number):
    """All of its state: its weights, those that validation selected, and their loss."""
    return jax.tree.map(lambda leaf: leaf[number], result.state)


def test_test_rows_change_no_value(folded, panel, small):
    y = panel.y.copy()
    y[-12:] *= 3
    assert [
        outcome.value
        for outcome in small.train(dataclasses.replace(panel, y=y), small.trials_at(RATES[:2]), folds=THREE)
    ] == [outcome.value for outcome in folded[:2]]


# --- the value


def test_a_value_is_the_mean_over_folds_and_seeds(panel, small):
    (outcome,) = small.train(panel, small.trials_at([0.03]), folds=THREE, seeds=2)
    alone = [Trial(seed, {"optimizer.learning_rate": 0.03, "train.seed": seed}) for seed in (0, 1)]
    one, two, three = (
        [single.value for single in small.train(panel, alone, folds=folds)] for folds in (Folds(1), Folds(2), THREE)
    )
    members = [value for a, b, c in zip(one, two, three, strict=True) for value in (a, 2 * b - a, 3 * c - 2 * b)]
    assert outcome.value == pytest.approx(statistics.fmean(members), rel=1e-5)
    assert outcome.value_std == pytest.approx(statistics.stdev(members), rel=1e-3)
    assert outcome.steps == 6 * 27
    assert [fitted.config.train.seed for fitted in outcome.fitted] == [0, 1]


def test_the_weights_kept_are_those_of_the_split_of_a_run(folded, panel, small):
    alone = small.train(panel, small.trials_at(RATES))
    for ours, theirs in zip(folded, alone, strict=True):
        (one,), (other,) = ours.fitted, theirs.fitted
        assert one.selected.scaling.y_center == other.selected.scaling.y_center
        for name, leaf in other.selected.weights.params.items():
            # Of the whole array: 27 steps of Adam make rounding of single small weights visible.
            apart = np.linalg.norm(one.selected.weights.params[name] - leaf)
            assert apart <= 1e-4 * max(float(np.linalg.norm(leaf)), 0.1), name
        assert [line["step"] for line in ours.logs[0]] == [line["step"] for line in theirs.logs[0]]
        # Rounding grows with the steps of a high learning rate, so that the last losses agree less well.
        losses = [[line["val_loss"] for line in log[:4]] for log in (ours.logs[0], theirs.logs[0])]
        np.testing.assert_allclose(*losses, rtol=1e-4)


# --- together


def test_halving_prunes_settings_with_all_their_folds(folded, panel, small):
    rates = [*RATES, 0.1, 0.001, 0.003, 0.02, 1e-4]
    outcomes = small.train(panel, small.trials_at(rates), folds=THREE, halving=Halving(3))
    assert sorted(outcome.steps for outcome in outcomes) == [3 * 3] * 6 + [3 * 9] * 2 + [3 * 27]
    whole = small.train(panel, small.trials_at(rates), folds=THREE)
    first = sorted(range(9), key=lambda number: whole[number].intermediate[3])
    assert {outcome.number for outcome in outcomes if outcome.state == "PRUNED" and outcome.steps == 9} == set(
        first[3:]
    )
    best = next(outcome for outcome in outcomes if outcome.state == "COMPLETE")
    assert best.value == whole[best.number].value


def test_a_block_that_is_interrupted_ends_with_the_same_values(folded, panel, small, tmp_path):
    calls = iter(range(10_000))
    with pytest.raises(Interrupted):
        small.train(panel, small.trials_at(RATES), folds=THREE, state_dir=tmp_path, should_stop=lambda: next(calls) > 6)
    outcomes = small.train(panel, small.trials_at(RATES), folds=THREE, state_dir=tmp_path)
    for ours, theirs in zip(outcomes, folded, strict=True):
        assert (ours.value, ours.value_std, ours.intermediate) == (theirs.value, theirs.value_std, theirs.intermediate)


def test_parts_of_a_population_share_one_program(folded, panel, small, compilations):
    """Two members at a time, of whichever folds."""
    before = len(compilations)
    small.train(panel, small.trials_at(RATES[:3]), folds=THREE)
    small.train(panel, small.trials_at(RATES[:1]), folds=THREE, seeds=2)
    assert len(compilations) == before


def test_a_fold_with_few_windows_sets_the_batches_of_all(panel, small):
    """The last fold has 12 training rows, and so 5 windows."""
    found = population(small.base, panel, small, folds=Folds(2, 66))
    assert found.config.train.batch_size == len(found.folds[1].train.series) == 5
    (outcome,) = small.train(panel, [Trial(0, {})], folds=Folds(2, 66))
    assert outcome.state == "COMPLETE"
    assert outcome.fitted[0].config.train.batch_size == 12


# --- what can be asked for


def test_timestamps_may_split_the_rows(panel, small):
    ends = {"train_end": str(panel.timestamp(0, 77)), "val_end": str(panel.timestamp(0, 97))}
    data = dataclasses.replace(small.base.data, val_size=None, test_size=None, **ends)
    by_time, by_size = (prepare_folds(panel, config, THREE) for config in (data, small.base.data))
    for one, other in zip(by_time, by_size, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.split, other.split, strict=True))
        assert one.scaling.y_center == other.scaling.y_center


@pytest.mark.parametrize("origins", ["4", "06:00"])
def test_forecasts_begin_on_the_grid_in_every_fold(panel, small, origins):
    """A fold that ends 7 rows earlier keeps the grid, though it is counted back from the last row."""
    data = dataclasses.replace(small.base.data, origins=origins, val_size=30)
    whole = prepare(panel, data, with_test=True)
    period, offset = (4, len(panel.y) % 4) if origins == "4" else (24, 6)
    for one in prepare_folds(panel, data, Folds(3, 7)):
        for windows in (one.train, one.validation):
            assert len(windows.origin)
            assert set(np.asarray(windows.origin) % period) == {offset}
    assert set(np.asarray(whole.validation.origin) % period) == {offset}


def test_more_folds_than_there_are_rows_for_are_refused(panel, small):
    message = r"sweep.folds is 6, with 20 rows .*: fold 4 would have no rows to train on; give at most 4 folds"
    with pytest.raises(ConfigError, match=message):
        prepare_folds(panel, small.base.data, Folds(6))
    assert len(prepare_folds(panel, small.base.data, Folds(4))) == 4


def test_a_fold_without_a_validation_target_is_named(panel, small):
    y = panel.y.copy()
    y[38:58] = np.nan
    with (
        pytest.raises(ConfigError, match=r"fold 2 \(validated up to 40 rows earlier\): there is no validation window"),
        pytest.warns(match="fold 2 .*no validation row has a target"),
    ):
        small.train(dataclasses.replace(panel, y=y), [Trial(0, {})], folds=THREE)


def test_a_step_without_folds_is_refused():
    with pytest.raises(ConfigError, match="sweep.fold_step is 5, and there is one fold"):
        SweepConfig(fold_step=5)
    assert SweepConfig(folds=2, fold_step=5).folds == 2


def test_all_trials_are_validated_on_windows_that_the_longest_lookback_fits():
    windows = Windows(np.array([0, 0, 1, 1], np.int32), np.array([5, 6, 3, 9], np.int32))
    assert common_windows(windows, 6).origin.tolist() == [6, 9]
    assert common_windows(windows, 100).origin.tolist() == [5, 6, 3, 9]
