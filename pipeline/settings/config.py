"""Settings: typed models, YAML files and `--set key=value`, with one place for every default.

The training settings are in `esad.models.settings`, next to the code that they steer; here are those of the ingest
stages, and the loader that all share.

`PAGE.md#…` are headings of the pages in docs/explanation/.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from esad.models.base_settings import Settings
from esad.models.settings import MethodSettings
from esad.pipeline.settings.plain_yaml import load_texts, load_yaml
from esad.pipeline.stage.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)
OF_LABELS = ("labels_file", "site", "normal_value", "anomaly_value", "classes")
"""Settings of a store that change its items' labels and sites alone, no item."""


class LabelSettings(Settings):
    """How outlines become tile labels: 0 without tumour, 1 from `min_fraction` on, null (unused) between."""

    min_fraction: float = Field(1.0, gt=0, le=1)
    """Least share of a tile inside outlines for label 1 (the paper: all; protocols.md#camelyon16-tiles)."""
    outline_classes: dict[str, Literal["anomaly", "hole", "ignore", "region"]] = Field(default_factory=dict)
    """What outlines of a group or class are, in any case; tiles that touch ignored ones, or are not wholly inside regions
    where a file has some, have no label."""
    geojson_origin: Literal["bounds", "slide"] | None = None
    """Where GeoJSON counts pixels from on a slide that begins outside (0, 0): its bounds, or level 0; null = QuPath's from the
    bounds, and that of other programs is refused (docs/how-to/cut-slides.md#geojson-of-slides-with-bounds)."""
    without_outlines: Literal["normal", "unknown"] = "normal"
    """Tiles of slides without an outline file, where other slides have one: label 0, or none. Camelyon's normal slides have no
    file (protocols.md#camelyon16-facts)."""


class TileSettings(Settings):
    """`esad tile`: slides to stain-normalised tiles."""

    magnification: float | None = Field(10.0, gt=0)
    """10 means 1 um a pixel; the slide's own level is taken within 15 %, unresampled. Excludes `mpp`."""
    mpp: float | None = Field(None, gt=0)
    """Exact microns per pixel of the tiles."""
    slide_mpp: float | None = Field(None, gt=0)
    """Level-0 microns per pixel for slides whose file does not say."""
    tile_size: int = Field(64, ge=16)
    """Side of a tile in its own pixels."""
    step: int | None = Field(None, ge=1)
    """Distance between tiles in tile pixels; null = tile_size (no overlap)."""
    min_tissue: float = Field(0.5, ge=0, le=1)
    """Least share of tissue in a kept tile."""
    min_sharpness: float = Field(0.0, ge=0, le=1)
    """Least `sharpness` (preprocessing/slides/sharpness.py) of a kept tile; 0 keeps all, about 0.13 leaves out what is blurred."""
    stain: Literal["vahadane", "vahadane-dpa", "staintools", "none"] = "vahadane"
    """Stain normalisation: Vahadane by our own deterministic solver, its variant of the paper's tiles
    (protocols.md#camelyon16-stain), by staintools, or none."""
    stain_scope: Literal["slide", "tile"] = Field(
        default_factory=lambda known: "tile" if known.get("stain") == "vahadane-dpa" else "slide"
    )
    """Fit the stain matrix once per slide, or on each tile; vahadane-dpa is always fitted on each tile."""
    stain_target: str | None = None
    """What to normalise towards: an image file, or a square of a slide as FILE@X,Y,SIDE; null = the built-in target."""
    scaled_decode: float | None = Field(None, ge=0)
    """Where a JPEG level would be reduced by 2, 4 or 8: decode it straight to that size, if tiles then differ from the
    exact area means by no more grey levels than this, on average (0.1 to 0.3 is usual); null = exact."""
    protocol: Literal["camelyon16"] | None = None
    """Cut a published set by its rule (data_manifests), out of the challenge's own folders."""
    protocol_seed: int = Field(0, ge=0)
    """Draws the tiles of slides that have more than the protocol takes."""
    labels: LabelSettings = LabelSettings()

    @field_validator("stain_scope")
    @classmethod
    def _dpa_has_one_scope(cls, scope: str, known: ValidationInfo) -> str:
        if scope == "slide" and known.data.get("stain") == "vahadane-dpa":
            raise ValueError("vahadane-dpa is fitted on each tile; leave stain_scope out, or give tile")
        return scope


class RadiographSettings(Settings):
    """`esad radiographs`: PNG and DICOM to small grey squares."""

    projection: Literal["PA", "AP", "all"] = "all"
    """Keep the radiographs of this view; others are left out, not refused."""
    resizing: Literal["crop768", "resize300"] = "crop768"
    """The two in public use (protocols.md#nih-resizing): a central crop then area means; or 300 px, its
    central 224, bilinear."""
    crop: float = Field(768 / 1024, gt=0, le=1)
    """crop768: side of the central square as a share of the shorter side (paper 4.3: 768 of 1024)."""
    size: int = Field(64, ge=16)
    """Output side in pixels."""
    equalise: bool = False
    """Equalise the histogram of what is kept, before the last resizing (decisions.md#a23: off)."""
    protocol: Literal["nih-ap", "nih-pa", "nih-subset"] | None = None
    """Keep one of the paper's sets, with its split and labelled anomalies (protocols.md#nih)."""
    protocol_seed: int = Field(0, ge=0)
    """Draws the labelled anomalies of nih-ap and nih-pa."""

    @field_validator("crop")
    @classmethod
    def _belongs_to_crop768(cls, crop: float, info: ValidationInfo) -> float:
        if info.data.get("resizing") == "resize300" and crop != 768 / 1024:
            raise ValueError("resize300 keeps 224 of 300; a crop of one's own belongs to resizing crop768")
        return crop


class ItemSettings(Settings):
    """What an image or a table row is known by, in the columns of its file."""

    label: str = "y"
    """Column of labels; give none if there is none."""
    group: str = "group"
    """Column of groups (patient or slide); a group stays on one side of a split."""
    split: str = "split"
    """Column of parts: train, validation or test."""
    site_column: str = "site"
    """Column of sites: scanner, hospital, centre or sample."""
    normal_value: list[str] = Field(default_factory=list)
    """A value of the label column that is normal; repeatable."""
    anomaly_value: list[str] = Field(default_factory=list)
    """A value of the label column that is an anomaly; repeatable."""
    classes: dict[str, Literal["normal", "anomaly"]] = Field(default_factory=dict)
    """What classes (values of the label column, folders of pictures) are; '*' is all others. Case does not matter."""


class ImageSettings(ItemSettings):
    """`esad images`: npz, class folders, zip, idx, CIFAR or Parquet."""

    size: int | None = Field(None, ge=8)
    """Resize every image to this square; needed for folders of mixed sizes."""
    colour: Literal["auto", "grey", "rgb"] = "auto"
    """Grey or colour for the whole store; auto = what most pictures are. Others are converted: grey three times, or BT.601
    luma."""


class TableSettings(ItemSettings):
    """`esad tables`: npz, mat, csv, tsv, parquet, feather or xlsx."""

    id: str | None = None
    """Column of names of rows, which stand in scores.parquet; no feature."""
    columns: list[str] | None = None
    """A feature column, in order; repeatable, or several by commas. Without: all that are not known or dropped."""
    drop: list[str] = Field(default_factory=list)
    """A column that is no feature; repeatable, or several by commas."""
    categorical: list[str] = Field(default_factory=list)
    """A column of text, each of whose values becomes a column of 0 and 1; repeatable, or several by commas."""
    categories: dict[str, list[str]] = Field(default_factory=dict)
    """The values that the columns in `categorical` have in the training archive; found there, and taken from a run."""
    missing: Literal["refuse", "drop", "median"] = "refuse"
    """Tables with missing cells: refused, without these rows, or filled with the medians of the training rows."""
    delimiter: str = "auto"
    """Mark between the cells of text tables: a character, or comma, semicolon, tab, bar; auto = found where unambiguous."""
    decimal: Literal["auto", ".", ","] = "auto"
    """Decimal mark of text tables; auto = found where unambiguous."""
    thousands: str = "auto"
    """Mark that groups thousands in text tables, or none; auto = found where unambiguous."""
    encoding: str = "auto"
    """Encoding of text tables; auto = UTF-8 or UTF-16, else Windows-1252."""
    sheet: str | None = None
    """Sheet of a workbook; without: its only filled one."""


class DataSettings(Settings):
    """Which items train, validate and test, and what is known of them."""

    where: dict[str, str] = Field(default_factory=dict)
    """Keep the rows whose columns have these values, for example {view: AP}."""
    normal_classes: list[str | int] | None = None
    """Classes of `class_name` that are normal; null = the label column says."""
    labelled_classes: list[str | int] | None = None
    """Classes that labelled anomalies may come from; null = any."""
    k_l: int | None = Field(None, ge=0)
    """Number of anomaly classes that labelled anomalies come from, drawn by seed (paper 6.6, scenario iii)."""
    labelled: Literal["all", "ratio"] | Annotated[int, Field(ge=0)] = "all"
    """Use every labelled anomaly of the training part, as many as `gamma_l` says (benchmarks), or this number of them."""
    gamma_l: float = Field(0.05, ge=0, lt=1)
    """Labelled anomalies over all training items (paper 4.2)."""
    gamma_p: float = Field(0.0, ge=0, lt=1)
    """Share of unlabelled training items that are anomalies (paper 6.6, scenario ii)."""
    split: Literal["clean", "published", "leave-site-out"] = "clean"
    """One split a seed; or the two overlapping draws of Deep SAD's code (protocols.md#leak), for tables
    beside the literature; or the sites in `site` test, and the others train and validate."""
    site: list[str] | None = None
    """leave-site-out: the site that tests, or several; null = `esad sweep` takes each in turn."""
    validation_site: list[str] | None = None
    """leave-site-out: the site that validates, or several; null = `validation_share` of the groups of the sites that train."""
    site_normalisation: Literal["none", "grey"] = "none"
    """grey: the grey levels of each site are mapped to what the training sites have in common, by percentiles of their unlabelled
    and normal items (Nyúl and Udupa 1999; docs/how-to/several-sites.md#normalise)."""
    copies_together: bool = True
    """Clean split: items of identical content are on one side, as if a group (those without a group of their own)."""
    test_share: float = Field(0.4, ge=0, lt=1)
    """Share of groups that become the test part where the store does not say (paper 6.4: 60:40)."""
    validation_share: float = Field(0.1, ge=0, lt=1)
    """Share of training groups held out: reference scores of normals, and the choice of settings."""
    split_seed: int | None = Field(None, ge=0)
    """Draws parts and labelled anomalies; null = `seed`. Runs of other seeds then share one split."""
    crop: int | None = Field(None, ge=16)
    """Side of a random crop in training and of the central crop in scoring; null = whole items
    (decisions.md#a20)."""
    flip: Literal["none", "horizontal", "both"] = "none"
    """Which mirror images training may draw (decisions.md#a20)."""

    @field_validator("site", "validation_site", mode="before")
    @classmethod
    def _one_site_is_a_list(cls, site: Any) -> Any:
        """`data.site=B` and `data.site=3` as lists of names."""
        named = site if isinstance(site, (list, tuple)) or site is None else [site]
        return (
            named
            if named is None
            else [str(name) if isinstance(name, (int, float)) else name for name in named]
        )


class ScoreSettings(Settings):
    """How the terms become one score."""

    kind: Literal["eq9", "standardised"] = "eq9"
    """Eq. 9, or each term's distance from its median over held-out normals in median absolute deviations, summed."""


class SelectionSettings(Settings):
    """What figures of the validation part decide while a model trains. The paper's way, and the default: nothing."""

    weights: Literal["last", "best"] = "last"
    """best: keep the weights of the report with the highest figure, not those of the last step (decisions.md#a33)."""
    early_stop: int | None = Field(None, ge=1)
    """Reports in a row without a gain after which training ends, by MONAI's EarlyStopHandler; null = never
    (decisions.md#a33)."""
    min_gain: float = Field(0.0, ge=0, lt=1)
    """What the figure must rise by, and more, to count as a gain for `early_stop`."""
    by: Literal["auc", "average_precision"] = "auc"
    """The figure, of the run's own score on the validation part."""


class RunSettings(MethodSettings):
    """`esad train`: everything that a run depends on."""

    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or cuda:N."""
    data: DataSettings = DataSettings()
    score: ScoreSettings = ScoreSettings()
    selection: SelectionSettings = SelectionSettings()
    checkpoint_seconds: float = Field(120, ge=0)
    """Seconds between checkpoints; 0 = after every step."""


@cache
def _fields(model: type[BaseModel], prefix: str = "") -> Mapping[str, Any]:
    """Dotted name -> annotation of every setting below `model`, sections included."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        found[prefix + name] = field.annotation
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found.update(_fields(kind, f"{prefix}{name}."))
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like `name`, or an empty text."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    last = difflib.get_close_matches(
        name.rsplit(".", 1)[-1], [k.rsplit(".", 1)[-1] for k in known], n=1, cutoff=0.8
    )
    if last and (not close or difflib.SequenceMatcher(None, name, close[0]).ratio() < 0.7):
        return next(k for k in known if k.rsplit(".", 1)[-1] == last[0])
    return close[0] if close else ""


def _flatten(content: Mapping[str, Any], model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    sections = {name.rpartition(".")[0] for name in _fields(model)}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and (name in sections or name not in _fields(model)):
            flat.update(_flatten(value, model, name + "."))
        else:
            flat[name] = value
    return flat


def flat(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer of settings of a run, nested or dotted, by dotted names."""
    return _flatten(layer, RunSettings)


def number_if_scientific(value: Any) -> Any:
    """1e-3 as a number: YAML 1.1 reads it as text."""
    return (
        float(value)
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value)
        else value
    )


NAMES_OF_SITES = ("data.site", "data.validation_site")
"""Settings that are names: `01` is not `1`."""


def parse_assignments(pairs: Iterable[str]) -> dict[str, Any]:
    """`["train.epochs=5"]` -> {"train.epochs": 5}; values are YAML. UsageError where there is no `=`."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {pair!r}: expected key=value, for example train.epochs=5.")
        try:
            as_text = name.strip() in NAMES_OF_SITES and text.strip() != "null"
            values[name.strip()] = load_texts(text) if as_text else load_yaml(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise UsageError(f"--set {pair!r}: the value is not YAML ({error}).") from error
    return values


def _let_the_later_length_win(flat: dict[str, Any], layer: Mapping[str, Any], model: type[BaseModel]) -> None:
    """A layer that states `epochs` but not `steps` takes an earlier layer's `steps` back, and the other way round."""
    stated = {name for name, value in _flatten(layer, model).items() if value is not None}
    for name in stated:
        section, _, last = name.rpartition(".")
        other = {"epochs": "steps", "steps": "epochs"}.get(last)
        if other and f"{section}.{other}" not in stated and f"{section}.{other}" in flat:
            flat[f"{section}.{other}"] = None


def resolve(model: type[Model], *layers: Mapping[str, Any]) -> Model:
    """Settings from `layers` (nested or dotted; later ones win) over the model's defaults.

    Raises UsageError: an unknown key with the nearest known one, or the first wrong value with what was expected.
    """
    known = _fields(model)
    flat: dict[str, Any] = {}
    for layer in layers:
        for name, value in _flatten(layer, model).items():
            if name not in known:
                raise UsageError(f"Unknown setting {name!r}: did you mean {nearest(name, known)!r}?")
            flat[name] = value if name in NAMES_OF_SITES else number_if_scientific(value)
        _let_the_later_length_win(flat, layer, model)
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        section = nested
        for part in path:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                section = nested[part] = {}
        section[last] = value
    try:
        return model.model_validate(nested)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "settings"
        raise UsageError(
            f"Setting {place} = {first['input']!r}: {first['msg'].lower().removeprefix('value error, ')}."
        ) from error


def yaml_content(path: Path) -> Any:
    """What a YAML file holds, of plain kinds alone; UsageError names the file and the fault."""
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise UsageError(f"{path}: cannot be read as YAML (it is nested too deeply).") from None
    except (OSError, yaml.YAMLError, ValueError) as error:  # ValueError: no text, or a date that there is not
        raise UsageError(f"{path}: cannot be read as YAML ({error}).") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file; UsageError names the file and the fault."""
    content = yaml_content(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a mapping of settings, found {type(content).__name__}.")
    return content


def first_difference(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> str | None:
    """`"name: old -> new"` of the first setting in which two nested mappings differ, or None."""
    for name in sorted({*before, *after}, key=str):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = first_difference(old, new, f"{prefix}{name}.")
            if inner:
                return inner
        elif old != new:
            return f"{prefix}{name}: {old!r} -> {new!r}"
    return None
