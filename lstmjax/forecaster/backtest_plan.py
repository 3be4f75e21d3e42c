"""What a backtest trains: the cutoffs, and the model of each from the rows before it, in populations.

No model, nor anything that it is trained with, depends on a row after its cutoff.
"""

import contextlib
import dataclasses
import itertools
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from lstmjax.config import BacktestConfig, RunConfig
from lstmjax.data.cutoffs import cutoff_rows, prepare_before
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared
from lstmjax.data.scaling import rescaling
from lstmjax.errors import ConfigError, DataError
from lstmjax.forecaster.fit import require_outputs, resolved_config
from lstmjax.forecaster.network import UserNetwork
from lstmjax.training import TrainingData, evenly_spaced, resolve_batch, val_windows
from lstmjax.training.losses import OwnLoss

MOST_TOGETHER = 64
"""Members of a population, at most: on an accelerator all of them are in memory."""


@dataclass(frozen=True)
class Refit:
    """A model of a backtest, before it is trained."""

    cutoff: int
    """Number of the cutoff before which it is trained, from 0."""
    config: RunConfig
    """With all that was inferred filled in, from the rows before the cutoff."""
    prepared: Prepared
    """These rows; of several members its scaled values are those of the first, as in ``data``."""
    data: TrainingData
    """What it is trained on."""


@dataclass(frozen=True)
class Plan:
    """A backtest, resolved."""

    config: RunConfig
    """As the user gave it, without test rows."""
    panel: Panel
    settings: BacktestConfig
    rows: Int64[np.ndarray, "K N"]
    """The first forecast row of each series at each of K cutoffs; 0 where it has none."""
    populations: list[list[Refit]]
    """The models that are trained together, in order of time."""

    @property
    def refits(self) -> list[Refit]:
        """All models, in order of time."""
        every = itertools.chain.from_iterable(self.populations)
        return sorted(every, key=lambda refit: refit.cutoff)


def make_plan(
    config: RunConfig,
    panel: Panel,
    settings: BacktestConfig,
    *,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
) -> Plan:
    """Resolves a backtest, and finds what is wrong with it before anything is trained.

    Args:
        config: all options. Its test rows are not held out: what comes after a cutoff is its test.
        panel: the data.
        settings: the cutoffs, and what is trained.
        network: a network of the user's own; None for that of ``config.model``.
        loss: a loss of the user's own; None for that of ``train.loss``.

    Raises:
        ConfigError: an option does not fit.
        DataError: the rows before a cutoff cannot be trained on, or there are too few rows for so many cutoffs.
    """
    if config.data.train_end is not None:
        raise ConfigError("a backtest holds rows out before each cutoff: leave data.train_end out, give data.val_size")
    config = config.replace({"data.test_size": 0, "train.refit_all": False}).chosen
    given: dict[str, Any] = {"n_windows": settings.n_windows, "step_size": settings.step_size}
    rows = cutoff_rows(panel, config.data, **given)
    numbers = range(0, len(rows), settings.refit) if settings.refit else [0]
    refits: list[Refit] = []
    said: set[str] = set()
    bases: dict[Any, list[Refit]] = {}
    for number in numbers:
        like = refits[0] if refits and settings.warm_start else None
        try:
            with _each_once(said):
                refit = _make_refit(config, panel, rows[number], number, settings, len(numbers), network, loss, like)
        except DataError as error:
            raise DataError(f"before cutoff {number + 1} of {len(rows)}: {error}") from None
        same = bases.setdefault(number if settings.warm_start else _compiled_in(refit), [])
        refits.append(refit if settings.warm_start or len(numbers) == 1 else _on_panel_of([*same, refit][0], refit))
        same.append(refits[-1])
    populations = [
        each[first : first + MOST_TOGETHER] for each in bases.values() for first in range(0, len(each), MOST_TOGETHER)
    ]
    return Plan(config, panel, settings, rows, populations)


@contextlib.contextmanager
def _each_once(said: set[str]) -> Iterator[None]:
    """Passes warnings on that were not said before: each cutoff has the same data up to it.

    Args:
        said: what was said; new messages are added.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if str(warning.message) not in said:
            said.add(str(warning.message))
            warnings.warn(warning.message, warning.category, stacklevel=4)


def _make_refit(
    config: RunConfig,
    panel: Panel,
    rows: Int64[np.ndarray, " N"],
    number: int,
    settings: BacktestConfig,
    members: int,
    network: UserNetwork | None,
    loss: OwnLoss | None,
    like: Refit | None,
) -> Refit:
    """The model that is trained before a cutoff; ``like`` is the one whose weights it begins with, of equal shape."""
    categories = None
    if like is not None:
        categories = like.prepared.scaling.categories
        config = dataclasses.replace(config, model=like.config.model)
    prepared = prepare_before(panel, rows, config.data, train_size=settings.train_size, categories=categories)
    # The batches of members are not split over devices; nor are they where only one of several refits is a population
    # of its own, as its bytes must not depend on the others.
    resolved = resolved_config(config, prepared, network, 1 if settings.warm_start else members)
    require_outputs(resolved, prepared, network)
    held = evenly_spaced(prepared.validation, val_windows(resolved.train))
    data = TrainingData(prepared.arrays, prepared.train, held, prepared.spec, loss=loss)
    return Refit(number, resolved, prepared, data)


def _compiled_in(refit: Refit) -> Any:
    """What members of one population have in common."""
    config, data = refit.config, refit.data
    batch = resolve_batch(config.train, len(data.train.series), 2)
    categories = json.dumps(refit.prepared.scaling.categories)
    shared = dataclasses.replace(config, data=RunConfig().data)
    return shared, data.spec, categories, batch, len(data.validation.series) > 0


def _on_panel_of(base: Refit, refit: Refit) -> Refit:
    """The same model on the scaled panel of an earlier one, which nothing later has a part in."""
    arrays = base.data.arrays
    own = rescaling(base.prepared.scaling, refit.prepared.scaling, arrays)
    data = refit.data._replace(arrays=arrays, rescaling=own)
    return dataclasses.replace(refit, data=data, prepared=dataclasses.replace(refit.prepared, arrays=arrays))
