"""The slides of a call and what goes with them: outlines by stem, published tile lists, a protocol, the stain target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from esad.pipeline.ingest.inputs import by_stem, find_sources
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.settings.ignored import warnings_of_tiles
from esad.pipeline.slides.camelyon16 import Camelyon16, read_archive, with_protocol_target
from esad.pipeline.slides.stain_target import target_digest
from esad.pipeline.stage.errors import EsadError, UsageError


@dataclass(frozen=True)
class SlideListing:
    """What is known of a call's slides before one is opened."""

    archive: Path
    sources: list[str]
    settings: TileSettings
    """With the protocol's stain target, and the target's whole path: a worker may stand in another folder."""
    outlines: dict[str, Path]
    """Slide -> outline file; where it is empty labels are unknown."""
    listed: dict[str, pd.DataFrame] | None
    """Slide -> its rows of the published tile lists, if these were given."""
    protocol: Camelyon16 | None
    warnings: list[str]

    def resolved_settings(self) -> dict[str, Any]:
        """The settings as a store keeps them: of files not their names but what they hold."""
        reference = self.protocol.reference if self.protocol else None
        return {
            **self.settings.model_dump(),
            "stain_target": target_digest(self.settings.stain_target, self.settings.stain),
            "annotations": outlines_digest(self.outlines.values()) if self.outlines else None,
            "tile_list": None if self.listed is None else lists_digest(self.listed),
            "reference": outlines_digest([reference]) if reference else None,
        }


def list_slides(
    inputs: Sequence[Path],
    settings: TileSettings,
    out: Path,
    annotations: Path | None = None,
    tile_list: Path | None = None,
) -> SlideListing:
    """Find the slides of `inputs`, and their outlines, listed tiles and protocol; `out` is no part of the archive.

    Raises UsageError for a missing folder of outlines, two outlines of one slide, a scale that is not one, or an unusable
    stain target, EsadError where a list names no slide that is here.
    """
    from esad.preprocessing.slides.reading import is_slide, one_per_series

    if annotations is not None and not annotations.exists():
        raise UsageError(f"--annotations {annotations}: no such folder or zip.")
    if (settings.magnification is None) == (settings.mpp is None):
        raise UsageError("Give one of --magnification and --mpp.")
    archive, found = find_sources(inputs, is_slide, out)
    sources = one_per_series(archive, found)
    warnings = []
    if len(sources) < len(found):
        warnings.append(
            f"{len(found) - len(sources)} DICOM files are further parts of slides that are read once."
        )
    listed = protocol = None
    if settings.protocol:
        protocol = read_archive(archive, sources)
        settings = with_protocol_target(settings, protocol, warnings)
    if tile_list is not None:
        sources, listed, told = listed_tiles(tile_list, sources)
        warnings.append(told)
    elif protocol is not None:
        warnings += protocol.told()
    outlines: dict[str, Path] = {}
    if annotations is not None or (protocol is not None and listed is None):
        place = annotations or archive
        outlines = outlines_of(place, sources)
        warnings.append(about_outlines(place, len(outlines), len(sources), protocol is not None))
    warnings += warnings_of_tiles(settings, tile_list is not None, bool(outlines))
    target_digest(settings.stain_target, settings.stain)  # an unusable one is told before any slide is opened
    if settings.stain_target is not None:
        settings = settings.model_copy(update={"stain_target": str(Path(settings.stain_target).resolve())})
    return SlideListing(archive, sources, settings, outlines, listed, protocol, warnings)


def listed_tiles(path: Path, sources: Sequence[str]) -> tuple[list[str], dict[str, pd.DataFrame], str]:
    """(the slides that a tile list names, the rows of each, what to say); EsadError where none is here."""
    from esad.preprocessing.splits.published_lists import camelyon16_tiles

    table = camelyon16_tiles(path)
    by_slide = {str(name).lower(): rows for name, rows in table.groupby("slide", sort=True)}
    here = {stem: named for stem, named in by_stem(sources).items() if stem in by_slide}
    if not here:
        raise EsadError(
            f"{path}: names none of the {len(sources)} slides (its first is {table['slide'].iloc[0]})."
        )
    twice = [stem for stem, named in here.items() if len(named) > 1]
    if twice:
        raise UsageError(f"{path}: two slides are called {twice[0]}; keep one of them.")
    listed = {named[0]: by_slide[stem] for stem, named in here.items()}
    tiles = sum(len(rows) for rows in listed.values())
    return (
        list(listed),
        listed,
        f"{path}: {tiles} of its {len(table)} tiles, on {len(listed)} of its {len(by_slide)} slides.",
    )


def lists_digest(listed: Mapping[str, pd.DataFrame]) -> str:
    """16 hex digits over the listed tiles of all slides."""
    whole = hashlib.sha256()
    for source in sorted(listed):
        whole.update(listed[source].to_csv(index=False).encode())
    return whole.hexdigest()[:16]


def parse_outline_classes(pairs: Sequence[str]) -> dict[str, str]:
    """`["DCIS=anomaly"]` -> {"DCIS": "anomaly"}; UsageError for another form or another kind."""
    from esad.preprocessing.slides.annotations import OF_CLASSES

    found = {}
    for pair in pairs:
        name, equals, kind = pair.rpartition("=")
        if not equals or not name.strip() or kind.strip() not in OF_CLASSES:
            raise UsageError(
                f"--outline-class {pair!r}: expected NAME=KIND with KIND one of {', '.join(OF_CLASSES)}, for example "
                "DCIS=anomaly."
            )
        found[name.strip()] = kind.strip()
    return found


def outlines_of(folder: Path, sources: Sequence[str]) -> dict[str, Path]:
    """Slide -> outline file of the same stem (any case); UsageError where two slides have the stem of one file."""
    from esad.preprocessing.slides.annotations import find_outlines

    named, found = by_stem(sources), {}
    for stem, path in find_outlines(folder, named).items():
        slides = named[stem]
        if len(slides) > 1:
            raise UsageError(
                f"{path}: {slides[0]} and {slides[1]} both have its name, and it can outline only one of them. Tile "
                "their folders apart, each with its own outlines."
            )
        found[slides[0]] = path.absolute()
    return found


def about_outlines(folder: Path, matched: int, slides: int, protocol: bool) -> str:
    """What to say of the outlines that were found, and of slides without one."""
    if protocol:
        return f"{folder}: outlines for {matched} slides."
    if not matched:
        return (
            f"{folder}: no outline file has the stem of any of the {slides} slides, so all labels stay unknown. "
            "Outlines are STEM.xml, .geojson or .json for a slide STEM.tif."
        )
    return (
        f"{folder}: outlines for {matched} of {slides} slides; those without one count as normal (label 0)."
    )


def outlines_digest(paths: Iterable[Path]) -> str:
    """16 hex digits over names and bytes."""
    from esad.preprocessing.slides.annotations import outline_bytes

    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + outline_bytes(path))
    return whole.hexdigest()[:16]
