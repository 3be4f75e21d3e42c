"""Names with any characters: of series, columns and the forecast; from a table through the whole run and back."""

import io
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lstmjax.cli.app import main
from lstmjax.config import RESULT_COLUMNS, RunConfig
from lstmjax.errors import one_line
from lstmjax.evaluation import plots
from lstmjax.runs import outputs
from lstmjax.runs.decoration import DecorationWarning
from lstmjax.runs.run import train_run
from lstmjax.training import Callback

SMALL = {
    "data.h": 2,
    "data.input_size": 4,
    "model.hidden_size": 2,
    "model.name": "direct",
    "model.head_size": 0,
    "train.max_steps": 2,
    "train.val_check_steps": 1,
    "train.chunk_steps": 1,
    "outputs.plot_windows": 1,
}


def run_with(names, folder, file, seeds=None, callbacks=(), say=None):
    """Trains on a table with given names: of two series, the id, time and target columns, a covariate, the alias."""
    first, second, id_col, time_col, target, covariate, alias = names
    n = 40
    times = pd.date_range("2024-01-01", periods=n)
    one = {time_col: times, target: np.sin(np.arange(n)), covariate: np.cos(np.arange(n))}
    table = pd.concat([pd.DataFrame({id_col: series, **one}) for series in (first, second)], ignore_index=True)
    path = folder / file
    table.to_parquet(path) if file.endswith("parquet") else table.to_csv(path, index=False, quoting=2)
    options = {
        "data.path": str(path),
        "data.id_col": id_col,
        "data.time_col": time_col,
        "data.target_cols": [target],
        "data.hist_exog": [covariate],
        "model.alias": alias,
    }
    config = RunConfig().replace(SMALL | options)
    said = io.StringIO()
    say = say or (lambda line: print(line, file=said))
    result = train_run(config, folder / "run", seeds=seeds, overwrite=True, callbacks=callbacks, say=say)
    return result, said.getvalue()


KINDS = {
    "dollars": ["Ba$$in", "$", "$$i", "d$", "$x_2$", r"\$c", "$y$"],
    "markup": ["[red]x[/red]", "[/]", "[id]", "[b]ds", "y[0]", "[link=x]", "[bold]"],
    "formats": ["100%", "%s %d", "{id}", "{0}", "y'\"", "%(x)s", "{lstm!r}"],
    "latex": [r"\frac{1}{2}", "x_2^3", "a_", r"\int", r"y\\", "c^", "_m_"],
    "emoji": ["😀", "日本語", "🆔", "مرحبا", "ÿ́", "👩‍👧", "🤖"],
    "long": ["a" * 5000, "b " * 900, "i" * 300, "t" * 300, "y" * 300, "c" * 300, "m" * 300],
    "breaks": ["a\nb", "a\tb", "i\nd", "d\ns", "y\n\n", "c\x0b", "l\tm"],
    "control": ["\x1b[31m", "a\x07", "i\x1b", "d\x7f", "y\x01", "c\u2028", "m\u202e"],
    "returns": ["a\rb", "a\r\n", "i\rd", "d\r", "y\r", "c\r", "\rm"],
    "separators": ["a,b", 'a"b', "i;d", "d,s", '"y"', "c|", "m,"],
}


OFTEN = ("dollars", "long", "returns", "separators")
"""Kinds that are tried every time; the others are slow, as each takes a whole run."""


@pytest.mark.parametrize(
    "kind", [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_names_of_every_kind_pass_through_a_run(kind, tmp_path, capsys, monkeypatch):
    names = KINDS[kind]
    result, said = run_with(names, tmp_path, "t.csv" if len(kind) % 2 else "t.parquet")
    check(result, names, said)
    capsys.readouterr()
    main(["evaluate", str(result.directory), "--out", str(tmp_path / "all.csv")])
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert json.loads((result.directory / "metrics.json").read_text())["test"]["mae"] > 0
    with monkeypatch.context() as patched, io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="") as terminal:
        patched.setattr("sys.stdout", terminal)
        main(["predict", str(result.directory)])
        assert terminal.buffer.getvalue() == (result.directory / "forecast.csv").read_bytes()


def check(result, names, said):
    first, second, id_col, time_col, _, _, alias = names
    forecast = pd.read_csv(result.directory / "forecast.csv", dtype=str, keep_default_na=False)
    assert forecast.columns.tolist()[:3] == [id_col, time_col, alias]
    assert forecast[id_col].unique().tolist() == sorted([first, second]) or set(forecast[id_col]) == {first, second}
    assert {path.name for path in (result.directory / "plots").iterdir()} == {
        "forecast.png",
        "test_forecasts.png",
        "learning_curve.png",
    }
    table = next(block for block in said.split("\n\n") if "MASE" in block or "seed" in block)
    assert all(one_line(line) == line for line in table.split("\n"))


UNICODE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20)


@settings(max_examples=3, phases=[Phase.generate])  # a failing example is long enough to read
@given(names=st.lists(UNICODE.filter(str.strip), min_size=7, max_size=7, unique_by=str.strip))
def test_any_name_passes_through_a_run(names, tmp_path_factory):
    if set(names[2:]) & {*RESULT_COLUMNS, f"{names[-1]}-std"}:
        return
    folder = tmp_path_factory.mktemp("any")
    result, said = run_with(names, folder, "t.parquet")
    check(result, names, said)


def test_the_names_of_several_seeds_and_targets_pass_too(tmp_path):
    result, said = run_with(KINDS["dollars"], tmp_path, "t.csv", seeds=2)
    columns = pd.read_csv(result.directory / "forecast.csv").columns.tolist()
    assert columns == ["$$i", "d$", "$y$", "$y$-std"]
    assert "seasonal_naive" in said


def test_what_decorates_a_run_cannot_end_it(tmp_path, monkeypatch):
    """Pictures that cannot be drawn, a tracker that fails at the end, a reader that is gone."""

    def broken(*_, **__):
        raise ValueError("unmatched '$'\nin a name")

    class Broken(Callback):
        on_end = broken

    monkeypatch.setattr(plots, "forecasts", broken)
    monkeypatch.setattr(outputs, "render_metrics", broken)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DecorationWarning)
        result, _ = run_with(KINDS["dollars"], tmp_path, "t.csv", callbacks=[Broken()], say=gone)
    reason = r"ValueError: unmatched '$'\nin a name"
    assert [str(warning.message) for warning in caught if warning.category is DecorationWarning] == [
        f"on_end of Broken failed: {reason}",
        f"the table of metrics is left out: {reason}",
        f"the picture test_forecasts.png is left out: {reason}",
        f"the picture forecast.png is left out: {reason}",
    ]
    assert {path.name for path in result.directory.iterdir()} >= {"forecast.csv", "metrics.json"}
    assert [path.name for path in (result.directory / "plots").iterdir()] == ["learning_curve.png"]


def gone(_):
    raise BrokenPipeError(32, "Broken pipe")
