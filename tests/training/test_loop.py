"""The promises of the training loop: bytes, early stopping, failures, populations."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.errors import DataError
from lstmjax.training import Hyperparameters, Status, TrainState, train
from lstmjax.training.functional import functional
from lstmjax.training.loop import _first_members, _first_state
from lstmjax.training.plan import make_plan, resolve_batch

OPTIMIZER = OptimizerConfig(schedule="constant", learning_rate=0.02)
# 48 windows, 4 steps an epoch; checks in mid-epoch
CONFIG = TrainConfig(
    loss="mse",
    max_steps=30,
    batch_size=12,
    batch_shards=1,
    val_check_steps=6,
    chunk_steps=6,
    early_stop_patience_steps=-1,
)


def replace(**options):
    return dataclasses.replace(CONFIG, **options)


@pytest.fixture(scope="module")
def whole(tiny, data, calls):
    """A run without incident, and its checks."""
    checks = []
    return train(tiny, data, OPTIMIZER, CONFIG, callbacks=[calls(on_check=checks.append)]), checks


# --- bytes


def test_the_same_seed_gives_the_same_bytes_and_another_others(whole, tiny, data, tools):
    result, _ = whole
    assert tools.same_bytes(result.state, train(tiny, data, OPTIMIZER, CONFIG).state)
    other = train(tiny, data, OPTIMIZER, CONFIG, seeds=[1])
    assert not tools.same_bytes(result.state.params, other.state.params)


@pytest.mark.parametrize("chunk", [1, 4, 5, None])
def test_the_length_of_chunks_changes_no_byte(whole, tiny, data, tools, chunk):
    result, _ = whole
    assert tools.same_bytes(result.state, train(tiny, data, OPTIMIZER, replace(chunk_steps=chunk)).state)


@pytest.mark.parametrize("stop", [1, 6, 11])
def test_a_run_that_is_gone_on_with_ends_with_the_same_bytes(whole, tiny, data, tools, stop):
    result, _ = whole
    part = train(tiny, data, OPTIMIZER, CONFIG, until=stop)
    assert part.steps() == stop
    resumed = train(tiny, data, OPTIMIZER, CONFIG, state=part.state)
    assert tools.same_bytes(result.state, resumed.state)


def test_the_state_of_a_check_goes_on_to_the_same_bytes(whole, tiny, data, tools):
    result, checks = whole
    resumed = train(tiny, data, OPTIMIZER, CONFIG, state=jax.device_get(checks[2].state))
    assert tools.same_bytes(result.state, resumed.state)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(resumed.state))


def test_a_split_batch_agrees_within_rounding(whole, tiny, data):
    result, _ = whole
    split = train(tiny, data, OPTIMIZER, replace(batch_shards=2))
    assert split.batch_shards == 2
    for name, leaf in result.state.params.items():
        np.testing.assert_allclose(split.state.params[name], leaf, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(split.state.best_loss, result.state.best_loss, rtol=1e-5)


def test_a_chunk_moves_nothing_between_host_and_device(tiny, data):
    structure, first = functional(tiny)
    plan = make_plan(structure, data, OPTIMIZER, CONFIG, [Hyperparameters.from_config(OPTIMIZER, CONFIG)], None)
    state = _first_state(plan, first)
    plan.programs.run(plan.with_state(state), plan.span(2))
    with jax.transfer_guard("disallow"):
        moved = plan.programs.run(plan.with_state(state), plan.span(3))
        moved, _ = plan.programs.check(plan.with_state(moved), plan.held)
        with pytest.raises(Exception, match="transfer"):
            plan.programs.run(plan.with_state(state), plan.span(3)._replace(stop=np.int32(3)))
    assert int(moved.step[0]) == 3


# --- validation and early stopping


def test_checks_come_on_time_and_count_every_window(whole, data, tools):
    result, checks = whole
    assert [check.step for check in checks] == [6, 12, 18, 24, 30]
    assert [check.metrics()["step"] for check in checks] == [6, 12, 18, 24, 30]
    features, targets = tools.pairs_of(data, data.validation)
    params = tools.member(checks[1].state.params, 0)
    errors = (features @ params["linear.kernel"] + params["linear.bias"]).reshape(targets.shape) - targets
    np.testing.assert_allclose(checks[1].val_mse[0], np.square(errors).mean(), rtol=1e-5)
    np.testing.assert_allclose(checks[1].val_mae[0], np.abs(errors).mean(), rtol=1e-5)
    np.testing.assert_allclose(checks[1].val_loss[0], checks[1].val_mse[0], rtol=1e-6)  # summed in orders of their own
    best = min(checks, key=lambda check: check.val_loss[0])
    assert result.best_step() == best.step
    assert result.state.best_loss[0] == best.val_loss[0]


def test_the_last_check_comes_at_the_end_even_off_the_beat(tiny, data, calls):
    steps = []
    train(
        tiny, data, OPTIMIZER, replace(max_steps=8), callbacks=[calls(on_check=lambda check: steps.append(check.step))]
    )
    assert steps == [6, 8]
    train(tiny, data, OPTIMIZER, CONFIG, until=8, callbacks=[calls(on_check=lambda check: steps.append(check.step))])
    assert steps == [6, 8, 6]


def test_early_stopping_restores_the_best_weights(tiny, data, tools, calls):
    """A learning rate that overshoots: the first checks are the best."""
    hot, checks = OptimizerConfig(schedule="constant", learning_rate=1.5), []
    config = replace(early_stop_patience_steps=2, val_check_steps=2, max_steps=400)
    result = train(tiny, data, hot, config, callbacks=[calls(on_check=checks.append)])
    losses = [check.val_loss[0] for check in checks]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3
    assert result.best_step() == checks[best].step
    assert result.steps() == checks[-1].step < 400
    assert result.state.stopped[0]
    assert not checks[-1].active[0]
    assert tools.same_bytes(result.weights().params, tools.member(checks[best].state.params, 0))
    assert train(tiny, data, hot, config, state=result.state).steps() == result.steps()


def test_without_validation_windows_the_last_weights_are_kept(tiny, data, tools, calls):
    checks = []
    none = data._replace(validation=tools.make_windows(0, 0))
    result = train(tiny, none, OPTIMIZER, CONFIG, callbacks=[calls(on_check=checks.append)])
    assert [check.metrics()["val_loss"] for check in checks] == [None] * 5
    assert all(np.isfinite(check.train_loss[0]) for check in checks)
    assert result.best_step() == 30
    assert tools.same_bytes(result.weights().params, tools.member(result.state.params, 0))


def test_the_plateau_schedule_is_optaxs(tiny, data, calls):
    """The factor after every check, against ``reduce_on_plateau`` fed with the same losses."""
    optimizer = OptimizerConfig(learning_rate=0.7, schedule="plateau", decay_rate=0.5, plateau_patience=2)
    checks = []
    train(tiny, data, optimizer, replace(max_steps=60, val_check_steps=2), callbacks=[calls(on_check=checks.append)])
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=2)
    state = plateau.init({"w": np.float32(0)})
    update = jax.jit(plateau.update)
    scales = []
    for check in checks:
        _, state = update({"w": np.float32(1)}, state, value=check.val_loss[0])
        scales.append(float(state.scale))
    assert [check.learning_rate[0] / np.float32(0.7) for check in checks] == pytest.approx(scales)
    assert scales[-1] <= 0.25


# --- failures


DIVERGING = OptimizerConfig(schedule="constant", name="sgd", learning_rate=30.0, clip_norm=None)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_best_weights(tiny, data, tools, calls):
    checks = []
    result = train(
        tiny, data, DIVERGING, replace(max_steps=400, val_check_steps=4), callbacks=[calls(on_check=checks.append)]
    )
    failed = int(result.state.failed_step[0])
    assert 4 < failed < 400
    assert result.steps() == failed
    assert result.best_step() == 4
    assert result.failure().startswith(f"training stopped at step {failed + 1}: ")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((result.state.params, result.state.opt_state)))
    assert tools.same_bytes(result.weights().params, tools.member(checks[0].state.params, 0))
    again = train(tiny, data, DIVERGING, replace(max_steps=400, val_check_steps=4, chunk_steps=3))
    assert tools.same_bytes(result.state, again.state)


def test_without_a_check_the_weights_before_the_failing_step_are_kept(tiny, data, tools):
    result = train(tiny, data, DIVERGING, replace(max_steps=400, val_check_steps=400, chunk_steps=400))
    failed = int(result.state.failed_step[0])
    assert result.best_step() == failed > 4
    before = train(tiny, data, DIVERGING, replace(max_steps=400, val_check_steps=400), until=failed)
    assert before.failure() is None
    assert tools.same_bytes(result.weights().params, tools.member(before.state.params, 0))


# --- populations


def hyperparameters(rates):
    configs = [dataclasses.replace(OPTIMIZER, learning_rate=rate) for rate in rates]
    return [Hyperparameters.from_config(c, CONFIG, seed=seed) for seed, c in enumerate(configs)]


def test_a_member_has_the_same_bytes_alone_and_among_others(whole, tiny, data, tools):
    result, _ = whole
    together = train(tiny, data, OPTIMIZER, CONFIG, seeds=[2, 1, 0])
    assert together.state.step.tolist() == [30, 30, 30]
    assert tools.same_bytes(tools.member(together.state, 2), tools.member(result.state, 0))
    alone = train(tiny, data, OPTIMIZER, CONFIG, seeds=[1])
    assert tools.same_bytes(tools.member(together.state, 1), tools.member(alone.state, 0))


def test_a_check_of_members_that_do_not_fill_the_mesh_compiles_one_program_more(tiny, data, calls, caplog):
    """Three members on two devices: their state is cut off a state of four in one program, not array by array."""
    compiled = []
    state = train(tiny, data, OPTIMIZER, CONFIG, seeds=[0, 1, 2], until=6).state
    _first_members.clear_cache()
    with jax.log_compiles():
        train(tiny, data, OPTIMIZER, CONFIG, seeds=[0, 1, 2], state=state, callbacks=[calls(on_check=compiled.append)])
    assert len(compiled) == 4
    assert all(len(check.state.step) == 3 for check in compiled)
    lines = [record.getMessage() for record in caplog.records if "Finished XLA compilation" in record.getMessage()]
    assert len(lines) == 1
    assert "jit(_first_members)" in lines[0]


def test_under_vmap_it_agrees_within_rounding(whole, tiny, data, tools):
    result, _ = whole
    together = train(tiny, data, OPTIMIZER, CONFIG, seeds=[0, 1, 2], mapping="vmap")
    for name, leaf in result.state.params.items():
        np.testing.assert_allclose(together.state.params[name][0], leaf[0], rtol=1e-4, atol=1e-6)
    assert together.state.best_step[0] == result.state.best_step[0]


@pytest.mark.parametrize("mapping", ["map", "vmap"])
def test_a_wild_member_disturbs_no_neighbour(tiny, data, tools, mapping):
    tame = train(tiny, data, OPTIMIZER, CONFIG, hyperparameters=hyperparameters([0.02, 0.03, 0.04]), mapping=mapping)
    wild = train(tiny, data, OPTIMIZER, CONFIG, hyperparameters=hyperparameters([0.02, 1e30, 0.04]), mapping=mapping)
    for number in (0, 2):
        assert tools.same_bytes(tools.member(tame.state, number), tools.member(wild.state, number))
        assert wild.failure(number) is None
    assert wild.failure(1) is not None
    assert wild.steps(1) < 30
    assert all(np.isfinite(leaf[1]).all() for leaf in wild.state.params.values())


def test_members_stop_early_each_for_itself(tiny, data, tools):
    config = replace(early_stop_patience_steps=1, val_check_steps=2, max_steps=60)
    chosen = hyperparameters([0.001, 1.5, 0.002])
    chosen = [h._replace(early_stop_patience=np.int32(1)) for h in chosen]
    together = train(tiny, data, OPTIMIZER, config, hyperparameters=chosen)
    assert together.steps(1) < together.steps(0)
    for number, single in enumerate(chosen):
        alone = train(tiny, data, OPTIMIZER, config, hyperparameters=[single])
        assert tools.same_bytes(tools.member(together.state, number), tools.member(alone.state, 0))


def test_a_population_resumes_with_members_that_stopped(tiny, data, tools):
    config = replace(early_stop_patience_steps=1, val_check_steps=2, max_steps=60)
    chosen = [h._replace(early_stop_patience=np.int32(1)) for h in hyperparameters([0.001, 1.5, 0.002])]
    whole = train(tiny, data, OPTIMIZER, config, hyperparameters=chosen)
    part = train(tiny, data, OPTIMIZER, config, hyperparameters=chosen, until=int(whole.steps(1)) + 3)
    resumed = train(tiny, data, OPTIMIZER, config, hyperparameters=chosen, state=part.state)
    assert tools.same_bytes(whole.state, resumed.state)


# --- callbacks and edges


def test_should_stop_is_asked_after_every_chunk(tiny, data, calls):
    seen: list[Status] = []
    result = train(
        tiny,
        data,
        OPTIMIZER,
        replace(chunk_steps=2),
        callbacks=[calls(on_chunk=seen.append, should_stop=lambda: len(seen) == 3)],
    )
    assert [status.step for status in seen] == [2, 4, 6]
    assert result.interrupted
    assert result.steps() == 6
    assert result.best_step() == 6  # the check that was due came first
    assert np.isfinite(seen[0].train_loss).all()


def test_a_batch_never_holds_more_windows_than_there_are(tiny, data, tools):
    few = data._replace(train=tools.make_windows(6, 11))
    result = train(tiny, few, OPTIMIZER, replace(batch_size=64, batch_shards=None, max_steps=2))
    assert (result.batch_size, result.batch_shards, result.steps()) == (4, 2, 2)
    assert resolve_batch(replace(batch_size=64), windows=1) == (1, 1)
    assert resolve_batch(replace(batch_size=64, batch_shards=None), windows=1000, members=5) == (64, 1)


def test_a_batch_is_not_split_where_every_core_would_have_to_read_wide_weights():
    whole, asked = replace(batch_size=64, batch_shards=None), replace(batch_size=64, batch_shards=2)
    assert resolve_batch(whole, windows=1000, widest=2**21)[1] > 1
    assert resolve_batch(whole, windows=1000, widest=2**21 + 1) == (64, 1)
    assert resolve_batch(asked, windows=1000, widest=2**21 + 1) == (64, 2)  # whoever asks is not contradicted


def test_no_window_to_train_on(tiny, data, tools):
    with pytest.raises(DataError, match="no window to train on"):
        train(tiny, data._replace(train=tools.make_windows(0, 0)), OPTIMIZER, CONFIG)


def test_a_state_with_other_members_is_refused(whole, tiny, data):
    result, _ = whole
    with pytest.raises(ValueError, match="must hold 2 members, got one with 1"):
        train(tiny, data, OPTIMIZER, CONFIG, seeds=[0, 1], state=result.state)
    torn: TrainState = jax.tree.map(lambda leaf: np.repeat(leaf, 2, axis=0), result.state)
    torn = torn._replace(step=np.array([3, 4], np.int32))
    with pytest.raises(ValueError, match=r"one step, got \[3, 4\]"):
        train(tiny, data, OPTIMIZER, CONFIG, seeds=[0, 1], state=torn)


def test_a_network_with_weights_begins_with_them(whole, tiny, data, tools, calls):
    result, _ = whole
    trained = result.network.merge(jax.tree.map(jax.numpy.asarray, result.weights()))
    started = []
    still = [Hyperparameters.from_config(OPTIMIZER, CONFIG)._replace(learning_rate=np.float32(0.0))] * 3
    further = train(
        trained, data, OPTIMIZER, CONFIG, hyperparameters=still, until=6, callbacks=[calls(on_check=started.append)]
    )
    for number in range(3):
        assert tools.same_bytes(tools.member(further.state.params, number), result.weights().params)
    np.testing.assert_allclose(started[0].val_loss, result.state.best_loss[0], rtol=1e-6)
