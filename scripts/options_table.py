"""Writes docs/options.md: every option of a run, from its field in lstmjax/config.

Command:  python scripts/options_table.py     (a test fails where the file is not what this writes)
"""

import ast
import inspect
import itertools
import types
import typing
from pathlib import Path
from typing import Any, Literal

from lstmjax import config

TARGET = Path(__file__).parents[1] / "docs" / "options.md"
SECTIONS = {
    "data": config.DataConfig,
    "model": config.ModelConfig,
    "optimizer": config.OptimizerConfig,
    "train": config.TrainConfig,
    "outputs": config.OutputsConfig,
}
HEAD = """# Options

Every option of a run, by the name that sweeps and `RunConfig.replace` use; `--data.input-size 168` is its flag. This
file is written by `python scripts/options_table.py`.

- **Resume**: whether a resumed run may change it. *same*: no. *more*: it may only grow. *inferred*: no, and the run
  fills it in where it is not given. *free*: yes, nothing that is trained depends on it.
- **Sweep**: how a sweep searches it. *traced*: a new value compiles nothing. *shape*: trials that differ in it are
  compiled apart. *no*: not at all.
"""


def descriptions() -> dict[str, str]:
    """The text below each field, by dotted name of the option."""
    found = {}
    for name, section in SECTIONS.items():
        (body,) = ast.parse(inspect.getsource(section)).body
        assert isinstance(body, ast.ClassDef)
        for field, text in itertools.pairwise(body.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                found[f"{name}.{field.target.id}"] = " ".join(str(text.value.value).split())
    return found


def allowed(hint: Any, rules: config.Rules) -> str:
    """What an option may be."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is Literal:
        return ", ".join(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        (choices, *_) = typing.get_args(hint)
        if choices is float:
            return "numbers"
        return "some of " + ", ".join(typing.get_args(choices)) if typing.get_args(choices) else "names"
    bounds = [(">=", rules.low), (">", rules.above), ("<=", rules.high)]
    kind = {int: "whole number", float: "number", bool: "true, false", str: "text"}[hint]
    return " ".join([kind, *(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)])


def default(value: Any) -> str:
    """A default as a user writes it."""
    if value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return " ".join(map(default, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def table(name: str) -> str:
    """One section of options as a table in Markdown."""
    hints, texts = typing.get_type_hints(SECTIONS[name]), descriptions()
    lines = [f"## {name}", "", "| option | values | default | resume | sweep | |", "|---|---|---|---|---|---|"]
    for option, field in config.option_fields().items():
        section, short = option.split(".")
        if section != name:
            continue
        rules = config.rules(option)
        acts = " or ".join(f"{other} {', '.join(values)}" for other, values in (rules.only or {}).items())
        text = texts[option] + (f" *Acts with {acts}.*" if acts else "")
        sweep = "no" if rules.unsearchable else rules.sweep
        cells = [f"`{short}`", allowed(hints[short], rules), default(field.default), rules.resume, sweep, text]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole file."""
    return "\n".join([HEAD, *map(table, SECTIONS)])


if __name__ == "__main__":
    TARGET.write_text(page())
    print(TARGET)
