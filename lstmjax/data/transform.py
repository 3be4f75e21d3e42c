"""Transforms of targets: applied before scaling, and undone on forecasts."""

import dataclasses
from collections.abc import Callable

import numpy as np

from lstmjax.config import TransformName
from lstmjax.data.panel import Panel
from lstmjax.errors import DataError


@dataclasses.dataclass(frozen=True)
class Transform:
    """A function of values and its inverse."""

    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]


TRANSFORMS: dict[TransformName, Transform] = {
    "none": Transform(lambda values: values, lambda values: values),
    "log": Transform(np.log, np.exp),
}
"""Transforms by the name ``data.transform`` gives them."""


def transformed(panel: Panel, name: TransformName) -> Panel:
    """Transforms the targets of a panel.

    Args:
        panel: the data.
        name: which transform.

    Raises:
        DataError: a target that is not positive has no logarithm; its series, column and time are named.
    """
    if name == "none":
        return panel
    refused = np.argwhere(panel.y <= 0)  # not true of NaN
    if len(refused):
        row, column = refused[0]
        series, within = (numbers[row] for numbers in panel.rows)
        raise DataError(
            f"series {panel.ids[series]!r}, column {panel.schema.channels[column]!r} is {panel.y[row, column]:g} at "
            f"{panel.timestamp(series, within)}: data.transform {name!r} needs positive values; "
            "leave it out, or shift the series"
        )
    return dataclasses.replace(panel, y=TRANSFORMS[name].forward(panel.y))
