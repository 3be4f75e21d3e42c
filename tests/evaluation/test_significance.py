"""Tests of two models' forecasts: published values, a formula in NumPy, their size by simulation, and bad tables."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from lstmjax.errors import ConfigError, DataError
from lstmjax.evaluation import significance
from lstmjax.evaluation.significance import bootstrap_difference, diebold_mariano


def table(errors_a, errors_b, h=1, step=1, series=("s",)):
    """Forecasts of hourly series: errors (cutoffs, h), or (cutoffs,) the same at every step and in every series."""
    rows = []
    for name in series:
        for number, (a, b) in enumerate(zip(errors_a, errors_b, strict=True)):
            cutoff = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=step * number)
            ds = [cutoff + pd.Timedelta(hours=ahead + 1) for ahead in range(h)]
            y = np.array([float(np.sin(time.hour)) for time in ds])
            columns = {"ds": ds, "cutoff": cutoff, "y": y, "lstm": y + a, "naive": y + b}
            rows.append(pd.DataFrame({"unique_id": name, **columns}))
    return pd.concat(rows, ignore_index=True)


FRAME = table([1.0, 2, 0, 3], [0.5, 0.5, 1, 1], series=("a", "b"))


def test(frame, **options):
    return diebold_mariano(frame, frame, model_b="naive", **options)


test.__test__ = False


def reference(d, overlap):
    """Harvey, Leybourne and Newbold's formulas as they are printed."""
    n, mean = len(d), np.mean(d)
    gamma = [sum((d[t] - mean) * (d[t - k] - mean) for t in range(k, n)) / n for k in range(overlap)]
    variance = (gamma[0] + 2 * sum(gamma[1:])) / n
    adjusted = np.sqrt((n + 1 - 2 * overlap + overlap * (overlap - 1) / n) / n) * mean / np.sqrt(variance)
    return adjusted, 2 * stats.t.cdf(-abs(adjusted), n - 1)


# --- values


def test_by_hand():
    """Differences 1, 2, 3, 4 with two cutoffs that overlap: gamma is 5/4 and 5/16; the variance (5/4 + 5/8) / 4."""
    found = test(table([1, 2, 3, 4], [0, 0, 0, 0]), h=2)
    assert found.statistic == pytest.approx(np.sqrt(3 / 8) * 2.5 / np.sqrt(15 / 32))
    assert found.mean_difference == pytest.approx(2.5)
    assert found.n == 4


def test_published_values():
    """Of the tests of the packages dieboldmariano and scores."""
    squared = test(table([0, 1, 2, 3, 4, 5], [0, 2, 3, 3, 5, 6]), loss="squared")
    assert (squared.statistic, squared.p_value) == pytest.approx((-2.4905, 0.05513), abs=1e-4)
    a = """0.3675225224615024 0.5450608127223211 0.22044990720021074 0.8688743471040006 0.6072512228948467
        0.8582283746501538 0.41662295816718187 0.3812100211114714 0.7185133356116706 0.30827323290318875
        0.4297093624074402 0.8615974488577858 0.7240514514808826 0.3450839595261038 0.19675301374013598"""
    b = """0.12794132529988733 0.3679643204341153 0.768715420996091 0.09972248964114683 0.27197653636654284
        0.28797629010039505 0.9160213458582482 0.6112628048698798 0.5452873235576241 0.06785907231746158
        0.6072666485541124 0.6241575753989782 0.39998026828867217 0.19895665605941748 0.8094941215215619"""
    absolute = test(table(*(list(map(float, text.split())) for text in (a, b))), h=3)
    assert absolute.statistic == pytest.approx(1.2109, abs=1e-4)
    assert absolute.p_value / 2 == pytest.approx(1 - 0.877, abs=1e-4)


@pytest.mark.parametrize(("h", "step", "overlap"), [(1, 1, 1), (6, 6, 1), (6, 24, 1), (6, 3, 2), (6, 4, 2), (6, 1, 6)])
@pytest.mark.parametrize("loss", ["absolute", "squared"])
def test_autocovariances_reach_as_far_as_horizons_overlap(h, step, overlap, loss):
    random = np.random.default_rng(h + step)
    a, b = random.normal(size=(2, 40, h)).cumsum(axis=1) + random.normal(size=(2, 40, 1))
    power = {"absolute": np.abs, "squared": np.square}[loss]
    expected = reference((power(a) - power(b)).mean(axis=1), overlap)
    found = test(table(a, b, h, step), loss=loss)
    assert (found.statistic, found.p_value) == pytest.approx(expected)


def test_series_and_targets_are_averaged_at_each_cutoff():
    one = table([1.0, 2, 0, 3], [0.5, 0.5, 1, 1])
    many = pd.concat([one.assign(unique_id=name, target=target) for name in "ab" for target in ("load", "heat")])
    assert test(many) == pytest.approx(test(one))


def test_a_missing_truth_counts_nowhere():
    whole = table([1.0, 2, 0, 3, 1], [0.5, 0.5, 1, 1, 9])
    partly = whole.assign(y=whole["y"].where(whole.index != 4), lstm=whole["lstm"].where(whole.index != 4))
    assert test(partly) == test(whole[:4])


def test_a_variance_that_is_not_positive_is_weighted():
    """Alternating differences have a first autocovariance of almost minus the variance."""
    d = np.array([1.0, -1.0] * 6) + 0.1
    found = test(table(d + 2, np.full(12, 2.0)), h=2)
    centered = d - d.mean()
    gamma = [centered @ centered / 12, centered[1:] @ centered[:-1] / 12]
    assert gamma[0] + 2 * gamma[1] < 0
    correction = np.sqrt((12 + 1 - 4 + 2 / 12) / 12)
    assert found.statistic == pytest.approx(correction * d.mean() / np.sqrt((gamma[0] + gamma[1]) / 12))


# --- properties


@pytest.mark.parametrize("loss", ["absolute", "squared"])
def test_swapping_the_models_flips_the_sign(loss):
    random = np.random.default_rng(1)
    frame = table(*random.normal(size=(2, 30, 3)), 3)
    there = test(frame, loss=loss)
    back = diebold_mariano(frame, frame, model_a="naive", model_b="lstm", loss=loss)
    assert (back.statistic, back.mean_difference) == pytest.approx((-there.statistic, -there.mean_difference))
    assert back.p_value == pytest.approx(there.p_value)
    left, right = (
        bootstrap_difference(frame, frame, model_a=one, model_b=other, loss=loss)
        for one, other in (("lstm", "naive"), ("naive", "lstm"))
    )
    assert (left.low, left.high) == pytest.approx((-right.high, -right.low))


@pytest.mark.parametrize(("n", "h", "test_size", "bootstrap_size"), [(12, 1, 0.05, 0.11), (400, 4, 0.05, 0.08)])
def test_of_equal_models_one_in_twenty_is_found_different(n, h, test_size, bootstrap_size, monkeypatch):
    """Differences of two equal models' losses, of means over overlapping horizons: it rejects as often as it says.

    The bootstrap's interval is somewhat too narrow, as its documentation says.
    """
    random = np.random.default_rng(0)
    rejected = np.zeros(2)
    for _ in range(1000):
        d = np.convolve(random.normal(size=n + h - 1), np.ones(h) / h, "valid")
        monkeypatch.setattr(significance, "_differences", lambda *_, d=d: (d, h))
        interval = bootstrap_difference(FRAME, FRAME, draws=300)
        rejected += diebold_mariano(FRAME, FRAME).p_value < 0.05, not interval.low < 0 < interval.high
    assert rejected / 1000 == pytest.approx((test_size, bootstrap_size), abs=0.02)


def test_a_better_model_is_found_better():
    random = np.random.default_rng(2)
    frame = table(0.8 * random.normal(size=(60, 4)), random.normal(size=(60, 4)), 4, 4)
    found, interval = test(frame), bootstrap_difference(frame, frame, model_b="naive")
    assert found.p_value < 0.01
    assert interval.low < found.mean_difference == interval.mean_difference < interval.high < 0


def test_the_bootstrap_draws_cutoffs():
    """The interval of a mean of independent values, by the normal law; the same for the same seed."""
    random = np.random.default_rng(3)
    d = random.normal(size=200)
    frame = table(d + 10, np.full(200, 10.0))
    intervals = [bootstrap_difference(frame, frame, model_b="naive", seed=seed, level=90) for seed in (0, 0, 1)]
    assert intervals[0] == intervals[1] != intervals[2]
    reach = 1.645 * d.std() / np.sqrt(200)
    assert intervals[0][:2] == pytest.approx((d.mean() - reach, d.mean() + reach), abs=0.01)


def test_the_bootstrap_allows_for_overlap():
    random = np.random.default_rng(4)
    d = np.convolve(random.normal(size=211), np.ones(12) / 12, "valid")
    frame = table(d + 10, np.full(200, 10.0))
    narrow, wide = (bootstrap_difference(frame, frame, model_b="naive", h=h) for h in (1, 12))
    assert 2 < (wide.high - wide.low) / (narrow.high - narrow.low) < 4  # about the square root of 12


# --- tables


def test_tables_of_their_own_names_kinds_and_orders():
    random = np.random.default_rng(5)
    frame = table(*random.normal(size=(2, 20, 2)), 2, series=("a", "b"))
    expected = test(frame)
    shuffled = frame.sample(frac=1, random_state=0)
    named = {"unique_id": "meter", "ds": "time"}
    asked = {"id_col": "meter", "time_col": "time", "model_b": "other"}
    theirs = frame.rename(columns={**named, "naive": "other"})
    assert diebold_mariano(shuffled.rename(columns=named), theirs, **asked) == pytest.approx(expected)
    assert diebold_mariano(pl.from_pandas(frame), frame, model_b="naive") == pytest.approx(expected)
    text = frame.assign(ds=frame["ds"].astype(str), cutoff=frame["cutoff"].astype(str))
    assert diebold_mariano(text, frame, model_b="naive") == pytest.approx(expected)
    zoned = frame.assign(**{name: frame[name].dt.tz_localize("Europe/Berlin") for name in ("ds", "cutoff")})
    assert test(zoned) == pytest.approx(expected)
    whole = {name: (frame[name] - frame["ds"].min()) // pd.Timedelta(hours=1) for name in ("ds", "cutoff")}
    assert test(frame.assign(**whole)) == pytest.approx(expected)


def test_equal_forecasts_are_not_different():
    frame = table([1.0, 2, 0, 3], [0.5, 0.5, 1, 1])
    assert diebold_mariano(frame, frame) == (0.0, 1.0, 0.0, 4)
    assert bootstrap_difference(frame, frame) == (0.0, 0.0, 0.0, 4)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (FRAME[:5], r"3 rows are in a only and 0 in b only, such as unique_id b, ds 2024-01-01 02:00:00, cutoff"),
        (pd.concat([FRAME, FRAME[:2]]), r"b has 2 rows twice \(equal in unique_id, ds, cutoff\)"),
        (
            FRAME.assign(y=FRAME["y"] + (FRAME.index == 3)),
            r"the truth \(y\) differs in 1 rows, such as -0.756802 in a and 0.243198 in b at",
        ),
        (FRAME.assign(naive=FRAME["naive"].where(FRAME.index > 1)), r"b: column 'naive' is empty in 2 rows"),
        (FRAME.drop(columns="naive"), r"b has no column 'naive'; it has 'unique_id', 'ds', 'cutoff', 'y', 'lstm'"),
        (FRAME.drop(columns="cutoff"), r"b has no column 'cutoff'"),
        (FRAME.assign(target="y"), r"a has no column 'target'"),
        (FRAME.assign(ds=range(8)), r"of different types \(unique_id: .*ds: datetime64.* and int64"),
        ("forecasts.csv", r"b is of the type 'str': expected a DataFrame"),
    ],
)
def test_tables_that_cannot_be_compared_are_one_line(other, message):
    for call in (diebold_mariano, bootstrap_difference):
        with pytest.raises(DataError, match=message) as raised:
            call(FRAME, other, model_b="naive")
        assert "\n" not in str(raised.value)


def test_too_few_cutoffs_are_refused():
    few = table([1.0, 2, 0, 3], [0.5, 0.5, 1, 1])
    with pytest.raises(DataError, match="there are 4 cutoffs .*, of which 4 in a row overlap: expected at least 5"):
        test(few, h=4)
    with pytest.raises(DataError, match="there are 1 cutoffs .*: expected at least 2"):
        test(few[:1])
    with pytest.raises(DataError, match="differ by the same amount at all 4 cutoffs"):
        test(table(np.full(4, 2.0), np.full(4, 1.0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "cubic"}, "loss is 'cubic': expected one of absolute, squared"),
        ({"h": 0}, "h is 0: expected at least 1"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        test(FRAME, **options)


@pytest.mark.parametrize(("options", "message"), [({"draws": 0}, "draws is 0"), ({"level": 100}, "level is 100")])
def test_draws_and_level_are_validated(options, message):
    with pytest.raises(ConfigError, match=message):
        bootstrap_difference(FRAME, FRAME, model_b="naive", **options)
