"""Maps of codes side by side, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from esad.pipeline.drawing.codes import PERPLEXITY, CodeMap
from esad.pipeline.drawing.items import ANOMALY, KINDS, LABELLED, NORMAL, OTHER
from esad.pipeline.drawing.style import Drawing, counted, shortened, styled
from esad.pipeline.evaluation.sentence import reading_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
LOOKS = {
    NORMAL: ("#56B4E9", "o"),
    ANOMALY: ("#D55E00", "^"),
    OTHER: ("#D55E00", "^"),
    LABELLED: ("#000000", "s"),
}
"""Colour and marker: light, middle and dark, so that they are apart in grey, too."""
CODES = {"z": r"$z$", "z_hat": r"$\hat{z}$"}
WIDTH, HEIGHT, HEAD, FOOT, GAP = 2.9, 2.9, 0.62, 0.42, 0.18
"""Of a panel, of the text above and below it, and between panels, in inches."""
MOST_LETTERS = 46
"""Of a run and its store above a panel."""
TOLD = (
    "run, method, code (z, or z_hat of a second encoder); row: the item's place in the store's manifest, from 0; label; "
    "class_name; kind: how it is drawn; x and y of the map"
)


def tsne_drawing(maps: Sequence[CodeMap], most: int, seed: int) -> Drawing:
    """One figure of all maps: a line of panels for each store, of at most COLUMNS panels."""
    tables = [
        each.items.assign(run=each.subject.name, method=each.subject.run.settings.method, code=each.code)
        for each in maps
    ]
    columns = ["run", "method", "code", "row", "label", "class_name", "kind", "x", "y"]
    table = pd.concat(tables)[columns]
    methods = sorted({each.subject.run.settings.method for each in maps})
    which = ", ".join(sorted({each.which for each in maps}))
    caption = (
        f"t-SNE ({_perplexity(maps)}) of the codes of at most {most} items ({which}), half of them normal where "
        f"there are so many, drawn by seed {seed}. Distances between clouds and their sizes mean nothing; what lies among what "
        "does."
    )
    return Drawing(
        "tsne",
        "Maps of the codes",
        " ".join([caption, *filter(None, map(reading_note, methods))]),
        _figure(maps, seed),
        {"tsne.csv": (table, f"a point a row: {TOLD}")},
    )


def _perplexity(maps: Sequence[CodeMap]) -> str:
    fewest = min(len(each.items) for each in maps)
    return f"perplexity {PERPLEXITY:g}" + (" or a third of the items" if fewest < 3 * PERPLEXITY else "")


def _lines(maps: Sequence[CodeMap]) -> list[list[CodeMap]]:
    """The panels by store, and those of a store in lines of at most COLUMNS."""
    stores: dict[str, list[CodeMap]] = {}
    for each in maps:
        stores.setdefault(str(each.subject.store.root), []).append(each)
    return [
        panels[start : start + COLUMNS]
        for panels in stores.values()
        for start in range(0, len(panels), COLUMNS)
    ]


def _figure(maps: Sequence[CodeMap], seed: int) -> Figure:
    """Laid out in inches, so that texts never touch."""
    from matplotlib.figure import Figure

    lines = _lines(maps)
    across = max(map(len, lines))
    width, height = max(across * (WIDTH + GAP) + GAP, 5.2), len(lines) * (HEAD + HEIGHT + FOOT) + 0.75
    with styled():
        figure = Figure(figsize=(width, height))
        for number, line in enumerate(lines):
            for place, each in enumerate(line):
                left = (width - across * (WIDTH + GAP) + GAP) / 2 + place * (WIDTH + GAP)
                bottom = height - number * (HEAD + HEIGHT + FOOT) - HEAD - HEIGHT
                axes = figure.add_axes((left / width, bottom / height, WIDTH / width, HEIGHT / height))
                _panel(axes, each)
        known = [kind for kind in KINDS if any((each.items["kind"] == kind).any() for each in maps)]
        figure.legend(
            handles=[_handle(kind) for kind in known], loc="lower center", ncols=len(known), frameon=False, fontsize=9,
            bbox_to_anchor=(0.5, 0.3 / height),
        )  # fmt: skip
        told = f"t-SNE, {_perplexity(maps)}; items drawn by seed {seed}"
        figure.text(0.5, 0.12 / height, told, ha="center", fontsize=8, color="#444444")
        return figure


def _panel(axes: Axes, each: CodeMap) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#b8c0cc")
    run = each.subject
    place = shortened(f"{run.name} on {run.store.root.name}", MOST_LETTERS)
    axes.set_title(f"{CODES.get(each.code, each.code)} in {run.title}\n", fontsize=11)
    axes.text(0.5, 1.03, place, transform=axes.transAxes, ha="center", fontsize=8)
    normal, abnormal = (int((each.items["label"] == label).sum()) for label in (0, 1))
    axes.set_xlabel(
        f"{normal} of {each.normal} normal items,\n{abnormal} of {counted(each.anomaly, 'anomaly', 'anomalies')} ({each.which})",
        fontsize=8,
    )
    if each.items["x"].isna().any():
        axes.text(0.5, 0.5, "all codes are the same", transform=axes.transAxes, ha="center", va="center")
        return
    for kind in KINDS:  # the fewest last, above the others
        points = each.items[each.items["kind"] == kind]
        colour, marker = LOOKS[kind]
        axes.scatter(points["x"], points["y"], s=9, c=colour, marker=marker, linewidths=0, alpha=0.8)


def _handle(kind: str) -> object:
    from matplotlib.lines import Line2D

    colour, marker = LOOKS[kind]
    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=kind)
