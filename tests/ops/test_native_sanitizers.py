"""The native kernel under the address and undefined-behaviour sanitizers, over many shapes."""

import subprocess
from pathlib import Path

import pytest

from lstmjax.ops import _library, build

DRIVER = Path(__file__).parent / "sanitize.cc"


def test_no_access_outside_an_array_and_no_undefined_behaviour(tmp_path: Path) -> None:
    if _library.unsupported():
        pytest.skip(str(_library.unsupported()))
    try:
        compiler = build.compiler()
    except build.BuildError as error:
        pytest.skip(str(error))
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1", "-O1"]
    flags = [*(flag for flag in build.FLAGS if not flag.startswith("-O")), *checks, "-I", str(_library.SOURCES)]
    hello = tmp_path / "hello.cc"
    hello.write_text("int main() {}")
    if subprocess.run([*compiler, *flags, str(hello), "-o", str(tmp_path / "hello")], capture_output=True).returncode:
        pytest.skip(f"{compiler[0]} has no sanitizers")
    sources = {name: (_library.SOURCES / "kernel.cc", kernel) for name, kernel in build.KERNELS.items()}
    sources["driver"] = (DRIVER, ("-O1",))
    objects = {name: tmp_path / f"{name}.o" for name in sources}
    running = [
        subprocess.Popen([*compiler, *flags, *extra, "-c", str(source), "-o", str(objects[name])])
        for name, (source, extra) in sources.items()
    ]
    assert [process.wait() for process in running] == [0] * len(running)
    program = tmp_path / "sanitize"
    subprocess.run([*compiler, *flags, *map(str, objects.values()), "-o", str(program)], check=True)
    run = subprocess.run([program], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("runs\n")
