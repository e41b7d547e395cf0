"""metrics.json, figures_by.csv, slides.csv and froc.csv of a SCORES folder: made, and read again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.evaluation.alarms import alarms
from esad.pipeline.evaluation.counted_items import counted_tiles, evaluated_items, unseen
from esad.pipeline.evaluation.item_figures import (
    DIVIDED_BY,
    by_class,
    by_columns,
    by_term,
    figures,
    localisation,
)
from esad.pipeline.evaluation.metrics_shape import Metrics
from esad.pipeline.evaluation.sentence import reading_note
from esad.pipeline.runs.run_files import read_config, read_provenance, read_references
from esad.pipeline.runs.shapes import check_shape
from esad.pipeline.runs.split_overlap import split_overlap
from esad.pipeline.scoring.open_scores import Scores, label_settings, of_slides
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.lock import writing_to
from esad.pipeline.thresholds.relabelled import relabelled_entry
from esad.preprocessing.splits.labels import classes_alone
from esad.preprocessing.store.reading import read_object

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.evaluation.slide_figures import SlideFigures

METRICS: dict[str, type | tuple[type, ...]] = {
    "kind": str, "evaluated": str, "items": int, "auc": (float, int, type(None)), "by": dict, "scores": dict,
}  # fmt: skip
"""What metrics.json holds at least."""


def figures_of_slides(
    scores: Scores, annotations: Path | None, reference: Path | None
) -> SlideFigures | None:
    """Figures of whole slides; None for other kinds, and where no slide's label is known.

    Raises UsageError for outlines or a reference that are missing, ambiguous or of another kind of scores.
    """
    if not of_slides(scores.marker):
        if annotations or reference:
            raise UsageError(
                f"{scores.root}: scores of {scores.marker['kind']}; --annotations and --reference are of slides."
            )
        return None
    from esad.pipeline.evaluation.slide_figures import read_truth, slide_figures

    sources = scores.table["source"].unique().tolist()
    truth = read_truth(sources, annotations, reference, label_settings(scores))
    tiles = counted_tiles(scores)
    figures = slide_figures(tiles, scores.root, truth) if len(tiles) else None
    asked = annotations or reference
    return figures if figures and (asked or len(figures.table)) else None


def measure(scores: Scores, slides: SlideFigures | None = None) -> dict[str, Any]:
    """The content of metrics.json."""
    from esad.pipeline.evaluation.measures.intervals import HOW

    items, which = evaluated_items(scores)
    config = read_config(scores.run)
    labelled = _labelled_classes(scores.run) if "class_name" in items else None
    return {
        "kind": scores.marker["kind"],
        "score": scores.marker.get("score"),
        "evaluated": which,
        "seen": None
        if which == "test part"
        else int((scores.table["label"].notna() & ~unseen(scores)).sum()),
        **figures(items),
        "intervals": HOW,
        "by": {**by_columns(items), **by_class(items, labelled)},
        "without_meaning": classes_alone(scores.table),
        "scores": by_term(items),
        "localisation": localisation(scores, items),
        "alarms": alarms(scores, items, which == "test part" and _one_place(config)),
        "slides": slides.summary if slides else None,
        "relabelled": _relabelled(scores, config),
        "overlap": split_overlap(scores.run) if which == "test part" else None,
        "note": reading_note(config["method"]) or None,
    }


def _relabelled(scores: Scores, config: dict[str, Any]) -> dict[str, Any] | None:
    """How many reference normals the run's own store calls anomalies now; None for none, for scores of another store, and for a run that
    was given labels of its own, which may say otherwise on purpose."""
    if (
        config["store"].get("labels_file")
        or scores.marker.get("inputs") != config["store"].get("inputs")
        or not (scores.run / "normals.parquet").is_file()
    ):
        return None
    return relabelled_entry(read_references(scores.run), scores.table)


def _one_place(config: dict[str, Any]) -> bool:
    """Whether the parts of a run's split were drawn from one place, so that normals of one may stand for those of another."""
    return config["data"].get("split") != "leave-site-out"


def _labelled_classes(run: Path) -> dict[str, int] | None:
    """Class -> how many of its items were labelled in training; None for a run that does not say so, or is gone."""
    return read_provenance(run).get("labelled_classes") if (run / "provenance.json").is_file() else None


def _write_or_remove(path: Path, table: pd.DataFrame | None) -> None:
    """Write the table as CSV, or remove what an earlier call wrote where there is none now."""
    from esad.preprocessing.store.writing import write_csv

    if table is None:
        path.unlink(missing_ok=True)
    else:
        write_csv(path, table)


def _evaluate_again(folder: Path) -> str:
    return f"make it anew with: esad evaluate {shlex.quote(str(folder))}"


def _read_csv(folder: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV of `write_metrics`, its texts as they were; EsadError where it is missing, damaged, or lacks one of `columns`."""
    import pandas as pd

    from esad.preprocessing.store.csv_cells import plain_table
    from esad.preprocessing.store.reading import damaged

    path = folder / name
    try:
        table = pd.read_csv(path, dtype={"source": "string"})
    except (OSError, ValueError) as error:
        raise damaged(path, "is missing or damaged (it is no CSV)", _evaluate_again(folder)) from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise damaged(path, f"is damaged (column {missing[0]!r} is missing)", _evaluate_again(folder))
    return plain_table(table)


def read_slides_csv(folder: Path) -> pd.DataFrame:
    """SCORES/slides.csv: a row a slide; EsadError where it is missing or damaged."""
    return _read_csv(
        folder, "slides.csv", ("source", "tiles", "label", "max", "top_mean", "p99", "suspicious")
    )


def read_froc_csv(folder: Path) -> pd.DataFrame:
    """SCORES/froc.csv: threshold, false_positives, sensitivity; EsadError where it is missing or damaged."""
    return _read_csv(folder, "froc.csv", ("threshold", "false_positives", "sensitivity"))


def write_metrics(
    scores: Scores, annotations: Path | None = None, reference: Path | None = None
) -> tuple[Path, dict[str, Any]]:
    """(metrics.json, its content); figures_by.csv of projections and sites, of tiles slides.csv, and with outlines froc.csv beside it."""
    from esad.preprocessing.store.durable import take_name
    from esad.preprocessing.store.store import write_json

    slides = figures_of_slides(scores, annotations, reference)
    content = measure(scores, slides)
    target = scores.root / "metrics.json"
    take_name(target)  # it is what a report goes by: not of these tables while they are written
    _write_or_remove(scores.root / "figures_by.csv", parts_table(content))
    _write_or_remove(scores.root / "slides.csv", slides.table if slides else None)
    _write_or_remove(scores.root / "froc.csv", slides.curve if slides else None)
    write_json(target, content)
    return target, content


def parts_table(content: dict[str, Any]) -> pd.DataFrame | None:
    """figures_by.csv: a row for each projection and each site of `content`, that of metrics.json; None where there is neither."""
    import pandas as pd

    alike, reached = (content["alarms"]["likeness"] or {}).get("by", {}), content["alarms"]["by"]
    rows = []
    for name in DIVIDED_BY:
        figured, shifted = content["by"].get(name, {}), alike.get(name, {})
        for value in sorted({*figured, *shifted}):
            own, shift = figured.get(value, {}), shifted.get(value, {})
            found = {"by": name, "value": value}
            found |= {key: own.get(key) for key in ("items", "normal", "anomaly", "groups")}
            for key in ("auc", "average_precision"):
                found |= {key: own.get(key), **_ends(key, own.get(f"{key}_interval"))}
            found["false_alarms"] = reached.get(name, {}).get(value, {}).get("achieved")
            found |= {"superiority": shift.get("superiority"), **_ends("superiority", shift.get("interval"))}
            rows.append(
                {
                    **found,
                    "superiority_items": shift.get("items"),
                    "superiority_p": shift.get("p"),
                    "alike": shift.get("alike"),
                }
            )
    return pd.DataFrame(rows) if rows else None


def _ends(name: str, interval: list[float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def stored_metrics(scores: Scores) -> dict[str, Any]:
    """The content of metrics.json, made where there is none yet."""
    path = scores.root / "metrics.json"
    if not path.is_file():
        with writing_to(scores.root):
            write_metrics(scores)  # and read as they are the next time: the file's order of names is another
    remedy = _evaluate_again(scores.root)
    content = read_object(path, remedy, METRICS)
    check_shape(path, content, Metrics, remedy)
    return content
