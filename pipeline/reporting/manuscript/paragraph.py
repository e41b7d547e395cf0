"""The methods paragraph of a run and its scores: what a manuscript says, from the run's own files alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esad.pipeline.reporting.manuscript.citations import References
from esad.pipeline.reporting.manuscript.data import archive_sentences, picture_sentences, split_sentences
from esad.pipeline.reporting.manuscript.evaluation import (
    combined_sentences,
    evaluation_sentences,
    score_sentences,
    threshold_sentences,
)
from esad.pipeline.reporting.manuscript.training import (
    applied_settings,
    method_sentences,
    network_sentences,
    training_sentences,
)
from esad.pipeline.runs.run_files import COMBINED
from esad.pipeline.settings.config import RunSettings, resolve
from esad.pipeline.stage.errors import EsadError

if TYPE_CHECKING:
    import pandas as pd

LIBRARIES = {
    "torch": "PyTorch",
    "monai": "MONAI",
    "pytorch-ignite": "PyTorch Ignite",
    "numpy": "NumPy",
    "pandas": "pandas",
}


@dataclass(frozen=True)
class Facts:
    """What the paragraph is made of: config.yaml, provenance.json, assignments.parquet, scores.json, metrics.json, explanation.json."""

    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    assignments: pd.DataFrame
    marker: Mapping[str, Any]
    metrics: Mapping[str, Any]
    explanation: Mapping[str, Any] | None = None


def methods_text(facts: Facts) -> dict[str, list[str]]:
    """`paragraphs` of data, method and training, and evaluation, and the `references` that they cite, in order.

    Of a run whose settings this version does not know, one paragraph that says so.
    """
    store = facts.config["store"]
    if facts.config["method"] == COMBINED:
        return _combined_text(facts)
    try:
        own = {name: value for name, value in facts.config.items() if name != "store"}
        settings = resolve(RunSettings, own)
    except EsadError as error:
        return {
            "paragraphs": [f"The settings are not those of this version of esad: {error}"],
            "references": [],
        }
    cite, kind = References(), store["kind"]
    applied = applied_settings(settings, kind)
    labelled = (facts.assignments.loc[facts.assignments["part"] == "train", "semi_label"] != 0).any()
    paragraphs = [
        [
            *archive_sentences(store, cite),
            *split_sentences(settings, facts.provenance, facts.assignments, kind),
            *_other_store(facts),
        ],
        [
            *method_sentences(settings, applied, _versions(facts.provenance), cite),
            *picture_sentences(settings, store, applied),
            *network_sentences(settings, store["shape"], applied),
            *training_sentences(settings, facts.provenance, bool(labelled), applied),
        ],
        [
            *score_sentences(settings, facts.explanation, cite),
            *threshold_sentences(facts.marker, cite),
            *evaluation_sentences(facts.metrics, cite),
        ],
    ]
    return {"paragraphs": [" ".join(each) for each in paragraphs if each], "references": cite.cited}


def _combined_text(facts: Facts) -> dict[str, list[str]]:
    """The same of combined scores: how they were made is told, how their members were trained stands in the members' reports."""
    cite = References()
    paragraphs = [
        combined_sentences(facts.config, facts.marker, cite),
        evaluation_sentences(facts.metrics, cite),
    ]
    return {"paragraphs": [" ".join(each) for each in paragraphs], "references": cite.cited}


def _other_store(facts: Facts) -> list[str]:
    """That the scores are of another archive than the run was trained on."""
    if facts.marker.get("inputs") in (None, "", facts.config["store"].get("inputs")):
        return []
    return [
        f"The scores are of another archive, made with the same settings: {facts.marker.get('items', 0):,} items."
    ]


def _versions(provenance: Mapping[str, Any]) -> str:
    """`esad 0.1.0 (revision 1522213f9f) with PyTorch 2.13.0 and MONAI 1.6.1`."""
    versions, revision = provenance["versions"], str(provenance.get("git_revision", "unknown"))
    text = f"esad {versions['esad']}" if "esad" in versions else "esad"
    if revision != "unknown":
        text += f" (revision {revision[:10]})"
    named = [f"{LIBRARIES[name]} {versions[name]}" for name in LIBRARIES if name in versions]
    return f"{text} with {', '.join(named)}" if named else text
