"""``lstmjax stream``: follows a file or standard input, forecasts after every row, and survives being killed."""

import dataclasses
import json
import math
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from lstmjax.data.cutoffs import before
from lstmjax.data.series_ids import stored_label
from lstmjax.data.source import load_source
from lstmjax.errors import ConfigError, DataError, Interrupted, LstmjaxError, one_line
from lstmjax.evaluation.intervals import Asked, level_name
from lstmjax.forecaster import Forecaster
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.predict import panel_of
from lstmjax.forecaster.stream.base import Policies
from lstmjax.forecaster.stream.judge import Verdict
from lstmjax.forecaster.stream.reading import RowReader
from lstmjax.forecaster.stream.stream import Stream
from lstmjax.runs.stream_lines import Line, Lines, RowParser, available, opened, require_same, source_name
from lstmjax.runs.stream_state import Output, Position, StateDirectory
from lstmjax.runs.stream_view import View

POLL_SECONDS = 0.1
"""How often a file that is followed is looked at."""


@dataclasses.dataclass(frozen=True)
class StreamOptions:
    """What the command line asks for; see `lstmjax.cli.commands.Stream`."""

    policies: Policies
    level: tuple[float, ...] | None
    state: Path | None
    follow: Path | None
    out: Path | None
    strict: bool


class Session:
    """A stream with its input, its output and its state.

    Args:
        forecaster: a trained forecaster.
        options: see `StreamOptions`.

    Raises:
        ConfigError: the options do not fit the forecaster or the state.
        CheckpointError: the state cannot be used, or the output is not what the state says.
    """

    def __init__(self, forecaster: Forecaster, options: StreamOptions) -> None:
        self._options, fitted = options, forecaster.fitted
        self._directory = None if options.state is None else StateDirectory(options.state)
        stored = None if self._directory is None else self._directory.load(fitted, forecaster.network)
        self.stream, self.position = stored or (begin(forecaster, options.policies), Position())
        if self.stream.policies.mode != options.policies.mode:
            raise ConfigError(
                f"--mode is {options.policies.mode}, the state in {options.state} is {self.stream.policies.mode}: give "
                "that, or name another directory"
            )
        self.stream.policies = options.policies
        outputs = fitted.config.outputs
        self._level = Asked.of(outputs.level if options.level is None else options.level).level
        self.stream.track(self._level)
        self._output = Output(options.out, self.position if stored else None)
        self.position = dataclasses.replace(self.position, has_out=self._output.has_file)
        self._source = source_name(options.follow)
        data = fitted.config.data
        header = None if options.follow is None else self.position.header
        columns, unsure = columns_of(fitted)
        self._parser = RowParser(columns, (data.time_col, *data.target_cols), data.separator, header, unsure)
        self._channels = fitted.tail.schema.channels

    def __enter__(self) -> Self:
        if self._directory is not None:  # so that an output without a state is never one that this command wrote
            self._directory.save(self.stream, self.position)
        return self

    def __exit__(self, *error: object) -> None:
        self._output.close()
        if self._directory is not None:
            self._directory.close()

    def take(self, line: Line) -> None:
        """Takes a line of the input, and writes what follows from it.

        Raises:
            DataError: with ``--strict``, the line cannot be used.
        """
        try:
            written = self._take(line)
        except DataError as error:
            if self._options.strict:
                raise
            print(f"lstmjax: warning: {one_line(error)}: skipped", file=sys.stderr, flush=True)
            self.position = dataclasses.replace(self.position, malformed=self.position.malformed + 1)
            written = []
        self._output.write(written)
        self.position = dataclasses.replace(self.position, out=self._output.length, tail=self._output.tail)
        if self._options.follow is not None:  # standard input begins anew with every process
            come: dict[str, Any] = {"offset": line.end, "lines": line.number, "header": self._parser.header}
            self.position = dataclasses.replace(self.position, **come)

    def save(self, *, at_once: bool = False) -> None:
        """Saves the state where it is due, or at once."""
        if self._directory is not None and (at_once or self._directory.is_due()):
            self._output.flush()
            self._directory.save(self.stream, self.position)

    def said(self) -> str:
        """What became of the rows, in one line."""
        counts = self.stream.counts | {"malformed": self.position.malformed}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "observed")

    def _take(self, line: Line) -> list[str]:
        place = f"{self._source}: row {line.number}"
        if line.text is None:
            raise DataError(f"{place} is longer than a megabyte")
        if not line.whole:
            raise DataError(f"{place} has no end: the input ended in the middle of it")
        try:
            row = self._parser.parse(line.text, first=line.number == 1)
        except DataError as error:
            raise DataError(f"{place} {error}") from None
        if row is None:
            return []
        try:
            incoming = self.stream.read(row, line.number, self._source)
        except DataError as error:  # some messages are of a whole column: here it has one row
            text = str(error)
            raise error if place in text else DataError(text.replace(self._source, place, 1)) from None
        verdicts = self.stream.take(incoming)
        series = [self.stream.place_of(name) for name in incoming.ids.tolist()]
        offset = line.end if self._options.follow is not None else line.number
        written = (
            self._said_of(series[which], Verdict(verdict), offset)
            for which, verdict in zip(incoming.series, verdicts, strict=True)
        )
        return [text for text in written if text is not None]

    def _said_of(self, series: int, verdict: Verdict, offset: int) -> str | None:
        """The line of one row; None where it changes no forecast.

        Its time is that of the newest row, after which the forecast begins, whatever row made it change.
        """
        stream, one, time = self.stream, np.array([series]), self.stream.newest_time(series)
        if verdict > Verdict.CORRECTION or time is None:
            return None
        ready = bool(stream.can_forecast(one)[0])
        if not ready and verdict != Verdict.OBSERVED:
            return None
        label, when = stored_label(stream.label(series)), stream.time_text(time)
        said: dict[str, Any] = {"offset": offset, "unique_id": label, "ds": when, "forecast": None}
        if ready:
            # One series at a time: a batch of another size could round otherwise, and what is read at once is chance.
            point, lower, upper = stream.forecast_arrays(one)
            said["forecast"] = self._numbers(point[0])
            for level in self._level:
                place = stream.levels.index(level)
                said[level_name("lo", level)] = self._numbers(lower[0, place])
                said[level_name("hi", level)] = self._numbers(upper[0, place])
        asked = ("mae", *(level_name("coverage", level) for level in self._level), "n")
        metrics = stream.metrics_of(series)
        said["metrics"] = {name: _number(metrics[name]) for name in asked}
        said["alarm"] = stream.rings(series)
        return json.dumps(said, ensure_ascii=False)

    def _numbers(self, values: np.ndarray) -> Any:
        """The values of each horizon step, (H, C): a list, or one for each target by its name."""
        lists = [[_number(value) for value in column] for column in values.T.tolist()]
        return lists[0] if len(lists) == 1 else dict(zip(self._channels, lists, strict=True))


def _number(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return float(f"{value:.9g}") if math.isfinite(value) else None


def follow(run: Path, options: StreamOptions, stopped: Callable[[], bool]) -> None:
    """Runs the command.

    Args:
        run: the run directory.
        options: what is asked for.
        stopped: whether to save and go.

    Raises:
        Interrupted: it was stopped.
        DataError: with ``--strict``, a line cannot be used; or the file that is followed became shorter.
    """
    with Session(Forecaster.load(run), options) as session, View(session, options.out is not None) as view:
        try:
            for line in _lines(options.follow, session, stopped):
                session.take(line)
                session.save()
                view.show()
                if stopped():
                    break
        except DataError:  # after any other error the state would know of rows whose lines were not written
            session.save(at_once=True)
            raise
        session.save(at_once=True)
        said = session.said()
    if stopped():
        raise Interrupted(f"stopped, {said}")
    print(f"lstmjax: the input has ended: {said}", file=sys.stderr)


def _lines(path: Path | None, session: Session, stopped: Callable[[], bool]) -> Iterator[Line]:
    """The lines of the input; those of a file for ever."""
    if path is None:
        if sys.stdin is None:
            raise ConfigError("standard input is closed: give rows there, or a file with --follow")
        lines = Lines()
        while not stopped():
            if not select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
                session.save()
                continue
            block = available(sys.stdin.buffer)
            if not block:
                yield from lines.end()
                return
            yield from lines.feed(block)
        return
    position = session.position
    with opened(path, position.offset) as file:
        lines = Lines(position.offset, position.lines)
        while not stopped():
            block = available(file)
            yield from lines.feed(block)
            if not block:
                require_same(file, path)
                session.save()
                time.sleep(POLL_SECONDS)


def begin(forecaster: Forecaster, policies: Policies) -> Stream:
    """The stream of a run, from the end of its training data.

    Where the forecaster has kept no held-out errors, they are computed from the training table, if it is still there.
    """
    fitted, history = forecaster.fitted, None
    if fitted.errors is None:
        try:
            source = load_source(fitted.config.data)
            panel = panel_of(fitted, source)
        except LstmjaxError:
            panel = None
        history = None if panel is None else _until_the_end_of(fitted, panel)
    return Stream.begin(fitted, forecaster.network, fitted.tail, policies, history)


def _until_the_end_of(fitted: Fitted, panel: Any) -> Any:
    """A panel without the rows that came after the training data."""
    tail, frequency = fitted.tail, panel.schema.frequency
    ends = dict(zip(tail.ids.tolist(), frequency.at(tail.start, np.maximum(tail.observed - 1, 0)), strict=True))
    last = np.array([ends.get(name, -1) for name in panel.ids.tolist()])
    rows, _ = frequency.number(np.maximum(last, panel.start), panel.start)
    return before(panel, np.where(last < panel.start, 0, np.minimum(panel.observed, rows + 1)))


def columns_of(fitted: Fitted) -> tuple[tuple[str, ...], str | None]:
    """The columns of rows without a header: those of the training file, in its order, where it is still there.

    Returns:
        The columns; and a warning where their order had to be guessed.
    """
    own = RowReader(fitted).columns
    try:
        found = load_source(fitted.config.data).columns
    except LstmjaxError:
        found = ()
    if set(own) <= set(found):
        return found, None
    return own, (
        f"the training data cannot be read, so rows without a header are read as {', '.join(own)}: give a header where "
        "their order is another"
    )
