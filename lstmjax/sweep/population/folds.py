"""Folds: a setting is trained on several splits of the same rows, each with its validation rows at an earlier time.

Fold 0 is the split of ``lstmjax train``. In fold k training and validation end ``k * fold_step`` rows earlier, and
nothing after that is seen: scalers, categories and the objective's units are those of the fold's own training rows.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator

import numpy as np

from lstmjax.config import DataConfig, RunConfig
from lstmjax.data.cutoffs import before
from lstmjax.data.grid import Grid
from lstmjax.data.origins import train_windows
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.scaling import rescaling
from lstmjax.data.split import Split
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError
from lstmjax.sweep.population.objective import make_objective
from lstmjax.sweep.space.space import Space
from lstmjax.training import TrainingData, evenly_spaced, val_windows


@dataclasses.dataclass(frozen=True)
class Folds:
    """How many folds, and how far apart."""

    count: int = 1
    """Members of each setting and seed."""
    step: int | None = None
    """Rows between the ends of two folds. Default: the validation rows, so that no row is validated on twice."""

    def rows(self, prepared: Prepared) -> int:
        """Rows between the ends of two folds.

        Args:
            prepared: the data of fold 0.
        """
        return prepared.split.sizes["validation"] if self.step is None else self.step


ONE_FOLD = Folds()
"""The split of a single run."""


def prepare_folds(panel: Panel, config: DataConfig, folds: Folds) -> list[Prepared]:
    """Prepares the data of each fold.

    Args:
        panel: the data.
        config: how; its test and calibration rows belong to no fold.
        folds: how many, and how far apart.

    Returns:
        One for each fold, from the one with the latest rows; all encode text by the categories of the last one, which
        has the fewest rows.

    Raises:
        ConfigError: a fold has no rows to train on, or no window to validate on.
        DataError: as from `prepare`.
    """
    whole = prepare(panel, config, with_test=True)
    if folds.count == 1:
        return [whole]
    splits, grid = _splits(whole, folds), Grid.of(panel, whole.config)
    prepared: list[Prepared] = []
    categories = None
    for number in range(folds.count - 1, 0, -1):
        split = splits[number]
        seen = before(panel, split.val_end)  # statistics of a series never reach beyond that
        with _named(number, folds.rows(whole)):
            one = prepare(seen, whole.config, with_test=False, categories=categories, split=split, grid=grid)
        categories = one.scaling.categories
        prepared.insert(0, one)
    if categories != whole.scaling.categories:
        whole = prepare(panel, config, with_test=True, categories=categories)
    return [whole, *prepared]


def training_data(
    panel: Panel, config: DataConfig, folds: Folds, *, metric: str, space: Space, base: RunConfig
) -> tuple[Prepared, tuple[TrainingData, ...]]:
    """Prepares what the members of each fold are trained and ranked on.

    Args:
        panel: the data.
        config: how it is prepared.
        folds: how many, and how far apart.
        metric: what trials are ranked by.
        space: what is searched; of it the longest lookback.
        base: the options that trials share; of them how many windows a validation check looks at.

    Returns:
        The data of fold 0 as `prepare` gives them; and for each fold the windows, with the panel in common. The
        panel is in units of the fold with the fewest rows: so no fold depends on rows that it must not see.

    Raises:
        ConfigError: as in `prepare_folds`; or the metric cannot be computed for a fold.
        DataError: as in `prepare_folds`.
    """
    prepared = prepare_folds(panel, config, folds)
    fewest, longest = prepared[-1], space.longest_lookback(base)
    data = []
    for number, one in enumerate(prepared):
        held = evenly_spaced(common_windows(one.validation, longest), val_windows(base.train))
        # The first is the split of a run, which every sweep has.
        with _named(number, folds.rows(prepared[0])) if number else contextlib.nullcontext():
            objective = make_objective(metric, one._replace(validation=held))
        own = None if folds.count == 1 else rescaling(fewest.scaling, one.scaling, fewest.arrays)
        data.append(TrainingData(fewest.arrays, one.train, held, one.spec, objective, own))
    return prepared[0], tuple(data)


def common_windows(windows: Windows, longest: int) -> Windows:
    """The windows that all trials are validated on: those whose longest lookback lies within the series.

    So no trial is judged by a window that is padded for others. Where every window would be, all of them count.

    Args:
        windows: those whose targets lie in validation rows.
        longest: the longest lookback of any trial, in rows.
    """
    whole = np.asarray(windows.origin) >= longest
    return Windows(*(np.asarray(column)[whole] for column in windows)) if whole.any() else windows


def _splits(whole: Prepared, folds: Folds) -> list[Split]:
    """The split of each fold; refuses a number of folds of which some have nothing to train on."""
    config, rows = whole.config, folds.rows(whole)
    grid = Grid.of(whole.panel, config)
    splits = [whole.split]
    for number in range(1, folds.count):
        train_end = np.maximum(0, whole.split.train_end - number * rows)
        val_end = np.where(train_end > 0, whole.split.val_end - number * rows, 0)
        split = Split(train_end, val_end, val_end, val_end)  # without calibration and test rows
        windows = train_windows(
            whole.panel, split, grid, input_size=config.input_size, h=config.h, step_size=config.step_size
        )
        if not len(windows.series):
            raise ConfigError(
                f"sweep.folds is {folds.count}, with {rows} rows between the ends of two folds (sweep.fold_step): fold "
                f"{number} would have no rows to train on; give at most {number} fold{'s' * (number > 1)}, a smaller "
                "sweep.fold_step, or more rows"
            )
        splits.append(split)
    return splits


@contextlib.contextmanager
def _named(number: int, rows: int) -> Iterator[None]:
    """Names the fold in errors and warnings."""
    name = f"fold {number} (validated up to {number * rows} rows earlier)"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except (ConfigError, DataError) as error:
            raise type(error)(f"{name}: {error}") from None
    for warning in caught:
        warnings.warn(f"{name}: {warning.message}", warning.category, stacklevel=5)
