"""The tables of a store of embeddings that another store's items became: its rows, labels, groups, places and slides."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from esad.pipeline.runs.run_folder import input_settings
from esad.pipeline.stage.outcome import Outcome
from esad.preprocessing.store.store import (
    Store,
    file_digest,
    finalise,
    shard_path,
    write_atomically,
)

if TYPE_CHECKING:
    from esad.models.encoders.encoder import Encoder
    from esad.models.encoders.request import EncoderRequest

LEFT = ("mask_picture", "stain_sheet")
"""Columns of sources.parquet that name pictures of the stage before."""


def embedded_settings(store: Store, encoder: Encoder, precision: str) -> dict[str, Any]:
    """The settings of the new store: those of the source store, and of the encoder what a run compares (INPUT_SETTINGS)."""
    return {
        **store.settings, "of": {"kind": store.kind, **input_settings(store.kind, store.settings)}, "encoder": encoder.described(),
        "layers": list(encoder.layers), "input": encoder.preparation.described(), "precision": precision,
    }  # fmt: skip


def write_embedded(
    store: Store, out: Path, settings: dict[str, Any], width: int, precision: str, asked: EncoderRequest
) -> None:
    """The manifest in the source store's order, its sources with the slides' tiles, thumbnails, and store.json, last.

    `asked` is where the encoder was, so that overlays can go through it again.
    """
    manifest, sources = store.manifest.copy(), store.sources.copy()
    manifest["index"] = manifest.groupby("shard").cumcount().astype("int32")
    digests = {number: file_digest(shard_path(out, int(number))) for number in manifest["shard"].unique()}
    of_source = manifest.drop_duplicates("source").set_index(
        manifest.drop_duplicates("source")["source"].astype(str)
    )["shard"]
    sources["shard_digest"] = sources["source"].astype(str).map(of_source).map(digests).astype("string")
    sources = _with_tiles(sources.drop(columns=[name for name in LEFT if name in sources]), store)
    _copy_thumbnails(store.root, out, sources)
    finalise(out, manifest, {
        "kind": "embeddings", "stage": "embed", "shape": [width], "dtype": precision, "settings": settings, "items": len(manifest),
        "inputs": store.description["inputs"], "made_of": {**made_of(store), "request": asdict(asked)},
        "versions": {name: version(name) for name in ("esad", "numpy", "pandas", "torch")},
    }, sources)  # fmt: skip


def made_of(store: Store) -> dict[str, Any]:
    """Which store the vectors were made of: its place, and the digest of its manifest (None for a store of an earlier version)."""
    return {"path": str(store.root.resolve()), "manifest": store.description.get("manifest_digest")}


def embed_outcome(store: Store, out: Path, encoder: Encoder, verb: str) -> Outcome:
    """What was embedded, in a line and as counts."""
    made = Store(out)
    message = f"{verb} {out}: {len(made)} {store.kind} of {store.root.name} as vectors of {made.shape[0]} numbers by {encoder.name}."
    if encoder.note:
        message += f" {encoder.note}."
    summary = {"items": len(made), "width": made.shape[0], "encoder": encoder.described()}
    return Outcome(out, message, f"esad train {out} --out {out.with_name(out.name + '-run')}", 0, summary)


def _with_tiles(sources: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Side and step of a slide's tiles in level-0 pixels, which a store of tiles has in its settings."""
    if store.kind != "tiles":
        return sources
    down, size = sources["mpp"] / sources["slide_mpp"], store.settings["tile_size"]
    return sources.assign(tile_side=size * down, tile_step=(store.settings["step"] or size) * down)


def _copy_thumbnails(root: Path, out: Path, sources: pd.DataFrame) -> None:
    for name in sources["thumbnail"].dropna().astype(str) if "thumbnail" in sources else []:
        source, target = (root / name).resolve(), out / name
        if source.is_relative_to(root.resolve()) and source.is_file() and not target.is_file():
            write_atomically(target, partial(shutil.copyfile, source))
