"""The wheel and the sdist: built, installed outside the checkout, and used to forecast from there."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from lstmjax.version import __version__

ROOT = Path(__file__).parents[1]
STORED = ROOT / "tests" / "forecaster" / "stored" / "format-1"


def build(kind, source, folder):
    """Builds one distribution with the build backend of pyproject.toml."""
    pytest.importorskip("hatchling.build", reason="hatchling is not installed: pip install lstmjax[test]")
    folder.mkdir(exist_ok=True)
    code = f"from hatchling.build import build_{kind}; print(build_{kind}({str(folder)!r}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder / run.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("distributions")


@pytest.fixture(scope="module")
def wheel(folder):
    return build("wheel", ROOT, folder / "wheel")


@pytest.fixture(scope="module")
def sdist(folder):
    return build("sdist", ROOT, folder / "sdist")


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "lstmjax").rglob("*.py")}
    assert modules <= names
    assert {"lstmjax/py.typed", "lstmjax/data/elecdemand.csv.gz", "lstmjax/ops/native/kernel.cc"} <= names
    assert {name.split("/")[0] for name in names} == {"lstmjax", f"lstmjax-{__version__}.dist-info"}


def test_the_sdist_holds_what_testing_needs_and_makes_the_same_wheel(sdist, wheel, folder):
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    tree = folder / f"lstmjax-{__version__}"
    for name in ("tests/conftest.py", "tests/forecaster/stored/format-1/config.json", "scripts/test.sh", "README.md"):
        assert (tree / name).is_file(), name
    for name in ("constraints.txt", "experiments/etth.py", "CHANGELOG.md", "LICENSE", "docs/forecast.png"):
        assert (tree / name).is_file(), name
    assert not list(tree.rglob("__pycache__"))
    with zipfile.ZipFile(build("wheel", tree, folder / "again")) as again, zipfile.ZipFile(wheel) as first:
        assert sorted(again.namelist()) == sorted(first.namelist())


def test_a_wheel_with_the_native_kernel_is_for_one_platform_and_every_python(sdist, folder):
    tree = folder / "with-kernel"
    with tarfile.open(sdist) as archive:
        archive.extractall(tree, filter="data")
    root = tree / f"lstmjax-{__version__}"
    (root / "lstmjax" / "ops" / "native" / "lstm-x86_64.so").write_bytes(b"a library")
    wheel = build("wheel", root, folder / "with-kernel-wheel")
    assert "-py3-none-linux" in wheel.name or sys.platform != "linux"
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("lstmjax/ops/native/lstm-x86_64.so") == b"a library"
        assert b"Root-Is-Purelib: false" in archive.read(f"lstmjax-{__version__}.dist-info/WHEEL")


def test_the_installed_wheel_forecasts_outside_the_checkout(wheel, folder):
    target, elsewhere = folder / "installed", folder / "elsewhere"
    elsewhere.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run(pip, check=True, cwd=elsewhere)
    environment = os.environ | {"PYTHONPATH": str(target)}

    def said(*command):
        options = {"cwd": elsewhere, "env": environment, "capture_output": True, "text": True}
        run = subprocess.run([sys.executable, *command], **options)
        assert run.returncode == 0, run.stderr
        return run.stdout

    assert said("-c", "import lstmjax; print(lstmjax.__file__)").strip() == str(target / "lstmjax" / "__init__.py")
    assert said(str(target / "bin" / "lstmjax"), "--version") == f"lstmjax {__version__}\n"
    said("-m", "lstmjax.cli", "predict", str(STORED), "--out", "forecast.csv")
    found, stored = (pd.read_csv(path) for path in (elsewhere / "forecast.csv", STORED / "forecast.csv"))
    pd.testing.assert_frame_equal(found, stored, rtol=1e-4)
