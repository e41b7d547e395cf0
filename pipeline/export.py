"""`esad export RUN --to bundle|onnx`: a finished run as a MONAI Bundle, or as one ONNX file."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from esad.pipeline.exporting.bundle import write_bundle
from esad.pipeline.exporting.onnx_model import FILE, OPSET, write_onnx
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.training.run_folder import Run, open_run

MARKER = "export.json"
"""Says what the folder holds, and that it is finished."""
FORMATS = ("bundle", "onnx")


def export(run: Path, to: str, out: Path | None = None, force: bool = False) -> Outcome:
    """Write the run as `to` says into `out` (default RUN/export/<to>); the folder appears whole or not at all.

    Left alone where it holds this very model. Raises UsageError for an unknown format, EsadError where `out` holds
    something else (`force` replaces another export), where a package is missing or the format cannot hold the run.
    """
    if to not in FORMATS:
        raise UsageError(f"--to {to!r}: expected one of {', '.join(FORMATS)}.")
    opened = open_run(run)
    folder = out or run / "export" / to
    marker = _marker(opened, to)
    if _already_exported(folder, marker, force):
        return _outcome(opened, folder, f"Left alone (exported before): {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        if to == "bundle":
            write_bundle(opened, fresh)
        else:
            write_onnx(opened, fresh / FILE)
        (fresh / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return _outcome(opened, folder, f"Wrote {folder} ({size / 2**20:.1f} MiB)")


def _marker(run: Run, to: str) -> dict[str, Any]:
    own = {"to": to, "model": run.digest, "score": run.settings.score.kind, "esad": version("esad")}
    return own | ({"opset": OPSET} if to == "onnx" else {})


def _already_exported(folder: Path, marker: dict[str, Any], force: bool) -> bool:
    """Whether `folder` holds just this; EsadError where it holds something else that is not to be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    path = folder / MARKER
    if not path.is_file():
        raise EsadError(f"{folder}: exists and is no export; choose another --out.")
    difference = first_difference(json.loads(path.read_text(encoding="utf-8")), marker)
    if difference and not force:
        raise EsadError(
            f"{folder}: holds another export ({difference}). Choose another --out, or replace it: esad export … --to {marker['to']} --force"
        )
    return not difference and not force


def _outcome(run: Run, folder: Path, message: str) -> Outcome:
    return Outcome(folder, f"{message}.", shlex.join(["esad", "verify", str(run.root)]))


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["export", *sys.argv[1:]])
