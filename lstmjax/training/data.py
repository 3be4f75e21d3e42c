"""What members are trained on, laid side by side: one panel, and of its windows those that each member has."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from lstmjax.config import TrainConfig
from lstmjax.data.host_panel import ScaledPanel
from lstmjax.data.windows import Rescaling, Windows
from lstmjax.errors import DataError
from lstmjax.training.losses import OwnLoss
from lstmjax.training.objective import Objective
from lstmjax.training.step import MemberData
from lstmjax.window import WindowSpec


class TrainingData(NamedTuple):
    """What a network is trained on."""

    arrays: ScaledPanel
    """The scaled panel: on the device, or where windows are cut out of it on the host."""
    train: Windows
    """Windows to learn from."""
    validation: Windows
    """Windows that decide when to stop and which weights to keep; may be empty."""
    spec: WindowSpec
    """Sizes of a window."""
    objective: Objective | None = None
    """What a sweep ranks by."""
    rescaling: Rescaling | None = None
    """From the scaled units of ``arrays`` to those of this member; None where they are the same."""
    loss: OwnLoss | None = None
    """A loss of the user's own, instead of ``train.loss``."""


class Assigned(NamedTuple):
    """What the members of a population are trained on, where several have the same.

    All of ``each`` is laid out on the device, whichever members are trained: so a program that was compiled for some
    members serves others.
    """

    each: Sequence[TrainingData]
    """What is trained on, such as one for each fold."""
    of_member: Sequence[int]
    """For each member its place in ``each``."""


MembersData = TrainingData | Sequence[TrainingData] | Assigned
"""What members are trained on: the same for all; one for each; or of a few the one assigned to each."""


def val_windows(config: TrainConfig) -> int:
    """How many windows a validation check looks at; 0: all.

    An update costs about three times a forecast, so three tenths of the windows between two checks take a tenth of
    their time.
    """
    if config.val_windows is not None:
        return config.val_windows
    return max(256, 3 * config.val_check_steps * config.batch_size // 10)


def evenly_spaced(windows: Windows, count: int) -> Windows:
    """Takes some windows, evenly spaced over all series and times.

    Args:
        windows: the windows, by series, then time.
        count: how many; all if there are no more, or if it is 0.
    """
    held = len(windows.series)
    if not 0 < count < held:
        return windows
    chosen = np.arange(count) * held // count
    return Windows(*(np.asarray(column)[chosen] for column in windows))


class Layout(NamedTuple):
    """The data of all members as NumPy arrays: tables that all share, and what each sees of them."""

    train: Windows
    """All training windows; windows that several members have stand there once."""
    validation: Windows
    """All validation windows, each member's filled up to whole blocks."""
    counts: Bool[np.ndarray, " W"]
    """False for validation windows that only fill a block."""
    shared: MemberData | None
    """What all members see; None where they differ."""
    by_member: MemberData | None
    """What each member sees, with a leading axis of members; None where they do not differ."""


def assigned(data: MembersData, members: int) -> Assigned:
    """The data of each member.

    Raises:
        DataError: a member has no window to train on.
        ValueError: the members' data have no panel in common, or some are validated and others not.
    """
    if isinstance(data, TrainingData):
        data = Assigned([data], [0] * members)
    elif not isinstance(data, Assigned):
        data = Assigned(list(data), range(len(data)))
    if len(data.of_member) != members:
        raise ValueError(f"data must hold one for each of {members} members, got {len(data.of_member)}")
    each = data.each
    if any(len(one.train.series) == 0 for one in each):
        raise DataError("no window to train on: give more rows, or a smaller data.input_size or data.h")
    first = each[0]
    if any(one.arrays is not first.arrays or one.spec != first.spec for one in each):
        raise ValueError("the members' data must have one panel and one size of windows in common")
    if len({len(one.validation.series) > 0 for one in each}) > 1:
        raise ValueError("either all members or none must have validation windows")
    if len({one.loss for one in each}) > 1:
        raise ValueError("the members' data must have one loss in common")
    if len({one.objective.measure if one.objective else None for one in each}) > 1:
        raise ValueError("the members' data must have one objective in common")
    return data


def lay_out(data: Assigned, block_size: int) -> Layout:
    """Puts the members' data side by side.

    Args:
        data: from `assigned`.
        block_size: windows that validation looks at together.
    """
    train, first_window = _joined([one.train for one in data.each])
    filled = {id(one.validation): fill_blocks(one.validation, block_size) for one in data.each}
    validation, first_held = _joined([filled[id(one.validation)][0] for one in data.each])
    distinct = {id(windows): counts for windows, counts in filled.values()}
    each = [
        MemberData(
            first_window=np.int32(window),
            window_count=np.int32(len(one.train.series)),
            first_block=np.int32(held // block_size),
            block_count=np.int32(len(filled[id(one.validation)][1]) // block_size),
            rescaling=one.rescaling,
            units=None if one.objective is None else one.objective.units,
        )
        for one, window, held in zip(data.each, first_window, first_held, strict=True)
    ]
    alike = all(one is data.each[0] for one in data.each)
    return Layout(
        train=train,
        validation=validation,
        counts=np.concatenate(list(distinct.values())),
        shared=each[0] if alike else None,
        by_member=None if alike else _stack([each[place] for place in data.of_member]),
    )


def fill_blocks(windows: Windows, block_size: int) -> tuple[Windows, np.ndarray]:
    """Windows filled up to a whole number of blocks, and which of them count.

    Args:
        windows: any number of windows, none included.
        block_size: windows in a block.
    """
    count = len(windows.series)
    rows = np.arange(-(-count // block_size) * block_size)
    chosen = np.minimum(rows, count - 1)
    return Windows(*(np.asarray(column)[chosen] for column in windows)), rows < count


def rounded_up(windows: Windows) -> Windows:
    """The table of windows, an eighth longer at most, so that tables of about one length share compiled programs.

    No member sees the rows that are added.
    """
    count = len(windows.series)
    unit = max(1, 1 << max(0, count.bit_length() - 4))
    rows = np.minimum(np.arange(-(-count // unit) * unit), count - 1)
    return Windows(*(np.asarray(column)[rows] for column in windows))


def _joined(each: Sequence[Windows]) -> tuple[Windows, list[int]]:
    """All windows in one table, those that several members share once; and where those of each begin."""
    distinct = {id(windows): windows for windows in each}
    sizes = [len(windows.series) for windows in distinct.values()]
    begins = dict(zip(distinct, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
    tables = list(distinct.values())
    whole = tables[0] if len(tables) == 1 else Windows(*(np.concatenate(columns) for columns in zip(*tables)))  # noqa: B905
    return whole, [begins[id(windows)] for windows in each]


def _stack(each: Sequence[MemberData]) -> Any:
    trees = {jax.tree.structure(one) for one in each}
    if len(trees) > 1:
        raise ValueError("either all members or none must have a rescaling")
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)
