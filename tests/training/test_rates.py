"""The learning rate that is logged is the formula of the schedule: at every check, for every schedule."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from lstmjax import RunConfig
from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.runs import outputs
from lstmjax.runs.run import train_run
from lstmjax.training import Hyperparameters, train
from lstmjax.training.schedules import SCHEDULES

PEAK, TOTAL, WINDOWS, BATCH = 0.3, 40, 48, 8
EPOCH = WINDOWS // BATCH
OPTIONS = {"decay_rate": 0.5, "decay_steps": 7, "decay_start_epoch": 1, "final_fraction": 0.2, "plateau_patience": 1}
# A patience of one check: a plateau would fall within a few checks wherever it could.
CONFIG = TrainConfig(
    loss="mse",
    max_steps=TOTAL,
    batch_size=BATCH,
    batch_shards=1,
    val_check_steps=3,
    early_stop_patience_steps=-1,
    chunk_steps=10,
)


def formula(schedule, step, warmup, *, peak=PEAK, total=TOTAL, epoch=EPOCH):
    """The learning rate after ``step`` updates, written anew from the words in `OptimizerConfig`."""

    def after(step):
        length = total - warmup
        if schedule == "constant":
            return peak
        if schedule == "exponential":
            return peak * 0.5 ** (step / 7)
        if schedule == "step":
            return peak * 0.5 ** max(0, (step + warmup) // epoch - 1)
        if schedule == "cosine":
            return peak * (0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * min(step / length, 1))))
        top, first, last = 3 * length // 10, peak / 25, peak / 25 / 1e4
        start, end, part = (first, peak, step / top) if step < top else (peak, last, (step - top) / (length - top))
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(part, 1)))

    return after(0) * step / warmup if step < warmup else after(step - warmup)


@pytest.mark.parametrize("warmup", [0, 10])
@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"plateau"}))
def test_alone_and_in_a_population(tiny, data, schedule, warmup, calls):
    optimizer = OptimizerConfig(learning_rate=PEAK, schedule=schedule, warmup_steps=warmup, **OPTIONS)
    peaks = [PEAK, PEAK / 2]
    members = [
        Hyperparameters.from_config(dataclasses.replace(optimizer, learning_rate=peak), CONFIG) for peak in peaks
    ]
    for chosen in (members[:1], members) if schedule == "step" else (members,):  # a population is of any number
        checks = []
        result = train(tiny, data, optimizer, CONFIG, hyperparameters=chosen, callbacks=[calls(on_check=checks.append)])
        assert result.state.plateau is None
        assert len(checks) == math.ceil(TOTAL / 3)
        assert any(check.val_loss[0] > check.best_loss[0] for check in checks)  # where a plateau would fall
        for check in checks:
            expected = [formula(schedule, check.step, warmup, peak=peak) for peak in peaks[: len(chosen)]]
            np.testing.assert_allclose(check.learning_rate, expected, rtol=1e-4, atol=1e-8)


def test_under_plateau_it_is_the_peak_times_a_factor_of_the_checks(tiny, data, calls):
    optimizer = OptimizerConfig(learning_rate=0.5, schedule="plateau", warmup_steps=4, **OPTIONS)
    checks = []
    train(tiny, data, optimizer, CONFIG, callbacks=[calls(on_check=checks.append)])
    best, scale, scales = math.inf, 1.0, []
    for check in checks:  # a patience of one: every check without an improvement halves it
        loss = float(check.val_loss[0])
        if loss < (1 - 1e-4) * best:
            best = loss
        else:
            scale /= 2
        scales.append(scale)
    warm = [min(check.step / 4, 1.0) for check in checks]
    np.testing.assert_allclose([c.learning_rate[0] for c in checks], 0.5 * np.array(scales) * warm, rtol=1e-6)
    assert scales[-1] < 0.25


@pytest.mark.parametrize(
    ("schedule", "warmup"), [("cosine", 5), pytest.param("constant", 5, marks=pytest.mark.slow), ("step", 0)]
)
def test_in_a_run_and_in_its_refit(tmp_path, monkeypatch, schedule, warmup):
    """From the files that a run leaves; a refit, which validates nothing, has the same rates at the same steps."""
    y = np.sin(np.arange(160) / 3) + 0.3 * np.random.default_rng(0).normal(size=160)
    pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=160, freq="h"), "y": y}).to_csv(
        tmp_path / "d.csv", index=False
    )
    config = RunConfig().replace(
        {
            "data.path": str(tmp_path / "d.csv"),
            "data.h": 4,
            "data.input_size": 8,
            "data.val_size": 20,
            "data.test_size": 20,
            "model.hidden_size": 4,
            "model.head_size": 0,
            "model.instance_norm": "none",
            "model.instance_scale": "none",
            "optimizer.learning_rate": 0.1,
            "optimizer.schedule": schedule,
            "optimizer.warmup_steps": warmup,
            "optimizer.decay_rate": 0.5,
            "optimizer.decay_start_epoch": 1,
            "optimizer.final_fraction": 0.2,
            "optimizer.plateau_patience": 1,
            "train.max_steps": 24,
            "train.batch_size": 32,
            "train.val_check_steps": 4,
            "train.refit_all": True,
        }
    )
    for picture in ("draw_forecasts", "draw_learning_curve"):  # which nobody looks at
        monkeypatch.setattr(outputs, picture, lambda *_, **__: None)
    train_run(config, tmp_path / "run", say=lambda line: None)
    for folder, rows in (("run", 120), ("run/refit", 160)):
        epoch = (rows - 8 - 4 + 1) // 32
        lines = [json.loads(line) for line in (tmp_path / folder / "metrics.jsonl").read_text().splitlines()]
        assert len(lines) >= 2
        for line in lines:
            expected = formula(schedule, line["step"], warmup, peak=0.1, total=24, epoch=epoch)
            assert line["learning_rate"] == pytest.approx(expected, rel=1e-4)
