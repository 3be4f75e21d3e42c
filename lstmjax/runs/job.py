"""What a run trains, resolved once: the options, the data as they are trained on, and the seeds."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstmjax.config import RunConfig
from lstmjax.data.categories import Categories
from lstmjax.data.digest import panel_digest
from lstmjax.data.prepare import Prepared, prepare
from lstmjax.data.rows import Known
from lstmjax.data.source import load_source
from lstmjax.data.summary import header
from lstmjax.forecaster.fit import require_outputs, resolved_config
from lstmjax.forecaster.network import UserNetwork
from lstmjax.runs.table_file import require_format
from lstmjax.training.losses import OwnLoss


@dataclass(frozen=True)
class Job:
    """What a run trains, resolved: computed once, and carried along.

    Attributes:
        config: all options, with all that was inferred filled in.
        network: a network of the user's own; None for that of ``config.model``.
        loss: a loss of the user's own; None for that of ``train.loss``.
        prepared: the data.
        data_sha256: digest of the data.
        source: what to call the data.
        seeds: one per member.
        alone: whether it is a run of one seed, without a folder per seed.
    """

    config: RunConfig
    network: UserNetwork | None
    loss: OwnLoss | None
    prepared: Prepared
    data_sha256: str
    source: str
    seeds: tuple[int, ...]
    alone: bool

    def sizes(self) -> str:
        """What was understood of the data, in one line: see `lstmjax.data.summary`."""
        return header(self.prepared)


def absolute_paths(data: Any) -> Any:
    """The data's options with paths that hold in any working directory, for those who read the run's config later."""
    paths = {name: getattr(data, name) for name in ("path", "store", "futr_path")}
    return dataclasses.replace(data, **{name: str(Path(p).resolve()) for name, p in paths.items() if p is not None})


def make_job(
    config: RunConfig,
    seeds: int | None,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    *,
    categories: Categories | None = None,
) -> Job:
    """Reads and prepares the data, and resolves the options.

    Args:
        config: the options, with the settings of a named data set.
        seeds: how many, from ``train.seed`` on; None: a run of one seed, without a folder per seed.
        network: a network of the user's own; None for that of ``config.model``.
        loss: a loss of the user's own; None for that of ``train.loss``.
        categories: of text covariates, where the run starts from trained weights. Default: those of the training rows.

    Raises:
        ConfigError: an option does not fit.
        DataError: the data cannot be used.
    """
    config = dataclasses.replace(config.chosen, data=absolute_paths(config.chosen.data))
    require_format(config.outputs.format)
    source = load_source(config.data)
    panel = source.panel(config.data, known=Known.as_text(categories))
    prepared = prepare(panel, config.data, with_test=True, categories=categories, feed=config.train.feed)
    members = 1 if seeds is None else seeds
    resolved = resolved_config(config, prepared, network, members)
    require_outputs(resolved, prepared, network)
    return Job(
        config=resolved,
        network=network,
        loss=loss,
        prepared=prepared,
        data_sha256=panel_digest(panel),
        source=source.name,
        seeds=tuple(range(config.train.seed, config.train.seed + members)),
        alone=seeds is None,
    )
