"""What every test relies on: two CPU devices, shapes checked at run time, compiled programs shared, short searches."""

import contextlib
import functools
import gc
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_NUM_CPU_DEVICES"] = "2"  # for the command lines that tests start; this process is told below
# Most tests run programs on a handful of numbers, and spend their time compiling them: half of it without optimisation.
# Those that promise bytes or tolerances (`EXACT`) test what users run; with JAX_DISABLE_MOST_OPTIMIZATIONS=0 all do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# In one piece instead of 32, to be compiled side by side, a program costs a fifth less processor time. Without fusion
# emitters jaxlib 0.10 compiles in a third of the time. Later ones have no such flag, and end a process that gives them
# one they do not know.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_parallel_codegen_split_count=1"
    + " --xla_cpu_use_fusion_emitters=false" * importlib.metadata.version("jaxlib").startswith("0.10.")
    if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
    else "",
)

import beartype
import beartype.roar
import hypothesis
import jax
import jaxtyping
import pytest

# By default Python looks for cycles of unused objects after 700 new ones, among the million that jax has traced. That
# costs 10% of the processor time of tests/sweep and tests/cli; like this it costs 2%, and the peak of memory stays.
gc.set_threshold(50_000, 10, 10)

jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_disable_most_optimizations", os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1")

# jax 0.10 makes a context for every program that it lowers, and loads all dialects into it: a twentieth of the
# processor time, and two thirds of the memory of a thousand small programs. Later versions use one again, too.
if jax.__version__.startswith("0.10."):
    jax._src.interpreters.mlir.make_ir_context = functools.cache(jax._src.interpreters.mlir.make_ir_context)


def compile_as_users_do(exactly: bool) -> None:
    """Compiles with full optimisation from here on, or with little; what was compiled before is forgotten."""
    jax.config.update("jax_disable_most_optimizations", not exactly)
    jax._src.compiler.get_compile_options = exact_options if exactly else usual_options
    jax.clear_caches()


# A flag of XLA is read once in a process. There is no public way to give all programs another value of it.
usual_options = jax._src.compiler.get_compile_options


def exact_options(*args: object, env_options_overrides: dict | None = None, **kwargs: object) -> object:
    """The compile options of users: with the flags as they are by default."""
    defaults: dict = {"xla_cpu_parallel_codegen_split_count": 32, "xla_cpu_use_fusion_emitters": True}
    overrides = {name: value for name, value in defaults.items() if name in os.environ["XLA_FLAGS"]}
    overrides |= env_options_overrides or {}
    return usual_options(*args, env_options_overrides=overrides, **kwargs)


def check_types(function: Callable) -> Callable:
    """`function` with its annotations checked at every call. An int will do for a float, as for static checkers."""
    try:
        return beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))(function)
    except beartype.roar.BeartypeDecorHintPep673Exception:  # ``Self``, which needs the whole class to be decorated
        return function


with_shapes = jaxtyping.jaxtyped


def jaxtyped(*classes: type, typechecker: Callable | None = None) -> Callable:
    """`jaxtyping.jaxtyped`, but a function that names no shapes has nothing to remember of them: half the time."""
    decorate = with_shapes(*classes, typechecker=typechecker)
    if classes or typechecker is None:
        return decorate

    def decorated(item: Callable) -> Callable:
        if isinstance(item, type) or "jaxtyping" in repr(item.__annotations__):
            return decorate(item)
        names = any(isinstance(annotation, str) for annotation in item.__annotations__.values())
        return decorate(item) if names else typechecker(item)  # jaxtyping passes over names for type checkers only

    return decorated


jaxtyping.jaxtyped = jaxtyped

# From here on importing lstmjax decorates every function: an argument or result whose dtype or shape is not the
# annotated one fails the test that passed it. Only config is left alone, which checks its values in users' words.
# The hook wants the checker's name, in a module it can import.
sys.modules["lstmjax_tests_conftest"] = sys.modules[__name__]
jaxtyping.install_import_hook(
    [
        f"lstmjax.{path.stem}"
        for path in (Path(__file__).parents[1] / "lstmjax").iterdir()
        if path.stem not in ("__init__", "config")
    ],
    "lstmjax_tests_conftest.check_types",
)

# The loader of that hook goes past the one with which slipcover counts lines (scripts/test.sh).
for _finder in sys.meta_path:
    if type(_finder).__name__ == "SlipcoverMetaPathFinder":
        _Loader = jaxtyping._import_hook._JaxtypingLoader
        _Loader.get_code = lambda self, name, get=_Loader.get_code, count=_finder.sci: count.instrument(get(self, name))

# No deadline: a first call compiles. The same examples every time: a test that fails now and then helps nobody.
hypothesis.settings.register_profile(
    "lstmjax",
    deadline=None,
    max_examples=20,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("lstmjax")

EXACT = (
    "forecaster/test_resume.py",
    "forecaster/test_stored.py",
    "nn/test_recurrent.py",
    "ops",
    "reference",
    "runs/test_run_seeds.py",
    "sweep/population/test_block.py",
    "training/test_feed.py",
    "training/test_functional.py",
    "training/test_loop.py",
    "training/test_members.py",
)
"""Folders and files of tests that promise equal bytes, or tolerances: compiled with full optimisation."""

APART = (
    "cli",
    "experiments",
    "faults",
    "forecaster",
    "ops/test_native_build.py",
    "ops/test_native_sanitizers.py",
    "runs",
    "scripts",
    "sweep",
    "test_behaviour.py",
    "test_distribution.py",
    "test_readme.py",
    "training",
)
"""Folders and files of tests that train, or run whole programs; all others are marked `core`."""

LEAST = pytest.StashKey[bool]()
"""Whether programs are compiled with little optimisation."""

_compiled: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests by where they are; the exact ones come first, so that each worker changes over once."""
    here = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        if path.startswith(EXACT) and not item.get_closest_marker("least"):
            item.add_marker(pytest.mark.exact)
        if not path.startswith(APART):
            item.add_marker(pytest.mark.core)
    items.sort(key=lambda item: item.get_closest_marker("exact") is None)


MAPS = Path("/proc/self/maps")
"""What this process has mapped, one line per piece. Linux ends a process with more than 65,530 of them."""

MOST_MAPS = 30_000
"""Every compiled program takes some; with more, those of the files before are forgotten when a file of tests begins."""

FILE = pytest.StashKey[Path]()
"""The file of the last test."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compiles with full optimisation where a test is exact, and forgets what was compiled before or is too much."""
    if item.session.stash.get(FILE, None) != item.path:
        item.session.stash[FILE] = item.path
        if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
            jax.clear_caches()
    if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "0":
        return
    least = item.get_closest_marker("exact") is None
    if item.session.stash.get(LEAST, True) != least:
        compile_as_users_do(exactly=not least)
        item.session.stash[LEAST] = least


def pytest_configure(config: pytest.Config) -> None:
    """Shares compiled programs among the workers of a run and the command lines they start; gone when it ends."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        _compiled.append(tempfile.mkdtemp(prefix="lstmjax-tests-"))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled[0]
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the compiled programs of this run; workers leave them to the process that started them."""
    for directory in _compiled:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def public_data(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the named public files what `lstmjax.data.datasets` reads; skips the test that wants an absent one."""
    folder = Path(os.environ.get("LSTMJAX_DATA", Path(__file__).parents[2] / "shared" / "data"))
    monkeypatch.setenv("LSTMJAX_DATA", str(folder))

    def want(*names: str) -> None:
        for name in names:
            if not (folder / name).exists():
                pytest.skip(f"{name} is not in $LSTMJAX_DATA ({folder})")

    return want


@pytest.fixture(scope="session")
def without_pictures() -> Callable[[], contextlib.AbstractContextManager]:
    """Leaves out the pictures of runs and sweeps for a while: a third of the time of a small one."""

    @contextlib.contextmanager
    def left_out() -> Iterator[None]:
        from lstmjax.runs import outputs, seeds
        from lstmjax.sweep.report import plots

        with pytest.MonkeyPatch.context() as patch:
            for module in (outputs, seeds):
                for name in ("draw_forecasts", "draw_learning_curve"):
                    patch.setattr(module, name, lambda *_, **__: None)
            patch.setattr(plots, "draw", lambda *_: {})
            yield

    return left_out


@pytest.fixture
def drawn() -> None:
    """For tests that look at pictures, in a file of `undrawn` ones."""


@pytest.fixture
def undrawn(request: pytest.FixtureRequest, without_pictures: Callable) -> Iterator[None]:
    """A test without the pictures of runs and sweeps. What the fixtures of its file draw is drawn."""
    with contextlib.nullcontext() if "drawn" in request.fixturenames else without_pictures():
        yield


@pytest.fixture(scope="session")
def calls():
    """A callback of functions: ``calls(on_check=checks.append)``."""
    from lstmjax.training import Callback

    class Calls(Callback):
        def __init__(self, **methods):
            vars(self).update(methods)

    return Calls
