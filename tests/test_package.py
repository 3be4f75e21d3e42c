"""The package as it is installed: light to import, typed, and of one version."""

import importlib
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lstmjax

ROOT = Path(__file__).parents[1]
HEAVY = ("jax", "flax", "numpy", "pandas", "optax", "orbax", "matplotlib", "utilsforecast", "rich", "tyro", "optuna")


def modules_after(statement):
    """The modules loaded by a fresh interpreter that runs one statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.split())


@pytest.mark.parametrize("statement", ["import lstmjax", "import lstmjax; lstmjax.RunConfig(); lstmjax.LstmjaxError()"])
def test_import_loads_no_heavy_library(statement):
    loaded = modules_after(statement)
    assert "lstmjax" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_public_names_are_there_on_first_use():
    for name in lstmjax.__all__:
        assert getattr(lstmjax, name) is not None
    assert set(lstmjax.__all__) <= set(dir(lstmjax))
    with pytest.raises(AttributeError, match="'lstmjax' has no attribute 'Forcaster'"):
        _ = lstmjax.Forcaster


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert lstmjax.__version__ == project["version"] == importlib.metadata.version("lstmjax")


def test_types_and_data_are_shipped():
    package = Path(lstmjax.__file__).parent
    assert (package / "py.typed").exists()
    assert (package / "data" / "elecdemand.csv.gz").stat().st_size > 100_000


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    }
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {requirement.split(">")[0].split("[")[0] for requirement in wanted} - {"lstmjax"}
    assert names <= pinned


def test_old_paths_of_public_names_work_and_name_the_new_one():
    from lstmjax.evaluation import plots
    from lstmjax.forecaster.resume import take_member

    with pytest.warns(DeprecationWarning, match=r"lstmjax.evaluation.plots"):
        old = importlib.import_module("lstmjax.plots")
    assert old.forecasts is plots.forecasts
    with pytest.warns(DeprecationWarning, match=r"lstmjax.forecaster.resume"):
        old = importlib.import_module("lstmjax.resume")
    assert old.take_member is take_member


def test_the_top_level_holds_what_the_design_names():
    package = Path(lstmjax.__file__).parent
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert modules == {"errors", "version", "window", "plots", "resume"}
    for folder in ("config", "parallel"):  # too long for one file by now
        assert (package / folder / "__init__.py").exists()
    for old in ("plots", "resume"):
        assert len((package / f"{old}.py").read_text().splitlines()) <= 15
