"""The segment network: what each forecast depends on, what it is equivariant to, and one step of the LSTM a segment."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax import models
from lstmjax.config import ModelConfig
from lstmjax.errors import ConfigError
from lstmjax.ops.naive import repeat_last, seasonal_naive
from lstmjax.window import WindowSpec

SPEC = WindowSpec(
    input_size=10, h=7, targets=2, hist_exog=1, futr_exog=1, stat_exog=2, season_length=4, series=3
)  # neither is a multiple of the segment's four rows
PLAIN = dataclasses.replace(SPEC, hist_exog=0, futr_exog=0, stat_exog=0)
SMALL = ModelConfig(
    name="segment",
    hidden_size=6,
    segment_size=4,
    highway=False,
    recall=False,
    instance_norm="none",
    instance_scale="none",
)
BATCH = 3


def build(spec=SPEC, seed=0, **options):
    return models.build(spec, dataclasses.replace(SMALL, **options), rngs=nnx.Rngs(seed))


def forecast(network, batch):
    return np.asarray(jax.jit(lambda batch: network(batch, deterministic=True).mean())(batch))


def jacobian(network, window, *fields):
    """How much the forecast depends on fields of the window, (B, H, C, *field) each."""
    base = window(network.spec)

    def mean(values):
        return network(base._replace(**values), deterministic=True).mean()

    found = jax.jit(jax.jacobian(mean))({field: getattr(base, field) for field in fields})
    return [np.abs(found[field]) for field in fields]


def test_every_step_depends_on_every_input_of_its_own_channel_and_window_only(window):
    (dependence,) = jacobian(build(PLAIN), window, "y")  # (B, H, C, B', L, C')
    own = np.einsum("bhcblc->bhcl", dependence)
    assert (own > 1e-9).all()
    for b in range(BATCH):
        for c in range(PLAIN.targets):
            dependence[b, :, c, b, :, c] = 0.0
    assert dependence.max() == 0.0


def test_covariates_known_ahead_reach_the_segment_they_belong_to_and_static_ones_all(window):
    futr, stat, hist = jacobian(build(), window, "futr_exog", "stat_exog", "hist_exog")
    ahead = futr[0, :, :, 0, SPEC.input_size :, 0]  # (H, C, H')
    assert (ahead[:4, :, :4] > 1e-9).all()
    assert (ahead[4:, :, 4:] > 1e-9).all()
    assert ahead[:4, :, 4:].max() == ahead[4:, :, :4].max() == 0.0
    assert (stat[0, :, :, 0].max(axis=-1) > 1e-9).all()
    assert (hist[0, :, :, 0, -1].max(axis=-1) > 1e-9).all()
    assert (futr[0, :, :, 0, 0].max(axis=-1) > 1e-9).all()


def test_it_is_one_step_of_the_lstm_from_the_last_carry_for_each_query(window):
    """The forecast again, from the layers one by one."""
    network, base = build(PLAIN, num_layers=2), window(PLAIN)
    padded = np.pad(np.asarray(base.y), ((0, 0), (2, 0), (0, 0)))
    seen = np.pad(np.asarray(base.y_mask, np.float32), ((0, 0), (2, 0), (0, 0)))
    for c in range(PLAIN.targets):
        segments = np.concatenate([part[:, :, c].reshape(BATCH, 3, 4) for part in (padded, seen)], axis=-1)
        carries, _ = network.encoder(jax.nn.relu(network.embed(jnp.asarray(segments))), return_carry=True)
        expected = []
        for query in network.position[...]:
            x = jnp.broadcast_to(query, (BATCH, 6))
            for layer, carry in zip(network.encoder.forward, carries, strict=True):
                _, x = layer.cell(carry, x)
            expected.append(network.output(x))
        np.testing.assert_allclose(
            forecast(network, base)[:, :, c], jnp.concatenate(expected, axis=1)[:, :7], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("options", "shift", "factor"),
    [
        ({"instance_norm": "last"}, 3.0, 1.0),
        ({"instance_norm": "median", "instance_scale": "mad", "highway": True}, -2.0, 5.0),
        ({"instance_norm": "revin", "residual": "seasonal_naive"}, 1.0, 4.0),
        ({"instance_scale": "mean_abs"}, 0.0, 3.0),
    ],
)
def test_a_window_of_another_level_and_size_is_forecast_alike(options, shift, factor, window):
    network, base = build(PLAIN, **options), window(PLAIN)
    moved = base._replace(y=shift + factor * base.y)
    np.testing.assert_allclose(
        forecast(network, moved), shift + factor * forecast(network, base), rtol=2e-4, atol=2e-4 * factor
    )


def test_masked_steps_have_no_influence(window):
    base = window(SPEC)
    hidden = base._replace(
        y_mask=base.y_mask.at[:, :3].set(False).at[1, 6, 1].set(False), hist_mask=base.hist_mask.at[:, 4].set(False)
    )

    def zeroed(seed):
        """Windows hold 0 where a mask is False; the statistics look at the masks besides."""
        other = window(SPEC, seed)
        y = jnp.where(hidden.y_mask, base.y, 0.0)
        return hidden._replace(y=y, hist_exog=jnp.where(hidden.hist_mask, base.hist_exog, 0.0)), other

    clean, other = zeroed(1)
    dirty = clean._replace(y=jnp.where(hidden.y_mask, base.y, other.y))
    network = build(instance_norm="median", instance_scale="std")
    np.testing.assert_array_equal(forecast(network, clean), forecast(network, dirty))
    assert not np.array_equal(forecast(network, clean), forecast(network, base))


def test_a_series_shorter_than_the_lookback_is_as_one_with_masked_rows_before_it(window):
    """Ten rows of lookback, two of padding within the network: a window of twelve rows whose first two are masked."""
    longer = dataclasses.replace(PLAIN, input_size=12)
    short, base = build(PLAIN, instance_norm="last"), window(PLAIN)
    long = build(longer, instance_norm="last")
    pad = ((0, 0), (2, 0), (0, 0))
    padded = base._replace(
        y=jnp.pad(base.y, pad),
        y_mask=jnp.pad(base.y_mask, pad),
        hist_exog=jnp.pad(base.hist_exog, pad),
        hist_mask=jnp.pad(base.hist_mask, pad),
        futr_exog=jnp.pad(base.futr_exog, pad),
        futr_mask=jnp.pad(base.futr_mask, pad),
    )
    np.testing.assert_array_equal(forecast(short, base), forecast(long, padded))
    nothing = padded._replace(y=jnp.zeros_like(padded.y), y_mask=jnp.zeros_like(padded.y_mask))
    assert np.isfinite(forecast(long, nothing)).all()


@pytest.mark.parametrize("norm", ["none", "mean"])
def test_what_is_learnt_is_the_difference_to_the_baseline(norm, window):
    base = window(PLAIN)
    expected = {
        "naive": repeat_last(base.y, base.y_mask, 7),
        "seasonal_naive": seasonal_naive(base.y, base.y_mask, 7, 3),
    }
    for name, baseline in expected.items():
        network = build(PLAIN, residual=name, residual_season=3, instance_norm=norm)
        network.output.kernel[...] = jnp.zeros_like(network.output.kernel[...])
        np.testing.assert_allclose(forecast(network, base), baseline, rtol=1e-6, atol=1e-6)


def test_a_highway_begins_at_nothing_and_is_linear_in_the_lookback(window):
    without, network, base = build(PLAIN), build(PLAIN, highway=True), window(PLAIN)
    assert network.highway.kernel[...].shape == (10, 7)
    np.testing.assert_array_equal(network.highway.kernel[...], 0.0)
    kernel = jnp.asarray(np.random.default_rng(1).normal(size=(10, 7)), jnp.float32)
    before = forecast(network, base)
    np.testing.assert_allclose(before, forecast(without, base), rtol=1e-6)
    network.highway.kernel[...] = kernel
    np.testing.assert_allclose(
        forecast(network, base) - before, jnp.einsum("blc,lh->bhc", base.y, kernel), rtol=1e-4, atol=1e-5
    )


def test_recall_begins_as_the_mean_of_the_segments_observed_and_learns_to_choose(window):
    spec = dataclasses.replace(PLAIN, input_size=12, h=6)
    network, base = build(spec, recall=True), window(spec)
    base = base._replace(y_mask=base.y_mask.at[1, :4].set(False), y=base.y.at[1, :4].set(0.0))
    network.output.kernel[...] = jnp.zeros_like(network.output.kernel[...])
    segments = np.asarray(base.y).reshape(BATCH, 3, 4, 2)
    mean = segments.mean(axis=1)
    mean[1] = segments[1, 1:].mean(axis=0)
    expected = np.concatenate([mean, mean[:, :2]], axis=1)
    np.testing.assert_allclose(forecast(network, base), expected, rtol=1e-5, atol=1e-6)
    network.recall.bias[...] = jnp.array([0.0, 50.0, 0.0])
    second = segments[:, 1]
    expected = np.concatenate([second, second[:, :2]], axis=1)
    np.testing.assert_allclose(forecast(network, base), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["segment", "direct"])
def test_series_have_features_of_their_own_and_new_ones_the_mean(name, window):
    spec = dataclasses.replace(PLAIN, series=3)
    network = models.build(spec, dataclasses.replace(SMALL, name=name, series_embedding=2), rngs=nnx.Rngs(0))
    table = network.series.table[...]
    assert table.shape == (3, 2, 2)
    np.testing.assert_allclose(network.series(jnp.array([2, -1])), jnp.stack([table[2], table.mean(axis=0)]), rtol=1e-6)
    base = window(spec)
    alike = jax.tree.map(lambda leaf: jnp.repeat(leaf[:1], BATCH, axis=0), base)._replace(series=base.series)
    forecasts = forecast(network, alike)
    assert len({row.tobytes() for row in forecasts}) == BATCH
    with pytest.raises(ValueError, match="window.series is None"):
        network(base._replace(series=None), deterministic=True)


def test_a_season_longer_than_the_lookback_is_refused():
    with pytest.raises(ConfigError, match=r"a season is 11 rows: data.input_size is 10"):
        build(residual="seasonal_naive", residual_season=11)


def test_dropout_is_one_hyperparameter_and_drops_in_training_only(window):
    from lstmjax.training import functional

    config = dataclasses.replace(SMALL, dropout=0.5, num_layers=2)
    structure, _ = functional(models.Builder(PLAIN, config))
    assert structure.hyperparameters == ("dropout",)
    network, base = build(PLAIN, dropout=0.5), window(PLAIN)
    draw = jax.jit(lambda key: network(base, rngs=nnx.Rngs(key)).mean())
    draws = [draw(jax.random.key(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
