"""Prepares a panel for training: splits it, scales it and cuts it into windows. Mistakes in the data are found here."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from lstmjax.config import DataConfig, FeedName
from lstmjax.data.calendar import time_feature_names
from lstmjax.data.categories import Categories
from lstmjax.data.frequency import season_length
from lstmjax.data.grid import Grid
from lstmjax.data.host_panel import ScaledPanel, scaled_panel
from lstmjax.data.origins import calibration_windows, counting, test_windows, train_windows, validation_windows
from lstmjax.data.panel import Panel
from lstmjax.data.scaling import Scaling
from lstmjax.data.scaling_fit import fit_scaling
from lstmjax.data.split import Split, split_panel
from lstmjax.data.table import DataWarning, first_few
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError
from lstmjax.window import WindowSpec


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Data ready to train on."""

    config: DataConfig
    """Completed by what was inferred: frequency, season, sizes of the splits."""
    panel: Panel
    split: Split
    scaling: Scaling
    arrays: ScaledPanel
    """The panel in scaled units."""
    train: Windows
    validation: Windows
    calibration: Windows
    test: Windows
    spec: WindowSpec


def prepare(
    panel: Panel,
    config: DataConfig,
    *,
    with_test: bool,
    categories: Categories | None = None,
    split: Split | None = None,
    grid: Grid | None = None,
    feed: FeedName = "auto",
) -> Prepared:
    """Splits, scales and windows a panel.

    Args:
        panel: the data.
        config: how.
        with_test: whether to hold out test rows where ``config`` does not say how many.
        categories: of the covariates of text, where weights that were trained with them are trained on. Default: those
            of the training rows.
        split: another split than that of ``config``.
        grid: where forecasts may begin. Default: as ``config.origins`` says for this panel.
        feed: ``train.feed``.

    Returns:
        The data, scaled by statistics of the training rows only.

    Raises:
        ConfigError: a part smaller than a window, or without one on the grid of ``data.origins``; or the panel was
            built with other columns or another calendar than ``config`` names.
        DataError: no series has a whole training window, or no training target has a weight above 0.

    Warns:
        DataWarning: some series have no training window; they are named. Or there are validation rows, but none with a
            target that counts: nothing is validated.
    """
    _check_columns(panel, config)
    grid = Grid.of(panel, config) if grid is None else grid
    grid.check()
    if split is None:
        split, _, _ = split_panel(panel, config, with_test=with_test, period=grid.period)
    train = train_windows(panel, split, grid, input_size=config.input_size, h=config.h, step_size=config.step_size)
    _check_training_windows(train, panel, config, split)
    held = _held_out(split, config, grid)
    if not counting(panel, train, h=config.h).any():
        raise DataError(
            f"column {config.weight_col!r} (data.weight_col) is 0 in every row that is a training target: there is "
            "nothing to learn from; give some of them a weight above 0"
        )
    scaling = fit_scaling(panel, split, config, categories)
    trained = np.where(_with_windows(panel, train), scaling.series, -1)
    scaling = dataclasses.replace(scaling, series=trained)
    freq = panel.schema.freq
    inferred: dict[str, Any] = {"freq": freq, "season_length": config.season_length or season_length(freq)}
    inferred |= {"time_format": config.time_format or panel.form.time_format, "scaler": scaling.scaler}
    if config.train_end is None:
        inferred |= {"val_size": split.sizes["validation"], "test_size": split.sizes["test"]}
    resolved = dataclasses.replace(config, **inferred)
    return Prepared(
        config=resolved,
        panel=panel,
        split=split,
        scaling=scaling,
        arrays=scaled_panel(panel, scaling, feed),
        train=train,
        validation=_counted(held["validation"], panel, config.h),
        calibration=held["calibration"],
        test=held["test"],
        spec=window_spec(panel, resolved, scaling),
    )


def _check_columns(panel: Panel, config: DataConfig) -> None:
    """Refuses options that the panel was not built with: a network would be trained without them, in silence."""
    for name in ("target_cols", "hist_exog", "futr_exog", "stat_exog", "calendar", "holidays"):
        given, built = getattr(config, name), getattr(panel.schema, name)
        if given != built:
            said, has = (", ".join(value or ()) if isinstance(value, tuple) else value for value in (given, built))
            raise ConfigError(
                f"data.{name} is {said or 'none'}, but the panel was built with {has or 'none'}: build it with the "
                "same options (panel_from_table), or change the option"
            )


def _held_out(split: Split, config: DataConfig, grid: Grid) -> dict[str, Windows]:
    """The windows of each part that is held out; refuses a part that has rows and no window on the grid."""
    listed = {"validation": validation_windows, "calibration": calibration_windows, "test": test_windows}
    found = {}
    for part, windows in listed.items():
        found[part] = grid.keep(windows(split, h=config.h))
        if config.origins != "every" and split.sizes[part] and not len(found[part].series):
            raise ConfigError(
                f"data.origins is {config.origins!r}, and no window begins there in the {split.sizes[part]} {part} "
                f"rows: {config.h + grid.period - 1} rows always hold one; give more, or other origins"
            )
    return found


def _check_training_windows(train: Windows, panel: Panel, config: DataConfig, split: Split) -> None:
    """Warns of series without a training window; raises a `DataError` where no series has one."""
    short = np.flatnonzero(~_with_windows(panel, train))
    takes = {name: size for name, size in split.sizes.items() if size or name != "calibration"}
    if len(short) == len(panel.ids):
        between = f", calibration {takes['calibration']}" if "calibration" in takes else ""
        begins = "" if config.origins == "every" else f", beginning at data.origins {config.origins}"
        raise DataError(
            f"no series has a whole training window: the longest has {panel.observed.max()} rows, of which validation "
            f"takes {takes['validation']}{between} and the test {takes['test']}, and a window needs {config.h + 1} "
            f"(data.h + 1), with a target observed{begins}, in a long series after its first {config.input_size} "
            "(data.input_size): give more rows, or a smaller data.val_size, data.test_size, data.input_size or data.h"
        )
    if len(short):
        warnings.warn(
            f"{len(short)} of {len(panel.ids)} series have no whole training window "
            f"{_way_out(panel, short, config, takes)}and are forecast only, not trained on: "
            f"{first_few(map(repr, panel.ids[short].tolist()))}",
            DataWarning,
            stacklevel=3,
        )


def _with_windows(panel: Panel, windows: Windows) -> np.ndarray:
    """(N,) which series have a window."""
    found = np.zeros(len(panel.ids), bool)
    found[windows.series] = True
    return found


def _way_out(panel: Panel, short: np.ndarray, config: DataConfig, takes: dict[str, int]) -> str:
    """Says what makes the longest of the short series trainable, e.g. one that opened recently."""
    longest, window = int(panel.observed[short].max()), config.h + 1
    if config.train_end is not None:
        return f"(it takes {window} rows, data.h + 1, up to data.train_end: name a later time) "
    if longest >= window + sum(takes.values()):
        return ""  # it is long enough, but its targets are empty, or none is on the grid
    options = ["data.h + 1", *("data.val_size" if name == "validation" else f"data.{name}_size" for name in takes)]
    needed = f"(it takes {window + sum(takes.values())} rows: {', '.join(options[:-1])} and {options[-1]}"
    if longest >= window:
        name = panel.ids[short][panel.observed[short].argmax()]
        return f"{needed}; with at most {longest - window} rows held out, {name!r} is trained on) "
    return f"{needed}; give more rows, or a data.h of less than {longest}) " if longest > 1 else f"{needed}) "


def _counted(windows: Windows, panel: Panel, h: int) -> Windows:
    """The validation windows; none where no target counts, since a loss of 0 would always be the best."""
    if not len(windows.series) or counting(panel, windows, h=h).any():
        return windows
    warnings.warn(
        "no validation row has a target that counts (observed, and of a weight above 0): nothing is validated, and the "
        "last weights are kept; choose other validation rows, or none (data.val_size 0)",
        DataWarning,
        stacklevel=3,
    )
    return Windows(windows.series[:0], windows.origin[:0])


def window_spec(panel: Panel, config: DataConfig, scaling: Scaling) -> WindowSpec:
    """Returns the sizes of a window of the panel that is trained on; ``config`` as `prepare` completed it."""
    return WindowSpec(
        input_size=config.input_size,
        h=config.h,
        targets=panel.y.shape[1],
        hist_exog=len(scaling.hist_center),
        futr_exog=len(scaling.futr_center) + len(time_feature_names(panel.schema)),
        stat_exog=len(scaling.stat_center),
        season_length=config.season_length or 1,
        series=len(panel.ids),
    )
