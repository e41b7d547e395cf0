"""What is known of radiographs beside the pixels: NIH ChestX-ray14's own files, or regions of any archive."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.radiographs.dicom_views import view_in_text
from esad.preprocessing.radiographs.reading import SUFFIXES
from esad.preprocessing.store.csv_cells import stated_separator
from esad.preprocessing.texts import find_encoding, open_bytes

NORMAL = "No Finding"
REGION = ("region_x", "region_y", "region_width", "region_height")
NIH_SIDE = "region_of"
"""Column beside REGION: the side in pixels of the square picture in which a box of NIH's list counts; null for boxes in source pixels."""
SIDE = 1024
"""Of NIH's PNGs, in which BBox_List_2017.csv counts (Wang et al. 2017)."""

SCALED = f"have NIH's box, brought from {SIDE} x {SIDE} pixels to theirs"
NOT_SQUARE = f"have NIH's box, which counts in {SIDE} x {SIDE} pixels, and are not square: no region"
OUTSIDE = "lies outside its picture: no region"

NOT_READ = ("label", "semi_label", "split", "group", "site", "finding")
"""Columns of a regions.csv that a person would expect to count."""

FINDINGS = frozenset({
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia", "Infiltration", "Mass",
    "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
})  # fmt: skip
"""ChestX-ray14's (Wang et al. 2017); any other word than these and NORMAL is refused."""


LISTS = "lists"
"""Key of a table's `attrs`: what to say of the lists of parts beside NIH's metadata."""
ENTRIES = ("Image Index", "Finding Labels", "Patient ID", "View Position")
BOXES = ("source", "x", "y", "width", "height")
MARKS = ",;\t|"
LINE_MARK = re.compile("[,;\t|]")
HEADERS = ("image index", "image", "file", "filename", "file name", "name")
"""Lines above a list of images."""
FAULTS = (ValueError, KeyError, OSError, EOFError, zlib.error, InputError)


def _one(folder: Path, pattern: str) -> Path | None:
    """The file of that pattern; UsageError where there are two, which may say other things."""
    found = sorted(folder.glob(pattern))
    if len(found) > 1:
        raise UsageError(
            f"{folder}: holds {found[0].name} and {found[1].name}; keep one, or name the one to read."
        )
    return found[0] if found else None


def read_metadata(path: Path) -> pd.DataFrame:
    """One row per image, indexed by file name or source: what is known before any pixel is read.

    `path` is NIH's Data_Entry file, a folder that holds it (lists and boxes beside it are used where present), a
    regions.csv (source, x, y, width, height in source pixels), or a folder with one; in a folder with both, the
    regions of regions.csv come before NIH's boxes. Several boxes of an image: the first.

    Columns, as far as the files have them: view, finding, patient, split (train, test or null), REGION in source
    pixels, and NIH_SIDE (see `box_in_source`). Raises UsageError where no such file or a column is missing.
    """
    if path.is_file():
        return _read_regions(path) if _is_regions(path) else _read_entries(path)
    entry, regions = _one(path, "Data_Entry_2017*.csv*"), _one(path, "regions.csv")
    if entry is None and regions is None:
        raise UsageError(f"{path}: expected NIH's Data_Entry_2017*.csv[.gz] or a regions.csv there.")
    if entry is None or regions is None:
        return _read_entries(entry) if entry else _read_regions(path / "regions.csv")
    own, entries = _read_regions(regions), _read_entries(entry)
    if NIH_SIDE in entries:
        entries[NIH_SIDE] = entries[NIH_SIDE].mask(entries.index.isin(own.index))
    both = own.combine_first(entries)
    both.attrs[LISTS] = entries.attrs[LISTS]
    return both


def _text_of(path: Path) -> str:
    """A file's text in the encoding that it is found to have, without a first line that names its mark for Excel; of FAULTS where
    there is none."""
    with open_bytes(path) as file, io.TextIOWrapper(file, find_encoding(path), newline=None) as text:
        first, rest = text.readline(), text.read()
    return rest if stated_separator(first) else first + rest


def _fold(name: object) -> str:
    return " ".join(str(name).lower().split())


def _header(text: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """(mark between cells, names of columns): those of `columns` as they are written there, whatever their case and blanks.

    The mark is the one by which most of `columns` are found. ValueError where two are called alike.
    """
    wanted, line = {_fold(name): name for name in columns}, text.partition("\n")[0]
    found: list[tuple[int, str, list[str]]] = []
    for mark in MARKS:
        cells = next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])
        names = [wanted.get(_fold(cell), cell) for cell in cells]
        found.append((sum(name in columns for name in names), mark, names))
    _, mark, names = max(found, key=lambda one: one[0])
    twice = next((name for name in columns if names.count(name) > 1), None)
    if twice:
        raise ValueError(f"two columns are called {twice}")
    return mark, names


def _table(text: str, columns: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """(all cells as texts without blanks around them, null where empty; the mark between them). KeyError for a missing column."""
    mark, names = _header(text, columns)
    missing = [name for name in columns if name not in names]
    if missing:
        raise KeyError(f"{', '.join(missing)} missing")
    table = pd.read_csv(io.StringIO(text), sep=mark, dtype="string", skipinitialspace=True)
    table.columns = pd.Index([*names, *table.columns[len(names) :]][: len(table.columns)])
    return table.assign(**{name: table[name].str.strip() for name in columns}), mark


def _numbers(table: pd.DataFrame, mark: str) -> pd.DataFrame:
    """Texts as float64; with decimal commas where another mark stands between cells. ValueError for what is no number."""
    if mark != ",":
        table = table.apply(lambda column: column.str.replace(",", "."))
    return table.astype(float)


def _is_regions(path: Path) -> bool:
    try:
        return "source" in _header(_text_of(path), BOXES)[1]
    except FAULTS as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error}).") from error


def _read_regions(path: Path) -> pd.DataFrame:
    try:
        table, mark = _table(_text_of(path), BOXES)
        boxes = _numbers(table.set_index("source")[list(BOXES[1:])], mark)
    except FAULTS as error:
        raise UsageError(f"{path}: expected the columns source, x, y, width, height ({error}).") from error
    more = [str(name) for name in table if str(name).strip().lower() in NOT_READ]
    if more:
        raise UsageError(
            f"{path}: has a column {more[0]!r}, which is not read here; give it with --labels FILE.csv."
        )
    wrong = ~(np.isfinite(boxes).all(axis=1) & (boxes[["width", "height"]] > 0).all(axis=1)).to_numpy()
    if wrong.any():
        line = int(np.flatnonzero(wrong)[0])
        told = ", ".join(f"{value:g}" for value in boxes.iloc[line])
        raise UsageError(
            f"{path}, row {line + 1}: x, y, width, height are {told}; expected numbers of pixels, width and height above 0."
        )
    return boxes[~boxes.index.duplicated()].set_axis(list(REGION), axis=1)


def _read_entries(entry: Path) -> pd.DataFrame:
    try:
        table = _table(_text_of(entry), ENTRIES)[0][list(ENTRIES)]
    except FAULTS as error:
        raise UsageError(
            f"{entry}: not NIH's metadata, which has the columns {', '.join(ENTRIES)} ({error})."
        ) from error
    table = table.drop_duplicates()
    twice = table["Image Index"][table["Image Index"].duplicated()]
    if len(twice):
        raise UsageError(
            f"{entry}: {twice.iloc[0]} stands there twice, and its rows say other things; keep one."
        )
    table = table.set_index("Image Index")
    table["Finding Labels"] = _findings(table["Finding Labels"], entry)
    table["View Position"] = table["View Position"].map(
        lambda word: view_in_text(word) or word, na_action="ignore"
    )
    out = table.rename(
        columns={"View Position": "view", "Finding Labels": "finding", "Patient ID": "patient"}
    )
    part_of, told = _parts(entry.parent, out.index)
    parts = [part_of.get(image) for image in out.index.tolist()]  # a second faster than isin on texts
    out["split"] = pd.Series(parts, index=out.index, dtype="string")
    boxes = _one(entry.parent, "BBox_List_2017*.csv*")
    out = out if boxes is None else out.join(read_boxes(boxes, out.index).assign(**{NIH_SIDE: SIDE}))
    out.attrs[LISTS] = told
    return out


def _parts(folder: Path, images: pd.Index) -> tuple[dict[str, str], list[str]]:
    """(image -> its part by the lists in `folder`, what to say of each list).

    UsageError where an image is in both, and where no list names any of `images`: of a part's metadata the other list names none.
    """
    part_of: dict[str, str] = {}
    told, strange = [], ""
    for part, called in (("train", "train_val_list"), ("test", "test_list")):
        listed = _one(folder, f"{called}*.txt*")
        if listed is None:
            continue
        names = _listed(listed)
        rows = rows_of(images, names)
        if names and not rows and len(images):
            strange = strange or (
                f"{listed}: none of its {len(names)} images has a row beside it; it names {names[0]!r}, a row {images[0]!r}."
            )
        stated = set(rows.values())
        both = sorted(stated & set(part_of))
        if both:
            raise UsageError(f"{listed}: {both[0]} is in the list of the other part, too; it can be in one.")
        part_of |= dict.fromkeys(stated, part)
        told.append(f"{called}: {len(rows)} of its {len(names)} images have a row ({part})")
    if strange and not part_of:
        raise UsageError(strange)
    return part_of, told


def _listed(path: Path) -> list[str]:
    """The images of a list, one a line: its first cell, where a table was saved. UsageError where it cannot be read."""
    try:
        lines = _text_of(path).splitlines()
    except FAULTS as error:
        raise UsageError(f"{path}: not a readable list of images ({error}).") from error
    cells = (LINE_MARK.split(line.strip(" \t\r,;\ufeff"))[0].strip(" \"'") for line in lines)
    return [name for place, name in enumerate(cells) if name and (place or _fold(name) not in HEADERS)]


def rows_of(rows: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """The row that each of `names` means: its own, that of its file name, else the one that differs from these in case or the ending of a
    picture alone, if that has no name of its own. A name without such a row is left out, and so is one where two rows differ so little."""
    whole = dict.fromkeys(rows)
    bare: dict[str, str | None] = {}
    for row in whole:
        bare[_bare(row)] = None if _bare(row) in bare else row
    paths = {name: name.replace("\\", "/") for name in names}
    found = {}
    for name, path in paths.items():
        own = [row for row in (name, PurePosixPath(path).name) if row in whole]
        if own:
            found[name] = own[0]
    taken = set(found.values())
    for name, path in paths.items():
        meant = bare.get(_bare(path)) or bare.get(_bare(PurePosixPath(path).name))
        if name not in found and meant is not None and meant not in taken:
            found[name] = meant
    return found


def _bare(name: str) -> str:
    """In lower case, without the ending of a radiograph."""
    low = name.lower()
    return next((low.removesuffix(ending) for ending in SUFFIXES if low.endswith(ending)), low)


def _findings(stated: pd.Series, entry: Path) -> pd.Series:
    """Finding Labels as NIH spells them, words parted by |; UsageError for a word that is none, and for No Finding beside others."""
    spelled = {name.casefold(): name for name in (*FINDINGS, NORMAL)}

    def read(text: str) -> str:
        words = [word.strip() for word in text.split("|")]
        strange = next((word for word in words if word.casefold() not in spelled), None)
        if strange is not None:
            raise UsageError(
                f"{entry}: Finding Labels {strange!r} is not known; expected {NORMAL} or {', '.join(sorted(FINDINGS))}. For findings of "
                "your own give --labels (0 normal, 1 anomaly)."
            )
        known = [spelled[word.casefold()] for word in words]
        if NORMAL in known and len(known) > 1:
            raise UsageError(f"{entry}: Finding Labels {text!r} says {NORMAL} and a finding.")
        return "|".join(known)

    known = {text: read(text) for text in stated.dropna().unique()}
    return stated.map(known).astype("string")


def read_boxes(path: Path, images: Iterable[str] = ()) -> pd.DataFrame:
    """REGION by image, called as its row among `images`, in pixels of NIH's own pictures (SIDE).

    The file's header has `Bbox [x,y,w,h]` over four columns, so places are read, not names.
    """
    try:
        text = _text_of(path)
        mark, _ = _header(text, ("Image Index", "Finding Label"))
        table = pd.read_csv(
            io.StringIO(text),
            sep=mark,
            usecols=[0, 2, 3, 4, 5],
            header=0,
            names=["image", *REGION],
            dtype="string",
        )
        boxes = _numbers(table.drop_duplicates("image").set_index("image"), mark)
    except FAULTS as error:
        raise UsageError(f"{path}: not NIH's list of boxes ({error}).") from error
    boxes = boxes.rename(index=rows_of(images, [str(name) for name in boxes.index]))
    return boxes[~boxes.index.duplicated()]


def box_in_source(
    known: Mapping[str, Any], shape: tuple[int, ...]
) -> tuple[tuple[float, float, float, float] | None, list[str]]:
    """(x, y, width, height in pixels of a picture (H, W), what a person should know) of what is `known` of it.

    NIH's boxes are scaled to a square picture of another size than NIH's. No box where none is known, where NIH's meets a picture
    that is not square, or where it lies outside the picture.
    """
    if known.get(REGION[0]) is None:
        return None, []
    x, y, width, height = (float(known[name]) for name in REGION)
    (down, across), side, notes = shape[:2], known.get(NIH_SIDE), []
    if side and (down, across) != (side, side):
        if down != across:
            return None, [NOT_SQUARE]
        x, y, width, height = (value * across / side for value in (x, y, width, height))
        notes = [SCALED]
    if x >= across or y >= down or x + width <= 0 or y + height <= 0:
        return None, [f"box {x:g}, {y:g}, {width:g}, {height:g} {OUTSIDE}"]
    return (x, y, width, height), notes
