"""Plots of a sweep."""

import numpy as np
import optuna
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lstmjax.evaluation.plots import save
from lstmjax.sweep.report import plots


def test_every_option_has_its_bar_and_its_name() -> None:
    names = [f"model.option_{letter}" for letter in "abcdefg"]
    distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    rng = np.random.default_rng(0)
    trials = [
        optuna.trial.create_trial(
            params={name: rng.uniform() for name in names},
            distributions=dict.fromkeys(names, distribution),
            value=rng.uniform(),
        )
        for _ in range(40)
    ]
    figure = plots.importance(trials)
    assert figure is not None
    FigureCanvasAgg(figure).draw()
    (axis,) = figure.axes
    assert len(axis.patches) == len(names)
    assert sorted(label.get_text() for label in axis.get_yticklabels()) == names


def make(count: int, **values: object) -> list[optuna.trial.FrozenTrial]:
    distribution = optuna.distributions.FloatDistribution(9e-4, 0.2, log=True)
    trials = []
    for number in range(count):
        value = values.get(f"v{number}", 1.0)
        trial = optuna.trial.create_trial(
            params={"optimizer.learning_rate": 0.01, "model.dropout": 0.001 * (number + 1)},
            distributions={"optimizer.learning_rate": distribution, "model.dropout": distribution},
            value=value,
            intermediate_values={5: value, 10: value} if number else {5: value},
        )
        trial.number = number
        trials.append(trial)
    return trials


def test_what_lies_beyond_the_axis_is_counted(tmp_path) -> None:
    for draw in (plots.history, plots.learning_curves):
        figure = draw(make(9, v3=50.0, v4=0.5, v5=0.6), "mae")
        (axis,) = figure.axes
        count = "1 of 9" if draw is plots.history else "2 of 17"
        assert axis.get_title(loc="right") == f"{count} values lie above {axis.get_ylim()[1]:.4g}, up to 50"
        assert plots.history(make(4), "mae").axes[0].get_title(loc="right") == ""
        save(figure, tmp_path / "a.png")


def test_a_trial_that_was_pruned_at_its_first_check_is_a_point() -> None:
    (axis,) = plots.learning_curves(make(3), "mae").axes
    assert [len(line.get_xdata()) for line in axis.get_lines()] == [2, 2, 1]
    assert [line.get_marker() for line in axis.get_lines()].count("o") == 1
    assert axis.get_xticks().tolist() == [10, 5]


def test_a_logarithmic_axis_says_so_and_has_its_powers_of_ten() -> None:
    (axis,) = plots.parallel_coordinates(make(4), "mae").axes
    assert [label.get_text() for label in axis.get_xticklabels()] == [
        "model.\ndropout\n(log)",
        "optimizer.\nlearning_rate\n(log)",
    ]
    texts = [text.get_text() for text in axis.texts]
    assert sorted(set(texts)) == ["0.0009", "0.01", "0.1", "0.2"]


def test_the_best_line_reaches_the_last_trial_and_zero_is_the_best() -> None:
    (axis,) = plots.history(make(5, v1=0.0), "mae").axes
    line = next(line for line in axis.get_lines() if line.get_label() == "best so far")
    assert line.get_xdata()[-1] == 4
    assert line.get_ydata().tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    widths = [line.get_linewidth() for line in plots.parallel_coordinates(make(5, v1=0.0), "mae").axes[0].get_lines()]
    assert widths[0] == 2.2
