"""Which items are most worth a person's look next. Pure.

Uncertainty sampling takes what lies nearest to the decision (Lewis and Gale, A sequential algorithm for training text classifiers,
1994); for anomalies the highest scores teach most, since a label of one is rare (Das and others, Incorporating expert feedback into
active anomaly discovery, 2016). Both ask a model that already looks in the right place. One that does not is shown the same wrong
items again and again, since labels of normal items teach it little: so the rest are drawn at random (`benchmarks/review_loop.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

WAYS = ("random", "highest", "uncertain")
"""In the order in which each names its share, the first the smaller ones."""


def ranked(table: pd.DataFrame, way: str) -> np.ndarray:
    """Positions of the rows of a scores table, the most worth labelling first: by score, by distance to the threshold, or in an order
    drawn by the items' names, the same each time. Rows without a threshold have no such distance, and are left out of it."""
    if way == "random":
        return np.argsort(pd.util.hash_array(table["item_id"].to_numpy(dtype=object)), kind="stable")
    scores = table["score"].to_numpy(dtype=float)
    if way == "highest":
        return np.argsort(-scores, kind="stable")
    distance = _distances(scores, table["threshold"].to_numpy(dtype=float))
    return np.argsort(distance, kind="stable")[: int((~np.isnan(distance)).sum())]  # NaN is sorted last


def _distances(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Of each item (N,) the share of the items of its own threshold that lie from it, itself counted, to that threshold; NaN without one.

    Scores of several sites or projections have no common unit, and neither have p-values of few reference normals, of which all that is
    above the threshold may have the same. Such shares compare: one of 10 items is never nearer than a tenth.
    """
    table = pd.DataFrame({"score": scores, "own": thresholds})
    place, size = (table.groupby("own")["score"].transform(name) for name in ("rank", "size"))
    below = place.where(table["score"] <= table["own"]).groupby(table["own"]).transform("max").fillna(0)
    return ((np.abs(place - below - 0.5) + 0.5) / size).to_numpy(dtype=float)


def spread(order: Sequence[int] | np.ndarray, groups: np.ndarray, count: int) -> list[int]:
    """The first `count` of `order`, in rounds: one of each group (N,) first, then a second one of each, and so on."""
    codes = pd.Series(groups[order])
    turn = codes.groupby(codes, sort=False).cumcount().to_numpy()
    chosen = np.argsort(turn, kind="stable")[:count]
    return [int(order[place]) for place in chosen]


def suggestions(
    table: pd.DataFrame, groups: np.ndarray, count: int, ways: Sequence[str] = WAYS
) -> pd.DataFrame:
    """At most `count` rows of `table`, of which each way names its share, with `why`; no row twice.

    `groups` (N,) say which rows hang together, as slides and patients do.
    """
    taken: dict[int, str] = {}
    for number, way in enumerate(ways):
        share = count * (number + 1) // len(ways) - len(taken)
        order = [place for place in ranked(table, way).tolist() if place not in taken]
        taken |= dict.fromkeys(spread(np.asarray(order, dtype=int), groups, share), way) if order else {}
    return table.iloc[list(taken)].assign(why=list(taken.values()))
