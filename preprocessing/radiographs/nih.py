"""What is known of radiographs beside the pixels: NIH ChestX-ray14's own files, or regions of any archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.preprocessing.errors import UsageError
from esad.preprocessing.radiographs.dicom_views import view_in_text

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
    return own.combine_first(entries)


def _is_regions(path: Path) -> bool:
    try:
        names = pd.read_csv(path, nrows=0).columns
    except (ValueError, OSError) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error}).") from error
    return "source" in names


def _read_regions(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"source": "string"})
        boxes = table.set_index("source")[["x", "y", "width", "height"]].astype(float)
    except (ValueError, KeyError, OSError) as error:
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
    names = ["Image Index", "Finding Labels", "Patient ID", "View Position"]
    try:
        table = pd.read_csv(entry, usecols=names, dtype="string").apply(lambda column: column.str.strip())
    except (ValueError, OSError) as error:
        raise UsageError(
            f"{entry}: not NIH's metadata, which has the columns {', '.join(names)} ({error})."
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
    part_of: dict[str, str] = {}
    for name, pattern in (("train", "train_val_list*.txt*"), ("test", "test_list*.txt*")):
        listed = _one(entry.parent, pattern)
        if listed is not None:
            stated = pd.read_csv(listed, header=None, dtype="string")[0].str.strip()
            both = sorted(set(stated) & set(part_of))
            if both:
                raise UsageError(
                    f"{listed}: {both[0]} is in the list of the other part, too; it can be in one."
                )
            part_of |= dict.fromkeys(stated.tolist(), name)
    parts = [part_of.get(image) for image in out.index.tolist()]  # a second faster than isin on texts
    out["split"] = pd.Series(parts, index=out.index, dtype="string")
    boxes = _one(entry.parent, "BBox_List_2017*.csv*")
    return out if boxes is None else out.join(read_boxes(boxes).assign(**{NIH_SIDE: SIDE}))


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


def read_boxes(path: Path) -> pd.DataFrame:
    """REGION by image, in pixels of NIH's own pictures (SIDE).

    The file's header has `Bbox [x,y,w,h]` over four columns, so places are read, not names.
    """
    try:
        table = pd.read_csv(path, usecols=[0, 2, 3, 4, 5], header=0, names=["image", *REGION])
        return table.drop_duplicates("image").set_index("image").astype(float)
    except (ValueError, OSError) as error:
        raise UsageError(f"{path}: not NIH's list of boxes ({error}).") from error


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
