"""The figures of a metrics.json in words."""

from __future__ import annotations

import shlex
from typing import Any

from esad.models.methods.readings import OUR_READING, READINGS
from esad.pipeline.evaluation.alarms import alarm_sentences
from esad.pipeline.runs.split_overlap import overlap_sentence
from esad.pipeline.thresholds.relabelled import relabelled_sentence
from esad.preprocessing.splits.labels import normal_class_words


def sentence(content: dict[str, Any]) -> str:
    """The figures of a metrics.json in one line of text."""
    shared = content.get("overlap")
    words = [
        _on_items(content),
        _on_seen(content.get("seen")),
        _on_classes(content["by"].get("class") or {}),
        _on_slides(content["slides"]),
        alarm_sentences(content["alarms"]) if "alarms" in content else "",
        relabelled_sentence(content.get("relabelled")),
        overlap_sentence(shared) if shared else "",
        content.get("note") or "",
    ]
    return " ".join(part for part in words if part)


def no_figures(content: dict[str, Any]) -> str:
    """Why there is no figure of items, for the middle of a sentence; empty where there are labelled items."""
    if content["items"]:
        return ""
    classes = content.get("without_meaning")
    if classes:
        return (
            f"no figures of items, because nothing says which of the {len(classes)} classes are normal: say it when training, "
            f"for example with {shlex.join(normal_class_words(classes))}."
        )
    return "no figures of items, because no item new to the run has a label (give some with --labels at the ingest stage)."


def _on_items(content: dict[str, Any]) -> str:
    if not content["items"]:
        return no_figures(content)
    counts = f"{content['normal']} normal, {content['anomaly']} anomalies, {content['evaluated']}"
    if content["auc"] is None:
        return f"no AUC, because only one class is there ({counts})."
    text = f"AUC {_with_interval(content['auc'], content['auc_interval'])}, average precision "
    text += f"{content['average_precision']:.3f} ({counts})."
    for name, what in (("localisation", "regions"), ("slides", "slides' outlines")):
        if content[name] and content[name]["hit_rate"] is not None:
            rate, chance = content[name]["hit_rate"], content[name]["chance"]
            text += f" Hit rate on {what} {rate:.2f} (chance {chance:.2f})."
    return text


def _on_seen(count: int | None) -> str:
    """How many labelled items do not count since the run has seen them; empty for none, and where a test part was drawn."""
    if not count:
        return ""
    return (
        f"Left out: {count} labelled items that trained or validated, or are copies, or of the groups (patients, slides), of such "
        "(esad score says more)."
    )


def _on_classes(classes: dict[str, dict[str, Any]]) -> str:
    """Which class of anomalies is found least and which best; empty for fewer than two."""
    areas = {name: each["auc"] for name, each in classes.items() if each["auc"] is not None}
    if len(areas) < 2:
        return ""
    least, best = min(areas, key=lambda name: areas[name]), max(areas, key=lambda name: areas[name])
    told = [
        f"{areas[name]:.3f} ({name}{', labelled in training' if classes[name]['labelled'] else ''})"
        for name in (least, best)
    ]
    return f"AUC of each of {len(areas)} classes against the normal items: from {told[0]} to {told[1]}."


def _on_slides(slides: dict[str, Any] | None) -> str:
    """What metrics.json has of slides in words: AUC of each aggregation, FROC or why there is none."""
    if not slides:
        return ""
    text = ""
    areas = [
        f"{name} {_with_interval(area, slides['auc_interval'][name])}"
        for name, area in slides["auc"].items()
        if area is not None
    ]
    if areas:
        text = (
            f"Slides ({slides['normal']} normal, {slides['tumour']} with tumour), AUC: {', '.join(areas)}. "
        )
    if slides["missing"]:
        text += f"Not here: {len(slides['missing'])} slides of the reference, {slides['missing'][0]} first. "
    unscored = slides.get("unscored_outlines")
    if unscored:
        text += (
            f"{len(unscored)} outline files are of no scored slide ({unscored[0]} first): a slide of this archive that gave no tile counts "
            "in no figure. "
        )
    found = slides["froc"]
    if found is None:
        return f"{text}No FROC: {slides['no_froc']}." if slides["no_froc"] else text
    text += f"FROC {_with_interval(found['score'], found['interval'])} ({found['lesions']} lesions, {found['itc']} ITC, "
    text += f"{found['slides']} slides)."
    for source, reason in list(found["left_out"].items())[:5]:
        text += f" {source} is no part of it: {reason.rstrip('.')}."
    more = len(found["left_out"]) - 5
    return f"{text} So are {more} more slides (metrics.json)." if more > 0 else text


def _with_interval(value: float, interval: list[float] | None) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else f"{value:.3f}"


def reading_note(method: str) -> str:
    """The sentence to print wherever figures of `method` are; empty for one whose code was published."""
    return f"{READINGS[method]}: {OUR_READING}" if method in READINGS else ""
