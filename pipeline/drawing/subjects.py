"""What is drawn: the runs that a person names, and those of a sweep's folder, opened, with their scores where there are any."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.runs.run_folder import Run, open_run
from esad.pipeline.scoring.open_scores import SCORE_AGAIN, read_marker, run_of, scores_folder
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.preprocessing.store.reading import damaged

if TYPE_CHECKING:
    from esad.preprocessing.store.store import Store

SWEEP, CELLS = "sweep.json", "cells"
"""The mark of a sweep's folder, and where its runs are."""


@dataclass(frozen=True)
class Subject:
    """A finished run and its scores."""

    run: Run
    folder: Path | None
    """Its SCORES folder, finished; None where it is not scored."""
    name: str
    """What figures call it: the last parts of its path, as few as tell it from the others."""
    cell: bool
    """A run of a sweep, not one that was named."""

    @cached_property
    def marker(self) -> dict[str, Any]:
        """The content of scores.json; only where there is a `folder`."""
        assert self.folder is not None
        return read_marker(self.folder)

    @property
    def title(self) -> str:
        """The method's name, without its source: `Deep SAD`."""
        from esad.models.methods.registry import METHODS

        return METHODS[self.run.settings.method].title.partition(" (")[0]

    @property
    def store_path(self) -> Path:
        """Where the store was that its scores are of, or without scores the one that it was trained on."""
        return Path(self.run.store["path"] if self.folder is None else self.marker["store"])

    @cached_property
    def store(self) -> Store:
        """The store at `store_path`; EsadError where it is gone, or another one than was scored."""
        from esad.preprocessing.store.store import Store

        if self.folder is None:
            return self.run.training_store()
        path = self.store_path
        if not path.exists():
            raise EsadError(
                f"{path}: the store that {self.folder} was scored on is gone. Score it where it is now: "
                f"esad score {shlex.quote(str(self.run.root))} STORE --out NEW, and name NEW."
            )
        store = Store(path)
        if store.description["inputs"] != self.marker.get("inputs", store.description["inputs"]):
            raise EsadError(
                f"{path}: was made anew of other inputs since {self.folder} was scored; {SCORE_AGAIN}"
            )
        self.run.check(store)
        return store


def find_subjects(paths: Sequence[Path]) -> tuple[list[Subject], list[str]]:
    """(the runs at `paths`, what is left out and why): RUN and SCORES folders, and folders of sweeps for all of their cells.

    Raises UsageError for a path that is not there or stands twice, EsadError for a folder of something else, a named run
    that is not finished, scores of other weights, or where no run is left.
    """
    roots: list[tuple[Path, bool]] = []
    told: list[str] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such folder; expected a run, scores or a sweep.")
        if (path / SWEEP).is_file():
            finished, left_out = _cells(path)
            roots += [(cell, True) for cell in finished]
            told += left_out
        elif (path / "config.yaml").is_file() or (path / "scores.json").is_file():
            roots.append((path, False))
        else:
            raise EsadError(
                f"{path}: neither a run (config.yaml) nor scores (scores.json) nor a sweep ({SWEEP}). Make a run with: "
                "esad train STORE --out RUN"
            )
    resolved = [root.resolve() for root, _ in roots]
    for place, root in enumerate(resolved):
        if root in resolved[:place]:
            raise UsageError(f"{roots[place][0]}: is named twice.")
    if not roots:
        raise EsadError(
            f"{paths[0]}: no cell of the sweep is trained; run the same esad sweep command again."
        )
    names = distinct_names(resolved)
    return [_opened(root, name, cell) for (root, cell), name in zip(roots, names, strict=True)], told


def _cells(sweep: Path) -> tuple[list[Path], list[str]]:
    """(the finished runs of a sweep, by name, and what is said of the others)."""
    cells = sorted(path for path in (sweep / CELLS).glob("*") if (path / "config.yaml").is_file())
    finished = [cell for cell in cells if (cell / "model.safetensors").is_file()]
    told = [f"{cell}: training has not finished" for cell in cells if cell not in finished]
    return finished, told


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of whole, different paths, each as few as no other path ends in: `run`, or `a/run` beside `b/run`."""
    names = []
    for path in paths:
        others = [other for other in paths if other != path]
        count = 1
        while any(other.parts[-count:] == path.parts[-count:] for other in others):
            count += 1
        names.append("/".join(path.parts[-count:]))
    return names


def _opened(path: Path, name: str, cell: bool) -> Subject:
    """A RUN with its scores, or SCORES with their run."""
    if (path / "scores.json").is_file():
        folder: Path | None = path
        run = open_run(run_of(path, read_marker(path)))
        name = f"{run.root.name}, scores {name}"
    else:
        run = open_run(path)
        scored = next(path.glob("scores/*/scores.json"), None)
        folder = scores_folder(path) if scored else None
    subject = Subject(run, folder, name, cell)
    if folder is not None and subject.marker.get("model") not in (None, "", run.digest):
        raise damaged(folder, f"holds scores of other weights than {run.root} has now", SCORE_AGAIN)
    return subject


def not_scored(subjects: Sequence[Subject]) -> list[str]:
    """A line for those that are not scored, with the command that scores them."""
    named = [subject for subject in subjects if subject.folder is None and not subject.cell]
    lines = [
        f"{each.run.root}: not scored yet. Run: esad score {shlex.quote(str(each.run.root))}"
        for each in named
    ]
    cells: dict[Path, list[Path]] = {}
    for each in subjects:
        if each.folder is None and each.cell:
            cells.setdefault(each.run.root.parent, []).append(each.run.root)
    for folder, missing in cells.items():
        first = shlex.quote(str(missing[0]))
        lines.append(
            f"{folder.parent}: {len(missing)} of its runs are not scored yet. Run esad score RUN --overlays none for each "
            f"folder in {folder}, {first} first"
        )
    return lines
