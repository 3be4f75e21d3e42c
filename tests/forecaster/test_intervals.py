"""Intervals and sample paths of a trained forecaster, from fit to file and back."""

import dataclasses
import json

import jax.export
import numpy as np
import pandas as pd
import pytest

import lstmjax
from lstmjax import Ensemble, Forecaster, RunConfig
from lstmjax.data.table import DataWarning
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError
from lstmjax.evaluation.calibration import conformal_quantile
from lstmjax.evaluation.intervals import Asked
from lstmjax.forecaster import intervals
from lstmjax.forecaster.ensemble import mixed_quantiles
from lstmjax.forecaster.export import export
from lstmjax.runs import outputs
from lstmjax.runs.run import train_run
from lstmjax.window import Point

BOUNDS = ["lstm-lo-95", "lstm-lo-80", "lstm-hi-80", "lstm-hi-95"]
CONFIG = RunConfig().replace(
    {
        "data.h": 4,
        "data.input_size": 12,
        "data.season_length": 12,
        "data.val_size": 60,
        "data.test_size": 40,
        "model.name": "direct",
        "model.hidden_size": 8,
        "model.head_size": 0,
        "train.max_steps": 60,
        "train.val_check_steps": 20,
        "train.batch_shards": 1,
    }
)
CALIBRATED = CONFIG.replace({"outputs.calibration": "conformal"})
COUNTS = CONFIG.replace({"model.head": "negative_binomial"})


def series(rows=260, name="a", level=10.0, spread=1.0, seed=0):
    t, random = np.arange(rows), np.random.default_rng(seed)
    y = level + np.sin(t * np.pi / 6) + spread * (0.2 + 0.2 * np.sin(t * np.pi / 6)) * random.normal(size=rows)
    return pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024-01-01", periods=rows, freq="h"), "y": y})


TABLE = pd.concat([series(), series(name="b", level=100.0, spread=20.0, seed=1)])


@pytest.fixture(scope="module")
def point():
    return Forecaster(CALIBRATED).fit(TABLE)


@pytest.fixture(scope="module")
def quantile():
    return Forecaster(CONFIG.replace({"model.head": "quantile"})).fit(TABLE)


@pytest.fixture(scope="module")
def normal():
    """Of two seeds."""
    config = CONFIG.replace({"model.head": "normal"})
    return [Forecaster(config.replace({"train.seed": seed})).fit(TABLE) for seed in (0, 1)]


def poisson():
    return series().assign(y=np.random.default_rng(0).poisson(3 + 2 * np.sin(np.arange(260) * np.pi / 6)).astype(float))


@pytest.fixture(scope="module")
def counting():
    return Forecaster(COUNTS).fit(poisson())


def test_columns_are_there_only_when_asked_and_in_order(quantile):
    assert quantile.predict().columns.tolist() == ["unique_id", "ds", "lstm"]
    assert quantile.predict(level=[80, 95]).columns.tolist() == ["unique_id", "ds", "lstm", *BOUNDS]
    found = quantile.predict(level=[80], quantiles=[0.1, 0.5])
    assert found.columns.tolist()[2:] == ["lstm", "lstm-lo-80", "lstm-hi-80", "lstm_ql0.1", "lstm_ql0.5"]
    assert found["lstm_ql0.1"].equals(found["lstm-lo-80"].rename("lstm_ql0.1"))
    assert found["lstm_ql0.5"].equals(found["lstm"].rename("lstm_ql0.5"))
    evaluated = quantile.evaluate(TABLE, level=[80])
    assert evaluated.columns.tolist()[2:7] == ["cutoff", "y", "lstm", "lstm-lo-80", "lstm-hi-80"]


def test_the_config_asks_too(quantile):
    asked = quantile.with_outputs(lstmjax.config.OutputsConfig(level=(80, 95)))
    pd.testing.assert_frame_equal(asked.predict(), quantile.predict(level=[80, 95]))
    assert asked.predict(level=[]).columns.tolist() == ["unique_id", "ds", "lstm"]


def test_conformal_bounds_are_the_forecast_and_a_quantile_of_the_validation_errors(point):
    """Written out anew, from forecasts of the validation windows in the table's units."""
    panel, fitted = point.panel(TABLE), point.fitted
    held = [(n, origin) for n in (0, 1) for origin in range(160, 260 - 40 - 4 + 1)]
    windows = Windows(*np.array(held, np.int32).T)
    scale = fitted.selected.scaling.y_scale[windows.series]  # (W, 1)
    rows = panel.offsets[windows.series][:, None] + windows.origin[:, None] + np.arange(4)
    errors = abs(panel.y[rows] - point.forecast_windows(panel, windows)) / scale[:, None]
    offset = conformal_quantile(errors, 0.8)[:, 0]  # (H,)
    found = point.predict(level=[80])
    for number, (_, rows) in enumerate(found.groupby("unique_id")):
        expected = offset * fitted.selected.scaling.y_scale[number]
        np.testing.assert_allclose(rows["lstm-hi-80"] - rows["lstm"], expected, rtol=2e-4)
        np.testing.assert_allclose(rows["lstm"] - rows["lstm-lo-80"], expected, rtol=2e-4)


@pytest.mark.parametrize(("calibration", "scope"), [("none", "pooled"), ("conformal", "series"), ("cqr", "pooled")])
def test_what_is_saved_says_the_same(tmp_path, quantile, calibration, scope):
    outputs = lstmjax.config.OutputsConfig(level=(80,), calibration=calibration, calibration_scope=scope)
    forecaster = quantile.with_outputs(outputs)
    forecaster.save(tmp_path)
    loaded = Forecaster.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.predict(), forecaster.predict())
    pd.testing.assert_frame_equal(loaded.predict(num_samples=3), forecaster.predict(num_samples=3))


def test_a_resumed_fit_calibrates_as_one_that_was_not_interrupted(tmp_path, point):
    with_folder = Forecaster(CALIBRATED).fit(TABLE, directory=tmp_path)
    again = Forecaster().resume(tmp_path, TABLE)
    for one in (with_folder, again, Forecaster.load(tmp_path)):
        pd.testing.assert_frame_equal(one.predict(level=[80]), point.predict(level=[80]))


def test_calibration_rows_are_used_where_there_are_some():
    found = Forecaster(CALIBRATED.replace({"data.calibration_size": 30})).fit(TABLE).fitted.errors
    assert len(found.y) == 2 * (30 - 4 + 1)


def test_a_new_series_has_the_pooled_errors_in_its_own_scale(point):
    with pytest.warns(DataWarning, match="were not trained on"):
        found = point.predict(series(name="new", level=1000.0, spread=50.0, seed=5), level=[80])
    known = point.predict(level=[80])
    width = (found["lstm-hi-80"] - found["lstm-lo-80"]).to_numpy()
    own = known[known["unique_id"] == "a"]
    scale = point.fitted.selected.scaling.y_scale[0, 0]
    pooled = (own["lstm-hi-80"] - own["lstm-lo-80"]).to_numpy() / scale
    assert np.ptp(width / pooled) < 1e-3 * (width / pooled).mean()  # one factor, its own scale
    assert (width / pooled).mean() > 5 * scale


@pytest.mark.parametrize("transform", ["log", "log1p"])
def test_bounds_go_through_the_transform_and_stay_positive(transform):
    table = TABLE.assign(y=np.exp(TABLE["y"] / TABLE.groupby("unique_id")["y"].transform("std") / 4))
    config = CONFIG.replace({"data.transform": transform, "model.head": "normal", "outputs.calibration": "conformal"})
    found = Forecaster(config).fit(table).predict(level=[80, 95])
    values = found[["lstm-lo-95", "lstm-lo-80", "lstm", "lstm-hi-80", "lstm-hi-95"]].to_numpy()
    assert (np.diff(values, axis=1) > 0).all()
    assert (values > (0 if transform == "log" else -1)).all()


def test_counts_are_forecast_as_they_are_and_have_their_own_normalisation(counting):
    table, config = poisson(), counting.fitted.config
    named = config.data.scaler, config.model.instance_norm, config.model.instance_scale
    assert named == ("none", "none", "mean_abs")
    found = counting.predict(level=[80])[["lstm-lo-80", "lstm", "lstm-hi-80"]].to_numpy()
    assert (found == np.round(found)).all()
    assert (found >= 0).all()
    for changed, message in (
        (table.assign(y=table["y"] + 0.5), "whole numbers from 0 on"),
        (table.assign(y=table["y"] - 20), r"column 'y' is -\d+ at 2024-01-01 00:00:00: .*counts"),
    ):
        with pytest.raises(DataError, match=message):
            Forecaster(COUNTS).fit(changed)
    for name, value in {"data.scaler": "standard", "data.transform": "log", "model.instance_norm": "last"}.items():
        with pytest.raises(ConfigError, match=rf"{name} is '{value}', and model\.head .* counts"):
            COUNTS.replace({name: value})


def test_paths_have_the_marginals_of_the_bounds_and_the_dependence_of_the_errors(point):
    paths = point.predict(num_samples=4000)
    assert paths.columns.tolist() == ["unique_id", "ds", "sample", "lstm"]
    bounds = point.predict(level=[80])
    drawn = paths["lstm"].to_numpy().reshape(2, 4000, 4)  # series, sample, step
    for name, probability in (("lstm-lo-80", 0.1), ("lstm", 0.5), ("lstm-hi-80", 0.9)):
        below = (drawn <= bounds[name].to_numpy().reshape(2, 1, 4)).mean(axis=1)
        np.testing.assert_allclose(below, probability, atol=0.025, err_msg=name)
    errors = point.fitted.errors.signed(Point())[..., 0]
    rank = pd.DataFrame(errors).corr("spearman").to_numpy()
    np.testing.assert_allclose(pd.DataFrame(drawn[0]).corr("spearman").to_numpy(), rank, atol=0.06)
    pd.testing.assert_frame_equal(point.predict(num_samples=3), point.predict(num_samples=3))


def test_an_ensemble_averages_quantiles_or_mixes_distributions(normal):
    each = [member.predict(level=[80]) for member in normal]
    found = Ensemble(normal).predict(level=[80])
    for name in ("lstm", "lstm-lo-80", "lstm-hi-80"):
        np.testing.assert_allclose(found[name], (each[0][name] + each[1][name]) / 2)
    mixed = Ensemble([m.with_outputs(lstmjax.config.OutputsConfig(pool="linear")) for m in normal])
    linear = mixed.predict(level=[80])
    assert linear.columns.tolist() == found.columns.tolist()
    # By hand: the point below which a tenth of both normal distributions lies, on a fine grid.
    mean, scale = (np.stack([t[c].to_numpy() for t in each]) for c in ("lstm", "lstm-hi-80"))
    scale = (scale - mean) / 1.2815515655
    z = np.linspace(-8, 8, 4001)
    points = np.sort((mean[..., None] + scale[..., None] * z).reshape(2, len(found), -1).transpose(1, 0, 2), axis=-1)
    weight = np.exp(-0.5 * z**2)
    for row in range(len(found)):
        both = np.concatenate(points[row])
        order = both.argsort()
        cdf = np.cumsum(np.tile(weight / weight.sum() / 2, 2)[order])
        expected = both[order][np.searchsorted(cdf, [0.1, 0.9])]
        got = linear[["lstm-lo-80", "lstm-hi-80"]].to_numpy()[row]
        np.testing.assert_allclose(got, expected, atol=0.03 * scale[:, row].max())
    assert len(mixed.evaluate(TABLE, level=[80])) == len(normal[0].evaluate(TABLE))


def mixture(members):
    return Ensemble(
        [member.with_outputs(dataclasses.replace(member.config.outputs, pool="linear")) for member in members]
    )


@pytest.mark.parametrize("levels", [[80], [97, 99, 99.8]])
def test_a_mixture_of_one_is_that_one(quantile, normal, levels):
    """However far out: a mixture of normal distributions has tails too."""
    for one in (quantile, normal[0]):
        expected, found = one.predict(level=levels), mixture([one, one]).predict(level=levels)
        for name in (f"lstm-{end}-{level}" for level in levels for end in ("lo", "hi")):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)


def test_a_mixture_needs_no_more_held_out_windows_than_its_levels():
    """57 of each series are enough for 80%, and too few for the quantiles 0.01 and 0.99."""
    few = CALIBRATED.replace({"outputs.level": (80.0,), "outputs.calibration_scope": "series"})
    members = [Forecaster(few.replace({"train.seed": seed})).fit(TABLE) for seed in (0, 1)]
    assert np.bincount(members[0].fitted.errors.series).tolist() == [57, 57]
    found, each = mixture(members).predict(), [member.predict() for member in members]
    for name in ("lstm-lo-80", "lstm-hi-80"):
        both = np.stack([table[name] for table in each])
        assert (found[name] >= both.min(axis=0)).all()
        assert (found[name] <= both.max(axis=0)).all()
    with pytest.raises(DataError, match="interval of 99% needs 99 held-out windows"):
        mixture(members).predict(level=[99])


def test_a_mixture_of_forecasts_far_apart_lies_at_both():
    """A tenth of the mixture is a fifth of the lower one: bounds of a mean of quantiles would lie between the two."""
    rows = np.arange(400.0)
    grid = Asked(quantiles=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95))
    tables = [pd.DataFrame(grid.values("lstm", at + np.tile(grid.quantiles, (400, 1)))) for at in (0.0, 10.0)]
    found = mixed_quantiles([table.to_numpy() for table in tables], grid.quantiles, (0.1, 0.3, 0.9))
    np.testing.assert_allclose(found, np.tile([0.2, 0.6, 10.8], (len(rows), 1)), atol=1e-9)


def test_a_series_without_held_out_truths_has_the_pooled_errors():
    """It has rows there, but all of them are empty except the last step of the last window."""
    late = series(name="b", level=100.0, spread=20.0, seed=1)
    all_missing = late.assign(y=late["y"].where((late.index < 160) | (late.index >= 220)))
    one_left = late.assign(y=late["y"].where((late.index < 160) | (late.index >= 219)))
    by_series = CALIBRATED.replace({"outputs.calibration_scope": "series"})
    with pytest.warns(DataWarning, match="empty cells"):
        whole = Forecaster(by_series).fit(pd.concat([series(), all_missing]))
    with pytest.warns(DataWarning, match="empty cells"):
        partly = Forecaster(by_series).fit(pd.concat([series(), one_left]))
    pooled = whole.with_outputs(CALIBRATED.outputs)
    found, expected = (one.predict(level=[80]).query("unique_id == 'b'") for one in (whole, pooled))
    pd.testing.assert_frame_equal(found, expected)
    assert len(whole.predict(num_samples=2)) == 2 * 2 * 4
    for asked in ({"num_samples": 2}, {"level": [80]}):
        with pytest.raises(DataError, match="held-out windows? .*outputs.calibration_scope pooled"):
            partly.predict(**asked)


def test_errors_that_are_too_many_to_keep_are_kept_of_every_series(monkeypatch):
    """10 of 114 windows, but each series needs 19 for the level that was asked for before training."""
    monkeypatch.setattr(intervals, "MOST_BYTES", 1)
    monkeypatch.setattr(intervals, "_FEWEST", 10)
    config = {"outputs.level": (95.0,), "outputs.calibration_scope": "series"}
    forecaster = Forecaster(CALIBRATED.replace(config)).fit(TABLE)
    assert np.bincount(forecaster.fitted.errors.series).tolist() == [19, 19]
    assert "lstm-lo-95" in forecaster.predict()


@pytest.mark.parametrize("calibration", ["none", "conformal", "cqr"])
def test_paths_of_counts_are_counts(counting, calibration):
    calibrated = counting.with_outputs(lstmjax.config.OutputsConfig(calibration=calibration))
    paths = calibrated.predict(num_samples=50)["lstm"]
    assert (paths % 1 == 0).all()
    assert paths.min() >= 0
    assert paths.nunique() > 3


@pytest.mark.parametrize("calibration", ["none", "cqr"])
def test_the_exported_function_has_the_bounds(tmp_path, quantile, calibration):
    asked = lstmjax.config.OutputsConfig(level=(80,), quantiles=(0.5,), calibration=calibration)
    forecaster = quantile.with_outputs(asked)
    export(forecaster, tmp_path / "model.stablehlo")
    function = jax.export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    described = json.loads((tmp_path / "model.stablehlo.json").read_text())
    assert described["forecasts"] == ["lstm", "lstm-lo-80", "lstm-hi-80", "lstm_ql0.5"]
    last = np.stack([rows["y"].to_numpy()[-12:, None] for _, rows in TABLE.groupby("unique_id")]).astype(np.float32)
    found = np.asarray(function.call({"y": last, "series": np.arange(2, dtype=np.int32)}))
    expected = forecaster.predict()[described["forecasts"]].to_numpy().reshape(2, 4, 1, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_refit_takes_the_offsets_of_the_selected_weights(tmp_path, monkeypatch):
    for picture in ("draw_forecasts", "draw_learning_curve"):  # which nobody looks at
        monkeypatch.setattr(outputs, picture, lambda *_, **__: None)
    TABLE.to_csv(tmp_path / "table.csv", index=False)
    options = {"data.path": str(tmp_path / "table.csv"), "train.refit_all": True, "outputs.level": (80,)}
    forecaster = train_run(CALIBRATED.replace(options), tmp_path / "run", say=lambda line: None).forecaster
    fitted, forecast = forecaster.fitted, pd.read_csv(tmp_path / "run" / "forecast.csv")
    assert fitted.refit is not None
    width = (forecast["lstm-hi-80"] - forecast["lstm"]).to_numpy().reshape(2, 4, 1)
    offset = conformal_quantile(abs(fitted.errors.signed(Point())), 0.8)  # (H, C), in the selected weights' units
    np.testing.assert_allclose(width, offset * fitted.selected.scaling.y_scale[:, None], rtol=2e-4)
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "run").predict(), forecaster.predict())


def test_the_scope_acts_only_where_errors_calibrate(quantile):
    def bounds(**options):
        return quantile.with_outputs(lstmjax.config.OutputsConfig(**options)).predict(level=[80])

    assert bounds(calibration_scope="series").equals(bounds(calibration_scope="pooled"))
    scopes = [bounds(calibration="conformal", calibration_scope=scope) for scope in ("series", "pooled")]
    assert not scopes[0].equals(scopes[1])


def test_refusals_say_how_to_get_intervals(point):
    plain = Forecaster(CONFIG)
    with pytest.raises(ConfigError, match=r"outputs\.level cannot be given: .*model\.head quantile.*calibration conf"):
        Forecaster(CONFIG.replace({"outputs.level": (80,)})).fit(TABLE)
    with pytest.raises(ConfigError, match="which moves the quantiles of a head, and a point forecast has none"):
        Forecaster(CONFIG.replace({"outputs.calibration": "cqr"})).fit(TABLE)
    plain.fit(TABLE)
    with pytest.raises(ConfigError, match="a point forecast has none: choose conformal, or another model.head"):
        plain.with_outputs(lstmjax.config.OutputsConfig(calibration="cqr"))
    with pytest.raises(ConfigError, match="a point forecast has no distribution"):
        plain.predict(level=[80])
    with pytest.raises(ConfigError, match="kept no held-out errors"):
        plain.predict(num_samples=3)
    with pytest.raises(ConfigError, match="paths, which have no intervals"):
        point.predict(level=[80], num_samples=3)
    with pytest.raises(ConfigError, match="num_samples is 0: expected at least 1"):
        point.predict(num_samples=0)
    with pytest.raises(ConfigError, match="num_samples is True: expected at least 1, a whole number"):
        point.predict(num_samples=True)
    with pytest.raises(ConfigError, match=r"outputs\.level names 80 twice"):
        point.predict(level=[80, 80])


def test_too_few_windows_are_refused_before_training():
    few = CALIBRATED.replace({"data.val_size": 10, "outputs.level": (99,), "train.max_steps": 10**9})
    with pytest.raises(DataError, match=r"interval of 99% needs 99 held-out windows .* step 1 has 14"):
        Forecaster(few).fit(TABLE)
    empty = TABLE.assign(y=TABLE["y"].where(~TABLE.groupby("unique_id").cumcount().between(180, 219)))
    missing = few.replace({"outputs.level": (80,), "data.val_size": 30, "data.calibration_size": 40})
    with (
        pytest.warns(DataWarning, match="empty cells"),
        pytest.raises(DataError, match=r"needs 4 held-out windows .* step 1 has 0"),
    ):
        Forecaster(missing).fit(empty)
