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
    """Positions of the rows of a scores table, the most worth labelling first: by score, by distance to the threshold in ranks, or in
    an order drawn by the items' names, the same each time."""
    if way == "random":
        return np.argsort(pd.util.hash_array(table["item_id"].to_numpy(dtype=object)), kind="stable")
    scores = table["score"].to_numpy(dtype=float)
    if way == "highest":
        return np.argsort(-scores, kind="stable")
    place = pd.Series(scores).rank().to_numpy()
    above = scores > table["threshold"].to_numpy(dtype=float)
    edge = place[~above].max(initial=0) + 0.5
    return np.argsort(np.abs(place - edge), kind="stable")


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
