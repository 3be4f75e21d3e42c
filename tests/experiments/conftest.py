"""What the tests of all experiments share."""

import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def experiments_on_path():
    folder = str(Path(__file__).parents[2] / "experiments")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)
