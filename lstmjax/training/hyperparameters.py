"""The hyperparameters that only scale arithmetic: traced, so that a new value compiles nothing."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jaxtyping import Float, Int, UInt32

from lstmjax.config import OptimizerConfig, TrainConfig


class Hyperparameters(NamedTuple):
    """What may differ between the members of a population without another compilation.

    Every field is one number per member (the seed: two): NumPy on the host, traced in a program, and with a leading
    axis of members in a population.

    Names and meanings are those of `OptimizerConfig` and `TrainConfig`. A number that a run does not use (for example,
    of clipping that is off) has a value too; whether it is used is part of the compiled program.
    """

    learning_rate: Float[Any, "*K"]
    warmup_steps: Int[Any, "*K"]
    decay_rate: Float[Any, "*K"]
    decay_steps: Int[Any, "*K"]
    decay_start_epoch: Int[Any, "*K"]
    final_fraction: Float[Any, "*K"]
    total_steps: Int[Any, "*K"]
    """Steps over which cosine and onecycle stretch: ``train.max_steps``."""
    plateau_patience: Int[Any, "*K"]
    momentum: Float[Any, "*K"]
    weight_decay: Float[Any, "*K"]
    clip_norm: Float[Any, "*K"]
    clip_value: Float[Any, "*K"]
    huber_delta: Float[Any, "*K"]
    early_stop_patience: Int[Any, "*K"]
    """In checks; -1: never."""
    seed: UInt32[Any, "*K 2"]
    """The seed as a raw Threefry key, from `seed_words`."""
    network: dict[str, Float[Any, "*K"]]
    """Values for the network's own `nn.Hyperparameter` variables, by path (``"dropout"``); those not named keep the
    value the network was built with."""

    @classmethod
    def from_config(
        cls,
        optimizer: OptimizerConfig,
        train: TrainConfig,
        *,
        seed: int | None = None,
        network: Mapping[str, float] = {},
    ) -> Self:
        """The numbers of one member.

        Args:
            optimizer: see `OptimizerConfig`.
            train: see `TrainConfig`.
            seed: seed instead of ``train.seed``.
            network: values for the network's own `nn.Hyperparameter` variables, by path.
        """
        return cls(
            learning_rate=np.float32(optimizer.learning_rate),
            warmup_steps=np.int32(optimizer.warmup_steps),
            decay_rate=np.float32(optimizer.decay_rate),
            decay_steps=np.int32(optimizer.decay_steps),
            decay_start_epoch=np.int32(optimizer.decay_start_epoch),
            final_fraction=np.float32(optimizer.final_fraction),
            total_steps=np.int32(train.max_steps),
            plateau_patience=np.int32(optimizer.plateau_patience),
            momentum=np.float32(optimizer.momentum),
            weight_decay=np.float32(optimizer.weight_decay),
            clip_norm=np.float32(optimizer.clip_norm or 0.0),
            clip_value=np.float32(optimizer.clip_value or 0.0),
            huber_delta=np.float32(train.huber_delta),
            early_stop_patience=np.int32(train.early_stop_patience_steps),
            seed=seed_words(train.seed if seed is None else seed),
            network={name: np.float32(value) for name, value in network.items()},
        )


def seed_words(seed: int) -> UInt32[np.ndarray, "2"]:
    """A seed as the two words of a Threefry key, as ``jax.random.key(seed)`` with 64-bit integers has them.

    (With JAX's default 32-bit integers that function silently drops the upper half of the seed.)

    >>> seed_words(7).tolist(), seed_words(2**32 + 7).tolist()
    ([0, 7], [1, 7])
    """
    return np.array([(seed >> 32) & 0xFFFFFFFF, seed & 0xFFFFFFFF], np.uint32)


def stack(members: Sequence[Hyperparameters]) -> Hyperparameters:
    """The numbers of several members side by side: every leaf gets a leading axis of members.

    Raises:
        ValueError: there are no members, or they name different network values.
    """
    if not members:
        raise ValueError("members must hold at least one member's hyperparameters, got none")
    names = [sorted(member.network) for member in members]
    if any(name != names[0] for name in names):
        raise ValueError(f"members must name the same network values, got {sorted(map(tuple, names))}")
    return jax.tree.map(lambda *leaves: np.stack(leaves), *members)
