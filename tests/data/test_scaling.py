"""Scaling: statistics of training rows only, an exact inverse, and series never seen before."""

import dataclasses
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.scalers import SCALERS
from lstmjax.data.scaling import Scaling, scale
from lstmjax.data.scaling_fit import align, fit_scaling
from lstmjax.data.split import Split, split_panel
from lstmjax.data.table import DataWarning
from lstmjax.data.unscaling import scale_targets, unscale
from lstmjax.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*empty cell.*masked", "ignore:.*the forecast begins there")


VALUES = np.random.default_rng(7).gamma(2.0, 3.0, size=(2, 60))


def _split(*ends: tuple[int, int, int]) -> Split:
    return Split(*np.array([(train, val, val, test) for train, val, test in ends], np.int64).T)


@pytest.mark.parametrize(
    ("scaler", "center", "spread"),
    [
        ("standard", np.mean, np.std),
        ("minmax", np.min, np.ptp),
        ("robust", np.median, lambda rows: np.subtract(*np.percentile(rows, [75, 25]))),
        ("none", lambda rows: 0.0, lambda rows: 1.0),
    ],
)
def test_statistics_are_those_of_observed_training_rows(series_of, scaler, center, spread):
    y = VALUES.copy()
    y[0, 5] = np.nan
    panel = series_of(*y)
    split = _split((40, 50, 60), (30, 50, 60))
    scaling = fit_scaling(panel, split, DataConfig(scaler=scaler))
    train = [np.delete(y[0, :40], 5), y[1, :30]]
    np.testing.assert_allclose(scaling.y_center[:, 0], [center(rows) for rows in train], rtol=1e-14)
    np.testing.assert_allclose(scaling.y_scale[:, 0], [spread(rows) for rows in train], rtol=1e-14)
    together = fit_scaling(panel, split, DataConfig(scaler=scaler, scaler_scope="global"))
    assert together.y_center.shape == (1, 1)
    np.testing.assert_allclose(together.y_center[0, 0], center(np.concatenate(train)), rtol=1e-14)
    np.testing.assert_allclose(together.y_scale[0, 0], spread(np.concatenate(train)), rtol=1e-14)


def test_rows_after_the_training_rows_change_no_statistic(hourly):
    table = hourly(60, x=VALUES[0], z=VALUES[1])
    config = DataConfig(h=4, val_size=10, test_size=10, hist_exog=("x",), futr_exog=("z",))
    changed = table.copy()
    changed.loc[40:, ["y", "x", "z"]] = 1e6 * np.random.default_rng(1).normal(size=(20, 3))
    stored = []
    for version in (table, changed):
        panel = panel_from_table(version, config)
        arrays, _ = fit_scaling(panel, split_panel(panel, config, with_test=True)[0], config).to_arrays()
        stored.append(arrays)
    for name, array in stored[0].items():
        np.testing.assert_array_equal(array, stored[1][name], err_msg=name)


@given(
    st.sampled_from(sorted(SCALERS)),
    st.sampled_from(["series", "global"]),
    st.floats(-1e9, 1e9),
    st.floats(1e-3, 1e6),
    st.integers(0, 2**32 - 1),
)
def test_the_inverse_is_exact(scaler, scope, offset, spread, seed):
    y = offset + spread * np.random.default_rng(seed).normal(size=(3, 50))
    table = pd.DataFrame({"unique_id": np.repeat(list("abc"), 50), "ds": np.tile(np.arange(50), 3), "y": y.ravel()})
    panel = panel_from_table(table, DataConfig())
    config = DataConfig(scaler=scaler, scaler_scope=scope)
    scaling = fit_scaling(panel, _split(*[(30, 40, 50)] * 3), config)
    series = np.array([2, 0, 1, 1])
    windows = y[series, 10:20][..., None]
    again = unscale(scale_targets(windows, series, scaling), series, scaling)
    np.testing.assert_allclose(again, windows, rtol=1e-12, atol=1e-12 * abs(offset))


def test_a_large_offset_costs_no_digits_on_the_device(series_of):
    y = 1e9 + VALUES[0]
    panel = series_of(y)
    scaling = fit_scaling(panel, _split((40, 50, 60)), DataConfig())
    expected = (VALUES[0] - VALUES[0][:40].mean()) / VALUES[0][:40].std()
    arrays = scale(panel, scaling)
    assert arrays.y.dtype == np.float32
    np.testing.assert_allclose(arrays.y[:, 0], expected, atol=2e-6)  # float32 of 1e9 has steps of 64
    again = unscale(arrays.y[None], np.array([0]), scaling)[0, :, 0]
    np.testing.assert_allclose(again, y, rtol=1e-14)


def test_missing_values_are_zero_and_masked(hourly):
    table = hourly(40, x=np.where(np.arange(40) == 3, np.nan, 5.0 + np.arange(40)), size=4.0)
    table.loc[7, "y"] = np.nan
    panel = panel_from_table(table, DataConfig(futr_exog=("x",), stat_exog=("size",)))
    arrays = scale(panel, fit_scaling(panel, _split((30, 35, 40)), DataConfig()))
    assert np.flatnonzero(~arrays.y_mask).tolist() == [7]
    assert np.flatnonzero(~arrays.futr_mask).tolist() == [3]
    assert arrays.y[7, 0] == 0
    assert arrays.futr[3, 0] == 0
    assert arrays.offsets.dtype == np.int32
    assert arrays.stat.tolist() == [[0.0]]


def test_covariates_are_standardised_together_and_flags_left_alone(hourly):
    tables = [
        hourly(40, unique_id=name, x=low + np.arange(40.0), flag=np.arange(40) % 2)
        for name, low in (("a", 0), ("b", 9))
    ]
    config = DataConfig(hist_exog=("x",), futr_exog=("flag",), scaler="none")
    panel = panel_from_table(pd.concat(tables), config)
    scaling = fit_scaling(panel, _split((30, 35, 40), (20, 30, 40)), config)
    train = np.concatenate([np.arange(30.0), 9 + np.arange(20.0)])
    np.testing.assert_allclose([scaling.hist_center[0], scaling.hist_scale[0]], [train.mean(), train.std()], rtol=1e-14)
    arrays = scale(panel, scaling)
    np.testing.assert_array_equal(arrays.futr[:, 0], np.tile([0, 1], 40))
    np.testing.assert_array_equal(arrays.y[:, 0], np.tile(np.arange(40), 2))


def test_a_constant_series_is_warned_of_and_scaled_by_one(series_of):
    panel = series_of(np.full(40, 0.1), np.arange(40.0))
    with pytest.warns(DataWarning, match=r"constant over the training rows: 's0' \('y' is always 0\.1\)$"):
        scaling = fit_scaling(panel, _split((30, 35, 40), (30, 35, 40)), DataConfig())
    assert scaling.y_scale[0, 0] == 1
    arrays = scale(panel, scaling)
    np.testing.assert_allclose(arrays.y[:40, 0], 0, atol=1e-7)


@pytest.mark.parametrize(("unit", "found"), [(1e201, "a scale of inf"), (8e306, "a center of inf"), (1e-200, "of 0")])
def test_values_whose_statistics_float64_does_not_hold_are_refused(hourly, series_of, unit, found):
    panel, splits = series_of(VALUES[0], VALUES[1] * unit), _split(*[(40, 50, 60)] * 2)
    with pytest.raises(DataError, match=rf"^series 's1', column 'y' is scaled by .*{found}.*: give it in another unit"):
        fit_scaling(panel, splits, DataConfig())
    with pytest.raises(DataError, match=rf"^column 'y' is scaled by .*{found}"):
        fit_scaling(series_of(VALUES[0] * unit), _split((40, 50, 60)), DataConfig(scaler_scope="global"))
    config = DataConfig(hist_exog=("x",))
    with pytest.raises(DataError, match=rf"^column 'x' is scaled by .*{found}"):
        fit_scaling(panel_from_table(hourly(60, x=VALUES[1] * unit), config), _split((40, 50, 60)), config)
    known = fit_scaling(series_of(VALUES[0]), _split((40, 50, 60)), DataConfig())
    with pytest.raises(DataError, match=rf"^series 's1', column 'y' is scaled by .*{found}"):
        align(known, ["s0"], panel)


def test_quartiles_that_coincide_fall_back_to_the_deviation(series_of):
    y = np.zeros(40)
    y[3] = 10.0
    scaling = fit_scaling(series_of(y), _split((30, 35, 40)), DataConfig(scaler="robust"))
    np.testing.assert_allclose(scaling.y_scale[0, 0], y[:30].std(), rtol=1e-14)


def test_series_without_training_rows_have_statistics_of_their_own_or_of_the_others(series_of):
    nothing = np.full(12, np.nan)
    nothing[11] = 3.0  # observed only after the training rows
    panel = series_of(np.arange(40.0), 100 + np.arange(12.0), nothing)
    scaling = fit_scaling(panel, _split((30, 35, 40), (0, 0, 0), (6, 9, 12)), DataConfig())
    np.testing.assert_allclose(scaling.y_center[:, 0], [14.5, 105.5, 60.0])
    np.testing.assert_allclose(scaling.y_scale[1, 0], np.arange(12.0).std())
    np.testing.assert_allclose(scaling.y_scale[2, 0], scaling.y_scale[:2, 0].mean())


def test_new_data_keeps_the_statistics_of_known_series(series_of):
    old = series_of(np.arange(40.0), 5 * np.arange(40.0))
    scaling = fit_scaling(old, _split((30, 35, 40), (30, 35, 40)), DataConfig())
    new = panel_from_table(
        pd.DataFrame(
            {
                "unique_id": ["new"] * 4 + ["s1"] * 4 + ["empty"] * 2,
                "ds": [0, 1, 2, 3, 0, 1, 2, 3, 0, 1],
                "y": [2.0, 4, 6, 8, 9, 9, 9, 9, np.nan, np.nan],
            }
        ),
        DataConfig(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        aligned = align(scaling, old.ids, new)
    np.testing.assert_allclose(aligned.y_center[:, 0], [5.0, 72.5, scaling.y_center.mean()])
    np.testing.assert_allclose(
        aligned.y_scale[:, 0], [np.std([2, 4, 6, 8]), scaling.y_scale[1, 0], scaling.y_scale.mean()]
    )
    together = fit_scaling(old, _split((30, 35, 40), (30, 35, 40)), DataConfig(scaler_scope="global"))
    aligned = align(together, old.ids, new)
    assert aligned.y_center is together.y_center
    assert aligned.y_scale is together.y_scale
    assert aligned.series.tolist() == [-1, 1, -1]


def test_arrays_and_json_make_the_same_statistics_again(series_of):
    panel = series_of(*VALUES)
    scaling = fit_scaling(panel, _split((40, 50, 60), (40, 50, 60)), DataConfig(scaler="robust"))
    arrays, metadata = scaling.to_arrays()
    again = Scaling.from_arrays(arrays, json.loads(json.dumps(metadata)))
    assert (again.scaler, again.per_series) == ("robust", True)
    np.testing.assert_array_equal(scale(panel, again).y, scale(panel, scaling).y)


@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust"])
@pytest.mark.parametrize("scope", ["series", "global"])
@pytest.mark.parametrize("level", [0.3, 1e9])
def test_a_scale_that_is_rounding_is_one(series_of, scaler, scope, level):
    y = level + np.random.default_rng(0).integers(-1, 2, 40) * np.spacing(level)
    panel = series_of(y)
    with pytest.warns(DataWarning, match="constant over the training rows: 's0'"):
        scaling = fit_scaling(panel, _split((30, 35, 40)), DataConfig(scaler=scaler, scaler_scope=scope))
    assert (scaling.y_scale == 1).all()
    assert (scaling.y_deviation == 1).all()
    np.testing.assert_allclose(scale(panel, scaling).y, 0, atol=1e-6)


def test_a_small_series_is_scaled_and_quartiles_that_are_rounding_are_not_its_scale(series_of):
    small = 1e-12 * VALUES[0]
    scaling = fit_scaling(series_of(small), _split((40, 50, 60)), DataConfig())
    np.testing.assert_allclose(scaling.y_scale[0, 0], small[:40].std(), rtol=1e-12)
    mostly = 0.3 + np.spacing(0.3) * np.random.default_rng(0).integers(-1, 2, 40)
    mostly[3] = 10.0
    scaling = fit_scaling(series_of(mostly), _split((30, 35, 40)), DataConfig(scaler="robust"))
    np.testing.assert_allclose(scaling.y_scale[0, 0], mostly[:30].std(), rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [{}, {"scaler": "none"}, {"scaler": "robust", "scaler_scope": "global"}, {"transform": "log", "scaler": "minmax"}],
)
def test_the_unit_of_scaled_metrics_is_the_deviation_of_the_training_rows(series_of, options):
    y = VALUES[:, :60].copy()
    y[0, 5] = np.nan
    old = series_of(*y)
    scaling = fit_scaling(old, _split((40, 50, 60), (30, 50, 60)), DataConfig(**options))
    expected = [np.nanstd(y[0, :40]), np.std(y[1, :30])]
    np.testing.assert_allclose(scaling.y_deviation[:, 0], expected, rtol=1e-14)
    new = dataclasses.replace(old, ids=np.array(["s1" if name == "s1" else "new" for name in old.ids], object))
    np.testing.assert_allclose(
        align(scaling, old.ids, new).y_deviation[:, 0], [np.nanstd(y[0]), expected[1]], rtol=1e-14
    )
    arrays, metadata = scaling.to_arrays()
    np.testing.assert_array_equal(Scaling.from_arrays(arrays, metadata).y_deviation, scaling.y_deviation)
    del arrays["y_deviation"], metadata["clip_min"]  # as an earlier version stored it
    again = Scaling.from_arrays(arrays, metadata)
    assert again.y_deviation.shape == (2, 1)
    assert again.clip_min is None


LEVEL = 1e9 + VALUES


@pytest.mark.parametrize(
    ("y", "options", "found"),
    [
        (LEVEL[:1], {"scaler": "none"}, r"'s0' \('y' in steps of 64, .*data\.scaler standard keeps what is lost$"),
        (LEVEL, {"scaler": "none"}, r"'s0' .*, 's1' .*data\.scaler standard"),
        (VALUES[:1] * 1e-3 + 5e5, {"scaler": "none"}, r".* in steps of 0\.0312, .*data\.scaler standard"),
        (np.exp(VALUES * 1e-6 + 5), {"scaler": "none", "transform": "log"}, r"'s0' .*data\.scaler standard"),
        (np.stack([LEVEL[0], VALUES[0]]), {"scaler_scope": "global"}, r"'s0' \(.*'s1' \(.*data\.scaler_scope series"),
    ],
)
def test_digits_that_float32_loses_are_warned_of(series_of, y, options, found):
    with pytest.warns(DataWarning, match=f"^float32, in which the network computes, rounds these series: {found}"):
        fit_scaling(series_of(*y), _split(*[(40, 50, 60)] * len(y)), DataConfig(**options))


@pytest.mark.parametrize(
    ("y", "options"),
    [
        (LEVEL, {}),
        (LEVEL, {"scaler": "minmax"}),
        (VALUES, {"scaler": "none"}),
        (np.round(1e6 + 10 * VALUES), {"scaler": "none"}),  # whole numbers that float32 holds
        (1e-20 * VALUES, {"scaler": "none"}),
        ((1e9 + 1e3 * VALUES).astype(np.float32).astype(float), {"scaler": "none"}),  # lost before it came here
    ],
)
def test_where_float32_loses_nothing_there_is_no_warning(series_of, y, options):
    fit_scaling(series_of(*y), _split((40, 50, 60), (40, 50, 60)), DataConfig(**options))


def test_no_forecast_is_below_the_bound_and_observed_values_that_are_get_a_warning(series_of):
    config = DataConfig(clip_min=2.0)
    with pytest.warns(DataWarning, match=r"data\.clip_min is 2, .*'s0' \('y' is .* at its lowest\), 's1'"):
        scaling = fit_scaling(series_of(*VALUES), _split((40, 50, 60), (40, 50, 60)), config)
    forecast = unscale(np.array([[[-9.0], [0.0], [np.nan]]]), np.array([0]), scaling)[0, :, 0]
    assert forecast[0] == 2.0
    assert forecast[1] == pytest.approx(VALUES[0, :40].mean())
    assert np.isnan(forecast[2])
    arrays, metadata = scaling.to_arrays()
    assert Scaling.from_arrays(arrays, json.loads(json.dumps(metadata))).clip_min == 2.0
