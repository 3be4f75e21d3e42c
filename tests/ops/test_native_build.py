"""Building, finding and loading the native CPU kernel, and everything that can be wrong with it."""

import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import pytest

from lstmjax.ops import _library, build
from lstmjax.ops.lstm import chosen, lstm

BUILT = not isinstance(_library.load(), str)
needs_kernel = pytest.mark.skipif(not BUILT, reason=f"needs the kernel: {_library.load()}")
ROOT = Path(__file__).parents[2]

PROGRAM = """
import jax.numpy as jnp, numpy as np
from lstmjax.ops import LSTMWeights, lstm
from lstmjax.ops.lstm import chosen
draw = lambda *shape: jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape), jnp.float32)
weights = LSTMWeights(draw(3, 40), draw(10, 40), draw(40))
found, expected = (lstm(weights, draw(5, 6, 3), implementation=name)[1] for name in ("auto", "scan"))
np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
print(*chosen(), sep=": ")
"""


def told(code: str = PROGRAM, *arguments: str, status: int = 0, **variables: str) -> str:
    """What a process of its own prints, in an environment of its own."""
    command = [sys.executable, *(["-c", code] if code else []), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert run.returncode == status, run.stderr
    return run.stdout.strip()


@needs_kernel
def test_the_widest_vectors_of_the_cpu_are_used() -> None:
    assert told().startswith("native avx")
    assert told(LSTMJAX_CPU="avx2").startswith("native avx2: ")


def test_a_cpu_without_avx2_runs_the_jax_code() -> None:
    if BUILT:
        assert told(LSTMJAX_CPU="none") == "xla: the kernel needs a CPU with AVX2 and FMA (LSTMJAX_CPU is none)"
    with pytest.raises(ValueError, match="LSTMJAX_CPU is 'sse': expected one of avx512, avx2, none"):
        _with(LSTMJAX_CPU="sse")


def _with(**variables: str) -> Any:
    """What loading says under some environment variables, in this process: it must find nothing to load."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return _library.load.__wrapped__()


def test_without_a_library_the_jax_code_runs(tmp_path: Path) -> None:
    assert told(LSTMJAX_KERNELS=str(tmp_path)) == "xla: the kernel is not built: run python -m lstmjax.ops.build"
    assert told("", "-m", "lstmjax.ops", LSTMJAX_KERNELS=str(tmp_path)) == (
        "The LSTM on cpu runs on xla: the kernel is not built: run python -m lstmjax.ops.build"
    )


def test_what_is_no_library_is_left_alone(tmp_path: Path) -> None:
    path = Path(_with_folder(tmp_path))
    path.write_bytes(b"no library")
    assert "cannot be loaded" in _with(LSTMJAX_KERNELS=str(tmp_path))
    assert told(LSTMJAX_KERNELS=str(tmp_path)).startswith(f"xla: {path} cannot be loaded")


def _with_folder(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSTMJAX_KERNELS", str(folder))
        return _library.built_path()


@needs_kernel
def test_a_library_of_another_source_is_left_alone(tmp_path: Path) -> None:
    path, digest = _with_folder(tmp_path), _library.digest().encode()
    path.write_bytes(_library.load().path.read_bytes().replace(digest, b"0" * len(digest)))
    assert told(LSTMJAX_KERNELS=str(tmp_path)).endswith(
        "was made from another version of the source: run python -m lstmjax.ops.build"
    )


@needs_kernel
def test_a_library_that_xla_refuses_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("FFI handler's API version (0.9) is incompatible\nwith that of the framework")

    monkeypatch.setattr(jax.ffi, "register_ffi_target", refuse)
    found = _library.load.__wrapped__()
    assert found.endswith("(FFI handler's API version (0.9) is incompatible): run python -m lstmjax.ops.build")


def test_the_environment_says_what_auto_stands_for(monkeypatch: pytest.MonkeyPatch, make_problem: Any) -> None:
    problem = make_problem()
    for name in ("xla", "scan"):
        monkeypatch.setenv("LSTMJAX_LSTM", name)
        assert chosen() == (name, "LSTMJAX_LSTM says so")
        text = str(jax.make_jaxpr(lambda x: lstm(problem.weights, x)[1])(problem.x))
        assert "lstm_forward" not in text
    monkeypatch.setenv("LSTMJAX_LSTM", "fast")
    with pytest.raises(ValueError, match="LSTMJAX_LSTM is 'fast': expected one of auto, native, xla, scan, cudnn"):
        lstm(problem.weights, problem.x)


def test_elsewhere_than_on_a_cpu_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch, make_problem: Any) -> None:
    problem = make_problem()

    def never() -> None:
        raise AssertionError("the library was loaded")

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(_library, "load", never)
    assert chosen() == ("xla", "the native kernel runs on CPU")
    assert lstm(problem.weights, problem.x)[1].shape == (5, 7, 4)


def test_building_needs_no_device(tmp_path: Path) -> None:
    variables = {"JAX_PLATFORMS": "cuda", "CXX": "no-such-compiler", "LSTMJAX_KERNELS": str(tmp_path)}
    said = told("", "-m", "lstmjax.ops.build", status=1, **variables)
    assert said.startswith("The native CPU kernel is not built, the JAX code runs instead: $CXX is 'no-such-compiler'")


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that compiles nothing: it writes empty objects, and a library that was built before."""
    if not BUILT:
        pytest.skip(f"needs the kernel: {_library.load()}")
    script, log = tmp_path / "c++", tmp_path / "log"
    script.write_text(
        f"""#!{sys.executable}
import shutil, sys
open({str(log)!r}, "a").write("called\\n")
target = sys.argv[sys.argv.index("-o") + 1]
shutil.copy({str(_library.load().path)!r}, target) if "-shared" in sys.argv else open(target, "w").close()
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("LSTMJAX_KERNELS", str(tmp_path / "kernels"))
    return log


def test_it_is_built_once(compiler: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([]) == 0
    assert capsys.readouterr().out == f"The native CPU kernel is built: {_library.built_path()}\n"
    assert list(_library.built_path().parent.iterdir()) == [_library.built_path()]
    calls = compiler.read_text()
    assert build.main([]) == 0
    assert capsys.readouterr().out == f"The native CPU kernel is there already: {_library.built_path()}\n"
    assert compiler.read_text() == calls
    _library.built_path().unlink()  # a file of its own: this process has the other one open
    _library.built_path().write_bytes(b"torn")
    assert build.main([]) == 0
    assert not isinstance(_library.open_library(_library.built_path()), str)


def test_builds_side_by_side_do_not_disturb_each_other(compiler: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: build.build(_library.built_path()), range(4))) == [None] * 4
    assert list(_library.built_path().parent.iterdir()) == [_library.built_path()]
    assert not isinstance(_library.open_library(_library.built_path()), str)


def test_a_build_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LSTMJAX_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setenv("CXX", "false")
    assert build.main([]) == 1
    assert "the JAX code runs instead: false fails" in capsys.readouterr().out
    assert list((tmp_path / "kernels").iterdir()) == []
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LSTMJAX_KERNELS", str(tmp_path / "file" / "kernels"))
    assert build.main([]) == 1
    assert "cannot be written" in capsys.readouterr().out
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert build.main([]) == 1
    assert "no C++ compiler (c++, g++, clang++) is found" in capsys.readouterr().out


def test_the_name_of_a_library_says_what_it_was_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _library.built_path()
    monkeypatch.setattr(_library, "version", lambda _: "0.0.1")
    assert _library.built_path() != first
    monkeypatch.setattr(_library, "digest", lambda: "f" * 64)
    assert "f" * 16 in _library.built_path().name
    monkeypatch.setattr(_library.platform, "machine", lambda: "riscv64")
    assert "the kernel is made for Linux on x86-64" in _with(LSTMJAX_KERNELS="/nowhere")


def test_the_source_is_at_most_700_lines() -> None:
    sources = [*_library.SOURCES.glob("*.cc"), *_library.SOURCES.glob("*.h")]
    assert 0 < sum(len(path.read_text().splitlines()) for path in sources) <= 700
