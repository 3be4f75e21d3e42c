"""Pictures: what they show, that they are written whole, and that nothing global is touched."""

import io
import os

import hypothesis
import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from matplotlib.cbook import is_math_text
from matplotlib.image import imread

from lstmjax.evaluation import plots
from lstmjax.evaluation.figure import plain

DAY = pd.date_range("2014-12-30", periods=72, freq="h")


def window(**options):
    values = np.sin(np.arange(72) / 4)
    return plots.ForecastWindow(
        **{"history_time": DAY[:48], "history": values[:48], "time": DAY[48:], "forecast": values[48:] + 0.1} | options
    )


def lines(axis):
    """What a panel shows, by label."""
    return {line.get_label(): line.get_xydata() for line in axis.get_lines() if not line.get_label().startswith("_")}


def test_truth_goes_on_where_the_history_ends_and_the_forecast_lies_on_it():
    truth = np.sin(np.arange(48, 72) / 4)
    (axis,) = plots.forecasts([window(truth=truth)], value="demand", unit="GW").axes
    drawn = lines(axis)
    np.testing.assert_allclose(drawn["observed"][:, 1], np.sin(np.arange(72) / 4))
    np.testing.assert_allclose(drawn["lstm forecast"][:, 1], truth + 0.1)
    np.testing.assert_allclose(drawn["lstm forecast"][:, 0], drawn["observed"][48:, 0])
    assert axis.get_ylabel() == "demand (GW)"


def test_after_the_end_no_truth_is_drawn():
    (axis,) = plots.forecasts([window()]).axes
    assert len(lines(axis)["observed"]) == 48
    assert axis.get_ylabel() == "y"


def test_baselines_and_panels_share_one_legend():
    windows = [window(baselines={"seasonal_naive": np.zeros(24)}, title=name) for name in ("a", "b")]
    figure = plots.forecasts(windows, model="mine", title="Both")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "observed",
        "seasonal naive",
        "mine forecast",
        "horizon",
    ]
    assert legend.get_title().get_text() == "Both"
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["a", "b"]
    assert [axis.get_title(loc="right") for axis in figure.axes] == ["2014–2015"] * 2


def test_each_window_has_its_own_target_and_members_are_drawn_beside_their_mean():
    members = np.stack([np.zeros(24), np.ones(24)])
    figure = plots.forecasts([window(value="a"), window(value="b", members=members)], value="y", unit="GW")
    assert [axis.get_ylabel() for axis in figure.axes] == ["a (GW)", "b (GW)"]
    drawn = [line.get_ydata() for line in figure.axes[1].get_lines() if line.get_label() == "each member"]
    np.testing.assert_array_equal(drawn, members)


def test_panels_that_do_not_fit_a_picture_are_counted():
    figure = plots.forecasts([window()] * 60, title="Test")
    assert len(figure.axes) == 48
    assert figure.legends[0].get_title().get_text() == "Test (the first 48 of 60 panels)"


NAMES = [
    "a$b",
    "$",
    "$$",
    r"\$x\$",
    "$x_2$",
    "_hidden",
    "a\nb",
    "\x00\x1b[31m",
    "[red]b[/red]",
    "%s {0} 'q'",
    "日本 😀",
    "x" * 500,
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_drawn_as_it_is_written(name, tmp_path):
    figure = plots.forecasts([window(title=name, value=name, baselines={name: np.zeros(24)})], model=name, title=name)
    plots.save(figure, tmp_path / "a.png")
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 4
    for text in [*legend.get_texts(), figure.axes[0].title, figure.axes[0].yaxis.label, legend.get_title()]:
        assert text._preprocess_math(text.get_text())[1] is False
        assert "\n" not in text.get_text()
    assert plots.learning_curves({name: [{"step": 1, "val_loss": 1.0}]}).axes


@hypothesis.given(st.text(st.characters(), max_size=80))
def test_every_text_becomes_one_plain_line(text):
    shown = plain(text)
    assert len(shown) <= 2 * 40 + 1
    assert shown.isprintable() or not text.isprintable()
    assert not is_math_text(shown)
    assert not shown.startswith("_")


def test_the_ticks_of_a_learning_curve_are_checks():
    steps = list(range(7, 7 * 80, 7))
    (axis,) = plots.learning_curve([{"step": step, "train_loss": 1.0} for step in steps]).axes
    assert set(axis.get_xticks()) < set(steps)
    assert steps[-1] in axis.get_xticks()
    assert 5 <= len(axis.get_xticks()) <= 10


def test_the_curves_of_several_seeds_are_one_picture():
    seeds = {f"seed {k}": [{"step": s, "train_loss": 3.0, "val_loss": s + k} for s in (1, 2)] for k in range(9)}
    (axis,) = plots.learning_curves(seeds, loss="mae").axes
    drawn = lines(axis)
    np.testing.assert_array_equal(drawn["seed 8"], [[1, 9], [2, 10]])
    assert axis.get_ylabel() == "validation mae (scaled units)"
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.get_lines()}) == 9
    (axis,) = plots.learning_curves({"a": [{"step": 1, "train_loss": 3.0, "val_loss": None}], "b": []}).axes
    assert axis.get_ylabel() == "training loss (scaled units)"


def test_integer_times_and_a_single_step_are_visible():
    figure = plots.forecasts(
        [
            plots.ForecastWindow(
                pd.RangeIndex(1, 21), np.arange(20.0), pd.RangeIndex(21, 22), np.array([19.5]), np.array([20.0])
            )
        ]
    )
    forecast = next(line for line in figure.axes[0].get_lines() if line.get_label() == "lstm forecast")
    assert forecast.get_xdata().tolist() == [21]
    assert forecast.get_marker() == "o"


def test_time_zones_are_labelled_by_wall_clock():
    times = pd.date_range("2024-07-01 00:00", periods=24, freq="h", tz="Asia/Tokyo")
    figure = plots.forecasts([plots.ForecastWindow(times[:16], np.arange(16.0), times[16:], np.arange(8.0))])
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert "01 Jul" in labels
    assert "12:00" in labels


def test_learning_curve_shows_both_losses_and_marks_the_best():
    checks = [{"step": k, "train_loss": 2.0 / k, "val_loss": abs(k - 20) + 1.0} for k in (10, 20, 30)]
    (axis,) = plots.learning_curve(checks, best_step=20, loss="MSE").axes
    drawn = lines(axis)
    np.testing.assert_allclose(drawn["training"], [[10, 0.2], [20, 0.1], [30, 2 / 30]])
    np.testing.assert_allclose(drawn["validation"][:, 1], [11, 1, 11])
    assert [text.get_text() for text in axis.texts] == ["best: 1 at step 20"]
    assert axis.get_xlabel() == "step"


def test_learning_curve_without_validation_or_with_a_loss_that_blew_up():
    checks = [{"step": 1, "train_loss": 1.0, "val_loss": None}, {"step": 2, "train_loss": float("inf")}]
    (axis,) = plots.learning_curve(checks, best_step=2).axes
    drawn = lines(axis)
    assert list(drawn) == ["training"]
    assert np.isnan(drawn["training"][1, 1])


@pytest.mark.parametrize("draw", [plots.forecasts, plots.learning_curve, lambda _: plots.learning_curves({})])
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(ValueError, match="is empty"):
        draw([])


def test_saved_picture_has_equal_bytes_and_is_readable(tmp_path):
    for name in ("a.png", "b.png"):
        plots.save(plots.forecasts([window()], title="Same"), tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second
    assert b"Software" not in first
    assert imread(io.BytesIO(first)).std() > 0.05
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


def test_failed_save_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    figure = plots.learning_curve([{"step": 1, "train_loss": 1.0}])

    def fail(file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save(figure, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_global_state_of_matplotlib_is_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    plots.save(plots.forecasts([window()]), tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


def test_intervals_are_drawn_as_bands_from_the_widest_to_the_narrowest():
    bands = {95.0: (np.full(24, -2.0), np.full(24, 2.0)), 80.0: (np.full(24, -1.0), np.full(24, 1.0))}
    figure = plots.forecasts([window(bands=bands)])
    wide, narrow = (one for one in figure.axes[0].collections if one.get_label() in ("95%", "80%"))
    assert (wide.get_label(), narrow.get_label()) == ("95%", "80%")
    for drawn, end in ((wide, 2.0), (narrow, 1.0)):
        height = drawn.get_paths()[0].vertices[:, 1]
        assert (height.min(), height.max()) == (-end, end)
    assert wide.get_facecolor().mean() > narrow.get_facecolor().mean()  # lighter
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["observed", "lstm forecast", "95%", "80%", "horizon"]


def test_the_interval_of_a_single_step_is_visible():
    one = plots.ForecastWindow(
        pd.RangeIndex(1, 21),
        np.arange(20.0),
        pd.RangeIndex(21, 22),
        np.array([19.5]),
        bands={80.0: (np.array([18.0]), np.array([21.0]))},
    )
    (drawn,) = (each for each in plots.forecasts([one]).axes[0].collections if each.get_label() == "80%")
    np.testing.assert_array_equal(drawn.get_segments(), [[[21, 18], [21, 21]]])


@pytest.mark.parametrize("count", [1, 4, 9, 30])
@pytest.mark.parametrize("size", [3, 14, 40])
def test_every_entry_of_a_legend_is_in_the_picture(count, size):
    baselines = {f"{number:02d}".ljust(size, "x"): np.zeros(24) for number in range(count)}
    figure = plots.forecasts([window(baselines=baselines)] * 4)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == count + 3
    width = figure.get_size_inches()[0] * figure.dpi
    assert max(text.get_window_extent().x1 for text in legend.get_texts()) <= width
