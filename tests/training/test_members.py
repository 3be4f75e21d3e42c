"""Members with windows, counts and statistics of their own: each equals a run of its own."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig, OptimizerConfig, TrainConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.data.scaling import rescaling, scale
from lstmjax.data.windows import Rescaling
from lstmjax.errors import DataError
from lstmjax.training import Objective, Units, train
from lstmjax.training.objective import Measure

# A schedule that counts epochs. Adam and clipping would double the time to compile: test_loop.py has them.
OPTIMIZER = OptimizerConfig(name="sgd", clip_norm=None, learning_rate=0.02, schedule="step", decay_rate=0.5)
CONFIG = TrainConfig(
    loss="mse",
    max_steps=24,
    batch_size=8,
    batch_shards=1,
    val_check_steps=5,
    chunk_steps=4,
    early_stop_patience_steps=-1,
)


@pytest.fixture(scope="module")
def folds(data, tools):
    """Three members: fewer windows, others, all; validated on different windows, as many each.

    Populations are of three or four members, which are compiled alike.
    """
    cuts = ((6, 30, 30), (10, 55, 43), (6, 54, 54))
    return [data._replace(train=tools.make_windows(a, b), validation=tools.make_windows(c, c + 20)) for a, b, c in cuts]


def test_each_equals_a_run_of_its_own(tiny, folds, tools, calls):
    checks = []
    together = train(tiny, folds, OPTIMIZER, CONFIG, seeds=[0, 1, 2], callbacks=[calls(on_check=checks.append)])
    for number, data in enumerate(folds):
        own = []
        alone = train(tiny, data, OPTIMIZER, CONFIG, seeds=[number], callbacks=[calls(on_check=own.append)])
        assert tools.same_bytes(tools.member(together.state, number), tools.member(alone.state, 0))
        assert [check.val_loss[number] for check in checks] == [check.val_loss[0] for check in own]
        assert [check.learning_rate[number] for check in checks] == [check.learning_rate[0] for check in own]
    rates = {tuple(check.learning_rate[number] for check in checks) for number in range(3)}
    assert len(rates) == 3  # epochs of different lengths


def test_the_mapping_the_chunks_and_the_neighbours_change_nothing(tiny, folds, tools):
    together = train(tiny, folds, OPTIMIZER, CONFIG, seeds=[0, 1, 2])
    part = train(tiny, folds, OPTIMIZER, CONFIG, seeds=[0, 1, 2], until=11)
    resumed = train(
        tiny, folds, OPTIMIZER, dataclasses.replace(CONFIG, chunk_steps=3), seeds=[0, 1, 2], state=part.state
    )
    assert tools.same_bytes(together.state, resumed.state)
    four = train(tiny, [folds[0], folds[2], folds[1], folds[2]], OPTIMIZER, CONFIG, seeds=[5, 2, 1, 6])
    assert tools.same_bytes(tools.member(together.state, 1), tools.member(four.state, 2))
    assert tools.same_bytes(tools.member(together.state, 2), tools.member(four.state, 1))
    batched = train(tiny, folds, OPTIMIZER, CONFIG, seeds=[0, 1, 2], mapping="vmap")
    for name, leaf in together.state.params.items():
        np.testing.assert_allclose(batched.state.params[name], leaf, rtol=1e-4, atol=1e-6)


def test_another_number_of_windows_compiles_nothing(tiny, folds, tools):
    train(tiny, folds, OPTIMIZER, CONFIG, seeds=[0, 1, 2])
    before = tools.Tiny.traces
    train(tiny, [folds[1], folds[2], folds[0]], OPTIMIZER, CONFIG, seeds=[0, 1, 2])
    assert tools.Tiny.traces == before


def test_statistics_of_its_own(tiny, folds, data, tools):
    """The panel in other units, told as a rescaling, is the panel scaled by other statistics, within rounding."""
    factor, shift = np.float32(0.4), np.float32(-1.3)
    empty = np.zeros(0, np.float32)
    own = Rescaling(np.full((1, 1), factor), np.full((1, 1), shift), *(empty,) * 6, series=np.zeros(1, np.int32))
    same = own._replace(y_factor=np.ones((1, 1), np.float32), y_shift=np.zeros((1, 1), np.float32))
    rescaled = [fold._replace(rescaling=one) for fold, one in zip(folds, (own, same, same), strict=True)]
    together = train(tiny, rescaled, OPTIMIZER, CONFIG, seeds=[0, 1, 2])
    moved = folds[0]._replace(arrays=data.arrays._replace(y=data.arrays.y * factor + shift))
    alone = train(tiny, moved, OPTIMIZER, CONFIG, seeds=[0])
    for name, leaf in alone.state.params.items():
        np.testing.assert_allclose(together.state.params[name][0], leaf[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(together.state.best_loss[0], alone.state.best_loss[0], rtol=1e-5)
    plain = train(tiny, folds[1], OPTIMIZER, CONFIG, seeds=[1])
    assert tools.same_bytes(tools.member(together.state, 1).params, tools.member(plain.state, 0).params)


@pytest.mark.parametrize("options", [{}, {"scaler_scope": "global"}, {"scaler": "robust", "calendar": ("hour",)}])
def test_a_rescaling_is_the_other_scaling(options):
    """Every array of a panel, in the units of statistics fitted on fewer rows."""
    rng = np.random.default_rng(0)
    rows = 120
    table = pd.concat(
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=rows, freq="h"),
                "y": 10 * number + rng.normal(size=rows).cumsum(),
                "x": rng.normal(size=rows) * 3 + 1,
                "s": float(number),
            }
        )
        for number, name in enumerate("ab")
    )
    config = DataConfig(h=6, input_size=12, hist_exog=("x",), stat_exog=("s",), val_size=12, test_size=12, **options)
    panel = panel_from_table(table, config)
    base = prepare(panel, config, with_test=True)
    fewer = prepare(panel, dataclasses.replace(config, test_size=48), with_test=True)
    found = rescaling(base.scaling, fewer.scaling, base.arrays)
    expected = scale(panel, fewer.scaling)
    series = np.repeat([0, 1], panel.lengths)
    known = base.arrays.y * found.y_factor[series] + found.y_shift[series]
    np.testing.assert_allclose(np.where(base.arrays.y_mask, known, 0), expected.y, atol=1e-5)
    for name in ("hist", "futr", "stat"):
        there = getattr(base.arrays, name) * getattr(found, f"{name}_factor") + getattr(found, f"{name}_shift")
        there = there if name == "stat" else np.where(getattr(base.arrays, f"{name}_mask"), there, 0)
        np.testing.assert_allclose(there, getattr(expected, name), atol=1e-5)


def test_a_sweep_s_objective_is_in_each_member_s_own_units(tiny, folds, calls):
    units = [Units(*(np.full((1, 1), v, np.float32) for v in (0.0, spread, 1.0))) for spread in (1.0, 3.0, 2.0)]
    each = zip(folds, units, strict=True)
    measured = [fold._replace(objective=Objective(Measure("mae"), own)) for fold, own in each]
    checks = []
    train(tiny, measured, OPTIMIZER, CONFIG, seeds=[0, 1, 2], callbacks=[calls(on_check=checks.append)])
    np.testing.assert_allclose(checks[0].objective / checks[0].val_mae, [1.0, 3.0, 2.0], rtol=1e-5)


def test_members_that_cannot_be_trained_together_are_refused(tiny, folds, data, tools):
    few = folds[0]._replace(train=tools.make_windows(6, 11))
    with pytest.raises(ValueError, match="batches of one size"):
        train(tiny, [folds[0], few], OPTIMIZER, CONFIG, seeds=[0, 1])
    other = folds[1]._replace(arrays=tools.make_arrays(tools.series()))
    with pytest.raises(ValueError, match="one panel"):
        train(tiny, [folds[0], other], OPTIMIZER, CONFIG, seeds=[0, 1])
    with pytest.raises(ValueError, match="validation windows"):
        train(tiny, [folds[0], data._replace(validation=tools.make_windows(0, 0))], OPTIMIZER, CONFIG, seeds=[0, 1])
    with pytest.raises(ValueError, match="for each of 3 members, got 2"):
        train(tiny, folds[:2], OPTIMIZER, CONFIG, seeds=[0, 1, 2])
    with pytest.raises(DataError, match="no window to train on"):
        train(tiny, [folds[0], data._replace(train=tools.make_windows(0, 0))], OPTIMIZER, CONFIG, seeds=[0, 1])


def test_one_data_for_all_and_the_same_for_each_are_alike(tiny, data, tools):
    def own():  # three members have as many windows as all folds
        return data._replace(train=tools.make_windows(6, 46), validation=tools.make_windows(54, 74))

    one = train(tiny, own(), OPTIMIZER, CONFIG, seeds=[0, 1, 2])
    each = train(tiny, [own() for _ in range(3)], OPTIMIZER, CONFIG, seeds=[0, 1, 2])
    assert tools.same_bytes(one.state, each.state)
