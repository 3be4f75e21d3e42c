"""A run from a store leaves the bytes that a run from its table leaves, and each is resumed from either."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from lstmjax.cli.app import main
from lstmjax.config import RunConfig

SMALL = [
    *("--data.h=6", "--data.input-size=24", "--data.test-size=30", "--data.hist-exog", "price"),
    *("--model.name=direct", "--model.hidden-size=8", "--model.head-size=0"),
    *("--train.max-steps=20", "--train.val-check-steps=10", "--train.batch-size=16"),
    "--outputs.plot-windows=1",
]
OUTPUTS = ("metrics.jsonl", "metrics.json", "test_forecasts.csv.gz", "forecast.csv", "metrics_by_series.csv")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    ds = pd.date_range("2024-01-01", periods=200, freq="h")
    tables = [
        pd.DataFrame(
            {"unique_id": name, "ds": ds, "y": level + np.sin(np.arange(200) / 4) + 0.1 * rng.normal(size=200)}
        ).assign(price=rng.normal(size=200))
        for name, level in (("north", 5.0), ("south", 9.0))
    ]
    path = tmp_path_factory.mktemp("data") / "table.csv"
    pd.concat(tables).sort_values("ds", kind="stable").to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def store(table):
    path = table.parent / "store"
    main(["pack", str(table), str(path), "--data.hist-exog", "price"])
    return path


@pytest.fixture(scope="module")
def of_table(table, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "table"
    main(["train", "--run-dir", str(run), "--data.path", str(table), *SMALL])
    return run


@pytest.fixture(scope="module")
def of_store(store, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "store"
    main(["train", "--run-dir", str(run), "--data.store", str(store), *SMALL])
    return run


def without_seconds(path):
    text = path.read_bytes() if path.suffix == ".gz" else path.read_text()
    if path.suffix not in (".json", ".jsonl"):
        return text
    lines = [text] if path.suffix == ".json" else text.splitlines()
    return [{k: v for k, v in json.loads(line).items() if "second" not in k} for line in lines]


def test_a_store_trains_to_the_bytes_of_its_table(of_table, of_store):
    for name in OUTPUTS:
        assert without_seconds(of_store / name) == without_seconds(of_table / name), name
    table, store = (RunConfig.from_json((run / "config.json").read_text()) for run in (of_table, of_store))
    assert store.replace({"data.path": table.data.path, "data.store": None}) == table
    described = [json.loads((run / "run.json").read_text())["data_sha256"] for run in (of_table, of_store)]
    assert described[0] == described[1]


def test_the_host_feeds_a_run(store, of_store, tmp_path):
    run = tmp_path / "host"
    main(["train", "--run-dir", str(run), "--data.store", str(store), *SMALL, "--train.feed=host"])
    found, expected = (json.loads((path / "metrics.json").read_text()) for path in (run, of_store))
    assert found["test"]["mae"] == pytest.approx(expected["test"]["mae"], rel=1e-5)
    feeds = [json.loads((path / "run.json").read_text())["feed"] for path in (run, of_store)]
    assert feeds == ["host", "device"]


@pytest.mark.parametrize("begun", ["table", "store"])
def test_a_run_is_resumed_from_the_table_or_its_store(begun, of_table, of_store, table, store, tmp_path):
    run, other = (of_table, f"--data.store={store}") if begun == "table" else (of_store, f"--data.path={table}")
    main(["train", "--resume", str(run), "--run-dir", str(tmp_path / "again"), other])
    for name in OUTPUTS:
        assert without_seconds(tmp_path / "again" / name) == without_seconds(run / name), name
    config = json.loads((tmp_path / "again" / "config.json").read_text())["data"]
    assert (config["path"] is None) == (begun == "table")
    assert (config["store"] is None) == (begun == "store")


def test_a_store_is_evaluated_and_forecast_from(of_table, of_store, store, tmp_path, capsys):
    printed = []
    for run, named in ((of_table, []), (of_table, ["--data.store", str(store)]), (of_store, [])):
        main(["evaluate", str(run), *named, "--json"])
        main(["predict", str(run), *named])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] == printed[2]


def test_what_cannot_be_is_one_line(store, table, tmp_path, capsys):
    for arguments, said in (
        (["train", f"--data.store={store}", f"--data.path={table}"], "data.store is .*: give one of the two"),
        (["train", f"--data.store={tmp_path}"], "is not a store"),
        (["train", f"--data.store={store}", "--data.target-cols", "price"], "price, but .* was packed with y"),
        (["check", f"--data.store={store}"], "lstmjax pack checked its table"),
        (["pack", str(table), str(store)], "exists already"),
        (["pack", str(table), str(tmp_path / "s"), "--data.target-cols", "z"], "has no column 'z'"),
        (["pack", str(table), str(tmp_path / "s"), f"--data.path={table}"], "name the table to pack by itself"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line)
        assert re.search(said, line), line
    assert not list(tmp_path.iterdir())
