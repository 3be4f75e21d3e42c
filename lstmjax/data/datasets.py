"""Data sets by name: one in the package, and public benchmarks, downloaded once and verified by their SHA-256."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lstmjax.data.table import read_table
from lstmjax.errors import ConfigError, DataError
from lstmjax.storage.silence import silenced

_GITHUB = "https://raw.githubusercontent.com"
_ETT = f"{_GITHUB}/zhouhaoyi/ETDataset/main/ETT-small"
_M4 = f"{_GITHUB}/Mcompetitions/M4-methods/master/Dataset"
_LAI = f"{_GITHUB}/laiguokun/multivariate-time-series-data/master"
_TIMEOUT = 60.0  # seconds without a byte

_ETT_ROWS = 14_400  # the protocol's twenty months; the published file is longer
_ETT_COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
_EXCHANGE_COLUMNS = tuple(f"rate{number}" for number in range(1, 9))


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set.

    Attributes:
        name: its name in the cache.
        address: URL of the published file.
        sha256: its digest, as 64 hexadecimal digits.
    """

    name: str
    address: str
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """A data set: its files, how they become one table, and the options of `DataConfig` where the user gives none."""

    files: tuple[RemoteFile, ...]
    read: Callable[..., pd.DataFrame]
    settings: dict[str, Any]


def load(name: str) -> pd.DataFrame:
    """Reads the table of a named data set.

    ``elecdemand`` comes with the package. The others are read from the folder ``$LSTMJAX_DATA``, else from the user's
    cache folder; files that are missing there are downloaded.

    Args:
        name: of the data set.

    Returns:
        Its table; `settings` describes the columns.

    Raises:
        ConfigError: no data set has this name.
        DataError: a file cannot be downloaded or has another SHA-256 than the published file.
    """
    dataset = _dataset(name)
    return dataset.read(*(fetch(file) for file in dataset.files))


def settings(name: str) -> dict[str, Any]:
    """Returns the options of `lstmjax.config.DataConfig` for a named data set, where the user gives none.

    ``etth1`` and ``etth2`` follow the published benchmark: all seven columns, each a series (wide layout), 8640 rows
    to train, 2880 to validate, 2880 to test. ``m4_hourly`` and ``m4_weekly`` hold out the competition's own test rows.
    ``exchange`` is cut 7 : 1 : 2 and has integer times, since its file has no dates. ``elecdemand`` holds out the last
    six weeks, and the six before for validation. No covariates are used unless the user names them.

    Args:
        name: of the data set.

    Returns:
        Options by field name.

    Raises:
        ConfigError: no data set has this name.
    """
    return dict(_dataset(name).settings)


def fetch(file: RemoteFile, folder: Path | None = None) -> Path:
    """Returns the path of a file, downloads it if it is missing, and always verifies its digest.

    Args:
        file: the file.
        folder: its folder; default ``$LSTMJAX_DATA``, else the user's cache folder.

    Raises:
        DataError: it cannot be downloaded, or is not the published file.
    """
    folder = _folder() if folder is None else folder
    path = folder / file.name
    if not path.exists():
        _download(file, folder)
    found = _digest(path)
    if found != file.sha256:
        raise DataError(
            f"{path} has SHA-256 {found}, expected {file.sha256}: remove it to have it downloaded from {file.address}"
        )
    return path


def _folder() -> Path:
    named = os.environ.get("LSTMJAX_DATA")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("lstmjax"))


def _download(file: RemoteFile, folder: Path) -> None:
    import pooch  # takes a tenth of a second, and most runs download nothing

    by_hand = f"put the file there by hand, as {folder / file.name}"
    try:
        with silenced(pooch.get_logger().name):
            pooch.retrieve(
                file.address,
                known_hash=f"sha256:{file.sha256}",
                fname=file.name,
                path=folder,
                downloader=pooch.HTTPDownloader(progressbar=False, timeout=_TIMEOUT),
            )
    except ValueError:  # pooch removes the file
        raise DataError(
            f"{file.name} from {file.address} is not the published file (SHA-256 {file.sha256} expected): {by_hand}"
        ) from None
    except OSError as error:
        raise DataError(
            f"{file.name} cannot be downloaded from {file.address} ({type(error).__name__}): {by_hand}, "
            "or name its folder in $LSTMJAX_DATA"
        ) from None


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _read_elecdemand() -> pd.DataFrame:
    with resources.as_file(resources.files("lstmjax.data") / "elecdemand.csv.gz") as path:
        return read_table(path)


def _read_ett(path: Path) -> pd.DataFrame:
    return read_table(path).iloc[:_ETT_ROWS]


def _read_m4(train: Path, test: Path) -> pd.DataFrame:
    """Joins both files, one series per row, to one long table: training values, then the competition's test values."""
    wide = pd.read_csv(train, index_col=0), pd.read_csv(test, index_col=0)
    parts = []
    for table in wide:
        values = table.to_numpy(np.float64)
        row, step = np.nonzero(~np.isnan(values))
        parts.append(pd.DataFrame({"unique_id": table.index[row], "y": values[row, step]}))
    order = {name: number for number, name in enumerate(wide[0].index)}
    long = pd.concat(parts, ignore_index=True)
    long = long.sort_values("unique_id", key=lambda ids: ids.map(order), kind="stable", ignore_index=True)
    long.insert(1, "ds", long.groupby("unique_id", sort=False).cumcount() + 1)
    return long


def _read_exchange(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, header=None, names=list(_EXCHANGE_COLUMNS))
    table.insert(0, "ds", np.arange(1, len(table) + 1))
    return table


def _ett(name: str, sha256: str) -> Dataset:
    return Dataset(
        (RemoteFile(name, f"{_ETT}/{name}", sha256),),
        _read_ett,
        {"layout": "wide", "time_col": "date", "target_cols": _ETT_COLUMNS, "freq": "h", "season_length": 24}
        | {"h": 96, "input_size": 96, "val_size": 2880, "test_size": 2880},
    )


def _m4(period: str, train: str, test: str, season_length: int, h: int, input_size: int) -> Dataset:
    return Dataset(
        (
            RemoteFile(f"M4-{period}-train.csv", f"{_M4}/Train/{period}-train.csv", train),
            RemoteFile(f"M4-{period}-test.csv", f"{_M4}/Test/{period}-test.csv", test),
        ),
        _read_m4,
        {"time_col": "ds", "id_col": "unique_id", "target_cols": ("y",), "freq": "1", "season_length": season_length}
        | {"h": h, "input_size": input_size, "val_size": h, "test_size": h},
    )


DATASETS: dict[str, Dataset] = {
    "elecdemand": Dataset(
        (),
        _read_elecdemand,
        {"time_col": "ds", "target_cols": ("y",), "freq": "30min", "season_length": 336}
        | {"h": 96, "input_size": 336, "val_size": 2016, "test_size": 2016},
    ),
    "etth1": _ett("ETTh1.csv", "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
    "etth2": _ett("ETTh2.csv", "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
    "m4_hourly": _m4(
        "Hourly",
        "ea59b7783573c49077a835ab6465c7d66f1474783360f310988a9a737fbca62f",
        "71a57fccb15e534d973626ada4fb87febf789e9317715b7cc6dd3b5f90db6f42",
        season_length=24,
        h=48,
        input_size=168,
    ),
    "m4_weekly": _m4(
        "Weekly",
        "d478d3f6ed673e6ed3c2cb0fbed5425f72eedd51318ebebeb0b5ecfcefc37714",
        "3b2bc4be8e636e802260dcd843ca3c5da40536a1fbe1ecb3229a97dae4f44688",
        season_length=1,
        h=13,
        input_size=52,
    ),
    "exchange": Dataset(
        (
            RemoteFile(
                "exchange_rate.txt.gz",
                f"{_LAI}/exchange_rate/exchange_rate.txt.gz",
                "6a4fbb561dcdee43f071a83badbeec9223a335552278348656738b556f1c2e9d",
            ),
        ),
        _read_exchange,
        {"layout": "wide", "time_col": "ds", "target_cols": _EXCHANGE_COLUMNS, "freq": "1", "season_length": 1}
        | {"h": 96, "input_size": 96, "val_size": 760, "test_size": 1517},
    ),
}
"""Data sets by name. An entry is all it takes, besides the name in `lstmjax.config`."""


def _dataset(name: str) -> Dataset:
    if name not in DATASETS:
        raise ConfigError(f"data.dataset is {name!r}: expected one of {', '.join(DATASETS)}")
    return DATASETS[name]
