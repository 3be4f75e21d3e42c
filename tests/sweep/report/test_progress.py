"""The progress of a sweep, where there is no terminal."""

import io
import json

import optuna
import pytest
from rich.console import Console

from lstmjax.sweep.population.block import Report
from lstmjax.sweep.report import progress as display
from lstmjax.sweep.report.progress import SweepDisplay

REPORT = Report(
    step=240, values={}, running=3, member_steps=720, seconds=9.0, member_steps_per_second=200.0, message=None
)


@pytest.mark.parametrize(("silence", "lines"), [(0.0, 2), (3600.0, 0)])
def test_there_is_a_line_from_time_to_time_without_a_terminal(monkeypatch, silence, lines):
    monkeypatch.setattr(display, "_SILENCE", silence)
    file = io.StringIO()
    with SweepDisplay(64, 800, Console(file=file, width=200)) as shown:
        shown.on_report(REPORT)
        shown.on_report(REPORT)
    said = file.getvalue().splitlines()
    assert len(said) == lines
    assert said == ["step 240  0/64 trials done  0.25 members/s (200 steps/s)"] * lines


def test_brackets_in_a_setting_are_no_markup():
    trial = optuna.trial.create_trial(
        value=0.5, system_attrs={"lstmjax:params": json.dumps({"data.calendar": "[red]x[/]"})}
    )
    file = io.StringIO()
    with SweepDisplay(4, 800, Console(file=file, width=200, force_terminal=True, color_system=None)) as shown:
        shown.on_trials([trial])
    assert "calendar=[red]x[/]" in file.getvalue()
