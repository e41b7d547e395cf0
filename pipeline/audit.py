"""`esad audit RUN|STORE`: whether figures can be trusted, by the checks of a split in `esad.pipeline.evaluation`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.options import Json
from esad.pipeline.stage.outcome import Outcome


def command(
    path: Annotated[Path, typer.Argument(help="A RUN, or a STORE with a stated split.")],
    as_json: Json = False,
) -> Outcome:
    """Check a store's files and a split: shards and counts that belong together, no item or group on both sides, labels that
    agree, columns scaled by training rows. Status 1 if not, 3 if something could not be checked."""
    return run_stage(lambda: audit(path), as_json, bare=True)


def audit(path: Path) -> Outcome:
    """Check the files of a STORE and its stated split, or those of a RUN's store and its split.

    The outcome has failed where one check does, and is partly done (status 3) where something could not be checked.
    The summary is {"passed": bool, "checks": [{"name", "passed", "count", "examples"}, ...], "unchecked": [text, ...],
    "notes": [text, ...]}.
    Raises UsageError where no such folder is, EsadError where it is neither, or a run's store is gone.
    """
    from esad.pipeline.evaluation.audit import audit_run, audit_sentence, audit_store
    from esad.pipeline.runs.run_folder import open_run
    from esad.pipeline.runs.split_overlap import overlap_sentence, split_overlap
    from esad.preprocessing.store.store import Store

    if not path.exists():
        raise UsageError(f"{path}: no such folder; expected a run or a store.")
    if (path / "store.json").is_file():
        audited, shared = audit_store(Store(path, whole=False)), None
    elif (path / "config.yaml").is_file():
        run = open_run(path)
        audited, shared = audit_run(run), split_overlap(run.root)
    else:
        raise EsadError(f"{path}: neither a run (config.yaml) nor a store (store.json).")
    passed = all(check.passed for check in audited.checks)
    summary = {
        "passed": passed,
        "checks": [check.as_json() for check in audited.checks],
        "unchecked": audited.unchecked,
        "notes": audited.notes,
    }
    message = audit_sentence(path, audited)
    if shared:
        message += f"\n{overlap_sentence(shared)} That is its design; train with data.split=clean for figures without it."
    return Outcome(path, message, summary=summary, failed=not passed, partly=bool(audited.unchecked))


if __name__ == "__main__":
    run_script(command)
