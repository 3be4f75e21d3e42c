"""What the members of each fold are trained and ranked on.

The objective's units are those of the fold's own training rows, as its scalers are.
"""

import contextlib
import dataclasses

import numpy as np

from lstmjax.config import DataConfig, RunConfig
from lstmjax.data.folds import Folds, named_fold, prepare_folds
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import Prepared
from lstmjax.data.scaling import rescaling
from lstmjax.data.windows import Windows
from lstmjax.sweep.space.space import Space
from lstmjax.training import TrainingData, evenly_spaced, val_windows
from lstmjax.training.metric_objective import make_objective


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
        with named_fold(number, folds.rows(prepared[0])) if number else contextlib.nullcontext():
            objective = make_objective(metric, dataclasses.replace(one, validation=held))
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
