"""`esad evaluate RUN|SCORES`: AUC, average precision and hit rates with intervals by group, in metrics.json.

Items that the run was trained on, or whose normals gave its reference scores, are never counted.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import EsadError
from pipeline.heat import HOT
from pipeline.outcome import Outcome
from pipeline.slide_scores import AGGREGATIONS, slide_scores

if TYPE_CHECKING:
    import pandas as pd

REGION = ("region_x", "region_y", "region_width", "region_height")
TERMS = ("eq9", "standardised", "reconstruction", "norm")
NEEDED = ("item_id", "score", "label", "part")
SEEN = ("train", "validation")


@dataclass(frozen=True)
class Scores:
    """A SCORES folder, opened: `marker` is scores.json, `table` scores.parquet."""

    root: Path
    marker: dict[str, Any]
    table: pd.DataFrame

    @property
    def run(self) -> Path:
        """The run that gave the scores."""
        return Path(self.marker["run"])


def scores_folder(path: Path) -> Path:
    """`path` if it is a SCORES folder, else the scores of a RUN: those of its own store, or the only ones.

    Raises EsadError naming the command where there are none, or where several are and none is of the own store.
    """
    if (path / "scores.json").is_file():
        return path
    if not (path / "config.yaml").is_file():
        raise EsadError(
            f"{path}: neither a run (config.yaml) nor scores (scores.json). Make scores with: esad score RUN"
        )
    from pipeline.runs import read_config

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


def open_scores(path: Path) -> Scores:
    """Open a RUN's or a SCORES folder's scores; EsadError where they are missing or not finished."""
    import pandas as pd

    root = scores_folder(path)
    try:
        marker = json.loads((root / "scores.json").read_text(encoding="utf-8"))
        table = pd.read_parquet(root / "scores.parquet")
        run, kind = marker["run"], marker["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EsadError(
            f"{root}: the scores cannot be read ({error}); make them anew with: esad score RUN --force"
        ) from error
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise EsadError(
            f"{root / 'scores.parquet'}: column {missing[0]!r} is missing; run: esad score {run} --force"
        )
    if not table["score"].map(pd.notna).all():
        bad = table.loc[table["score"].isna(), "item_id"].iloc[0]
        raise EsadError(
            f"{root / 'scores.parquet'}: the score of {bad} ({kind}) is not a number; train the run anew with a lower "
            "train.learning_rate."
        )
    return Scores(root, marker, table)


def unseen(scores: Scores) -> pd.Series:
    """Bool per row of the table: the run neither trained on the item nor took it as a reference (`part` says so)."""
    return ~scores.table["part"].isin(SEEN).fillna(False).astype(bool)


def evaluated_items(scores: Scores) -> tuple[pd.DataFrame, str]:
    """The labelled rows that count, and which they are: `test part`, or `all labelled` of a store new to the run."""
    table = scores.table
    labelled = table["label"].notna()
    test = (table["part"] == "test").fillna(False).astype(bool)
    if test.any():
        return table[labelled & test], "test part"
    return table[labelled & unseen(scores)], "all labelled"


def _groups(items: pd.DataFrame) -> pd.Series:
    """Each item's group; an item without one is a group of its own."""
    if "group" not in items:
        return items["item_id"].astype(str)
    return items["group"].astype("string").fillna("item " + items["item_id"].astype("string")).astype(str)


def figures(items: pd.DataFrame) -> dict[str, Any]:
    """AUC and average precision with intervals by group, and counts, of labelled items."""
    from pipeline.metrics import auc, average_precision, bootstrap_intervals

    values, labels = items["score"].to_numpy(dtype=float), items["label"].to_numpy(dtype="int8")
    intervals = bootstrap_intervals(values, labels, _groups(items).to_numpy())
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


def _by_view(items: pd.DataFrame) -> dict[str, Any]:
    if "view" not in items or items["view"].isna().all():
        return {}
    views = items["view"].astype("string")
    return {"view": {str(view): figures(items[views == view]) for view in sorted(views.dropna().unique())}}


def _by_term(items: pd.DataFrame) -> dict[str, Any]:
    from pipeline.metrics import auc

    labels = items["label"].to_numpy(dtype="int8")
    present = [name for name in TERMS if name in items and items[name].notna().all()]
    return {name: {"auc": auc(items[name].to_numpy(dtype=float), labels)} for name in present}


def _item_size(scores: Scores) -> tuple[int, int] | None:
    """(height, width) of an item in pixels, from the run's settings (a store that fits has the same)."""
    from pipeline.runs import read_config

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
    from pipeline.metrics import pointing_game

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


def slide_hits(scores: Scores, items: pd.DataFrame) -> dict[str, Any] | None:
    """Of each slide with tumour tiles: does its highest-scoring tile touch the outline? None without such slides.

    `auc` is that of the slides themselves, by each aggregation of their tiles' scores.

    All tiles of the evaluated slides count, those between the two label thresholds, too.
    """
    from pipeline.metrics import auc

    table = scores.table
    if scores.marker["kind"] != "tiles" or "tumour_fraction" not in table:
        return None
    tiles = table[table["source"].isin(set(items["source"])) & unseen(scores)]
    each: dict[str, Any] = {}
    for source, of_slide in tiles.groupby("source", sort=True):
        tumour = of_slide["tumour_fraction"].fillna(0).to_numpy(dtype=float) > 0
        if tumour.any():
            top = int(of_slide["score"].to_numpy(dtype=float).argmax())
            each[str(source)] = {
                "hit": bool(tumour[top]), "tiles": len(of_slide), "tumour_tiles": int(tumour.sum()),
                "top_item": str(of_slide["item_id"].iloc[top]),
            }  # fmt: skip
    if not each:
        return None
    per_slide = slide_scores(tiles)
    known = per_slide[per_slide["label"].notna()]
    labels = known["label"].to_numpy(dtype="int8")
    return {
        "auc": {name: auc(known[name].to_numpy(dtype=float), labels) for name in AGGREGATIONS},
        "slides": len(each),
        "hit_rate": sum(one["hit"] for one in each.values()) / len(each),
        "chance": sum(one["tumour_tiles"] / one["tiles"] for one in each.values()) / len(each),
        "by_slide": each,
    }


def measure(scores: Scores) -> dict[str, Any]:
    """The content of metrics.json."""
    items, which = evaluated_items(scores)
    return {
        "kind": scores.marker["kind"],
        "score": scores.marker.get("score"),
        "evaluated": which,
        **figures(items),
        "by": _by_view(items),
        "scores": _by_term(items),
        "localisation": localisation(scores, items),
        "slides": slide_hits(scores, items),
    }


def evaluate(path: Path) -> Outcome:
    """Write metrics.json into the scores folder of `path` (a RUN or SCORES); the figures are the outcome's summary.

    Raises EsadError naming `esad score` where there are no scores. Without labels the figures are null.
    """
    from preprocessing.store import write_json

    scores = open_scores(path)
    content = measure(scores)
    target = scores.root / "metrics.json"
    write_json(target, content)
    return Outcome(
        target,
        f"Wrote {target}: {sentence(content)}",
        shlex.join(["esad", "report", str(scores.root)]),
        0,
        content,
    )


def sentence(content: dict[str, Any]) -> str:
    """The figures of a metrics.json in one line of text."""
    if not content["items"]:
        return "no figures, because no item new to the run has a label (give some with --labels at the ingest stage)."
    counts = f"{content['normal']} normal, {content['anomaly']} anomalies, {content['evaluated']}"
    if content["auc"] is None:
        return f"no AUC, because only one class is there ({counts})."
    interval = content["auc_interval"]
    between = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    text = (
        f"AUC {content['auc']:.3f}{between}, average precision {content['average_precision']:.3f} ({counts})."
    )
    for name, what in (("localisation", "regions"), ("slides", "slides' outlines")):
        if content[name]:
            rate, chance = content[name]["hit_rate"], content[name]["chance"]
            text += f" Hit rate on {what} {rate:.2f} (chance {chance:.2f})."
    return text


if __name__ == "__main__":
    from pipeline.cli import main

    main(["evaluate", *sys.argv[1:]])
