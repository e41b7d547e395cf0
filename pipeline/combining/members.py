"""Scores that are to be combined, opened and held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.items import places_among
from esad.pipeline.runs.run_files import (
    COMBINED,
    read_assignments,
    read_config,
    read_normals,
    read_provenance,
)
from esad.pipeline.scoring.open_scores import Scores, open_scores, scores_folder
from esad.pipeline.scoring.scores import MEMBERS
from esad.pipeline.stage.errors import EsadError, UsageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Member:
    """Scores of one run, with what their run says: the rows of `table` are in the order of the first member's."""

    scores: Scores
    table: pd.DataFrame
    normals: pd.DataFrame
    assignments: pd.DataFrame
    config: dict[str, Any]
    provenance: dict[str, Any]

    def described(self, folder: Path) -> dict[str, Any]:
        """What scores.json in `folder` says of a member: where its run lies seen from there, its weights, method, seed and store."""
        import os

        run = os.path.relpath(self.scores.run.resolve(), folder.resolve())
        marker = self.scores.marker
        return {
            "run": Path(run).as_posix(), "model": marker.get("model"), "method": self.config["method"], "seed": self.config["seed"],
            "store": Path(marker["store"]).name, "score": marker.get("score"), "normals": len(self.normals),
        }  # fmt: skip


def open_members(paths: Sequence[Path]) -> list[Member]:
    """The scores at `paths`, RUN or SCORES folders, 2 to MEMBERS of them.

    Raises UsageError for too few or too many, or the same scores twice; EsadError where one is itself a combination, has other items
    than the first, or another label of one, since nobody could say which is right.
    """
    if not 2 <= len(paths) <= len(MEMBERS):
        raise UsageError(
            f"{len(paths)} scores given; expected 2 to {len(MEMBERS)}: esad combine RUN1 RUN2 --out FOLDER."
        )
    folders = [scores_folder(path).resolve() for path in paths]
    twice = [folder for number, folder in enumerate(folders) if folder in folders[:number]]
    if twice:
        raise UsageError(f"{twice[0]}: given twice; it would count twice.")
    first = _opened(paths[0], None)
    members = [first, *(_opened(path, first) for path in paths[1:])]
    models = [each.scores.marker.get("model") for each in members]
    for number, model in enumerate(models):
        before = models.index(model)
        if model and before < number:
            raise UsageError(
                f"{members[number].scores.root}: scores of the same weights as {members[before].scores.root}; they would count twice."
            )
    return members


def _opened(path: Path, first: Member | None) -> Member:
    scores = open_scores(path, whole=True)
    config = read_config(scores.run)
    if config["method"] == COMBINED:
        raise EsadError(f"{scores.root}: is itself a combination; name the scores that it was made of.")
    table = scores.table if first is None else _in_order_of(first, scores)
    run = scores.run
    return Member(scores, table, read_normals(run), read_assignments(run), config, read_provenance(run))


def _in_order_of(first: Member, scores: Scores) -> pd.DataFrame:
    """The rows of `scores` in the order of the first member's, whose items and labels they must have."""
    if scores.marker.get("inputs") != first.scores.marker.get("inputs"):
        raise EsadError(
            f"{scores.root}: scores of another archive than {first.scores.root}, or of what its store held before: score one store with "
            "every run, and embeddings that esad embed made of it."
        )
    ours, theirs = first.table, scores.table
    places = places_among(ours["item_id"], theirs["item_id"])
    if len(theirs) != len(ours) or (places < 0).any():
        lost = ours["item_id"][places < 0]
        named = f", {lost.iloc[0]!r} not among them" if len(lost) else ""
        raise EsadError(
            f"{scores.root}: has other items than {first.scores.root} ({len(theirs)} and {len(ours)}{named}). Score the same archive with "
            "every run, and embeddings made of that store (esad embed)."
        )
    table = theirs.iloc[places].reset_index(drop=True)
    labels = [each["label"].astype("Int8").to_numpy(dtype=float, na_value=np.nan) for each in (ours, table)]
    other = np.flatnonzero(~((labels[0] == labels[1]) | (np.isnan(labels[0]) & np.isnan(labels[1]))))
    if len(other):
        said = ["none" if np.isnan(each[other[0]]) else f"{each[other[0]]:.0f}" for each in labels]
        raise EsadError(
            f"{scores.root}: {len(other)} items have another label than in {first.scores.root} "
            f"({ours['item_id'].iloc[other[0]]}: {said[1]} and {said[0]}). Bring both up to date with: esad score RUN"
        )
    return table
