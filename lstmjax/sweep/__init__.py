"""Sweeps: a whole population of settings trained together, pruned as they go, ranked by one number.

The public names are imported on first use: the command line wants `SweepConfig` only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmjax.sweep.block import Interrupted, Report, train_block
    from lstmjax.sweep.halving import Halving
    from lstmjax.sweep.samplers import draw
    from lstmjax.sweep.search import SweepResult, run
    from lstmjax.sweep.settings import SweepConfig
    from lstmjax.sweep.space import Distribution, Space
    from lstmjax.sweep.trial import Outcome, Trial

_HOMES = {
    "block": ("Interrupted", "Report", "train_block"),
    "halving": ("Halving",),
    "samplers": ("draw",),
    "search": ("SweepResult", "run"),
    "settings": ("SweepConfig",),
    "space": ("Distribution", "Space"),
    "trial": ("Outcome", "Trial"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Distribution",
    "Halving",
    "Interrupted",
    "Outcome",
    "Report",
    "Space",
    "SweepConfig",
    "SweepResult",
    "Trial",
    "draw",
    "run",
    "train_block",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"lstmjax.sweep.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'lstmjax.sweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
