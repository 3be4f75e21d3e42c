"""Small forecasters of many kinds, and tables that continue what they were made from."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lstmjax import Forecaster, RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.forecaster.fit import fit_members
from lstmjax.forecaster.intervals import with_errors

BASE = {
    "data.h": 4,
    "data.input_size": 12,
    "data.season_length": 6,
    "data.val_size": 24,
    "model.name": "direct",
    "model.hidden_size": 5,
    "model.head_size": 4,
    "train.max_steps": 5,
    "train.val_check_steps": 5,
    "train.batch_size": 16,
    "train.batch_shards": 1,
    "outputs.calibration": "conformal",
}
STATEFUL = {"model.instance_norm": "none", "model.instance_scale": "none"}


def table(rows=100, names=("a", "b"), seed=0, start="2024-03-01", freq="h"):
    """Hourly series with two targets, two covariates, one of text."""
    random = np.random.default_rng(seed)
    t = np.arange(rows)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "unique_id": name,
                    "ds": pd.date_range(start, periods=rows, freq=freq),
                    "y": 5 + number + np.sin(t / 3) + random.normal(size=rows) / 5,
                    "z": random.gamma(3.0, size=rows),
                    "past": random.normal(size=rows),
                    "ahead": np.cos(t / 5),
                    "kind": np.where(t % 7 < 3, "low", "high"),
                    "size": float(number + 1),
                }
            )
            for number, name in enumerate(names)
        ],
        ignore_index=True,
    )


def holes(df, seed=1):
    """The same with cells that are empty, and rows that are missing; the last ones are whole."""
    random = np.random.default_rng(seed)
    df = df.copy()
    inner = df.groupby("unique_id").cumcount().between(1, len(df) // df["unique_id"].nunique() - 12)
    for column in ("y", "z", "past"):
        df.loc[inner & (random.random(len(df)) < 0.15), column] = np.nan
    gone = inner & (random.random(len(df)) < 0.12)
    return df[~gone].reset_index(drop=True)


KINDS = {
    "plain": {},
    "covariates": {"data.hist_exog": ("past",), "data.futr_exog": ("ahead",), "data.calendar": ("hour", "weekday")},
    "two targets, text": {"data.target_cols": ("y", "z"), "data.hist_exog": ("kind",), "data.stat_exog": ("size",)},
    "log, segments": {"data.transform": "log", "model.name": "segment", "model.segment_size": 6},
    "quantiles, long season": {
        "model.head": "quantile",
        "data.scaler_scope": "global",
        "model.num_layers": 2,
        "data.season_length": 24,
        "model.series_embedding": 2,
    },
}


def under(forecaster, options):
    """The same weights in a network with other options, none of which adds or removes a weight."""
    return Forecaster.of(forecaster.fitted.replace(config=forecaster.fitted.config.replace(options)))


def drawn(config, df):
    """What fitting to a table leaves, but with weights that are drawn: a stream takes any.

    Of what a forecaster compiles, the training steps take the most time.
    """
    prepared = prepare(panel_from_table(df, config.data), config.data, with_test=False)
    (fitted,) = fit_members(config, None, prepared, [0], until=0)
    random, weights = np.random.default_rng(0), fitted.selected.weights
    params = {name: (p + random.normal(size=p.shape) / 10).astype(p.dtype) for name, p in weights.params.items()}
    selected = dataclasses.replace(fitted.selected, weights=weights._replace(params=params))
    return Forecaster.of(with_errors(fitted.replace(selected=selected), None, prepared))


@pytest.fixture(scope="session")
def trained():
    """A forecaster of a kind, made from the first 60 rows of `table`; cached."""
    made = {}

    def of(kind, stateful=False):
        if kind not in made:
            made[kind] = drawn(RunConfig().replace(BASE | KINDS[kind]).chosen, early(table()))
        return under(made[kind], STATEFUL) if stateful else made[kind]

    return of


def early(df, rows=60):
    return df[df["ds"] < df["ds"].min() + pd.Timedelta(hours=rows)]


def later(df, rows=60):
    """The rows after them, as they come: by time."""
    return df[df["ds"] >= df["ds"].min() + pd.Timedelta(hours=rows)].sort_values("ds", kind="stable")


def known_ahead(df, hours):
    """The table with its last hours as known future."""
    df = df.copy()
    df.loc[df["ds"] > df["ds"].max() - pd.Timedelta(hours=hours), ["y", "z", "past"]] = np.nan
    return df
