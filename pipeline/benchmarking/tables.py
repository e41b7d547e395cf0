"""Results of a benchmark as a table of means, and as texts beside published figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from esad.pipeline.benchmarking.grid import Cell, cells, runs_of
from esad.pipeline.benchmarking.grid_file import RATIOS, Grid

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["dataset", "method", "split", *RATIOS, "oracle"]
SHARED = {
    "normals_trained_on": "mean",
    "anomalies_labelled": "mean",
    "one_part": "max",
    "identical_apart": "max",
}
BUDGET = ("steps", "batch", "parameters", "train_seconds", "score_seconds")
"""What a run took, a mean over runs."""
TITLES = {
    "dataset": "data", "label": "method", "ratios": "gamma_l", "runs": "runs", "auc": "AUC", "paper": "paper",
    "difference": "difference", "budget": "steps x batch, weights, time a run", "trained_on": "test normals trained on",
    "one_part": "items used twice", "identical_apart": "identical on two sides",
}  # fmt: skip
"""What a line shows -> its head."""
NOISE = 2.0
"""Standard errors of a difference of means that chance explains."""


def notes(grid: Grid) -> tuple[str, ...]:
    """What readers of the table must know, a sentence or two each."""
    classes = any(of.normal for of in grid.datasets.values())
    over = (
        "over runs, a run being one normal class and one draw or choice of what is labelled"
        if classes
        else "over seeds"
    )
    return (
        f"AUC in %, mean +- spread {over}; `paper`: as published, not measured here.",
        *(
            ["A line with fewer runs than the grid has says so (6 of 10) and is not compared."]
            if classes
            else []
        ),
        f"A difference is beyond noise above {NOISE:g} standard errors of both means ({grid.paper_runs} runs behind a published one). "
        "Items used twice and identical ones are those of the worst run; a split that has some fails `esad audit`.",
        *(
            [
                "Oracle: the kernel was chosen on a tenth of the test part, as published figures of kernel methods were."
            ]
            if any(method.oracle for method in grid.methods.values())
            else []
        ),
        *(
            [f"At most {grid.chosen.test_items} test items were scored, the same ones for all rows."]
            if grid.chosen.test_items
            else []
        ),
        *grid.notes,
    )


def summarise(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """A row per line, in the order of `rows` (a row per run): PLACE, `label`, mean and std (n - 1) of AUC in %, runs ...

    `expected` are the runs that the grid has for the line. `paper`, `paper_std` are null where nothing was published;
    `difference` is ours less the paper's, null where runs are missing, `beyond_noise` whether it exceeds NOISE standard
    errors; False of a single run, and where a spread was not published. The rest is of the splits and of BUDGET.
    """
    grouped = rows.groupby("line", sort=False)
    table = grouped[PLACE].first()
    table["mean"], table["std"] = grouped["auc"].mean(), grouped["auc"].std(ddof=1).fillna(0.0)
    table["runs"] = grouped.size()
    expected: dict[str, int] = {}
    for cell in cells(grid):
        expected[cell.line] = expected.get(cell.line, 0) + len(runs_of(grid, cell))
    table["expected"] = [expected[line] for line in table.index]
    table["label"] = table["method"].where(~table["oracle"], table["method"] + " (oracle)")
    published = [
        grid.published(row["method"], row["dataset"], {ratio: row[ratio] for ratio in RATIOS})
        for row in table.to_dict("records")
    ]
    table["paper"], table["paper_std"] = ([pair[place] for pair in published] for place in (0, 1))
    table[["paper", "paper_std"]] = table[["paper", "paper_std"]].astype(float)
    table["difference"] = (table["mean"] - table["paper"]).where(table["runs"] >= table["expected"])
    error = (table["std"] ** 2 / table["runs"] + table["paper_std"] ** 2 / grid.paper_runs) ** 0.5
    table["beyond_noise"] = (table["difference"].abs() > NOISE * error) & (table["runs"] > 1)
    for name, how in SHARED.items():
        table[name] = grouped[name].agg(how)
    for name in BUDGET:
        table[name] = grouped[name].mean() if name in rows else float("nan")
    table = table.astype(object).where(table.notna(), None)
    return table.reset_index(names="name")


def by_class(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Mean AUC in % by normal class (rows) and method (columns): {"title", "heads", "rows"} for each data set, split and ratios.

    `rows` has a row per run; none where no class was normal.
    """
    if "normal" not in rows or rows["normal"].isna().all():
        return []
    tables = []
    keys = ["dataset", "split", *RATIOS]
    for place, part in rows[rows["normal"].notna()].groupby(keys, sort=False, dropna=False):
        of = dict(zip(keys, place, strict=True))
        means = part.pivot_table(index="normal", columns="method", values="auc", aggfunc="mean", sort=False)
        tables.append(
            {
                "title": f"{of['dataset']}, {of['split']} split, gamma_l {_ratios(of)}",
                "heads": ["normal class", *map(str, means.columns)],
                "rows": [
                    [str(name), *("" if math.isnan(value) else f"{value:.1f}" for value in values)]
                    for name, values in zip(means.index, means.to_numpy().tolist(), strict=True)
                ],
            }
        )
    return tables


def sections(table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each split of the table of `summarise` {"split", "rows"}, a row being the texts that TITLES names.

    `verdict` of a row is above, below or nothing: how it stands to the paper beyond noise.
    """
    return [
        {"split": split, "rows": [_texts(row) for row in part.to_dict("records")]}
        for split, part in table.groupby("split", sort=False)
    ]


def markdown(table: pd.DataFrame, grid: Grid, classes: Sequence[dict[str, Any]] = ()) -> str:
    """The table of `summarise` as Markdown, a section per split with what the audit found, then tables of `by_class`."""
    said = notes(grid)
    parts = [f"# {grid.full_title}", said[0]]
    for section in sections(table):
        lines = [
            f"## Split: {section['split']}\n",
            f"| {' | '.join(TITLES.values())} |",
            "|---" * len(TITLES) + "|",
        ]
        lines += ["| " + " | ".join(row[name] for name in TITLES) + " |" for row in section["rows"]]
        parts.append("\n".join(lines))
    parts += said[1:]
    for one in classes:
        lines = [
            f"## By normal class: {one['title']}\n",
            f"| {' | '.join(one['heads'])} |",
            "|---" * len(one["heads"]) + "|",
        ]
        parts.append("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in one["rows"])]))
    return "\n\n".join(parts) + "\n"


def _texts(row: dict[str, Any]) -> dict[str, str]:
    paper = difference = verdict = ""
    if row["paper"] is not None:
        known = row["paper_std"] is not None
        paper = f"{row['paper']:.1f}" + (f" +- {row['paper_std']:.1f}" if known else "")
    if row["difference"] is not None:
        verdict_in_words = (
            f", {'beyond' if row['beyond_noise'] else 'within'} noise" if row["runs"] > 1 and known else ""
        )
        difference = f"{row['difference']:+.1f}{verdict_in_words}"
        if row["beyond_noise"]:
            verdict = "above" if row["difference"] > 0 else "below"
    spread = f" +- {row['std']:.1f}" if row["runs"] > 1 else ""
    complete = row["runs"] >= row["expected"]
    values = {
        "dataset": row["dataset"], "label": row["label"], "ratios": _ratios(row),
        "runs": row["runs"] if complete else f"{row['runs']} of {row['expected']}",
        "auc": f"{row['mean']:.1f}{spread}", "paper": paper, "difference": difference, "budget": _budget(row),
        "trained_on": f"{row['normals_trained_on']:.0%}", "one_part": row["one_part"],
        "identical_apart": row["identical_apart"], "verdict": verdict,
    }  # fmt: skip
    return {name: str(value) for name, value in values.items()}


def _ratios(row: dict) -> str:
    """gamma_l, and the other two where they are not the usual."""
    pollution = f", gamma_p {row['gamma_p']:g}" if row["gamma_p"] else ""
    known = "" if row["k_l"] is None or row["k_l"] != row["k_l"] else f", k_l {row['k_l']:g}"
    labelled = "all" if row["gamma_l"] is None else f"{row['gamma_l']:g}"
    if row["labelled"] is not None and row["labelled"] == row["labelled"]:
        labelled = f"{row['labelled']:g} labelled"
    return f"{labelled}{pollution}{known}"


def _budget(row: dict[str, Any]) -> str:
    """Steps and batch, weights and seconds of a run; nothing of cells that were made before these were kept."""
    if row["steps"] is None:
        return ""
    seconds = row["train_seconds"] + row["score_seconds"]
    return f"{row['steps']:.0f} x {row['batch']:.0f}, {row['parameters'] / 1e6:.2g} M, {seconds:.3g} s"


def lines_of(table: pd.DataFrame, asked: Sequence[Cell]) -> list[dict[str, Any]]:
    """The lines of `table` (of `summarise`) of the cells `asked` for, as numbers, without their names and labels."""
    names = {cell.line for cell in asked}
    return [
        {key: value for key, value in line.items() if key not in {"name", "label"}}
        for line in table.to_dict("records")
        if line["name"] in names
    ]
