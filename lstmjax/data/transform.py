"""Transforms of targets: applied before scaling, and undone on forecasts."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lstmjax.data.panel import Panel
from lstmjax.errors import DataError


@dataclasses.dataclass(frozen=True)
class Transform:
    """A function of values and its inverse, both of NumPy and of JAX arrays.

    Attributes:
        forward: the function.
        inverse: what undoes it.
        above: a bound that values must exceed.
        needs: what values must be, for a message.
    """

    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any]
    above: float = -np.inf
    needs: str = ""


def _of(name: str) -> Callable[[Any], Any]:
    """Returns a function by its name in NumPy and in JAX: that of the library which the array is from."""
    return lambda values: getattr(values.__array_namespace__(), name)(values)


TRANSFORMS: dict[str, Transform] = {
    "none": Transform(lambda values: values, lambda values: values),
    "log": Transform(_of("log"), _of("exp"), above=0.0, needs="positive values"),
    "log1p": Transform(_of("log1p"), _of("expm1"), above=-1.0, needs="values above -1"),
}
"""Transforms by the name ``data.transform`` gives them. One entry serves NumPy, and JAX where the function is compiled:
in the export, and in a sweep's objective."""


def transformed(panel: Panel, name: str) -> Panel:
    """Transforms the targets of a panel.

    Args:
        panel: the data.
        name: which transform.

    Raises:
        DataError: a target that the transform is not defined for; its series, column and time are named.
    """
    check_domain(panel, name)
    return dataclasses.replace(panel, y=TRANSFORMS[name].forward(panel.y))


_ROWS = 1 << 20  # looked at together


def check_domain(panel: Panel, name: str) -> None:
    """Requires targets that a transform is defined for; arguments and errors as in `transformed`."""
    transform = TRANSFORMS[name]
    for first in range(0, len(panel.y) if np.isfinite(transform.above) else 0, _ROWS):
        refused = np.argwhere(panel.y[first : first + _ROWS] <= transform.above)  # not true of NaN
        if not len(refused):
            continue
        row, column = int(refused[0][0]) + first, refused[0][1]
        series = int(np.searchsorted(panel.offsets, row, side="right")) - 1
        within = row - panel.offsets[series]
        raise DataError(
            f"series {panel.ids[series]!r}, column {panel.schema.channels[column]!r} is {panel.y[row, column]:g} at "
            f"{panel.timestamp(series, within)}: data.transform {name!r} needs {transform.needs}; "
            "leave it out, or shift the series"
        )
