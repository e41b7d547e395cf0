"""How scores became figures and thresholds, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from esad.pipeline.evaluation.measures.intervals import DRAWS, HOW
from esad.pipeline.reporting.manuscript.citations import References
from esad.pipeline.reporting.manuscript.words import counted, percent

if TYPE_CHECKING:
    from esad.pipeline.settings.config import RunSettings

SETS = {"view": "projection", "site": "site", "source": "slide or file"}


def score_sentences(
    settings: RunSettings, explanation: Mapping[str, Any] | None, cite: References
) -> list[str]:
    """The form of the score, and how contributions to it were found."""
    sentences = []
    if settings.score.kind == "standardised":
        sentences.append(
            "The score is the sum of its terms' distances from their medians over the reference normals, in median absolute deviations."
        )
    how = (explanation or {}).get("contributions")
    if how:
        works = ["gradients"] if "integrated gradients" in how else []
        sentences.append(f"Contributions to the score, as overlays show them: {how}{cite(*works)}.")
    return sentences


def threshold_sentences(marker: Mapping[str, Any], cite: References) -> list[str]:
    """How scores became alarms; `marker` is scores.json."""
    rule = marker.get("thresholds")
    if not rule:
        return []
    normals = [int(each["normals"]) for each in rule["sets"]]
    what = "group with normals" if rule["per_group"] else "normal item"
    plural = "groups with normals" if rule["per_group"] else "normal items"
    of = {True: " held out of training", False: " of the training part", None: ""}[rule["held_out"]]
    each = f", apart for each {SETS.get(rule['by'], rule['by'])}" if rule["by"] else ""
    count = ""
    if len(normals) == 1:
        count = f"{counted(normals[0], what, plural)}{of}"
    elif normals:
        count = f"{min(normals):,} to {max(normals):,} {plural}{of}"
    highest = " (the highest score of each group)" if rule["per_group"] else ""
    sentences = [
        f"Thresholds follow from conformal p-values{cite('conformal')} among {count or plural}{highest}{each}: a score is an alarm where "
        f"its p-value is at most {percent(rule['level'])}, which is the promised rate of false alarms."
    ]
    levels = sorted(float(one["level"]) for one in rule["sets"]) or [rule["level"]]
    promised = levels[-1]
    if percent(levels[0]) != percent(promised):
        sentences.append(
            f"By how many normals each has, that is a rate of {percent(levels[0])} to {percent(promised)}."
        )
    elif promised > rule["level"]:
        sentences.append(f"So few normals allow a promise of {percent(promised)} at best.")
    elif normals and promised < rule["level"] * 0.995:
        sentences.append(f"With so many normals that is a rate of {percent(promised)}.")
    return sentences


def evaluation_sentences(metrics: Mapping[str, Any], cite: References) -> list[str]:
    """Which items count, which figures there are and how their intervals were made; `metrics` is metrics.json."""
    if not metrics["items"]:
        return ["No item that the run has not seen has a label, so there are no figures."]
    which = (
        "the test part"
        if metrics["evaluated"] == "test part"
        else "all labelled items, none of which the run has seen,"
    )
    text = f"Figures are of {which} with {metrics['normal']:,} normal and {counted(metrics['anomaly'], 'abnormal item')}"
    groups = metrics.get("groups")
    sentences = [f"{text} in {counted(groups, 'group')}." if groups else f"{text}."]
    if metrics["auc"] is not None:
        sentences.append(
            "AUC is the area under the ROC curve, by ranks, ties counting one half; average precision is by distinct thresholds."
        )
        if metrics["auc_interval"]:
            sentences.append(_of_intervals(metrics, cite))
    found = metrics.get("alarms") or {}
    if found.get("achieved"):
        sentences.append(
            f"False alarms are the share of normal items above their threshold; Benjamini and Hochberg's procedure{cite('discoveries')} "
            f"was taken at a false discovery rate of {percent(found['achieved']['discoveries']['rate'])}."
        )
    slides = metrics.get("slides") or {}
    if slides.get("auc_interval"):
        sentences.append(
            "A slide's score is the highest of its tiles, the mean of its ten highest, or their 99th percentile."
        )
    if slides.get("froc"):
        sentences.append(
            "FROC is the mean sensitivity to lesions at 1/4, 1/2, 1, 2, 4 and 8 false positives a slide; groups of isolated tumour "
            "cells do not count."
        )
    return sentences


def _of_intervals(metrics: Mapping[str, Any], cite: References) -> str:
    """How the intervals of these figures were made; those of earlier versions otherwise."""
    if metrics.get("intervals") != HOW:
        return (
            f"Intervals of 95 % are by {DRAWS:,} bootstrap draws of whole groups; where all draws of an AUC are 0 or 1 the interval "
            "is Newcombe's."
        )
    return (
        f"Intervals of 95 % of AUC have their variance from placement values summed by group{cite('delong', 'obuchowski')}, those of "
        f"average precision from {DRAWS:,} bootstrap draws of whole groups; both are made on the scale of log odds with Student's t. Where "
        "an AUC is 0 or 1 the interval is Newcombe's."
    )


def combined_sentences(config: Mapping[str, Any], marker: Mapping[str, Any], cite: References) -> list[str]:
    """How one score was made of the scores of several runs; `config` is config.yaml of the combination, `marker` scores.json."""
    members = config["members"]
    runs = "; ".join(
        f"({number}) {each['method']} with the {each['score']} score on {each['store']}, seed {each['seed']}"
        for number, each in enumerate(members, 1)
    )
    return [
        f"The score of an item is the mean of the scores of {counted(len(members), 'run')}, each less its median and over its median "
        f"absolute deviation among the reference normals of this run: {runs}. The methods of each run stand in its own report.",
        *threshold_sentences(marker, cite),
    ]
