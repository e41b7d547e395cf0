"""Which items are drawn: those that count in the figures of a run, by their place in the store alone, so that nothing names a patient."""

from __future__ import annotations

import numpy as np
import pandas as pd

from esad.pipeline.drawing.subjects import Subject
from esad.pipeline.evaluation.counted_items import evaluated_items
from esad.pipeline.runs.items import positions_of
from esad.pipeline.runs.run_files import read_provenance
from esad.pipeline.scoring.open_scores import SCORE_AGAIN, open_scores
from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.store.reading import damaged

NORMAL, ANOMALY, LABELLED, OTHER = (
    "normal",
    "anomaly",
    "anomaly, class labelled in training",
    "anomaly, class not labelled",
)
KINDS = (NORMAL, ANOMALY, OTHER, LABELLED)


def counted_items(subject: Subject) -> tuple[pd.DataFrame, str]:
    """(a row an item with a known label that counts in figures, which these are): `row` (its place in the manifest of the
    subject's store, from 0), `label`, `class_name` (None where it has none), and of a scored run score, percentile,
    reconstruction, norm.

    Raises EsadError where the store is another one than the run or its scores know.
    """
    if subject.folder is None:
        used = subject.run.assignments
        used = used[(used["part"] == "test") & used["label"].notna()]
        items, which = used[["item_id", "label"]].reset_index(drop=True), "test part"
        items["row"] = positions_of(subject.store, items["item_id"])
        if (items["row"] < 0).any():
            root = subject.run.root
            raise EsadError(
                f"{subject.store.root}: items that {root} was trained on are gone; train again, or score it."
            )
    else:
        found, which = evaluated_items(open_scores(subject.folder))
        items = found.assign(row=found.index).reset_index(drop=True)
        held = subject.store.manifest["item_id"]
        last = int(items["row"].max()) if len(items) else -1
        if last >= len(held) or (held.iloc[items["row"]].to_numpy() != items["item_id"].to_numpy()).any():
            raise damaged(
                subject.folder, f"holds scores of other items than {subject.store.root} has now", SCORE_AGAIN
            )
    items["class_name"] = _class_names(subject, items)
    kept = ["row", "label", "class_name", "score", "percentile", "reconstruction", "norm"]
    return items[[name for name in kept if name in items]].astype({"label": int}), which


def _class_names(subject: Subject, items: pd.DataFrame) -> list[str | None]:
    manifest = subject.store.manifest
    if "class_name" not in manifest:
        return [None] * len(items)
    names = manifest["class_name"].iloc[items["row"]]
    return [None if pd.isna(name) else str(name) for name in names]


def kinds_of(subject: Subject, items: pd.DataFrame) -> np.ndarray:
    """One of KINDS for each of `counted_items`: anomalies of classes that were labelled in training apart from others, where
    there are both."""
    labelled = _labelled_classes(subject)
    abnormal = items["label"].to_numpy() == 1
    known = items["class_name"].isin(labelled).to_numpy()
    if not (abnormal & known).any() or not (abnormal & ~known).any():
        return np.where(abnormal, ANOMALY, NORMAL)
    return np.where(abnormal, np.where(known, LABELLED, OTHER), NORMAL)


def _labelled_classes(subject: Subject) -> set[str]:
    """The classes of the anomalies that were labelled in training; none where that is not known."""
    stated = read_provenance(subject.run.root).get("labelled_classes")
    if isinstance(stated, dict):
        return set(stated)
    store = subject.store
    if "class_name" not in store.manifest or not subject.run.is_own(store):
        return set()
    used = subject.run.assignments
    rows = positions_of(store, used.loc[(used["semi_label"] == -1).fillna(False), "item_id"])
    return set(store.manifest["class_name"].iloc[rows[rows >= 0]].dropna().astype(str))


def drawn_by_seed(items: pd.DataFrame, most: int, seed: int, count: int) -> pd.DataFrame:
    """At most `most` of `items` (of a store of `count`): half normal, half anomalies; where one has fewer, more of the other.

    An item is taken by its place in one random order of the store, so that runs on one store show the same items as far as
    they count for them. Rows come back by `row`.
    """
    order = np.random.default_rng([seed, 3]).permutation(count)  # 3: of Figure 3
    ranked = items.iloc[np.argsort(order[items["row"].to_numpy()], kind="stable")]
    normal, abnormal = (ranked[ranked["label"] == label] for label in (0, 1))
    half = min(len(normal), most // 2)
    abnormal = abnormal.head(most - half)
    taken = [normal.head(most - len(abnormal)), abnormal]
    return pd.concat(taken).sort_values("row").reset_index(drop=True)


def at_places(items: pd.DataFrame, count: int) -> pd.DataFrame:
    """`count` of the items from the lowest to the highest score, evenly by rank, with `rank` (from 1), `of`, and `place`:
    lowest, median, highest or a share in %. Fewer items are taken whole. Ties are by `row`."""
    ranked = items.sort_values(["score", "row"], kind="stable").reset_index(drop=True)
    shares = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
    places = np.round(shares * (len(ranked) - 1)).astype(int)
    if len(ranked) < count:
        places = np.arange(len(ranked))
        shares = places / max(len(ranked) - 1, 1)
    names = {0.0: "lowest", 0.5: "median", 1.0: "highest"}
    chosen = ranked.iloc[places].copy()
    chosen["rank"], chosen["of"] = places + 1, len(ranked)
    chosen["place"] = [names.get(float(share), f"{100 * share:.3g} %") for share in shares]
    return chosen.reset_index(drop=True)
