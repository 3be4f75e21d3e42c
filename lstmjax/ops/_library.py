"""The compiled library of the native kernel: where it lies, whether it is the right one, and loading it.

It is looked for in the package, where a wheel may hold it, then in the folder that `lstmjax.ops.build` writes to. If
anything is wrong with it, nothing fails: `load` returns the reason, and the JAX code runs.
"""

import ctypes
import functools
import hashlib
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax

SOURCES = Path(__file__).parent / "native"
"""The folder of the kernel's source, and of the library in a wheel that holds it."""

BUILD_COMMAND = "python -m lstmjax.ops.build"

TARGETS = {"lstmjax_forward": "lstmjax_forward", "lstmjax_backward": "lstmjax_backward"}
"""XLA's names of the calls, and the library's symbols."""

CPU_VARIABLE = "LSTMJAX_CPU"
FOLDER_VARIABLE = "LSTMJAX_KERNELS"

VECTORS = {"avx512": 16, "avx2": 8, "none": 0}
"""What `CPU_VARIABLE` may say: the best instructions to use, and the floats in one of their vectors."""


class Library(NamedTuple):
    """A library that is loaded, and whose calls XLA knows."""

    path: Path
    width: int
    """Floats in a vector."""

    @property
    def instructions(self) -> str:
        """The name of the instruction set."""
        return next(name for name, width in VECTORS.items() if width == self.width)


def digest() -> str:
    """Returns the SHA-256 of the kernel's source; a library says from which it was made."""
    found = hashlib.sha256()
    for path in sorted((*SOURCES.glob("*.h"), *SOURCES.glob("*.cc"))):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def built_path() -> Path:
    """Returns where the library for this source, this jaxlib and this kind of CPU lies once it is built.

    One library serves all CPUs of an architecture: it chooses its instructions when it is loaded.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        folder = os.path.join(cache, "lstmjax", "kernels")
    return Path(folder) / f"lstm-{digest()[:16]}-jaxlib-{version('jaxlib')}-{platform.machine()}.so"


def packaged_path() -> Path:
    """Returns where the library lies in a wheel that holds it."""
    return SOURCES / f"lstm-{platform.machine()}.so"


def unsupported() -> str | None:
    """Returns why the kernel cannot be built for this machine; None: it can."""
    machine = platform.machine()
    if sys.platform != "linux" or machine != "x86_64":
        return f"the kernel is made for Linux on x86-64, and this is {sys.platform} on {machine}"
    return None


def open_library(path: Path) -> ctypes.CDLL | str:
    """Opens a library if it was made from this source; otherwise returns the reason."""
    try:
        library = ctypes.CDLL(str(path))
        library.lstmjax_digest.restype = ctypes.c_char_p
        made_from = library.lstmjax_digest().decode()
    except (OSError, AttributeError) as error:
        return f"{path} cannot be loaded ({error}): run {BUILD_COMMAND}"
    if made_from != digest():
        return f"{path} was made from another version of the source: run {BUILD_COMMAND}"
    return library


@functools.cache
def load() -> Library | str:
    """Loads the library and makes its calls known to XLA, once per process.

    Returns:
        The library, or the reason why there is none.

    Raises:
        ValueError: ``$LSTMJAX_CPU`` is unknown.
    """
    limit = os.environ.get(CPU_VARIABLE) or "avx512"
    if limit not in VECTORS:
        raise ValueError(f"{CPU_VARIABLE} is {limit!r}: expected one of {', '.join(VECTORS)}")
    reason = unsupported() or f"the kernel is not built: run {BUILD_COMMAND}"
    for path in (packaged_path(), built_path()):
        if not path.exists():
            continue
        library = open_library(path)
        if isinstance(library, str):
            reason = library
            continue
        width = library.lstmjax_choose(VECTORS[limit])
        if not width:
            return (
                f"the kernel needs a CPU with AVX2 and FMA{f' ({CPU_VARIABLE} is {limit})' if limit == 'none' else ''}"
            )
        try:
            for name, symbol in TARGETS.items():
                jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, symbol)), platform="cpu")
        except Exception as error:  # of many kinds: XLA refuses an interface of another version
            return f"XLA refuses {path} ({str(error).splitlines()[0]}): run {BUILD_COMMAND}"
        return Library(path, width)
    return reason
