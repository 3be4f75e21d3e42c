"""The options of a backtest, beside those of its runs."""

from dataclasses import dataclass

from lstmjax.config.fields import check_fields, option
from lstmjax.errors import ConfigError


@dataclass(frozen=True)
class BacktestConfig:
    """The cutoffs of a backtest, and what is trained before each of them."""

    n_windows: int = option(4, low=1)
    """Windows per series, the last of which ends at its last observation."""
    step_size: int | None = option(None, low=1)
    """Rows between two windows. Default: data.h, or the next number that data.origins allows."""
    refit: int = option(0, low=0)
    """Train a model before every so many cutoffs. 0: only before the first."""
    warm_start: bool = False
    """Begin each training with the weights of the one before, instead of weights drawn anew."""
    train_size: int | None = option(None, low=1)
    """Rows of each series to train on, the last ones before those held out for validation. Default: all."""

    def __post_init__(self) -> None:
        check_fields(self, "backtest")
        if self.warm_start and not self.refit:
            raise ConfigError("backtest.warm_start needs backtest.refit: without it one model is trained")
