"""A finished SCORES folder, opened for the stages after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.run_files import TERMS
from esad.pipeline.runs.shapes import Explanation, Marker, check_shape
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.log import read_log
from esad.preprocessing.store.kinds import KINDS
from esad.preprocessing.store.opening import check_label_column
from esad.preprocessing.store.reading import (
    check_entries,
    check_finite_numbers,
    check_numbers,
    check_texts,
    damaged,
    read_object,
    read_table,
)

if TYPE_CHECKING:
    import pandas as pd


NEEDED = ("item_id", "score", "reconstruction", "norm", "percentile", "label", "part")
FOR_FIGURES = (
    "p_value", "threshold", "source", "group", "view", "site", "finding", "class_name", "tumour_fraction", "eq9", "standardised",
    "region_x", "region_y", "region_width", "region_height", "hot_x", "hot_y", "error_x", "error_y",
)  # fmt: skip
"""What figures and pages are made of beside NEEDED: the places of a million tiles would take as much memory again."""
NUMBERS = (
    "p_value", "threshold", "x", "y", "width", "height", "tumour_fraction",
    "region_x", "region_y", "region_width", "region_height", "hot_x", "hot_y", "error_x", "error_y", "pixel_spacing",
)  # fmt: skip
"""Columns of scores.parquet that hold numbers or nothing, beside score, percentile, label and TERMS."""
MARKER: dict[str, type | tuple[type, ...]] = {"kind": str, "run": str, "store": str}
SCORE_AGAIN = "make the scores anew with: esad score RUN --force"
"""What to do about damaged scores, at the end of a sentence."""


def read_marker(folder: Path) -> dict[str, Any]:
    """SCORES/scores.json; EsadError where it is missing or damaged."""
    path = folder / "scores.json"
    marker = read_object(path, SCORE_AGAIN, MARKER)
    if marker["kind"] not in KINDS:
        raise damaged(path, f"is damaged (kind = {marker['kind']!r})", SCORE_AGAIN)
    check_shape(path, marker, Marker, SCORE_AGAIN)
    return marker


def label_settings(scores: Scores) -> dict[str, Any]:
    """The settings by which the scored store read outlines (LabelSettings), of older stores those that it had.

    The scores say them. Those of an earlier version do not: there the scored store counts, where it is still of the same inputs, else the
    run's own store, where the scores are of that; the run may have been trained on another one, with other settings. EsadError where
    neither is; else raises as `read_config`.
    """
    if scores.marker.get("labels") is not None:
        return dict(scores.marker["labels"])
    from esad.pipeline.runs.run_files import read_config
    from esad.preprocessing.store.store import Store

    place, inputs = Path(scores.marker["store"]), scores.marker.get("inputs")
    with suppress(EsadError):
        description = Store(place).description
        if description["inputs"] == inputs:
            return dict(description["settings"].get("labels") or {})
    trained_on = read_config(scores.run)["store"]
    if inputs != trained_on["inputs"]:
        raise EsadError(
            f"{scores.root}: how its outlines are read stands in the store that was scored, {place}, which is gone or has changed; bring "
            f"it back, or {SCORE_AGAIN}."
        )
    return dict(trained_on["settings"].get("labels") or {})


def of_slides(marker: Mapping[str, Any]) -> bool:
    """Whether these are scores of slides' tiles, be they pictures or embeddings whose places are known."""
    return marker["kind"] == "tiles" or bool(marker.get("slides"))


def read_scores_table(folder: Path, also: Sequence[str] | None = None) -> pd.DataFrame:
    """SCORES/scores.parquet, or of its columns NEEDED and those of `also` that are there; EsadError where it is missing or damaged."""
    path = folder / "scores.parquet"
    table = read_table(path, SCORE_AGAIN, NEEDED, also)
    if not all(table[name].dtype.kind in "fi" for name in ("score", "percentile")):
        raise damaged(path, "is damaged (scores are no numbers)", SCORE_AGAIN)
    wrong = ~(np.isfinite(table["score"]) & np.isfinite(table["percentile"]))
    if wrong.any():
        raise damaged(
            path, f"is damaged (the score of {table['item_id'][wrong].iloc[0]} is not finite)", SCORE_AGAIN
        )
    check_label_column(path, table["label"], SCORE_AGAIN)
    check_texts(path, table, ("item_id", "source", "group", "part"), SCORE_AGAIN)
    check_numbers(path, table, NUMBERS, SCORE_AGAIN)
    if "p_value" in table and not table["p_value"].dropna().between(0, 1).all():
        raise damaged(path, "is damaged (a p_value is not between 0 and 1)", SCORE_AGAIN)
    check_finite_numbers(path, table, TERMS, SCORE_AGAIN)
    if "threshold" in table and "p_value" not in table and (also is None or "p_value" in also):
        raise damaged(path, "column 'p_value' is missing", SCORE_AGAIN)
    return table if "threshold" in table else _with_thresholds(table)


def _with_thresholds(table: pd.DataFrame) -> pd.DataFrame:
    """Scores of an earlier version have p-values and thresholds, too: a score was suspicious from the 99th percentile on."""
    ordinary, place = table.loc[table["percentile"] < 0.99, "score"], list(table).index("percentile") + 1
    table = table.drop(columns="p_value", errors="ignore")
    table.insert(place, "threshold", ordinary.max() if len(ordinary) else float("-inf"))
    table.insert(place, "p_value", 1 - table["percentile"])
    return table


def read_explanation(folder: Path) -> dict[str, Any] | None:
    """SCORES/overlays/explanation.json: how contributions were found; None where no item has any, or scores are older.

    EsadError where it is damaged.
    """
    path = folder / "overlays" / "explanation.json"
    if not path.is_file():
        return None
    content = read_object(path, SCORE_AGAIN, {})
    check_shape(path, content, Explanation, SCORE_AGAIN)
    if "medians" in content:
        check_entries(path, content, SCORE_AGAIN, {"columns": list, "medians": list, "contributions": str})
        if len(content["columns"]) != len(content["medians"]):
            raise damaged(path, "is damaged (columns and medians are not as many)", SCORE_AGAIN)
    return content


@dataclass(frozen=True)
class Scores:
    """A SCORES folder, opened: `marker` is scores.json, `table` scores.parquet, or what of it figures are made of."""

    root: Path
    marker: dict[str, Any]
    table: pd.DataFrame

    @property
    def run(self) -> Path:
        """The run that gave the scores, a whole path."""
        return run_of(self.root, self.marker)


def run_of(folder: Path, marker: Mapping[str, Any]) -> Path:
    """The run that the scores in `folder` name, a whole path: where it lies seen from them, else where it was.

    Scores that moved with their run find it by the first, those that moved alone by the second.
    """
    told = (folder.resolve() / marker["run"]).resolve()
    before = read_log(folder, "score.json").get("run")
    if isinstance(before, str) and not (told / "config.yaml").is_file():
        return Path(before)
    return told


def scores_folder(path: Path) -> Path:
    """`path` if it is a SCORES folder, else the scores of a RUN: those of its own store, or the only ones.

    Raises UsageError where no such folder is, EsadError naming the command where there are no scores, or several and
    none of the own store.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such folder; expected a run or scores.")
    if (path / "scores.json").is_file():
        return path
    if not (path / "config.yaml").is_file():
        raise EsadError(
            f"{path}: neither a run (config.yaml) nor scores (scores.json). Make scores with: esad score RUN"
        )
    from esad.pipeline.runs.run_files import read_config

    name = str(read_config(path)["store"]["name"])
    own = path / "scores" / name
    if (own / "scores.json").is_file():
        return own
    others = sorted(marker.parent for marker in path.glob("scores/*/scores.json"))
    if len(others) == 1:
        return others[0]
    if others:
        names = ", ".join(str(folder) for folder in others)
        raise EsadError(
            f"{path}: its own store is not scored yet (esad score {path}); name one of these: {names}."
        )
    raise EsadError(f"{path}: not scored yet. Run: esad score {path}")


def open_scores(path: Path, whole: bool = False) -> Scores:
    """Open a RUN's or a SCORES folder's scores; EsadError where they are missing or not finished.

    Of the table the columns NEEDED and FOR_FIGURES are read, or the `whole` of it.
    """
    root = scores_folder(path)
    marker = read_marker(root)
    table = read_scores_table(root, None if whole else FOR_FIGURES)
    kind = marker["kind"]
    if table["score"].isna().any():
        bad = table.loc[table["score"].isna(), "item_id"].iloc[0]
        raise EsadError(
            f"{root / 'scores.parquet'}: the score of {bad} ({kind}) is not a number; train the run anew with a lower "
            "train.learning_rate."
        )
    return Scores(root, marker, table)
