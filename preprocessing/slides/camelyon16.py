"""Camelyon16's tiles by rule: which slides take part, and which of their squares.

The rule is explained in docs/explanation/protocols.md#camelyon16-tiles, its numbers stand in
`data_manifests/camelyon16.yaml`. What differs from the original: tiles are drawn by a seed, and tumour tiles
lie wholly inside the outlines by exact area, where the original sampled nine points of each.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.filters import threshold_otsu

from esad.data_manifests.loader import TileProtocol
from esad.preprocessing.errors import UsageError

SLIDE_NAME = re.compile(r"(normal|tumor|test)_(\d{3})")


@dataclass(frozen=True)
class Role:
    """What a slide is for: `part` train or test, `tumour` whether its tumour tiles are taken, or its normal ones."""

    part: str
    tumour: bool


def read_reference(path: Path) -> dict[str, bool]:
    """Stem of a test slide, lower case -> whether it has a tumour, from the challenge's reference.csv.

    Rows are stem, Normal or Tumor, and more; a header is passed over. UsageError where no row is of that form.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip().lower() for cell in row] for row in csv.reader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: not a readable CSV ({error}).") from error
    known = {"normal": False, "tumor": True}
    found: dict[str, bool] = {}
    for row in rows:
        if len(row) > 1 and row[1] in known:
            stem = Path(row[0]).stem if row[0].endswith(".tif") else row[0]
            if found.setdefault(stem, known[row[1]]) != known[row[1]]:
                raise UsageError(f"{path}: {stem} is Normal in one row and Tumor in another.")
    if not found:
        raise UsageError(f"{path}: expected rows such as test_001,Tumor,IDC,Macro; found none.")
    return found


def slide_roles(
    stems: Iterable[str], reference: dict[str, bool] | None, protocol: TileProtocol
) -> dict[str, Role | str]:
    """Stem (lower case) -> its role, or in words why it takes no part.

    `reference` tells normal test slides from those with a tumour; None where the file is not there. Where none of the
    slides that the published labelled anomalies are of is here, all training slides with a tumour take their place.
    """
    stems = [stem.lower() for stem in stems]
    labelled = set(protocol.labelled) & set(stems)
    return {stem: _role(stem, reference, labelled, protocol) for stem in stems}


def _role(
    stem: str, reference: dict[str, bool] | None, labelled: set[str], protocol: TileProtocol
) -> Role | str:
    match = SLIDE_NAME.fullmatch(stem)
    reason = None
    if match is None:
        reason = "not a Camelyon16 slide by its name (normal_NNN, tumor_NNN, test_NNN)"
    elif stem in protocol.excluded:
        reason = "excluded by the protocol"
    elif match[1] == "tumor" and labelled and stem not in labelled:
        reason = f"the labelled anomalies are of {', '.join(sorted(labelled))}"
    elif match[1] == "test":
        return _test_role(stem, reference, protocol)
    return f"left out: {reason}" if reason else Role("train", tumour=stem.startswith("tumor"))


def _test_role(stem: str, reference: dict[str, bool] | None, protocol: TileProtocol) -> Role | str:
    if reference is None:
        return "left out: no reference.csv in the archive tells whether it has a tumour"
    if stem not in reference:
        return "left out: not in reference.csv"
    if reference[stem] and stem in protocol.not_exhaustive:
        return "left out: its outlines are not exhaustive"
    return Role("test", tumour=reference[stem])


def tissue_blocks(overview: np.ndarray, protocol: TileProtocol) -> np.ndarray:
    """Which squares of the tile grid are all tissue: bool (rows // block, columns // block).

    `overview` is the slide at `mask_downsample`, uint8 (rows, columns, 3). Tissue is what is not brighter than Otsu's
    threshold of the grey picture, less the border, opened by 3 x 3. A picture of one colour has none.
    """
    grey = rgb2gray(overview)
    one_colour = grey.min() == grey.max()
    mask = np.zeros(grey.shape, dtype=bool) if one_colour else grey <= threshold_otsu(grey)
    mask = ndimage.binary_opening(_without_border(mask, protocol), np.ones((3, 3)))
    side = protocol.block
    rows, columns = (length // side for length in mask.shape)
    return mask[: rows * side, : columns * side].reshape(rows, side, columns, side).all((1, 3))


def _without_border(mask: np.ndarray, protocol: TileProtocol) -> np.ndarray:
    """The border rule; the right side of tall masks keeps its tissue, as in the original."""
    border, (rows, columns) = protocol.border, mask.shape
    kept = np.zeros_like(mask)
    if rows > border.tall:
        inside = np.s_[border.top : rows - border.bottom, border.left :]
    else:
        by = border.otherwise
        inside = np.s_[by : max(rows - by, 0), by : max(columns - by, 0)]
    kept[inside] = mask[inside]
    return kept


def grid_corners(blocks: np.ndarray, protocol: TileProtocol) -> np.ndarray:
    """x, y (N, 2) int64 of the squares that `tissue_blocks` found, in level-0 pixels, row by row."""
    rows, columns = np.nonzero(blocks)
    return np.column_stack([columns, rows]).astype(np.int64) * protocol.span


def draw(count: int, stem: str, protocol: TileProtocol, seed: int) -> np.ndarray:
    """Which of `count` tiles of a slide are taken: at most `per_slide` positions, ascending, by seed and slide."""
    key = int.from_bytes(hashlib.sha256(stem.lower().encode()).digest()[:8], "big")
    order = np.random.default_rng([seed, key]).permutation(count)
    return np.sort(order[: protocol.per_slide])


def as_listed(corners: np.ndarray, stem: str, role: Role, protocol: TileProtocol) -> pd.DataFrame:
    """Tiles in the form of `published_lists.camelyon16_tiles`: name, x, y, width, height, split, label, semi_label."""
    labelled = role.tumour and role.part == "train"
    kind = "tumor" if role.tumour else "normal"
    span = protocol.span
    table = pd.DataFrame({"x": corners[:, 0], "y": corners[:, 1], "width": span, "height": span})
    table["name"] = [f"{stem}_{kind}_x_{y}_y_{x}_w_{span}_h_{span}.jpg" for x, y in corners.tolist()]
    table["split"] = pd.Series(role.part, index=table.index, dtype="string")
    table["label"] = pd.Series(int(role.tumour), index=table.index, dtype="Int8")
    table["semi_label"] = pd.Series(-1 if labelled else pd.NA, index=table.index, dtype="Int8")
    return table
