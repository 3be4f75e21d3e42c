"""Progress of training: live on a terminal, plain lines elsewhere."""

import math
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from lstmjax.training.callback import Callback
from lstmjax.training.report import Check, Status


class ProgressDisplay(Callback):
    """A callback that shows steps done, their rate, the time left and the losses, within a ``with`` block.

    On a terminal one line is kept up to date, and disappears when training ends; where output is piped, there is one
    line per validation check.

    Args:
        console: where to show it. Default: standard error, so that standard output stays clean.

    >>> import sys
    >>> from rich.console import Console
    >>> with ProgressDisplay(Console(file=sys.stdout)) as display:
    ...     display.on_chunk(Status(step=50, max_steps=100, steps_per_second=10.0, train_loss=np.float32([0.5])))
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = Console(stderr=True) if console is None else console
        self._bar: Progress | None = None
        self._validation = ""
        self._max_steps = 0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[numbers]}"))
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._bar.add_task("training", total=None, numbers="compiling")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_chunk(self, status: Status) -> None:
        """Shows where the run is after a chunk of steps."""
        self._max_steps = status.max_steps
        if self._bar is None:
            return
        parts = [
            f"{status.step}/{status.max_steps}",
            *_rate_and_time_left(status.step, status.max_steps, status.steps_per_second),
            f"train {_mean(status.train_loss)}",
            self._validation,
        ]
        task = self._bar.task_ids[0]
        numbers = "  ".join(part for part in parts if part)
        self._bar.update(task, completed=status.step, total=status.max_steps, numbers=numbers)

    def on_check(self, check: Check) -> None:
        """Shows what a validation check found."""
        members = len(check.active)
        active = f"  {int(check.active.sum())} of {members} members active" if members > 1 else ""
        if np.isfinite(check.val_loss).any():
            best = int(check.best_step[0])
            where = f" at {best}" if members == 1 else ""
            self._validation = f"validation {_mean(check.val_loss)} (best {_mean(check.best_loss)}{where}){active}"
        else:
            self._validation = active.strip()
        if self._bar is None:
            parts = [
                f"step {check.step}/{self._max_steps}",
                f"train {_mean(check.train_loss)}",
                self._validation,
                *_rate_and_time_left(check.step, self._max_steps, check.steps_per_second),
            ]
            self.console.print("  ".join(part for part in parts if part), highlight=False, soft_wrap=True)


def _rate_and_time_left(step: int, max_steps: int, rate: float) -> list[str]:
    if rate <= 0.0:
        return []
    minutes, seconds = divmod(math.ceil((max_steps - step) / rate), 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return [f"{rate:.1f} steps/s", f"{left} left"]


def _mean(values: np.ndarray) -> str:
    """The mean over the members that have a finite value."""
    known = values[np.isfinite(values)]
    return f"{known.mean():.4g}" if len(known) else "-"
