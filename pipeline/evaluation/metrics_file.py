"""metrics.json, slides.csv and froc.csv of a SCORES folder: made, and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.evaluation.counted_items import counted_tiles, evaluated_items
from esad.pipeline.evaluation.item_figures import by_term, by_view, figures, localisation
from esad.pipeline.evaluation.split_overlap import split_overlap
from esad.pipeline.runs.run_folder import read_config
from esad.pipeline.scoring.open_scores import Scores
from esad.pipeline.stage.errors import EsadError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.evaluation.slide_figures import SlideFigures


def figures_of_slides(
    scores: Scores, annotations: Path | None, reference: Path | None
) -> SlideFigures | None:
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

    labels = read_config(scores.run)["store"]["settings"].get("labels") or {}
    classes = labels.get("outline_classes")
    truth = read_truth(scores.table["source"].unique().tolist(), annotations, reference, classes)
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
        "by": by_view(items),
        "scores": by_term(items),
        "localisation": localisation(scores, items),
        "slides": slides.summary if slides else None,
        "overlap": split_overlap(scores.run) if which == "test part" else None,
    }


def write_csv(path: Path, table: pd.DataFrame | None) -> None:
    """Write the table, or remove what an earlier call wrote where there is none now."""
    from esad.preprocessing.store.store import write_atomically

    if table is None:
        path.unlink(missing_ok=True)
    else:
        write_atomically(path, lambda temporary: table.to_csv(temporary, index=False))


def write_metrics(
    scores: Scores, annotations: Path | None = None, reference: Path | None = None
) -> tuple[Path, dict[str, Any]]:
    """(metrics.json, its content); of tiles slides.csv, and with outlines froc.csv beside it."""
    from esad.preprocessing.store.store import write_json

    slides = figures_of_slides(scores, annotations, reference)
    content = measure(scores, slides)
    target = scores.root / "metrics.json"
    write_csv(scores.root / "slides.csv", slides.table if slides else None)
    write_csv(scores.root / "froc.csv", slides.curve if slides else None)
    write_json(target, content)
    return target, content


def stored_metrics(scores: Scores) -> dict[str, Any]:
    """The content of metrics.json, made where there is none yet."""
    path = scores.root / "metrics.json"
    if not path.is_file():
        return write_metrics(scores)[1]
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EsadError(
            f"{path}: cannot be read ({error}); make it anew with: esad evaluate {scores.root}"
        ) from error
