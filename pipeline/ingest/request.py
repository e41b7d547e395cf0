"""What the commands of the four ingest stages have in common, and what it comes to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeVar

from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import TileSettings, parse_assignments, resolve
from esad.pipeline.stage.command import say_resume
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import (
    Anonymous,
    Force,
    GroupKey,
    Json,
    Labels,
    Like,
    Out,
    Resume,
    Scheduler,
    Set,
    Site,
    Where,
    Workers,
)

Model = TypeVar("Model")


@dataclass(frozen=True)
class IngestRequest:
    """The options that `esad tile`, `radiographs`, `images` and `tables` share, as they were given."""

    out: Out
    labels: Labels = None
    site: Site = None
    like: Like = None
    where: Where = None
    set_: Set = None
    workers: Workers = None
    scheduler: Scheduler = None
    anonymous: Anonymous = False
    group_key: GroupKey = None
    force: Force = False
    resume: Resume = False
    as_json: Json = False

    def settings(
        self, model: type[Model], kind: str, given: dict[str, Any], published: dict[str, Any] | None = None
    ) -> Model:
        """Defaults, what is `published`, the settings of the run in `--like`, `--set`, then the options `given`."""
        return ingest_settings(model, {**(published or {}), **self._like(kind)}, self.set_, given)

    def options(self, default_workers: int = 1) -> IngestOptions:
        """How the stage is to work; UsageError where `--workers` and `--scheduler` are both given."""
        from esad.pipeline.ingest.inputs import parse_where

        if self.scheduler and self.workers:
            raise UsageError(
                "--workers are processes of this machine, --scheduler is a cluster's: give one of them."
            )
        if self.site is not None and not self.site.strip():
            raise UsageError("--site: expected the name of a scanner, hospital or centre, not an empty text.")
        say_resume(self.out, self.force, self.resume)
        workers = 1 if self.scheduler else self.workers or default_workers
        where = parse_where(self.where or [])
        return IngestOptions(
            self.out,
            self.labels,
            where,
            self.force,
            workers,
            self.scheduler,
            self.anonymous,
            self.group_key,
            self.site.strip() if self.site else None,
            self.like,
        )

    def _like(self, kind: str) -> dict[str, Any]:
        """The settings that shape the items, of the store that the run in `--like` was trained on."""
        if self.like is None:
            return {}
        from esad.pipeline.runs.run_folder import like_settings, read_config

        store = read_config(self.like)["store"]
        if store["kind"] != kind:
            raise UsageError(f"--like {self.like}: trained on {store['kind']}, this stage makes {kind}.")
        return like_settings(store)


def ingest_settings(
    model: type[Model], below: dict[str, Any], assignments: list[str] | None, given: dict[str, Any]
) -> Model:
    """Defaults, then `below`, then `--set`, then the options `given`; of the two scales of tiles the stated one counts."""
    stated = {**parse_assignments(assignments or []), **given}
    scales = [name for name in ("magnification", "mpp") if stated.get(name) is not None]
    if model is TileSettings and len(scales) == 2:
        raise UsageError("--magnification and --mpp both say the scale of the tiles: give one of them.")
    other_scale_off = {"magnification": None, "mpp": None} if model is TileSettings and scales else {}
    return resolve(model, below, other_scale_off, stated)  # type: ignore[type-var]


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
