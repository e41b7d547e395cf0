"""Figures of items: AUC and average precision, by view, by term, and whether the heat hits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.run_files import TERMS
from esad.pipeline.scoring.heat import HOT
from esad.pipeline.scoring.open_scores import Scores
from esad.pipeline.stage.errors import EsadError

if TYPE_CHECKING:
    import pandas as pd


REGION = ("region_x", "region_y", "region_width", "region_height")
FEWEST_CLASSES = 3
"""With two, one normal and one not, figures by class would be those of all items once more."""


def group_codes(items: pd.DataFrame) -> np.ndarray:
    """The number of each item's group in the order of their names, int64 (N,); an item without one is a group of its own."""
    import pyarrow as pa
    from pyarrow import compute

    names = pa.array(items["item_id"]).cast(pa.large_string())
    if "group" in items:
        known = pa.array(items["group"].astype("string")).cast(pa.large_string())
        alone = compute.binary_join_element_wise(
            pa.scalar("item", names.type), names, pa.scalar(" ", names.type)
        )
        names = compute.coalesce(known, alone)
    encoded = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    encoded = encoded.dictionary_encode()
    order = compute.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[encoded.indices.to_numpy()]


def figures(items: pd.DataFrame) -> dict[str, Any]:
    """AUC and average precision with intervals by group, and counts, of labelled items."""
    from esad.pipeline.evaluation.measures.intervals import intervals_by_code
    from esad.pipeline.evaluation.measures.metrics import auc, average_precision

    values, labels = items["score"].to_numpy(dtype=float), items["label"].to_numpy(dtype="int8")
    intervals = intervals_by_code(values, labels, group_codes(items))
    return {
        "auc": auc(values, labels),
        "auc_interval": _listed(intervals.auc),
        "average_precision": average_precision(values, labels),
        "average_precision_interval": _listed(intervals.average_precision),
        "items": len(items),
        "normal": int((labels == 0).sum()),
        "anomaly": int((labels == 1).sum()),
        "groups": intervals.groups,
    }


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return list(interval) if interval else None


DIVIDED_BY = ("view", "site")
"""Columns of a store by whose values items have figures of their own."""


def rows_by(items: pd.DataFrame, name: str) -> dict[str, pd.DataFrame]:
    """The rows of each value of the column `name`, in the order of the values; empty where no item states one."""
    if name not in items or items[name].isna().all():
        return {}
    stated = items[name].astype("string")
    return {str(value): items[(stated == value).fillna(False)] for value in sorted(stated.dropna().unique())}


def by_columns(items: pd.DataFrame) -> dict[str, Any]:
    """Column of DIVIDED_BY -> value -> `figures` of its items; without columns that no item states."""
    found = {name: rows_by(items, name) for name in DIVIDED_BY}
    return {
        name: {value: figures(rows) for value, rows in parts.items()}
        for name, parts in found.items()
        if parts
    }


def by_class(items: pd.DataFrame, labelled: Mapping[str, int] | None) -> dict[str, Any]:
    """Each class's counts, and the AUC of its anomalies against the normal items of all classes; empty below FEWEST_CLASSES.

    `items` has score, label and, where the store has classes, class_name; `labelled` says how many items of a class were
    labelled in training (None: not known). An anomaly without a class is in none of these figures.
    """
    from esad.pipeline.evaluation.measures.intervals import areas_by_class

    if "class_name" not in items or items["class_name"].nunique() < FEWEST_CLASSES:
        return {}
    names = items["class_name"].astype("string")
    counted = items[(items["label"] == 0) | names.notna()]
    codes, known = names[counted.index].factorize(sort=True)
    labels = counted["label"].to_numpy(dtype="int8")
    values = counted["score"].to_numpy(dtype=float)
    areas = areas_by_class(values, labels, group_codes(counted), codes)
    found = {}
    for code, name in enumerate(known):
        own = labels[codes == code]
        area, interval = areas.get(code, (None, None))
        found[str(name)] = {
            "auc": area, "auc_interval": _listed(interval), "items": len(own), "normal": int((own == 0).sum()),
            "anomaly": int((own == 1).sum()), "labelled": None if labelled is None else labelled.get(str(name), 0),
        }  # fmt: skip
    return {"class": found}


def by_term(items: pd.DataFrame) -> dict[str, Any]:
    """AUC of each term of the score alone."""
    from esad.pipeline.evaluation.measures.metrics import auc

    labels = items["label"].to_numpy(dtype="int8")
    present = [name for name in TERMS if name in items and items[name].notna().all()]
    return {name: {"auc": auc(items[name].to_numpy(dtype=float), labels)} for name in present}


def _item_size(scores: Scores) -> tuple[int, int] | None:
    """(height, width) of an item in pixels, from the run's settings (a store that fits has the same)."""
    from esad.pipeline.runs.run_folder import read_config

    try:
        shape = read_config(scores.run)["store"]["shape"]
    except (EsadError, KeyError):
        return None
    return (int(shape[0]), int(shape[1])) if len(shape) == 3 else None


def localisation(scores: Scores, items: pd.DataFrame) -> dict[str, Any] | None:
    """The pointing game over anomalies whose region is known; None where no item has one.

    `hit_rate` is that of the contributions to the score, `error_hit_rate` that of the reconstruction error (None for a
    method without one).
    """
    from esad.pipeline.evaluation.measures.metrics import pointing_game

    size = _item_size(scores)
    if size is None or any(name not in items for name in (*REGION, *HOT)):
        return None
    known = items[items[list(REGION)].notna().all(axis=1) & items["hot_x"].notna()]
    if known.empty:
        return None
    boxes = known[list(REGION)].to_numpy(dtype=float)
    share, error = (
        pointing_game(known[list(point)].to_numpy(dtype=float), boxes, size) for point in (HOT[:2], HOT[2:])
    )
    return {
        "items": len(known), "hit_rate": float(share.hits.mean()),
        "error_hit_rate": float(error.hits.mean()) if known["error_x"].notna().all() else None,
        "chance": float(share.chance.mean()),
    }  # fmt: skip
