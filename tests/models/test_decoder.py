"""The decoder of the segment network: which rows it reads, and that it reads them only where it is asked for."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax import models
from lstmjax.config import ModelConfig
from lstmjax.errors import ConfigError
from lstmjax.models.decoder import rows_before
from lstmjax.window import WindowSpec

SPEC = WindowSpec(input_size=10, h=7, targets=2, futr_exog=2, season_length=4)  # two segments of four rows ahead
SMALL = ModelConfig(
    name="segment",
    hidden_size=6,
    segment_size=4,
    highway=False,
    recall=False,
    instance_norm="none",
    instance_scale="none",
    known_future="decoder",
    decoder_size=5,
)
BATCH = 3


def build(**options):
    return models.build(SPEC, dataclasses.replace(SMALL, **options), rngs=nnx.Rngs(0))


def forecast(network, batch):
    return np.asarray(network(batch, deterministic=True).mean())


@pytest.mark.parametrize("lag", [1, 3, 4, 10])
def test_a_lag_is_the_latest_observed_row_whole_lags_before(lag):
    for step, row in enumerate(rows_before(10, 8, lag)):
        before = 10 + step - row
        assert 0 <= row < 10
        assert before % lag == 0
        assert row + lag >= 10  # one lag later is not observed yet


@pytest.mark.parametrize("lag", [2, 5])
def test_it_reads_the_targets_and_covariates_of_the_rows_before_and_their_masks(lag, window):
    """The features again, row by row."""
    network, base = build(lags=(lag,)), window(SPEC)
    missing = base._replace(y_mask=base.y_mask.at[0, 9, 1].set(False), y=base.y.at[0, 9, 1].set(0.0))
    state = jnp.zeros((BATCH, SPEC.targets, 2, 6))
    found = np.asarray(network.decoder.features(state, jnp.zeros((BATCH, 2, 16)), missing))
    assert found.shape == (BATCH, 2, 2, 6 + 16 + 8 + 16)
    for channel in range(2):
        for segment in range(2):
            rows = rows_before(10, 8, lag)[4 * segment : 4 * segment + 4]
            own = [missing.y[:, rows, channel], missing.y_mask[:, rows, channel]]
            covariates = [
                part
                for name in range(2)
                for part in (missing.futr_exog[:, rows, name], missing.futr_mask[:, rows, name])
            ]
            expected = [np.stack(pair, axis=-1).reshape(BATCH, 8) for pair in (own, covariates[:2], covariates[2:])]
            np.testing.assert_array_equal(found[:, channel, segment, 22:], np.concatenate(expected, axis=-1))


def test_every_row_of_a_segment_depends_on_the_whole_segment_known_ahead_and_not_on_another(window):
    network, base = build(), window(SPEC)
    for row in range(SPEC.h):
        moved = base._replace(futr_exog=base.futr_exog.at[:, SPEC.input_size + row].add(1.0))
        changed = np.abs(forecast(network, moved) - forecast(network, base)).max(axis=(0, 2)) > 1e-7
        assert changed.tolist() == [step // 4 == row // 4 for step in range(SPEC.h)]


def test_a_channel_does_not_depend_on_another(window):
    network, base = build(lags=(2,)), window(SPEC)
    moved = base._replace(y=base.y.at[..., 0].add(1.0))
    np.testing.assert_array_equal(forecast(network, moved)[..., 1], forecast(network, base)[..., 1])
    assert np.abs(forecast(network, moved) - forecast(network, base))[..., 0].min() > 1e-7


def test_without_it_neither_its_size_nor_the_lags_make_a_weight(window):
    query = [build(known_future="query", **options) for options in ({}, {"lags": (3,), "decoder_size": 9})]
    assert query[0].decoder is None
    shapes = [[leaf.shape for leaf in nnx.to_flat_state(nnx.state(network)).leaves] for network in query]
    assert shapes[0] == shapes[1]
    np.testing.assert_array_equal(forecast(query[0], window(SPEC)), forecast(query[1], window(SPEC)))


def test_a_lag_longer_than_the_lookback_is_refused():
    with pytest.raises(ConfigError, match=r"model.lags has 11, and data.input_size is 10: expected no more"):
        build(lags=(2, 11))
    for lags in ((0,), (3, 3), (-1,)):
        with pytest.raises(
            ConfigError, match=r"model.lags has -?\d: expected whole numbers of rows from 1 on, each once"
        ):
            ModelConfig(lags=lags)
