"""The folder of an export, and whether it is there already."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from esad.pipeline.exporting.bundle import write_bundle
from esad.pipeline.exporting.onnx_model import FILE, OPSET, write_onnx
from esad.pipeline.runs.run_folder import Run
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.store.durable import replace_folder
from esad.preprocessing.store.reading import read_object
from esad.preprocessing.store.writing import full_disk_named

MARKER = "export.json"
"""Says what the folder holds, and that it is finished."""


def export_marker(run: Run, to: str) -> dict[str, Any]:
    """What an export of this run is: its format, the model's digest, the score, the version."""
    own = {"to": to, "model": run.digest, "score": run.settings.score.kind, "esad": version("esad")}
    return own | ({"opset": OPSET} if to == "onnx" else {})


def refuse_grey_levels(run: Run) -> None:
    """EsadError for a run that maps grey levels by site: a file of one network does not know a picture's site."""
    if run.grey_levels is not None:
        raise EsadError(
            f"{run.root}: was trained with data.site_normalisation = {run.settings.data.site_normalisation}, which maps each picture by "
            "its site, and no export knows that. Score with esad score, or export a run that was trained without it."
        )


def already_exported(folder: Path, marker: dict[str, Any], force: bool) -> bool:
    """Whether `folder` holds just this; EsadError where it holds something else that is not to be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    path = folder / MARKER
    if not path.is_file():
        raise EsadError(f"{folder}: exists and is no export; choose another --out.")
    before = {} if force else read_object(path, "replace it with --force.", {})
    difference = first_difference(before, marker)
    if difference and not force:
        raise EsadError(
            f"{folder}: holds another export ({difference}). Choose another --out, or replace it: esad export … --to {marker['to']} --force"
        )
    return not difference and not force


def write_export(run: Run, to: str, folder: Path, marker: dict[str, Any]) -> int:
    """Write the export beside `folder` and rename it, so that it appears whole or not at all; returns its bytes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        with full_disk_named(folder):
            if to == "bundle":
                write_bundle(run, fresh)
            else:
                write_onnx(run, fresh / FILE)
            (fresh / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
            replace_folder(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
