"""The space of a search: which options of a run are searched, and over which values."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from lstmjax.config import RunConfig

Kind = Literal["choice", "uniform", "loguniform", "int", "logint", "fixed"]


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The values of one option.

    Attributes:
        kind: choice: one of ``values``. uniform, loguniform: a number from ``low`` to ``high``. int, logint: a whole
            number from ``low`` to ``high``, both included. fixed: the one of ``values``.
        low: least value; None for choice and fixed.
        high: greatest value; None for choice and fixed.
        values: of choice and fixed; None is a value too.
        when: the option is searched only in trials where all these others have one of these values.
    """

    kind: Kind
    low: float | int | None = None
    high: float | int | None = None
    values: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def at(self, quantile: float) -> Any:
        """The value at a quantile in [0, 1): equally likely quantiles give values as the distribution has them."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Space:
    """The searched options by dotted name, parents of conditional ones first.

    Attributes:
        parameters: pairs of name and distribution, fixed ones included.
    """

    parameters: tuple[tuple[str, Distribution], ...]

    @classmethod
    def from_toml(cls, path: Path | str) -> Self:
        """A space from a TOML file, as `from_dict` has it; the file is named in every error."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], source: str = "space") -> Self:
        """A space from dotted names.

        Args:
            mapping: for each option a fixed value, or ``{"type": "loguniform", "low": 1e-4, "high": 1e-2}`` (uniform,
                int and logint alike), or ``{"type": "choice", "values": [32, 64]}``; with
                ``"when": {"model.name": "segment"}`` only in trials where that option has that value (or one of a
                list of values).
            source: where it came from, for the messages.

        Raises:
            ConfigError: something is not as above.
        """
        raise NotImplementedError

    def to_json(self) -> str:
        """The space as JSON text in one line, the same for equal spaces: what a study stores and compares."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The space that `to_json` wrote."""
        raise NotImplementedError

    def check(self, base: RunConfig) -> None:
        """Refuses a space that cannot be searched from a base config.

        Raises:
            ConfigError: an unknown or unsearchable option, a distribution that its type or bounds refuse, a space with one point.
        """
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the searched options: those that are not fixed."""
        raise NotImplementedError

    @property
    def shape_names(self) -> tuple[str, ...]:
        """Of `names`, those whose values change what is compiled: trials that differ in them make groups."""
        raise NotImplementedError

    @property
    def traced_names(self) -> tuple[str, ...]:
        """Of `names`, the others: a new value compiles nothing."""
        raise NotImplementedError

    @property
    def fixed(self) -> dict[str, Any]:
        """Values of the fixed options. They are part of every trial's ``params``... unless conditional on others."""
        raise NotImplementedError

    def active(self, name: str, params: Mapping[str, Any]) -> bool:
        """Whether an option is searched in a trial, given the values of those before it."""
        raise NotImplementedError

    def grid(self) -> list[dict[str, Any]]:
        """Every point, those that share a compiled program side by side; of choices and whole numbers only.

        Raises:
            ConfigError: an option has no finite number of values.
        """
        raise NotImplementedError
