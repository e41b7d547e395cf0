"""Figures of a benchmark: every method's AUC beside the published one, and AUC against the ratio that a grid varies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RATIOS = {
    "gamma_l": "labelled anomalies / training items",
    "gamma_p": "anomalies / unlabelled items",
    "k_l": "anomaly classes that are labelled",
    "labelled": "labelled anomalies",
}
COLOURS = {"published": "#3b7dd8", "clean": "#d6452b", "validation": "#5b6576", "leave-site-out": "#7a4fa3"}
PANELS_ACROSS = 3


def figures(table: pd.DataFrame) -> dict[str, Figure]:
    """Name of the file without its ending -> figure, of a table of `benchmark_tables.summarise`.

    `methods` has all data sets where every method has one figure a split; `<ratio>-<split>` where the grid has several
    values of a ratio. Whiskers are one standard deviation over seeds.
    """
    varied = [name for name in RATIOS if table[name].nunique(dropna=False) > 1]
    if not varied:
        return {"methods": _methods(table)}
    return {
        f"{ratio}-{split}": _against(part, ratio)
        for ratio in varied
        for split, part in table.groupby("split", sort=False)
    }


def _panels(datasets: list[str], height: float, **more: Any) -> tuple[Figure, dict[str, Any]]:
    """A figure with one panel a data set."""
    from matplotlib.figure import Figure

    across = min(PANELS_ACROSS, len(datasets))
    down = -(-len(datasets) // across)
    figure = Figure(figsize=(1.4 + 3.4 * across, 0.6 + height * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, **more).flatten()
    for spare in axes[len(datasets) :]:
        spare.set_visible(False)
    for name, one in zip(datasets, axes, strict=False):
        one.set_title(name)
        one.spines[["top", "right"]].set_visible(False)
    return figure, dict(zip(datasets, axes, strict=False))


def _methods(table: pd.DataFrame) -> Figure:
    """A dot for each method and split of each data set, a hollow diamond where something was published."""
    names = list(dict.fromkeys(table["label"]))
    splits = list(dict.fromkeys(table["split"]))
    figure, panels = _panels(list(dict.fromkeys(table["dataset"])), 0.8 + 0.3 * len(names), sharey=True)
    for dataset, axes in panels.items():
        rows = table[table["dataset"] == dataset]
        for place, split in enumerate(splits):
            part = rows[rows["split"] == split]
            heights = [names.index(name) + 0.22 * (place - (len(splits) - 1) / 2) for name in part["label"]]
            axes.errorbar(
                part["mean"].astype(float), heights, xerr=part["std"].astype(float), fmt="o", markersize=4, color=COLOURS[split],
                linewidth=1, label=f"{split} split",
            )  # fmt: skip
        known = rows[rows["paper"].notna()].drop_duplicates("label")
        heights = [names.index(name) for name in known["label"]]
        axes.plot(known["paper"].astype(float), heights, "D", color="#1c2330", mfc="none", label="the paper")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("AUC in %")
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="y", color="#e3e7ee")
    handles, labels = next(iter(panels.values())).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _against(table: pd.DataFrame, ratio: str) -> Figure:
    """A line for each method, and for each value of another ratio that varies, too."""
    others = [name for name in RATIOS if name != ratio and table[name].nunique(dropna=False) > 1]
    figure, panels = _panels(list(dict.fromkeys(table["dataset"])), 3.0, sharex=True)
    for dataset, axes in panels.items():
        rows = table[(table["dataset"] == dataset) & table[ratio].notna()]
        for key, part in rows.groupby(["label", *others], sort=False, dropna=False):
            line = part.assign(place=part[ratio].astype(float)).sort_values("place")
            name = ", ".join([str(key[0]), *(f"{a} {b}" for a, b in zip(others, key[1:], strict=True))])
            if len(line) == 1 and line["place"].iloc[0] == 0:  # it makes no use of labelled anomalies
                axes.axhline(float(line["mean"].iloc[0]), linestyle=":", color="#5b6576", label=name)
                continue
            axes.errorbar(
                line["place"],
                line["mean"].astype(float),
                yerr=line["std"].astype(float),
                fmt="o-",
                capsize=2,
                label=name,
            )
        if ratio == "labelled":
            values = sorted({int(value) for value in table[ratio].dropna()})
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xticks(values, map(str, values))
            axes.minorticks_off()
        axes.set(xlabel=RATIOS[ratio], ylabel="AUC in %")
        axes.tick_params(labelbottom=True)  # a panel of an upper row may have none below it
    handles, labels = next(iter(panels.values())).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure
