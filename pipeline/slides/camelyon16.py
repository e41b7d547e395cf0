"""`esad tile --protocol camelyon16`: the challenge's folders to the roles, outlines, tiles and stain target of its rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.ingest.inputs import by_stem
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.stage.errors import InputError, NothingToKeep, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from shapely.geometry.base import BaseGeometry

    from esad.data_manifests.loader import TileProtocol
    from esad.preprocessing.slides.camelyon16 import Role
    from esad.preprocessing.slides.reading import Slide


@dataclass(frozen=True)
class Camelyon16:
    """What is known of an archive before a slide is opened; picklable."""

    rule: TileProtocol
    roles: Mapping[str, Role | str]
    """Slide -> its role, or why it is left out."""
    reference: Path | None
    target: str | None
    """The square of a slide that the protocol normalises towards, where that slide is here."""

    def left_out(self, source: str) -> str | None:
        """Why the slide takes no part, or None where it does."""
        role = self.roles[source]
        return role if isinstance(role, str) else None

    def tiles(
        self, slide: Slide, source: str, area: BaseGeometry | None, least: float, seed: int
    ) -> pd.DataFrame:
        """The slide's tiles as a published list has them; InputError for a tumour slide without outlines, NothingToKeep
        for one without such a tile.

        `area` is what the slide's outlines enclose; `least` the share of a tumour tile that must lie inside it.
        """
        import numpy as np

        from esad.preprocessing.slides.camelyon16 import as_listed, draw, grid_corners, tissue_blocks
        from esad.preprocessing.slides.outlines.fractions import outline_fractions

        role, rule, stem = self.roles[source], self.rule, Path(source).stem
        assert not isinstance(role, str)
        corners = grid_corners(tissue_blocks(slide.overview(rule.mask_downsample), rule), rule)
        if not role.tumour and area is not None and area.area:
            raise InputError(
                f"{source}: is normal by its name or by reference.csv, and its outlines enclose a lesion. Take the outlines away, or "
                "correct reference.csv."
            )
        if role.tumour:
            if area is None:
                raise InputError(
                    f"{source}: has a tumour but no outlines; expected {stem}.xml beside the slides or in a "
                    "lesion_annotations.zip (or give --annotations)."
                )
            boxes = np.column_stack([corners, np.full((len(corners), 2), rule.span)])
            corners = corners[outline_fractions(area, boxes) >= least - 1e-9]
        if not len(corners):
            where = " and inside the outlines" if role.tumour else ""
            raise NothingToKeep(f"no tissue: no square of {rule.span} pixels is all tissue{where}.")
        return as_listed(corners[draw(len(corners), stem, rule, seed)], stem, role, rule)

    def told(self) -> list[str]:
        """What to say of the archive: slides by part and kind, and those left out by reason."""
        taken = Counter(
            (role.part, "tumour" if role.tumour else "normal")
            for role in self.roles.values()
            if not isinstance(role, str)
        )
        parts = ", ".join(f"{count} {part} {kind}" for (part, kind), count in sorted(taken.items()))
        lines = [f"camelyon16: {parts} slides take part."]
        reasons = Counter(role for role in self.roles.values() if isinstance(role, str))
        lines += [f"camelyon16: {count} slides {reason}." for reason, count in sorted(reasons.items())]
        return lines


def read_archive(archive: Path, sources: Sequence[str]) -> Camelyon16:
    """The slides' roles by their names and the archive's reference.csv.

    Raises UsageError where no slide takes part, two slides have one name, or two reference.csv differ.
    """
    from esad.data_manifests.loader import load_manifest
    from esad.preprocessing.slides.camelyon16 import read_reference, slide_roles

    rule = load_manifest("camelyon16").protocol
    assert rule is not None
    named = by_stem(sources)
    twice = next((slides for slides in named.values() if len(slides) > 1), None)
    if twice:
        raise UsageError(f"{twice[0]} and {twice[1]} have one name; keep one of them.")
    references = sorted(archive.rglob("reference.csv"))
    for other in references[1:]:
        if other.read_bytes() != references[0].read_bytes():
            raise UsageError(f"{references[0]} and {other} differ; keep the challenge's own.")
    reference = references[0] if references else None
    roles = slide_roles(named, read_reference(reference) if reference else None, rule)
    if all(isinstance(role, str) for role in roles.values()):
        raise UsageError(
            f"{archive}: none of {len(named)} slides takes part (first: {next(iter(named.values()))[0]} "
            f"{next(iter(roles.values()))}). Expected the challenge's files: normal_NNN, tumor_NNN, test_NNN."
        )
    target = None
    if rule.stain_target.slide in named:
        place = archive / named[rule.stain_target.slide][0]
        target = f"{place}@{rule.stain_target.x},{rule.stain_target.y},{rule.stain_target.side}"
    return Camelyon16(rule, {named[stem][0]: role for stem, role in roles.items()}, reference, target)


def with_protocol_target(settings: TileSettings, protocol: Camelyon16, warnings: list[str]) -> TileSettings:
    """The protocol's stain target, unless another is given or its slide is not here."""
    if settings.stain_target is not None or settings.stain == "none":
        return settings
    if protocol.target is None:
        slide = protocol.rule.stain_target.slide
        warnings.append(
            f"{slide}, of which the protocol's stain target is a part, is not here: the built-in target."
        )
    return settings.model_copy(update={"stain_target": protocol.target})
