"""An exported forecaster says what the forecaster says, where lstmjax is not installed."""

import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from lstmjax.cli.app import main
from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.errors import ConfigError
from lstmjax.forecaster import export
from lstmjax.forecaster.forecaster import Forecaster

CONFIG = RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {
        "data.h": 3,
        "data.input_size": 8,
        "data.futr_exog": ("holiday",),
        "data.hist_exog": ("wind",),
        "data.calendar": ("hour",),
        "data.transform": "log",
        "model.hidden_size": 4,
        "model.head_size": 0,
        "train.max_steps": 2,
        "train.batch_size": 8,
        "train.batch_shards": 1,
    }
)

ELSEWHERE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("lstmjax", "flax", "pandas", "orbax", "optax"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import json
from pathlib import Path
import jax.export
import numpy as np

exported = jax.export.deserialize(bytearray(Path(sys.argv[1]).read_bytes()))
with np.load(sys.argv[2]) as given:
    print(json.dumps({
        "platforms": exported.platforms,
        "all": np.asarray(exported.call(dict(given))).tolist(),
        "one": np.asarray(exported.call({name: array[:1] for name, array in given.items()})).tolist(),
    }))
"""


def series(name, rows, level, seed):
    random = np.random.default_rng(seed)
    t = np.arange(rows)
    return pd.DataFrame(
        {
            "unique_id": name,
            "ds": pd.date_range("2024-01-01", periods=rows, freq="h"),
            "y": np.exp(level + np.sin(t / 4) + random.normal(0, 0.1, rows)),
            "holiday": (t // 24 % 7 == 6).astype(float),
            "wind": random.normal(5, 2, rows),
        }
    )


@pytest.fixture(scope="module")
def forecaster():
    table = pd.concat([series("a", 80, 2.0, 0), series("b", 70, 5.0, 1)])
    future = pd.concat(
        pd.DataFrame(
            {"unique_id": name, "ds": pd.date_range("2024-01-01", periods=rows + 3, freq="h")[rows:], "holiday": 1.0}
        )
        for name, rows in (("a", 80), ("b", 70))
    )
    data = dataclasses.replace(CONFIG.data, val_size=10)
    prepared = prepare(panel_from_table(table, data, futr=future), data, with_test=False)
    return Forecaster(CONFIG).fit_prepared(prepared, until=0)


def given(forecaster):
    """The last window of every series, as whoever has only the table would cut it; one value is missing."""
    tail, length = forecaster.fitted.tail, CONFIG.data.input_size
    rows = [np.arange(begin, begin + length) for begin in tail.offsets[:-1]]
    ahead = [np.arange(begin, begin + length + CONFIG.data.h) for begin in tail.offsets[:-1]]
    times = [
        tail.timestamps(np.full(length + CONFIG.data.h, number), np.arange(length + CONFIG.data.h)) for number in (0, 1)
    ]
    hours = np.stack([2 * np.pi * index.hour / 24 for index in times])
    futr = np.concatenate([tail.futr[ahead], np.sin(hours)[..., None], np.cos(hours)[..., None]], axis=-1)
    arrays = {"y": tail.y[rows], "hist": tail.hist[rows], "futr": futr}
    return {name: array.astype(np.float32) for name, array in arrays.items()} | {"series": np.array([0, 1], np.int32)}


def test_elsewhere_it_says_the_same_for_any_number_of_windows(forecaster, tmp_path):
    path, told = tmp_path / "model.stablehlo", tmp_path / "model.stablehlo.json"
    forecaster.save(tmp_path / "r")
    # In a process of its own: here types are checked at every call, and a symbolic size is no int.
    command = [sys.executable, "-m", "lstmjax.cli", "export", str(tmp_path / "r"), "--out", str(path)]
    exported = subprocess.run(command, capture_output=True, text=True)
    assert exported.stdout.splitlines() == [str(path), str(told)], exported.stderr
    np.savez(tmp_path / "given.npz", **given(forecaster))
    command = [sys.executable, "-c", ELSEWHERE, str(path), str(tmp_path / "given.npz")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    expected = forecaster.predict()["lstm"].to_numpy().reshape(2, 3, 1)
    np.testing.assert_allclose(found["all"], expected, rtol=1e-4)
    np.testing.assert_allclose(found["one"], expected[:1], rtol=1e-4)
    assert found["platforms"] == ["cpu", "cuda", "tpu"]
    described = json.loads(told.read_text())
    assert described["inputs"] == {
        "y": ["windows", 8, 1],
        "hist": ["windows", 8, 1],
        "futr": ["windows", 11, 3],
        "series": ["windows"],
    }
    assert described["series"] == {"a": 0, "b": 1}
    assert described["columns"]["futr"] == ["holiday", "hour_sin", "hour_cos"]


@pytest.mark.parametrize("name", ["standard", "minmax", "robust", "none"])
def test_the_statistics_of_a_new_window_are_those_of_a_new_series(name, forecaster):
    """Of each scaler, beside those that the package computes with NumPy."""
    from lstmjax.data.scalers import SCALERS

    random = np.random.default_rng(3)
    values = random.normal(3, 2, (4, 12, 2)).astype(np.float32)
    values[0, :, 0] = 7.0  # constant
    known = random.random(values.shape) < 0.7
    scaling = dataclasses.replace(forecaster.fitted.selected.scaling, scaler=name)
    center, scale = export._window_statistics(jnp.array(values), jnp.array(known), scaling)
    for window in range(4):
        for channel in range(2):
            observed = values[window, known[window, :, channel], channel].astype(np.float64)
            expected = SCALERS[name](observed)
            spread = 1.0 if observed.min() == observed.max() else expected[1]
            np.testing.assert_allclose(
                [center[window, channel], scale[window, channel]], [expected[0], spread], rtol=1e-5
            )


def test_a_window_of_an_unseen_series_is_scaled_by_itself(forecaster):
    arrays = given(forecaster)
    call = jax.jit(export.forecast_function(forecaster))
    once = np.asarray(call(arrays | {"series": np.array([-1, -1], np.int32)}))
    # In logarithms ten times as much is a shift, which the window's own center takes away.
    tenfold = np.asarray(call(arrays | {"y": 10 * arrays["y"], "series": np.array([-1, -1], np.int32)}))
    np.testing.assert_allclose(tenfold, 10 * once, rtol=1e-4)


def test_missing_values_are_masked(forecaster):
    arrays = given(forecaster)
    arrays["y"][0, 3] = np.nan
    arrays["hist"][1, 2] = np.nan
    call = jax.jit(export.forecast_function(forecaster))
    found = np.asarray(call(arrays))
    assert np.isfinite(found).all()
    arrays["y"][0, 3] = 1e9
    assert not np.allclose(np.asarray(call(arrays)), found)


def test_weights_as_safetensors(forecaster, tmp_path):
    (path,) = export.export(forecaster, tmp_path / "w.safetensors")
    loaded = safetensors.numpy.load_file(path)
    params = forecaster.fitted.selected.weights.params
    assert params.keys() <= loaded.keys()
    for name, array in params.items():
        np.testing.assert_array_equal(loaded[name], array)
    with safetensors.safe_open(path, "numpy") as file:
        assert RunConfig.from_json(file.metadata()["config"]) == forecaster.fitted.config


def test_the_command_line(forecaster, tmp_path, capsys):
    forecaster.save(tmp_path / "r")
    main(["export", str(tmp_path / "r"), "--out", str(tmp_path / "w.safetensors")])
    assert capsys.readouterr().out == f"{tmp_path / 'w.safetensors'}\n"
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(tmp_path / "r"), "--out", str(tmp_path / "w.onnx")])
    assert stopped.value.code == 2
    assert "ends with .stablehlo or .safetensors" in capsys.readouterr().err


def test_a_missing_package_is_named(forecaster, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ConfigError, match=r"needs the package flatbuffers: pip install 'lstmjax\[export\]'"):
        export.export(forecaster, tmp_path / "m.stablehlo")
