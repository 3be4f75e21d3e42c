"""The pictures of a run: which windows and targets are drawn, and what with."""

import numpy as np
import pandas as pd

from lstmjax.config import RunConfig
from lstmjax.evaluation import plots
from lstmjax.runs.run import train_run

OPTIONS = {
    "data.h": 2,
    "data.input_size": 4,
    "data.target_cols": ["a", "b"],
    "model.hidden_size": 2,
    "model.head_size": 0,
    "train.max_steps": 2,
    "train.val_check_steps": 1,
    "train.chunk_steps": 1,
}


def test_every_target_of_as_many_windows_as_asked_is_drawn_with_the_baselines(tmp_path, monkeypatch):
    times = pd.date_range("2024-01-01", periods=60, freq="h")
    one = pd.DataFrame({"ds": times, "a": np.sin(np.arange(60.0)), "b": 1000 + np.arange(60.0)})
    pd.concat([one.assign(unique_id=name) for name in "xyz"]).to_csv(tmp_path / "t.csv", index=False)
    drawn, draw = {}, plots.forecasts

    def note(windows, **options):
        drawn[len(drawn)] = windows
        return draw(windows, **options)

    monkeypatch.setattr(plots, "forecasts", note)
    config = RunConfig().replace(OPTIONS | {"data.path": str(tmp_path / "t.csv"), "outputs.plot_windows": 4})
    result = train_run(config, tmp_path / "r", say=lambda _: None)
    tested, ahead = drawn.values()
    assert [window.value for window in tested] == ["a", "b"] * 4
    assert [(window.title, window.value) for window in ahead] == [(name, value) for name in "xyz" for value in "ab"]
    table = pd.read_csv(result.directory / "test_forecasts.csv.gz", parse_dates=["ds"])
    for window in tested:
        rows = table[(table["unique_id"] == window.title) & (table["target"] == window.value)]
        rows = rows[rows["cutoff"] == str(window.history_time[-1])].set_index("ds").loc[window.time]
        np.testing.assert_allclose(window.truth, rows["y"])
        np.testing.assert_allclose(window.forecast, rows["lstm"], rtol=1e-4)
        for name in ("naive", "seasonal_naive"):
            np.testing.assert_allclose(window.baselines[name], rows[name])
    forecast = pd.read_csv(result.directory / "forecast.csv")
    np.testing.assert_allclose(np.concatenate([window.forecast for window in ahead]), forecast["lstm"], rtol=1e-4)
    assert all(window.truth is None and window.members is None for window in ahead)
