"""Mistakes in a command line are one line each, with the nearest option or command."""

import subprocess
import sys

import pytest

from lstmjax.cli.app import main
from lstmjax.version import __version__


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("train --data.hh 3", "unknown option --data.hh: did you mean --data.h?"),
        ("train --train.max_step=3", "unknown option --train.max_step: did you mean --train.max-steps?"),
        ("train --max-steps 3", "unknown option --max-steps: did you mean --train.max-steps?"),
        ("train --lerning-rate 3", "unknown option --lerning-rate: did you mean --optimizer.learning-rate?"),
        ("train --overwrit", "unknown option --overwrit: did you mean --overwrite?"),
        ("train --train.no-refit-al", "unknown option --train.no-refit-al: did you mean --train.no-refit-all?"),
        ("sweep s.toml --trial 3", "unknown option --trial: did you mean --trials?"),
        ("evaluate r --dat.path x", "unknown option --dat.path: did you mean --data.path?"),
        ("export r --out x --ou y", "unknown option --ou: did you mean --out?"),
        ("train --zzz", "unknown option --zzz: see lstmjax train --help"),
        ("predict a b", "unexpected argument 'b': see lstmjax predict --help"),
        ("trian", "unknown command 'trian': did you mean train?"),
        ("forecast", "unknown command 'forecast': the commands are train, "),
        ("", "no command is given: the commands are train, "),
        ("predict", "Missing from lstmjax predict: PATH The run directory. (required)"),
        ("train --data.h three", "Error parsing --data.h: invalid literal for int() with base 10: 'three'"),
        ("train --data.h", "Missing value for argument '--data.h'"),
        ("train --model.name foo", "invalid choice 'foo' for argument '--model.name'"),
        ("train --model.alias=", "model.alias is '': expected the name of a column, not an empty one"),
    ],
)
def test_a_mistyped_command_line_is_one_line(arguments, expected, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lstmjax: error: {expected}")


def test_the_version_is_printed_without_jax():
    code = "import sys; from lstmjax.cli import main; main(['--version']); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    version, modules = found.splitlines()
    assert version == f"lstmjax {__version__}"
    assert {"jax", "numpy", "pandas", "matplotlib"}.isdisjoint(modules.split())


def test_a_name_with_a_line_break_does_not_break_the_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["predict", str(tmp_path / "a\nb\x1b[31m")])
    (line,) = capsys.readouterr().err.splitlines()
    assert "a\\nb\\x1b[31m" in line
