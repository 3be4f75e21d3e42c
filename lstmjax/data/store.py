"""A store: a panel on disk, whose arrays are memory maps. `lstmjax.data.pack` makes one.

``store.json`` holds the meaning of the columns; ``y.npy``, ``hist.npy``, ``futr.npy`` and ``weight.npy`` (float64, one
row per time step) and ``start.npy``, ``offsets.npy``, ``observed.npy``, ``stat.npy`` and ``labels.json`` (one entry per
series) are the fields of `lstmjax.data.panel.Panel`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, Self

import numpy as np

from lstmjax.config import DataConfig
from lstmjax.data.digest import panel_digest
from lstmjax.data.frequency import parse_frequency
from lstmjax.data.panel import BY_ROW, Panel
from lstmjax.data.rows import Known
from lstmjax.errors import ConfigError, DataError

STORE_FILE, LABELS_FILE = "store.json", "labels.json"
FORMAT_VERSION = 1
"""Version of the files of a store. A newer one is refused, never guessed at."""

BY_SERIES = ("start", "offsets", "observed", "stat")
"""Fields of `Panel` that have one entry per series; they are read into memory."""

_COLUMNS = ("id_col", "time_col", "target_cols", "hist_exog", "futr_exog", "stat_exog", "layout")
_MADE = ("calendar", "holidays")


@dataclasses.dataclass(frozen=True)
class Store:
    """A store that is open.

    Attributes:
        path: its folder.
        data: the panel; its arrays by row are memory maps.
        description: what ``store.json`` holds.
    """

    path: Path
    data: Panel
    description: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Opens a store.

        Raises:
            DataError: there is none, it is damaged, or a newer lstmjax made it.
        """
        path = Path(path)
        try:
            described = json.loads((path / STORE_FILE).read_text())
            version, labels = int(described["format_version"]), (path / LABELS_FILE).read_text()
        except OSError as error:
            hint = "lstmjax pack makes a store of a table" if not path.exists() or path.is_dir() else "it is a file"
            raise DataError(f"{path} is not a store ({error.strerror}: {STORE_FILE}): {hint}") from None
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path}: {STORE_FILE} is damaged: pack the table again") from None
        if version > FORMAT_VERSION:
            raise DataError(f"{path} was packed by a newer lstmjax (format {version}): pack the table again")
        try:
            arrays: dict[str, np.ndarray] = {name: np.load(path / f"{name}.npy") for name in BY_SERIES}
            arrays |= {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in BY_ROW}
            named = {"labels": json.loads(labels), "schema": described["schema"], "form": described["form"]}
            rows, series = described["rows"], described["series"]
            lengths = dict.fromkeys(BY_ROW, rows) | dict.fromkeys(("start", "observed", "stat"), series)
            for name, length in {**lengths, "offsets": series + 1}.items():
                if len(arrays[name]) != length:
                    raise ValueError(f"{name}.npy has {len(arrays[name])} entries, not {length}")
            data = Panel.from_arrays(arrays, named)
            if lacking := {"weight_col", "h", "missing_steps"} - described.keys():
                raise ValueError(f"{STORE_FILE} lacks {min(lacking)!r}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({str(error).splitlines()[0]}): pack the table again") from None
        return cls(path, data, described)

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path)

    @property
    def columns(self) -> tuple[str, ...]:
        """The user's names of its columns."""
        schema, weight = self.data.schema, self.description["weight_col"]
        groups = (schema.target_cols, schema.hist_exog, schema.futr_exog, schema.stat_exog)
        return (schema.id_col, schema.time_col, *sum(groups, ()), *([weight] if weight else []))

    @property
    def _settings(self) -> dict[str, Any]:
        """The options that the store has settled."""
        schema = self.data.schema
        settled = {name: getattr(schema, name) for name in (*_COLUMNS, *_MADE, "freq", "time_zone")}
        settled |= {"time_format": self.data.form.time_format, "weight_col": self.description["weight_col"]}
        return settled | ({} if self.description["h"] is None else {"h": self.description["h"]})

    def settle(self, config: DataConfig) -> DataConfig:
        """Fills in the options that the store has settled, where the user gave none."""
        self._require(config)
        chosen = {name: value for name, value in self._settings.items() if not _given(config, name)}
        chosen.pop("time_zone", None)  # as with a table, None is that of the data
        return dataclasses.replace(config, **chosen)

    def _require(self, config: DataConfig) -> None:
        """Refuses options that contradict the store."""
        for name, value in self._settings.items():
            given = getattr(config, name)
            if _given(config, name) and not _alike(name, given, value):
                raise ConfigError(
                    f"data.{name} is {_said(given)}, but {self.path} was packed with {_said(value)}: leave the option "
                    "out, or pack the table again"
                )

    def panel(self, config: DataConfig, *, freq: str | None = None, known: Known | None = None) -> Panel:
        """Returns the panel.

        Args:
            config: the options; those that say what the data are must agree with the store.
            freq: the frequency that it must have; instead of ``config.freq``.
            known: not needed, as the store knows its own columns.

        Raises:
            ConfigError: an option contradicts the store; it is named, with both values.
            DataError: the data are others than those that were packed: a file is damaged.
        """
        if config.futr_path is not None:
            raise ConfigError(
                f"data.futr_path is {config.futr_path!r}, and a store holds the known future itself: pack the table "
                "with these rows at its end, without targets, and leave the option out"
            )
        self._require(config if freq is None else dataclasses.replace(config, freq=freq))
        if config.gaps == "error" and self.description["missing_steps"]:
            raise DataError(
                f"{self.path} has {self.description['missing_steps']} missing time steps, and data.gaps is 'error': "
                'complete the table, or set data.gaps to "mask"'
            )
        if panel_digest(self.data) != self.description.get("digest"):
            raise DataError(f"{self.path} is damaged (its SHA-256 is another than when it was packed): pack it again")
        return self.data


def _given(config: DataConfig, name: str) -> bool:
    """Whether an option has another value than its default; a horizon is always meant."""
    return name == "h" or getattr(config, name) != getattr(DataConfig(), name)


def _alike(name: str, given: Any, value: Any) -> bool:
    if name == "freq":
        one, other = parse_frequency(given), parse_frequency(value)
        return (one.step, one.base, one.integer) == (other.step, other.base, other.integer)
    return bool(given == value)


def _said(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else repr(value)
