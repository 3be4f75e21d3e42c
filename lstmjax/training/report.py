"""What training reports: after a chunk of steps, at a validation check, and at its end."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from lstmjax.training.functional import Functional, Weights
from lstmjax.training.state import TrainState, kept_weights


@dataclasses.dataclass(frozen=True)
class Status:
    """Where a run is after a chunk of steps."""

    step: int
    """Updates done."""
    max_steps: int
    """Updates at most."""
    steps_per_second: float
    """Rate of the last chunk; a step is one of every member. 0 before it is known."""
    train_loss: Float[np.ndarray, " K"]
    """Mean of the batches' losses since the last validation check."""


@dataclasses.dataclass(frozen=True)
class Check:
    """What a validation check found. Arrays are by member; NaN for stopped members, and where nothing is validated."""

    step: int
    """Updates done."""
    state: TrainState
    """The state after the check, from which a run is resumed to the same bytes. Its arrays are not changed later."""
    train_loss: Float[np.ndarray, " K"]
    """Mean of the batches' losses since the last check."""
    val_loss: Float[np.ndarray, " K"]
    """Validation loss, scaled units."""
    val_mae: Float[np.ndarray, " K"]
    """Mean absolute error, scaled units."""
    val_mse: Float[np.ndarray, " K"]
    """Mean squared error, scaled units."""
    learning_rate: Float[np.ndarray, " K"]
    """Learning rate of the next step."""
    objective: Float[np.ndarray, " K"]
    """What a sweep ranks by, see `lstmjax.training.objective`; NaN where nothing is ranked."""
    best_step: Int[np.ndarray, " K"]
    """Updates at the best check so far; -1 before any."""
    best_loss: Float[np.ndarray, " K"]
    """Validation loss at that check."""
    active: Bool[np.ndarray, " K"]
    """False for members that stopped early or failed."""
    seconds: float
    """Since training began or was resumed."""
    steps_per_second: float
    """Rate of the last chunk; 0 before it is known."""

    def metrics(self, member: int = 0) -> dict[str, float | int | None]:
        """One member's numbers, for a line of JSON; None where it is NaN or infinite."""
        line: dict[str, float | int | None] = {"step": self.step}
        for name in ("train_loss", "val_loss", "val_mae", "val_mse", "learning_rate"):
            value = float(getattr(self, name)[member])
            line[name] = value if np.isfinite(value) else None
        return line | {"best_step": int(self.best_step[member]), "seconds": round(self.seconds, 3)}


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What training left. Arrays are by member."""

    network: Functional
    """The network without its arrays."""
    state: TrainState
    """The last state, NumPy arrays with a leading axis of members; training can continue from it."""
    interrupted: bool
    """True if a callback ended it before its time."""
    seconds: float
    """Of this call, compilation included."""
    batch_size: int
    """Windows per step: fewer than asked for where there are fewer."""
    batch_shards: int
    """Parts into which each batch was split."""

    def weights(self, member: int = 0) -> Weights:
        """The weights to keep of a member: those of its best validation check, or its last finite ones."""
        return kept_weights(self.state, member)

    def steps(self, member: int = 0) -> int:
        """Updates that a member did."""
        return int(self.state.step[member])

    def best_step(self, member: int = 0) -> int:
        """The step whose weights are kept: the best validated, or the last where nothing was validated."""
        best = int(self.state.best_step[member])
        return best if best >= 0 else self.steps(member)

    def failure(self, member: int = 0) -> str | None:
        """One line that says why a member failed and which weights are kept; None if it did not."""
        failed = int(self.state.failed_step[member])
        if failed < 0:
            return None
        return (
            f"training stopped at step {failed + 1}: its loss, gradient or weights were not finite; "
            f"the weights of step {self.best_step(member)} are kept: try a lower optimizer.learning_rate"
        )

    @property
    def parameters(self) -> int:
        """Number of trained numbers in one member."""
        return sum(int(np.prod(leaf.shape[1:])) for leaf in self.state.params.values())
