"""Identifiers of series: compared as text, in this file only, and given back as the table has them."""

import re
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64, Shaped

from lstmjax.data.table import DataWarning, first_few
from lstmjax.data.table_cells import row_label
from lstmjax.errors import DataError

Labels = Shaped[np.ndarray, " N"]

_NUMERIC = re.compile(r"u?int|float", re.IGNORECASE)
_DIGITS = re.compile(r"0*(\d+?)(?:\.0+)?")
_COUNT = re.compile(r"0|-?[1-9]\d{0,17}")


def id_text(label: Any) -> str:
    """Returns an identifier as text: two series are one where it is equal.

    >>> [id_text(label) for label in ("007", 7, 7.0, 7.5, "NA")]
    ['007', '7', '7', '7.5', 'NA']
    """
    if isinstance(label, str):
        return str(label)
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        return str(int(label))
    return str(label)


def as_labels(labels: Any) -> Labels:
    """Returns identifiers as an array of objects."""
    array = np.empty(len(labels), object)
    array[:] = list(labels)
    return array


def as_ids(labels: Any) -> Labels:
    """Returns identifiers as an array of text."""
    return as_labels([id_text(label) for label in labels])


def stored_label(label: Any) -> Any:
    """Returns an identifier as JSON can store it: text, a number or a truth value."""
    label = label.item() if isinstance(label, np.generic) else label
    return label if isinstance(label, (str, int, float)) else str(label)


def stored_id(text: str) -> str | int:
    """Returns an identifier as digests and older checkpoints have it: a whole number where it is one."""
    return int(text) if _COUNT.fullmatch(text) else text


def series_of_rows(column: pd.Series, table: pd.DataFrame, source: str) -> tuple[Int64[np.ndarray, " R"], Labels]:
    """Numbers the series of a table.

    Args:
        column: (R,) the identifiers.
        table: their table.
        source: its name, for messages.

    Returns:
        (R,) the number of each row's series, and (N,) the identifiers as the column has them, in order of appearance.

    Raises:
        DataError: an identifier is empty.
    """
    try:
        codes, found = pd.factorize(column)
    except TypeError:  # lists, for example
        kind = type(column.iloc[0]).__name__
        raise DataError(f"{source}: column {column.name!r} holds the type {kind!r}: expected text or numbers") from None
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        label = row_label(table, int(missing[0]))
        raise DataError(f"{source}: row {label}, column {column.name!r} is empty: every row needs its series' name")
    labels = as_labels(found.tolist())
    number = pd.factorize(as_ids(labels))[0].astype(np.int64)  # 7 and "7" are one series
    return number[codes], labels[np.unique(number, return_index=True)[1]]


def places(ids: Labels, known: Shaped[np.ndarray, " M"]) -> Int64[np.ndarray, " N"]:
    """Returns where identifiers stand among others; -1 for those that are not there."""
    if np.array_equal(ids, known):  # as a rule: a panel and what was trained on it
        return np.arange(len(ids))
    number = {text: place for place, text in enumerate(as_ids(known).tolist())}
    return np.array([number.get(text, -1) for text in as_ids(ids).tolist()], np.int64)


def id_column(labels: Labels, dtype: str | None) -> pd.Series:
    """Returns a column of identifiers in the dtype of the table that they come from.

    Args:
        labels: (R,) identifiers, as that table has them.
        dtype: name of its column's dtype; None where it has no such column.
    """
    if dtype is None:
        return pd.Series(labels).infer_objects()
    try:
        return pd.Series(labels, dtype=pd.api.types.pandas_dtype(dtype))
    except (TypeError, ValueError, ImportError, OverflowError):  # a dtype of a library that is not here
        return pd.Series(labels).infer_objects()


def known_ids(
    known: Shaped[np.ndarray, " M"], known_dtype: str | None, new: Labels, new_dtype: str | None, source: str
) -> Labels:
    """Returns the identifiers of a table's series, as text, by which they are those that were trained on.

    They are the same text. Only where one of both columns holds numbers, which have no leading zeros, 7 is also taken
    for ``"007"``, if no other series can be meant; a warning says so.

    Args:
        known: identifiers of the series that were trained on.
        known_dtype: name of the dtype of their column.
        new: those of the table.
        new_dtype: name of the dtype of its column.
        source: name of the table.

    Warns:
        DataWarning: series were matched by number; or more than half were not trained on.
    """
    ids, trained = as_ids(new), as_ids(known).tolist()
    unseen = ids[places(ids, known) < 0].tolist()
    if _NUMERIC.match(known_dtype or "") or _NUMERIC.match(new_dtype or ""):
        candidates, asked = _by_number(set(trained) - set(ids.tolist())), _by_number(unseen)
        meant = {asked[number]: candidates[number] for number in asked if number in candidates}
        if meant:
            said = first_few(f"{text!r} for {name!r}" for text, name in meant.items())
            warnings.warn(
                f"{source}: series are taken for those that were trained on by their number, {said}: read the column "
                "of identifiers as text to keep leading zeros",
                DataWarning,
                stacklevel=5,
            )
        ids = as_labels([meant.get(text, text) for text in ids.tolist()])
        unseen = [text for text in unseen if text not in meant]
    if 2 * len(unseen) > len(ids):
        warnings.warn(
            f"{source}: {len(unseen)} of {len(ids)} series were not trained on ({first_few(map(repr, unseen))}; those "
            f"that were: {first_few(map(repr, trained))}): they are scaled by statistics of their own rows, and all "
            "their rows count as unseen",
            DataWarning,
            stacklevel=5,
        )
    return ids


def _by_number(texts: Iterable[str]) -> dict[str, str]:
    """Returns texts that are whole numbers, by that number without leading zeros; only where there is one of each."""
    found: dict[str, list[str]] = {}
    for text in texts:
        number = _DIGITS.fullmatch(text)
        if number:
            found.setdefault(number.group(1), []).append(text)
    return {number: names[0] for number, names in found.items() if len(names) == 1}
