"""Preparing: what may be validated and trained on, and which series are known to the network."""

import dataclasses
import warnings

import numpy as np
import pytest

from lstmjax.config import DataConfig
from lstmjax.data import origins, split
from lstmjax.data import prepare as module
from lstmjax.data.build import panel_from_table
from lstmjax.data.origins import forecast_windows, validation_windows
from lstmjax.data.prepare import prepare
from lstmjax.data.table import DataWarning
from lstmjax.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*empty cell.*masked", "ignore:.*the forecast begins there")


ROWS = np.arange(60)
CONFIG = DataConfig(h=4, input_size=8, val_size=10, test_size=10)  # 40 rows for training, validation up to row 50
VALIDATED = (ROWS >= 40) & (ROWS < 50)


def _ends(prepared):
    return np.stack(prepared.split, axis=1).tolist()


def _weighted(hourly, weights):
    config = dataclasses.replace(CONFIG, weight_col="w")
    return panel_from_table(hourly(60, w=weights), config), config


def test_validation_rows_without_a_target_that_counts_validate_nothing(hourly, series_of):
    empty = series_of(np.where(VALIDATED, np.nan, ROWS)), CONFIG
    weightless = _weighted(hourly, np.where(VALIDATED, 0.0, 1.0))
    for panel, config in (empty, weightless):
        with pytest.warns(DataWarning, match="no validation row has a target that counts"):
            prepared = prepare(panel, config, with_test=True)
        assert [len(column) for column in prepared.validation] == [0, 0]
        assert len(prepared.train.series) == 40 - 4 - 8 + 1


def test_one_target_that_counts_keeps_every_validation_window(hourly, series_of):
    one = series_of(np.where(VALIDATED & (ROWS != 49), np.nan, ROWS)), CONFIG
    for panel, config in (one, _weighted(hourly, np.where(VALIDATED & (ROWS != 49), 0.0, 1.0))):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prepared = prepare(panel, config, with_test=True)
        assert prepared.validation.origin.tolist() == [40, 41, 42, 43, 44, 45, 46]
        np.testing.assert_array_equal(prepared.validation, validation_windows(prepared.split, h=4))


def test_weights_that_are_all_zero_leave_nothing_to_learn(hourly):
    panel, config = _weighted(hourly, np.where((ROWS >= 8) & (ROWS < 40), 0.0, 1.0))
    with pytest.raises(DataError, match=r"^column 'w' \(data\.weight_col\) is 0 in every row that is a"):
        prepare(panel, config, with_test=True)


def test_rows_that_leave_no_whole_training_window_are_refused(series_of):
    config = DataConfig(h=4, val_size=20, test_size=20)
    with pytest.raises(DataError, match=r"no series has a whole training window: the longest has 44 rows, .* needs 5"):
        prepare(series_of(np.arange(44)), config, with_test=True)


def test_a_series_too_short_among_others_is_named_and_only_forecast(series_of):
    panel = series_of(np.arange(100), np.arange(20), np.arange(100))
    with pytest.warns(DataWarning, match=r"1 of 3 series have no whole training window .* not trained on: 's1'$"):
        prepared = prepare(panel, DataConfig(h=4, val_size=10, test_size=10), with_test=True)
    assert _ends(prepared) == [[80, 90, 90, 100], [0, 0, 0, 0], [80, 90, 90, 100]]


def test_training_rows_without_an_observation_hold_no_window(series_of):
    empty = np.where(np.arange(40) < 31, np.nan, np.arange(40.0))
    config = DataConfig(h=4, val_size=5, test_size=5)
    with pytest.raises(DataError, match="no series has a whole training window"):
        prepare(series_of(empty), config, with_test=True)
    with pytest.warns(DataWarning, match="1 of 2 series .*: 's1'"):
        prepare(series_of(np.arange(40), empty), config, with_test=True)


def test_targets_are_looked_for_after_the_lookback_where_training_windows_have_them(series_of):
    late = np.where((np.arange(60) > 7) & (np.arange(60) < 41), np.nan, np.arange(60.0))  # all that is seen, is history
    config = DataConfig(h=4, input_size=12, val_size=10, test_size=10)
    with pytest.raises(DataError, match=r"no series has a whole training window.* data\.input_size or data\.h$"):
        prepare(series_of(late), config, with_test=True)
    with pytest.warns(DataWarning, match="1 of 2 series .*: 's1'$"):
        prepare(series_of(np.arange(60), late), config, with_test=True)
    prepared = prepare(series_of(late), dataclasses.replace(config, input_size=7), with_test=True)
    assert _ends(prepared) == [[40, 50, 50, 60]]


def test_many_short_series_are_counted(series_of):
    panel = series_of(np.arange(100), *[np.arange(8)] * 7)
    with pytest.warns(DataWarning, match=r"7 of 8 series .*: 's1', 's2', 's3', 's4', 's5' and 2 more"):
        prepare(panel, DataConfig(h=4, val_size=5, test_size=5), with_test=True)


def test_a_series_without_any_value_is_named_and_still_forecast(series_of):
    panel = series_of(np.arange(40), [np.nan] * 40)
    with pytest.warns(DataWarning, match="1 of 2 series .* not trained on: 's1'"):
        prepared = prepare(panel, DataConfig(h=4), with_test=True)
    assert _ends(prepared)[1] == [0, 0, 0, 0]
    assert forecast_windows(panel).series.tolist() == [0, 1]


def test_the_training_windows_are_cut_once(series_of, monkeypatch):
    calls = []
    monkeypatch.setattr(
        module, "train_windows", lambda *args, **sizes: calls.append(sizes) or origins.train_windows(*args, **sizes)
    )
    prepared = prepare(series_of(ROWS), CONFIG, with_test=True)
    assert calls == [{"input_size": 8, "h": 4, "step_size": 1}]
    assert len(prepared.train.series) == 40 - 4 - 8 + 1
    assert not hasattr(split, "train_windows")  # to cut the panel in time needs no windows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calendar": ("hour",)}, "data.calendar is hour, but the panel was built with none"),
        ({"holidays": "DE"}, "data.holidays is DE, but the panel was built with none"),
        ({"target_cols": ("load",)}, "data.target_cols is load, but the panel was built with y"),
        ({"hist_exog": ("x",), "futr_exog": ()}, "data.hist_exog is x, but the panel was built with none"),
        ({"futr_exog": ()}, "data.futr_exog is none, but the panel was built with x"),
        ({"stat_exog": ("x",), "futr_exog": ()}, "data.futr_exog is none, but the panel was built with x"),
    ],
)
def test_options_that_the_panel_was_not_built_with_are_refused(hourly, options, message):
    config = dataclasses.replace(CONFIG, futr_exog=("x",))
    panel = panel_from_table(hourly(60, x=ROWS), config)
    with pytest.raises(ConfigError, match=message):
        prepare(panel, dataclasses.replace(config, **options), with_test=True)
