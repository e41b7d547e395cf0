"""What a store's own files must hold before anything is made of it: store.json, the manifest's columns, the shards' headers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from esad.preprocessing.store.kinds import DTYPES, KINDS, ROWS
from esad.preprocessing.store.reading import check_entries, check_numbers, check_texts, damaged, read_object

PLACES = ("x", "y", "width", "height")
"""Columns of the manifest that say where on a slide an item lies, in level-0 pixels."""
REMEDY = "run the ingest stage with --force."
"""What to do about a damaged store: nothing of it is lost that its inputs do not have."""
MANIFEST_COLUMNS = ("item_id", "source", "shard", "index", "split", "label", "semi_label", "group")
TEXTS = ("item_id", "source", "split", "group", "site", "class_name")
"""Columns that are texts in every store. Others, as `view`, may have come from an npz or a table as what they were there."""
LABELS = {"label": (0, 1), "semi_label": (-1, 0, 1)}
"""The values of the manifest's labels beside empty ones; see docs/reference/folders.md."""
SOURCE_COLUMNS = ("source", "state", "reason", "attempts", "items", "bytes", "fingerprint")


def read_description(path: Path) -> dict[str, Any]:
    """The content of store.json; EsadError where it is damaged, or of a kind, type or shape that no store has."""
    content = read_object(
        path, REMEDY, {"kind": str, "shape": list, "dtype": str, "settings": dict, "inputs": str}
    )
    kind, shape, dtype = content["kind"], content["shape"], content["dtype"]
    if kind not in KINDS:
        raise damaged(path, f"is damaged (kind = {kind!r}, expected one of {', '.join(KINDS)})", REMEDY)
    expected = DTYPES.get(kind, ("uint8",))
    if dtype not in expected:
        raise damaged(
            path, f"is damaged (dtype = {dtype!r}, expected {' or '.join(expected)} for {kind})", REMEDY
        )
    whole = all(type(side) is int and side > 0 for side in shape)
    if not whole or len(shape) != (1 if kind in ROWS else 3):
        told = "[columns]" if kind in ROWS else "[height, width, channels]"
        raise damaged(path, f"is damaged (shape = {shape}, expected {told})", REMEDY)
    if "items" in content:
        check_entries(path, content, REMEDY, {"items": int})
    check_settings(path, content["settings"], REMEDY, TileSettings if kind == "tiles" else ItemSettings)
    return content


Side = Annotated[int, Field(gt=0)]
Measure = Annotated[float, Field(gt=0)]


class Shape(BaseModel):
    """An object of a file of ours, whose entries are of the stated types and not turned into them; more are allowed."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class OutlineSettings(Shape):
    """How outlines became labels of tiles (LabelSettings): what evaluation reads outlines by again."""

    outline_classes: dict[str, Literal["anomaly", "hole", "ignore", "region"]] = Field(default_factory=dict)
    geojson_origin: Literal["bounds", "slide"] | None = None
    without_outlines: Literal["normal", "unknown"] = "normal"
    min_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0


class ItemSettings(Shape):
    """Of a store's settings those that later stages count or write with; the others are only said again. Older stores lack some."""

    tile_size: Side | None = None
    step: Side | None = None
    size: Side | None = None
    mpp: Measure | None = None
    magnification: Measure | None = None
    crop: Measure | None = None
    min_tissue: float | None = None
    min_sharpness: float | None = None
    labels: OutlineSettings | None = None
    categories: dict[str, list[Any]] | None = None
    columns: list[str] | None = None
    where: dict[str, Any] | None = None
    missing: str | None = None


class TileSettings(ItemSettings):
    """The same of a store of tiles, whose places are made of them; `step` None is the size."""

    tile_size: Side
    step: Side | None


def check_settings(
    path: Path, settings: dict[str, Any], remedy: str, shape: type[ItemSettings] = ItemSettings
) -> None:
    """EsadError where a setting of a store, in the file `path`, is not of its type."""
    try:
        shape.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, ("settings", *first["loc"])))
        told = (
            "is missing"
            if first["type"] == "missing"
            else f"= {first['input']!r:.60}, {first['msg'].partition(' or instance')[0]}"
        )
        raise damaged(path, f"is damaged ({place} {told})", remedy) from error


def check_manifest(path: Path, table: pd.DataFrame, whole: bool = True) -> None:
    """EsadError where the manifest has no items, a place that is no whole number, another column of another kind of values, or a label
    that is none (`check_labels`)."""
    if table.empty:
        raise damaged(path, "is damaged (it has no items)", REMEDY)
    for name in ("shard", "index"):
        if not pd.api.types.is_integer_dtype(table[name].dtype) or table[name].isna().any():
            raise damaged(path, f"is damaged (column {name!r} holds other than whole numbers)", REMEDY)
    check_numbers(path, table, (*PLACES, "tumour_fraction"), REMEDY)
    check_texts(path, table, TEXTS, REMEDY)
    check_labels(path, table, whole)
    if table["source"].isna().any():
        raise damaged(path, "is damaged (an item without source)", REMEDY)


def check_labels(path: Path, table: pd.DataFrame, whole: bool = True) -> None:
    """EsadError where a value of `label` or `semi_label` is none of LABELS; not `whole`: only where no int8 holds it."""
    for name in LABELS:
        check_label_column(path, table[name], REMEDY, whole)


def check_label_column(path: Path, values: pd.Series, remedy: str, whole: bool = True) -> None:
    """`check_labels` of one column of a table of ours, the file `path`."""
    name = str(values.name)
    if not (pd.api.types.is_numeric_dtype(values.dtype) or values.isna().all()):
        raise damaged(path, f"is damaged (column {name!r} holds other than numbers)", remedy)
    for value in values.dropna().unique():
        held = -128 <= value < 128 and value == int(value)
        if value not in LABELS[name] and (whole or not held):
            expected = ", ".join(map(str, LABELS[name]))
            raise damaged(path, f"column {name!r} holds {value:g}; expected {expected} or empty", remedy)


def check_apart(path: Path, table: pd.DataFrame) -> None:
    """EsadError where two items of the manifest have one name, or lie at one place of a shard."""
    names = pd.Index(table["item_id"])
    if not names.is_unique:
        raise damaged(path, f"item_id {names[names.duplicated()][0]!r} is there twice", REMEDY)
    places = table["shard"].to_numpy(np.int64) << 32 | table["index"].to_numpy(np.int64)
    if (np.diff(places) <= 0).any():  # else they ascend, as an ingest stage writes them
        twice = np.flatnonzero(pd.Series(places).duplicated().to_numpy())
        if twice.size:
            shard, index = (int(table[name].iloc[twice[0]]) for name in ("shard", "index"))
            raise damaged(path, f"has items at the same place (index {index} of shard {shard})", REMEDY)


def check_count(path: Path, table: pd.DataFrame, description: dict[str, Any]) -> None:
    """EsadError where the manifest has another number of items than store.json states; older ones state none."""
    stated = description.get("items", len(table))
    if stated != len(table):
        raise damaged(path, f"has {len(table)} items, store.json states {stated}", REMEDY)


def check_finite(values: np.ndarray, missing: bool, where: Callable[[int], tuple[Path, str]]) -> None:
    """EsadError where a row of `values` (N, D) is infinite or, unless `missing` cells are to be filled, has none.

    `where` of a row's number: the shard's file and the item's name.
    """
    wrong = np.isinf(values) if missing else ~np.isfinite(values)
    if wrong.any():
        path, name = where(int(wrong.any(axis=1).argmax()))
        raise damaged(path, f"item {name!r} is not finite (an infinite or missing value)", REMEDY)


def check_shard(path: Path, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> None:
    """EsadError where a shard's array is not of the store's type and shape."""
    if array.dtype != np.dtype(dtype) or array.shape[1:] != shape or array.ndim != len(shape) + 1:
        found, wanted = (" x ".join(map(str, sides)) for sides in (array.shape[1:], shape))
        found = found or "single numbers,"
        raise damaged(path, f"holds items of {found} {array.dtype}, the store of {wanted} {dtype}", REMEDY)


def check_places(manifest: pd.DataFrame, path: Path, length: Callable[[int], int]) -> None:
    """EsadError where an item of the manifest (the file `path`) is at no place of its shard; `length` of a shard, by number."""
    for number, rows in manifest.groupby("shard", sort=True)["index"]:
        first, last, count = int(rows.min()), int(rows.max()), length(int(str(number)))
        if first < 0 or last >= count:
            wrong = first if first < 0 else last
            raise damaged(
                path,
                f"is damaged (index {wrong} in shard {number}, which has items 0 to {count - 1})",
                REMEDY,
            )
