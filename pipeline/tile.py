"""`esad tile`: slides to a store of stain-normalised tiles, one slide at a time."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from esad.pipeline.ingest.inputs import by_stem, find_sources
from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import run_job
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.slides.camelyon16 import Camelyon16, read_archive
from esad.pipeline.slides.cutting import SlideTask, process_slide
from esad.pipeline.slides.stain_target import target_digest
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say
from esad.preprocessing.store.store import read_sources


def tile(
    inputs: Sequence[Path],
    settings: TileSettings,
    options: IngestOptions,
    annotations: Path | None = None,
    tile_list: Path | None = None,
) -> Outcome:
    """Write the store of tiles.

    With `tile_list`, the published lists of Camelyon16, its tiles are taken instead of a grid, with their split, labels
    and labelled anomalies; slides that it does not name are left out, and those that are missing are counted.

    With `settings.protocol` the slides' names and folders, not a grid and a tissue mask, say which tiles there are; with
    `tile_list` too, the lists do.

    With `annotations`, a folder or zip, outline files go with slides of the same stem. A slide without one counts as normal where
    another slide of the call has one; where none has, the folder is not this archive's and labels stay null.
    Raises UsageError for a missing folder of outlines, two outlines of one slide, or an unusable stain target.
    """
    from esad.preprocessing.slides.reading import is_slide, one_per_series

    if annotations is not None and not annotations.exists():
        raise UsageError(f"--annotations {annotations}: no such folder or zip.")
    if (settings.magnification is None) == (settings.mpp is None):
        raise UsageError("Give one of --magnification and --mpp.")
    archive, found = find_sources(inputs, is_slide, options.out)
    sources = one_per_series(archive, found)
    warnings = []
    if len(sources) < len(found):
        warnings.append(
            f"{len(found) - len(sources)} DICOM files are further parts of slides that are read once."
        )
    listed = protocol = None
    if settings.protocol:
        protocol = read_archive(archive, sources)
        settings = _with_target(settings, protocol, warnings)
    if tile_list is not None:
        sources, listed, told = _listed(tile_list, sources)
        warnings.append(told)
    elif protocol is not None:
        warnings += protocol.told()
    outlines: dict[str, Path] = {}
    if annotations is not None or (protocol is not None and listed is None):
        place = annotations or archive
        outlines = _outlines_of(place, sources)
        warnings.append(_about_outlines(place, len(outlines), len(sources), protocol is not None))
    resolved = settings.model_dump()
    resolved["stain_target"] = target_digest(settings.stain_target, settings.stain)
    resolved["annotations"] = _digest(outlines.values()) if outlines else None
    resolved["tile_list"] = None if tile_list is None else _lists_digest(listed or {})
    resolved["reference"] = _digest([protocol.reference]) if protocol and protocol.reference else None
    if settings.stain_target is not None:  # a worker on another machine may stand in another folder
        settings = settings.model_copy(update={"stain_target": str(Path(settings.stain_target).resolve())})
    threads = max(1, options.workers // max(1, min(options.workers, len(sources))))
    task = SlideTask(archive, settings, outlines, threads, listed, protocol if listed is None else None)
    versions = ("openslide-python", "pillow", "scikit-image", "numba", "shapely", "simplejpeg", "tifffile")
    process = partial(process_slide, task)
    job = Job("tile", "tiles", archive, sources, resolved, process, versions=versions, warnings=warnings)
    return _with_notes(run_job(job, options))


def _with_target(settings: TileSettings, protocol: Camelyon16, warnings: list[str]) -> TileSettings:
    """The protocol's stain target, unless another is given or its slide is not here."""
    if settings.stain_target is not None or settings.stain == "none":
        return settings
    if protocol.target is None:
        slide = protocol.rule.stain_target.slide
        warnings.append(
            f"{slide}, of which the protocol's stain target is a part, is not here: the built-in target."
        )
    return settings.model_copy(update={"stain_target": protocol.target})


def _listed(path: Path, sources: Sequence[str]) -> tuple[list[str], dict[str, pd.DataFrame], str]:
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


def _lists_digest(listed: Mapping[str, pd.DataFrame]) -> str:
    """16 hex digits over the listed tiles of all slides."""
    whole = hashlib.sha256()
    for source in sorted(listed):
        whole.update(listed[source].to_csv(index=False).encode())
    return whole.hexdigest()[:16]


def _outlines_of(folder: Path, sources: Sequence[str]) -> dict[str, Path]:
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


def _about_outlines(folder: Path, matched: int, slides: int, protocol: bool) -> str:
    if protocol:
        return f"{folder}: outlines for {matched} slides."
    if not matched:
        return (
            f"{folder}: no outline file has the stem of any of the {slides} slides, so all labels stay unknown. "
            "Outlines are STEM.xml, .geojson or .json for a slide STEM.tif."
        )
    others = slides - matched
    return f"{folder}: outlines for {matched} slides; {others} slides without one count as normal (label 0)."


def _with_notes(outcome: Outcome) -> Outcome:
    """Say which slides gave no tile, lost tiles, are blurred or kept their stains, and put the counts into the summary."""
    sources = read_sources(outcome.out)
    bare = sources[(sources["state"] == "done") & (sources["items"] == 0)]
    lost = sources[sources["unreadable_tiles"].fillna(0) > 0]
    blurred = sources[sources["focus_note"].notna()]
    guarded = sources[sources["stain_guard"].notna()]
    for source, reason in bare[["source", "reason"]].head(5).itertuples(index=False):
        say(f"{source}: {reason}")
    for source, count in lost[["source", "unreadable_tiles"]].head(5).itertuples(index=False):
        say(f"{source}: {int(count)} tiles could not be read and are left out.")
    for source, note in blurred[["source", "focus_note"]].head(5).itertuples(index=False):
        say(f"{source}: {note}")
    for source, reason in guarded[["source", "stain_guard"]].head(5).itertuples(index=False):
        say(f"{source}: stain: {reason}")
    counts = {
        "left_out": len(bare),
        "unreadable_tiles": int(lost["unreadable_tiles"].sum()),
        "blurred_tiles": int(sources["blurred_tiles"].fillna(0).sum()),
        "blurred": len(blurred),
        "stain_guarded": len(guarded),
    }
    message = outcome.message
    if len(bare):
        message += f" {len(bare)} slides gave no tile (their reason is in sources.parquet)."
    if len(lost):
        message += f" {counts['unreadable_tiles']} tiles of {len(lost)} damaged slides are missing."
    return replace(outcome, message=message, summary={**outcome.summary, **counts})


def _digest(paths: Iterable[Path]) -> str:
    """16 hex digits over names and bytes."""
    from esad.preprocessing.slides.annotations import outline_bytes

    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + outline_bytes(path))
    return whole.hexdigest()[:16]


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["tile", *sys.argv[1:]])
