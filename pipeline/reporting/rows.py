"""Which columns the highest scores of a table come from: the heat map, and the worst rows column by column."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.pipeline.reporting.pictures import png_address
from esad.pipeline.scoring.columns.numbers import NUMBERS, PICTURE
from esad.pipeline.scoring.explanation import OVERLAYS
from esad.pipeline.scoring.open_scores import SCORE_AGAIN, read_explanation
from esad.pipeline.scoring.scores import above_normals
from esad.preprocessing.store.reading import damaged, read_item_numbers, read_table

WORST, COLUMNS = 10, 5
"""Rows that are listed, and columns of each."""


def row_heat(folder: Path, table: pd.DataFrame) -> dict[str, Any] | None:
    """The heat map and the worst rows of a table's scores; None where nothing was explained.

    `table` are the scores; EsadError where a file of overlays/ is missing or damaged.
    """
    said = read_explanation(folder)
    if said is None or "medians" not in said:
        return None
    path = folder / OVERLAYS / PICTURE
    try:
        picture = png_address(path.read_bytes())
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror})", SCORE_AGAIN) from error
    return {"picture": picture, "said": said, "worst": _worst(folder, table, said)}


def _cell(value: float | None) -> str:
    """A number of a row in words."""
    return "missing" if value is None or math.isnan(value) else f"{value:.6g}"


def _worst(folder: Path, table: pd.DataFrame, said: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the explained rows those with the highest scores, each with the columns that contribute most to it."""
    path = folder / OVERLAYS / NUMBERS
    explained = read_table(path, SCORE_AGAIN, ("item_id",), ())["item_id"]
    rows = table[table["item_id"].isin(explained)].nlargest(WORST, "score")
    numbers = read_item_numbers(path, SCORE_AGAIN, list(rows["item_id"]))
    names = [str(name) for name in said["columns"]]
    shares = numbers.reindex(columns=[f"contribution_{name}" for name in names])
    values = numbers.reindex(columns=[f"value_{name}" for name in names])
    found = []
    for row in rows.itertuples():
        share, value = shares.loc[row.item_id].to_numpy(), values.loc[row.item_id].to_numpy()
        order = np.argsort(-share, kind="stable")[:COLUMNS]
        columns = [
            {
                "name": names[place], "contribution": f"{share[place]:.3g}", "median": _cell(said["medians"][place]),
                "value": _cell(value[place]),
            }
            for place in order
        ]  # fmt: skip
        label = {0: ", normal", 1: ", anomaly"}.get(-1 if pd.isna(row.label) else int(row.label), "")
        title = f"{row.item_id}{label}: score {row.score:.4g}, {above_normals(row.percentile)}"
        found.append({"title": title, "columns": columns})
    return found
