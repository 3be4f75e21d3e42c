"""The space of a search: which options of a run are searched, and over which values."""

import dataclasses
import itertools
import json
import math
import tomllib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from lstmjax.config import RunConfig, check_name, controllers, option_names, rules
from lstmjax.errors import ConfigError, ConfigWarning
from lstmjax.sweep.space.distribution import Distribution as Distribution
from lstmjax.sweep.space.traced import is_traced

Point = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Space:
    """The searched options by dotted name.

    Attributes:
        parameters: pairs of name and distribution, fixed ones included; sorted by name, but parents before the options
            that depend on them. So the order in which they were given changes no draw.

    Raises:
        ConfigError: an option does not exist or cannot be searched, its type does not allow the distribution, or a
            condition names an option that is not in the space.

    >>> space = Space.from_dict({
    ...     "optimizer.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
    ...     "model.hidden_size": {"type": "choice", "values": [32, 64]},
    ... })
    >>> space.traced_names, space.shape_names
    (('optimizer.learning_rate',), ('model.hidden_size',))
    """

    parameters: tuple[tuple[str, Distribution], ...]

    def __post_init__(self) -> None:
        given = dict(self.parameters)
        for name, distribution in self.parameters:
            check_name(name, option_names())
            if (why := rules(name).unsearchable) is not None:
                raise ConfigError(f"{name} cannot be part of a space, as {why}: give it among the run's options")
            distribution.check_type(name)
            for parent, allowed in distribution.when:
                if parent not in given:
                    raise ConfigError(f"{name}: when names {parent!r}, which is not in the space: add or correct it")
                _check_condition(name, parent, allowed, given[parent])
        object.__setattr__(self, "parameters", _parents_first(self.parameters))

    @classmethod
    def from_toml(cls, path: Path | str) -> Self:
        """A space from a TOML file: one line per option, as in `from_dict`; "none" is None.

        Raises:
            ConfigError: the file cannot be read, is not TOML, or not a space; the message names the file.
        """
        try:
            mapping = tomllib.loads(Path(path).read_text())
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the space ({error.strerror or error})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
        return cls.from_dict(mapping, str(path))

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], source: str = "space") -> Self:
        """A space from dotted names.

        Args:
            mapping: for each option a fixed value, or ``{"type": "loguniform", "low": 1e-4, "high": 1e-2}`` (uniform,
                int and logint alike), or ``{"type": "choice", "values": [32, 64]}``; with
                ``"when": {"model.name": "segment"}`` only in trials where that option has that value (or one of a
                list of values). Options may also be grouped by section: ``{"optimizer": {"learning_rate": ...}}``.
            source: where it came from, for the messages.

        Raises:
            ConfigError: the mapping is not a space; the message says what is wrong.
        """
        try:
            return cls(tuple((name, Distribution.from_value(value, name)) for name, value in _flat(mapping).items()))
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None

    def to_json(self) -> str:
        """The space as one line of JSON, the same for equal spaces: what a study stores and compares."""
        return json.dumps({name: distribution.to_value() for name, distribution in sorted(self.parameters)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The space that `to_json` wrote."""
        return cls.from_dict(json.loads(text))

    def check(self, base: RunConfig, source: str = "space") -> None:
        """Validates a space against a base config.

        Args:
            base: the options that the space does not name.
            source: where the space came from, for the messages.

        Raises:
            ConfigError: an option cannot have a value of the space, or the space has only one point.

        Warns:
            ConfigWarning: a searched option has no effect in any trial.
        """
        for name, distribution in self.parameters:
            for value in distribution.edges:
                try:
                    base.replace({name: value})
                except ConfigError as error:
                    several = isinstance(value, tuple) and distribution.kind == "fixed"
                    hint = ': for one of several values write { type = "choice", values = [...] }' if several else ""
                    raise ConfigError(f"{source}: {error}{hint}") from None
        if not self.names:
            raise ConfigError(
                f"{source}: the space has one point, so there is nothing to search: "
                "give an option a distribution, or train it with `lstmjax train`"
            )
        given = {name for name, _ in self.parameters}
        for name, why in base.inert().items():
            if name in self.names and given.isdisjoint(controllers(name)):
                warnings.warn(f"{source}: searching {name} has no effect: {why}", ConfigWarning, stacklevel=2)

    @property
    def names(self) -> tuple[str, ...]:
        """The searched options: those with more than one value."""
        return tuple(name for name, distribution in self.parameters if distribution.searched)

    @property
    def shape_names(self) -> tuple[str, ...]:
        """The searched options that are compiled in: trials that differ in them belong to different populations."""
        return tuple(name for name in self.names if not is_traced(name, self.distribution(name)))

    @property
    def traced_names(self) -> tuple[str, ...]:
        """The searched options that are traced: a new value compiles nothing."""
        return tuple(name for name in self.names if is_traced(name, self.distribution(name)))

    def distribution(self, name: str) -> Distribution:
        """The values of one option."""
        return dict(self.parameters)[name]

    def point(self, value: Callable[[str], Any]) -> Point:
        """A trial's parameters: those of the active options, fixed ones included.

        Args:
            value: gives the value of a searched option by name; called in the order of `parameters`.
        """
        point: Point = {}
        for name, distribution in self.parameters:
            if all(parent in point and point[parent] in allowed for parent, allowed in distribution.when):
                point[name] = value(name) if distribution.searched else distribution.edges[0]
        return point

    def longest_lookback(self, base: RunConfig) -> int:
        """The longest lookback of any trial, in rows."""
        searched = [max(distribution.edges) for name, distribution in self.parameters if name == "data.input_size"]
        return max([base.data.input_size, *searched])

    def grid_size(self) -> int:
        """How many points `grid` has, if conditions are ignored.

        Raises:
            ConfigError: an option has no finite number of values.
        """
        return math.prod(len(points) for points in self._grid_points())

    def grid(self) -> list[Point]:
        """Every point, those that share a compiled program next to each other; for choices and whole numbers only.

        Raises:
            ConfigError: an option has no finite number of values.
        """
        rows = (dict(zip(self.names, values, strict=True)) for values in itertools.product(*self._grid_points()))
        # Points that differ only in options that are not active are one.
        distinct = {tuple(point.items()): point for point in map(self.point, (row.__getitem__ for row in rows))}
        shapes, programs = self.shape_names, dict[tuple, int]()  # compiled programs, in the order of their first points
        return sorted(
            distinct.values(),
            key=lambda point: programs.setdefault(tuple(point.get(name) for name in shapes), len(programs)),
        )

    def _grid_points(self) -> list[tuple[Any, ...]]:
        points = {name: self.distribution(name).points for name in self.names}
        for name, values in points.items():
            if values is None:
                raise ConfigError(
                    f"{name}: a grid has no {self.distribution(name).kind}: name the values "
                    '(type = "choice"), or choose another sampler'
                )
        return [values for values in points.values() if values is not None]


def _flat(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names from a table in which options may be grouped by section."""
    sections = {field.name for field in dataclasses.fields(RunConfig)}
    flat: dict[str, Any] = {}
    for name, value in mapping.items():
        grouped = name in sections and isinstance(value, Mapping)
        entries = {f"{name}.{option}": entry for option, entry in value.items()} if grouped else {name: value}
        for twice in flat.keys() & entries.keys():
            raise ConfigError(f"{twice} is given twice: remove one")
        flat |= entries
    return flat


def _check_condition(name: str, parent: str, allowed: tuple[Any, ...], distribution: Distribution) -> None:
    points = distribution.points
    if points is None:
        raise ConfigError(
            f"{name}: when names {parent!r}, which is {distribution.kind}: only a choice can be a condition"
        )
    for value in allowed:
        if value not in points:
            raise ConfigError(
                f"{name}: when names {value!r} for {parent}, which is not among its values {list(points)}"
            )


def _parents_first(parameters: tuple[tuple[str, Distribution], ...]) -> tuple[tuple[str, Distribution], ...]:
    ordered: dict[str, Distribution] = {}
    left = dict(sorted(parameters, key=lambda parameter: parameter[0]))
    if len(left) < len(parameters):
        raise ConfigError("an option is in the space twice")
    while left:
        ready = [name for name, d in left.items() if all(parent in ordered for parent, _ in d.when)]
        if not ready:
            raise ConfigError(f"{', '.join(left)}: each is conditional on another: remove one of the conditions")
        for name in ready:
            ordered[name] = left.pop(name)
    return tuple(ordered.items())
