"""What becomes of each new row: taken, known ahead, repeated, late. Decided before anything changes."""

from enum import IntEnum
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from lstmjax.forecaster.stream.state import Sizes, StreamState

Late = Literal["error", "skip", "correct"]


class Verdict(IntEnum):
    """What becomes of a row."""

    OBSERVED = 0
    """It is newer than all before it."""
    FUTURE = 1
    """It has no target and is newer than all observed: its covariates are known ahead."""
    CORRECTION = 2
    """It came late and corrects a row that is still in the ring."""
    REPEATED = 3
    """It says what was known already; or it is older than the stream. Skipped."""
    LATE = 4
    """It came late and is skipped."""


def judge(
    state: StreamState,
    sizes: Sizes,
    series: Int[np.ndarray, " R"],
    rows: Int[np.ndarray, " R"],
    cells: Float[np.ndarray, "R F"],
    *,
    correct: bool,
) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " R"]]:
    """Decides what becomes of rows, in the order in which they came.

    A row is late where it is not newer than the newest of its series. It is repeated where all of its cells that are
    not empty are what is known; or where it is older than the ring, and the stream began after it.

    Args:
        state: before these rows.
        sizes: the shapes.
        series: of each row.
        rows: their numbers within their series.
        cells: as in the ring.
        correct: whether late rows correct those in the ring.

    Returns:
        The verdict of each row, and the newest row of its series before it.
    """
    observed = ~np.isnan(cells[:, : sizes.targets]).all(axis=1)
    newest = state.newest[series]
    verdict = np.where(observed, Verdict.OBSERVED, Verdict.FUTURE).astype(np.int64)
    if len(series) > 1 and len(np.unique(series)) < len(series):
        newest = _newest_before(newest, series, rows, observed)
    late = np.flatnonzero(rows <= newest)
    if len(late):
        _judge_late(state, sizes, series, rows, cells, newest, late, verdict, correct=correct)
    return verdict, newest


def _newest_before(
    newest: np.ndarray, series: np.ndarray, rows: np.ndarray, observed: Bool[np.ndarray, " R"]
) -> Int[np.ndarray, " R"]:
    """The newest observed row of each row's series before it, those that came with it included."""
    order = np.argsort(series, kind="stable")
    seen = np.where(observed, rows, np.iinfo(np.int64).min)[order]
    grouped, base = series[order], newest[order]
    first = np.flatnonzero(np.diff(grouped, prepend=-1) != 0)
    before = np.empty_like(base)
    for begin, end in zip(first.tolist(), [*first[1:].tolist(), len(order)], strict=True):
        before[begin] = base[begin]
        before[begin + 1 : end] = np.maximum(base[begin], np.maximum.accumulate(seen[begin : end - 1]))
    result = np.empty_like(before)
    result[order] = before
    return result


def _judge_late(
    state: StreamState,
    sizes: Sizes,
    series: np.ndarray,
    rows: np.ndarray,
    cells: np.ndarray,
    newest: np.ndarray,
    late: np.ndarray,
    verdict: np.ndarray,
    *,
    correct: bool,
) -> None:
    """Fills in the verdicts of late rows."""
    together: dict[tuple[int, int], np.ndarray] = {}  # rows that came earlier in the same call
    last = set(zip(series[late].tolist(), rows[late].tolist(), strict=True))
    is_late = np.zeros(len(rows), bool)
    is_late[late] = True
    for place, key in enumerate(zip(series.tolist(), rows.tolist(), strict=True)):
        if key not in last:
            continue
        before = together.get(key)
        if before is None:
            before = state.gathered(sizes, series[[place]], rows[[place], None])[0, 0]
        in_ring = rows[place] > max(newest[place] - sizes.past, -1)  # a series has no row before its first
        if is_late[place]:
            new, begun = ~np.isnan(cells[place]), state.begun[series[place]]
            if (in_ring and (cells[place][new] == before[new]).all()) or (
                not in_ring and begun >= 0 and rows[place] <= begun
            ):
                verdict[place] = Verdict.REPEATED
                continue
            verdict[place] = Verdict.CORRECTION if correct and in_ring else Verdict.LATE
            if verdict[place] == Verdict.LATE:
                continue
        together[key] = np.where(np.isnan(cells[place]), before, cells[place])
