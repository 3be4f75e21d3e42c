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
    transform = TRANSFORMS[name]
    refused = np.argwhere(panel.y <= transform.above)  # not true of NaN
    if len(refused):
        row, column = refused[0]
        series, within = (numbers[row] for numbers in panel.rows)
        raise DataError(
            f"series {panel.ids[series]!r}, column {panel.schema.channels[column]!r} is {panel.y[row, column]:g} at "
            f"{panel.timestamp(series, within)}: data.transform {name!r} needs {transform.needs}; "
            "leave it out, or shift the series"
        )
    return dataclasses.replace(panel, y=transform.forward(panel.y))
