"""Covariates of text or category type: read as numbers of categories, and encoded one-hot.

The categories are those of the training rows; one more column stands for all others.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from lstmjax.data.panel import Panel
from lstmjax.data.series_ids import id_text
from lstmjax.data.table_cells import as_numbers, number_column, row_label
from lstmjax.errors import DataError

Categories = Mapping[str, Sequence[str]]
"""By covariate, its categories; numeric covariates are not among them."""

_MOST = 1000


def is_categorical(values: pd.Series, decimal: str = ".") -> bool:
    """Returns True where a covariate holds categories: category type, or text that is mostly not numbers."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return True
    if values.dtype.kind != "O" and not isinstance(values.dtype, pd.StringDtype):
        return False
    texts = values[values.map(lambda cell: isinstance(cell, str))]
    different = pd.Series(texts.unique())
    if not len(different) or len(texts) < values.notna().sum():
        return False
    _, wrong = as_numbers(different, decimal)
    return bool(2 * wrong.sum() > len(different))


def covariate_column(
    table: pd.DataFrame,
    column: str,
    source: str,
    categories: dict[str, list[str]],
    *,
    infer: bool,
    decimal: str = ".",
) -> Float64[np.ndarray, " R"]:
    """Reads a covariate as numbers: its values, or the places of its categories; NaN where it is empty.

    Args:
        table: the table.
        column: name of the covariate.
        source: name of the table, for messages.
        categories: the categories found so far; those that are new are added.
        infer: whether a covariate that is not in ``categories`` may hold some.
        decimal: the decimal mark of numbers that are text.

    Raises:
        DataError: as `lstmjax.data.table_cells.number_column`; or there are so many categories that it cannot be meant.
    """
    if column not in categories and not (infer and is_categorical(table[column], decimal)):
        return number_column(table, column, source, decimal)
    values = table[column].astype(object)
    empty = values.isna() | values.map(lambda cell: isinstance(cell, str) and not cell.strip())
    known = categories.setdefault(column, [])
    codes, labels = pd.factorize(values.where(~empty, None))
    texts = [id_text(label).strip() for label in labels]
    known += [text for text in dict.fromkeys(texts) if text not in set(known)]
    if len(known) > _MOST:
        row = row_label(table, int(np.argmax(codes >= 0)))
        raise DataError(
            f"{source}: column {column!r} holds {len(known)} different texts (row {row}: {texts[0]!r}): expected at "
            f"most {_MOST} categories, or numbers"
        )
    place = {text: number for number, text in enumerate(known)}
    numbers = np.array([place[text] for text in texts] + [np.nan])
    return numbers[codes].astype(np.float64)  # an empty cell has code -1, the last place


def trained_categories(panel: Panel, train_end: Int64[np.ndarray, " N"]) -> dict[str, list[str]]:
    """Lists the categories of each covariate that occur in training rows, sorted.

    Of static covariates they are those of the series that have training rows.

    Args:
        panel: the data.
        train_end: (N,) how many rows of each series are for training.
    """
    used: dict[str, set[int]] = {}
    for some, part in panel.parts() if panel.schema.categories else ():
        series, row = part.rows
        train_rows = row < train_end[some][series]
        for group, names in _groups(part):
            for place, name in enumerate(names):
                if name in panel.schema.categories:
                    values = getattr(part, group)[:, place]
                    values = values[train_end[some] > 0 if group == "stat" else train_rows]
                    used.setdefault(name, set()).update(np.unique(values[~np.isnan(values)]).astype(int).tolist())
    return {
        name: sorted(panel.schema.categories[name][number] for number in used[name])
        for _, names in _groups(panel)
        for name in names
        if name in used
    }


def encoded(panel: Panel, categories: Categories) -> Panel:
    """Encodes covariates one-hot: a column per category, and one for those that are not among them.

    Args:
        panel: the data, as it was read.
        categories: those of training.

    Returns:
        The panel with more columns; `encoded_names` names them. Where a cell is empty all its columns are NaN.

    Raises:
        DataError: a covariate holds text here, and numbers in training; or the other way round.
    """
    for name in panel.schema.categories.keys() ^ set(categories):
        now, then = ("text", "numbers") if name in panel.schema.categories else ("numbers", "text")
        raise DataError(f"column {name!r} holds {now}, the forecaster was trained with {then}: make them alike")
    if not categories:
        return panel
    wider: dict[str, Any] = {}
    for group, names in _groups(panel):
        values, columns = getattr(panel, group), []
        for place, name in enumerate(names):
            if name in categories:
                columns.append(_one_hot(values[:, place], panel.schema.categories[name], categories[name]))
            else:
                columns.append(values[:, [place]])
        wider[group] = np.concatenate(columns, axis=1) if columns else values
    return dataclasses.replace(panel, **wider)


def _one_hot(codes: np.ndarray, own: Sequence[str], trained: Sequence[str]) -> Float64[np.ndarray, "R K"]:
    place = {text: number for number, text in enumerate(trained)}
    column = np.array([place.get(text, len(trained)) for text in own] + [0])
    known = ~np.isnan(codes)
    hot = np.full((len(codes), len(trained) + 1), np.nan)
    hot[known] = np.eye(len(trained) + 1)[column[codes[known].astype(int)]]
    return hot


def encoded_names(names: Sequence[str], categories: Categories) -> list[str]:
    """Names the columns of covariates after encoding.

    >>> encoded_names(["price", "shop"], {"shop": ["a", "b"]})
    ['price', 'shop=a', 'shop=b', 'shop=another']
    """
    return [
        column
        for name in names
        for column in ([f"{name}={text}" for text in [*categories[name], "another"]] if name in categories else [name])
    ]


def _groups(panel: Panel) -> list[tuple[str, tuple[str, ...]]]:
    schema = panel.schema
    return [("hist", schema.hist_exog), ("futr", schema.futr_exog), ("stat", schema.stat_exog)]
