"""All that the page shows of one SCORES folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from esad.pipeline.evaluation.counted_items import evaluated_items
from esad.pipeline.evaluation.explained import explained_sentence
from esad.pipeline.evaluation.metrics_file import read_slides_csv, stored_metrics
from esad.pipeline.evaluation.sentence import no_figures
from esad.pipeline.reporting.alarms import alarm_rows
from esad.pipeline.reporting.classes import class_rows
from esad.pipeline.reporting.compared import measured_on
from esad.pipeline.reporting.left_out import left_out
from esad.pipeline.reporting.manuscript.paragraph import Facts, methods_text
from esad.pipeline.reporting.pictures import galleries, slide_maps, slides_with_map
from esad.pipeline.reporting.plots import froc_plot, plots_of_run
from esad.pipeline.reporting.rows import row_heat
from esad.pipeline.runs.run_files import (
    COMBINED,
    read_assignments,
    read_config,
    read_heat_scales,
    read_provenance,
)
from esad.pipeline.scoring.open_scores import of_slides, open_scores, read_explanation, scores_folder

if TYPE_CHECKING:
    import pandas as pd

SLIDES_LISTED = 40


def section(path: Path, compared: bool = False) -> dict[str, Any]:
    """All that the template shows of one scores folder; `compared`: with `measured`, which a comparison of runs needs."""
    folder = scores_folder(path)
    scores = open_scores(folder)
    metrics = stored_metrics(scores)
    described, run, table = scores.marker, scores.run, scores.table
    config, provenance, parts = read_config(run), read_provenance(run), read_assignments(run)
    items, _ = evaluated_items(scores)
    explanation, reconstruction = read_explanation(folder), provenance.get("reconstruction")
    panels = _panels(explanation, run)
    store, combined = config["store"], config["method"] == COMBINED
    settings = {name: value for name, value in config.items() if name != "store"}
    return {
        "run": run.name, "store": Path(described["store"]).name, "method": config["method"], "metrics": metrics,
        "explained": explained_sentence(reconstruction) if reconstruction else "",
        "description": _description(config, provenance, parts, metrics, len(table)),
        "plots": [*plots_of_run(None if combined else run, items), *froc_plot(folder, metrics)],
        "galleries": galleries(folder, items if len(items) else table, panels),
        "classes": class_rows(metrics), "no_figures": no_figures(metrics).removesuffix("."),
        "slides": slide_maps(folder, table) if of_slides(described) else [], "slides_with_map": slides_with_map(folder),
        "alarms": alarm_rows(metrics), "left_out": left_out(scores, metrics),
        "methods": methods_text(Facts(config, provenance, parts, described, metrics, explanation)),
        "slide_rows": _slide_rows(folder, metrics), "panels": panels, "rows": row_heat(folder, table),
        "synthetic": "synthetic" in json.dumps(described).lower(),
        "measured": measured_on(scores, store) if compared else None,
        "settings": yaml.safe_dump({**settings, "versions": provenance["versions"], "ingest": store["settings"]}, sort_keys=False),
    }  # fmt: skip


def _description(
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    parts: pd.DataFrame,
    metrics: Mapping[str, Any],
    scored: int,
) -> str:
    """What was trained on what, in a sentence."""
    labelled = int((parts["semi_label"] == -1).sum())
    if config["method"] == COMBINED:
        return (
            f"The scores of {len(config['members'])} runs on {config['store']['name']} as one; combined for {scored} items; evaluated on "
            f"{metrics['items']} ({metrics['evaluated']})."
        )
    return (
        f"{config['method'].upper()} trained on {int((parts['part'] == 'train').sum())} items ({labelled} labelled anomalies) of "
        f"{config['store']['name']} for {provenance['steps']} steps on {provenance['device']}, seed "
        f"{config['seed']}; scored {scored} items; evaluated on {metrics['items']} ({metrics['evaluated']})."
    )


def _slide_rows(folder: Path, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The slides with the highest `top_mean`, at most SLIDES_LISTED; nulls are None."""
    if not metrics.get("slides") or not (folder / "slides.csv").is_file():
        return []
    table = read_slides_csv(folder)
    rows = table.sort_values("top_mean", ascending=False, kind="stable").head(SLIDES_LISTED).astype(object)
    return rows.where(rows.notna(), None).to_dict("records")


def _panels(explanation: Mapping[str, Any] | None, run: Path) -> list[str]:
    """What an overlay shows from left to right; a method without reconstructions has fewer panels."""
    path = run / "heat.json"
    maps = read_heat_scales(run) if path.is_file() else {}
    has = ("pixel_error" in maps, "contribution" in maps, "pixel_error" in maps)
    how = (explanation or {}).get("contributions", "integrated gradients from the mean normal picture")
    if (explanation or {}).get("explained_by") == "encoder":  # of embeddings, which have no maps of their own
        return ["input", f"each pixel's contribution to the score ({how})"]
    panels = (
        "reconstruction",
        f"each pixel's contribution to the score ({how})",
        "squared reconstruction error",
    )
    return ["input", *[panel for panel, there in zip(panels, has, strict=True) if there]]
