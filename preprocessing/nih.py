"""NIH ChestX-ray14's own metadata: Data_Entry_2017*.csv, train_val_list, test_list, BBox_List_2017."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preprocessing.errors import UsageError

NORMAL = "No Finding"


def _one(folder: Path, pattern: str) -> Path | None:
    found = sorted(folder.glob(pattern))
    return found[0] if found else None


def read_metadata(path: Path) -> pd.DataFrame:
    """One row per image, indexed by file name: view, finding, patient, split, region_x/y/width/height (source pixels).

    `path` is the Data_Entry file or the folder that holds it; lists and boxes beside it are used where present.
    Several boxes of an image: the first. Raises UsageError where the file or a column is missing.
    """
    entry = path if path.is_file() else _one(path, "Data_Entry_2017*.csv*")
    if entry is None or not entry.is_file():
        raise UsageError(f"{path}: expected NIH's Data_Entry_2017*.csv[.gz] there.")
    try:
        table = pd.read_csv(
            entry, usecols=["Image Index", "Finding Labels", "Patient ID", "View Position"], dtype="string"
        )
    except (ValueError, OSError) as error:
        raise UsageError(f"{entry}: not NIH's metadata: {error}.") from error
    table.columns = pd.Index([name.strip() for name in table.columns])
    out = pd.DataFrame({
        "view": table["View Position"], "finding": table["Finding Labels"], "patient": table["Patient ID"],
    })  # fmt: skip
    out.index = pd.Index(table["Image Index"], name="image")
    out["split"] = pd.Series(pd.NA, index=out.index, dtype="string")
    for name, pattern in (("train", "train_val_list*.txt*"), ("test", "test_list*.txt*")):
        listed = _one(entry.parent, pattern)
        if listed is not None:
            names = pd.read_csv(listed, header=None, dtype="string")[0].str.strip()
            out.loc[out.index.isin(names), "split"] = name
    return _with_boxes(out, _one(entry.parent, "BBox_List_2017*.csv*"))


def _with_boxes(table: pd.DataFrame, path: Path | None) -> pd.DataFrame:
    names = ["region_x", "region_y", "region_width", "region_height"]
    if path is None:
        return table
    boxes = pd.read_csv(path, usecols=[0, 2, 3, 4, 5], header=0, names=["image", *names]).drop_duplicates(
        "image"
    )
    return table.join(boxes.set_index("image")[names].astype(float))
