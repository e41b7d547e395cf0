"""Read the YAML files of this folder: what each data set is, where it comes from, what may be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FOLDER = Path(__file__).resolve().parent


class ManifestError(ValueError):
    """A data manifest is missing or wrong; the message names the file and the fault."""


class Part(BaseModel):
    """Expected number of items of one file or one split, by label; None where the labels do not tell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: int = Field(gt=0)
    normal: int | None = Field(None, ge=0)
    anomaly: int | None = Field(None, ge=0)
    columns: int | None = Field(None, gt=0)
    """Feature columns of a table."""


class BorderRule(BaseModel):
    """Mask pixels that are no tissue at each side of a slide's mask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tall: int = Field(gt=0)
    """Masks of more rows than this have `top`, `bottom` and `left` cut off, all others `otherwise` on four sides."""
    top: int = Field(ge=0)
    bottom: int = Field(ge=0)
    left: int = Field(ge=0)
    otherwise: int = Field(ge=0)


class StainTarget(BaseModel):
    """A square of a slide, in level-0 pixels, that tiles are normalised towards."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slide: str
    x: int = Field(ge=0)
    y: int = Field(ge=0)
    side: int = Field(gt=0)


class TileProtocol(BaseModel):
    """How a published set of tiles was cut out of its slides; lengths in level-0 pixels unless said.

    docs/explanation/protocols.md#camelyon16-tiles explains the rule.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    excluded: list[str]
    """Slides of which no tile is taken."""
    not_exhaustive: list[str]
    """Tumour slides whose outlines leave lesions out: no tile of theirs tests, and they are no part of FROC, though of
    the slides' AUC (protocols.md#froc)."""
    labelled: list[str]
    """Training slides whose tumour tiles are the labelled anomalies; other tumour slides do not train."""
    mask_downsample: int = Field(gt=0)
    """Level-0 pixels a pixel of the tissue mask (level 8: 256)."""
    border: BorderRule
    block: int = Field(gt=0)
    """Side of a tile in mask pixels, all of which must be tissue."""
    per_slide: int = Field(gt=0)
    """Tiles that are drawn of a slide at most."""
    tile_size: int = Field(gt=0)
    """Side of a stored tile in its own pixels."""
    crop: int = Field(gt=0)
    """Side of the random crop in training and of the central crop in scoring, in tile pixels."""
    stain_target: StainTarget

    @property
    def span(self) -> int:
        """Side of a tile in level-0 pixels."""
        return self.block * self.mask_downsample


class Download(BaseModel):
    """A file as its publisher offers it. Its checksum is never ours: `stated_by` says whose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: list[str] = Field(min_length=1)
    """Addresses of the same bytes, tried in this order."""
    size: int = Field(gt=0)
    """Bytes."""
    md5: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    stated_by: str
    """Who states the checksums."""

    @model_validator(mode="after")
    def _checked(self) -> Download:
        if self.md5 is None and self.sha256 is None:
            raise ValueError("a download needs an md5 or a sha256")
        wrong = next((url for url in self.urls if not url.startswith(("https://", "http://"))), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r} is no http or https address")
        return self


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Of a file in the folder that is asked for: it leads nowhere else."""


class DataManifest(BaseModel):
    """One data set. `counts` is by file or split name; `files` are paths or patterns relative to the data folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    title: str
    kind: Literal["tiles", "radiographs", "images", "table"]
    files: dict[str, str] = Field(min_length=1)
    """Path or pattern -> what it holds."""
    labels: str
    split: str
    protocols: dict[str, str] = {}
    """Name of `esad plan --protocol` -> how its parts are made; `counts` has `NAME train` and `NAME test`."""
    resizings: dict[str, str] = {}
    """Value of the ingest setting `resizing` -> what it does."""
    licence: str
    source: str
    citations: list[str] = Field(min_length=1)
    counts: dict[str, Part] = Field(min_length=1)
    cautions: list[str] = []
    classes: list[str] = []
    """Names of the classes in the order of their numbers, where the files have numbers alone."""
    downloads: dict[FileName, Download] = {}
    """File -> where `esad fetch` gets it."""
    protocol: TileProtocol | None = None
    """The rule that cuts the set out of its archive, where there is one."""


def manifest_names() -> list[str]:
    """Names of all data sets that have a manifest, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_manifest(name: str) -> DataManifest:
    """The manifest called `name`; ManifestError where there is none, or naming the field that is wrong."""
    path = FOLDER / f"{name}.yaml"
    if name not in manifest_names():
        raise ManifestError(f"{name!r}: no such data set; known are {', '.join(manifest_names())}.")
    return parse_manifest(path.read_text(encoding="utf-8"), path)


def parse_manifest(text: str, path: Path) -> DataManifest:
    """A manifest from YAML text; ManifestError names `path` and the first field that is wrong or unknown."""
    try:
        manifest = DataManifest.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ManifestError(f"{path}: not YAML ({error}).") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ManifestError(f"{path}: {field}: {first['msg']}.") from error
    if manifest.name != path.stem:
        raise ManifestError(
            f"{path}: name: {manifest.name!r}; expected {path.stem!r}, as the file is called."
        )
    return manifest
