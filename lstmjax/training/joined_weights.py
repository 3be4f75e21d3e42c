"""The small weights of a member joined to one array, as the optimiser updates them.

An optimiser treats all weights alike. Its update is some ten operations for every array, and starting these takes a
fifth of the training step of a small network.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp

from lstmjax.training.functional import Arrays

JOINED = 2**15
"""Largest number of weights that are joined. The update of more is divided by XLA's CPU devices among their threads,
which wait for each other."""


@dataclasses.dataclass(frozen=True)
class JoinedWeights:
    """Which arrays are joined.

    Attributes:
        shapes: shape and dtype of each array, by its name.
        groups: names of the arrays that are joined, the small ones first; a large one is alone.
    """

    shapes: Mapping[str, jax.ShapeDtypeStruct]
    groups: list[list[str]]

    @classmethod
    def of(cls, params: Arrays) -> Self:
        """The layout for some weights.

        >>> weights = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3), "large": jnp.ones((128, 512))}
        >>> {name: array.shape for name, array in JoinedWeights.of(weights).join(weights).items()}
        {'bias': (9,), 'large': (128, 512)}
        """
        shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in params.items()}
        groups: list[list[str]] = []
        for name in sorted(shapes, key=lambda name: (shapes[name].dtype.name, shapes[name].size, name)):
            group = groups[-1] if groups else []
            size = sum(shapes[joined].size for joined in [*group, name])
            if group and shapes[group[0]].dtype == shapes[name].dtype and size <= JOINED:
                group.append(name)
            else:
                groups.append([name])
        return cls(shapes, groups)

    def join(self, arrays: Arrays) -> Arrays:
        """Joins arrays of these names and shapes: to one of (P,) for each group, by the first name in it."""
        return {
            group[0]: jnp.concatenate([arrays[name].ravel() for name in group]) if group[1:] else arrays[group[0]]
            for group in self.groups
        }

    def split(self, packed: Arrays) -> Arrays:
        """The arrays that `join` joined, by their names."""
        arrays: Arrays = {}
        for group in self.groups:
            ends = [sum(self.shapes[name].size for name in group[:count]) for count in range(1, len(group))]
            parts = jnp.split(packed[group[0]], ends) if ends else [packed[group[0]]]
            arrays |= {name: part.reshape(self.shapes[name].shape) for name, part in zip(group, parts, strict=True)}
        return {name: arrays[name] for name in self.shapes}

    def join_state(self, opt_state: Any) -> Any:
        """An optimiser's state with its dicts of arrays by name joined alike."""
        return _map_dicts(self.join, opt_state)

    def split_state(self, opt_state: Any) -> Any:
        """The state that `join_state` made."""
        return _map_dicts(self.split, opt_state)


def _map_dicts(function: Callable[[Arrays], Arrays], tree: Any) -> Any:
    def is_dict(node: Any) -> bool:
        return isinstance(node, dict)

    return jax.tree.map(lambda node: function(node) if is_dict(node) else node, tree, is_leaf=is_dict)
