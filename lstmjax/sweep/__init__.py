"""Sweeps: many settings trained together as populations, pruned during training, and ranked by one number.

The public names are imported on first use: the command line needs only `SweepConfig`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lstmjax.errors import Interrupted as Interrupted

if TYPE_CHECKING:
    from lstmjax.sweep.config import SweepConfig
    from lstmjax.sweep.population.block import Report, train_block
    from lstmjax.sweep.population.halving import Halving
    from lstmjax.sweep.population.trial import Outcome, Trial
    from lstmjax.sweep.report.outputs import NoWinnerError
    from lstmjax.sweep.search import SweepResult, run
    from lstmjax.sweep.space.samplers import draw
    from lstmjax.sweep.space.space import Distribution, Space

_HOMES = {
    "config": ("SweepConfig",),
    "population.block": ("Report", "train_block"),
    "population.halving": ("Halving",),
    "population.trial": ("Outcome", "Trial"),
    "report.outputs": ("NoWinnerError",),
    "search": ("SweepResult", "run"),
    "space": ("Distribution", "Space"),
    "space.samplers": ("draw",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "Interrupted"])


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"lstmjax.sweep.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'lstmjax.sweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
