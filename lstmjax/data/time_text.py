"""Times written as text: recognised only where they can mean one thing, otherwise refused with what they could mean.

ISO 8601 comes first. Other forms are read where every cell of the column has one form, with the year in four digits,
and where a day above 12 shows which number is the day.
"""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Shaped

Texts = Shaped[np.ndarray, " U"]

_CLOCK = r"\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d{1,9})?)?)?"
_ZONE = r"\s?(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)"
_ISO = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]{_CLOCK}(?:{_ZONE})?)?|\d{{8}}T{_CLOCK}(?:{_ZONE})?")
_ISO_MONTH = re.compile(r"\d{4}-\d{2}")
_QUARTER = re.compile(r"\d{4}-?Q[1-4]")
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,9})?)?(\s?[AaPp][Mm])?")
_ENDS_WITH_ZONE = re.compile(r"\d(?:\s?[AaPp][Mm])?\s?(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$")
_ISO_ZONE = re.compile(rf"[T ]{_CLOCK}({_ZONE})$")
_NUMBERED_ZONE = re.compile(r"(Z|UTC|GMT|[+-]\d{2}:?\d{2})$")  # as %z reads it at the end of a format
_UTC = re.compile(r"(UTC|GMT)$")
_MONTH = re.compile(r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*", re.IGNORECASE)
_WEEKDAY = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*", re.IGNORECASE)

_DATES = {
    "Y n n": ("Y m d", "Y d m"),
    "n n Y": ("d m Y", "m d Y"),
    "n b Y": ("d b Y",),
    "b n Y": ("b d Y",),
    "Y b n": ("Y b d",),
    "c": ("Ymd",),
}
"""Forms of whole dates, and what their parts can mean: Y a year of four digits, n a number, b a month's name, c eight
digits."""

_TWO_DIGITS, _NO_PART = "the year has two digits", "a part of the date is missing"
_DOUBTFUL = {
    "n n n": (_TWO_DIGITS, ("d m y", "m d y", "y m d")),
    "n b n": (_TWO_DIGITS, ("d b y", "y b d")),
    "b n n": (_TWO_DIGITS, ("b d y",)),
    "b n": (f"{_TWO_DIGITS}, or {_NO_PART}", ("b y", "b d")),
    "n b": (f"{_TWO_DIGITS}, or {_NO_PART}", ("y b", "d b")),
    "Y n": (_NO_PART, ("Y m",)),
    "n Y": (_NO_PART, ("m Y",)),
    "Y b": (_NO_PART, ("Y b",)),
    "b Y": (_NO_PART, ("b Y",)),
    "n n": (_NO_PART, ("y m", "m d", "d m")),
    "b": (_NO_PART, ("b",)),
    "n": (_NO_PART, ()),
    "Y": (_NO_PART, ("Y",)),
    "": (_NO_PART, ("",)),
}
"""Forms with a year of two digits, or without a part: why they are not read, and what their parts can mean."""


_TOGETHER = 100_000
"""Cells whose forms are found together."""

_LONGEST = 64
"""Letters of a time, at most."""


class UnclearTimesError(Exception):
    """Cells that could mean several times. Its text says why, and lists the readings."""


@dataclass(frozen=True)
class Reading:
    """Cells read as times, one of each kind of cell."""

    times: pd.DatetimeIndex
    """(U,) in UTC where the cells have offsets, NaT where a cell has another form."""
    form: str | None
    """The strptime format; None for ISO 8601."""
    offsets: Texts
    """(U,) the offset from UTC at the end of each cell; empty where it has none."""


def matches(texts: Texts, pattern: re.Pattern) -> bool:
    """Returns True where all texts have a pattern from end to end."""
    return all(pattern.fullmatch(text) for text in texts)


def by_shape(texts: Texts, holds: Callable[[str], bool]) -> Bool[np.ndarray, " U"]:
    """Returns of which texts something holds that does not depend on what their digits are.

    Each form is asked once, not each of a million times.

    Args:
        texts: (U,) cells.
        holds: a function of a text, in which every digit is 0 unless it is too long for a time.
    """
    found = np.empty(len(texts), bool)
    for first in range(0, len(texts), _TOGETHER):
        some = texts[first : first + _TOGETHER]
        if max(map(len, some)) <= _LONGEST:
            some = some.astype(str)  # as long as the longest
            letters = some.view(np.uint32)
            letters[(letters >= ord("0")) & (letters <= ord("9"))] = ord("0")
        codes, shapes = pd.factorize(some.astype(object))
        found[first : first + _TOGETHER] = np.array([holds(shape) for shape in shapes], bool)[codes]
    return found


def read_text(texts: Texts) -> Reading:
    """Reads cells as times, by a form that all of them have.

    Args:
        texts: (U,) different cells of a column, in the order of their first appearance; stripped.

    Returns:
        The times; NaT where a cell does not have the form of the others.

    Raises:
        UnclearTimesError: the form of the first cell can mean several times.
        ValueError: the first cell is not a time.
    """
    iso = by_shape(texts, lambda shape: _ISO.fullmatch(shape) is not None)
    if iso[0] or iso.mean() > 0.5:
        return read_iso(texts)
    if matches(texts, _ISO_MONTH):
        return Reading(_parsed(texts, "%Y-%m", zoned=False), "%Y-%m", _no_offsets(texts))
    if matches(texts, _QUARTER):
        quarters = pd.PeriodIndex([text.replace("-", "") for text in texts], freq="Q")
        return Reading(pd.DatetimeIndex(quarters.to_timestamp()), None, _no_offsets(texts))
    shape, written = _shape(texts[0])
    if shape in _DOUBTFUL:
        reason, orders = _DOUBTFUL[shape]
        raise UnclearTimesError(f"{reason}: {_readings(texts, [written(order) for order in orders])}")
    if shape not in _DATES:
        raise ValueError
    read = [read_format(texts, form) for order in _DATES[shape] for form in _month_names(written(order), texts)]
    wrong = [int(np.sum(reading.times.isna())) for reading in read]
    best = read[int(np.argmin(wrong))]
    if shape == "n n Y" and wrong[0] == wrong[1] == 0:
        raise UnclearTimesError(
            f"the day or the month could come first: {_readings(texts, [str(each.form) for each in read])}"
        )
    return best


def read_iso(texts: Texts) -> Reading:
    """Reads cells as ISO 8601; NaT where one is not."""
    iso = by_shape(texts, lambda shape: _ISO.fullmatch(shape) is not None)
    zoned = by_shape(texts, lambda shape: _ISO_ZONE.search(shape) is not None)
    offsets, plain = _no_offsets(texts), np.where(iso, texts, "")
    if zoned.any():
        offsets[zoned] = _offsets(texts[zoned], _ISO_ZONE)
        plain[zoned & iso] = [re.sub(r"\s?(UTC|GMT)$", "Z", text) for text in texts[zoned & iso]]
    options: dict[str, Any] = {"errors": "coerce", "utc": bool((offsets != "").any())}
    times = pd.to_datetime(pd.Series(plain, dtype=object), format="ISO8601", **options)
    return Reading(pd.DatetimeIndex(times), None, offsets)


def is_iso(texts: Texts) -> bool:
    """Returns True where all cells are whole dates of ISO 8601."""
    return bool(by_shape(texts, lambda shape: _ISO.fullmatch(shape) is not None).all())


def read_format(texts: Texts, form: str) -> Reading:
    """Reads cells by a strptime format; NaT where one does not have it."""
    if "%z" not in form.replace("%%", ""):
        return Reading(_parsed(texts, form, zoned=False), form, _no_offsets(texts))
    plain = np.array([_UTC.sub("Z", text) for text in texts], object)  # %z knows no names
    return Reading(_parsed(plain, form, zoned=True), form, _offsets(texts, _NUMBERED_ZONE))


def _parsed(texts: Texts, form: str, *, zoned: bool) -> pd.DatetimeIndex:
    with a_year_may_be_missing():
        return pd.DatetimeIndex(pd.to_datetime(pd.Series(texts, dtype=object), format=form, errors="coerce", utc=zoned))


@contextlib.contextmanager
def a_year_may_be_missing() -> Iterator[None]:
    """Silences Python 3.13, which warns of formats without a year: lstmjax refuses them in words of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Parsing dates involving a day of month", DeprecationWarning)
        yield


def _no_offsets(texts: Texts) -> Texts:
    return np.full(len(texts), "", object)


def _offsets(texts: Texts, zone: re.Pattern) -> Texts:
    found = [zone.search(text) for text in texts]
    names = ["" if match is None else match.group(1).strip() for match in found]
    return np.array(["+00:00" if name in ("Z", "UTC", "GMT") else name for name in names] or [""], object)


def _shape(text: str) -> tuple[str, Callable[[str], str]]:
    """Returns the kinds of the date's parts, and a function from their order to the strptime format of the cell."""
    pieces: list[str] = []  # literal text, and a None for each part of the date
    zone = _ENDS_WITH_ZONE.search(text) if _TIME_OF_DAY.search(text) else None
    body = text[: zone.start(1)] if zone else text
    clock = _TIME_OF_DAY.search(body)
    kinds: list[str] = []
    tokens = re.findall(
        r"\d+|[^\W\d_]+|[\W_]+", body if clock is None else body[: clock.start()] + "\0" + body[clock.end() :]
    )
    for token in tokens:
        if token.isdecimal():
            kinds.append({4: "Y", 8: "c"}.get(len(token), "n" if len(token) <= 2 else "x"))
            pieces.append("\1")
        elif _MONTH.fullmatch(token):
            kinds.append("b")
            pieces.append("\1")
        elif _WEEKDAY.fullmatch(token):
            pieces.append("%a" if len(token) == 3 else "%A")
        elif token == "T" or not token.isalpha():
            pieces.append(token.replace("%", "%%"))
        else:
            kinds.append("x")
    of_day = "" if clock is None else _clock_format(clock)

    def written(order: str) -> str:
        directives = iter(["%Y%m%d"] if order == "Ymd" else [f"%{part}" for part in order.split()])
        filled = "".join(next(directives, "") if piece == "\1" else piece for piece in pieces)
        return filled.replace("\0", of_day) + ("%z" if zone else "")

    return " ".join(kinds), written


def _clock_format(clock: re.Match) -> str:
    _, _, seconds, fraction, half = clock.groups()
    hours = "%I:%M" if half else "%H:%M"
    parts = hours + (":%S" if seconds else "") + (".%f" if fraction else "")
    return parts + (" " * half[0].isspace() + "%p" if half else "")


def _month_names(form: str, texts: Texts) -> list[str]:
    return [form, form.replace("%b", "%B")] if "%b" in form else [form]


def _readings(texts: Texts, forms: list[str]) -> str:
    """Says what the first cell would be by each format that reads the first cells."""
    first, said = texts[:3], []
    for form in forms:
        for written in _month_names(form, first):
            if not written:
                continue
            times = read_format(first, written).times
            if not times.isna().any():
                shown = times.tz_localize(None).strftime("%Y-%m-%d %H:%M:%S").str.removesuffix(" 00:00:00")
                said.append(f"as {written} they are {', '.join(shown)}")
                break
    return "; ".join(said) if said else "no format reads them for certain"
