"""The table of options in the docs is what the fields say."""

import importlib.util
from pathlib import Path

from lstmjax.config import option_names

ROOT = Path(__file__).parents[2]


def test_the_table_in_the_docs_is_written_from_the_fields():
    spec = importlib.util.spec_from_file_location("options_table", ROOT / "scripts" / "options_table.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.page()
    assert (ROOT / "docs" / "options.md").read_text() == page, "run python scripts/options_table.py"
    assert page.count("\n| `") == len(option_names())
    assert "| `huber_delta` | number > 0 | 1 | same | traced | huber: where the loss turns" in page
    assert "*Acts with loss huber.* |" in page
