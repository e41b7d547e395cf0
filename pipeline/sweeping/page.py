"""What a sweep shows: its table as Markdown, and AUC against each swept setting as a figure. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LEFT_OUT = "data.site"
"""Setting of the site that a run of a sweep by sites leaves out; a column of its rows."""
LINES_TOLD = 12
"""Most lines of a panel that get a name in its legend."""


def markdown(
    table: pd.DataFrame,
    names: Sequence[str],
    chosen: Mapping[str, Any],
    held: str,
    reasons: Sequence[str],
    runs: str = "seeds",
) -> str:
    """All combinations, the best first; `held` is the validation part in words.

    `table` has the swept settings, `auc`, `std` and `seeds`, which count `runs`.
    """
    ordered = table.sort_values("auc", ascending=False, kind="stable")
    lines = [
        "# Sweep",
        "",
        f"Chosen: {', '.join(f'`{name}` = {value}' for name, value in chosen.items())}."
        if chosen
        else "Nothing was chosen: there is a run for each site, which it did not train on.",
        "",
        f"AUC in % on the validation part of the training data: {held}. No test item takes part. "
        "Combinations whose AUC differs by little are not told apart by so few anomalies.",
        "",
        f"| {' | '.join(names)} | AUC | spread over {runs} | {runs} |",
        f"|{'---|' * (len(names) + 3)}",
    ]
    for _, row in ordered.iterrows():
        area = "not trained" if row["auc"] != row["auc"] else f"{100 * row['auc']:.2f}"
        spread = "" if row["std"] != row["std"] else f"{100 * row['std']:.2f}"
        lines.append(
            f"| {' | '.join(str(row[name]) for name in names)} | {area} | {spread} | {row['seeds']:.0f} |"
        )
    if reasons:
        lines += ["", "Not trained:", "", *(f"- {reason}" for reason in reasons)]
    return "\n".join(lines) + "\n"


def by_site(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """A line a run of a sweep by sites: its values, the site that it left out, its folder; none of another sweep."""
    if not rows or LEFT_OUT not in rows[0]:
        return []
    lines = [
        "## Sites",
        "",
        "Each run has not seen the items of its site; `esad score` and `esad evaluate` of its folder measure it there. Of many sites, the "
        "spread over them says what a new one may give.",
        "",
        f"| {' | '.join([*names, 'site left out', 'seed', 'validation AUC', 'run'])} |",
        f"|{'---|' * (len(names) + 4)}",
    ]
    for row in rows:
        area = "not trained" if row["auc"] != row["auc"] else f"{100 * row['auc']:.2f}"
        lines.append(
            f"| {' | '.join(str(row[name]) for name in [*names, LEFT_OUT])} | {row['seed']} | {area} | `{row['run']}` |"
        )
    return ["\n".join(lines) + "\n"]


def figure(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """A panel a swept setting: AUC in % against its values, a line for each combination of the others (Figures 2, 5)."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(0.8 + 4.2 * len(names), 3.8), layout="constrained")
    for axes, name in zip(drawn.subplots(1, len(names), squeeze=False, sharey=True)[0], names, strict=True):
        others = [other for other in names if other != name]
        values = list(dict.fromkeys(table[name]))
        groups = list(table.groupby(others, sort=False)) if others else [((), table)]
        for key, part in groups:
            places = [values.index(value) for value in part[name]]
            told = ", ".join(
                f"{other.rsplit('.', 1)[-1]} {value}" for other, value in zip(others, key, strict=True)
            )
            spread = 100 * part["std"].fillna(0)
            axes.errorbar(places, 100 * part["auc"], yerr=spread, fmt="o-", capsize=2, label=told)
        axes.set_xticks(range(len(values)), [str(value) for value in values])
        axes.set_xlabel(name)
        axes.spines[["top", "right"]].set_visible(False)
        if others and len(groups) <= LINES_TOLD:
            axes.legend(frameon=False, fontsize="small")
    drawn.axes[0].set_ylabel("validation AUC in %")
    drawn.axes[0].set_ylim(top=min(drawn.axes[0].get_ylim()[1], 101))
    return drawn
