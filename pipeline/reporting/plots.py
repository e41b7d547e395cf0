"""Curves of the page, as SVG in data addresses."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.evaluation.froc import FALSE_POSITIVES
from esad.pipeline.evaluation.metrics import roc_points
from esad.pipeline.evaluation.metrics_file import read_froc_csv
from esad.pipeline.runs.run_files import read_history

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


COLOURS = {0: "#3b7dd8", 1: "#d6452b"}


def _data(figure: Figure) -> str:
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "esad"}):  # names within the SVG are random otherwise
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _axes(title: str, x: str, y: str) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 3.4))
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plots_of_run(run: Path, items: pd.DataFrame) -> list[dict[str, str]]:
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
    history = read_history(run)
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


def froc_plot(folder: Path, metrics: dict[str, Any]) -> list[dict[str, str]]:
    """Sensitivity over false positives a slide, with the points that the official figure is the mean of."""
    found = (metrics.get("slides") or {}).get("froc")
    if not found:
        return []
    curve = read_froc_csv(folder)
    figure, axes = _axes(
        f"FROC {found['score']:.3f}", "mean false positives a slide", "sensitivity to lesions"
    )
    axes.plot(curve["false_positives"], curve["sensitivity"], color="#1c2330")
    axes.plot(FALSE_POSITIVES, list(found["sensitivity"].values()), "o", color=COLOURS[1], clip_on=False)
    axes.set_xscale("symlog", linthresh=FALSE_POSITIVES[0], base=2)
    axes.set(xlim=(0, max(FALSE_POSITIVES) * 1.1), ylim=(0, 1.02))
    axes.set_xticks([0, *FALSE_POSITIVES], ["0", *(f"{rate:g}" for rate in FALSE_POSITIVES)])
    return [{"title": "FROC", "data": _data(figure)}]
