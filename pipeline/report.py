"""`esad report RUN|SCORES...`: one self-contained HTML page: what was run, figures, curves, items, heat maps."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from esad.pipeline.evaluate import evaluated_items, open_scores, scores_folder, stored_metrics
from esad.pipeline.evaluation.froc import FALSE_POSITIVES
from esad.pipeline.evaluation.metrics import roc_points
from esad.pipeline.stage.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6
SLIDES_SHOWN = 12
SLIDES_LISTED = 40
SLIDE_MAP_SIDE = 700
COLOURS = {0: "#3b7dd8", 1: "#d6452b"}
PANELS = (
    "reconstruction",
    "each pixel's contribution to the score (integrated gradients from the mean normal picture)",
    "squared reconstruction error",
)


def report(paths: Sequence[Path], out: Path | None = None, note: str | None = None) -> Outcome:
    """Write the page for runs or scores folders; those that have not been evaluated are evaluated first."""
    from jinja2 import Environment, PackageLoader

    from esad.preprocessing.store.store import write_atomically

    sections = [_section(path) for path in paths]
    page = out or scores_folder(paths[0]) / "report.html"
    environment = Environment(loader=PackageLoader("esad.pipeline.reporting"), autoescape=True)
    environment.filters.update(figure=_figure, interval=_interval, share=lambda value: f"{100 * value:.0f} %")
    notes = [note] if note else []
    if any(section["synthetic"] for section in sections):
        notes.append(
            "Slides and radiographs marked synthetic were drawn by a program: they mean nothing medically."
        )
    html = environment.get_template("report.html.j2").render(sections=sections, notes=notes)
    write_atomically(page, lambda temporary: temporary.write_text(html, encoding="utf-8"))
    summary = {
        "report": str(page),
        "runs": len(sections),
        "auc": {s["run"]: s["metrics"]["auc"] for s in sections},
    }
    return Outcome(page, f"Wrote {page.resolve()}: open it in a browser.", "", 0, summary)


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _interval(value: list[float] | None) -> str:
    return "n/a" if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def _section(path: Path) -> dict[str, Any]:
    """All that the template shows of one scores folder."""
    folder = scores_folder(path)
    scores = open_scores(folder)
    metrics = stored_metrics(scores)
    described, run, table = scores.marker, scores.run, scores.table
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    provenance = json.loads((run / "provenance.json").read_text())
    items, _ = evaluated_items(scores)
    store = config.pop("store")
    parts = pd.read_parquet(run / "assignments.parquet")
    labelled = int((parts["semi_label"] == -1).sum())
    text = (
        f"{config['method'].upper()} trained on {int((parts['part'] == 'train').sum())} items ({labelled} labelled anomalies) of "
        f"{store['name']} for {provenance['steps']} steps on {provenance['device']} in {provenance['seconds']:.0f} s, seed "
        f"{config['seed']}; scored {len(table)} items; evaluated on {metrics['items']} ({metrics['evaluated']})."
    )
    return {
        "run": run.name, "store": Path(described["store"]).name, "method": config["method"], "metrics": metrics,
        "description": text, "plots": [*_plots(run, items), *_froc_plot(folder, metrics)],
        "galleries": _galleries(folder, items if len(items) else table),
        "slides": _slides(folder), "slide_rows": _slide_rows(folder, metrics), "panels": _panels(run),
        "synthetic": "synthetic" in json.dumps(described).lower(),
        "settings": yaml.safe_dump({**config, "versions": provenance["versions"], "ingest": store["settings"]}, sort_keys=False),
    }  # fmt: skip


def _data(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _axes(title: str, x: str, y: str) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 3.4))
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _plots(run: Path, items: pd.DataFrame) -> list[dict[str, str]]:
    """ROC curve, score histogram by label, training loss."""
    plots = []
    labels, scores = items["label"].to_numpy(dtype=int), items["score"].to_numpy(dtype=float)
    if len(np.unique(labels)) == 2:
        figure, axes = _axes("ROC curve", "false positive rate", "true positive rate")
        axes.plot(*roc_points(scores, labels), color="#1c2330")
        axes.plot([0, 1], [0, 1], color="#b8c0cc", linestyle=":")
        plots.append({"title": "ROC curve", "data": _data(figure)})
    if len(items):
        figure, axes = _axes("Scores by label", "score", "share of items")
        low, high = np.percentile(scores, [0, 99.5])
        bins = np.linspace(low, max(high, low + 1e-9), 40)
        for label, name in ((0, "normal"), (1, "anomaly")):
            values = scores[labels == label].clip(low, high)
            if len(values):
                weights = np.full(len(values), 1 / len(values))
                axes.hist(values, bins, weights=weights, alpha=0.6, color=COLOURS[label], label=name)
        axes.legend(frameon=False)
        plots.append({"title": "Scores by label", "data": _data(figure)})
    history = pd.read_csv(run / "history.csv")
    loss = history[(history["term"] == "loss") & (history["value"] > 0)]
    if loss.empty:  # a fit in closed form has none
        return plots
    figure, axes = _axes("Training loss", "step", "loss")
    for phase, rows in loss.groupby("phase", sort=False):
        axes.plot(rows["step"], rows["value"], label=str(phase))
    axes.set_yscale("log")
    axes.legend(frameon=False)
    plots.append({"title": "Training loss", "data": _data(figure)})
    return plots


def _froc_plot(folder: Path, metrics: dict[str, Any]) -> list[dict[str, str]]:
    """Sensitivity over false positives a slide, with the points that the official figure is the mean of."""
    found = (metrics.get("slides") or {}).get("froc")
    if not found:
        return []
    curve = pd.read_csv(folder / "froc.csv")
    figure, axes = _axes(
        f"FROC {found['score']:.3f}", "mean false positives a slide", "sensitivity to lesions"
    )
    axes.plot(curve["false_positives"], curve["sensitivity"], color="#1c2330")
    axes.plot(FALSE_POSITIVES, list(found["sensitivity"].values()), "o", color=COLOURS[1], clip_on=False)
    axes.set_xscale("symlog", linthresh=FALSE_POSITIVES[0], base=2)
    axes.set(xlim=(0, max(FALSE_POSITIVES) * 1.1), ylim=(0, 1.02))
    axes.set_xticks([0, *FALSE_POSITIVES], ["0", *(f"{rate:g}" for rate in FALSE_POSITIVES)])
    return [{"title": "FROC", "data": _data(figure)}]


def _slide_rows(folder: Path, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The slides with the highest `top_mean`, at most SLIDES_LISTED; nulls are None."""
    if not metrics.get("slides") or not (folder / "slides.csv").is_file():
        return []
    table = pd.read_csv(folder / "slides.csv", dtype={"source": "string"})
    rows = table.sort_values("top_mean", ascending=False, kind="stable").head(SLIDES_LISTED).astype(object)
    return rows.where(rows.notna(), None).to_dict("records")


def _galleries(folder: Path, items: pd.DataFrame) -> list[dict[str, Any]]:
    """Strips of the clearest and the worst judged items that have overlays."""
    overlays = folder / "overlays"
    shown = items[items["item_id"].isin({path.stem for path in overlays.glob("*.png")})]
    if shown.empty:
        return []
    anomalies, normals = shown[shown["label"] == 1], shown[shown["label"] == 0]
    chosen = [
        ("Anomalies with the highest scores", anomalies.nlargest(SHOWN, "score")),
        ("Anomalies with the lowest scores (missed first)", anomalies.nsmallest(SHOWN, "score")),
        ("Normal items with the highest scores (false alarms first)", normals.nlargest(SHOWN, "score")),
        ("Normal items with the lowest scores", normals.nsmallest(SHOWN // 2, "score")),
    ]
    if anomalies.empty and normals.empty:
        chosen = [("Highest scores", shown.nlargest(2 * SHOWN, "score"))]
    galleries = []
    for title, rows in chosen:
        pictures = [
            {"title": f"{row.source} ({row.item_id}): score {row.score:.4g}, above {100 * row.percentile:.0f} % of normals",
             "data": _png((overlays / f"{row.item_id}.png").read_bytes())}
            for row in rows.itertuples()
        ]  # fmt: skip
        if pictures:
            galleries.append({"title": title, "pictures": pictures})
    return galleries


def _panels(run: Path) -> list[str]:
    """What an overlay shows from left to right; a method without reconstructions or gradient has fewer panels."""
    path = run / "heat.json"
    maps = json.loads(path.read_text()) if path.is_file() else {}
    has = ("pixel_error" in maps, "contribution" in maps, "pixel_error" in maps)
    return ["input", *[panel for panel, there in zip(PANELS, has, strict=True) if there]]


def _png(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _slides(folder: Path) -> list[dict[str, str]]:
    """Heat maps of the first slides, made small enough for the page."""
    from PIL import Image

    found = []
    for path in sorted((folder / "slides").glob("*.png"))[:SLIDES_SHOWN]:
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((SLIDE_MAP_SIDE, SLIDE_MAP_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=88)
        found.append(
            {
                "title": path.stem,
                "data": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(),
            }
        )
    return found


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["report", *sys.argv[1:]])
