"""The README's Python runs as printed: every block, in order, in one fresh interpreter and an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def script(text):
    """The ``python`` blocks of a Markdown text as one program, each line where it stands in the text."""
    lines = [""] * len(text.splitlines())
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        first = text[: block.start(1)].count("\n")
        for number, line in enumerate(block[1].splitlines(), first):
            lines[number] = line
    return "\n".join(lines) + "\n"


def test_blocks_keep_their_line_numbers():
    text = "# Title\n```bash\nls\n```\n```python\nx = 1\n```\nWords.\n\n```python\nassert x == 1\n```\n"
    assert script(text).splitlines() == ["", "", "", "", "", "x = 1", "", "", "", "", "assert x == 1", ""]


def test_readme_runs(tmp_path):
    program = script(README.read_text())
    assert "import lstmjax" in program
    (tmp_path / "README.md").write_text(program)
    run = subprocess.run([sys.executable, "README.md"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_page_on_backtesting_runs(tmp_path):
    pytest.importorskip("statsforecast")
    (tmp_path / "page.py").write_text(script((README.parent / "docs" / "backtesting.md").read_text()))
    run = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    said = [line.split()[0].split("(")[0] for line in run.stdout.splitlines()]
    assert said == ["lstm", "AutoETS", "seasonal_naive", "Comparison", "Interval"]
