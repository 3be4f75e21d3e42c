"""Calibration rows and the grid of origins, from the options to a forecaster's forecasts and a run's files."""

import json

import numpy as np
import pandas as pd
import pytest

from lstmjax import Forecaster, RunConfig
from lstmjax.cli.app import main
from lstmjax.data.prepare import prepare
from lstmjax.data.table import DataWarning
from lstmjax.errors import DataError
from lstmjax.runs.run import resume_run, train_run
from lstmjax.sweep.population.population import make_populations
from lstmjax.sweep.population.trial import Trial
from lstmjax.sweep.space import Space

pytestmark = pytest.mark.filterwarnings("ignore:.*series were not trained on")

CONFIG = RunConfig().replace(
    {
        "data.h": 6,
        "data.input_size": 12,
        "data.val_size": 24,
        "data.calibration_size": 30,
        "data.test_size": 48,
        "model.name": "direct",
        "model.hidden_size": 2,
        "model.head_size": 0,
        "optimizer.schedule": "constant",
        "train.max_steps": 4,
        "train.val_check_steps": 2,
        "train.batch_size": 8,
        "train.batch_shards": 1,
        "outputs.plot_windows": 1,
    }
)
NONE_HELD_OUT = {"data.val_size": None, "data.calibration_size": 0, "data.test_size": None}


def wave(rows=300, name="a", start="2024-01-01"):
    y = 10 + np.sin(np.arange(rows) * np.pi / 12) + np.random.default_rng(rows).normal(0, 0.1, rows)
    return pd.DataFrame({"unique_id": name, "ds": pd.date_range(start, periods=rows, freq="h"), "y": y})


@pytest.fixture(scope="module")
def trained():
    return Forecaster(CONFIG).fit(wave())


def weights(forecaster):
    return [leaf.tobytes() for leaf in forecaster.fitted.selected.weights.params.values()]


def test_calibration_rows_are_neither_trained_nor_validated_nor_tested_on(trained):
    table = wave()
    assert trained.fitted.rows_seen(trained.panel(table)).tolist() == [252]
    evaluated = trained.evaluate(table)
    assert evaluated["ds"].min() == table["ds"][252]
    assert len(evaluated) == (48 - 6 + 1) * 6
    changed = table.assign(y=np.where((np.arange(300) >= 222) & (np.arange(300) < 252), 1e3, table["y"]))
    assert weights(Forecaster(CONFIG).fit(changed)) == weights(trained)
    prepared = prepare(trained.panel(table), trained.config.data, with_test=False)
    assert prepared.calibration.origin.tolist() == list(range(222, 252 - 6 + 1))


def test_times_divide_the_rows_as_sizes_do(trained):
    times = wave()["ds"].astype(str)
    ends = {"data.train_end": times[197], "data.val_end": times[221], "data.calibration_end": times[251]}
    by_time = Forecaster(CONFIG.replace(NONE_HELD_OUT | ends)).fit(wave())
    assert weights(by_time) == weights(trained)
    assert by_time.evaluate(wave()).equals(trained.evaluate(wave()))


def test_a_run_shows_its_calibration_rows_and_a_refit_trains_on_them(tmp_path, capsys):
    path = tmp_path / "wave.csv"
    wave().to_csv(path, index=False)
    flags = ["--data.h", "6", "--data.input-size", "12", "--data.val-size", "24", "--data.test-size", "48"]
    main(["check", str(path), *flags, "--json"])
    without = json.loads(capsys.readouterr().out)
    assert list(without["parts"]) == list(without["windows"]) == ["training", "validation", "test"]
    main(["check", str(path), *flags, "--data.calibration-size", "30"])
    shown = capsys.readouterr().out
    assert "\ncalibration                   30 rows, 25 windows, 2024-01-10 06:00:00 to 2024-01-11 11:00:00\n" in shown
    said = []
    config = CONFIG.replace({"data.path": str(path), "train.refit_all": True})
    run = train_run(config, tmp_path / "run", say=said.append)
    assert said[0].endswith("windows: 181 training, 19 validation, 25 calibration, 43 test")
    refit = run.forecaster.fitted.refit
    assert refit.fit_end == run.panel.start + 299 * 3600 * 10**6
    assert refit.scaling.y_center[0, 0] == pytest.approx(wave()["y"].mean())
    table = pd.read_csv(run.directory / "test_forecasts.csv.gz")
    assert len(table) == 43 * 6
    again = resume_run(run.directory, config.replace({"train.max_steps": 6}), say=said.append)
    assert again.metrics["steps"] == 6


def test_a_stored_config_from_before_has_no_calibration_rows():
    stored = json.loads(CONFIG.to_json())
    for name in ("calibration_size", "calibration_end", "origins"):
        del stored["data"][name]
    config = RunConfig.from_json(json.dumps(stored))
    assert config == CONFIG.replace({"data.calibration_size": 0})
    assert config.data.origins == "every"


@pytest.mark.parametrize(("origins", "hours"), [("00:00", {0}), ("24", {0}), ("8", {0, 8, 16})])
def test_a_forecaster_is_evaluated_where_it_was_trained_to_begin(origins, hours, tmp_path):
    config = CONFIG.replace({"data.origins": origins, "data.val_size": 48, "data.calibration_size": 48})
    table = wave(24 * 14)
    forecaster = Forecaster(config).fit(table)
    forecaster.save(tmp_path / "saved")
    for each in (forecaster, Forecaster.load(tmp_path / "saved")):
        evaluated = each.evaluate(table)
        first = evaluated.groupby("cutoff")["ds"].min()
        assert set(first.dt.hour) == hours
        assert first.min() == table["ds"][24 * 12]
        other = wave(24 * 9, name="other", start="2024-03-01")
        assert set(each.evaluate(other).groupby("cutoff")["ds"].min().dt.hour) == hours
    assert len(forecaster.predict()) == 6  # the next row is on the grid


def test_a_forecast_at_another_time_of_day_is_given_with_a_warning():
    config = CONFIG.replace(NONE_HELD_OUT | {"data.origins": "00:00", "data.input_size": 6})
    with pytest.warns(DataWarning, match=r"1 forecast begins at another time of day than 00:00 .* end the table at"):
        forecast = Forecaster(config).fit(wave(24 * 14 + 9)).predict()  # the tail holds no midnight
    assert forecast["ds"].min() == pd.Timestamp("2024-01-15 09:00")


def test_a_table_without_a_window_on_the_grid_is_one_line():
    forecaster = Forecaster(CONFIG.replace(NONE_HELD_OUT | {"data.origins": "00:00"})).fit(wave(24 * 14))
    with pytest.raises(
        DataError, match=r"nothing to evaluate: no series has 6 rows \(data.h\), beginning at data.orig"
    ):
        forecaster.evaluate(wave(22, name="new", start="2024-05-01 03:00"))


def test_the_trials_of_a_sweep_are_trained_and_ranked_on_the_grid():
    config = CONFIG.replace({"data.origins": "12:00", "data.val_size": 48})
    panel = Forecaster(config).fit(wave()).panel(wave())
    space = Space.from_dict({"optimizer.learning_rate": {"type": "choice", "values": [1e-3, 1e-2]}})
    trials = [Trial(0, {"optimizer.learning_rate": 1e-3}), Trial(1, {"optimizer.learning_rate": 1e-2})]
    (population,), refused = make_populations(config, panel, space, trials, seeds=1, metric="scaled_mae")
    assert not refused
    assert set(np.asarray(population.folds[0].train.origin) % 24) == {12}
    assert np.asarray(population.folds[0].validation.origin).tolist() == [180, 204]
    assert population.prepared.split.calibration_end.tolist() == [252]
