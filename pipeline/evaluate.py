"""`esad evaluate RUN|SCORES`: AUC, average precision, hit rates and slides' figures, with intervals, in metrics.json.

Items that the run was trained on, or whose normals gave its reference scores, are never counted.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.evaluation.split_overlap import overlap_sentence, split_overlap
from esad.pipeline.scoring.heat import HOT
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.outcome import Outcome

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.evaluation.slide_figures import SlideFigures

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
    from esad.pipeline.training.run_folder import read_config

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
    if table["score"].isna().any():
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
    from esad.pipeline.evaluation.metrics import auc, average_precision, bootstrap_intervals

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
    from esad.pipeline.evaluation.metrics import auc

    labels = items["label"].to_numpy(dtype="int8")
    present = [name for name in TERMS if name in items and items[name].notna().all()]
    return {name: {"auc": auc(items[name].to_numpy(dtype=float), labels)} for name in present}


def _item_size(scores: Scores) -> tuple[int, int] | None:
    """(height, width) of an item in pixels, from the run's settings (a store that fits has the same)."""
    from esad.pipeline.training.run_folder import read_config

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
    from esad.pipeline.evaluation.metrics import pointing_game

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


def counted_tiles(scores: Scores) -> pd.DataFrame:
    """All tiles, labelled or not, of the slides that count: none of a slide's tiles was seen by the run.

    Where there is a test part, a slide has a tile in it.
    """
    table = scores.table
    slides = table["source"]
    counted = ~slides.isin(slides[~unseen(scores)])
    test = (table["part"] == "test").fillna(False).astype(bool)
    return table[counted & slides.isin(slides[test])] if test.any() else table[counted]


def of_slides(scores: Scores, annotations: Path | None, reference: Path | None) -> SlideFigures | None:
    """Figures of whole slides; None for other kinds, and where no slide's label is known.

    Raises UsageError for outlines or a reference that are missing, ambiguous or of another kind of scores.
    """
    if scores.marker["kind"] != "tiles":
        if annotations or reference:
            raise UsageError(
                f"{scores.root}: scores of {scores.marker['kind']}; --annotations and --reference are of slides."
            )
        return None
    from esad.pipeline.evaluation.slide_figures import read_truth, slide_figures

    truth = read_truth(scores.table["source"].unique().tolist(), annotations, reference)
    tiles = counted_tiles(scores)
    figures = slide_figures(tiles, scores.root, truth) if len(tiles) else None
    asked = annotations or reference
    return figures if figures and (asked or len(figures.table)) else None


def measure(scores: Scores, slides: SlideFigures | None = None) -> dict[str, Any]:
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
        "slides": slides.summary if slides else None,
        "overlap": split_overlap(scores.run) if which == "test part" else None,
    }


def evaluate(path: Path, annotations: Path | None = None, reference: Path | None = None) -> Outcome:
    """Write metrics.json into the scores folder of `path` (a RUN or SCORES); the figures are the outcome's summary.

    Of tiles, slides.csv has a row a slide, and with `annotations` (outline files with the slides' stems) froc.csv the
    points of the FROC curve. `reference` is Camelyon16's reference.csv: rows of stem and Normal or Tumor.
    Raises EsadError naming `esad score` where there are no scores. Without labels the figures are null.
    """
    from esad.preprocessing.store.store import write_json

    scores = open_scores(path)
    slides = of_slides(scores, annotations, reference)
    content = measure(scores, slides)
    target = scores.root / "metrics.json"
    _write_csv(scores.root / "slides.csv", slides.table if slides else None)
    _write_csv(scores.root / "froc.csv", slides.curve if slides else None)
    write_json(target, content)
    return Outcome(
        target,
        f"Wrote {target}: {sentence(content)}",
        shlex.join(["esad", "report", str(scores.root)]),
        0,
        content,
    )


def _write_csv(path: Path, table: pd.DataFrame | None) -> None:
    """Write the table, or remove what an earlier call wrote where there is none now."""
    from esad.preprocessing.store.store import write_atomically

    if table is None:
        path.unlink(missing_ok=True)
    else:
        write_atomically(path, lambda temporary: table.to_csv(temporary, index=False))


def stored_metrics(scores: Scores) -> dict[str, Any]:
    """The content of metrics.json, which `esad evaluate` is asked for where there is none yet."""
    path = scores.root / "metrics.json"
    if not path.is_file():
        return evaluate(scores.root).summary
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EsadError(
            f"{path}: cannot be read ({error}); make it anew with: esad evaluate {scores.root}"
        ) from error


def sentence(content: dict[str, Any]) -> str:
    """The figures of a metrics.json in one line of text."""
    shared = content.get("overlap")
    words = [
        _of_items(content),
        _of_slides(content["slides"]),
        overlap_sentence(shared) if shared else "",
    ]
    return " ".join(part for part in words if part)


def _of_items(content: dict[str, Any]) -> str:
    if not content["items"]:
        return "no figures of items, because no item new to the run has a label (give some with --labels at the ingest stage)."
    counts = f"{content['normal']} normal, {content['anomaly']} anomalies, {content['evaluated']}"
    if content["auc"] is None:
        return f"no AUC, because only one class is there ({counts})."
    text = f"AUC {_with_interval(content['auc'], content['auc_interval'])}, average precision "
    text += f"{content['average_precision']:.3f} ({counts})."
    for name, what in (("localisation", "regions"), ("slides", "slides' outlines")):
        if content[name] and content[name]["hit_rate"] is not None:
            rate, chance = content[name]["hit_rate"], content[name]["chance"]
            text += f" Hit rate on {what} {rate:.2f} (chance {chance:.2f})."
    return text


def _of_slides(slides: dict[str, Any] | None) -> str:
    """What metrics.json has of slides in words: AUC of each aggregation, FROC or why there is none."""
    if not slides:
        return ""
    text = ""
    areas = [
        f"{name} {_with_interval(area, slides['auc_interval'][name])}"
        for name, area in slides["auc"].items()
        if area is not None
    ]
    if areas:
        text = (
            f"Slides ({slides['normal']} normal, {slides['tumour']} with tumour), AUC: {', '.join(areas)}. "
        )
    if slides["missing"]:
        text += f"Not here: {len(slides['missing'])} slides of the reference, {slides['missing'][0]} first. "
    found = slides["froc"]
    if found is None:
        return f"{text}No FROC: {slides['no_froc']}." if slides["no_froc"] else text
    text += f"FROC {_with_interval(found['score'], found['interval'])} ({found['lesions']} lesions, {found['itc']} ITC, "
    text += f"{found['slides']} slides)."
    for source, reason in list(found["left_out"].items())[:5]:
        text += f" {source} is no part of it: {reason.rstrip('.')}."
    more = len(found["left_out"]) - 5
    return f"{text} So are {more} more slides (metrics.json)." if more > 0 else text


def _with_interval(value: float, interval: list[float] | None) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else f"{value:.3f}"


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["evaluate", *sys.argv[1:]])
