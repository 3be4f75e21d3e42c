"""All options of a run: the sections together, their JSON form, and what is asked of an option by its dotted name."""

import dataclasses
import functools
import json
import re
import typing
from dataclasses import dataclass, field
from typing import Any, Self

from lstmjax.config.choices import COUNTS, LOSS_OF_HEAD, RESULT_COLUMNS, BaselineName
from lstmjax.config.data import DataConfig
from lstmjax.config.fields import UNCHANGED, Rules, check_name, inert_fields, without_none_type
from lstmjax.config.model import ModelConfig
from lstmjax.config.outputs import OutputsConfig
from lstmjax.config.training import OptimizerConfig, TrainConfig
from lstmjax.errors import ConfigError

FORMAT_VERSION = 2
"""Version of the stored form of a config. A newer one is refused, never guessed at."""


@dataclass(frozen=True)
class RunConfig:
    """All options of a run.

    >>> config = RunConfig().replace({"data.h": 48, "optimizer.learning_rate": 3e-3})
    >>> config.data.h, config.optimizer.learning_rate
    (48, 0.003)
    >>> RunConfig.from_json(config.to_json()) == config
    True
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    outputs: OutputsConfig = field(default_factory=OutputsConfig)

    def __post_init__(self) -> None:
        """Refuses names that would meet in one table of results, which is made after hours of training."""
        taken = dict.fromkeys(RESULT_COLUMNS, "a column of the results")
        taken[f"{self.model.alias}-std"] = "the deviation of several forecasters"
        for name in ("data.id_col", "data.time_col", "model.alias"):
            section, named = name.split(".")
            column = getattr(getattr(self, section), named)
            if column in taken:
                raise ConfigError(
                    f"{name} is {column!r}, which is the name of {taken[column]}: give the column another name"
                )
            models = [*typing.get_args(BaselineName)[1:], *([] if name == "model.alias" else [self.model.alias])]
            if re.fullmatch(rf"({'|'.join(map(re.escape, models))})(-lo-|-hi-|_ql)[0-9.e-]+", column):
                raise ConfigError(
                    f"{name} is {column!r}, which is the name of a bound of a forecast: give the column another name"
                )
            taken[column] = f"{name} too"
        own, loss = LOSS_OF_HEAD.get(self.model.head), self.train.loss
        if loss not in ("auto", own) and (own or loss in LOSS_OF_HEAD.values()):
            raise ConfigError(
                f"train.loss is {loss!r}, which does not fit model.head {self.model.head!r}: expected auto or "
                f"{own or 'a loss of point forecasts, such as mae'}"
            )
        if self.model.head in COUNTS:
            for name, value in (
                ("data.scaler", self.data.scaler),
                ("data.transform", self.data.transform),
                ("model.instance_norm", self.model.instance_norm),
            ):
                if value not in ("auto", "none"):
                    raise ConfigError(
                        f"{name} is {value!r}, and model.head {self.model.head!r} forecasts counts, which may be "
                        "divided but not shifted: leave it out, or give none"
                    )

    @property
    def chosen(self) -> Self:
        """The options with each auto of the normalisation replaced by what it means with this head.

        >>> RunConfig().chosen.data.scaler, RunConfig().replace({"model.head": "negative_binomial"}).chosen.data.scaler
        ('standard', 'none')
        """
        data, counts = self.data, self.model.head in COUNTS
        if data.scaler == "auto":
            data = dataclasses.replace(data, scaler="none" if counts else "standard")
        return dataclasses.replace(self, data=data, model=self.model.chosen)

    def replace(self, values: dict[str, Any]) -> Self:
        """A copy with some options changed.

        Args:
            values: new values by dotted name, e.g. ``{"optimizer.learning_rate": 3e-3}``.

        Returns:
            The changed config.

        Raises:
            ConfigError: a name that does not exist (the nearest is suggested) or a value it cannot have.
        """
        sections: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            check_name(name, option_names())
            section, option = name.split(".")
            sections.setdefault(section, {})[option] = value
        changed = {name: dataclasses.replace(getattr(self, name), **options) for name, options in sections.items()}
        return dataclasses.replace(self, **changed)

    def inert(self) -> dict[str, str]:
        """The options that have no effect, given the others; they are accepted all the same.

        Returns:
            By dotted name, where the option acts and why it does not act here.

        >>> RunConfig().inert()["train.huber_delta"]
        "it acts only with train.loss huber, and train.loss is 'auto'"
        """
        found: dict[str, str] = {}
        for section in dataclasses.fields(self):
            found |= inert_fields(getattr(self, section.name), section.name)
        return found

    def to_json(self) -> str:
        """The config as indented JSON text, with its format version."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "config") -> Self:
        """A config from JSON text; options that are not named keep their defaults.

        Args:
            text: what `to_json` wrote, or a hand-written part of it.
            source: where the text came from, for the messages.

        Raises:
            ConfigError: not JSON, an unknown option (the nearest is suggested), a value that is not allowed, or a
                config written by a newer version.
        """
        try:
            stored = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{source}: line {error.lineno} is not JSON ({error.msg})") from None
        if not isinstance(stored, dict):
            raise ConfigError(f"{source}: expected a JSON object, found {type(stored).__name__}")
        version = stored.pop("format_version", FORMAT_VERSION)
        if type(version) is not int or version < 1:
            raise ConfigError(f"{source}: format_version is {version!r}: expected a whole number from 1 on")
        if version > FORMAT_VERSION:
            raise ConfigError(
                f"{source}: format_version is {version}, this lstmjax reads up to {FORMAT_VERSION}: update lstmjax"
            )
        values: dict[str, Any] = {}
        if version == 1:  # what it does not name has the meaning it had there
            found = {name: field.metadata["rules"].format_1 for name, field in option_fields().items()}
            values = {name: value for name, value in found.items() if value is not UNCHANGED}
        for section, options in stored.items():
            check_name(section, [f.name for f in dataclasses.fields(cls)], source)
            if not isinstance(options, dict):
                raise ConfigError(f"{source}: {section} is {options!r}, expected an object of options")
            values |= {f"{section}.{name}": value for name, value in options.items()}
        for name in values:
            check_name(name, option_names(), source)
        if version == 1 and values.get("train.early_stop_patience_steps") == 0:
            values["train.early_stop_patience_steps"] = 1  # what it did, before it was refused
        try:
            return cls().replace(values)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None


@functools.cache
def option_fields() -> dict[str, dataclasses.Field]:
    """The fields of all options by dotted name, e.g. ``"optimizer.learning_rate"``."""
    return {
        f"{section.name}.{named.name}": named
        for section in dataclasses.fields(RunConfig)
        for named in dataclasses.fields(typing.cast(type, section.type))
    }


def option_names() -> list[str]:
    """The dotted names of all options."""
    return list(option_fields())


def rules(name: str) -> Rules:
    """What an option allows.

    Args:
        name: dotted name of the option.

    >>> rules("optimizer.learning_rate").sweep, rules("model.hidden_size").low
    ('traced', 1)
    """
    found: Rules = option_fields()[name].metadata["rules"]
    return found


def option_type(name: str) -> tuple[Any, bool]:
    """The declared type of an option, and whether it may also be None.

    Args:
        name: dotted name of the option.

    >>> option_type("optimizer.clip_norm")
    (<class 'float'>, True)
    """
    section, option = name.split(".")
    return without_none_type(typing.get_type_hints(type(getattr(RunConfig(), section)))[option])


def controllers(name: str) -> set[str]:
    """The options whose values decide whether an option acts.

    Args:
        name: dotted name of the option.

    >>> controllers("train.huber_delta")
    {'train.loss'}
    """
    return {f"{name.split('.')[0]}.{other}" for other in rules(name).only or ()}
