"""Names of frequencies: those that pandas has changed, and rows that follow each other as no name says."""

import re

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from lstmjax.errors import ConfigError

_LEAST = 27 * 86_400_000_000  # microseconds: less than any month

_OLD_ALIASES = {
    "M": "ME",
    "Q": "QE",
    "A": "YE",
    "Y": "YE",
    "BM": "BME",
    "BQ": "BQE",
    "BA": "BYE",
    "BY": "BYE",
    "CBM": "CBME",
    "SM": "SME",
    "AS": "YS",
    "BAS": "BYS",
    "H": "h",
    "T": "min",
    "S": "s",
    "L": "ms",
    "U": "us",
    "N": "ns",
    "BH": "bh",
    "CBH": "cbh",
    "MIN": "min",
}
"""Names of frequencies that pandas has changed, and their new names."""


def refuse_old_alias(text: str, name: str) -> None:
    """Names the new alias where an old one is given; what the old one means depends on the version of pandas.

    Args:
        text: the alias.
        name: of the option, for the message.

    Raises:
        ConfigError: it is an old one.
    """
    parts = re.fullmatch(r"\s*(-?\d*)\s*([A-Za-z]+)(-[A-Za-z]{3})?\s*", text)
    if parts is None:
        return
    count, alias, anchor = parts.groups(default="")
    new = _OLD_ALIASES.get(alias, alias)
    if new != alias:
        raise ConfigError(f"{name} is {text!r}: pandas calls this frequency {count}{new}{anchor} now")


SUPPORTED = (
    "supported are steps of one length (such as 15min, h, D, W), working days (B), and months, quarters and years that "
    "begin or end with the calendar's or with its working days (MS, ME, QS, QE, YS, YE, BMS, BME)"
)
"""Which frequencies there are, for a message."""


def describe_unsupported(wall: Int64[np.ndarray, " R"], follows: Bool[np.ndarray, " R"]) -> str | None:
    """Says how rows follow each other that are on one day of each month or year, which no frequency names.

    Args:
        wall: (R,) times on the wall clock.
        follows: (R,) True where the row before belongs to the same series.

    Returns:
        In words; None where the rows are otherwise.
    """
    dates = pd.DatetimeIndex(wall.view("datetime64[us]"))
    if not follows.any() or np.diff(wall, prepend=wall[:1])[follows].min() < _LEAST or len(dates.day.unique()) > 1:
        return None
    if len(dates.month.unique()) == 1:
        day = int(dates.day[0])
        ordinal = {1: "st", 2: "nd", 3: "rd"}.get(day % 10 if day not in (11, 12, 13) else 0, "th")
        return f"on the {day}{ordinal} of {dates.month_name()[0]} of each year"
    return f"on day {dates.day[0]} of each month"
