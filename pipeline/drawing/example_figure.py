"""Examples with scores and reconstructions, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.drawing.examples import Examples
from esad.pipeline.drawing.items import ANOMALY, NORMAL
from esad.pipeline.drawing.style import Drawing, counted, file_name, shortened, styled
from esad.pipeline.evaluation.sentence import reading_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, GAP, APART, LEFT, RIGHT = 1.12, 0.08, 0.4, 1.12, 0.15
"""Of a picture, between pictures, between normal and anomalous ones, left and right of all, in inches."""
HEAD, FOOT, SCALE = 0.95, 0.62, 0.62
"""Above the pictures, below them for their scores, and below that for the scale of differences, in inches."""
BRIGHTEST = 0.995
"""Quantile of the differences shown that gets the last colour."""
TOLD = (
    "kind; place; rank of so many by score; row: the item's place in the store's manifest, from 0; label; class_name; score, "
    "percentile and the score's terms; difference: mean absolute difference from the reconstruction, of pictures in [0, 1]"
)


def example_drawing(examples: Examples) -> Drawing:
    """The figure of one run's examples."""
    subject = examples.subject
    name = f"examples-{file_name(subject.name)}"
    columns = [
        "kind",
        "place",
        "rank",
        "of",
        "row",
        "label",
        "class_name",
        "score",
        "percentile",
        "reconstruction",
        "norm",
    ]
    table = examples.items[[*columns, "difference"]]
    caption = (
        f"Items of the {examples.which} in order of their scores, lowest to highest, normal ones and anomalies apart; the higher the "
        "score, the more abnormal. "
    )
    if examples.outputs is None:
        caption += f"{subject.title} does not reconstruct, so there are inputs and scores only."
    else:
        caption += (
            "Difference: absolute, of values in [0, 1], mean over channels; one scale for the figure. It is single pixels', while the "
            "score may count means of blocks and other terms."
        )
    note = reading_note(subject.run.settings.method)
    return Drawing(
        name,
        f"Examples of {subject.name}",
        f"{caption} {note}".strip(),
        _figure(examples),
        {f"{name}.csv": (table, f"an example a row: {TOLD}")},
    )


def _figure(examples: Examples) -> Figure:
    """Laid out in inches, so that texts never touch."""
    from matplotlib.figure import Figure

    rows = _rows(examples)
    down = SIDE * examples.inputs.shape[1] / examples.inputs.shape[2]
    groups = [group for _, group in examples.items.groupby("label", sort=True)]
    offsets = _offsets([len(group) for group in groups])
    scale = SCALE if len(rows) > 1 else 0.0
    width = max(offsets[-1] + SIDE + RIGHT, 5.0)
    height = HEAD + len(rows) * (down + GAP) + FOOT + scale
    with styled():
        figure = Figure(figsize=(width, height))
        for place, offset in enumerate(offsets):
            for line, (title, pictures, looks) in enumerate(rows):
                bottom = height - HEAD - (line + 1) * down - line * GAP
                axes = figure.add_axes((offset / width, bottom / height, SIDE / width, down / height))
                image = axes.imshow(pictures[place], interpolation="nearest", **looks)
                axes.set_xticks([])
                axes.set_yticks([])
                if place == 0:
                    axes.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
                if line == 0:
                    axes.set_title(examples.items["place"].iloc[place], fontsize=8, pad=3)
                if line == len(rows) - 1:
                    _told(axes, examples.items.iloc[place])
        _heads(figure, groups, offsets, examples)
        if scale:
            axes = figure.add_axes(
                (LEFT / width, 0.42 / height, min(2.6, width - LEFT - RIGHT) / width, 0.12 / height)
            )
            bar = figure.colorbar(image, cax=axes, orientation="horizontal")
            bar.ax.tick_params(labelsize=7)
            figure.text(
                (LEFT - 0.1) / width, 0.48 / height, "difference", ha="right", va="center", fontsize=8
            )
        return figure


def _rows(examples: Examples) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
    """(title, pictures, how imshow draws them) of each line: input, and of a method that reconstructs two more."""
    grey: dict[str, Any] = {"vmin": 0.0, "vmax": 1.0, "cmap": "gray"}
    rows = [("input", _shown(examples.inputs), grey)]
    differences = examples.differences
    if examples.outputs is not None and differences is not None:
        top = float(np.quantile(differences, BRIGHTEST)) or 1.0
        rows.append(("reconstruction", _shown(examples.outputs), grey))
        rows.append(("difference", differences, {"vmin": 0.0, "vmax": top, "cmap": "inferno"}))
    return rows


def _shown(pictures: np.ndarray) -> np.ndarray:
    """(N, H, W, C) in [0, 1] as imshow takes them: (N, H, W, 3), or (N, H, W) where there are not three channels."""
    clipped = np.clip(pictures, 0, 1)
    return clipped if pictures.shape[-1] == 3 else clipped[..., 0]


def _offsets(counts: list[int]) -> list[float]:
    """Left ends of the pictures, in inches."""
    offsets, left = [], LEFT
    for count in counts:
        offsets += [left + place * (SIDE + GAP) for place in range(count)]
        left += count * (SIDE + GAP) + APART
    return offsets


def _told(axes: Axes, item: pd.Series) -> None:
    """Below a picture: its score, its percentile, and its class where it has one."""
    lines = [f"score {item['score']:.3g}", f"percentile {item['percentile']:.3f}"]
    if isinstance(item["class_name"], str):
        lines.append(shortened(f"class {item['class_name']}", 18))
    axes.set_xlabel("\n".join(lines), fontsize=7.5, labelpad=3)


def _heads(figure: Figure, groups: list[pd.DataFrame], offsets: list[float], examples: Examples) -> None:
    width, height = figure.get_size_inches()
    subject = examples.subject
    text = f"{subject.title}: {subject.name} on {subject.store.root.name}, {examples.which}"
    text += "" if examples.outputs is not None else " (it does not reconstruct)"
    figure.text(0.15 / width, (height - 0.3) / height, shortened(text, int(13 * width)), fontsize=10)
    first = 0
    for group in groups:
        last = first + len(group) - 1
        middle = (offsets[first] + offsets[last] + SIDE) / 2
        kind = group["kind"].iloc[0]
        words = {NORMAL: ("normal item", "normal items"), ANOMALY: ("anomaly", "anomalies")}[kind]
        figure.text(
            middle / width, (height - HEAD + 0.3) / height, counted(int(group["of"].iloc[0]), *words), ha="center", fontsize=9,
            weight="bold",
        )  # fmt: skip
        first = last + 1
