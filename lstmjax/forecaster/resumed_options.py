"""Which options a resumed run may change: as their fields in `lstmjax.config` say."""

from pathlib import Path
from typing import Any

from lstmjax.config import SOURCES, RunConfig, option_fields, option_names, rules
from lstmjax.errors import ConfigError
from lstmjax.training.schedules import STRETCHED


def agreed_config(stored: RunConfig, given: RunConfig, directory: Path | str) -> RunConfig:
    """The options to resume with.

    Args:
        stored: those of the run.
        given: those asked for.
        directory: the run's, for the message.

    Raises:
        ConfigError: an option differs and may not; names all that do.
    """
    then, now = flat(stored), flat(given)
    changes = {
        name: value
        for name, value in now.items()
        if value != then[name] and not (value in (None, "auto") and rules(name).resume in ("inferred", "free"))
    }
    grown = [name for name, value in changes.items() if rules(name).resume == "more" and value > then[name]]
    refused = [name for name in changes if rules(name).resume != "free" and name not in grown]
    if refused:
        told = ", ".join(f"{name} (was {then[name]!r}, now {changes[name]!r})" for name in refused)
        raise ConfigError(
            f"{directory}: a run is resumed with its own options, but these differ: {told}: leave them out, "
            f"or start a new run from its weights: lstmjax train --finetune-from {directory}"
        )
    if "train.max_steps" in grown and stored.optimizer.schedule in STRETCHED:
        raise ConfigError(
            f"{directory}: optimizer.schedule is {stored.optimizer.schedule!r}, which depends on train.max_steps (was "
            f"{stored.train.max_steps}, now {given.train.max_steps}): leave it, or start a new run from its weights: "
            f"lstmjax train --finetune-from {directory}"
        )
    named = [f"data.{source}" for source in SOURCES]
    if any(changes.get(name) is not None for name in named):  # another way to the same data
        changes = dict.fromkeys(named) | changes
    return stored.replace(changes)


def without_free(config: RunConfig) -> RunConfig:
    """The options with the defaults of those that a resumed run may change: nothing that is trained depends on them.

    Nor does it name a dataset: neither that nor a path says what the data are, their digest does.
    """
    free = {"data.dataset", *(name for name in option_names() if rules(name).resume == "free")}
    return config.replace({name: option_fields()[name].default for name in free})


def flat(config: RunConfig) -> dict[str, Any]:
    """The values of all options by dotted name."""
    return {name: getattr(getattr(config, name.split(".")[0]), name.split(".")[1]) for name in option_names()}
