"""What is done to targets before they are scaled, and undone on forecasts."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lstmjax.config import TransformName
from lstmjax.data.panel import Panel
from lstmjax.errors import DataError


class Transform(NamedTuple):
    """A function of values and its inverse."""

    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]


def _same(values: np.ndarray) -> np.ndarray:
    return values


TRANSFORMS: dict[TransformName, Transform] = {"none": Transform(_same, _same), "log": Transform(np.log, np.exp)}
"""Transforms by the name ``data.transform`` gives them."""


def transformed(panel: Panel, name: TransformName) -> Panel:
    """The panel with its targets transformed.

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
        series = int(np.searchsorted(panel.offsets, row, side="right")) - 1
        when = panel.timestamps(np.array([series]), np.array([row - panel.offsets[series]]))[0]
        raise DataError(
            f"series {panel.ids[series]!r}, column {panel.schema.channels[column]!r} is {panel.y[row, column]:g} at "
            f"{when}: data.transform {name!r} needs positive values; leave it out, or shift the series"
        )
    return dataclasses.replace(panel, y=TRANSFORMS[name].forward(panel.y))
