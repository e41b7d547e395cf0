"""Curves of AUC against lambda1 or lambda2, drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from esad.pipeline.drawing.curves import SETTINGS, Rows, curve_points, uneven
from esad.pipeline.drawing.style import COLOURS, LINES, MARKERS, Drawing, counted, shortened, styled
from esad.pipeline.evaluation.sentence import reading_note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SYMBOLS = {"loss.lambda1": r"$\lambda_1$", "loss.lambda2": r"$\lambda_2$"}
MOST_CURVES = len(COLOURS) * len(LINES)
"""More would look alike; all are in the CSV."""
MOST_LETTERS = 62
"""Of a curve's name in the legend."""
ASIDE = 0.025
"""Share of the axis over which the curves' points of one value stand beside each other, so that bars do not hide bars."""
LABELS_ACROSS = 9
"""So many values fit below the axis; others lie between the labels of their neighbours."""
ROWS_TOLD = "run, data_set, method, seed; lambda1, lambda2 (empty: changes nothing); auc in [0, 1], of so many normal and anomaly items"
POINTS_TOLD = "curve, data_set; value of the setting; auc in [0, 1], the mean over runs; std, their standard deviation (n - 1)"


def lambda_drawings(rows: Rows) -> list[Drawing]:
    """A figure for each of SETTINGS over which `rows` make a curve."""
    import pandas as pd

    table = pd.DataFrame(rows)
    drawings = []
    for setting in SETTINGS:
        points = curve_points(rows, setting)
        if points.empty:
            continue
        short = setting.rpartition(".")[2]
        shown = table[
            ["run", "data_set", "method", *SETTINGS, "seed", "auc", "evaluated", "normal", "anomaly"]
        ]
        shown = shown.rename(columns={name: name.rpartition(".")[2] for name in SETTINGS})
        evaluated = ", ".join(sorted(set(table["evaluated"])))
        drawings.append(
            Drawing(
                short,
                f"AUC against {short}",
                _caption(setting, points, evaluated, sorted(set(table["method"]))),
                _figure(setting, points, evaluated),
                {
                    f"{short}.csv": (points.drop(columns="members"), f"a point a row: {POINTS_TOLD}"),
                    "lambda-runs.csv": (shown, f"a run a row: {ROWS_TOLD}"),
                },
            )
        )
    return drawings


def _caption(setting: str, points: pd.DataFrame, evaluated: str, methods: Sequence[str]) -> str:
    curves = counted(points["curve"].nunique(), "curve")
    text = f"AUC in % ({evaluated}) over {setting}: {curves}, {_spread(points)}."
    if points["curve"].nunique() > MOST_CURVES:
        text += f" The picture has the first {MOST_CURVES}."
    if (points["value"] == 0).any():
        text += " A value of 0 stands left of the logarithmic axis."
    if points["curve"].nunique() > 1:
        text += " Points of one value stand a little beside each other."
    if uneven(points):
        text += " Points of a curve are means over different sets of runs: compare them with care."
    text += " It shows how much the setting matters. To choose one, take figures of the validation part: esad sweep."
    return " ".join([text, *filter(None, map(reading_note, methods))])


def _spread(points: pd.DataFrame) -> str:
    """`mean ± standard deviation over 3 runs`."""
    fewest, most = int(points["runs"].min()), int(points["runs"].max())
    if most == 1:
        return "one run a point"
    told = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"mean ± standard deviation over {told} runs"


def _figure(setting: str, points: pd.DataFrame, evaluated: str) -> Figure:
    from matplotlib.figure import Figure

    with styled():
        names = points["curve"].unique()[:MOST_CURVES]
        figure = Figure(figsize=(5.2, 3.7 + 0.19 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        places = _log_places(points["value"])
        aside = ASIDE * (max(places.values()) - min(places.values()))
        for number, name in enumerate(names):
            curve = points[points["curve"] == name]
            beside = aside * (number - (len(names) - 1) / 2) / len(names)
            axes.errorbar(
                [places[value] + beside for value in curve["value"]], 100 * curve["auc"], yerr=100 * curve["std"].fillna(0),
                color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)], markersize=5,
                linestyle=LINES[number // len(COLOURS) % len(LINES)], capsize=3, linewidth=1.5,
                label=shortened(name, MOST_LETTERS),
            )  # fmt: skip
        _log_axis(axes, places)
        axes.set(xlabel=f"{SYMBOLS[setting]} ({setting})", ylabel=f"AUC in % ({evaluated})")
        axes.set_title(f"AUC against {SYMBOLS[setting]}\n", fontsize=11)
        axes.text(
            0.5, 1.02, _spread(points), transform=axes.transAxes, ha="center", fontsize=8, color="#444444"
        )
        axes.set_ylim(top=min(axes.get_ylim()[1], 101))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e7ee")
        figure.legend(loc="outside lower center", frameon=False, fontsize=8)
        return figure


def _log_places(values: pd.Series) -> dict[float, float]:
    """Value -> its place on the axis: its decimal logarithm; 0 a decade left of the least other one."""
    known = sorted({float(value) for value in values})
    least = min(value for value in known if value > 0)
    return {value: math.log10(value) if value > 0 else math.log10(least) - 1 for value in known}


def _log_axis(axes: Axes, places: dict[float, float]) -> None:
    """Ticks at the values that occur; labels where they do not touch. Between 0 and the next value the axis is cut."""
    span = max(places.values()) - min(places.values())
    axes.set_xlim(min(places.values()) - 0.06 * span, max(places.values()) + 0.06 * span)
    told: list[float] = []
    for value in sorted(places, key=lambda value: (not _round(value), value)):  # decades first
        if all(abs(places[value] - places[other]) >= span / LABELS_ACROSS for other in told):
            told.append(value)
    labels = [f"{value:g}" if value in told else "" for value in sorted(places)]
    axes.set_xticks(sorted(places.values()), labels)
    if 0 in places:
        middle = places[0] + 0.5
        axes.text(
            middle, 0, "//", transform=axes.get_xaxis_transform(), ha="center", va="center", fontsize=10
        )


def _round(value: float) -> bool:
    """Whether it is 0 or a power of ten."""
    return value == 0 or math.isclose(math.log10(value), round(math.log10(value)), abs_tol=1e-9)
