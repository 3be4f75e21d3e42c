"""Tables of metrics: against utilsforecast on the written table of forecasts, and as they are printed."""

import math

import numpy as np
import pandas as pd
import pytest
import utilsforecast.losses

from lstmjax.evaluation import metrics
from lstmjax.evaluation.render import render_metrics
from lstmjax.evaluation.table import table_metrics

NAN = np.nan


def test_numbers_are_aligned_and_unknown_ones_dashes():
    text = render_metrics(
        {"lstm": {"mae": 0.2512, "smape": 5.2}, "seasonal_naive": {"mae": 11.5, "smape": math.nan}},
        {"lstm": {"mae": 0.5}},
        unit="GW",
    )
    heading, rule, first, second = text.splitlines()
    assert heading.split() == ["MAE", "(GW)", "sMAPE", "MAE", "(scaled)"]
    assert set(rule) == {"-"}
    assert first.split() == ["lstm", "0.2512", "5.200", "0.5000"]
    assert second.split() == ["seasonal_naive", "11.5000", "-", "-"]
    assert first.index(".") == second.index(".")


def test_names_are_printed_as_they_are():
    assert "[red]:cat:[/red]" in render_metrics({"[red]:cat:[/red]": {"mse": 1.0}})


def test_no_colour_is_written_whatever_the_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    lines = render_metrics({"lstm": {"mse": 1.0, "rmse": 1.0, "mae": 1.0, "smape": 1.0, "mase": 1.0}}).splitlines()
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)


def test_vanishing_and_huge_values_stay_readable():
    text = render_metrics({"a": {"mse": 0.0, "mae": 123456.7}, "b": {"mse": 1e-9, "mae": 200000.0}})
    assert text.splitlines()[2].split() == ["a", "0.000000", "123457"]


def windows_table(lengths, h, missing, seed=0):
    """Histories of some series, and the table of their windows as a run writes it."""
    random = np.random.default_rng(seed)
    history, rows = [], []
    for name, windows in lengths.items():
        y = random.normal(10, 3, 40)
        history.append(pd.DataFrame({"unique_id": name, "ds": np.arange(40), "y": y}))
        for cutoff in range(39, 39 + windows):
            truth = np.where(random.random(h) < missing, NAN, random.normal(10, 3, h))
            steps = np.arange(cutoff + 1, cutoff + 1 + h)
            row = {"unique_id": name, "ds": steps, "cutoff": cutoff, "y": truth}
            rows.append(pd.DataFrame(row | {m: random.normal(10, 3, h) for m in ("lstm", "naive")}))
    return pd.concat(history, ignore_index=True), pd.concat(rows, ignore_index=True)


def scales_of(history, season_length):
    return pd.DataFrame(
        [
            {"unique_id": name, "scale": metrics.seasonal_scale(group[["y"]].to_numpy(), season_length)[0]}
            for name, group in history.groupby("unique_id")
        ]
    )


def by_utilsforecast(history, table, model, season_length):
    """What anybody gets from ``test_forecasts.csv.gz`` with the library's own averages, for series of equal length."""
    losses, windows = utilsforecast.losses, table.drop(columns="cutoff")
    pooled = windows.assign(unique_id="all")
    return {
        "mse": losses.mse(windows, [model])[model].mean(),
        "rmse": losses.rmse(pooled, [model])[model].item(),
        "mae": losses.mae(windows, [model])[model].mean(),
        "smape": 200 * losses.smape(windows, [model])[model].mean(),
        "mase": losses.mase(windows, [model], season_length, history)[model].mean(),
    }


def test_table_agrees_with_utilsforecast(tmp_path):
    history, table = windows_table({"b": 6, "a": 6, "c": 6}, h=5, missing=0)
    table.to_csv(tmp_path / "test_forecasts.csv.gz", index=False)
    written = pd.read_csv(tmp_path / "test_forecasts.csv.gz")
    ours = table_metrics(table, ["lstm", "naive"], scales_of(history, 4))
    for model in ("lstm", "naive"):
        assert ours[model] == pytest.approx(by_utilsforecast(history, written, model, 4), abs=1e-6)


def test_table_agrees_with_the_array_metrics_on_unequal_series_with_gaps():
    history, table = windows_table({"b": 2, "a": 7}, h=5, missing=0.3)
    scales = scales_of(history, 4)
    ours = table_metrics(table, ["lstm"], scales)["lstm"]
    y, forecast = (table[name].to_numpy().reshape(-1, 5, 1) for name in ("y", "lstm"))
    scale = scales.set_index("unique_id")["scale"].loc[["b", "a"]].to_numpy()[:, None]
    expected = {name: getattr(metrics, name)(y, forecast) for name in ("mse", "rmse", "mae", "smape")}
    expected["mase"] = metrics.mase(y, forecast, scale, np.repeat([0, 1], [2, 7]))
    assert ours == pytest.approx(expected, rel=1e-12)


def test_several_targets_have_scales_of_their_own():
    table = pd.DataFrame(
        {"station": ["s", "s"], "target": ["OT", "HUFL"], "y": [1.0, 1.0], "lstm": [3.0, 5.0], "naive": [1.0, 1.0]}
    )
    scales = pd.DataFrame({"station": ["s", "s"], "target": ["HUFL", "OT"], "scale": [8.0, 1.0]})
    ours = table_metrics(table, ["lstm", "naive"], scales, id_col="station")
    assert ours["lstm"]["mase"] == pytest.approx((2 / 1 + 4 / 8) / 2)
    assert ours["naive"] == dict.fromkeys(metrics.METRICS, 0.0)


def test_a_row_without_a_forecast_makes_only_that_model_nan():
    history, table = windows_table({"a": 3}, h=2, missing=0)
    table.loc[1, "lstm"] = NAN
    ours = table_metrics(table, ["lstm", "naive"], scales_of(history, 1))
    assert all(math.isnan(value) for value in ours["lstm"].values())
    assert all(math.isfinite(value) for value in ours["naive"].values())


def test_a_row_without_forecast_and_truth_does_not_matter():
    history, table = windows_table({"a": 3}, h=2, missing=0)
    table.loc[1, ["y", "lstm"]] = NAN
    assert math.isfinite(table_metrics(table, ["lstm"], scales_of(history, 1))["lstm"]["mae"])


def test_table_without_any_truth():
    history, table = windows_table({"a": 3}, h=2, missing=1)
    ours = table_metrics(table, ["lstm"], scales_of(history, 1))
    assert all(math.isnan(value) for value in ours["lstm"].values())


def test_missing_column_is_named():
    history, table = windows_table({"a": 1}, h=1, missing=0)
    with pytest.raises(ValueError, match="forecasts has no column 'gru'"):
        table_metrics(table, ["gru"], scales_of(history, 1))
    with pytest.raises(ValueError, match="scales has no column 'scale'"):
        table_metrics(table, ["lstm"], table)


@pytest.mark.parametrize("value", [1.234e-12, 5e-4, 1e-30])
def test_small_values_are_printed_as_numbers(value):
    text = render_metrics({"lstm": {"mse": value, "mae": 2 * value}, "naive": {"mse": 1.5, "mae": 0.0}})
    _, _, lstm, naive = text.splitlines()
    assert [float(cell) for cell in lstm.split()[1:]] == pytest.approx([value, 2 * value], rel=1e-3)
    assert naive.split()[1:] == ["1.500000", "0.000000"]
