"""Plots of a sweep."""

import numpy as np
import optuna
from matplotlib.backends.backend_agg import FigureCanvasAgg

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
