"""Data: pandas in, arrays out.

A table (`read_table`, or a data set by name: `load`) becomes a `Panel` (`panel_from_table`), is cut in time
(`split_panel`), scaled with statistics of its training rows (`fit_scaling`, `scale`), and gathered into windows on the
device (`gather`). Names are imported on first use, so that windows can be had without pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmjax.data.build import panel_from_table
    from lstmjax.data.datasets import load, settings
    from lstmjax.data.frequency import season_length
    from lstmjax.data.future import require_future, with_future
    from lstmjax.data.origins import (
        calibration_windows,
        forecast_windows,
        test_windows,
        train_windows,
        validation_windows,
    )
    from lstmjax.data.panel import Panel, Schema, check_compatible
    from lstmjax.data.scaling import Scaling, scale
    from lstmjax.data.scaling_fit import align, fit_scaling
    from lstmjax.data.split import Split, split_panel
    from lstmjax.data.store import Store
    from lstmjax.data.summary import summarize
    from lstmjax.data.table import DataWarning, read_table
    from lstmjax.data.unscaling import scale_targets, unscale
    from lstmjax.data.windows import PanelArrays, Windows, gather

_HOMES = {
    "datasets": ("load", "settings"),
    "frequency": ("season_length",),
    "build": ("panel_from_table",),
    "future": ("require_future", "with_future"),
    "store": ("Store",),
    "panel": ("Panel", "Schema", "check_compatible"),
    "table": ("DataWarning", "read_table"),
    "scaling": ("Scaling", "scale"),
    "scaling_fit": ("align", "fit_scaling"),
    "unscaling": ("scale_targets", "unscale"),
    "split": ("Split", "split_panel"),
    "summary": ("summarize",),
    "origins": ("calibration_windows", "forecast_windows", "test_windows", "train_windows", "validation_windows"),
    "windows": ("PanelArrays", "Windows", "gather"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
