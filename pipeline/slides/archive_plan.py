"""`esad plan ARCHIVE`: what `esad tile` would make of an archive of slides, from their headers and a quick probe."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.ingest.inputs import find_sources
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.stage.errors import InputError, NothingToKeep
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import progress, say, show_table
from esad.preprocessing.gate.refusals import NOWHERE, leads_nowhere

if TYPE_CHECKING:
    from esad.pipeline.slides.cutting import SlideTask
    from esad.preprocessing.slides.headers import LevelHeader
    from esad.preprocessing.slides.reading import Slide
    from esad.preprocessing.slides.tile_reader import TileReader

TISSUE_SHARE = 0.2
"""Share of a slide's places that hold tissue, where nobody looks: on Camelyon16 82 % of a slide is background (Wang et
al. 2016, arXiv 1606.05718). A slide that is a piece of tissue has more."""
PROBED_SLIDES = 3
"""So many slides of each reader are probed for the time,"""
PROBED_TILES = 64
"""with so many tiles from the middle of each."""
WORK_SECONDS = 0.08
"""A core's time for what the stage does beside reading (stains, sharpness, store), per megapixel of tiles: measured by
benchmarks/tiling.py on the machine that this was written on, as is"""
SLIDE_SECONDS = 1.0
"""the time for a slide's overview, masks, fit and pictures."""
MOST_PROBLEMS_SAID = 20


@dataclass
class SlidePlan:
    """What is known of one slide; `problem` says in a word why it cannot be used, `reason` in a sentence."""

    source: str
    bytes: int
    problem: str | None = None
    reason: str | None = None
    vendor: str | None = None
    mpp: float | None = None
    level: int | None = None
    reduction: float | None = None
    tile_mpp: float | None = None
    reader: str | None = None
    note: str | None = None
    """What was assumed of the file."""
    tiles_at_most: int = 0
    tiles_expected: int = 0
    levels: list[LevelHeader] = field(default_factory=list)
    seconds_a_tile: float | None = None
    """Of reading, where the slide was probed."""

    @property
    def compression(self) -> str:
        """Of the level that tiles come from."""
        return self.levels[self.level].compression if self.level is not None and self.levels else ""

    def as_json(self) -> dict[str, Any]:
        """Everything but the probe."""
        whole = asdict(self)
        del whole["seconds_a_tile"]
        return {**whole, "compression": self.compression or None}


def plan_archive(
    inputs: Sequence[Path], settings: TileSettings, look: bool = False, workers: int = 1
) -> Outcome:
    """Predict tiles, size and time of the store that these slides would make; list what cannot be used, and why.

    Opens headers, one pixel of each level, and PROBED_TILES tiles of a few slides; `look` reads every slide's overview
    too and counts places with tissue as the tile stage does. Refused of the outcome are the slides with a problem.
    Raises what `find_sources` raises.
    """
    from esad.preprocessing.slides.reading import is_slide
    from esad.preprocessing.slides.series import slides_of

    archive, found = find_sources(inputs, is_slide)
    series = slides_of(archive, found)
    sources = [source for source in series.sources if source not in series.copies]
    probes: dict[str, int] = {}
    plans = []
    with progress("plan", len(sources)) as bar:
        for source in sources:
            refused = series.refused.get(source)
            plans.append(_plan_slide(archive, source, settings, look, probes, refused))
            bar.advance()
    usable = [slide for slide in plans if slide.problem is None]
    summary = _summary(plans, usable, settings, look, workers)
    _show(usable, [slide for slide in plans if slide.problem is not None])
    command = shlex.join(["esad", "tile", *map(str, inputs), "--out", "tiles"]) if usable else ""
    return Outcome(archive, _message(summary), command, len(plans) - len(usable), summary)


def _plan_slide(
    archive: Path,
    source: str,
    settings: TileSettings,
    look: bool,
    probes: dict[str, int],
    refused: str | None,
) -> SlidePlan:
    """One slide's plan; a fault of the slide is its problem. `probes` counts the probed slides of each reader.

    `refused`: why the slide is not opened at all.
    """
    from esad.preprocessing.slides.readers.probe import probe_slide
    from esad.preprocessing.slides.reading import Slide, UnknownScale

    path = archive / source
    planned = SlidePlan(source, path.stat().st_size if path.is_file() else 0)
    if leads_nowhere(path):
        planned.problem, planned.reason = "unreadable", f"{path.name}: {NOWHERE}"
        return planned
    if refused is not None:
        planned.problem, planned.reason = "same UIDs", refused
        return planned
    try:
        probe_slide(archive / source)
        with Slide(archive / source, settings.slide_mpp) as slide:
            _describe(planned, slide, settings, probes)
            if planned.problem is None:
                planned.tiles_expected = _expected(planned, slide, settings, look)
    except UnknownScale as error:
        planned.problem, planned.reason = "no mpp", str(error)
    except InputError as error:
        planned.problem, planned.reason = "unreadable", str(error)
    return planned


def _describe(planned: SlidePlan, slide: Slide, settings: TileSettings, probes: dict[str, int]) -> None:
    """Fill in levels, reader and places for tiles, or the problem."""
    from esad.pipeline.slides.cutting import grid_plan
    from esad.preprocessing.slides.headers import level_headers
    from esad.preprocessing.slides.tile_reader import TileReader
    from esad.preprocessing.slides.tiling import grid_size

    planned.vendor, planned.mpp = slide.format, slide.mpp
    planned.note = "; ".join(slide.notes) or None
    planned.levels = level_headers(slide)
    try:
        plan = grid_plan(slide, settings)
    except InputError as error:
        planned.problem, planned.reason = "too coarse", str(error)
        return
    planned.level, planned.reduction, planned.tile_mpp = plan.level, plan.reduction, plan.mpp
    if not planned.levels[plan.level].readable:
        planned.problem = "unreadable level"
        planned.reason = (
            f"{slide.path.name}: the middle of level {plan.level}, which tiles come from, cannot be read; the tile stage "
            "takes what it can read elsewhere."
        )
        return
    step = settings.step or settings.tile_size
    across, down = grid_size(slide.width, slide.height, plan.downsample, settings.tile_size, step)
    if not across * down:
        planned.problem = "too small"
        planned.reason = f"{slide.path.name}: smaller than one tile of {settings.tile_size} pixels."
        return
    planned.tiles_at_most = across * down
    with TileReader(slide, plan, settings.tile_size, tolerance=settings.scaled_decode) as reader:
        planned.reader = slide.reader if reader.level is None else "jpeg"
        if probes.get(planned.reader, 0) < PROBED_SLIDES:
            probes[planned.reader] = probes.get(planned.reader, 0) + 1
            planned.seconds_a_tile = _probe(reader, across, down, step * plan.downsample)


def _probe(reader: TileReader, across: int, down: int, spacing: float) -> float:
    """Seconds a tile that reading took, one thread, of up to PROBED_TILES from the middle of a grid."""
    import numpy as np

    side = round(PROBED_TILES**0.5)
    columns, rows = (
        np.arange(max(0, count // 2 - side // 2), min(count, count // 2 + side // 2))
        for count in (across, down)
    )
    corners = np.floor(np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2) * spacing + 1e-6).astype(
        np.int64
    )
    started = time.perf_counter()
    reader.read_all(corners)
    return (time.perf_counter() - started) / len(corners)


def _expected(planned: SlidePlan, slide: Slide, settings: TileSettings, look: bool) -> int:
    """How many tiles the stage would take: those with tissue on the overview, or what is usual."""
    from esad.pipeline.slides.cutting import SlideTask, grid_plan, places_of_tiles, slide_overview

    if settings.min_tissue == 0:
        return planned.tiles_at_most
    if not look:
        return round(planned.tiles_at_most * TISSUE_SHARE)
    task = SlideTask(slide.path.parent, settings, {})
    try:
        boxes, _, _ = places_of_tiles(
            task, slide.path.name, slide, grid_plan(slide, settings), slide_overview(slide)
        )
    except NothingToKeep:
        return 0
    return len(boxes)


def _summary(
    plans: Sequence[SlidePlan], usable: Sequence[SlidePlan], settings: TileSettings, look: bool, workers: int
) -> dict[str, Any]:
    """The object that `--json` prints."""
    tile_bytes = 3 * settings.tile_size**2
    at_most, expected = (sum(slide.tiles_at_most for slide in usable), sum(s.tiles_expected for s in usable))
    share = "every place" if settings.min_tissue == 0 else f"{TISSUE_SHARE:.0%} of all places, assumed"
    return {
        "slides": len(plans),
        "usable": len(usable),
        "bytes": sum(slide.bytes for slide in plans),
        "tiles_at_most": at_most,
        "tiles_expected": expected,
        "expected_from": "the slides' overviews" if look else share,
        "gigabytes_at_most": round(at_most * tile_bytes / 1e9, 3),
        "gigabytes": round(expected * tile_bytes / 1e9, 3),
        "seconds": round(_seconds(usable, settings.tile_size) / workers, 1),
        "seconds_from": f"reading up to {PROBED_TILES} tiles of {PROBED_SLIDES} slides here, and {WORK_SECONDS} s a megapixel "
        f"and {SLIDE_SECONDS} s a slide for the rest",
        "workers": workers,
        "readers": _counted(str(slide.reader) for slide in usable),
        "compressions": _counted(slide.compression or "unknown" for slide in usable),
        "problems": [
            {"source": slide.source, "problem": slide.problem, "reason": slide.reason}
            for slide in plans
            if slide.problem is not None
        ],
        "per_slide": [slide.as_json() for slide in plans],
    }


def _seconds(usable: Sequence[SlidePlan], tile_size: int) -> float:
    """Of one core, for all slides; the reading of slides that were not probed takes what their reader took elsewhere."""
    probed: dict[str | None, list[float]] = {}
    for slide in usable:
        if slide.seconds_a_tile is not None:
            probed.setdefault(slide.reader, []).append(slide.seconds_a_tile)
    reading = {reader: sum(times) / len(times) for reader, times in probed.items()}
    work = WORK_SECONDS * tile_size**2 / 1e6
    return sum(SLIDE_SECONDS + slide.tiles_expected * (reading[slide.reader] + work) for slide in usable)


def _counted(words: Iterable[str]) -> dict[str, int]:
    """Word -> how often, the most frequent first."""
    return dict(Counter(sorted(words)).most_common())


def _show(usable: Sequence[SlidePlan], problems: Sequence[SlidePlan]) -> None:
    """What the slides have in common as a table, and the problems, for people."""
    groups: dict[tuple[str, ...], list[SlidePlan]] = {}
    for slide in usable:
        level = f"{slide.level}" if slide.reduction == 1 else f"{slide.level}, 1/{slide.reduction:.3g}"
        key = (
            slide.vendor or "plain picture", f"{slide.mpp:.3g}", level, f"{slide.tile_mpp:.3g}", slide.compression, str(slide.reader)
        )  # fmt: skip
        groups.setdefault(key, []).append(slide)
    if groups:
        columns = (
            "slides", "vendor", "um/px", "from level", "tiles' um/px", "compression", "read by", "tiles at most", "expected"
        )  # fmt: skip
        rows = [
            (
                str(len(group)), *key, f"{sum(slide.tiles_at_most for slide in group):,}",
                f"{sum(slide.tiles_expected for slide in group):,}",
            )
            for key, group in sorted(groups.items(), key=lambda pair: -len(pair[1]))
        ]  # fmt: skip
        show_table(columns, rows)
    odd = [slide.source for slide in usable if not all(level.readable for level in slide.levels)]
    if odd:
        say(
            f"{len(odd)} slides have a level that cannot be read beside the one that tiles come from (first: {odd[0]})."
        )
    for slide in problems[:MOST_PROBLEMS_SAID]:
        reason = str(slide.reason).removeprefix(f"{Path(slide.source).name}: ")
        say(f"{slide.source}: {slide.problem}: {reason}")
    if len(problems) > MOST_PROBLEMS_SAID:
        say(f"and {len(problems) - MOST_PROBLEMS_SAID} more; --json lists them all.")


def _message(summary: dict[str, Any]) -> str:
    from rich.filesize import decimal

    minutes, bad = summary["seconds"] / 60, summary["slides"] - summary["usable"]
    told = (
        f"{summary['usable']} of {summary['slides']} slides ({decimal(summary['bytes'])}) can be tiled: at most "
        f"{summary['tiles_at_most']:,} tiles, about {summary['tiles_expected']:,} ({summary['expected_from']}), "
        f"{decimal(int(1e9 * summary['gigabytes']))}, {_duration(minutes)} with {summary['workers']} processes."
    )
    return told + (f" {bad} cannot be used as they are." if bad else "")


def _duration(minutes: float) -> str:
    """In the largest unit that leaves more than one of it."""
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes:.0f} min" if minutes < 120 else f"about {minutes / 60:.1f} h"


STAINTOOLS_SECONDS = {64: 1.011, 512: 1.226, 2048: 3.561}
"""Side of a tile in pixels -> seconds that staintools takes for it, be the machine as fast as it may
(docs/explanation/measurements.md#vahadane)."""


def staintools_time(task: SlideTask, sources: Sequence[str], out: Path, workers: int) -> list[str]:
    """How many tiles staintools will normalise for the store at `out`, and how long that takes, for people.

    Nothing for another `--stain`, or where all is done. Looks at the overview of every slide that is left, as the stage will.
    """
    if task.settings.stain != "staintools":
        return []
    import numpy as np

    from esad.preprocessing.store.store import Parts

    known = Parts(out).sources()
    left = sorted(set(sources) - set(known.loc[known["state"] == "done", "source"]))
    with progress("count tiles", len(left)) as bar:
        tiles = 0
        for source in left:
            tiles += _tiles_of(task, source)
            bar.advance()
    if not tiles:
        return []
    sides, measured = list(STAINTOOLS_SECONDS), list(STAINTOOLS_SECONDS.values())
    seconds = float(np.interp(task.settings.tile_size, sides, measured))
    together = max(1, min(workers, len(left)))
    return [
        f"--stain staintools: {tiles:,} tiles of {len(left)} slides at about {seconds:.1f} s each (measured, whatever the "
        f"machine), {together} at a time: {_duration(tiles * seconds / together / 60)}. --stain vahadane is the same method by "
        "a solver that takes a small part of that."
    ]


def _tiles_of(task: SlideTask, source: str) -> int:
    """How many tiles the stage will read of a slide; 0 where it will be refused or holds nothing."""
    from esad.pipeline.slides.cutting import grid_plan, places_of_tiles, slide_overview
    from esad.preprocessing.slides.reading import Slide

    settings = task.settings
    try:
        with Slide(task.archive / source, settings.slide_mpp) as slide:
            if task.protocol is not None:
                plan = slide.plan_downsample(task.protocol.rule.span // settings.tile_size)
            else:
                plan = grid_plan(slide, settings)
            return len(places_of_tiles(task, source, slide, plan, slide_overview(slide))[0])
    except (InputError, NothingToKeep):
        return 0
