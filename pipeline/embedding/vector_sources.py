"""The files of vectors of a call, and what goes with them: the slides of an archive, and how precisely vectors are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esad.pipeline.ingest.inputs import find_sources
from esad.pipeline.settings.embeddings import EmbeddingSettings
from esad.pipeline.stage.errors import InputError, UsageError
from esad.preprocessing.embeddings.arrays import Choice
from esad.preprocessing.embeddings.reading import is_vectors, read_head
from esad.preprocessing.embeddings.zarr_store import is_zarr
from esad.preprocessing.slides.outlines.frame import same_name
from esad.preprocessing.store.store import fingerprint

HALF, SINGLE = "float16", "float32"


@dataclass(frozen=True)
class VectorListing:
    """What is known of a call's files before their vectors are read."""

    archive: Path
    sources: list[str]
    folders: dict[str, str]
    """Fingerprints of the sources that are folders (Zarr)."""
    settings: EmbeddingSettings
    """With the precision decided."""
    slides: dict[str, Path]
    """Source -> the slide that its tiles are of."""
    warnings: list[str]

    def slides_digest(self) -> str | None:
        """16 hex digits over which slides go with which sources; None where no archive was named."""
        if not self.slides:
            return None
        told = "\n".join(f"{source}\0{fingerprint(path)}" for source, path in sorted(self.slides.items()))
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def list_vectors(
    inputs: Sequence[Path],
    settings: EmbeddingSettings,
    out: Path,
    archive: Path | None,
    named: bool = True,
) -> VectorListing:
    """Find the files and Zarr folders in `inputs`, and the slides of `archive` that are called as they are.

    UsageError for an archive that is missing or has two slides of one name, EsadError where nothing is found.
    """
    root, found = find_sources(inputs, is_vectors, out, one_source=is_zarr, named=named)
    slides, warnings = slides_of_sources(archive, found, named) if archive is not None else ({}, [])
    settings, told = with_precision(root, found, settings, out)
    folders = {source: folder_fingerprint(root / source) for source in found if (root / source).is_dir()}
    return VectorListing(root, found, folders, settings, slides, [*warnings, *told])


def choice_of(settings: EmbeddingSettings) -> Choice:
    """What a person said of the arrays."""
    return Choice(settings.features, settings.coords)


def slides_of_sources(
    archive: Path, sources: Sequence[str], named: bool = True
) -> tuple[dict[str, Path], list[str]]:
    """Source -> the slide of the same stem, in any case, and what to say of sources that have none."""
    from esad.preprocessing.slides.reading import is_slide

    if not archive.exists():
        raise UsageError(f"--archive {archive}: no such folder.")
    root, slides = find_sources([archive], is_slide, named=named)
    by_name: dict[str, str] = {}
    wanted = {same_name(Path(source).stem) for source in sources}
    for slide in slides:
        name = same_name(Path(slide).stem)
        if name in wanted and name in by_name:
            raise UsageError(
                f"--archive {archive}: two slides are called {name}: {by_name[name]} and {slide}; keep one of them."
            )
        by_name[name] = slide
    found = {
        source: root / by_name[name]
        for source in sources
        if (name := same_name(Path(source).stem)) in by_name
    }
    lacking = len(sources) - len(found)
    told = [
        f"{archive}: has no slide for {lacking} of {len(sources)} files; they are taken by what they say themselves."
    ]
    return found, told if lacking else []


def with_precision(
    root: Path, sources: Sequence[str], settings: EmbeddingSettings, out: Path
) -> tuple[EmbeddingSettings, list[str]]:
    """`settings` with `precision` decided, and what to say of it: as the store `out` was begun, else float16 where all files that
    can be read hold that."""
    if settings.precision != "auto":
        return settings, []
    before, told = _stored_precision(out), []
    if before is None:
        kinds: dict[str, int] = {}
        for source in sources:
            try:
                kind = read_head(root / source, choice_of(settings)).dtype
            except InputError:  # told where it is read
                continue
            kinds[kind] = kinds.get(kind, 0) + 1
        before = HALF if set(kinds) == {HALF} else SINGLE
        if HALF in kinds and len(kinds) > 1:
            told = [f"{kinds[HALF]} of {sum(kinds.values())} files hold float16: all are kept as float32."]
    return settings.model_copy(update={"precision": before}), told


def folder_fingerprint(path: Path) -> str:
    """16 hex digits over the names, sizes and fingerprints of a folder's files; an empty text where it has none."""
    digest, files = hashlib.sha256(), sorted(each for each in path.rglob("*") if each.is_file())
    for each in files:
        digest.update(f"{each.relative_to(path).as_posix()}\0{fingerprint(each)}\n".encode())
    return digest.hexdigest()[:16] if files else ""


def _stored_precision(out: Path) -> str | None:
    path = out / "parts" / "settings.json"
    if not path.is_file() or not any((out / "shards").glob("*.npy")):
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["settings"].get("precision")
    except (ValueError, KeyError, AttributeError, TypeError):  # damaged: whoever opens the store says so
        return None
    return found if found in (HALF, SINGLE) else None
