"""The store: one folder that every ingest stage writes and every later stage reads, memory-mapped.

    manifest.parquet    a row per image or table row            sources.parquet   a row per input file
    shards/NNNNN.npy    uint8 (N, H, W, C), or numbers (N, D)   failures.csv      its refused rows
    store.json          kind, shape, dtype, settings, versions  thumbnails/ masks/ stain/   slides only

A store grows by units (one slide, or up to 4096 images). A unit's shard is written first, its two part tables
in `parts/` after it, the sources table last: a unit whose sources table exists is finished. `Parts` joins
them and `finalise` writes the store's own tables. Every file is written under a temporary name and renamed, and no
file holds a time, so that a store that was killed and continued is bit-equal to an undisturbed one.
"""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from esad.preprocessing.errors import EsadError, UsageError
from esad.preprocessing.store.digests import file_digest
from esad.preprocessing.store.kinds import KINDS, ROWS
from esad.preprocessing.store.opening import (
    MANIFEST_COLUMNS,
    PLACES,
    REMEDY,
    SOURCE_COLUMNS,
    check_apart,
    check_count,
    check_finite,
    check_manifest,
    check_places,
    check_shard,
    read_description,
)
from esad.preprocessing.store.reading import check_numbers, check_texts, damaged, read_array, read_table
from esad.preprocessing.store.writing import (
    remove_temporaries,
    temporary_path,
    write_array,
    write_atomically,
    write_csv,
    write_json,
    write_table,
)

__all__ = [
    "KINDS", "MANIFEST_TYPES", "ROWS", "SOURCE_TYPES", "Parts", "Store", "Unit", "file_digest", "finalise", "fingerprint",
    "finished_units", "item_id", "read_sources", "remove_temporaries", "shard_path", "temporary_path", "with_types",
    "write_array", "write_atomically", "write_csv", "write_failures", "write_json", "write_table", "write_unit",
]  # fmt: skip
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
    "shard_digest": "str",  # of the shard that has the source's items, see `file_digest`
}


@dataclass(frozen=True)
class Unit:
    """What one task processes: `number` names its shard, `sources` are paths relative to the archive.

    `names` are what everything that is written calls the sources, in their order; None = as they are called.
    """

    number: int
    sources: tuple[str, ...]
    names: tuple[str, ...] | None = None


def item_id(source: str, place: str, digits: int = 8) -> str:
    """The item's name: stem of the source and `digits` hex digits of a hash of source and place.

    The same source (relative to its archive) and place give the same name in every run, on every machine.
    """
    digest = hashlib.sha256(f"{source}\0{place}".encode()).hexdigest()
    return f"{_stem(source)}-{digest[:digits]}"


def _stem(source: str) -> str:
    """The file name up to its first dot."""
    return Path(source).name.split(".")[0] or "item"


def _item_ids(items: pd.DataFrame) -> list[str]:
    """`item_id` of each row; what rows of one source have in common is hashed once (a slide has 100,000 rows)."""
    begun = {source: hashlib.sha256(f"{source}\0".encode()).copy for source in items["source"].unique()}
    stems = {source: _stem(source) for source in begun}
    names = []
    for source, place in zip(items["source"].tolist(), items["place"].tolist(), strict=True):
        digest = begun[source]()
        digest.update(place.encode())
        names.append(f"{stems[source]}-{digest.digest()[:4].hex()}")
    return names


PACKED = (
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".jp2", ".j2k", ".avif", ".bmp", ".tif", ".tiff", ".svs", ".ndpi", ".mrxs", ".scn", ".bif",
    ".vms", ".vmu", ".dcm", ".dicom", ".zip",
)  # fmt: skip
"""Endings of files that nobody corrects in their middle without another size, beginning or end."""


def fingerprint(path: Path) -> str:
    """16 hex digits over size and content; of a picture or slide over `edges_fingerprint`.

    In a table a label in the middle may be corrected, and the size stays.
    """
    if path.suffix.lower() in PACKED:
        return edges_fingerprint(path)
    digest = hashlib.sha256(str(path.stat().st_size).encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def is_same_file(path: Path, known: str) -> bool:
    """Whether the file at `path` has the fingerprint `known`, which an earlier version may have taken; OSError where it cannot be read."""
    return known == fingerprint(path) or known == edges_fingerprint(path)


def edges_fingerprint(path: Path) -> str:
    """16 hex digits over size, first and last 64 KiB: cheap on a 2 GB slide. Earlier versions knew every file by it."""
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
    root: Path,
    unit: Unit,
    array: np.ndarray | None,
    items: pd.DataFrame,
    sources: pd.DataFrame,
    digest: Future[str] | None = None,
) -> None:
    """Write one finished unit: shard, then items, then sources (the mark that it is finished).

    `array` is (N, H, W, C) uint8 or (N, D) float32 or float16 with N = len(items), or None where nothing was accepted or a
    `ShardWriter` has written it; `digest` is then what will be the shard's `file_digest`, where it was begun already.
    `items` needs `source` and `place` (a text that is unique within the source); `sources` has a row per source.
    """
    items = items.reset_index(drop=True)
    if unit.names is not None:
        items, sources = _renamed(items, sources, dict(zip(unit.sources, unit.names, strict=True)))
    if array is not None and len(items):
        if len(array) != len(items):
            raise ValueError(f"{len(array)} arrays for {len(items)} rows in unit {unit.number}")
        write_array(shard_path(root, unit.number), array)
    items["item_id"] = _item_ids(items)
    items["shard"] = np.int32(unit.number)
    items["index"] = np.arange(len(items), dtype=np.int32)
    parts, shard = root / "parts", shard_path(root, unit.number)
    write_table(parts / f"items-{unit.number:05d}.parquet", items)
    found = None
    if len(items) and shard.is_file():
        found = file_digest(shard) if digest is None else digest.result()
    sources = sources.assign(shard_digest=[found if count else None for count in sources["items"]])
    write_table(parts / f"sources-{unit.number:05d}.parquet", with_types(sources, SOURCE_TYPES))


def _renamed(
    items: pd.DataFrame, sources: pd.DataFrame, names: dict[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with the sources' `names`, also as groups (slides) and within reasons."""
    groups = {Path(source).with_suffix("").as_posix(): name for source, name in names.items()} | names
    items = items.assign(source=items["source"].map(names).astype("str"))
    if "group" in items:
        items["group"] = [groups.get(group, group) for group in items["group"]]
    told = {
        source: "|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in (source, Path(source).name))
        for source in names
    }
    reasons = [
        re.sub(told[source], names[source], reason) if isinstance(reason, str) else reason
        for source, reason in zip(sources["source"], sources["reason"], strict=True)
    ]
    return items, sources.assign(source=sources["source"].map(names), reason=reasons)


def finished_units(root: Path) -> list[int]:
    """Numbers of the units whose sources table exists."""
    return sorted(int(path.stem.split("-")[1]) for path in (root / "parts").glob("sources-*.parquet"))


class Parts:
    """The part tables of the finished units, joined; each file is read once, however often the joined tables are wanted.

    A source that was tried again is in several units: the last one counts.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[tuple[str, int], pa.Table] = {}

    def _join(self, name: str) -> tuple[pd.DataFrame, np.ndarray]:
        """(the rows of all units' tables of a name, the unit of each)."""
        numbers = finished_units(self.root)
        for number in numbers:
            if (name, number) not in self._read:
                path = self.root / "parts" / f"{name}-{number:05d}.parquet"
                try:
                    table = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
                except (OSError, ValueError, pa.ArrowException) as error:
                    raise damaged(path, "is damaged (it is no Parquet file, or cut off)", REMEDY) from error
                # without pandas' remarks on types: those of the first table would count for all
                self._read[name, number] = table.replace_schema_metadata(None)
        filled = {number: self._read[name, number] for number in numbers if len(self._read[name, number])}
        if not filled:
            return pd.DataFrame(), np.empty(0, dtype=int)
        joined = pa.concat_tables(filled.values(), promote_options="permissive").to_pandas()
        return joined, np.repeat(list(filled), [len(table) for table in filled.values()])

    def sources(self) -> pd.DataFrame:
        """One row per source, sorted: its last try, with the attempts of all."""
        table, _ = self._join("sources")
        if table.empty:
            return with_types(pd.DataFrame({name: [] for name in SOURCE_TYPES}), SOURCE_TYPES)
        table["attempts"] = table.groupby("source")["attempts"].transform("sum")
        table = table.drop_duplicates("source", keep="last")
        return with_types(table.sort_values("source", kind="stable", ignore_index=True), SOURCE_TYPES)

    def lost(self) -> pd.Series:
        """Of each source that was read once and refused at its last try, how many items it then gave (`items` has none)."""
        table, _ = self._join("sources")
        if table.empty:
            return pd.Series(dtype=int)
        last = table.drop_duplicates("source", keep="last").set_index("source")["state"]
        refused = last.index[last == "refused"]
        given = table[(table["state"] == "done") & (table["items"] > 0) & table["source"].isin(refused)]
        return given.drop_duplicates("source", keep="last").set_index("source")["items"]

    def items(self) -> pd.DataFrame:
        """The items of the sources as they were last read, sorted by source, with unique `item_id`.

        What an earlier try gave is left out, be it that the last one was refused.
        """
        items, _ = self._join("items")
        if items.empty:
            return with_types(pd.DataFrame({name: [] for name in MANIFEST_TYPES}), MANIFEST_TYPES)
        tries, units = self._join("sources")
        last = pd.Series(units, index=tries["source"].to_numpy()).groupby(level=0).last()
        codes, names = pd.factorize(items["source"], sort=True)
        order = np.lexsort((items["index"].to_numpy(), codes))
        current = items["shard"].to_numpy() == last.reindex(names).to_numpy()[codes]
        items = items.take(order[current[order]]).reset_index(drop=True)
        twice = items["item_id"].duplicated(keep=False)
        if twice.any():  # 8 digits collide once in 10^4 large archives
            pairs = items.loc[twice, ["source", "place"]].itertuples(index=False)
            items.loc[twice, "item_id"] = [item_id(source, place, digits=16) for source, place in pairs]
        return with_types(items.drop(columns="place"), MANIFEST_TYPES)


def finalise(root: Path, manifest: pd.DataFrame, description: dict[str, Any], sources: pd.DataFrame) -> None:
    """Write the tables and `store.json` (last, with the manifest's `manifest_digest`), which make the folder a store."""
    path = root / "manifest.parquet"
    write_table(path, with_types(manifest, MANIFEST_TYPES))
    write_table(root / "sources.parquet", sources)
    write_failures(root, sources)
    write_json(root / "store.json", {**description, "manifest_digest": file_digest(path)})


def write_failures(root: Path, sources: pd.DataFrame) -> None:
    """failures.csv: the refused rows of the table of sources."""
    refused = sources[sources["state"] == "refused"]
    write_csv(root / "failures.csv", refused.drop(columns="shard_digest", errors="ignore"))


def read_sources(root: Path) -> pd.DataFrame:
    """The table of sources of a finished store; EsadError where it is missing or damaged."""
    path = root / "sources.parquet"
    table = read_table(path, REMEDY, SOURCE_COLUMNS)
    check_numbers(path, table, ("items", "attempts"), REMEDY)
    check_texts(path, table, ("source", "state", "reason", "fingerprint", "shard_digest"), REMEDY)
    if (
        table[["source", "state"]].isna().any(axis=None)
        or table.loc[table["state"] == "done", "items"].isna().any()
    ):
        raise damaged(path, "is damaged (a row without source, state or number of items)", REMEDY)
    return table if "shard_digest" in table else table.assign(shard_digest=None)  # older than the column


class Store:
    """A finished store, opened read-only.

    `manifest` and `sources` are the tables of the module's docstring; positions passed to `read` are row
    positions of `manifest`.
    """

    def __init__(self, root: Path, whole: bool = True) -> None:
        """Open the store at `root`; UsageError where no such folder is, EsadError where it is no finished store or damaged.

        `whole`: items must have known labels, a name and a place of its shard each, be as many as store.json states,
        and a table's be finite when it is read. Without it, what is not so is for the caller to find.
        """
        self.root = Path(root)
        if not self.root.exists():
            raise UsageError(f"{self.root}: no such folder; expected a store.")
        marker = self.root / "store.json"
        if not marker.is_file():
            begun = (self.root / "parts").is_dir()
            hint = (
                "it was begun but is not finished: run the ingest stage again"
                if begun
                else "make one with an "
            )
            hint += "" if begun else "ingest stage (esad tile, radiographs, images, tables or embeddings)"
            raise EsadError(f"{self.root}: not a store (no store.json); {hint}.")
        self.description: dict[str, Any] = read_description(marker)
        path = self.root / "manifest.parquet"
        self.manifest = read_table(path, REMEDY, MANIFEST_COLUMNS)
        check_manifest(path, self.manifest, whole)
        self._check_names()
        self._shards: dict[int, np.ndarray] = {}
        self._whole = whole
        if whole:
            check_count(path, self.manifest, self.description)
            check_apart(path, self.manifest)
            self.sources  # noqa: B018 - opened now, so that a damaged one is not found in the middle of a stage
            check_places(self.manifest, path, lambda number: len(self.shard(number)))

    def _check_names(self) -> None:
        """EsadError for an item whose name would lead out of a folder: overlays and exports are called by it."""
        names = self.manifest["item_id"].astype("string")
        leading_out = names.str.contains(r"[/\\\0]", regex=True) | names.isin((".", "..", "")) | names.isna()
        if leading_out.any():
            raise EsadError(
                f"{self.root / 'manifest.parquet'}: item_id {names[leading_out].iloc[0]!r} is no name of an item; this store "
                "was not made by esad. Make it anew from its archive."
            )

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.description["kind"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item: (H, W, C) for pictures, (D,) for table rows and embeddings."""
        return tuple(self.description["shape"])

    @property
    def pictures(self) -> bool:
        """Whether the items are pictures, not rows of numbers."""
        return self.kind not in ROWS

    @property
    def of_slides(self) -> bool:
        """Whether the items are tiles of slides, or embeddings of such whose places are known."""
        return self.kind == "tiles" or (self.kind == "embeddings" and set(PLACES) <= set(self.manifest))

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings of the stage that wrote the store."""
        return self.description["settings"]

    @cached_property
    def columns(self) -> list[str]:
        """Names of a table's feature columns, in order; none for pictures."""
        stated = self.sources["columns"].dropna().tolist() if "columns" in self.sources else []
        try:
            names = json.loads(stated[0]) if stated else []
        except (ValueError, TypeError) as error:
            raise damaged(
                self.root / "sources.parquet", "is damaged (columns are no JSON)", REMEDY
            ) from error
        return [str(name) for name in names]

    @cached_property
    def sources(self) -> pd.DataFrame:
        """One row per input file."""
        return read_sources(self.root)

    def __len__(self) -> int:
        return len(self.manifest)

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Shard and place in it of each item: a batch is read many times a second, rows of the manifest are slow."""
        return self.manifest["shard"].to_numpy(), self.manifest["index"].to_numpy()

    def shard(self, number: int) -> np.ndarray:
        """The memory-mapped array of a shard; EsadError where its file is missing, damaged or of another type or shape."""
        array = self._shards.get(number)
        if array is None:
            path = shard_path(self.root, number)
            array = read_array(path, REMEDY, mapped=True)
            check_shard(path, array, self.shape, self.description["dtype"])
            self._shards[number] = array
        return array

    def release(self) -> None:
        """Let go of the shards that are mapped, and of their pages in memory; they are mapped anew when asked for."""
        self._shards = {}

    def read(self, positions: np.ndarray | None = None) -> np.ndarray:
        """Items at `positions` (default all), in that order: uint8 (N, H, W, C) or float32 (N, D), whatever the shards hold.

        EsadError, naming the item, for a row that is not finite (`check_finite`), in a store opened whole.
        """
        shards, places = self._places
        if positions is not None:
            shards, places = shards[positions], places[positions]
        out = np.empty((len(shards), *self.shape), dtype=np.uint8 if self.pictures else np.float32)
        for number in np.unique(shards):
            mask = shards == number
            out[mask] = self.shard(int(number))[places[mask]]
        if self._whole and not self.pictures:

            def where(row: int) -> tuple[Path, str]:
                position = row if positions is None else int(np.arange(len(self))[positions][row])
                return shard_path(self.root, int(shards[row])), str(self.manifest["item_id"].iloc[position])

            check_finite(out, self.settings.get("missing") == "median", where)
        return out
