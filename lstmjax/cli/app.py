"""The command line: one function per command, each a few lines over the package.

A user's mistake ends with one line on standard error, and exit status 2 (see `lstmjax.errors`).
"""

import dataclasses
import functools
import operator
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from lstmjax.cli.commands import (
    Backtest,
    Check,
    Evaluate,
    Export,
    NewData,
    Pack,
    Predict,
    Stream,
    Sweep,
    SweepProxy,
    Train,
)
from lstmjax.cli.messages import one_line_messages, reconfigure_stdout
from lstmjax.cli.options import check_typed, defaults, with_outputs_of_run
from lstmjax.cli.parse import parse
from lstmjax.cli.signals import until_a_signal
from lstmjax.config import SOURCES, OutputsConfig, controllers
from lstmjax.errors import ConfigError
from lstmjax.runs.signals import Signals
from lstmjax.sweep.config import SweepConfig
from lstmjax.version import __version__


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script ``lstmjax``.

    Args:
        arguments: instead of those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with one_line_messages():
        if arguments == ["--version"]:
            print(f"lstmjax {__version__}")
            return
        if arguments[:1] == ["sweep"] and any(argument.startswith("--distributed") for argument in arguments):
            raise ConfigError(
                "lstmjax sweep takes no --distributed option, as its workers need no communication: start the same "
                "command on every host, with a --storage that all reach"
            )
        command = _parse(arguments)
        if isinstance(command, Train):
            check_typed(arguments, inert=command.options.inert())
        if isinstance(command, Backtest):
            check_typed(arguments, inert=command.options.inert() | _NOT_IN_BACKTESTS)
        dict(_COMMANDS.values())[type(command)](command)


def train(command: Train) -> None:
    """``lstmjax train``. Signals are listened to from the first moment, as importing JAX takes seconds."""
    directory = command.run_dir or command.resume

    def farewell() -> str:
        return _how_to_resume("train", directory, "" if command.seeds is None else f" --seeds {command.seeds}")

    with until_a_signal(farewell, command.distributed) as signals:
        from lstmjax import parallel
        from lstmjax.runs.files import default_path
        from lstmjax.runs.run import resume_run, train_run

        directory = directory or Path(parallel.text_from_first(str(default_path())))
        asked: dict[str, Any] = {"seeds": command.seeds, "signals": signals}
        if command.resume is not None:
            resume_run(command.resume, command.options, into=command.run_dir, **asked)
        else:
            asked |= {"overwrite": command.overwrite, "finetune_from": command.finetune_from}
            train_run(command.options, directory, **asked)


_NOT_IN_BACKTESTS = {
    "data.test_size": "what comes after a cutoff of a backtest is its test",
    "train.refit_all": "no model of a backtest sees a row after its cutoff",
    "outputs.plot_windows": "a backtest has pictures of its errors",
}
"""Options that have no effect in a backtest, and why."""


def backtest(command: Backtest) -> None:
    """``lstmjax backtest``."""
    directory = command.resume or command.run_dir

    with until_a_signal(lambda: _how_to_resume("backtest", directory)) as signals:
        from lstmjax.runs.backtest import backtest_run, resume_backtest
        from lstmjax.runs.files import default_path

        directory = directory or default_path()
        if command.resume is not None:
            resume_backtest(command.resume, command.options, signals=signals)
        else:
            asked: dict[str, Any] = {"overwrite": command.overwrite, "signals": signals}
            backtest_run(command.options, directory, command.settings, **asked)


def _how_to_resume(command: str, directory: Path | None, flags: str = "") -> str:
    if directory is None or not (directory / "config.json").exists():
        return "nothing had begun"
    return f"resume with: lstmjax {command} --resume {shlex.quote(str(directory))}{flags}"


def sweep(command: Sweep) -> None:
    """``lstmjax sweep``."""

    def farewell() -> str:
        again = ["lstmjax", *sys.argv[1:], *([] if command.run_dir else ["--run-dir", str(directory)])]
        return f"resume with {shlex.join(again)}"

    directory = command.run_dir
    with until_a_signal(farewell) as signals:
        from lstmjax.runs.files import default_path
        from lstmjax.sweep.search import run
        from lstmjax.sweep.space import Space

        space = Space.from_toml(command.space)
        given = {name for name, _ in space.parameters}
        inert = {name: why for name, why in command.options.inert().items() if given.isdisjoint(controllers(name))}
        check_typed(sys.argv[1:], inert=inert | dict.fromkeys(space.names, "it is searched"))
        directory = directory or default_path()
        signals.arm()
        run(command.space, command.options, directory, command.search, should_stop=signals.requested)


def sweep_proxy(command: SweepProxy) -> None:
    """``lstmjax sweep-proxy``."""
    with Signals(lambda: "workers wait some minutes for it to be started again"):
        from lstmjax.sweep.study.storage_proxy import serve

        serve(command.storage, command.host, command.port)


def _forecaster(run: Path, outputs: OutputsConfig | None = None) -> Any:
    """The trained forecaster in a run directory, with other options for its intervals where some are given."""
    from lstmjax import parallel
    from lstmjax.forecaster import Forecaster

    parallel.configure_devices()
    forecaster = Forecaster.load(run)
    return forecaster if outputs is None else forecaster.with_outputs(outputs)


def evaluate(command: Evaluate) -> None:
    """``lstmjax evaluate``."""
    from lstmjax.runs.description import as_json
    from lstmjax.runs.outputs import metrics_table
    from lstmjax.runs.table_file import write_table

    forecaster = _forecaster(command.run, command.outputs)
    evaluation = forecaster.evaluate_panel(_panel(forecaster, command.data))
    if command.out is not None:
        write_table(evaluation.table, command.out)
    if command.json:
        print(as_json(evaluation.metrics), end="")
    else:
        print(metrics_table(evaluation.metrics, forecaster.config.model.alias), end="")


def predict(command: Predict) -> None:
    """``lstmjax predict``."""
    from lstmjax.data.future import with_future
    from lstmjax.data.table import read_table
    from lstmjax.runs.table_file import csv_options, write_table

    forecaster = _forecaster(command.run, command.outputs)
    panel, path = forecaster.fitted.tail, command.data.futr_path
    if command.data.path is not None or command.data.store is not None:
        panel = _panel(forecaster, command.data)
    elif path is not None:
        own = dataclasses.replace(forecaster.fitted.config.data, futr_path=str(path))  # named in messages
        panel = with_future(panel, read_table(path, own), own)
    # Of pandas, whatever the forecaster was trained on.
    forecast = forecaster.predict_panel(panel, num_samples=command.num_samples)
    if command.out is None:
        reconfigure_stdout(encoding="utf-8")  # as CSV files are, on any terminal
        print(forecast.to_csv(**csv_options(forecast)), end="")
    else:
        write_table(forecast, command.out)


def stream(command: Stream) -> None:
    """``lstmjax stream``."""

    def farewell() -> str:
        again = "" if command.state is None else f"continue with: {shlex.join(['lstmjax', *sys.argv[1:]])}"
        return again or "without a --state it begins anew"

    with until_a_signal(farewell) as signals:
        from lstmjax.forecaster.stream.base import Policies
        from lstmjax.runs.stream import StreamOptions, follow

        policies = Policies(command.mode, command.late, command.new_series)
        asked = (command.level, command.state, command.follow, command.out, command.strict)
        signals.arm()
        follow(command.run, StreamOptions(policies, *asked), signals.requested)


def check(command: Check) -> None:
    """``lstmjax check``."""
    from lstmjax.data.summary import as_text, summarize_source
    from lstmjax.runs.description import as_json

    data = command.data
    if command.table is not None:
        if data.path is not None:
            raise ConfigError(f"two tables are given, {command.table} and data.path {data.path}: check one at a time")
        data = dataclasses.replace(data, path=str(command.table))
    summary = summarize_source(data)
    print(as_json(summary) if command.json else as_text(summary), end="")


def pack(command: Pack) -> None:
    """``lstmjax pack``."""
    from lstmjax.data.pack import pack as make_store

    for name in ("path", "dataset", "store"):
        if getattr(command.data, name) is not None:
            raise ConfigError(f"data.{name} is {getattr(command.data, name)!r}: name the table to pack by itself")
    packed = make_store(command.table, command.store, command.data, overwrite=command.overwrite)
    said = packed.description
    print(f"{packed.path}: {said['series']} series, {said['rows']} rows, frequency {packed.data.schema.freq}")


def export(command: Export) -> None:
    """``lstmjax export``."""
    from lstmjax.forecaster.export import export as write_export

    for path in write_export(_forecaster(command.run), command.out):
        print(path)


_COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "train": (Train, train),
    "backtest": (Backtest, backtest),
    "sweep": (Sweep, sweep),
    "sweep-proxy": (SweepProxy, sweep_proxy),
    "evaluate": (Evaluate, evaluate),
    "predict": (Predict, predict),
    "stream": (Stream, stream),
    "export": (Export, export),
    "pack": (Pack, pack),
    "check": (Check, check),
}
"""The flags and the function of each command, in the order of the help text."""


def _parse(arguments: list[str]) -> Any:
    options = defaults(arguments)
    filled = (Train(options), Backtest(options), Sweep(SweepConfig(), options), Check(data=options.data))
    defaults_of: dict[type, Any] = {type(command): command for command in filled}
    kinds: Any = [
        Annotated[kind, tyro.conf.subcommand(name, default=defaults_of.get(kind, tyro.MISSING_NONPROP))]
        for name, (kind, _) in _COMMANDS.items()
    ]
    commands = functools.reduce(operator.or_, kinds)
    command = parse(commands, arguments)
    return with_outputs_of_run(command, arguments) if isinstance(command, (Evaluate, Predict)) else command


def _panel(forecaster: Any, data: NewData) -> Any:
    """The data to work on: the new, or that of the run."""
    from lstmjax.data.source import load_source
    from lstmjax.forecaster.predict import panel_of

    own = forecaster.fitted.config.data
    given = {name: str(value) for name, value in (("path", data.path), ("store", data.store)) if value is not None}
    if given:
        own = dataclasses.replace(own, **{**dict.fromkeys((*SOURCES, "futr_path")), **given})
    if data.futr_path is not None:
        own = dataclasses.replace(own, futr_path=str(data.futr_path))
    return panel_of(forecaster.fitted, load_source(own))
