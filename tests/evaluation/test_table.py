"""The metrics table as it is printed."""

import math

from lstmjax.evaluation.table import render_metrics


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
