"""Curves of the page, as SVG in data addresses, with what is seen on them in words."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.evaluation.measures.froc import FALSE_POSITIVES
from esad.pipeline.evaluation.measures.metrics import auc, roc_points
from esad.pipeline.evaluation.metrics_file import read_froc_csv
from esad.pipeline.runs.run_files import read_history

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


COLOURS = {0: "#3b7dd8", 1: "#d6452b"}
DARK = "#1c2330"
KINDS = {0: "normal", 1: "anomaly"}


def svg_address(content: bytes) -> str:
    """An SVG file's content as a data address."""
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()


def _data(figure: Figure) -> str:
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "esad"}):  # names within the SVG are random otherwise
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return svg_address(buffer.getvalue())


def _axes(title: str, x: str, y: str) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 3.4))
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plots_of_run(run: Path | None, items: pd.DataFrame) -> list[dict[str, str]]:
    """ROC curve, score histogram by label, training loss: title, picture and what is seen, of each that there is.

    `run` is None of combined scores, which no training of their own made.
    """
    labels, scores = items["label"].to_numpy(dtype=int), items["score"].to_numpy(dtype=float)
    found = [_roc(scores, labels), _histogram(scores, labels), _loss(read_history(run)) if run else None]
    return [plot for plot in found if plot]


def _roc(scores: np.ndarray, labels: np.ndarray) -> dict[str, str] | None:
    if len(np.unique(labels)) < 2:
        return None
    figure, axes = _axes("ROC curve", "false positive rate", "true positive rate")
    false, true = roc_points(scores, labels)
    axes.plot(false, true, color=DARK)
    axes.plot([0, 1], [0, 1], color="#b8c0cc", linestyle=":")
    few = float(np.interp(0.05, false, true))
    seen = (
        f"ROC curve: the true positive rate rises to {few:.2f} at a false positive rate of 0.05; the area under it is "
        f"{auc(scores, labels):.3f}, the dotted diagonal is chance."
    )
    return {"title": "ROC curve", "data": _data(figure), "seen": seen}


def _histogram(scores: np.ndarray, labels: np.ndarray) -> dict[str, str] | None:
    if not len(scores):
        return None
    figure, axes = _axes("Scores by label", "score", "share of items")
    low, high = np.percentile(scores, [0, 99.5])
    bins = np.linspace(low, max(high, low + 1e-9), 40)
    seen = []
    for label, name in KINDS.items():
        values = scores[labels == label]
        if len(values):
            weights = np.full(len(values), 1 / len(values))
            axes.hist(
                values.clip(low, high), bins, weights=weights, alpha=0.6, color=COLOURS[label], label=name
            )
            quarters = np.percentile(values, [25, 50, 75])
            seen.append(
                f"half of {len(values)} {'normal items' if label == 0 else 'anomalies'} score from {quarters[0]:.3g} to {quarters[2]:.3g}, "
                f"median {quarters[1]:.3g}"
            )
    axes.legend(frameon=False)
    axes.locator_params(axis="x", nbins=5)
    axes.ticklabel_format(axis="x", scilimits=(-2, 4))
    return {
        "title": "Scores by label",
        "data": _data(figure),
        "seen": f"Histogram of scores by label: {'; '.join(seen)}.",
    }


def _loss(history: pd.DataFrame) -> dict[str, str] | None:
    loss = history[(history["term"] == "loss") & (history["value"] > 0)]
    if loss.empty:  # a fit in closed form has none
        return None
    figure, axes = _axes("Training loss", "step", "loss")
    seen = []
    for phase, rows in loss.groupby("phase", sort=False):
        axes.plot(rows["step"], rows["value"], label=str(phase), marker="o" if len(rows) == 1 else None)
        first, last = rows.iloc[0], rows.iloc[-1]
        seen.append(
            f"{phase} from {first['value']:.3g} at step {first['step']:.0f} to {last['value']:.3g} at step {last['step']:.0f}"
        )
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return {
        "title": "Training loss",
        "data": _data(figure),
        "seen": f"Training loss, by phase: {'; '.join(seen)}.",
    }


def froc_plot(folder: Path, metrics: dict[str, Any]) -> list[dict[str, str]]:
    """Sensitivity over false positives a slide, with the points that the official figure is the mean of."""
    found = (metrics.get("slides") or {}).get("froc")
    if not found:
        return []
    curve = read_froc_csv(folder)
    figure, axes = _axes(
        f"FROC {found['score']:.3f}", "mean false positives a slide", "sensitivity to lesions"
    )
    axes.plot(curve["false_positives"], curve["sensitivity"], color=DARK)
    axes.plot(FALSE_POSITIVES, list(found["sensitivity"].values()), "o", color=COLOURS[1], clip_on=False)
    axes.set_xscale("symlog", linthresh=FALSE_POSITIVES[0], base=2)
    axes.set(xlim=(0, max(FALSE_POSITIVES) * 1.1), ylim=(0, 1.02))
    axes.set_xticks([0, *FALSE_POSITIVES], ["0", *(f"{rate:g}" for rate in FALSE_POSITIVES)])
    at = ", ".join(f"{value:.2f} at {rate}" for rate, value in found["sensitivity"].items())
    return [
        {
            "title": "FROC",
            "data": _data(figure),
            "seen": f"FROC curve: sensitivity to lesions {at} false positives a slide.",
        }
    ]


def intervals_plot(measured: Sequence[tuple[str, float, Sequence[float] | None]]) -> dict[str, str]:
    """AUC of each run (its name, value, interval or None) as a point on a line from end to end of the interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 0.9 + 0.32 * len(measured)))
    axes = figure.add_subplot()
    axes.spines[["top", "right", "left"]].set_visible(False)
    seen = []
    for place, (name, value, interval) in enumerate(measured):
        if interval:
            axes.plot(interval, [place, place], color=DARK, linewidth=1.5, solid_capstyle="butt")
        axes.plot([value], [place], "o", color=COLOURS[0])
        seen.append(
            f"{name} {value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
        )
    axes.set_yticks(
        range(len(measured)),
        [name if len(name) <= 40 else name[:39] + "…" for name, *_ in measured],
        parse_math=False,
    )
    axes.set(xlabel="AUC, with 95 % intervals by group", ylim=(len(measured) - 0.5, -0.5))
    axes.grid(axis="x", color="#e3e7ee")
    axes.set_axisbelow(True)
    return {
        "title": "AUC of the runs",
        "data": _data(figure),
        "seen": f"AUC with 95 % intervals: {'; '.join(seen)}.",
    }
