"""The experiment on folds: its tables and its sum; nothing is trained here."""

import importlib

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def folds(experiments_on_path):
    return importlib.import_module("folds")


def test_tables_follow_one_another(folds, tmp_path, monkeypatch):
    monkeypatch.setattr(folds, "DATASETS", {"elecdemand": "y"})
    written = [pd.read_csv(path, parse_dates=["ds"]) for path in folds.tables(tmp_path).values()]
    whole = pd.concat(written)
    assert [len(table) for table in written] == [3600] * 4
    assert (whole["ds"].diff().dropna() == pd.Timedelta(minutes=30)).all()


def test_the_ratio_is_a_geometric_mean(folds):
    def result(one, other, ratio):
        return {"one": {"trial": one}, "folds": {"trial": other}, "ratio": ratio}

    found = folds.summed_up([result(0, 1, 2.0), result(0, 1, 0.5), result(3, 3, 1.0)])
    assert found["mean_ratio"] == pytest.approx(1.0)
    assert (found["lower"], found["equal"], found["higher"]) == (1, 1, 1)
