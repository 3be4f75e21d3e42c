"""Time-series forecasting with LSTMs in JAX. The public names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lstmjax.version import __version__ as __version__

if TYPE_CHECKING:
    from lstmjax import data, evaluation, models, nn, ops, parallel, plots, sweep, training
    from lstmjax.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
    from lstmjax.errors import CheckpointError, ConfigError, DataError, LstmjaxError
    from lstmjax.forecaster import Forecaster
    from lstmjax.forecaster.ensemble import Ensemble
    from lstmjax.forecaster.seeds import fit_seeds, resume_seeds
    from lstmjax.parallel import configure_devices
    from lstmjax.window import Forecast, WindowBatch, WindowSpec

_HOMES = {
    "config": ("DataConfig", "ModelConfig", "OptimizerConfig", "RunConfig", "TrainConfig"),
    "errors": ("CheckpointError", "ConfigError", "DataError", "LstmjaxError"),
    "forecaster": ("Forecaster",),
    "forecaster.ensemble": ("Ensemble",),
    "forecaster.seeds": ("fit_seeds", "resume_seeds"),
    "parallel": ("configure_devices",),
    "window": ("Forecast", "WindowBatch", "WindowSpec"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("data", "evaluation", "models", "nn", "ops", "parallel", "plots", "sweep", "training")

__all__ = sorted({*_MODULES, *_HOME_OF} - {"plots"})  # which is deprecated


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"lstmjax.{name}")
    if name in _HOME_OF:
        return getattr(import_module(f"lstmjax.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'lstmjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
