"""A person's handful of labels: one CSV format for every archive.

Columns: `source` or `item_id`, `label` (0 normal, 1 anomaly, empty unknown), optional `split` (train,
validation, test), `group`, `site` (scanner, hospital, centre), `semi_label` (+1 labelled normal, 0 unlabelled, -1 labelled
anomaly).
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.group_names import GROUP_NAMES
from esad.preprocessing.splits.label_names import meant_sources
from esad.preprocessing.splits.two_values import ANOMALY_WORDS, DOUBTFUL_WORDS, NORMAL_WORDS, fold
from esad.preprocessing.store.contents import MADE_FROM
from esad.preprocessing.store.csv_cells import plain_table, stated_separator

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    "train_val": "train", "trainval": "train", "training": "train", "val": "validation", "valid": "validation", "testing": "test",
    "eval": "test", "evaluation": "test", "holdout": "test", "hold_out": "test", "held_out": "test",
}  # fmt: skip
BESIDE_SPLIT = frozenset(
    {"set", "sets", "image", "images", "img", "imgs", "data", "dataset", "seg", "pictures"}
)
"""What stands beside the part in the name of a folder: `training_set`, `seg_train`, `Test Images`."""
SHOWN_TO = frozenset({"public", "private", "mixed"})
"""The same: `test_public`, `test_private_mixed`, as in MVTec AD 2."""
KEYS_OF_PARTS = ("split", "part", "partition", "subset", "set")
"""What stands before the part in folders of Hive's layout: `split=train`."""
EMPTY_WORDS = ("na", "n/a", "#n/a", "nan", "none", "null", "<na>")
"""What programs write for an empty cell of numbers; a group or a site may be called so."""
LABEL_COLUMNS = ("label", "split", "group", "site", "semi_label")
LABEL_WORDS = {
    **dict.fromkeys(NORMAL_WORDS | {"no", "false"}, "0"),
    **dict.fromkeys(ANOMALY_WORDS | {"yes", "true"}, "1"),
}
"""Words for 0 and 1 in the column `label` of a labels file, where yes means that there is an anomaly."""


LABEL_TOLD = ": 1 is an anomaly, 0 normal, in words 'anomaly' and 'normal'"
LABEL_STATED = "label_stated"
"""Column of a manifest of classes: whether a person stated the item's label in a file. Such a label comes before the class."""
LABEL_BEFORE = "label_before"
"""Column of a manifest in memory that was given labels for one training: those that validation and test parts are drawn by, and keep."""
STATED_BEFORE = "label_stated_before"
"""The same: LABEL_STATED as the store has it."""
LABEL_GIVEN = "label_given"
"""The same: whether the item was given a label."""


def before_given(items: pd.DataFrame) -> pd.DataFrame:
    """`items` with the labels that they had before some were given for one training: those that validate and test."""
    if LABEL_BEFORE not in items:
        return items
    stated = {LABEL_STATED: items[STATED_BEFORE]} if STATED_BEFORE in items else {}
    return items.assign(label=items[LABEL_BEFORE], **stated)


def bare_folder(name: str) -> str:
    """The name of a folder in lower case, without words that stand beside parts: `training` of `Training_Set`."""
    words = [part for part in re.split(r"[\s_-]+", name.strip().lower()) if part]
    return "_".join(part for part in words if part not in BESIDE_SPLIT)


def split_of_folder(name: str) -> str | None:
    """The part that a folder is called after, `train` of `Training_Set` and `split=train`; None of any other folder."""
    word = name.strip().lower()
    key, stated, value = word.partition("=")
    word = value if stated and key in KEYS_OF_PARTS else word
    bare = [part for part in bare_folder(word).split("_") if part not in SHOWN_TO]
    for one in (word, "_".join(bare)):
        if (found := SPLIT_WORDS.get(one, one)) in SPLITS:
            return found
    return None


def normalise_split(values: pd.Series, where: str) -> pd.Series:
    """`train`, `validation`, `test` or null; `train_val` reads as train, `val` as validation.

    Raises UsageError naming `where` and the first other word.
    """
    words = values.astype("string").str.strip().str.lower().replace(SPLIT_WORDS).replace("", pd.NA)
    wrong = words[~words.isin(SPLITS) & words.notna()]
    if len(wrong):
        raise UsageError(f"{where}: split {wrong.iloc[0]!r} is unknown; expected one of {', '.join(SPLITS)}.")
    return words


def _whole_numbers(table: pd.DataFrame, name: str, allowed: tuple[int, ...], path: Path) -> pd.Series:
    table = table.assign(**{name: table[name].mask(table[name].str.strip().str.lower().isin(EMPTY_WORDS))})
    numbers = pd.to_numeric(table[name], errors="coerce")
    wrong = table.index[(numbers.isna() & table[name].notna()) | (numbers.notna() & ~numbers.isin(allowed))]
    if len(wrong):
        line, value, told = int(wrong[0]) + 2, table[name][wrong[0]], LABEL_TOLD if name == "label" else ""
        raise UsageError(
            f"{path}, line {line}: {name} {value!r} is none of {', '.join(map(str, allowed))} or empty{told}."
        )
    return numbers.astype("Int8")


def _check_names(table: pd.DataFrame, path: Path) -> None:
    """UsageError for a column that is nearly called as one that is read, `Split`, `groups`, or that says whose an item is where no
    `group` does: it would be passed over."""
    read = ("item_id", "source", *LABEL_COLUMNS)
    for name in table:
        meant = str(name).strip().lower().replace(" ", "_").replace("-", "_")
        meant = "group" if meant in GROUP_NAMES else meant if meant in read else meant.removesuffix("s")
        if name not in read and meant in read and meant not in table:
            raise UsageError(
                f"{path}: a column is called {name!r}, and would not be read; call it {meant!r}."
            )


def _text_of(path: Path) -> str:
    """The text of a file in UTF-8, in UTF-16 with its mark, or in Windows-1252, as Excel writes CSV in western Europe."""
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _separator(text: str) -> str:
    """The comma, semicolon or tab that parts the most columns of ours in the first line; a comma where none does."""
    first = text.lstrip().partition("\n")[0]

    def columns(mark: str) -> int:
        names = {name.strip().strip('"').lower() for name in first.split(mark)}
        return len(names & {"item_id", "source", *LABEL_COLUMNS})

    return max((",", ";", "\t"), key=columns)


def _check_rows(path: Path, text: str, separator: str, above: int) -> None:
    """UsageError for a column that stands there twice, of which pandas renames the second, and for a row that is cut short. `above`: how
    many lines stand before `text`."""
    rows = csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    names = next(rows, [])
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise UsageError(f"{path}: two of its columns are called {twice[0]!r}; rename or take out one.")
    for row in rows:
        if row and len(row) < len(names):
            raise UsageError(
                f"{path}, line {rows.line_num + above}: {len(row)} of {len(names)} cells; the row is cut short. Write an empty cell as "
                "nothing between two separators."
            )


def _check_alike(table: pd.DataFrame, name: str, called: Callable[[int], str]) -> None:
    """UsageError where a row says of one item that it is normal and that it is an anomaly; `called` names a row by its place."""
    against = ((table["label"] == 0) & (table["semi_label"] == -1)) | (
        (table["label"] == 1) & (table["semi_label"] == 1)
    )
    wrong = np.flatnonzero(against.fillna(False))
    if len(wrong):
        label, semi = (int(table[column].iloc[wrong[0]]) for column in ("label", "semi_label"))
        raise UsageError(
            f"{name}, {called(int(wrong[0]))}: label {label} and semi_label {semi:+d} contradict each other; an anomaly is 1 and "
            "-1, a normal item 0 and +1."
        )


def read_labels(path: Path) -> pd.DataFrame:
    """Read a labels file; UsageError names the line, the value and what was expected.

    Commas, semicolons or tabs part its cells, or what a first line `sep=;` says. A label is 0, 1 or a word for them (LABEL_WORDS).

    Texts that were copied from a CSV of ours are taken as they were before they were escaped (`csv_cells`).

    Returns the columns `source` or `item_id` (str) and those of LABEL_COLUMNS that the file has.
    """
    try:
        text = _text_of(path)
        first, _, below = text.partition("\n")
        said = stated_separator(first)  # a first line for Excel
        text = below if said else text
        separator = said or _separator(text)
        raw = pd.read_csv(
            StringIO(text),
            sep=separator,
            dtype="string",
            skipinitialspace=True,
            keep_default_na=False,
            na_values=[""],
        )
        table = plain_table(raw).astype("string")
        _check_rows(path, text, separator, above=int(said is not None))
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path}: the labels file cannot be read as CSV ({error}).") from error
    if (
        table.index.nlevels > 1 or (table.index != range(len(table))).any()
    ):  # pandas takes the first cells for an index
        raise UsageError(
            f"{path}: its rows have more cells than its header has names ({len(table.columns)})."
        )
    table.index += int(said is not None)  # so that it counts lines
    table = table.dropna(how="all")  # spreadsheets write rows of separators alone
    _check_names(table, path)
    keys = [name for name in ("item_id", "source") if name in table]
    if not keys or "label" not in table:
        columns = ", ".join(table.columns)
        raise UsageError(f"{path}: expected the columns source (or item_id) and label, found {columns}.")
    key = keys[0]
    if table[key].isna().any():
        raise UsageError(f"{path}, line {int(table.index[table[key].isna()][0]) + 2}: {key} is empty.")
    if table[key].duplicated().any():
        raise UsageError(f"{path}: {key} {table[key][table[key].duplicated()].iloc[0]!r} stands there twice.")
    words = table["label"].str.strip().str.lower()
    table["label"] = words.map(LABEL_WORDS).astype("string").fillna(table["label"])
    table["label"] = _whole_numbers(table, "label", (0, 1), path)
    if "semi_label" in table:
        table["semi_label"] = _whole_numbers(table, "semi_label", (-1, 0, 1), path)
        _check_alike(table, str(path), lambda place: f"line {table.index[place] + 2}")
    for name in ("group", "site"):  # `A` and `A ` are one patient
        if name in table:
            table[name] = table[name].str.strip().replace("", pd.NA)
    if "split" in table:
        table["split"] = normalise_split(table["split"], str(path))
    return table[[key, *(name for name in (*LABEL_COLUMNS, MADE_FROM) if name in table)]]


def with_site(items: pd.DataFrame, site: str | None) -> pd.DataFrame:
    """`items`, those without a site being of `site`; without one, and without any that states a site, no such column is left."""
    stated = items["site"].astype("string") if "site" in items else pd.Series(pd.NA, items.index, "string")
    stated = stated if site is None else stated.fillna(site)
    if stated.isna().all():
        return items.drop(columns="site", errors="ignore")
    return items.assign(site=stated)


def classes_alone(items: pd.DataFrame) -> list[str]:
    """The classes of items of which none has a `label`, sorted; [] where there are labels, or no classes."""
    if "class_name" not in items or items["label"].notna().any():
        return []
    return sorted(items["class_name"].dropna().astype(str).unique())


def normal_class_words(classes: Sequence[str]) -> list[str]:
    """How a person says, on the command line of a training, which of `classes` is normal: that which is called so; NAME, to be filled
    in, where another is called an anomaly; else the first, as an example."""
    normal = [name for name in classes if fold(name) in NORMAL_WORDS]
    others = [name for name in classes if fold(name) in ANOMALY_WORDS | DOUBTFUL_WORDS]
    chosen = normal[:1] or (["NAME"] if others else [*classes[:1]])
    return ["--set", f"data.normal_classes={json.dumps(chosen, ensure_ascii=False)}"]


def _told_by_outlines(items: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """bool (N,): whether an item is a tile without enough tumour, of a slide whose outlines enclose some: the slide's label is not its
    own. UsageError where `rows` (by source) says that such a slide is normal."""
    if "tumour_fraction" not in items:
        return np.zeros(len(items), dtype=bool)
    tumour = (items["tumour_fraction"] > 0).groupby(items["source"]).transform("any").to_numpy(dtype=bool)
    normal = rows.index[(rows["label"] == 0) | (rows["semi_label"] == 1 if "semi_label" in rows else False)]
    wrong = items["source"][tumour & items["source"].isin(normal).to_numpy(dtype=bool)]
    if len(wrong):
        tiles = int((items["tumour_fraction"][items["source"] == wrong.iloc[0]] > 0).sum())
        raise UsageError(
            f"labels: {wrong.iloc[0]!r} is said to be normal, and its outlines enclose tumour in {tiles} of its tiles; correct one of both."
        )
    return tumour & (items["label"] != 1).to_numpy(dtype=bool, na_value=True)


def apply_labels(
    items: pd.DataFrame, labels: pd.DataFrame, given: str | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """`items` with the values that `labels` states, and the keys that match no item; UsageError for two of one item.

    A key of `source` matches the whole relative path, or what else means one source alone (`meant_sources`); a label
    for a source goes to all its items, but for a slide whose outlines enclose tumour: these say of each tile what it is.
    Empty cells leave what the item has. A column `given` says which items got a label or semi-label.
    UsageError, too, where a slide with such outlines is said to be normal.
    """
    key = "item_id" if "item_id" in labels else "source"
    names = items[key].astype(str)
    rows = labels.set_index(labels[key].astype(str))
    if key == "source":
        alias = meant_sources(rows.index.tolist(), names.unique().tolist())
        rows.index = pd.Index([alias.get(name, name) for name in rows.index])
        twice = rows.index[rows.index.duplicated()]
        if len(twice):
            first, second = labels[key][rows.index == twice[0]].astype(str).tolist()[:2]
            raise UsageError(f"labels: {first!r} and {second!r} are the same source; state it once.")
    items = items.copy()
    outlined = _told_by_outlines(items, rows) if key == "source" else np.zeros(len(items), dtype=bool)
    got = pd.Series(False, items.index)
    for column in LABEL_COLUMNS:
        if column in rows:
            stated = names.map(rows[column].to_dict())
            stated.index = items.index
            if column in ("label", "semi_label"):
                stated = stated.mask(outlined)
                got |= stated.notna()
            if column == "label" and "class_name" in items and stated.notna().any():
                items[LABEL_STATED] = stated.notna() | items.get(LABEL_STATED, False)
            before = items[column] if column in items else pd.Series(pd.NA, items.index, "string")
            items[column] = stated.where(stated.notna(), before)
    if "semi_label" in items and "label" in items:
        _check_alike(items, "labels", lambda place: f"the item of {items['source'].iloc[place]!r}")
    if given is not None:
        items[given] = got
    known = set(names)
    unmatched = [
        str(stated) for stated, name in zip(labels[key], rows.index, strict=True) if name not in known
    ]
    return items, unmatched
