"""Progress of training: live on a terminal, plain lines elsewhere."""

import math
from datetime import timedelta
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from lstmjax.training.callback import Callback
from lstmjax.training.report import Check, Status


class StderrConsole(Console):
    """Standard error, so that standard output stays clean. Where its reader is gone, nothing is shown any more."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def on_broken_pipe(self) -> None:
        """Leaves the run alone, which Rich would end."""
        self.quiet = True


class ProgressDisplay(Callback):
    """A callback that shows steps done, their rate, the time left and the losses, within a ``with`` block.

    On a terminal one line is kept up to date, and disappears when training ends; where output is piped, there is one
    line per validation check.

    Args:
        console: where to show it. Default: `StderrConsole`.

    >>> import sys
    >>> from rich.console import Console
    >>> with ProgressDisplay(Console(file=sys.stdout)) as display:
    ...     display.on_chunk(Status(step=50, max_steps=100, steps_per_second=10.0, train_loss=np.float32([0.5])))
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = StderrConsole() if console is None else console
        self._bar: Progress | None = None
        self._validation = ""
        self._max_steps = 0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            # The bar takes what the numbers leave: nothing is cut off at 80 columns.
            texts = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("steps", "rate", "losses")]
            bar = BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4))
            columns = (texts[0], bar, TimeRemainingColumn(compact=True), *texts[1:])
            self._bar = Progress(*columns, console=self.console, transient=True, expand=True)
            self._bar.add_task("training", total=None, steps="compiling", rate="", losses="")
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_start(self, status: Status) -> None:
        """Begins at the step of a run that is resumed, so that its earlier steps count for no rate."""
        if self._bar is not None:
            self._bar.reset(self._bar.task_ids[0], total=status.max_steps, completed=status.step)

    def on_chunk(self, status: Status) -> None:
        """Shows where the run is after a chunk of steps."""
        self._max_steps = status.max_steps
        if self._bar is None:
            return
        losses = " ".join(filter(None, [self._validation, f"train {_mean(status.train_loss)}"]))
        rate = f"{status.steps_per_second:.{0 if status.steps_per_second > 10 else 1}f}/s"
        numbers: dict[str, Any] = {"steps": f"{status.step}/{status.max_steps}", "rate": rate, "losses": losses}
        self._bar.update(self._bar.task_ids[0], completed=status.step, total=status.max_steps, **numbers)

    def on_check(self, check: Check) -> None:
        """Shows what a validation check found."""
        members, active = len(check.active), int(check.active.sum())
        among = f"{active} of {members} members active" if members > 1 else ""
        if np.isfinite(check.val_loss).any():
            where = f" at {int(check.best_step[0])}" if members == 1 else ""
            found = f"{_mean(check.val_loss)} (best {_mean(check.best_loss)}{where})"
            self._validation = f"val {found}" + (f" {active}/{members} active" if among else "")
            said = [f"validation {found}", among]
        else:
            said = [self._validation] = [among]
        if self._bar is None:
            rate, left = check.steps_per_second, ""
            if rate > 0:
                left = f"{rate:.1f} steps/s  {time_left((self._max_steps - check.step) / rate)}"
            parts = [f"step {check.step}/{self._max_steps}", f"train {_mean(check.train_loss)}", *said, left]
            self.console.print("  ".join(filter(None, parts)), highlight=False, markup=False, soft_wrap=True)


def time_left(seconds: float) -> str:
    """A time as text.

    >>> time_left(3999.2)
    '1:06:40 left'
    """
    return f"{timedelta(seconds=math.ceil(seconds))} left"


def _mean(values: np.ndarray) -> str:
    """The mean over the members that have a finite value."""
    known = values[np.isfinite(values)]
    return f"{known.mean():.4g}" if len(known) else "-"
