"""Preparing: what may be validated and trained on, and which series are known to the network."""

import dataclasses
import warnings

import numpy as np
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.data.table import DataWarning
from lstmjax.data.windows import validation_windows
from lstmjax.errors import DataError

ROWS = np.arange(60)
CONFIG = DataConfig(h=4, input_size=8, val_size=10, test_size=10)  # 40 rows for training, validation up to row 50
VALIDATED = (ROWS >= 40) & (ROWS < 50)


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
