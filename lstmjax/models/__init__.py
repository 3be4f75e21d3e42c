"""Forecasting networks: a window in, a forecast out."""

import dataclasses
from collections.abc import Callable

from flax import nnx
from jaxtyping import PRNGKeyArray

from lstmjax.config import ModelConfig
from lstmjax.models.direct import DirectNetwork as DirectNetwork
from lstmjax.models.segment import SegmentNetwork as SegmentNetwork
from lstmjax.window import WindowSpec

NETWORKS: dict[str, Callable[..., nnx.Module]] = {"direct": DirectNetwork, "segment": SegmentNetwork}
"""Networks by the names of ``model.name``."""


def build(spec: WindowSpec, config: ModelConfig, *, rngs: nnx.Rngs) -> nnx.Module:
    """Builds a network with initial weights.

    Args:
        spec: sizes of a window.
        config: the network's name and sizes.
        rngs: the initial weights come from its stream "params".
    """
    return NETWORKS[config.name](spec, config, rngs=rngs)


@dataclasses.dataclass(frozen=True)
class Builder:
    """`build` as a function of a key only, as `training.train` requires.

    Two builders with equal fields are equal, and so share compiled programs.

    Attributes:
        spec: sizes of a window.
        config: the network's name and sizes.

    >>> Builder(WindowSpec(8, 3), ModelConfig(dropout=0.2)) == Builder(WindowSpec(8, 3), ModelConfig(dropout=0.2))
    True
    """

    spec: WindowSpec
    config: ModelConfig

    def __call__(self, key: PRNGKeyArray) -> nnx.Module:
        """Builds a network whose weights are drawn from ``key``."""
        return build(self.spec, self.config, rngs=nnx.Rngs(key))
