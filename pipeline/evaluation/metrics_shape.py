"""What metrics.json holds: figures of items, classes, whole slides and alarms. Every entry that a page or a sentence reads."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from esad.pipeline.evaluation.measures.froc import FALSE_POSITIVES
from esad.pipeline.runs.shapes import Count, Ends, Share, Thresholds
from esad.preprocessing.store.opening import Shape

Rates = Annotated[dict[str, Share], Field(min_length=len(FALSE_POSITIVES), max_length=len(FALSE_POSITIVES))]
"""A sensitivity for each rate of false positives a slide."""


class Counted(Shape):
    """How many items figures are of, and their AUC: None where one kind of items is missing."""

    normal: Count
    anomaly: Count
    items: Count
    auc: Share | None
    auc_interval: Ends | None


class Figures(Counted):
    """AUC and average precision of some items."""

    groups: Count
    average_precision: Share | None
    average_precision_interval: Ends | None


class OfClass(Counted):
    """Of one class; `labelled` of its items were labelled in training, None where that is not known."""

    labelled: Count | None


class Divided(Shape):
    """Figures by the values of a column, and by class."""

    classes: dict[str, OfClass] = Field(default_factory=dict, alias="class")
    view: dict[str, Figures] = Field(default_factory=dict)
    site: dict[str, Figures] = Field(default_factory=dict)


class Pointed(Shape):
    """The pointing game over anomalies whose region is known."""

    items: Annotated[int, Field(gt=0)]
    hit_rate: Share
    error_hit_rate: Share | None
    chance: Share


class FrocFigures(Shape):
    """Lesions found against false positives a slide."""

    score: Share
    interval: Ends | None
    sensitivity: Rates
    lesions: Count
    itc: Count
    slides: Count
    left_out: dict[str, str]


class WholeSlides(Shape):
    """Figures of slides; AUC by aggregation of their tiles' scores."""

    normal: Count
    tumour: Count
    groups: Count
    auc: dict[str, Share | None]
    auc_interval: dict[str, Ends | None]
    slides: Count
    hit_rate: Share | None
    chance: Share | None
    suspicious_inside: Share | None = None
    suspicious_on_normal: Share | None = None
    missing: list[str]
    unscored_outlines: list[str] = Field(default_factory=list)
    froc: FrocFigures | None
    no_froc: str | None

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.auc.keys() != self.auc_interval.keys():
            raise ValueError("auc and auc_interval are of other aggregations")
        if self.slides and None in (self.hit_rate, self.chance):
            raise ValueError("hit_rate and chance of slides with outlines are missing")
        return self


class Compared(Shape):
    """How often an item scores higher than a reference normal; `alike` is None where that cannot be told."""

    superiority: Share
    interval: Ends | None
    p: Share
    alike: bool | None


class ComparedPart(Compared):
    """The same of one projection or site, beside the reference normals of the same one or of all."""

    items: Count
    normals: Count
    reference: str


class OfTerms(Shape):
    """The score and each of its terms."""

    __pydantic_extra__: dict[str, Compared]
    score: Compared


class Likeness(Shape):
    """Whether the items are like the reference normals."""

    of: str
    own: bool
    items: Count
    normals: Count
    alike: bool | None
    terms: OfTerms
    by: dict[str, dict[str, ComparedPart]]


class Discoveries(Shape):
    """Of the items that are called anomalies at a rate of false discoveries, how many are normal."""

    items: Count
    rate: Share
    false: Share | None


class Achieved(Shape):
    """The share of normals above their threshold, and what was promised."""

    achieved: Share
    promised: Share
    kept: bool
    broken: list[str]
    normals: Count
    interval: Ends | None
    expected: Ends
    anomalies_found: Share | None
    discoveries: Discoveries


class Reached(Shape):
    """The share of one projection's or site's normals above the threshold; None where they have none."""

    normals: Count
    achieved: Share | None


class OverSplits(Shape):
    """Shares of held-out normals above the threshold of others, over random halves."""

    splits: Count
    mean: Share
    highest: Share
    promised: Share


class Alarms(Shape):
    """metrics.json's `alarms`."""

    rule: Thresholds | None
    achieved: Achieved | None
    by: dict[str, dict[str, Reached]]
    splits: OverSplits | None
    likeness: Likeness | None


class Term(Shape):
    """AUC of a term of the score alone."""

    auc: Share | None


class Relabelled(Shape):
    """Reference normals that the store calls anomalies now."""

    items: Count
    normals: Count
    first: str


class Metrics(Figures):
    """metrics.json."""

    kind: str
    evaluated: str
    seen: Count | None = None
    score: str | None = None
    by: Divided
    scores: dict[str, Term]
    alarms: Alarms
    localisation: Pointed | None
    without_meaning: list[str] | None = None
    slides: WholeSlides | None
    relabelled: Relabelled | None = None
    note: str | None = None
