"""Networks of the user, instead of those of this package."""

import dataclasses
from collections.abc import Callable

from flax import nnx
from jaxtyping import PRNGKeyArray

from lstmjax.window import WindowSpec

NetworkMaker = Callable[..., nnx.Module]
"""``(spec: WindowSpec, *, rngs: nnx.Rngs) -> module``"""


@dataclasses.dataclass(frozen=True)
class OwnBuilder:
    """A network maker as a function of a key only; two builders of the same maker and sizes are equal.

    Attributes:
        maker: the user's function or class.
        spec: sizes of a window.
    """

    maker: NetworkMaker
    spec: WindowSpec

    def __call__(self, key: PRNGKeyArray) -> nnx.Module:
        """Builds a network whose weights are drawn from ``key``."""
        return self.maker(self.spec, rngs=nnx.Rngs(key))


def own_name(network: nnx.Module | NetworkMaker) -> str:
    """Returns the name of a user's network: that of its class or function."""
    named = type(network) if isinstance(network, nnx.Module) else network
    return getattr(named, "__qualname__", type(named).__qualname__)
