"""How a sweep is run: all its options besides the space and the options of a single run. Light to import."""

import dataclasses
from typing import Literal

from lstmjax.config import check_fields, option
from lstmjax.errors import ConfigError

SearchName = Literal["tpe", "random", "sobol", "grid"]
MappingChoice = Literal["map", "vmap"]
"""The values of `lstmjax.parallel.MappingName`, whose import is not light; a test holds the two equal."""


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """How a sweep is run. Its seed is ``train.seed``."""

    trials: int = option(64, low=1)
    """Settings to try, at most; a grid may have fewer."""
    population: int = option(16, low=1)
    """Settings that are trained, ranked and pruned together, at most: a worker's block. As many of their members are
    trained at once as the device's memory holds."""
    sampler: SearchName = "tpe"
    """How settings are chosen. tpe learns from finished trials; the others depend on the seed and the number alone."""
    halving: int | None = option(None, low=2)
    """At every rung the best of every so many settings continues, and the others are pruned. Default: no pruning."""
    hyperband: bool = False
    """Divide each population among Hyperband's brackets, each of which prunes later than the one before."""
    seeds: int = option(1, low=1)
    """Members per setting (and fold): its value is their mean."""
    folds: int = option(1, low=1)
    """Splits that each setting is trained on: its value is the mean over them. Fold 0 is the split of a run; in each
    further fold training and validation end fold_step rows earlier. The test rows belong to none."""
    fold_step: int | None = option(None, low=1)
    """Rows by which a fold ends before the one before it. Default: the validation rows (data.val_size)."""
    metric: str = "scaled_mae"
    """What settings are ranked by on the validation rows; the default is the mean absolute error in units of the
    training rows' deviation."""
    storage: str | None = None
    """Where the trials are kept. For workers on several hosts: a database server, such as postgresql://user@host/name,
    grpc://HOST:PORT of a proxy (lstmjax sweep-proxy), or journal:PATH, a file on a shared file system. Default: the
    SQLite file study.db in the run directory."""
    study: str = "lstmjax"
    """Name of the study, in a database with several."""
    mapping: MappingChoice | None = None
    """How members are run on a device: one after the other, or all in one batched product. Default: by platform."""

    def __post_init__(self) -> None:
        check_fields(self, "sweep")
        if self.hyperband and self.halving is None:
            raise ConfigError("sweep.hyperband needs sweep.halving: e.g. 3, to keep the best of every three settings")
        if self.fold_step is not None and self.folds == 1:
            raise ConfigError(f"sweep.fold_step is {self.fold_step}, and there is one fold: give sweep.folds, e.g. 3")
