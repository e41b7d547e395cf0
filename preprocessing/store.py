"""The store: one folder that every ingest stage writes and every later stage reads, memory-mapped.

    manifest.parquet    a row per image or table row            sources.parquet   a row per input file
    shards/NNNNN.npy    uint8 (N, H, W, C) or float32 (N, D)    failures.csv      its refused rows
    store.json          kind, shape, dtype, settings, versions  thumbnails/ masks/   slides only

A store grows by units (one slide, or up to 4096 images). A unit's shard is written first, its two part tables
in `parts/` after it, the sources table last: a unit whose sources table exists is finished. `finalise` joins
the parts. Every file is written under a temporary name and renamed, and no file holds a time, so that a store
that was killed and continued is bit-equal to an undisturbed one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from preprocessing.errors import EsadError

KINDS = ("tiles", "radiographs", "images", "table")
MANIFEST_TYPES = {
    "item_id": "str",
    "source": "str",
    "shard": "int32",
    "index": "int32",
    "split": "str",
    "label": "Int8",
    "semi_label": "Int8",
    "group": "str",
}
SOURCE_TYPES = {
    "source": "str",
    "state": "str",  # done | refused
    "reason": "str",
    "attempts": "int32",
    "items": "int32",
    "bytes": "int64",
    "fingerprint": "str",
}


@dataclass(frozen=True)
class Unit:
    """What one task processes: `number` names its shard, `sources` are paths relative to the archive."""

    number: int
    sources: tuple[str, ...]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary path)` and rename the result to `path`; the temporary name keeps the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(root: Path) -> None:
    """Remove what killed writers left under the temporary names of `write_atomically`, in the whole store."""
    for path in sorted(root.rglob(".*.*")):
        if path.is_file() and re.fullmatch(r"\..+\.\d+(\.\w+)?", path.name):
            path.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write `content` as indented JSON with sorted keys, atomically."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, atomically."""
    write_atomically(path, lambda temporary: table.to_parquet(temporary, index=False))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as `.npy` (no pickle), atomically."""
    write_atomically(path, lambda temporary: np.save(temporary, array, allow_pickle=False))


def item_id(source: str, place: str, digits: int = 8) -> str:
    """The item's name: stem of the source and `digits` hex digits of a hash of source and place.

    The same source (relative to its archive) and place give the same name in every run, on every machine.
    """
    digest = hashlib.sha256(f"{source}\0{place}".encode()).hexdigest()
    return f"{_stem(source)}-{digest[:digits]}"


@lru_cache(maxsize=4096)
def _stem(source: str) -> str:
    """The file name up to its first dot; a slide asks for it once per tile."""
    return Path(source).name.split(".")[0] or "item"


def fingerprint(path: Path) -> str:
    """16 hex digits over size, first and last 64 KiB: cheap on a 2 GB slide, sensitive to any usual change."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(65536))
        if size > 65536:
            file.seek(max(65536, size - 65536))
            digest.update(file.read(65536))
    return digest.hexdigest()[:16]


def with_types(table: pd.DataFrame, types: dict[str, str]) -> pd.DataFrame:
    """`table` with the columns of `types` first, in that order and type; missing ones are added as nulls."""
    table = table.copy()
    for name, kind in types.items():
        if name not in table:
            table[name] = pd.Series([None] * len(table), dtype="Int8" if kind == "Int8" else "object")
        if kind == "Int8":
            table[name] = pd.to_numeric(table[name], errors="raise").astype("Int8")
        elif kind == "str":
            table[name] = table[name].astype("string")
        else:
            table[name] = table[name].astype(kind)
    others = [name for name in table.columns if name not in types]
    return table[[*types, *others]]


def shard_path(root: Path, number: int) -> Path:
    """Where the pixels or values of unit `number` are."""
    return root / "shards" / f"{number:05d}.npy"


def write_unit(
    root: Path, unit: Unit, array: np.ndarray | None, items: pd.DataFrame, sources: pd.DataFrame
) -> None:
    """Write one finished unit: shard, then items, then sources (the mark that it is finished).

    `array` is (N, H, W, C) uint8 or (N, D) float32 with N = len(items), or None where nothing was accepted or a
    `ShardWriter` has written it.
    `items` needs `source` and `place` (a text that is unique within the source); `sources` has a row per source.
    """
    items = items.reset_index(drop=True)
    if array is not None and len(items):
        if len(array) != len(items):
            raise ValueError(f"{len(array)} arrays for {len(items)} rows in unit {unit.number}")
        write_array(shard_path(root, unit.number), array)
    items["shard"] = np.int32(unit.number)
    items["index"] = np.arange(len(items), dtype=np.int32)
    parts = root / "parts"
    write_table(parts / f"items-{unit.number:05d}.parquet", items)
    write_table(parts / f"sources-{unit.number:05d}.parquet", with_types(sources, SOURCE_TYPES))


def finished_units(root: Path) -> list[int]:
    """Numbers of the units whose sources table exists."""
    return sorted(int(path.stem.split("-")[1]) for path in (root / "parts").glob("sources-*.parquet"))


def _join(root: Path, name: str, numbers: Sequence[int]) -> pd.DataFrame:
    tables = [pd.read_parquet(root / "parts" / f"{name}-{number:05d}.parquet") for number in numbers]
    filled = [table for table in tables if len(table)]
    return pd.concat(filled or tables[:1], ignore_index=True) if tables else pd.DataFrame()


def joined_sources(root: Path) -> pd.DataFrame:
    """One row per source from the finished units; a source that was tried again shows its last try."""
    table = _join(root, "sources", finished_units(root))
    if table.empty:
        return with_types(pd.DataFrame({name: [] for name in SOURCE_TYPES}), SOURCE_TYPES)
    table = table.drop_duplicates("source", keep="last")
    return table.sort_values("source", kind="stable", ignore_index=True)


def joined_items(root: Path) -> pd.DataFrame:
    """The items of all finished units, sorted by source, with unique `item_id`."""
    items = _join(root, "items", finished_units(root))
    if items.empty:
        return with_types(pd.DataFrame({name: [] for name in MANIFEST_TYPES}), MANIFEST_TYPES)
    # a source that changed was read again, into a later shard
    items = items[items["shard"] == items.groupby("source")["shard"].transform("max")]
    items = items.sort_values(["source", "shard", "index"], kind="stable", ignore_index=True)
    pairs = list(zip(items["source"].astype(str), items["place"].astype(str), strict=True))
    names = pd.Series([item_id(source, place) for source, place in pairs])
    for position in np.flatnonzero(
        names.duplicated(keep=False)
    ):  # 8 digits collide once in 10^4 large archives
        names[position] = item_id(*pairs[position], digits=16)
    items["item_id"] = names
    return with_types(items.drop(columns="place"), MANIFEST_TYPES)


def finalise(root: Path, manifest: pd.DataFrame, description: dict[str, Any], sources: pd.DataFrame) -> None:
    """Write the tables and `store.json` (last), which make the folder a store."""
    refused = sources[sources["state"] == "refused"]
    write_table(root / "manifest.parquet", with_types(manifest, MANIFEST_TYPES))
    write_table(root / "sources.parquet", sources)
    write_atomically(root / "failures.csv", lambda temporary: refused.to_csv(temporary, index=False))
    write_json(root / "store.json", description)


class Store:
    """A finished store, opened read-only.

    `manifest` and `sources` are the tables of the module's docstring; positions passed to `read` are row
    positions of `manifest`.
    """

    def __init__(self, root: Path) -> None:
        """Open the store at `root`; EsadError where there is none or it is not finished."""
        self.root = Path(root)
        marker = self.root / "store.json"
        if not marker.is_file():
            begun = (self.root / "parts").is_dir()
            hint = (
                "it was begun but is not finished: run the ingest stage again"
                if begun
                else "make one with an "
            )
            hint += "" if begun else "ingest stage (esad tile, radiographs, images or tables)"
            raise EsadError(f"{self.root}: not a store (no store.json); {hint}.")
        self.description: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
        self.manifest = pd.read_parquet(self.root / "manifest.parquet")
        self._shards: dict[int, np.ndarray] = {}

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.description["kind"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item: (H, W, C) for pictures, (D,) for table rows."""
        return tuple(self.description["shape"])

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings of the stage that wrote the store."""
        return self.description["settings"]

    @cached_property
    def columns(self) -> list[str]:
        """Names of a table's feature columns, in order; none for pictures."""
        stated = self.sources["columns"].dropna().tolist() if "columns" in self.sources else []
        return json.loads(stated[0]) if stated else []

    @cached_property
    def sources(self) -> pd.DataFrame:
        """One row per input file."""
        return pd.read_parquet(self.root / "sources.parquet")

    def __len__(self) -> int:
        return len(self.manifest)

    def shard(self, number: int) -> np.ndarray:
        """The memory-mapped array of a shard."""
        if number not in self._shards:
            path = shard_path(self.root, number)
            try:
                self._shards[number] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise EsadError(
                    f"{path}: the shard cannot be read ({error}); run the ingest stage with --force."
                ) from error
        return self._shards[number]

    def read(self, positions: np.ndarray | None = None) -> np.ndarray:
        """Items at `positions` (default all), in that order: uint8 (N, H, W, C) or float32 (N, D)."""
        rows = self.manifest if positions is None else self.manifest.iloc[positions]
        shards, places = rows["shard"].to_numpy(), rows["index"].to_numpy()
        out = np.empty((len(rows), *self.shape), dtype=self.description["dtype"])
        for number in np.unique(shards):
            mask = shards == number
            out[mask] = self.shard(int(number))[places[mask]]
        return out
