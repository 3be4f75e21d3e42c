"""Training as a function of the traced hyperparameters, with all that is compiled in fixed beforehand."""

import functools
from collections.abc import Callable

from lstmjax import parallel
from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.training.data import TrainingData
from lstmjax.training.functional import Network
from lstmjax.training.loop import train
from lstmjax.training.report import TrainResult


def make_train(
    network: Network,
    data: TrainingData,
    optimizer: OptimizerConfig,
    config: TrainConfig,
    *,
    mapping: parallel.MappingName | None = None,
) -> Callable[..., TrainResult]:
    """Fixes what is compiled in.

    Args:
        network: see `train`.
        data: what all members are trained on.
        optimizer: of it, what is compiled in: the names, and whether gradients are clipped.
        config: how long to train, and of it what is compiled in: the loss, the batch size and its shards.
        mapping: see `parallel.over_members`.

    Returns:
        ``train(hyperparameters=[...], state=None, until=None, ...) -> TrainResult``: a function of what differs by
        member, the seed included, so that new values compile nothing; the other arguments as for `train`.
    """
    return functools.partial(train, network, data, optimizer, config, mapping=mapping)
