"""What a table or npz says of its rows, as columns of the manifest."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.privacy import site_hash
from esad.preprocessing.splits.labels import EMPTY_WORDS, normalise_split
from esad.preprocessing.tables.columns import IGNORED, RESERVED, Columns

STATED = "stated"
"""The label column as it was written, until the whole store's values are known (`esad.preprocessing.splits.two_values`)."""


def take_items(
    arrays: dict[str, np.ndarray], columns: Columns, path: Path
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """`x` or `X`, and the arrays that are one value per item, (N,) or (N, 1), as (N,).

    Raises InputError where there is no `x`, or where a label, group or split array does not fit it.
    """
    name = next((name for name in ("x", "X") if name in arrays), None)
    if name is None:
        raise InputError(
            f"{path.name}: expected an array x (or X, or x_train and x_test); it has {', '.join(arrays)}."
        )
    items, known = arrays[name], {}
    count = len(items) if items.ndim else 0
    for key, array in arrays.items():
        if key != name and array.size == count and array.shape in ((count,), (count, 1), (1, count)):
            known[key] = array.reshape(-1)
        elif key in columns.known:
            raise InputError(
                f"{path.name}: {key} is {array.shape}; expected one value for each of {count} items."
            )
    return items, known


def describe_items(values: pd.DataFrame, columns: Columns, path: Path) -> pd.DataFrame:
    """Manifest columns from what an input says of its items.

    `values` has one row per item. The label column becomes `stated` (text, whole numbers without a point), those of groups, parts
    and sites `group`, `split` and `site`, that of names `id`; all others are kept under their names. With `columns.site_key`
    sites become hashes.
    """
    out = pd.DataFrame(index=values.index)
    if columns.label in values:
        out[STATED] = as_words(values[columns.label])
    if columns.group in values:
        out["group"] = as_names(values[columns.group])
    if columns.site in values:
        out["site"] = as_names(values[columns.site])
        if columns.site_key is not None:
            out["site"] = (
                out["site"].map(partial(site_hash, columns.site_key), na_action="ignore").astype("string")
            )
    if columns.split in values:
        try:
            out["split"] = normalise_split(values[columns.split], f"{path.name}, column {columns.split}")
        except UsageError as error:  # of this file alone: others may be in order
            raise InputError(str(error)) from error
    if columns.id != IGNORED and columns.id in values:
        out["id"] = as_names(values[columns.id])
    taken = {*columns.known, *RESERVED}
    for name in values:
        if name not in taken and name not in out:
            out[str(name)] = values[name].astype("string") if values[name].dtype == object else values[name]
    return out


def note_words(items: pd.DataFrame) -> list[str]:
    """A note where groups or sites are called as missing values are elsewhere: their rows belong together."""
    told = []
    for what in ("group", "site"):
        words = items[what].dropna() if what in items else pd.Series([], dtype="string")
        counts = words[words.str.lower().isin(EMPTY_WORDS)].value_counts()
        told += [f"{count} rows are of the {what} {word!r}" for word, count in counts.items()]
    return [f"{', '.join(told)}: empty cells are missing, these words are names"] if told else []


def as_names(values: pd.Series) -> pd.Series:
    """Names of items, groups and sites as text, null where there is none: texts stay as they are (`0012`, `1E2`), numbers are
    written as `as_words` does."""
    texts = values.map(lambda value: isinstance(value, str)).astype(bool)
    numbers = as_words(values.mask(texts))
    written = values.where(texts).astype("string").str.strip().replace("", pd.NA)
    written = written.str.replace(
        r"^(-?[0-9]+)\.0$", r"\1", regex=True
    )  # as pandas writes a number in a column with holes
    return written.fillna(numbers)


def as_words(values: pd.Series) -> pd.Series:
    """Values as text, null where there is none: 1.0 is `1`, True is `true`."""
    if pd.api.types.is_bool_dtype(values.dtype):
        return values.astype("boolean").map({True: "true", False: "false"}).astype("string")
    numbers = pd.to_numeric(values, errors="coerce")
    text = values.astype("string").str.strip()
    if pd.api.types.is_numeric_dtype(numbers.dtype):
        whole = (
            numbers.notna() & np.isfinite(numbers.astype("float64")) & (numbers == numbers.round())
        ).astype(bool)
        whole &= numbers.abs().fillna(0) < 2**53
        text[whole] = numbers[whole].astype("int64").astype("string")
    return text.replace("", pd.NA)
