"""What training leaves: all a forecaster needs in order to forecast, as named arrays and JSON for a checkpoint."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple, Self

import numpy as np

from lstmjax.config import RunConfig
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, window_spec
from lstmjax.data.scaling import Scaling
from lstmjax.errors import CheckpointError
from lstmjax.forecaster import checkpoint as snapshot
from lstmjax.storage import checkpoint
from lstmjax.training import Network, TrainResult, Weights, functional
from lstmjax.version import __version__
from lstmjax.window import WindowSpec

NEVER = np.iinfo(np.int64).min
"""Stands in `Fitted.fit_end` for a series that was neither trained nor validated on."""

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pandas")


class Fitted(NamedTuple):
    """A trained forecaster."""

    config: RunConfig
    """With all that was inferred filled in: frequency, season, splits, batch shards."""
    network: str
    """``model.name``, or the class of a network of the user's own."""
    tail: Panel
    """Each series' last ``input_size`` rows, and its known future."""
    fit_end: np.ndarray
    """(N,) time of each series' last row that was trained or validated on, as `Panel.start`; `NEVER`: none was."""
    scaling: Scaling
    """Statistics of the training rows, in the order of the tail's series."""
    weights: Weights
    """Those of the best validation check."""
    summary: dict[str, Any]
    """How training went: ``steps``, ``best_step``, ``seconds``, ``parameters``, ``failure`` (None, or one line)."""

    @classmethod
    def of(cls, config: RunConfig, network: str, prepared: Prepared) -> Self:
        """What is known of a forecaster before it is trained; `weights` and `summary` are still empty.

        Args:
            config: see the attribute.
            network: see the attribute.
            prepared: what it is trained on.
        """
        panel, last = prepared.panel, prepared.split.val_end - 1
        last_time = panel.schema.frequency.at(panel.start, np.maximum(last, 0))
        return cls(
            config=config,
            network=network,
            tail=panel.tail(prepared.spec.input_size),
            fit_end=np.where(last < 0, NEVER, last_time),
            scaling=prepared.scaling,
            weights=Weights({}, {}),
            summary={},
        )

    def rows_seen(self, panel: Panel) -> np.ndarray:
        """How many rows at the beginning of each of a panel's series had a part in training.

        They were trained or validated on, or, of a series too short for either, its statistics come from them.

        Args:
            panel: the training table, or one that goes on after it; with the same frequency.

        Returns:
            (N,) numbers of rows; -1 for a series that training did not see.
        """
        tail = self.tail
        observed_end = tail.schema.frequency.at(tail.start, np.maximum(tail.observed - 1, 0))
        known_end = np.where(self.fit_end == NEVER, observed_end, self.fit_end)
        ends = dict(zip(tail.ids.tolist(), known_end.tolist(), strict=True))
        end = np.array([ends.get(name, NEVER) for name in panel.ids.tolist()], np.int64)
        number, _ = panel.schema.frequency.number(np.maximum(end, panel.start), panel.start)
        return np.where(end == NEVER, -1, np.where(end < panel.start, 0, number + 1))

    def to_arrays(self, *, weights: bool = True) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All of it as named arrays, and JSON-able metadata.

        Args:
            weights: whether to include the weights. A checkpoint of a run in training has them in its state, see
                `snapshot`.
        """
        tail, tail_metadata = self.tail.to_arrays()
        scaling, scaling_metadata = self.scaling.to_arrays()
        arrays = {f"tail/{name}": array for name, array in tail.items()}
        arrays |= {f"scaling/{name}": array for name, array in scaling.items()}
        arrays |= {"fit_end": self.fit_end}
        if weights:
            arrays |= checkpoint.flatten("weights", self.weights)
        metadata = {
            "config": self.config.to_json(),
            "network": self.network,
            "tail": tail_metadata,
            "scaling": scaling_metadata,
            "summary": self.summary,
            "versions": versions(),
        }
        return arrays, metadata

    @classmethod
    def from_arrays(
        cls, stored: checkpoint.Checkpoint, network: Callable[[WindowSpec], Network], member: int = 0
    ) -> Self:
        """The forecaster in a checkpoint: one that `to_arrays` took apart, or the best of a training run so far.

        Args:
            stored: a checkpoint.
            network: gives the network for windows of some sizes, whose weights have the shapes of those stored.
            member: which, where the checkpoint holds a population.

        Raises:
            CheckpointError: the checkpoint holds the weights of another network, or has no such member.
        """

        def group(name: str) -> dict[str, np.ndarray]:
            return {key.removeprefix(f"{name}/"): a for key, a in stored.arrays.items() if key.startswith(f"{name}/")}

        metadata = stored.metadata
        config = RunConfig.from_json(metadata["config"], "the checkpoint's config")
        seeds = metadata.get("seeds", [config.train.seed])
        if not 0 <= member < len(seeds):
            raise CheckpointError(f"the checkpoint has no member {member}: it has {len(seeds)}, counted from 0")
        config = config.replace({"train.seed": seeds[member]})
        tail = Panel.from_arrays(group("tail"), metadata["tail"])
        made = network(window_spec(tail, config.data))
        weights, summary = _trained(stored, made, config, member)
        return cls(
            config=config,
            network=metadata["network"],
            tail=tail,
            fit_end=stored.arrays["fit_end"],
            scaling=Scaling.from_arrays(group("scaling"), metadata["scaling"]),
            weights=weights,
            summary=summary,
        )


def _trained(
    stored: checkpoint.Checkpoint, network: Network, config: RunConfig, member: int
) -> tuple[Weights, dict[str, Any]]:
    """The weights to forecast with, and how training went."""
    if any(name.startswith("weights/") for name in stored.arrays):
        template = snapshot.weights_template(network)
        return checkpoint.unflatten("weights", template, stored.arrays), stored.metadata["summary"]
    structure, _ = functional(network)
    state = snapshot.stored_state(stored, network, config.optimizer, config.train)
    seconds = stored.metadata["seconds"]
    result = TrainResult(structure, state, False, seconds, config.train.batch_size, config.train.batch_shards or 1)
    return result.weights(member), snapshot.summary(result, member, seconds=seconds)


def versions() -> dict[str, str]:
    """Versions of this library and of those whose changes could change a forecast."""
    return {"lstmjax": __version__} | {name: version(name) for name in _LIBRARIES}
