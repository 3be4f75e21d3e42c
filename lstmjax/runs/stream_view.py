"""The live view of ``lstmjax stream`` on a terminal: what came, how good the forecasts were, which alarms ring."""

import time
from typing import Any, Self

from rich.live import Live
from rich.table import Table

from lstmjax.training.progress import StderrConsole

REFRESH_SECONDS = 0.5
_MOST = 15  # series shown


class View:
    """Shows the view on standard error within a ``with`` block, where that is a terminal and the lines go to a file.

    Args:
        session: with ``stream`` and ``said()``.
        wanted: whether to show it.
        console: where. Default: standard error.
    """

    def __init__(self, session: Any, wanted: bool, console: Any = None) -> None:
        self._session, self._shown_at = session, 0.0
        console = StderrConsole() if console is None else console
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if wanted and console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self) -> None:
        """Brings the view up to date, a few times a second."""
        if self._live is not None and time.monotonic() - self._shown_at >= REFRESH_SECONDS:
            self._live.update(self.table(), refresh=True)
            self._shown_at = time.monotonic()

    def table(self) -> Table:
        """The series whose alarm rings first, then the others, with their rolling scores."""
        stream = self._session.stream
        order = sorted(range(len(stream.ids)), key=lambda one: not stream.rings(one))[:_MOST]
        metrics = {one: stream.metrics_of(one) for one in order}
        names = list(metrics[order[0]]) if order else []
        table = Table("series", *names, "alarm", caption=self._session.said())
        for one in order:
            cells = [f"{metrics[one][name]:.4g}" for name in names]
            table.add_row(str(stream.label(one)), *cells, "rings" if stream.rings(one) else "")
        return table
