"""The SCORES folder: its tables, and what of it is there already."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from esad.pipeline.runs.grey_levels import NO_LEVELS, levels_told, planned
from esad.pipeline.runs.run_files import train_again
from esad.pipeline.runs.run_folder import Run
from esad.pipeline.scoring.grown import has_grown, of_another, scored_shards
from esad.pipeline.scoring.open_scores import (
    SCORE_AGAIN,
    read_explanation,
    read_marker,
    read_scores_table,
    run_of,
)
from esad.pipeline.scoring.scores_table import PART, described, scores_table
from esad.pipeline.scoring.slides.slide_maps import write_slide_maps
from esad.pipeline.scoring.slides.slide_scores import candidates, slide_scores, suspicious
from esad.pipeline.scoring.work import WORK, Opened, Pieces, begun_as
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.log import FOLDER as LOG
from esad.pipeline.stage.log import write_log
from esad.pipeline.stage.outcome import Outcome, items_of
from esad.pipeline.thresholds.reference_sets import ReferenceSets, Rule
from esad.pipeline.thresholds.relabelled import relabelled_entry, relabelled_sentence
from esad.preprocessing.store.durable import empty_folder, is_empty, take_name
from esad.preprocessing.store.reading import read_table

if TYPE_CHECKING:
    from esad.preprocessing.store.store import Store


BEGUN = "begun.json"
"""Marks a folder whose tables are there and whose overlays are not finished; `scores.json` takes its place."""
SUGGESTIONS = "suggestions.csv"
"""What `esad suggest` writes there, and people fill in: never removed while somebody's labels are in it."""
FIGURES = ("metrics.json", "figures_by.csv", "slides.csv", "froc.csv", "report.html")
"""What later stages make of the scores: void with them, but not with the overlays."""
OF_SLIDES = ("source", "x", "y", "width", "height", "label", "score", "percentile", "p_value", "threshold")
"""Columns of the scores table that figures of slides are made of, beside tumour_fraction where it is known."""


def check_not_filled_in(path: Path) -> None:
    """UsageError where somebody has filled in labels in the suggestions at `path`, or it cannot be read: it is not to be replaced."""
    if not path.exists():
        return
    try:
        labels = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=["label"])["label"]
        filled = int((labels.str.strip() != "").sum())
    except (ValueError, OSError):  # other columns, other encoding: somebody's work all the same
        filled = 1
    if filled:
        raise UsageError(
            f"{path}: labels were filled in there, and would be lost. Move it to another folder first."
        )


def write_tables(
    folder: Path, store: Store, parts: Iterable[pd.DataFrame], ends: tuple[float, float]
) -> None:
    """scores.parquet, and of slides' tiles slides/, slides.parquet and candidates.parquet; `ends` are those of slide maps' colours.

    The `parts` of the scores table become row groups.
    """
    from esad.preprocessing.store.store import write_table

    path = folder / "scores.parquet"
    _write_scores(path, parts)
    if store.of_slides:
        table = read_table(path, SCORE_AGAIN, OF_SLIDES, ("tumour_fraction",)).astype({"source": "category"})
        places = write_slide_maps(store, table, folder / "slides", ends)
        slides = slide_scores(table).merge(places, on="source", how="left")
        write_table(folder / "slides.parquet", slides)
        write_table(folder / "candidates.parquet", candidates(table, slides))


def _write_scores(path: Path, parts: Iterable[pd.DataFrame]) -> None:
    import pyarrow as pa

    from esad.preprocessing.store.writing import write_row_groups

    write_row_groups(path, (pa.Table.from_pandas(part, preserve_index=False) for part in parts))


def renew(folder: Path, run: Run, store: Store, sets: ReferenceSets) -> bool:
    """Whether the store says other things of its items than the scores that are there do, or the thresholds are others: the
    tables then say them, too."""
    before = read_scores_table(folder)
    table = described(before.copy(), run, store, sets)
    if table.equals(before):
        return False
    for name in FIGURES:
        (folder / name).unlink(missing_ok=True)
    parts = (table.iloc[start : start + PART] for start in range(0, len(table), PART))
    if all(table[name].equals(before[name]) for name in ("p_value", "threshold")):
        _write_labels(folder, store, table, parts)  # slide maps show no label
    else:
        write_tables(folder, store, parts, sets.colour_ends)
    return True


def _write_labels(folder: Path, store: Store, table: pd.DataFrame, parts: Iterable[pd.DataFrame]) -> None:
    """The tables of scores whose labels alone have changed: scores.parquet of `parts`, and of slides' tiles slides.parquet."""
    from esad.preprocessing.store.store import write_table

    if store.of_slides:
        slides = read_table(folder / "slides.parquet", SCORE_AGAIN, ("source", "label"))
        labels = slide_scores(table).set_index("source")["label"]
        slides["label"] = slides["source"].map(labels).astype("Int8")
        write_table(folder / "slides.parquet", slides)
    _write_scores(folder / "scores.parquet", parts)


def sets_of(run: Run, folder: Path, asked: Mapping[str, Any]) -> ReferenceSets:
    """The reference sets of what was `asked` for (values of Rule); of nothing, as the scores in `folder` have them, else Rule's."""
    there = Rule.of(read_marker(folder)) if not asked and (folder / "scores.json").is_file() else None
    return ReferenceSets.of(run.normals, there or Rule(**asked), str(run.root))


def scores_marker(run: Run, store: Store, overlays: str, folder: Path, sets: ReferenceSets) -> dict[str, Any]:
    """What a SCORES folder holds: whose scores, of which items, with which overlays and thresholds; the run as seen from `folder`.

    How they were made (`shards`) stands in begun.json as soon as they are.
    """
    seen = os.path.relpath(run.root.resolve(), folder.resolve())
    return {
        "kind": store.kind, "run": Path(seen).as_posix(), "store": str(store.root.resolve()),
        "score": run.settings.score.kind, "model": run.digest, "inputs": store.description["inputs"],
        "items": len(store), "normals": len(run.normals), "overlays": overlays, "thresholds": sets.described(),
        **({} if run.grey_levels is None else {"grey_levels": planned(store, run.grey_levels)}),
        **({"slides": True} if store.of_slides and store.kind != "tiles" else {}),
        **({"labels": dict(labels)} if (labels := store.description["settings"].get("labels")) else {}),
    }  # fmt: skip


def already_scored(
    folder: Path, marker: dict[str, Any], force: bool, store: Store, device: Callable[[], str]
) -> bool:
    """Whether all is done; EsadError for a folder of something else. `force` empties a scores folder.

    Finished scores of a store that has grown since stay until the new ones are there; `device` finds where these would be made.

    A finished folder whose overlays are others than asked for is marked as begun.
    """
    from esad.preprocessing.store.store import write_json

    finished, begun = folder / "scores.json", folder / BEGUN
    if not folder.exists():
        return False
    if force and (finished.exists() or begun.exists() or (folder / WORK).exists() or is_empty(folder)):
        check_not_filled_in(folder / SUGGESTIONS)
        empty_folder(folder, BEGUN, ["scores.json", BEGUN])
        return False
    if finished.exists():
        found = read_marker(folder)
        before, now = _of_scores(folder, found), _of_scores(folder, marker)
        if has_grown(before, now, folder, store, device):
            return False
        difference = of_another(before, now) or first_difference(_begun(before), _begun(now))
        if difference:
            raise EsadError(
                f"{folder}: holds other scores ({difference}). Choose another --out, or --force to replace them."
            )
        same = all(found.get(name) == marker[name] for name in ("overlays", "thresholds"))
        if same and not _older_table(folder, marker):
            _clear_up(folder)
            return True
        write_json(begun, {**_begun(marker), "shards": found.get("shards")})
        take_name(finished)
        return False
    known = {
        "scores.parquet", "slides.parquet", "candidates.parquet", "overlays", "slides", BEGUN, LOG, SUGGESTIONS, *FIGURES,
    }  # fmt: skip
    strange = [
        entry.name for entry in folder.iterdir() if entry.name not in known and not entry.name.startswith(".")
    ]
    if strange:
        raise EsadError(
            f"{folder}: exists and is not a scores folder (it holds {strange[0]}); choose another --out."
        )
    return False


def _older_table(folder: Path, marker: dict[str, Any]) -> bool:
    """Whether these are a table's scores of an earlier version, which did not say what columns contribute."""
    import pyarrow.parquet as pq

    if marker["kind"] != "table":
        return False
    read_scores_table(folder, ())  # says what is damaged
    return "top_column_1" not in pq.read_schema(folder / "scores.parquet").names


def _of_scores(folder: Path, marker: dict[str, Any]) -> dict[str, Any]:
    """The marker with `run` as a whole path, since earlier versions wrote that, and without `labels`, which they did not."""
    run = str(run_of(folder, marker)) if "run" in marker else None
    return {**marker, "run": run, "labels": None}


def _begun(marker: dict[str, Any]) -> dict[str, Any]:
    """What must agree for the scores to stay."""
    return {**marker, "overlays": None, "thresholds": None, "shards": None, "labels": None}


def scores_are_there(folder: Path, marker: dict[str, Any]) -> bool:
    """Whether an unfinished folder has the tables of just these scores, so that only the overlays are to be drawn."""
    begun = folder / BEGUN
    there = begun_as(begun)
    if isinstance(there, dict) and _begun(there) == _begun(marker):
        return True
    begun.unlink(missing_ok=True)
    return False


def scores_outcome(folder: Path, run: Run, store: Store, verb: str, sets: ReferenceSets) -> Outcome:
    """What was scored and how much of it lies above its threshold, in a line and as figures."""
    needed = ("item_id", "score", "threshold", "part", "label")
    table = read_table(folder / "scores.parquet", SCORE_AGAIN, needed, ("group",))
    alarms, drawn = int(suspicious(table).sum()), _drawn(folder, store.kind)
    told = f"the columns of {drawn} in overlays" if store.kind == "table" else f"{drawn} overlays"
    if store.kind == "embeddings":
        told = "with maps of their slides" if store.of_slides else "without maps, which belong to slides"
        told += f", {drawn} overlays through the encoder" if drawn else ""
    message = f"{verb}: {len(table)} {items_of(store.kind)} scored, {alarms} above their threshold ({sets.promise()}), {told}."
    message += "".join(f" {line}" for line in sets.warnings(int(table["threshold"].isna().sum())))
    own = run.is_own(store) and not run.store.get(
        "labels_file"
    )  # labels given for a run may say otherwise on purpose
    found = relabelled_entry(run.normals, table) if own else None
    message += f" {relabelled_sentence(found, train_again(run.root))}" if found else ""
    levels = levels_told(read_marker(folder).get("grey_levels") or NO_LEVELS)
    message += f" {levels}" if levels else ""
    summary = {"items": len(table), "suspicious": alarms, "overlays": drawn}
    if found:
        summary["relabelled_normals"] = found["items"]
    return Outcome(folder, message, shlex.join(["esad", "evaluate", str(folder)]), 0, summary)


def _drawn(folder: Path, kind: str) -> int:
    """How many items have an overlay; of a table, how many rows were explained."""
    if kind == "table":
        return int((read_explanation(folder) or {}).get("rows", 0))
    return len(list((folder / "overlays").glob("*.png")))


def told_of_labels(folder: Path, run: Run, store: Store, sets: ReferenceSets) -> str:
    """What to say of finished scores, whose labels are brought up to date."""
    if renew(folder, run, store, sets):
        return f"Labels brought up to date, scores kept, in {folder}"
    return "Left alone (finished before)"


def begin_scores(
    opened: Opened, scored: Pieces, marker: dict[str, Any], sets: ReferenceSets, device: str
) -> None:
    """Write the tables of what was `scored` on `device` and mark the folder as begun: what later stages made of other scores is void."""
    from esad.preprocessing.store.store import write_json

    folder, store = opened.folder, opened.store
    take_name(folder / "scores.json")  # of a store that was smaller
    for name in FIGURES:
        (folder / name).unlink(missing_ok=True)
    write_tables(folder, store, scores_table(opened, scored, sets), sets.colour_ends)
    write_json(folder / BEGUN, {**_begun(marker), "shards": scored_shards(store, device)})


def finish_scores(folder: Path, marker: dict[str, Any], run: Run, began: datetime) -> None:
    """Mark the folder as finished; when that was and where the run lies on this machine stand in its log.

    How the scores were made is what begun.json says.
    """
    from esad.preprocessing.store.store import write_json

    begun = begun_as(folder / BEGUN)
    shards = begun.get("shards") if isinstance(begun, dict) else None
    write_log(folder, "score", began, run=str(run.root.resolve()))
    write_json(folder / "scores.json", {**marker, "shards": shards})
    _clear_up(folder)


def _clear_up(folder: Path) -> None:
    """Remove what finished scores have no use for; a kill may have left it."""
    (folder / BEGUN).unlink(missing_ok=True)
    shutil.rmtree(folder / WORK, ignore_errors=True)
