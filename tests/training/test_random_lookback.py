"""``train.random_lookback``: training sees the last rows of a window only, validation and forecasts all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lstmjax import Forecaster, RunConfig, models
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.data.windows import shortened
from lstmjax.training import TrainingData, functional
from lstmjax.training.hyperparameters import Hyperparameters
from lstmjax.training.loop import _first_state
from lstmjax.training.plan import make_plan
from lstmjax.window import WindowBatch

CONFIG = RunConfig().replace(
    {
        "data.h": 3,
        "data.input_size": 6,
        "data.val_size": 12,
        "data.futr_exog": ("f",),
        "model.name": "direct",
        "model.hidden_size": 4,
        "train.max_steps": 4,
        "train.val_check_steps": 4,
        "train.batch_size": 8,
        "train.batch_shards": 1,
    }
)
TABLE = pd.DataFrame(
    {"ds": pd.date_range("2024-01-01", periods=60, freq="h"), "y": np.sin(np.arange(60) / 3), "f": np.arange(60) % 5}
)


def test_the_first_rows_of_a_lookback_are_masked():
    ones, yes = jnp.ones((2, 4, 1)), jnp.ones((2, 4, 1), bool)
    future, known = jnp.ones((2, 6, 1)), jnp.ones((2, 6, 1), bool)
    window = WindowBatch(ones, yes, ones, yes, future, known, jnp.ones((2, 0)), jnp.zeros(2, jnp.int32))
    found = jax.jit(shortened)(window, jnp.array([1, 4]))
    assert found.y[..., 0].tolist() == [[0, 0, 0, 1], [1, 1, 1, 1]]
    assert found.hist_mask[..., 0].tolist() == [[False, False, False, True], [True] * 4]
    assert found.futr_exog[..., 0].tolist() == [[0, 0, 0, 1, 1, 1], [1] * 6]
    np.testing.assert_array_equal(found.y_mask, found.y == 1)
    np.testing.assert_array_equal(found.futr_mask, found.futr_exog == 1)


def programs(config):
    """The text of the compiled training and of the validation."""
    prepared = prepare(panel_from_table(TABLE, config.data), config.data, with_test=False)
    data = TrainingData(prepared.arrays, prepared.train, prepared.validation, prepared.spec)
    structure, first = functional(models.Builder(prepared.spec, config.model))
    hyper = Hyperparameters.from_config(config.optimizer, config.train, seed=0)
    plan = make_plan(structure, data, config.optimizer, config.train, [hyper], None)
    state = plan.with_state(_first_state(plan, first))
    return plan.programs.run.lower(state, plan.span(1)).as_text(), plan.programs.check.lower(state, plan.held).as_text()


def test_it_acts_in_training_only():
    (train, check), (other_train, other_check) = (
        programs(CONFIG.replace({"train.random_lookback": random})) for random in (False, True)
    )
    assert train != other_train
    assert check == other_check


def test_it_trains_other_weights_and_forecasts_from_all_rows():
    plain, random = (
        Forecaster(CONFIG.replace({"train.random_lookback": on})).fit(TABLE.assign(f=TABLE["f"] * 1.0))
        for on in (False, True)
    )
    assert any(
        (plain.fitted.selected.weights.params[name] != leaf).any()
        for name, leaf in random.fitted.selected.weights.params.items()
    )
    future = pd.DataFrame({"ds": pd.date_range("2024-01-03 12:00", periods=3, freq="h"), "f": 1.0})
    early = TABLE.assign(y=TABLE["y"].where(TABLE.index != 54, 9.0))  # the first row of the last lookback
    assert (random.predict(TABLE, future)["lstm"] != random.predict(early, future)["lstm"]).any()
