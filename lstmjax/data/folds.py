"""Folds: several splits of the same rows, each with its validation rows at an earlier time.

Fold 0 is the split of ``lstmjax train``. In fold k training and validation end ``k * step`` rows earlier, and nothing
after that is seen: scalers and categories are those of the fold's own training rows.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator

import numpy as np

from lstmjax.config import DataConfig
from lstmjax.data.cutoffs import before
from lstmjax.data.grid import Grid
from lstmjax.data.origins import train_windows
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.split import Split
from lstmjax.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Folds:
    """How many folds, and how far apart."""

    count: int = 1
    """Splits; with one there are no folds."""
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
        with named_fold(number, folds.rows(whole)):
            one = prepare(seen, whole.config, with_test=False, categories=categories, split=split, grid=grid)
        categories = one.scaling.categories
        prepared.insert(0, one)
    if categories != whole.scaling.categories:
        whole = prepare(panel, config, with_test=True, categories=categories)
    return [whole, *prepared]


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
def named_fold(number: int, rows: int) -> Iterator[None]:
    """Names the fold in errors and warnings.

    Args:
        number: of the fold.
        rows: between the ends of two folds.
    """
    name = f"fold {number} (validated up to {number * rows} rows earlier)"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except (ConfigError, DataError) as error:
            raise type(error)(f"{name}: {error}") from None
    for warning in caught:
        warnings.warn(f"{name}: {warning.message}", warning.category, stacklevel=5)
