"""The stages as functions for a notebook: paths in, an opened STORE, RUN or table out.

Each does what the command of its name does, continues what is there, and takes settings as keywords under the names of
`docs/reference/settings.md`. Errors for people are `esad.EsadError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    import pandas as pd

    from esad.pipeline.ingest.job import IngestOptions
    from esad.pipeline.runs.run_folder import Run
    from esad.pipeline.training.engine import Handler
    from esad.preprocessing.store.store import Store

    PathLike = str | os.PathLike[str]


def tile(
    slides: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    annotations: PathLike | None = None,
    tile_list: PathLike | None = None,
    labels: PathLike | None = None,
    workers: int = 1,
    force: bool = False,
    **settings: Any,
) -> Store:
    """Cut slides into stain-normalised tiles: a STORE of uint8 (H, W, 3) tiles at `out`.

    `slides`: files or folders. `annotations`: a folder of outlines named as their slides. `labels`: a CSV of source,
    label, split and group. `tile_list`: published lists of tiles, instead of a grid. `settings`: those of `TileSettings`,
    for example magnification=10, tile_size=64 pixels, stain="vahadane", and min_fraction=0.5 of `labels`. Raises
    EsadError where no slide gives a tile, UsageError (its subclass) for a wrong setting.
    """
    from esad.pipeline.ingest.request import ingest_settings
    from esad.pipeline.settings.config import TileSettings
    from esad.pipeline.tile import tile as stage

    if "min_fraction" in settings:
        settings["labels.min_fraction"] = settings.pop("min_fraction")
    chosen = ingest_settings(TileSettings, {}, None, settings)
    outlines, listed = (Path(path) if path is not None else None for path in (annotations, tile_list))
    options = _options(out, labels, workers, force)
    return open_store(stage(_paths(slides), chosen, options, outlines, listed).out)


def radiographs(
    pictures: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    metadata: PathLike | None = None,
    labels: PathLike | None = None,
    workers: int = 1,
    force: bool = False,
    **settings: Any,
) -> Store:
    """Crop and reduce PNG and DICOM radiographs: a STORE of uint8 (size, size, 1) squares at `out`.

    `metadata`: NIH's Data_Entry CSV or the folder of it. `settings`: those of `RadiographSettings`, for example
    projection="PA", size=64 pixels. Raises EsadError where no radiograph is kept.
    """
    from esad.pipeline.ingest.request import ingest_settings
    from esad.pipeline.radiographs import radiographs as stage
    from esad.pipeline.settings.config import RadiographSettings

    chosen = ingest_settings(RadiographSettings, {}, None, settings)
    known = Path(metadata) if metadata is not None else None
    return open_store(stage(_paths(pictures), chosen, _options(out, labels, workers, force), known).out)


def images(
    pictures: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    labels: PathLike | None = None,
    workers: int = 1,
    force: bool = False,
    **settings: Any,
) -> Store:
    """Read npz, class folders, zips of them, idx, CIFAR's batches or Parquet: a STORE of uint8 (H, W, C) pictures at `out`.

    `settings`: those of `ImageSettings`, for example size=64 pixels. Raises EsadError for pictures of mixed sizes.
    """
    from esad.pipeline.images import images as stage
    from esad.pipeline.ingest.request import ingest_settings
    from esad.pipeline.settings.config import ImageSettings

    chosen = ingest_settings(ImageSettings, {}, None, settings)
    return open_store(stage(_paths(pictures), chosen, _options(out, labels, workers, force)).out)


def tables(
    files: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    labels: PathLike | None = None,
    force: bool = False,
    **settings: Any,
) -> Store:
    """Read npz, mat, csv or parquet: a STORE of float32 (D,) rows, raw values, at `out`.

    `settings`: those of `TableSettings`, the names of columns: label="y", group="group", split="split".
    Raises EsadError for tables of different columns.
    """
    from esad.pipeline.ingest.request import ingest_settings
    from esad.pipeline.settings.config import TableSettings
    from esad.pipeline.tables import tables as stage

    chosen = ingest_settings(TableSettings, {}, None, settings)
    return open_store(stage(_paths(files), chosen, _options(out, labels, 1, force)).out)


def embeddings(
    files: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    archive: PathLike | None = None,
    labels: PathLike | None = None,
    workers: int = 1,
    force: bool = False,
    **settings: Any,
) -> Store:
    """Read feature vectors from HDF5 (CLAM, TRIDENT), npy, npz, Parquet or Zarr: a STORE of float16 or float32 (D,) vectors at `out`.

    `archive`: folder of the slides that they are of. `settings`: those of `EmbeddingSettings`, for example tile_side=512 level-0
    pixels. Raises EsadError where some files say where their tiles lie and others do not.
    """
    from esad.pipeline.embeddings import embeddings as stage
    from esad.pipeline.ingest.request import ingest_settings
    from esad.pipeline.settings.embeddings import EmbeddingSettings

    chosen = ingest_settings(EmbeddingSettings, {}, None, settings)
    slides = Path(archive) if archive is not None else None
    return open_store(stage(_paths(files), chosen, _options(out, labels, workers, force), slides).out)


def embed(
    store: PathLike | Store,
    encoder: PathLike,
    out: PathLike,
    *,
    device: str = "auto",
    force: bool = False,
    **settings: Any,
) -> Store:
    """Send the pictures of a STORE through a frozen encoder: a STORE of float16 or float32 (D,) vectors at `out`, row by row.

    `encoder`: imagenet, or a file of ONNX or of weights. `settings`: those of `EncoderSettings`, for example size=64 pixels or
    layers=["stage3", "stage5"]. Raises EsadError for an encoder that is not here or does not say what it needs.
    """
    from esad.pipeline.embed import embed as stage
    from esad.pipeline.settings.config import resolve
    from esad.pipeline.settings.embeddings import EncoderSettings

    root = _root(store)
    return open_store(
        stage(root, str(encoder), Path(out), resolve(EncoderSettings, settings), device, force).out
    )


def train(
    store: PathLike | Store,
    out: PathLike,
    *,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    handlers: Sequence[Handler] = (),
    force: bool = False,
) -> Run:
    """Train a detector on a STORE: a RUN at `out`, opened. In short for `Trainer(store, settings, …).run(out)`.

    `preset`: paper, cpu or demo; None = what works best here for the kind of data. `settings`: dotted names, for example
    {"seed": 1, "train.epochs": 5, "device": "cpu"}. `handlers`: MONAI's or ignite's. Raises EsadError where the data or
    settings give no model.
    """
    from esad.trainer import Trainer

    return Trainer(store, settings, preset=preset, handlers=handlers).run(out, force=force)


def score(
    run: PathLike | Run,
    store: PathLike | Store | None = None,
    out: PathLike | None = None,
    *,
    overlays: str | None = None,
    device: str | None = None,
    force: bool = False,
) -> pd.DataFrame:
    """Score the items of a STORE (None = the run's own), and draw heat overlays: the table of scores.

    A row an item: item_id, score (higher is more abnormal), percentile (among held-out normals, in [0, 1)), the
    terms of the score, label and part where they are known. The folder is RUN/scores/<store name> unless `out` says.
    Raises EsadError where the store was made with other settings than the run's.
    """
    import pandas as pd

    from esad.pipeline.score import score as stage

    place = _root(store) if store is not None else None
    folder = Path(out) if out is not None else None
    done = stage(_root(run), place, folder, overlays, device, force).out
    return pd.read_parquet(done / "scores.parquet")


def evaluate(
    run_or_scores: PathLike | Run,
    *,
    annotations: PathLike | None = None,
    reference: PathLike | None = None,
) -> dict[str, Any]:
    """Figures of a RUN's or SCORES folder's items whose label is known: the content of metrics.json.

    `auc` and `average_precision` in [0, 1] (None where a class is missing) with intervals by group; of slides FROC, if
    `annotations` (a folder of outlines) are given. `reference`: Camelyon16's reference.csv, labels of slides.
    Raises EsadError where nothing is scored yet.
    """
    from esad.pipeline.evaluate import evaluate as stage

    outlines, labels = (Path(path) if path is not None else None for path in (annotations, reference))
    return stage(_root(run_or_scores), outlines, labels).summary


def report(*runs: PathLike | Run, out: PathLike | None = None) -> Path:
    """Write one HTML page of the scores of `runs`; returns its path."""
    from esad.pipeline.report import report as stage

    return stage([_root(run) for run in runs], Path(out) if out is not None else None).out


def open_store(path: PathLike) -> Store:
    """Open a STORE: `.manifest` (a row an item), `.read(positions)` (an array). EsadError where it is none."""
    from esad.preprocessing.store.store import Store

    return Store(Path(path))


def open_run(path: PathLike) -> Run:
    """Open a finished RUN: `.settings`, `.assignments`, `.normals`, `.method(device)`. EsadError where it is none."""
    from esad.pipeline.runs.run_folder import open_run as opened

    return opened(Path(path))


def _options(out: PathLike, labels: PathLike | None, workers: int, force: bool) -> IngestOptions:
    from esad.pipeline.ingest.job import IngestOptions

    return IngestOptions(
        Path(out), Path(labels) if labels is not None else None, force=force, workers=workers
    )


def _paths(given: PathLike | Sequence[PathLike]) -> list[Path]:
    one = isinstance(given, str) or hasattr(given, "__fspath__")
    return [Path(path) for path in ([given] if one else given)]  # type: ignore[list-item,union-attr,arg-type]


def _root(given: Any) -> Path:
    """The folder of a path, or of an opened STORE or RUN."""
    import os

    return Path(given if isinstance(given, (str, os.PathLike)) else given.root)  # a Path has a root, too
