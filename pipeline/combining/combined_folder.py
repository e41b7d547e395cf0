"""The folder of a combination: what stages after scoring read of a RUN, but for weights, and SCORES in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from esad.pipeline.combining.members import Member
from esad.pipeline.runs.run_files import COMBINED, read_config
from esad.pipeline.scoring.open_scores import read_marker
from esad.pipeline.scoring.scores_folder import FIGURES, SUGGESTIONS, check_not_filled_in, write_tables
from esad.pipeline.scoring.scores_table import PART
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.log import write_log
from esad.pipeline.stage.outcome import items_of
from esad.pipeline.thresholds.reference_sets import ReferenceSets
from esad.preprocessing.store.durable import take_name
from esad.preprocessing.store.store import Store, write_json, write_table
from esad.preprocessing.store.writing import write_text

LEFT_OUT = ("shards", "grey_levels")
"""What the scores.json of a member says of its own making."""


def scores_in(out: Path, members: Sequence[Member]) -> Path:
    """Where the SCORES of the combination in `out` stand, named after the first member's store."""
    return out / "scores" / Path(members[0].scores.marker["store"]).name


def check_folder(out: Path, members: Sequence[Member], force: bool) -> None:
    """EsadError where `out` holds something else than a combination, or without `force` one of other members.

    UsageError where suggestions there were filled in.
    """
    if not out.exists() or not any(path for path in out.iterdir() if not path.name.startswith(".")):
        return
    if not (out / "config.yaml").is_file() or read_config(out)["method"] != COMBINED:
        raise EsadError(f"{out}: exists and holds no combination of scores; choose another --out.")
    folder = scores_in(out, members)
    before = read_config(out).get("members")
    now = [each.described(folder) for each in members]
    if before != now and not force:
        raise EsadError(f"{out}: combines other scores. Choose another --out, or --force to replace them.")
    check_not_filled_in(folder / SUGGESTIONS)


def combined_marker(
    out: Path, members: Sequence[Member], table: pd.DataFrame, sets: ReferenceSets
) -> dict[str, Any]:
    """scores.json of the combination; `digest` is of scores, labels and parts, so that what has changed since is known."""
    folder, first = scores_in(out, members), members[0].scores.marker
    own = [each.described(folder) for each in members]
    digest = hashlib.sha256(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()).hexdigest()
    seen = os.path.relpath(out.resolve(), folder.resolve())
    return {
        **{name: value for name, value in first.items() if name not in LEFT_OUT},
        "run": Path(seen).as_posix(), "score": COMBINED, "model": _digest([str(each["model"]) for each in own]),
        "normals": sets.most, "overlays": "none", "thresholds": sets.described(), "members": own, "digest": digest,
    }  # fmt: skip


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def is_finished(folder: Path, marker: Mapping[str, Any]) -> bool:
    """Whether the SCORES in `folder` are these very ones."""
    return (folder / "scores.json").is_file() and read_marker(folder) == dict(marker)


def write_combination(
    out: Path, members: Sequence[Member], normals: pd.DataFrame, assignments: pd.DataFrame, table: pd.DataFrame,
    marker: Mapping[str, Any], sets: ReferenceSets, began: datetime,
) -> None:  # fmt: skip
    """Write all files of the combination, scores.json last; figures that were made of earlier scores are void."""
    folder, first = scores_in(out, members), members[0]
    folder.mkdir(parents=True, exist_ok=True)
    take_name(folder / "scores.json")
    for name in FIGURES:
        (folder / name).unlink(missing_ok=True)
    config = {
        "method": COMBINED, "seed": first.config["seed"], "data": first.config["data"], "members": marker["members"],
        "store": first.config["store"],
    }  # fmt: skip
    _write_yaml(out / "config.yaml", config)
    write_json(out / "provenance.json", _provenance(members))
    write_table(out / "normals.parquet", normals)
    write_table(out / "assignments.parquet", assignments)
    parts = (table.iloc[start : start + PART] for start in range(0, len(table), PART))
    write_tables(folder, Store(Path(first.scores.marker["store"])), parts, sets.colour_ends)
    write_log(folder, "combine", began, run=str(out.resolve()))
    write_json(folder / "scores.json", dict(marker))


def _provenance(members: Sequence[Member]) -> dict[str, Any]:
    """Steps of all trainings together; versions of the first, whose device and seed it has, too."""
    first = members[0].provenance
    return {**first, "steps": sum(int(each.provenance["steps"]) for each in members), "reconstruction": None}


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, yaml.safe_dump(dict(content), sort_keys=False))


def told(members: Sequence[Member], table: pd.DataFrame, sets: ReferenceSets) -> str:
    """How many items were combined of how many scores, and how many stand out."""
    from esad.pipeline.scoring.slides.slide_scores import suspicious

    kind = str(members[0].scores.marker["kind"])
    without = int(table["threshold"].isna().sum())
    alarms = int(suspicious(table).sum())
    text = f"{len(table)} {items_of(kind)}, each with the mean of {len(members)} scores, {alarms} above their threshold ({sets.promise()})."
    return " ".join([text, *sets.warnings(without)])
