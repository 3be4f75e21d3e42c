"""A loss of the user's own: a function in Python, of which a checkpoint keeps the name only."""

import warnings

from lstmjax.errors import CheckpointError
from lstmjax.storage.checkpoint import CheckpointWarning
from lstmjax.training.losses import OwnLoss, loss_name


def own_loss_name(loss: OwnLoss | None) -> str | None:
    """What a checkpoint calls the loss; None for that of ``train.loss``."""
    return None if loss is None else loss_name(loss)


def check_loss(theirs: str | None, loss: OwnLoss | None, source: object) -> None:
    """Refuses to continue a training with another loss.

    Args:
        theirs: name of the user's own loss that was trained with; None for that of ``train.loss``.
        loss: the one at hand.
        source: what was trained, for the message.

    Raises:
        CheckpointError: names what was trained with.
    """
    ours = own_loss_name(loss)
    if theirs == ours:
        return
    if theirs is None:
        raise CheckpointError(f"{source} was trained with the loss of train.loss, not with {ours}: leave loss= out")
    hint = "pass it as loss=" if ours is None else f"not with {ours}"
    raise CheckpointError(f"{source} was trained with a loss of your own, {theirs}: {hint}")


def warn_of_missing_loss(theirs: str | None, loss: OwnLoss | None, source: object) -> None:
    """Warns that a forecaster was loaded without the loss that it was trained with: it needs it to train on only."""
    if theirs is not None and loss is None:
        warnings.warn(
            f"{source} was trained with a loss of your own, {theirs}: it forecasts without it; to fine-tune or resume "
            "it, pass it as loss=",
            CheckpointWarning,
            stacklevel=3,
        )


def require_loss(theirs: str | None, loss: OwnLoss | None) -> None:
    """Refuses to fine-tune with ``train.loss`` what was trained with a loss of the user's own.

    Another loss of the user's own is allowed.

    Raises:
        CheckpointError: names what it was trained with.
    """
    if loss is None:
        check_loss(theirs, loss, "the forecaster")
