"""A new run from trained weights: every series, target and covariate is found by its name, whatever its place."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from flax import nnx

import lstmjax
from lstmjax import nn, sweep
from lstmjax.config import RunConfig
from lstmjax.errors import ConfigError, ConfigWarning
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.runs.run import train_run
from lstmjax.window import Forecast

ROWS = 40
TIMES = pd.date_range("2024-01-01", periods=ROWS, freq="h")
LEVELS = {"b": -10.0, "a": 10.0, "c": 3.0}
CONFIG = RunConfig().replace(
    {
        "data.h": 2,
        "data.input_size": 4,
        "data.val_size": 0,
        "data.scaler": "none",
        "model.name": "direct",
        "model.series_embedding": 3,
        "model.hidden_size": 4,
        "model.head_size": 0,
        "optimizer.learning_rate": 0.05,
        "train.max_steps": 40,
        "train.batch_size": 16,
        "train.batch_shards": 1,
    }
)
STILL = {"optimizer.learning_rate": 1e-12, "train.max_steps": 1}
"""Options under which the weights stay what they were."""


def of(name, level=None):
    y = (LEVELS[name] if level is None else level) + np.sin(np.arange(ROWS) / 2)
    return pd.DataFrame({"unique_id": name, "ds": TIMES, "y": y})


def table(*names):
    return pd.concat([of(name) for name in names])


def first(forecaster, df=None):
    """The first forecast of each series."""
    return forecaster.predict(df).groupby("unique_id")["lstm"].first().to_dict()


def embeddings(forecaster):
    weights = forecaster.fitted.forecasting.weights.params["series.table"]
    return dict(zip(map(str, forecaster.fitted.tail.ids), np.asarray(weights), strict=True))


def finetuned(forecaster, df, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConfigWarning)
        return copy.copy(forecaster).finetune(df, options=STILL | options)


@pytest.fixture(scope="module")
def trained():
    """Of the three, c was trained on as well."""
    forecaster = Forecaster(CONFIG).fit(table("b", "a", "c"))
    assert np.ptp(list(first(forecaster).values())) > 5  # the embeddings matter
    return forecaster


@pytest.mark.parametrize("names", ["bac", "abc", "cab", "ab", "c"])
def test_known_series_keep_what_is_theirs(names, trained):
    again = finetuned(trained, table(*names))
    before = embeddings(trained)
    for name, found in embeddings(again).items():
        np.testing.assert_allclose(found, before[name], atol=1e-6)
    expected = first(trained)
    assert first(again) == pytest.approx({name: expected[name] for name in names}, abs=1e-4)


@pytest.mark.parametrize(
    ("frames", "named"),
    [
        ([of("a"), of("new", 2.0), of("b"), of("c")], "1 of 4 series .*'new'"),  # a superset
        ([of("b").assign(unique_id="a2"), of("a")], "1 of 2 series .*'a2'"),  # renamed
        ([of("b").assign(unique_id=name) for name in ("x", "y")], "2 of 2 series .*'x', 'y'"),  # all of them
    ],
)
def test_others_start_from_the_mean_and_are_named(frames, named, trained):
    with pytest.warns(ConfigWarning, match=f"{named}$"):
        again = copy.copy(trained).finetune(pd.concat(frames), options=STILL)
    before = embeddings(trained)
    mean = np.mean(list(before.values()), axis=0)
    for name, found in embeddings(again).items():
        np.testing.assert_allclose(found, before.get(name, mean), atol=1e-6)


def test_one_series_becomes_many():
    one = Forecaster(CONFIG).fit(of("a").drop(columns="unique_id"))
    with pytest.warns(ConfigWarning, match="2 of 3 series"):
        many = copy.copy(one).finetune(pd.concat([of("b"), of("a").assign(unique_id="series"), of("c")]), options=STILL)
    for found in embeddings(many).values():
        np.testing.assert_allclose(found, embeddings(one)["series"], atol=1e-6)


def test_a_series_too_short_to_train_on_starts_from_the_mean_of_those_that_were_trained():
    with pytest.warns(lstmjax.data.DataWarning, match="no whole training window"):
        short = Forecaster(CONFIG).fit(pd.concat([of("b").head(2), of("a"), of("c")]))
    with pytest.warns(ConfigWarning, match="1 of 2 series .*'b'"):
        again = copy.copy(short).finetune(table("a", "b"), options=STILL)
    before, after = embeddings(short), embeddings(again)
    np.testing.assert_allclose(after["a"], before["a"], atol=1e-6)
    np.testing.assert_allclose(after["b"], (before["a"] + before["c"]) / 2, atol=1e-6)


def test_whole_numbers_are_the_same_series_as_their_text(trained):
    numbers = {"b": 1, "a": 2, "c": 3}
    old = Forecaster(CONFIG).fit(table("b", "a").assign(unique_id=lambda t: t["unique_id"].map(numbers)))
    again = finetuned(old, table("a", "b").assign(unique_id=lambda t: t["unique_id"].map(numbers).astype(str)))
    for name, found in embeddings(again).items():
        np.testing.assert_allclose(found, embeddings(old)[name], atol=1e-6)


def test_from_a_run_a_refit_and_several_seeds(tmp_path):
    """As ``lstmjax train --finetune-from`` does it."""
    for name, names in (("old.csv", "bac"), ("new.csv", "cba")):
        table(*names).to_csv(tmp_path / name, index=False)
    options = {"data.test_size": 4, "train.refit_all": True, "outputs.plot_windows": 1}
    config = CONFIG.replace({"data.path": str(tmp_path / "old.csv")} | options)
    old = train_run(config, tmp_path / "old", say=lambda _: None).forecaster
    assert old.fitted.refit is not None
    new = config.replace({"data.path": str(tmp_path / "new.csv")} | STILL)
    for seeds in (1, 2):
        run = train_run(new, tmp_path / f"{seeds}", seeds=seeds, finetune_from=tmp_path / "old", say=lambda _: None)
        for forecaster in run.forecasters:
            assert forecaster.fitted.refit is not None
            assert first(forecaster) == pytest.approx(first(old), abs=1e-4)


@pytest.mark.slow
def test_from_the_best_of_a_sweep(tmp_path):
    table("b", "a").to_csv(tmp_path / "old.csv", index=False)
    config = CONFIG.replace({"data.path": str(tmp_path / "old.csv"), "data.test_size": 4, "data.val_size": 6})
    space = {"optimizer.learning_rate": {"type": "choice", "values": [0.01, 0.05]}}
    settings = sweep.SweepConfig(trials=2, sampler="grid")
    best = sweep.run(space, config, tmp_path / "s", settings, say=lambda _: None).best()
    assert first(finetuned(best, table("a", "b"))) == pytest.approx(first(best), abs=1e-4)


class Own(nnx.Module):
    """A network of a user's own, with an embedding deep inside."""

    def __init__(self, spec, *, rngs):
        self.spec = spec
        self.parts = nnx.Dict(known=nn.SeriesEmbedding(spec.series, spec.targets, 2, rngs=rngs))
        self.out = nnx.Linear(2, spec.h, rngs=rngs)

    def __call__(self, window, *, rngs=None, deterministic=None):
        return Forecast(self.out(self.parts["known"](window.series)).swapaxes(1, 2)[..., None])


def test_an_embedding_of_a_network_of_one_s_own():
    old = Forecaster(CONFIG, network=Own).fit(table("b", "a"))
    assert first(finetuned(old, table("a", "b"))) == pytest.approx(first(old), abs=1e-4)


ROLES = {
    "data.target_cols": ("y", "z"),
    "data.hist_exog": ("p", "q"),
    "data.futr_exog": ("f", "g"),
    "data.stat_exog": ("s", "t"),
    "data.calendar": ("hour", "weekday"),
    "data.scaler": "standard",
    "model.name": "segment",
    "model.instance_norm": "revin",
}


@pytest.fixture(scope="module")
def columns():
    random, t = np.random.default_rng(0), np.arange(ROWS)
    frames = []
    for number, name in enumerate("ba"):
        columns = {"y": np.sin(t / 2) + number, "z": 100 + 5 * np.cos(t / 3), "s": float(number), "t": 2.0 - number}
        columns |= {column: random.normal(size=ROWS) * scale for scale, column in enumerate("pqfg", 1)}
        frames.append(pd.DataFrame({"unique_id": name, "ds": TIMES, **columns}))
    return pd.concat(frames)


@pytest.fixture(scope="module")
def old(columns):
    return Forecaster(CONFIG.replace(ROLES)).fit(columns)


class TestColumns:
    """Targets and covariates."""

    @staticmethod
    def future(columns):
        ds = pd.date_range(TIMES[-1], periods=3, freq="h")[1:]
        return pd.concat(
            pd.DataFrame({"unique_id": name, "ds": ds, "f": [0.1, 0.2], "g": [3.0, -1.0]}) for name in ("a", "b")
        )

    def forecasts(self, forecaster, columns, df=None):
        found = forecaster.predict(df, self.future(columns))
        return found.set_index(["unique_id", "ds", "target"])["lstm"].sort_index()

    @pytest.mark.parametrize("option", [*ROLES][:5])
    def test_columns_listed_in_another_order_are_the_same(self, option, old, columns):
        again = finetuned(old, columns, **{option: ROLES[option][::-1]})
        pd.testing.assert_series_equal(self.forecasts(again, columns), self.forecasts(old, columns), rtol=1e-4)

    def test_tables_in_another_order_of_rows_and_columns_are_the_same(self, old, columns):
        turned = columns[columns.columns[::-1]].sort_values("unique_id", kind="stable")
        assert turned["unique_id"].iloc[0] == "a"
        expected = self.forecasts(old, columns)
        pd.testing.assert_series_equal(self.forecasts(old, columns, turned), expected)
        pd.testing.assert_series_equal(self.forecasts(finetuned(old, turned), columns), expected, rtol=1e-4)
        keys = ["unique_id", "ds", "cutoff", "target"]
        scores = [
            old.evaluate(frame.assign(ds=frame["ds"] + pd.Timedelta(ROWS, "h"))).sort_values(keys)["lstm"].to_numpy()
            for frame in (columns, turned)
        ]
        np.testing.assert_allclose(*scores)

    def test_a_column_of_another_name_is_said(self, old, columns):
        with pytest.warns(ConfigWarning, match="'temperature' takes the place of 'p'"):
            again = copy.copy(old).finetune(
                columns.rename(columns={"p": "temperature"}),
                options=STILL | {"data.hist_exog": ("q", "temperature")},
            )
        assert again.config.data.hist_exog == ("temperature", "q")
        pd.testing.assert_series_equal(self.forecasts(again, columns), self.forecasts(old, columns), rtol=1e-4)

    def test_another_number_of_columns_is_refused(self, old, columns):
        with pytest.raises(ConfigError, match="has shape"):
            copy.copy(old).finetune(columns, options={"data.hist_exog": ("p",)})
