"""Results of a benchmark as a table of means, and as texts beside published figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from esad.pipeline.benchmarking.grid import Cell, Grid

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["dataset", "method", "split", "gamma_l", "gamma_p", "k_l", "oracle"]
SHARED = {
    "normals_trained_on": "mean",
    "anomalies_labelled": "mean",
    "one_part": "max",
    "identical_apart": "max",
}
TITLES = {
    "dataset": "data", "label": "method", "ratios": "gamma_l", "runs": "runs", "auc": "AUC", "paper": "paper",
    "difference": "difference", "trained_on": "test normals trained on", "one_part": "items used twice",
    "identical_apart": "identical on two sides",
}  # fmt: skip
"""What a line shows -> its head."""
NOISE = 2.0
"""Standard errors of a difference of means that chance explains."""
PAPER_RUNS = 10
"""Of each published figure (paper 6.4)."""
NOTES = (
    "AUC in %, mean +- spread over seeds; `paper`: as published, not measured here.",
    f"A difference is beyond noise above {NOISE:g} standard errors of both means. Items used twice and identical ones are "
    "those of the worst seed; a split that has some fails `esad audit`.",
    "Oracle: the kernel was chosen on a tenth of the test part, as published figures of kernel methods were.",
)


def summarise(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """A row per cell, in the order of `rows` (a row per seed): PLACE, `label`, mean and std (n - 1) of AUC in %, runs ...

    `paper`, `paper_std` are null where nothing was published; `difference` is ours less the paper's, `beyond_noise`
    whether it exceeds NOISE standard errors, the published figure being of PAPER_RUNS runs; False of a single run, which
    has no spread. The rest is of the splits.
    """
    grouped = rows.groupby("name", sort=False)
    table = grouped[PLACE].first()
    table["mean"], table["std"] = grouped["auc"].mean(), grouped["auc"].std(ddof=1).fillna(0.0)
    table["runs"] = grouped.size()
    table["label"] = table["method"].where(~table["oracle"], table["method"] + " (oracle)")
    published = [
        grid.paper.get(method, {}).get(dataset, (None, None))
        for dataset, method in zip(table["dataset"], table["method"], strict=True)
    ]
    table["paper"], table["paper_std"] = ([pair[place] for pair in published] for place in (0, 1))
    table[["paper", "paper_std"]] = table[["paper", "paper_std"]].astype(float)
    table["difference"] = table["mean"] - table["paper"]
    error = (table["std"] ** 2 / table["runs"] + table["paper_std"] ** 2 / PAPER_RUNS) ** 0.5
    table["beyond_noise"] = (table["difference"].abs() > NOISE * error) & (table["runs"] > 1)
    for name, how in SHARED.items():
        table[name] = grouped[name].agg(how)
    table = table.astype(object).where(table.notna(), None)
    return table.reset_index()


def sections(table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each split of the table of `summarise` {"split", "rows"}, a row being the texts that TITLES names.

    `verdict` of a row is above, below or nothing: how it stands to the paper beyond noise.
    """
    return [
        {"split": split, "rows": [_texts(row) for row in part.to_dict("records")]}
        for split, part in table.groupby("split", sort=False)
    ]


def markdown(table: pd.DataFrame, grid: Grid) -> str:
    """The table of `summarise` as Markdown, a section per split with what the audit found."""
    parts = [f"# {grid.title}", NOTES[0]]
    for section in sections(table):
        lines = [
            f"## Split: {section['split']}\n",
            f"| {' | '.join(TITLES.values())} |",
            "|---" * len(TITLES) + "|",
        ]
        lines += ["| " + " | ".join(row[name] for name in TITLES) + " |" for row in section["rows"]]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *NOTES[1:]]) + "\n"


def _texts(row: dict[str, Any]) -> dict[str, str]:
    paper = difference = verdict = ""
    if row["paper"] is not None:
        paper = f"{row['paper']:.1f} +- {row['paper_std']:.1f}"
        verdict_in_words = (
            f", {'beyond' if row['beyond_noise'] else 'within'} noise" if row["runs"] > 1 else ""
        )
        difference = f"{row['difference']:+.1f}{verdict_in_words}"
        if row["beyond_noise"]:
            verdict = "above" if row["difference"] > 0 else "below"
    values = {
        "dataset": row["dataset"], "label": row["label"], "ratios": _ratios(row), "runs": row["runs"],
        "auc": f"{row['mean']:.1f}" + (f" +- {row['std']:.1f}" if row["runs"] > 1 else ""), "paper": paper, "difference": difference,
        "trained_on": f"{row['normals_trained_on']:.0%}", "one_part": row["one_part"],
        "identical_apart": row["identical_apart"], "verdict": verdict,
    }  # fmt: skip
    return {name: str(value) for name, value in values.items()}


def _ratios(row: dict) -> str:
    """gamma_l, and the other two where they are not the usual."""
    pollution = f", gamma_p {row['gamma_p']:g}" if row["gamma_p"] else ""
    known = "" if row["k_l"] is None else f", k_l {row['k_l']}"
    return f"{row['gamma_l']:g}{pollution}{known}"


def lines_of(table: pd.DataFrame, asked: Sequence[Cell]) -> list[dict[str, Any]]:
    """The lines of `table` (of `summarise`) of the cells `asked` for, without their names and labels."""
    names = {cell.name for cell in asked}
    return [
        {key: value for key, value in line.items() if key not in {"name", "label"}}
        for line in table.to_dict("records")
        if line["name"] in names
    ]
