"""What training leaves: all a forecaster needs in order to forecast, and its form as named arrays and JSON."""

import dataclasses
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Self

import numpy as np
from jaxtyping import Int64

from lstmjax.config import RunConfig
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, window_spec
from lstmjax.data.scaling import Scaling
from lstmjax.errors import CheckpointError
from lstmjax.evaluation.calibration import Errors
from lstmjax.forecaster.checkpoints import stored_state, training_summary, weights_template
from lstmjax.forecaster.network import UserNetwork, network_for
from lstmjax.ops.lstm import chosen
from lstmjax.storage import checkpoint
from lstmjax.storage.named_arrays import flatten, unflatten
from lstmjax.training import TrainResult, Weights, functional
from lstmjax.version import __version__
from lstmjax.window import WindowSpec

NEVER = np.iinfo(np.int64).min
"""Stands in `Trained.fit_end` for a series that was neither trained, validated nor calibrated on."""

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pandas")


@dataclass(frozen=True)
class Trained:
    """Weights, and what belongs to them: the statistics of the rows that they were trained on."""

    weights: Weights
    """Those of the best validation check, or the last where nothing was validated."""
    scaling: Scaling
    """Statistics of the training rows, in the order of `Fitted.tail`'s series."""
    fit_end: Int64[np.ndarray, " N"]
    """Time of each series' last row that was trained, validated or calibrated on, as `Panel.start`; `NEVER`: none."""
    summary: dict[str, Any] = field(default_factory=dict)
    """How training went: ``steps``, ``best_step``, ``seconds``, ``parameters``, ``failure`` (None, or one line)."""

    @classmethod
    def of(cls, prepared: Prepared, weights: Weights | None = None, summary: dict[str, Any] | None = None) -> Self:
        """What was trained on some data; nothing yet, where there are no weights."""
        panel, last = prepared.panel, prepared.split.calibration_end - 1
        last_time = panel.schema.frequency.at(panel.start, np.maximum(last, 0))
        return cls(
            weights=Weights({}, {}) if weights is None else weights,
            scaling=prepared.scaling,
            fit_end=np.where(last < 0, NEVER, last_time),
            summary=summary or {},
        )

    def parameters_table(self) -> str:
        """The trained arrays by name, with their shapes and numbers of parameters, one per line, and the total."""
        rows = [(name, str(np.shape(leaf)), f"{np.size(leaf):,}") for name, leaf in self.weights.params.items()]
        rows.append(("total", "", f"{sum(np.size(leaf) for leaf in self.weights.params.values()):,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)


@dataclass(frozen=True)
class Fitted:
    """A trained forecaster."""

    config: RunConfig
    """With all that was inferred filled in: frequency, season, splits, batch shards."""
    network: str
    """``model.name``, or the class of a user's network."""
    tail: Panel
    """Each series' last ``input_size`` rows, and its known future."""
    selected: Trained
    """What validation selected, and evaluation and calibration use."""
    refit: Trained | None = None
    """What was trained again on all rows (``train.refit_all``)."""
    own_loss: str | None = None
    """Name of the loss of the user's own that it was trained with; None for that of ``train.loss``."""
    errors: Errors | None = None
    """Those of held-out windows, of the selected weights, where intervals or sample paths may need them."""

    @classmethod
    def of(
        cls, config: RunConfig, network: str, prepared: Prepared, trained: Trained, own_loss: str | None = None
    ) -> Self:
        """A forecaster from what was trained.

        Args:
            config: see the attribute.
            network: see the attribute.
            prepared: what it was trained on.
            trained: what training left.
            own_loss: see the attribute.
        """
        tail = prepared.panel.tail(prepared.spec.input_size)
        return cls(config=config, network=network, tail=tail, selected=trained, own_loss=own_loss)

    @property
    def forecasting(self) -> Trained:
        """What forecasts the future: the refit where there is one, else what was selected."""
        return self.selected if self.refit is None else self.refit

    @property
    def summary(self) -> dict[str, Any]:
        """How training went, see `Trained.summary`; of the selected weights."""
        return self.selected.summary

    def described(self) -> str:
        """Its size and how training went, in a few words."""
        said = self.summary
        again = ", trained again on all rows" if self.refit is not None else ""
        return f"{said['parameters']:,} parameters, best of {said['steps']} steps: {said['best_step']}{again}"

    @property
    def spec(self) -> WindowSpec:
        """The sizes of its windows."""
        return window_spec(self.tail, self.config.data, self.selected.scaling)

    def rows_seen(self, panel: Panel) -> Int64[np.ndarray, " N"]:
        """How many rows at the beginning of each of a panel's series had a part in the weights or the intervals.

        They were trained, validated or calibrated on, or, of a series too short, its statistics come from them.

        Args:
            panel: the training table, or one that continues it; with the same frequency.

        Returns:
            (N,) numbers of rows; -1 for a series that training did not see.
        """
        tail, fit_end = self.tail, self.selected.fit_end
        observed_end = tail.schema.frequency.at(tail.start, np.maximum(tail.observed - 1, 0))
        known_end = np.where(fit_end == NEVER, observed_end, fit_end)
        ends = dict(zip(tail.ids.tolist(), known_end.tolist(), strict=True))
        end = np.array([ends.get(name, NEVER) for name in panel.ids.tolist()], np.int64)
        number, _ = panel.schema.frequency.number(np.maximum(end, panel.start), panel.start)
        return np.where(end == NEVER, -1, np.where(end < panel.start, 0, number + 1))

    def to_arrays(self, *, weights: bool = True) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What was selected as named arrays and JSON-able metadata.

        Args:
            weights: whether to include the weights. A checkpoint of a run in training has them in its state, see
                `lstmjax.forecaster.checkpoints`.
        """
        tail, tail_metadata = self.tail.to_arrays()
        scaling, scaling_metadata = self.selected.scaling.to_arrays()
        arrays = {f"tail/{name}": array for name, array in tail.items()}
        arrays |= {f"scaling/{name}": array for name, array in scaling.items()}
        arrays |= {"fit_end": self.selected.fit_end}
        if weights:
            arrays |= flatten("weights", self.selected.weights)
        metadata = {
            "config": self.config.to_json(),
            "network": self.network,
            "own_loss": self.own_loss,
            "tail": tail_metadata,
            "scaling": scaling_metadata,
            "summary": self.summary,
            "versions": versions(),
        }
        return arrays, metadata

    @classmethod
    def from_checkpoint(cls, stored: checkpoint.Checkpoint, network: UserNetwork | None, member: int = 0) -> Self:
        """The forecaster in a checkpoint: one that `to_arrays` made, or the best of a training run so far.

        Args:
            stored: a checkpoint.
            network: a network of the user's own, whose weights have the shapes of those stored; or None.
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
        scaling = Scaling.from_arrays(group("scaling"), metadata["scaling"])
        weights, summary = _weights(stored, network, config, window_spec(tail, config.data, scaling), member)
        return cls(
            config=config,
            network=metadata["network"],
            tail=tail,
            selected=Trained(weights, scaling, stored.arrays["fit_end"], summary),
            own_loss=metadata.get("own_loss"),
        )

    def replace(self, **changes: Any) -> Self:
        """A copy with some attributes changed."""
        return dataclasses.replace(self, **changes)


def _weights(
    stored: checkpoint.Checkpoint, network: UserNetwork | None, config: RunConfig, spec: WindowSpec, member: int
) -> tuple[Weights, dict[str, Any]]:
    """The weights to forecast with, and how training went."""
    made = network_for(network, config, spec)
    if any(name.startswith("weights/") for name in stored.arrays):
        return unflatten("weights", weights_template(made), stored.arrays), stored.metadata["summary"]
    state, seconds = stored_state(stored, made, config.optimizer, config.train), stored.metadata["seconds"]
    structure, _ = functional(made)
    result = TrainResult(structure, state, False, seconds, config.train.batch_size, config.train.batch_shards or 1)
    return result.weights(member), training_summary(result, member, seconds=seconds)


def versions() -> dict[str, str]:
    """Versions of this library and of those whose changes could change a forecast; and the code that computes the LSTM.

    Two implementations of the LSTM, or two instruction sets, differ by rounding.
    """
    return {"lstmjax": __version__} | {name: version(name) for name in _LIBRARIES} | {"lstm": chosen()[0]}
