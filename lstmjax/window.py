"""The input and the output of a forecasting network.

Every network in lstmjax, and every network of a user, is called as
``network(window: WindowBatch, *, rngs=None, deterministic=None) -> Forecast``.
So training, evaluation and sweeps do not depend on the network.
"""

import dataclasses
from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int


class WindowBatch(NamedTuple):
    """A batch of windows up to their cut-offs: all that a forecast may depend on.

    Values are in scaled units. Where a mask is False the value is 0: it was missing, in a gap, or before the
    beginning of a series shorter than the lookback. Groups of covariates that a run does not use have zero width.
    """

    y: Float[Array, "B L C"]
    """Past targets; the last step is the last row before the forecast begins."""
    y_mask: Bool[Array, "B L C"]
    """True where the past target was observed."""
    hist_exog: Float[Array, "B L Fh"]
    """Covariates known up to the cut-off only."""
    hist_mask: Bool[Array, "B L Fh"]
    """True where the historic covariate was observed."""
    futr_exog: Float[Array, "B L+H Ff"]
    """Covariates known ahead: the lookback's L steps, then the horizon's H steps."""
    futr_mask: Bool[Array, "B L+H Ff"]
    """True where the known-future covariate was given."""
    stat_exog: Float[Array, "B Fs"]
    """Covariates that do not change with time."""
    series: Int[Array, " B"] | None = None
    """The number of each window's series among those trained on; -1 for a new series."""


class Target(NamedTuple):
    """The true values of a window's horizon, in scaled units."""

    y: Float[Array, "B H C"]
    """The values after the cut-off; 0 where missing."""
    mask: Bool[Array, "B H C"]
    """True where the value was observed; only these count in a loss."""
    weight: Float[Array, "B H"] | None = None
    """Weight of each step in the loss; None: all equal."""


@dataclasses.dataclass(frozen=True)
class WindowSpec:
    """The sizes of a window: all that a network needs to know about the data when it is built.

    Attributes:
        input_size: lookback L, in rows.
        h: horizon H, in rows.
        targets: number of target channels C.
        hist_exog: number of historic covariates Fh.
        futr_exog: number of known-future covariates Ff.
        stat_exog: number of static covariates Fs.
        season_length: rows in one season.
        series: number of series trained on.
    """

    input_size: int
    h: int
    targets: int = 1
    hist_exog: int = 0
    futr_exog: int = 0
    stat_exog: int = 0
    season_length: int = 1
    series: int = 1

    @property
    def in_features(self) -> int:
        """Number of features of one lookback step in `lookback_features`: values and masks."""
        return 2 * (self.targets + self.hist_exog + self.futr_exog)


def lookback_features(window: WindowBatch) -> Float[Array, "B L I"]:
    """Joins all features of each lookback step: values first, then masks as 0 and 1.

    Args:
        window: a batch of windows.

    Returns:
        Array of shape (batch, L, 2 * (C + Fh + Ff)), in the dtype of ``window.y``.
    """
    length = window.y.shape[1]
    values = (window.y, window.hist_exog, window.futr_exog[:, :length])
    masks = (window.y_mask, window.hist_mask, window.futr_mask[:, :length])
    return jax.numpy.concatenate([*values, *(mask.astype(window.y.dtype) for mask in masks)], axis=-1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Forecast:
    """A network's forecast of the horizon.

    Attributes:
        parameters: array of shape (batch, H, C, P), the head's parameters in scaled units. A point forecast has P = 1.
    """

    parameters: Float[Array, "B H C P"]

    def mean(self) -> Float[Array, "B H C"]:
        """The point forecast, shape (batch, H, C), scaled units."""
        return self.parameters[..., 0]
