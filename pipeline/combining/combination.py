"""The combined score: the mean of the members' scores, each less the median and over the spread of its own held-out normals. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd

from esad.pipeline.combining.members import Member
from esad.pipeline.runs.run_files import TERMS
from esad.pipeline.scoring.scores import MEMBERS, percentiles, spread
from esad.pipeline.scoring.scores_table import CARRIED
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.thresholds.reference_sets import OF_NORMALS

PARTS = ("train", "validation")
"""What an item counts as where one member used it so: first what any trained on."""


def _standardised(member: Member, table: pd.DataFrame, name: str) -> np.ndarray:
    """(value - median) / spread of column `name` (N,) of a member's `table`, by its reference normals: float64."""
    reference = member.normals[name].to_numpy(dtype=float)
    return np.asarray((table[name].to_numpy(dtype=float) - np.median(reference)) / spread(reference))


def _means(members: Sequence[Member], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """`score`, the standardised score of each member under its name of MEMBERS, and the means of TERMS that all have."""
    own = {
        name: _standardised(member, table, "score")
        for name, member, table in zip(MEMBERS, members, tables, strict=False)
    }
    pairs = list(zip(members, tables, strict=True))
    means = {
        name: np.mean([_standardised(member, table, name) for member, table in pairs], axis=0)
        for name in TERMS
        if all(name in member.normals and name in table for member, table in pairs)
    }
    return pd.DataFrame({"score": np.mean(list(own.values()), axis=0), **means, **own})


def combined_normals(members: Sequence[Member]) -> pd.DataFrame:
    """normals.parquet of the combination: the items that are reference normals of every member, with their combined scores.

    EsadError where there is none: the runs held out different items.
    """
    common = reduce(np.intersect1d, [each.normals["item_id"].to_numpy(dtype=object) for each in members])
    tables = [
        each.normals.drop_duplicates("item_id").set_index("item_id").loc[common].reset_index()
        for each in members
    ]
    if not len(common):
        names = " and ".join(str(each.scores.run) for each in members[:2])
        raise EsadError(
            f"{names}: no normal item was held out by all of these runs, so that nothing says what the combined score of a normal item is. "
            "Train them with the same data.split_seed."
        )
    found = pd.concat([tables[0][["item_id"]], _means(members, tables)], axis=1)
    for name in (*OF_NORMALS, "part"):
        if name in tables[0]:
            found[name] = tables[0][name].array
    if "part" in found:
        trained = np.any(
            [(table["part"] == "train").to_numpy() if "part" in table else False for table in tables], axis=0
        )
        found["part"] = np.where(trained, "train", "validation")
    return found


def combined_table(members: Sequence[Member], normals: pd.DataFrame) -> pd.DataFrame:
    """scores.parquet of the combination but for p-values and thresholds, a row an item; places of heat stay with the members."""
    first = members[0].table
    found = pd.concat([first[["item_id"]], _means(members, [each.table for each in members])], axis=1)
    percentile = percentiles(found["score"], normals["score"])
    found.insert(found.columns.get_loc("norm") + 1, "percentile", percentile)  # type: ignore[arg-type]
    for name in (*CARRIED, "label"):
        if name in first:
            found[name] = first[name].array
    found["part"] = _part([each.table["part"] for each in members]).array
    return found


def _part(parts: Sequence[pd.Series]) -> pd.Series:
    """What the combination used each item for: trained or held out where one member did, test where all say so, else nothing."""
    texts = pd.concat([each.astype("string").reset_index(drop=True) for each in parts], axis=1).fillna("")
    found = pd.Series(pd.NA, index=texts.index, dtype="string")
    found[(texts == "test").all(axis=1)] = "test"
    for name in reversed(PARTS):
        found[(texts == name).any(axis=1)] = name
    return found


def combined_assignments(members: Sequence[Member]) -> pd.DataFrame:
    """assignments.parquet of the combination: part as `_part` has it, and the label that a member trained with."""
    tables = [
        each.assignments.drop_duplicates("item_id", keep="last").set_index("item_id") for each in members
    ]
    names = reduce(lambda one, other: one.union(other, sort=False), [table.index for table in tables])
    aligned = [table.reindex(names) for table in tables]
    found = pd.DataFrame({"item_id": names.to_numpy()})
    found["part"] = _part([table["part"] for table in aligned]).to_numpy()
    for column in ("label", "semi_label"):
        values = [
            table[column].replace(0, pd.NA) if column == "semi_label" else table[column] for table in aligned
        ]
        stated = reduce(lambda one, other: one.combine_first(other), values)
        found[column] = pd.to_numeric(stated, errors="coerce").astype("Int8").array
    found["semi_label"] = found["semi_label"].fillna(0)
    return found.dropna(subset=["part"]).reset_index(drop=True)
