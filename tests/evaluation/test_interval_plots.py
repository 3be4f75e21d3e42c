"""Pictures of how good intervals are: what they show, for any number of levels, steps and models."""

import numpy as np
import pandas as pd
import pytest

from lstmjax.evaluation import interval_plots
from lstmjax.evaluation.figure import save
from lstmjax.evaluation.intervals import Asked
from lstmjax.evaluation.probabilistic import frequencies
from lstmjax.evaluation.table import metric_names


def test_frequencies_are_the_fractions_of_truths_at_or_below_each_quantile():
    y = np.array([[1.0, 2.0], [np.nan, 4.0]])
    quantiles = np.array([[[0.0, 1.0], [0.0, 3.0]], [[9.0, 9.0], [4.0, 4.5]]])
    np.testing.assert_allclose(frequencies(y, quantiles), [1 / 3, 1.0])
    quantiles[0, 0, 0] = np.nan
    np.testing.assert_allclose(frequencies(y, quantiles), [np.nan, 1.0])
    assert np.isnan(frequencies(np.full((2, 2), np.nan), quantiles)).all()


def test_calibration_shows_reliability_and_the_histogram_of_places():
    measured = {"mine": np.array([0.2, 0.5, 0.9]), "seasonal_naive": np.array([0.1, 0.5, 0.9])}
    figure = interval_plots.calibration(measured, (0.1, 0.5, 0.9))
    reliability, histogram = figure.axes
    drawn = {line.get_label(): line.get_xydata() for line in reliability.get_lines()}
    np.testing.assert_array_equal(drawn["calibrated"], [[0, 0], [1, 1]])
    np.testing.assert_array_equal(drawn["mine"], [[0.1, 0.2], [0.5, 0.5], [0.9, 0.9]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["calibrated", "mine", "seasonal naive"]
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in histogram.patches[:4]]
    np.testing.assert_allclose(bars, [(0, 0.1, 2.0), (0.1, 0.4, 0.75), (0.5, 0.4, 1.0), (0.9, 0.1, 1.0)])
    assert sum(width * height for _, width, height in bars) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="probabilities is empty"):
        interval_plots.calibration({}, ())


@pytest.mark.parametrize("asked", [Asked((80,)), Asked((80, 95, 99)), Asked((), (0.1, 0.9)), Asked((50,), (0.5,))])
@pytest.mark.parametrize("h", [1, 30])
def test_errors_widths_and_coverage_stand_by_the_step_ahead(asked, h, tmp_path):
    models = ("$mine_", "seasonal_naive")
    rows = [{"key": step, "model": model} for step in range(1, h + 1) for model in models]
    random = np.random.default_rng(0)
    table = pd.DataFrame(rows).assign(**{name: random.random(len(rows)) for name in metric_names(asked)})
    figure = interval_plots.by_horizon(table, asked, unit="GW")
    labels = ["MAE (GW)", "CRPS (GW)", *(["mean width (GW)", "coverage"] if asked.level else [])]
    assert [axis.get_ylabel() for axis in figure.axes] == labels
    own = table[table["model"] == "$mine_"]
    for axis, names in zip(figure.axes, (["mae"], ["crps"], ["width"], ["coverage"]), strict=False):
        columns = [name for name in table.columns if name.split("-")[0] in names]
        for column, line in zip(columns, axis.get_lines(), strict=False):
            np.testing.assert_array_equal(line.get_xydata(), own[["key", column]])
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[:2] == [r"\$mine ", "seasonal naive"]
    assert len(shown) == 2 + (len(asked.level) if len(asked.level) > 1 else 0)
    save(figure, tmp_path / "a.png")
    with pytest.raises(ValueError, match="metrics is empty"):
        interval_plots.by_horizon(table[:0], asked)
