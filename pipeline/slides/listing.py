"""The slides of a call and what goes with them: outlines by stem, published tile lists, a protocol, the stain target."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from esad.pipeline.ingest.inputs import by_stem, find_sources, parse_kinds
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.settings.ignored import warnings_of_tiles
from esad.pipeline.slides.camelyon16 import Camelyon16, read_archive, with_protocol_target
from esad.pipeline.slides.notes import Outlined, about_others, about_outlines, about_unread
from esad.pipeline.slides.stain_target import target_digest
from esad.pipeline.stage.errors import EsadError, InputError, UsageError

if TYPE_CHECKING:
    from esad.preprocessing.slides.series import SlideSeries

MASK = re.compile(r"(.+)[ _-](?:masks?|gt|seg|segmentations?)", re.IGNORECASE)
"""Names of rasters that say where a slide's lesions are: SLIDE_mask, Camelyon's SLIDE_Mask."""
HEAT_MAPS = ("_likelihood_map.tif", "_likelihood_map.tiff")
"""Endings of pictures that lie beside a slide and are drawn over it; OpenSlide opens them as slides."""


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
    unread: frozenset[str]
    """Slides that have a file of outlines, it seems, of an ending that is not read or of nearly their name: their labels are unknown."""
    series: SlideSeries
    """Which DICOM files are copies, or share UIDs by mistake."""

    def outlined(self) -> Outlined | None:
        """What notes on outlines need to know; None where labels come from elsewhere, or there are no outlines."""
        if not self.outlines or self.listed is not None or self.protocol is not None:
            return None
        without = len(self.sources) - len(self.outlines) - len(self.unread)
        labels = self.settings.labels
        return Outlined(without, labels.without_outlines, tuple(labels.outline_classes))

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
    anonymous: bool = False,
) -> SlideListing:
    """Find the slides of `inputs`, and their outlines, listed tiles and protocol; `out` is no part of the archive.

    With `anonymous` what is said names no file. Raises UsageError for a missing folder of outlines, two outlines of
    one slide, a zip of outlines that cannot be read, a scale that is not one, or an unusable
    stain target, EsadError where a list names no slide that is here.
    """
    from esad.preprocessing.slides.reading import is_slide
    from esad.preprocessing.slides.series import slides_of

    if annotations is not None and not annotations.exists():
        raise UsageError(f"--annotations {annotations}: no such folder or zip.")
    if (settings.magnification is None) == (settings.mpp is None):
        raise UsageError("Give one of --magnification and --mpp.")
    archive, found = find_sources(inputs, is_slide, out, named=not anonymous)
    slides = [source for source in found if not source.lower().endswith(HEAT_MAPS)]
    heat_maps, masks = len(found) - len(slides), _masks_of(slides)
    slides = [source for source in slides if source not in masks]
    series = slides_of(archive, slides)
    sources, warnings = series.sources, []
    if heat_maps:
        warnings.append(
            f"Left out as heat maps, by the ending that ASAP and `esad annotations` give them ({HEAT_MAPS[0]}): {heat_maps}."
        )
    if masks:
        warnings.append(
            f"Left out as masks of other slides, by their names (SLIDE_mask): {len(masks)}. Masks are not read: their tiles get no "
            "label from them."
        )
    if series.parts:
        warnings.append(f"{series.parts} DICOM files are further parts of slides that are read once.")
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
    unread: dict[str, Path] = {}
    if annotations is not None or (protocol is not None and listed is None):
        place = annotations or archive
        outlines, others, unread = outlines_of(place, sources, archive)
        unread |= _masked(masks, sources, archive, outlines)
        if protocol is not None:
            unread = {}  # lists and names of the archive say which slides are normal
            warnings.append(f"{place}: outlines for {len(outlines)} slides.")
        else:
            warnings += about_outlines(place, len(outlines), len(sources), settings.labels.without_outlines)
            warnings += about_others(others, not anonymous)
            warnings += about_unread(unread, not anonymous)
    _check_outlines_kept(out, bool(outlines))
    warnings += warnings_of_tiles(settings, tile_list is not None, bool(outlines))
    target_digest(settings.stain_target, settings.stain)  # an unusable one is told before any slide is opened
    if settings.stain_target is not None:
        settings = settings.model_copy(update={"stain_target": str(Path(settings.stain_target).resolve())})
    return SlideListing(
        archive, sources, settings, outlines, listed, protocol, warnings, frozenset(unread), series
    )


def _check_outlines_kept(out: Path, given: bool) -> None:
    """UsageError where no outlines are `given`, but the store that is there was labelled by some: its tiles would lose their labels."""
    if given:
        return
    try:
        settings = json.loads((out / "store.json").read_text(encoding="utf-8"))["settings"]
        outlined = settings["annotations"] is not None
    except (OSError, ValueError, KeyError, TypeError):  # nothing there, or it is told where it is read
        return
    if outlined:
        raise UsageError(
            f"{out}: its tiles are labelled by outlines, and this command names none: give --annotations again. Remove the folder first "
            "if they are to count no more."
        )


def _masks_of(slides: Sequence[str]) -> dict[str, str]:
    """Those that are called as the mask of another one -> the other's stem, lower case."""
    stems = set(by_stem(slides))
    named = {source: MASK.fullmatch(Path(source).stem) for source in slides}
    return {
        source: found[1].lower() for source, found in named.items() if found and found[1].lower() in stems
    }


def _masked(
    masks: Mapping[str, str], sources: Sequence[str], archive: Path, outlines: Mapping[str, Path]
) -> dict[str, Path]:
    """Slide without outlines -> its mask (`_masks_of`), which is not read, so that its tiles are not known to be normal."""
    named = by_stem(sources)
    found = {slide: archive / mask for mask, stem in masks.items() for slide in named.get(stem, [])}
    return {slide: mask for slide, mask in found.items() if slide not in outlines}


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
    from esad.preprocessing.slides.outlines.areas import OF_CLASSES

    return parse_kinds("--outline-class", pairs, OF_CLASSES, "DCIS=anomaly")


def outlines_of(
    folder: Path, sources: Sequence[str], archive: Path
) -> tuple[dict[str, Path], dict[Path, list[str]], dict[str, Path]]:
    """(slide -> outline file of the same stem (any case), each file that is of no slide -> slides that its name may mean, slide -> file of
    its name, or nearly, that is not read); UsageError where two slides have the stem of one file."""
    from esad.preprocessing.slides.outlines.finding import match_outlines

    named, found = by_stem(sources), {}
    own = {(archive / source).resolve() for source in sources}
    matches = match_outlines(folder, named, own)
    for stem, path in matches.files.items():
        slides = named[stem]
        if len(slides) > 1:
            raise UsageError(
                f"{path}: {slides[0]} and {slides[1]} both have its name, and it can outline only one of them. Tile "
                "their folders apart, each with its own outlines."
            )
        found[slides[0]] = path.absolute()
    unread = {slide: path for stem, path in matches.unread.items() for slide in named[stem]}
    others = {
        path: sorted(slide for stem in matches.vague.get(path, ()) for slide in named[stem])
        for path in matches.others
    }
    return found, others, unread


def outlines_digest(paths: Iterable[Path]) -> str:
    """16 hex digits over names and bytes; a file that cannot be read, whose slide is refused, counts by its name."""
    from esad.preprocessing.slides.outlines.reading import outline_bytes

    whole = hashlib.sha256()
    for path in sorted(set(paths)):
        whole.update(path.name.encode())
        with contextlib.suppress(InputError):
            whole.update(outline_bytes(path))
    return whole.hexdigest()[:16]
