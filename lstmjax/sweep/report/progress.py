"""The progress of a sweep: a live table on a terminal, plain lines elsewhere."""

import collections
import contextlib
import time
from collections.abc import Sequence
from typing import Any, Self

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lstmjax.sweep.population.block import Report
from lstmjax.sweep.report.table import best_trial
from lstmjax.sweep.study.blocks import params_of
from lstmjax.training.progress import StderrConsole, time_left

_SHOWN = 5  # best trials on a terminal
_SILENCE = 60.0  # seconds between lines where there is no terminal


class SweepDisplay:
    """Shows the trials done, the best so far, members per second and the time left.

    Args:
        total: number of trials.
        max_steps: updates of a member that is trained to its end.
        console: where to show it. Default: `StderrConsole`.
    """

    def __init__(self, total: int, max_steps: int, console: Console | None = None) -> None:
        self.console = StderrConsole() if console is None else console
        self._total, self._max_steps = total, max_steps
        self._trials: Sequence[FrozenTrial] = ()
        self._before: int | None = None
        self._report: Report | None = None
        self._since = self._last_said = time.monotonic()
        self._live: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._view, console=self.console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def on_report(self, report: Report) -> None:
        """Shows the progress of the block that is trained."""
        self._report = report
        if report.message:
            self.say(report.message)
        if not self.console.is_terminal and time.monotonic() - self._last_said > _SILENCE:
            self.say(f"step {report.step}  {self._line()}")

    def on_trials(self, trials: Sequence[FrozenTrial]) -> None:
        """Shows the progress of the sweep; to be called at its beginning, and after every block."""
        self._trials, self._report = trials, None
        if self._before is None:
            self._before = self._done()
        if not self.console.is_terminal:
            self.say(self._line())

    def say(self, line: str) -> None:
        """Shows a line that stays."""
        self._last_said = time.monotonic()
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _done(self) -> int:
        return sum(trial.state.is_finished() for trial in self._trials)

    def _line(self) -> str:
        counts = collections.Counter(trial.state for trial in self._trials)
        done, best, report = self._done(), best_trial(self._trials), self._report
        parts = [f"{done}/{self._total} trials done"]
        parts += [f"{counts[state]} {name}" for state, name in _STATES.items() if counts[state]]
        if best is not None:
            parts.append(f"best {best.value:.5g} (trial {best.number})")
        if report is not None and (rate := report.member_steps_per_second) > 0:
            parts.append(f"{rate / self._max_steps:.3g} members/s ({rate:,.0f} steps/s)")
        # The time left is estimated from the trials that finished since the beginning, other workers' included.
        if (gained := done - (self._before or 0)) > 0 and done < self._total:
            parts.append(time_left((self._total - done) * (time.monotonic() - self._since) / gained))
        return "  ".join(parts)

    def _view(self) -> Group:
        """The line, and below it the best trials, with those of the block that is trained."""
        table = Table("trial", "value", "state", "parameters", box=None, pad_edge=False, header_style="dim")
        rows = [(trial.value, trial.number, trial.state.name) for trial in self._trials if trial.value is not None]
        if self._report is not None:
            rows += [(value, number, "RUNNING") for number, value in self._report.values.items()]
        trials = {trial.number: trial for trial in self._trials}
        for value, number, state in sorted(rows)[:_SHOWN]:
            params = params_of(trials[number]) if number in trials else {}
            known = (f"{name.split('.')[1]}={_short(setting)}" for name, setting in params.items())
            table.add_row(str(number), f"{value:.5g}", state, Text("  ".join(known)))  # brackets are no markup
        return Group(Text(self._line()), table)


_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
