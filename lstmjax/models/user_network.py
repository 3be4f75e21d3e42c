"""Networks of the user, instead of those of this package."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import PRNGKeyArray

from lstmjax.errors import ConfigError
from lstmjax.window import Forecast, WindowBatch, WindowSpec

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


def check_own_network(network: nnx.Module | NetworkMaker, spec: WindowSpec) -> None:
    """Refuses a network of the user's that cannot be made, called or trained; it is traced, nothing is computed.

    Args:
        network: a module, or what makes one.
        spec: sizes of a window.

    Raises:
        ConfigError: says what a network takes and returns, and what this one does instead.
    """
    name = own_name(network)
    if isinstance(network, nnx.Module):
        graph, state = nnx.split(network)  # traced as a copy: what it counts or gathers stays as it is
        jax.eval_shape(lambda key, state: _forecast(nnx.merge(graph, state), name, spec, key), jax.random.key(0), state)
        return
    made: Any = network
    if isinstance(network, type):  # whose own signature says nothing, as that of every nnx.Module
        made = functools.partial(network.__init__, None)  # type: ignore[misc]
    _check_arguments(made, (spec,), ("rngs",), f"{name} cannot be made", "(spec, *, rngs)")
    jax.eval_shape(lambda key: _forecast(network(spec, rngs=nnx.Rngs(key)), name, spec, key), jax.random.key(0))


def _forecast(module: Any, name: str, spec: WindowSpec, key: PRNGKeyArray) -> jax.Array:
    """The parameters of a network's forecast; refuses another shape, as described in `check_own_network`."""
    windows = 2
    if not isinstance(module, nnx.Module) or not callable(module):
        raise ConfigError(f"the network {name} makes a {type(module).__name__}: expected an nnx.Module to call")
    use = "__call__(self, window, *, rngs=None, deterministic=None)"
    _check_arguments(module.__call__, (None,), ("rngs", "deterministic"), f"{name} cannot be called", use)
    forecast = module(some_window(spec, windows), rngs=nnx.Rngs(key), deterministic=False)
    found = forecast.parameters if isinstance(forecast, Forecast) else forecast
    shape = tuple(getattr(found, "shape", ()))
    right = len(shape) == 4 and shape[:3] == (windows, spec.h, spec.targets) and shape[3] > 0
    if not isinstance(forecast, Forecast) or not right:
        came = f"a {type(forecast).__name__}" + (f" of shape {shape}" if hasattr(found, "shape") else "")
        raise ConfigError(
            f"the network {name} returns {came} for {windows} windows: expected lstmjax.Forecast(parameters) of shape "
            f"(B, H, C, P), here ({windows}, {spec.h}, {spec.targets}, P): windows, horizon, targets and the "
            "parameters of each value, 1 for a point forecast"
        )
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise ConfigError(f"the network {name} returns numbers of the type {found.dtype}: expected float32")
    _check_trained(module, name)
    return found


def _check_trained(module: nnx.Module, name: str) -> None:
    trained = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    if not trained:
        raise ConfigError(f"the network {name} has nothing to train: it holds no nnx.Param")
    for path, array in trained:
        if not jnp.issubdtype(dtype := jnp.result_type(array), jnp.inexact):
            param = jax.tree_util.keystr(path, simple=True, separator=".")
            raise ConfigError(
                f"the network {name} cannot be trained: its nnx.Param {param} is of the type {dtype}: make it an "
                "nnx.Variable, which is kept and not trained, or float32"
            )


def _check_arguments(function: Callable, given: tuple, named: tuple[str, ...], problem: str, use: str) -> None:
    try:
        inspect.signature(function).bind(*given, **dict.fromkeys(named))
    except TypeError as error:
        raise ConfigError(f"the network {problem}: {error}; it takes {use}") from None
    except ValueError:  # it has no signature that could be read
        return


def some_window(spec: WindowSpec, windows: int) -> WindowBatch:
    """A batch of windows of zeros."""
    length = spec.input_size

    def pair(steps: int, features: int) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((windows, steps, features)), jnp.ones((windows, steps, features), bool)

    y, hist, futr = pair(length, spec.targets), pair(length, spec.hist_exog), pair(length + spec.h, spec.futr_exog)
    return WindowBatch(*y, *hist, *futr, jnp.zeros((windows, spec.stat_exog)), jnp.zeros(windows, jnp.int32))
