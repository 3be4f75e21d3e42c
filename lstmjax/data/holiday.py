"""Public holidays as a covariate that is known ahead without any table."""

import functools
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lstmjax.errors import ConfigError


def holiday_feature(times: pd.Index, place: str) -> Float64[np.ndarray, "R 1"]:
    """Returns 1 where a time lies on a public holiday, else 0.

    Args:
        times: (R,) timestamps, on the clock of their own time zone.
        place: a country by its code of two letters, or a region of it: ``"DE"``, ``"AU-VIC"``.

    Raises:
        ConfigError: the package holidays is missing, or knows no such place.
    """
    days = pd.DatetimeIndex(times).tz_localize(None).normalize()
    if not len(days):
        return np.empty((0, 1))
    found = _holidays(place, int(days.year.min()), int(days.year.max()))
    return days.isin(found).astype(np.float64)[:, None]


@functools.lru_cache(maxsize=32)
def _holidays(place: str, first: int, last: int) -> pd.DatetimeIndex:
    """Lists the holidays of some years."""
    try:
        import holidays
    except ImportError:
        raise ConfigError("data.holidays needs the package holidays: pip install 'lstmjax[holidays]'") from None
    country, _, region = place.partition("-")
    try:
        known: Any = holidays.country_holidays(country, subdiv=region or None, years=range(first, last + 1))
    except NotImplementedError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"data.holidays is {place!r}: expected a country, or a region of it as in AU-VIC ({reason[:200]})"
        ) from None
    return pd.DatetimeIndex(sorted(known))
