"""Published data sets, item by item: Camelyon16's tiles and NIH's radiographs behind the paper's tables.

docs/explanation/protocols.md#lists says where the lists are from.

A list archive is a tar (.tar.gz) as the DPA repository publishes it, or its unpacked folder: text files with a name a
line, `folds/train_test_split/SET/…/{normal,anomaly}/{train,test}` and `folds/folds/SET/…/{normal,anomaly}/…`.

Every function returns a table with `split` (train or test), `label` (0 normal, 1 anomaly) and `semi_label` (-1 a
labelled anomaly of the training part, else null), sorted as the lists are.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from esad.preprocessing.errors import UsageError
from esad.preprocessing.radiographs.nih import NORMAL

TILE_NAME = re.compile(
    r"(?P<slide>.+)_(?:normal|tumor)_x_(?P<row>\d+)_y_(?P<column>\d+)_w_(?P<width>\d+)_h_(?P<height>\d+)\.jpe?g"
)
"""The number after x is the ROW and the one after y the COLUMN of the tile's corner in level-0 pixels
(protocols.md#row-and-column)."""
LABELLED_FINDING = "Infiltration"
LABELLED_RATIO = {"AP": 0.039, "PA": 0.033}
"""The paper's gamma_l for NIH; of the training part (protocols.md#nih-labelled: 649 and 1177 images)."""
MOST_BYTES = 1 << 26


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """(name below `folds/`, content) of the regular text files; nothing is extracted."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            name = "/" + file.relative_to(path).as_posix()
            if file.is_file() and "/folds/" in name and file.stat().st_size <= MOST_BYTES:
                yield name.split("/folds/", 1)[1], file.read_text(encoding="utf-8")
        return
    with tarfile.open(path) as archive:
        for member in archive:
            name = "/" + member.name
            content = archive.extractfile(member) if member.isfile() and member.size <= MOST_BYTES else None
            if content is not None and "/folds/" in name:
                yield name.split("/folds/", 1)[1], content.read().decode("utf-8")


def read_lists(path: Path) -> dict[str, list[str]]:
    """List -> its names, for example `train_test_split/nih/AP/normal/train`; UsageError where it is no list archive."""
    try:
        lists = {name: text.split() for name, text in _texts(path)}
    except (OSError, tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a readable list archive ({error}).") from error
    if not lists:
        raise UsageError(
            f"{path}: expected lists below a folder `folds`, as a .tar.gz or unpacked; found none."
        )
    return lists


def _take(lists: dict[str, list[str]], name: str, path: Path) -> list[str]:
    if name not in lists:
        raise UsageError(f"{path}: the list folds/{name} is missing.")
    return lists[name]


def _table(parts: list[tuple[list[str], str, int, int | None]], column: str) -> pd.DataFrame:
    """Names with split, label and semi-label, part after part."""
    tables = [
        pd.DataFrame({column: names, "split": split, "label": label, "semi_label": semi})
        for names, split, label, semi in parts
    ]
    table = pd.concat([table.astype({"semi_label": "Int8"}) for table in tables], ignore_index=True)
    return table.astype({column: "string", "split": "string", "label": "Int8"})


def parse_tile_name(name: str) -> tuple[str, int, int, int, int]:
    """(slide, x, y, width, height) in level-0 pixels, x to the right; UsageError for another form of name."""
    match = TILE_NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"{name!r}: not a tile name of the form SLIDE_tumor_x_ROW_y_COLUMN_w_W_h_H.jpg.")
    row, column, width, height = (int(match[part]) for part in ("row", "column", "width", "height"))
    return match["slide"], column, row, width, height


def camelyon16_tiles(path: Path) -> pd.DataFrame:
    """The paper's tiles: `name, slide, x, y, width, height` (level-0 pixels), split, label, semi_label.

    The labelled anomalies are the union of the published folds' anomaly lists (protocols.md#lists); the other
    tumour tiles of the training slides are not used.
    """
    lists = read_lists(path)
    whole = "train_test_split/camelyon16/healthy"
    folds = sorted(name for name in lists if re.fullmatch(r"folds/camelyon16/healthy/\d+/anomaly/test", name))
    labelled = sorted({name for fold in folds for name in lists[fold]})
    if not labelled:
        raise UsageError(f"{path}: the list folds/folds/camelyon16/healthy/0/anomaly/test is missing.")
    table = _table(
        [
            (_take(lists, f"{whole}/normal/train", path), "train", 0, None),
            (labelled, "train", 1, -1),
            (_take(lists, f"{whole}/normal/test", path), "test", 0, None),
            (_take(lists, f"{whole}/anomaly/test", path), "test", 1, None),
        ],
        "name",
    )
    places = [parse_tile_name(name) for name in table["name"]]
    table[["slide", "x", "y", "width", "height"]] = pd.DataFrame(places, index=table.index)
    return table


def nih_subset(path: Path) -> pd.DataFrame:
    """The curated subset (Tang et al.): `image`, split, label, semi_label, by its lists alone.

    The 849 normals of the folds' validation lists train, too; its 857 training anomalies are of many diseases.
    """
    lists = read_lists(path)
    fold, whole = "folds/nih/subset/0", "train_test_split/nih/subset"
    return _table(
        [
            (_take(lists, f"{whole}/normal/train", path), "train", 0, None),
            (_take(lists, f"{fold}/normal/val", path), "train", 0, None),
            (_take(lists, f"{fold}/anomaly/test", path), "train", 1, -1),
            (_take(lists, f"{whole}/normal/test", path), "test", 0, None),
            (_take(lists, f"{whole}/anomaly/test", path), "test", 1, None),
        ],
        "image",
    )


def nih_view(table: pd.DataFrame, view: str, seed: int = 0) -> pd.DataFrame:
    """NIH by projection, `view` AP or PA: `image`, split, label, semi_label, from `nih.read_metadata`'s table.

    Training: all with no finding, and labelled anomalies drawn by `seed` from the images whose one finding is
    Infiltration, as many as the paper's ratio says. Test: no finding against any finding. Patients are never on both
    sides, since the official lists divide them. UsageError where a list is missing beside the metadata.
    """
    known = [name for name in ("view", "finding", "split") if name in table]
    if len(known) < 3 or not {"train", "test"} <= set(table["split"].dropna()):
        raise UsageError(
            "--metadata: expected Data_Entry_2017*.csv with train_val_list*.txt and test_list*.txt beside it."
        )
    table = table[table["view"] == view]
    normal, finding = table["finding"] == NORMAL, table["finding"]

    def names(part: str, chosen: pd.Series) -> list[str]:
        return sorted(table.index[(table["split"] == part) & chosen])

    train = names("train", normal)
    pool = names("train", finding == LABELLED_FINDING)
    ratio = LABELLED_RATIO[view]
    count = min(len(pool), round(len(train) * ratio / (1 - ratio)))
    drawn = np.random.default_rng([seed, 14]).permutation(len(pool))[:count]
    labelled = [pool[place] for place in sorted(drawn)]
    return _table(
        [
            (train, "train", 0, None), (labelled, "train", 1, -1),
            (names("test", normal), "test", 0, None), (names("test", ~normal), "test", 1, None),
        ],
        "image",
    )  # fmt: skip


def nih_protocol(name: str, metadata: pd.DataFrame | None, lists: Path | None, seed: int = 0) -> pd.DataFrame:
    """`nih-ap`, `nih-pa` (from the table `metadata`) or `nih-subset` (from the list archive `lists`).

    `metadata` is what `nih.read_metadata` gives. UsageError for what lacks.
    """
    if name == "nih-subset":
        if lists is None:
            raise UsageError("--protocol nih-subset needs --subset-list FILE.tar.gz, the published lists.")
        return nih_subset(lists)
    if metadata is None:
        raise UsageError(f"--protocol {name} needs --metadata, NIH's Data_Entry file or its folder.")
    return nih_view(metadata, name[-2:].upper(), seed)


def counts(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """{"train": {"normal": n, "anomaly": m}, "test": {…}} of a table of this module."""
    return {
        split: {
            name: int(((table["split"] == split) & (table["label"] == label)).sum())
            for name, label in (("normal", 0), ("anomaly", 1))
        }
        for split in ("train", "test")
    }
