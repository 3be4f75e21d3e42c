"""The metrics a run leaves: by series, target and step ahead, beside those over everything."""

import json

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import RunConfig
from lstmjax.evaluation.metrics import METRICS
from lstmjax.runs.run import train_run

CONFIG = RunConfig().replace(
    {
        "data.h": 3,
        "data.input_size": 6,
        "data.val_size": 8,
        "data.test_size": 12,
        "data.season_length": 4,
        "model.name": "direct",
        "model.hidden_size": 3,
        "model.head_size": 0,
        "train.max_steps": 2,
        "train.batch_size": 8,
        "train.batch_shards": 1,
        "outputs.plot_windows": 1,
    }
)


def test_metrics_by_group_are_written_and_mixed_units_are_said(tmp_path):
    random = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {"unique_id": name, "ds": np.arange(60), "kw": 1000 * random.normal(size=60), "c": random.random(60)}
        )
        for name in ("007", "8", "9")
    ]
    pd.concat(tables).to_csv(tmp_path / "t.csv", index=False)
    config = CONFIG.replace({"data.path": str(tmp_path / "t.csv"), "data.target_cols": ("kw", "c")})
    said = []
    run = train_run(config, tmp_path / "r", say=said.append)
    stored = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert stored["mixed_units"] is True
    assert stored["by_target"].keys() == {"kw", "c"}
    assert any("units differ" in line and "metrics_by_target.csv" in line for line in said)
    columns = ["key", "model", *METRICS, "n"]
    for what, keys in (("series", 3), ("target", 2), ("horizon", 3)):
        found = pd.read_csv(tmp_path / "r" / f"metrics_by_{what}.csv")
        assert list(found.columns) == columns
        assert list(found["model"]) == ["lstm", "naive", "seasonal_naive"] * keys
        mean = found.query("model == 'lstm'")["mae"].mean()  # groups of one size
        assert mean == pytest.approx(run.metrics["test"]["mae"])
    assert found["key"].unique().tolist() == [1, 2, 3]
    again = train_run(config, tmp_path / "r", overwrite=True, say=lambda line: None)
    assert again.metrics["by_target"] == run.metrics["by_target"]
