"""Times that are numbers: counts, which stay as they are, and instants. Numbers that look like dates are refused."""

import numpy as np
import pandas as pd
from jaxtyping import Int64

from lstmjax.data.table_cells import Place
from lstmjax.data.time_text import read_format
from lstmjax.errors import DataError

LARGEST_TIME = 2**62  # so that the distance between any two times is an int64 too
_SMALLEST_EPOCH = 10**8  # whole numbers above it count seconds, or shorter units, since 1970
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}
_DIGITS = {
    6: ("%Y%m", "%y%m%d", "%d%m%y", "%m%d%y"),
    7: ("%Y%j",),
    8: ("%Y%m%d", "%d%m%Y", "%m%d%Y"),
    10: ("%Y%m%d%H",),
    12: ("%Y%m%d%H%M",),
    14: ("%Y%m%d%H%M%S",),
}
"""Forms of dates without separators, by their number of digits."""


def epoch_times(cells: np.ndarray, form: str, where: Place) -> pd.DatetimeIndex:
    """Reads numbers as instants.

    Args:
        cells: (R,) numbers.
        form: a key of `EPOCHS`.
        where: their column.

    Returns:
        (R,) times in UTC, without a zone, to the microsecond.

    Raises:
        DataError: a number is too large.
    """
    if cells.dtype.kind == "O":
        whole = all(abs(cell) < LARGEST_TIME and cell == int(cell) for cell in cells)
        cells = cells.astype(np.int64 if whole else np.float64)
    wrong = ~(np.abs(cells.astype(np.float64)) < LARGEST_TIME / EPOCHS[form])
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{where.cell(row, cells[row])}: expected a number of {form} (data.time_format)")
    micros = cells.astype(np.int64) * EPOCHS[form]
    if cells.dtype.kind == "f":
        micros = np.rint(cells * EPOCHS[form]).astype(np.int64)
    return pd.DatetimeIndex(micros.view("datetime64[us]"))


def whole_numbers(cells: np.ndarray, where: Place) -> Int64[np.ndarray, " R"]:
    """Returns numbers as int64.

    Raises:
        DataError: one is broken, infinite or too large.
    """
    if cells.dtype.kind == "O":  # also numbers that int64 does not hold
        broken = np.array([not (abs(cell) < LARGEST_TIME and cell == int(cell)) for cell in cells], bool)
    else:
        broken = (cells <= -LARGEST_TIME) | (cells >= LARGEST_TIME)  # infinite ones among them
        if cells.dtype.kind == "f":
            broken |= cells != np.floor(cells)
    if broken.any():
        first = int(np.argmax(broken))
        raise DataError(
            f"{where.cell(first, cells[first])}: expected a timestamp or a whole number, nearer to 0 than 2 to the 62nd"
        )
    return cells.astype(np.int64)


def require_counts(times: Int64[np.ndarray, " R"], where: Place, width: int) -> None:
    """Refuses whole numbers that look like dates: counted on, 20240131 would become 20240132.

    Args:
        times: the numbers.
        where: their column.
        width: digits of the longest as text, with the zeros in front of it; 0 where the column is not text.
    """
    width = max(width, len(str(times.max())))
    readings: dict[str, pd.DatetimeIndex] = {}
    for form in _DIGITS.get(width, ()) if times.min() >= 0 else ():
        texts = np.array([str(number).zfill(width) for number in np.unique(times)], object)
        read = read_format(texts, form).times
        if not read.isna().any() and ((read.year >= 1900) & (read.year <= 2100)).all():
            first = np.array([str(number).zfill(width) for number in times[:3]], object)
            readings[form] = read_format(first, form).times
    if times.min() > _SMALLEST_EPOCH:
        for name, unit in EPOCHS.items():
            if times.max() < LARGEST_TIME // unit:
                since = pd.DatetimeIndex((times[:3] * unit).view("datetime64[us]"))
                readings |= {name: since} if (since.year <= 2100).all() else {}
    elif not readings:
        return
    said = [f"as {name} they are {', '.join(_shown(read))}" for name, read in readings.items()]
    raise DataError(
        f"{where}: the whole numbers {', '.join(map(str, times[:3].tolist()))} look like dates: "
        f"{'; '.join([*said, f'as integer the next after {times[-1]} is {times[-1] + 1}'])}: say what they are by "
        "data.time_format"
    )


def _shown(times: pd.DatetimeIndex) -> list[str]:
    return times.strftime("%Y-%m-%d %H:%M:%S").str.removesuffix(" 00:00:00").tolist()
