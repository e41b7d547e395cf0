"""What the JSON files of runs and scores hold, so that a damaged one is told by its entry, not by what fails of it later.

More entries than these are allowed; what is not there in older files has a default. Numbers are numbers: no text, no boolean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from esad.preprocessing.store.opening import OutlineSettings, Shape
from esad.preprocessing.store.reading import damaged

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Ends = Annotated[list[float], Field(min_length=2, max_length=2)]
"""The two ends of an interval."""


class ReferenceSet(Shape):
    """Of one set of reference normals what it promises."""

    name: str
    normals: Count
    threshold: float
    level: Share
    rate_bounds: Ends


class Thresholds(Shape):
    """How thresholds were set: scores.json's `thresholds`, and `alarms.rule` of metrics.json."""

    level: Annotated[float, Field(gt=0, lt=1)]
    by: str | None
    per_group: bool
    groups: Count | None = None
    held_out: bool | None
    fewest_normals: Count | None = None
    sets: Annotated[list[ReferenceSet], Field(min_length=1)]


class Shards(Shape):
    """How the shards of a store were scored."""

    device: str
    batches: list[int]
    digests: dict[Annotated[str, Field(pattern="^[0-9]{5,}$")], str]


class Nothing(BaseModel):
    """An object without entries."""

    model_config = ConfigDict(extra="forbid")


class SiteLevels(Shape):
    """What was done with the grey levels of a site."""

    items: Count
    fitted_to: Count
    of: str


class GreyLevels(Shape):
    """What was done with the grey levels of all sites."""

    sites: dict[str, SiteLevels]
    too_few: dict[str, Count]
    without_site: Count


class Marker(Shape):
    """scores.json."""

    score: str | None = None
    model: str | None = None
    inputs: str | None = None
    items: Count | None = None
    normals: Count = 0
    overlays: str | None = None
    slides: bool | None = None
    thresholds: Thresholds | None = None
    grey_levels: GreyLevels | None = None
    labels: OutlineSettings | None = None
    shards: Shards | Nothing | None = None


class CrossFitted(Shape):
    """What components explain of items that they were not fitted to, over the folds."""

    mean: float
    lowest: float
    highest: float


class Explained(Shape):
    """provenance.json's `reconstruction`: shares of the variance that reconstructions and principal components explain."""

    components: Count
    items: Count
    held_out: bool
    model: float
    model_interval: Ends
    pca: float
    pca_interval: Ends | None = None
    pca_cross_fitted: CrossFitted | None = None


class Provenance(Shape):
    """provenance.json, as far as figures and texts are made of it."""

    steps: Count
    processes: Count = 1
    restarts: Count | None = None
    labelled_classes: dict[str, Count] | None = None
    reconstruction: Explained | None = None
    validation: dict[str, Any] | None = None
    versions: dict[str, str | None]
    overlap: dict[str, Any] | None = None


class Explanation(Shape):
    """overlays/explanation.json of a table: a median a column."""

    columns: list[str] | None = None
    medians: list[float | None] | None = None
    contributions: str | None = None
    rows: Count | None = None


def check_shape(path: Path, content: Any, shape: type[Shape], remedy: str) -> None:
    """EsadError where `content`, of the file `path`, is not of this shape: its first entry that is not, and what was expected."""
    try:
        shape.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        if first["type"] == "missing":
            raise damaged(path, f"is damaged ({place!r} is missing)", remedy) from error
        found = repr(first["input"])
        found = found if len(found) <= 60 else f"{found[:57]}..."
        expected = first["msg"].removeprefix("Input should be ")
        raise damaged(path, f"is damaged ({place} = {found}, expected {expected})", remedy) from error
