"""Results of a benchmark as a table of means, and as Markdown beside published figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.benchmark_grid import Grid

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["dataset", "method", "split", "gamma_l", "gamma_p", "k_l"]
SHARED = {
    "normals_trained_on": "mean",
    "anomalies_labelled": "mean",
    "one_part": "max",
    "identical_apart": "max",
}
HEAD = (
    "data", "method", "gamma_l", "runs", "AUC", "paper", "difference", "test normals trained on", "items used twice",
    "identical on two sides",
)  # fmt: skip
NOISE = 2.0
"""Standard errors of a difference of means that chance explains."""


def summarise(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """A row per cell, in the order of `rows` (a row per seed): PLACE, mean and std (n - 1) of AUC in %, runs, `paper` ...

    `paper`, `paper_std` are null where nothing was published; `difference` is ours less the paper's, `beyond_noise`
    whether it exceeds NOISE standard errors, the published figure being of as many runs. The rest is of the splits.
    """
    grouped = rows.groupby("name", sort=False)
    table = grouped[PLACE].first()
    table["mean"], table["std"] = grouped["auc"].mean(), grouped["auc"].std(ddof=1).fillna(0.0)
    table["runs"] = grouped.size()
    published = [
        grid.paper.get(method, {}).get(dataset, (None, None))
        for dataset, method in zip(table["dataset"], table["method"], strict=True)
    ]
    table["paper"], table["paper_std"] = ([pair[place] for pair in published] for place in (0, 1))
    table[["paper", "paper_std"]] = table[["paper", "paper_std"]].astype(float)
    table["difference"] = table["mean"] - table["paper"]
    error = ((table["std"] ** 2 + table["paper_std"] ** 2) / table["runs"]) ** 0.5
    table["beyond_noise"] = table["difference"].abs() > NOISE * error
    for name, how in SHARED.items():
        table[name] = grouped[name].agg(how)
    table = table.astype(object).where(table.notna(), None)
    return table.reset_index()


def markdown(table: pd.DataFrame, grid: Grid) -> str:
    """The table of `summarise` as Markdown, a section per split with what the audit found."""
    sections = [
        f"# {grid.title}\n\nAUC in %, mean +- spread over seeds; `paper`: as published, not measured here."
    ]
    for split, part in table.groupby("split", sort=False):
        lines = [
            f"## Split: {split}\n",
            f"| {' | '.join(HEAD)} |",
            "|---" * len(HEAD) + "|",
        ]
        lines += [_line(row) for row in part.to_dict("records")]
        sections.append("\n".join(lines))
    sections.append(
        f"A difference is beyond noise above {NOISE:g} standard errors of both means. Items used twice and identical ones "
        "are those of the worst seed; a split that has some fails `esad audit`."
    )
    return "\n\n".join(sections) + "\n"


def _line(row: dict) -> str:
    paper, difference = "", ""
    if row["paper"] is not None:
        paper = f"{row['paper']:.1f} +- {row['paper_std']:.1f}"
        difference = f"{row['difference']:+.1f}, {'beyond' if row['beyond_noise'] else 'within'} noise"
    values = [
        row["dataset"], row["method"], _ratios(row), row["runs"], f"{row['mean']:.1f} +- {row['std']:.1f}", paper, difference,
        f"{row['normals_trained_on']:.0%}", row["one_part"], row["identical_apart"],
    ]  # fmt: skip
    return "| " + " | ".join(str(value) for value in values) + " |"


def _ratios(row: dict) -> str:
    """gamma_l, and the other two where they are not the usual."""
    pollution = f", gamma_p {row['gamma_p']:g}" if row["gamma_p"] else ""
    known = "" if row["k_l"] is None else f", k_l {row['k_l']}"
    return f"{row['gamma_l']:g}{pollution}{known}"
