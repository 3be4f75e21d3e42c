"""The input and the output of a forecasting network.

Every network in lstmjax, and every network of a user, is called as
``network(window: WindowBatch, *, rngs=None, deterministic=None) -> Forecast``.
So training, evaluation and sweeps do not depend on the network.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from lstmjax.errors import ConfigError


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
    return jnp.concatenate([*values, *(mask.astype(window.y.dtype) for mask in masks)], axis=-1)


@runtime_checkable
class Head(Protocol):
    """What the parameters of a forecast mean: a distribution of each value, with its loss.

    A head is frozen and hashable, since it is a static field of `Forecast`. Those of the package are in
    `lstmjax.nn.heads`; one of your own is a class with these attributes and methods. Parameters have the shape
    (..., P), values (...,).
    """

    @property
    def size(self) -> int:
        """P, the number of parameters of one value."""

    @property
    def loss_name(self) -> str:
        """What `loss` is called: ``mae``, ``pinball``, ``nll``."""

    @property
    def lower(self) -> float:
        """The lowest value that there can be, in scaled units; minus infinity if any."""

    @property
    def counts(self) -> bool:
        """Whether values are counts: whole numbers from 0 on, which may be divided but not shifted."""

    def constrain(self, raw: Float[Array, "*S P"]) -> Float[Array, "*S P"]:
        """Parameters from unbounded numbers. The first number is the location: networks add shortcuts to it."""

    def affine(self, parameters: Float[Array, "*S P"], shift: Array, scale: Array) -> Float[Array, "*S P"]:
        """The parameters of shift + scale * Y, where Y has these; ``shift`` and ``scale`` broadcast against (...,)."""

    def mean(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The mean."""

    def median(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The median."""

    def point(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The one number that is the forecast where a single one is wanted."""

    def spread(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """How uncertain the value is, above 0; calibration measures errors in units of it."""

    def quantile(self, parameters: Float[Array, "*S P"], q: Array | float) -> Array:
        """The value below which a fraction ``q`` lies; ``q`` broadcasts against (...,)."""

    def cdf(self, parameters: Float[Array, "*S P"], y: Array) -> Array:
        """The fraction below ``y``, which broadcasts against (...,)."""

    def sample(self, parameters: Float[Array, "*S P"], key: PRNGKeyArray, n: int) -> Array:
        """Draws ``n`` independent values each, shape (n, ...)."""

    def log_prob(self, parameters: Float[Array, "*S P"], y: Array) -> Array:
        """The logarithm of the density (of counts: of the probability) at ``y``."""

    def loss(self, parameters: Float[Array, "*S P"], y: Array, hyper: Any = None) -> Array:
        """What training minimises where ``train.loss`` is auto, one value per element."""


@dataclasses.dataclass(frozen=True)
class Point:
    """The head of a point forecast: one number per value, and no distribution."""

    size: ClassVar[int] = 1
    loss_name: ClassVar[str] = "mae"
    lower: ClassVar[float] = -math.inf
    counts: ClassVar[bool] = False

    def constrain(self, raw: Float[Array, "*S P"]) -> Float[Array, "*S P"]:
        """The number itself."""
        return raw

    def affine(self, parameters: Float[Array, "*S P"], shift: Array, scale: Array) -> Float[Array, "*S P"]:
        """The number times ``scale`` plus ``shift``."""
        return parameters * scale[..., None] + shift[..., None]

    def mean(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The number itself."""
        return parameters[..., 0]

    median = point = mean

    def spread(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """1: it says nothing about its errors."""
        return jnp.ones_like(parameters[..., 0])

    def quantile(self, parameters: Float[Array, "*S P"], q: Array | float) -> Array:
        """Refused with a `ConfigError`, as are `cdf`, `sample` and `log_prob`."""
        raise ConfigError(NO_DISTRIBUTION)

    def cdf(self, parameters: Float[Array, "*S P"], y: Array) -> Array:
        """Refused with a `ConfigError`."""
        raise ConfigError(NO_DISTRIBUTION)

    def sample(self, parameters: Float[Array, "*S P"], key: PRNGKeyArray, n: int) -> Array:
        """Refused with a `ConfigError`."""
        raise ConfigError(NO_DISTRIBUTION)

    def log_prob(self, parameters: Float[Array, "*S P"], y: Array) -> Array:
        """Refused with a `ConfigError`."""
        raise ConfigError(NO_DISTRIBUTION)

    def loss(self, parameters: Float[Array, "*S P"], y: Array, hyper: Any = None) -> Array:
        """The absolute error."""
        return jnp.abs(parameters[..., 0] - y)


NO_DISTRIBUTION = (
    "a point forecast has no distribution: train with a head that has one (model.head quantile, normal, student_t or "
    "negative_binomial), or calibrate it (outputs.calibration conformal)"
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Forecast:
    """A network's forecast of the horizon, in scaled units.

    Attributes:
        parameters: array of shape (batch, H, C, P), what the head makes a distribution of. A point forecast has P = 1.
        head: what the parameters mean.

    >>> forecast = Forecast(jnp.array([[[[2.0]]]]))
    >>> forecast.mean().shape, forecast.loss(Target(jnp.array([[[5.0]]]), jnp.array([[[True]]]))).item()
    ((1, 1, 1), 3.0)
    """

    parameters: Float[Array, "B H C P"]
    head: Head = dataclasses.field(default=Point(), metadata={"static": True})

    def mean(self) -> Float[Array, "B H C"]:
        """The mean."""
        return self.head.mean(self.parameters)

    def median(self) -> Float[Array, "B H C"]:
        """The median; of a point forecast the forecast itself."""
        return self.head.median(self.parameters)

    def point(self) -> Float[Array, "B H C"]:
        """The forecast as one number: of a distribution the median."""
        return self.head.point(self.parameters)

    def spread(self) -> Float[Array, "B H C"]:
        """How uncertain each value is, in scaled units; 1 for a point forecast."""
        return self.head.spread(self.parameters)

    def quantile(self, q: float | Sequence[float] | Array) -> Float[Array, "B H C *K"]:
        """The values below which a fraction ``q`` lies.

        Args:
            q: one number between 0 and 1, or several, which become a last axis.

        Raises:
            ConfigError: a point forecast has no distribution.
        """
        levels = jnp.asarray(q, self.parameters.dtype)
        if levels.ndim == 0:
            return self.head.quantile(self.parameters, levels)
        return self.head.quantile(self.parameters[..., None, :], levels)  # (B, H, C, K)

    def cdf(self, y: Float[Array, "B H C"]) -> Float[Array, "B H C"]:
        """The fraction below ``y``; errors as in `quantile`."""
        return self.head.cdf(self.parameters, y)

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n B H C"]:
        """Draws ``n`` values of each, independent along the horizon; errors as in `quantile`."""
        return self.head.sample(self.parameters, key, n)

    def log_prob(self, y: Float[Array, "B H C"]) -> Float[Array, "B H C"]:
        """The logarithm of the density at ``y``; errors as in `quantile`."""
        return self.head.log_prob(self.parameters, y)

    def loss(self, target: Target, hyper: Any = None) -> Float[Array, "B H C"]:
        """What training minimises, one value per element; missing targets are not masked yet.

        Args:
            target: the truth.
            hyper: hyperparameters that a head's loss may depend on; those of the package need none.
        """
        return self.head.loss(self.parameters, target.y, hyper)

    def affine(self, shift: Float[Array, "B #H C"], scale: Float[Array, "B #H C"]) -> Self:
        """The forecast of shift + scale * value: how a network takes a forecast out of a window's own units."""
        return dataclasses.replace(self, parameters=self.head.affine(self.parameters, shift, scale))
