"""Arrays by name, such as ``weights/params/lstm.kernel``: those of a pytree in a flat dict, or in a tree of dicts."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from lstmjax.errors import CheckpointError

Tree = TypeVar("Tree")


def flatten(prefix: str, tree: Any) -> dict[str, Any]:
    """Returns the arrays of a pytree by name, e.g. ``"weights/params/lstm.kernel"``; those on a device stay there.

    Args:
        prefix: the beginning of every name.
        tree: a pytree of arrays.
    """
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(prefix, path): leaf for path, leaf in leaves}


def unflatten(prefix: str, template: Tree, arrays: Mapping[str, Any]) -> Tree:
    """Restores a pytree: the inverse of `flatten`, given the structure.

    Args:
        prefix: as in `flatten`.
        template: a pytree of the same structure, whose leaves have a shape and a dtype.
        arrays: arrays by name.

    Raises:
        CheckpointError: an array is missing or has another shape, as in the checkpoint of another network.
    """
    import jax

    def restore(path: Any, leaf: Any) -> np.ndarray:
        name = _name(prefix, path)
        if name not in arrays:
            raise CheckpointError(f"the checkpoint has no array {name}: it was made by another network")
        array = np.asarray(arrays[name])
        if array.shape != leaf.shape:
            raise CheckpointError(
                f"the checkpoint's {name} has shape {array.shape}, the network's has {leaf.shape}: another network"
            )
        return array.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(restore, template)


def as_tree(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Divides names at each ``/``: a tree of dicts, as Orbax saves it. It cannot hold arrays without elements."""
    from flax import traverse_util

    return traverse_util.unflatten_dict({name: array for name, array in arrays.items() if array.size}, sep="/")


def by_name(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Joins the keys of a tree of dicts to names: the inverse of `as_tree`."""
    from flax import traverse_util

    return traverse_util.flatten_dict(tree, sep="/")


def _name(prefix: str, path: Any) -> str:
    import jax

    return f"{prefix}/{jax.tree_util.keystr(path, simple=True, separator='/')}"
