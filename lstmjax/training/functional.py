"""The border between Flax modules and plain JAX: a network is split once, and is a pure function from then on.

Splitting and merging a module in Python costs more than a training step. So it is done while a program is traced, and
what the program sees are two flat dicts of arrays, named by their path in the module: easy to read in a checkpoint.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from lstmjax.nn import Hyperparameter
from lstmjax.window import Forecast, WindowBatch

Network = Callable[[PRNGKeyArray], nnx.Module] | nnx.Module
"""A function from a key to a new network, or a network that has its weights already."""

Arrays = dict[str, Array]
"""Arrays by their path in the module, e.g. ``"lstm.layers.0.kernel"``."""


class Weights(NamedTuple):
    """All that a network holds."""

    params: Arrays
    """What is trained: its `nnx.Param` variables."""
    model_state: Arrays
    """Everything else: running statistics, random streams, hyperparameters. Keys are stored as raw words."""


Initializer = Callable[[PRNGKeyArray], Weights]
"""Draws the first weights of a network from a key."""


@dataclasses.dataclass(frozen=True)
class Functional:
    """A network without its arrays. Hashable: two networks built alike are equal, and share compiled programs.

    Attributes:
        graphdef: the structure of the module.
        params: names of the trained arrays, in the order of their tree.
        params_tree: the tree they came in.
        model_state: names of all other arrays.
        model_state_tree: the tree they came in.
        key_types: the type of random key of those arrays that are keys, by name.
        hyperparameters: names of the arrays that are `nn.Hyperparameter` variables.
    """

    graphdef: Any
    params: tuple[str, ...]
    params_tree: Any
    model_state: tuple[str, ...]
    model_state_tree: Any
    key_types: tuple[tuple[str, str], ...]
    hyperparameters: tuple[str, ...]

    def split(self, module: nnx.Module) -> Weights:
        """The arrays of a module, as plain numbers.

        Args:
            module: one with this structure.
        """
        _, *states = nnx.split(module, nnx.Param, ...)
        params, rest = states
        model_state = {name: _plain(leaf) for name, leaf in _named(rest).items() if name in self.model_state}
        return Weights({name: _plain(leaf) for name, leaf in _named(params).items()}, model_state)

    def merge(self, weights: Weights) -> nnx.Module:
        """The module that holds these arrays."""
        key_types = dict(self.key_types)
        params = jax.tree.unflatten(self.params_tree, [weights.params[name] for name in self.params])
        rest = jax.tree.unflatten(
            self.model_state_tree,
            [
                jax.random.wrap_key_data(weights.model_state[name], impl=key_types[name])
                if name in key_types
                else weights.model_state[name]
                for name in self.model_state
            ],
        )
        return nnx.merge(self.graphdef, params, rest)

    def set_hyperparameters(self, model_state: Arrays, values: Mapping[str, Array]) -> Arrays:
        """``model_state`` with new values for some of the network's `nn.Hyperparameter` variables.

        Raises:
            ValueError: the network has no such variable.
        """
        for name in values:
            if name not in self.hyperparameters:
                there = ", ".join(self.hyperparameters) or "none"
                raise ValueError(f"the network has no hyperparameter {name!r}: it has {there}")
        new = {name: jnp.asarray(value, model_state[name].dtype) for name, value in values.items()}
        return model_state | new

    def begin(self, weights: Weights, values: Mapping[str, Array]) -> Weights:
        """First weights, with values for some of the network's `nn.Hyperparameter` variables.

        A network whose first weights depend on these has a method ``begin()`` that sets them.

        Args:
            weights: as they were drawn.
            values: by path.
        """
        weights = Weights(weights.params, self.set_hyperparameters(weights.model_state, values))
        network: Any = self.merge(weights)
        if not values or not hasattr(network, "begin"):
            return weights
        network.begin()
        return self.split(network)

    def forecast(self, weights: Weights, window: WindowBatch) -> Forecast:
        """What the network forecasts: without dropout, and with the statistics it gathered in training."""
        network = self.merge(weights)
        network.eval()
        return network(window, rngs=None, deterministic=True)

    def forecast_in_training(
        self, weights: Weights, window: WindowBatch, key: PRNGKeyArray, shard: Array
    ) -> tuple[Forecast, Arrays]:
        """What the network forecasts while it is trained.

        Args:
            weights: its arrays.
            window: a part of a batch.
            key: for dropout masks; different for every step and part.
            shard: number of the part, so that random streams the network keeps itself differ by part too.

        Returns:
            The forecast, and the network's new state other than its parameters.
        """
        own_keys = {
            name: jax.random.key_data(
                jax.random.fold_in(jax.random.wrap_key_data(weights.model_state[name], impl=impl), shard)
            )
            for name, impl in self.key_types
        }
        network = self.merge(Weights(weights.params, weights.model_state | own_keys))
        network.train()
        forecast = network(window, rngs=nnx.Rngs(key), deterministic=False)
        after = self.split(network).model_state
        kept = {name: weights.model_state[name] for name, _ in self.key_types}
        return forecast, {name: after[name].astype(weights.model_state[name].dtype) for name in after} | kept


def functional(network: Network) -> tuple[Functional, Initializer | Weights]:
    """A network as a pure function.

    Args:
        network: a function from a key to a new network, or a network that has its weights already. The same function
            gives the same result, so that programs compiled for it serve again.

    Returns:
        Its structure, and its first weights, or the function that draws them from a key; to be compiled, for
        initialising eagerly gives other bytes.
    """
    if isinstance(network, nnx.Module):
        structure = _structure(network)
        return structure, structure.split(network)
    try:
        hash(network)
    except TypeError:
        return _functional_of.__wrapped__(network)
    return _functional_of(network)


@functools.lru_cache(maxsize=64)
def _functional_of(network: Callable[[PRNGKeyArray], nnx.Module]) -> tuple[Functional, Initializer]:
    structures = []

    def draw(key: PRNGKeyArray) -> Weights:
        module = network(key)
        structures.append(_structure(module))
        return structures[-1].split(module)

    # The type of a random key can be asked of a tracer, not of a bare shape: so look at the module while it is traced.
    jax.eval_shape(draw, jax.random.key(0))
    structure = structures[0]
    return structure, lambda key: structure.split(network(key))


def widest(first: Weights | Initializer) -> int:
    """The size of the largest trained array, in bytes.

    Args:
        first: as `functional` gives it.
    """
    weights = first if isinstance(first, Weights) else jax.eval_shape(first, jax.random.key(0))
    return max((leaf.size * leaf.dtype.itemsize for leaf in weights.params.values()), default=0)


def _structure(module: nnx.Module) -> Functional:
    graphdef, *states = nnx.split(module, nnx.Param, ...)
    params, rest = states
    leaves = _named(rest)
    own = _named(nnx.state(module, Hyperparameter))
    return Functional(
        graphdef=graphdef,
        params=tuple(_named(params)),
        params_tree=jax.tree.structure(params),
        model_state=tuple(leaves),
        model_state_tree=jax.tree.structure(rest),
        key_types=tuple((name, str(jax.random.key_impl(leaf))) for name, leaf in leaves.items() if _is_key(leaf)),
        hyperparameters=tuple(own),
    )


def _named(state: Any) -> dict[str, Any]:
    """The leaves of a Flax state by their path, in the order of the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {".".join(str(k.key) for k in path if hasattr(k, "key")): leaf for path, leaf in leaves}


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Array:
    # An explicit dtype makes Python numbers strongly typed, as the carry of a loop must be.
    return jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf, jnp.result_type(leaf))
