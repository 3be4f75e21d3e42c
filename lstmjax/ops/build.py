"""Compiles the native CPU kernel for this machine: ``python -m lstmjax.ops.build``.

It needs a C++ compiler (``$CXX``, else ``c++``, ``g++`` or ``clang++``) and the headers that come with jaxlib. The
library goes to the user's cache folder (``$LSTMJAX_KERNELS``, else ``~/.cache/lstmjax/kernels``). Its name holds the
digest of the source, the version of jaxlib and the kind of CPU: where one of them changes, it is compiled again.
Without a compiler nothing is lost: the JAX code runs instead. Two builds at once do not disturb each other.

With ``--package`` it goes into the package itself, for a wheel that holds it; see `docs/cpu_kernel.md`.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax

from lstmjax.ops import _library

FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-w"),
    *("-fno-math-errno", "-fno-trapping-math"),
    "-ffp-contract=off",  # sums of products are fused where the source says so: see vectors.h
)
KERNELS = {
    "avx512": ("-DWIDTH=16", "-mavx2", "-mfma", "-mavx512f", "-mavx512dq"),
    "avx2": ("-DWIDTH=8", "-mavx2", "-mfma"),
}
"""The flags of the kernel for each instruction set; one library holds both."""


class BuildError(Exception):
    """Why there is no library, in one line."""


def compiler() -> list[str]:
    """Returns the command of the C++ compiler.

    Raises:
        BuildError: there is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    for command in (named,) if named else (["c++"], ["g++"], ["clang++"]):
        if shutil.which(command[0]):
            return command
    wanted = f"$CXX is {named[0]!r}, which is not found" if named else "no C++ compiler (c++, g++, clang++) is found"
    raise BuildError(f"{wanted}: install one, or name it in $CXX")


def build(target: Path, extra: Sequence[str] = ()) -> None:
    """Compiles the library.

    Args:
        target: where it goes; written whole or not at all.
        extra: flags for the linker.

    Raises:
        BuildError: there is no compiler, it fails, or the folder cannot be written.
    """
    reason = _library.unsupported()
    if reason:
        raise BuildError(reason)
    command, source = compiler(), _library.SOURCES
    headers, made_from = jax.ffi.include_dir(), f'-DLSTMJAX_DIGEST="{_library.digest()}"'
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
            parts = {name: [*flags, "-c", str(source / "kernel.cc")] for name, flags in KERNELS.items()}
            parts["ffi"] = [made_from, "-I", headers, "-c", str(source / "ffi.cc")]
            objects = [str(Path(folder) / f"{name}.o") for name in parts]
            _run_all([[*command, *FLAGS, *part, "-o", to] for part, to in zip(parts.values(), objects, strict=True)])
            library = Path(folder) / "library.so"
            _run_all([[*command, "-shared", *objects, *extra, "-o", str(library)]])
            opened = _library.open_library(library)
            if isinstance(opened, str):
                raise BuildError(opened)
            os.replace(library, target)
    except OSError as error:
        raise BuildError(f"{error.filename or target} cannot be written ({error.strerror})") from None


def _run_all(commands: Sequence[Sequence[str]]) -> None:
    """Runs commands side by side.

    Raises:
        BuildError: one fails; says the first line of its errors.
    """
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for c in commands]
    errors = [process.communicate()[1] for process in running]
    for process, command, error in zip(running, commands, errors, strict=True):
        if process.returncode:
            told = next((line for line in error.splitlines() if "error" in line), error.strip()[:200])
            raise BuildError(f"{command[0]} fails: {told}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the library where it is not there yet, and says in one line whether it is; returns the exit status."""
    parser = argparse.ArgumentParser(prog=_library.BUILD_COMMAND, description="Compiles the native CPU kernel.")
    parser.add_argument("--package", action="store_true", help="put it into the package, for a wheel that holds it")
    package = parser.parse_args(arguments).package
    target = _library.packaged_path() if package else _library.built_path()
    try:
        done = "is there already"
        if not target.exists() or isinstance(_library.open_library(target), str):
            # A wheel's library must also load where the C++ runtime is older, or missing.
            build(target, ("-static-libstdc++", "-static-libgcc") if package else ())
            done = "is built"
    except BuildError as error:
        print(f"The native CPU kernel is not built, the JAX code runs instead: {error}")
        return 1
    print(f"The native CPU kernel {done}: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
