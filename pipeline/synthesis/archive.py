"""The made-up archive as a folder: its slides, radiographs and table, and what it was made with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.progress import progress, say

DRAWING = 4
"""Goes up when the same settings begin to give other pictures, so that an older archive is not taken for a new one."""
README = """The slides and radiographs in this folder are SYNTHETIC: drawn by a program (esad synthetic).
They show no patient, follow no anatomy closely and mean nothing medically.
The table is real: breast cancer Wisconsin (diagnostic), as scikit-learn ships it (UCI, CC BY 4.0).
"""


def _settings_of(out: Path) -> dict[str, Any]:
    """What the archive at `out` was made with; EsadError where it is none, whatever `--force` says."""
    try:
        settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = None
    if not isinstance(settings, dict) or not (out / "README.txt").is_file():
        raise EsadError(f"{out}: exists and is not a synthetic archive; choose another --out.")
    return settings


def _draw(folder: Path, slides: int, radiographs: int, size: int, seed: int) -> None:
    from esad.pipeline.synthesis.radiographs import make_radiographs
    from esad.pipeline.synthesis.slides import make_slides

    folder.mkdir()
    (folder / "README.txt").write_text(README, encoding="utf-8")
    say("These slides and radiographs are synthetic: drawn by a program, they mean nothing medically.")
    with progress("synthetic archive", slides + 2) as bar:
        make_slides(
            folder / "slides", slides, slides // 2, size, seed=seed,
            annotations=folder / "annotations", advance=bar.advance,
        )  # fmt: skip
        make_radiographs(folder / "radiographs", radiographs, radiographs // 4, seed=seed)
        bar.advance()
        make_table(folder)
        bar.advance()


def make_table(folder: Path) -> Path:
    """Write `folder`/table.npz and return its path: breast cancer Wisconsin (diagnostic), all 569 rows.

    `X` float64 (569, 30) as measured, `y` int64 (569,): 1 = malignant (212), the anomaly, 0 = benign (357).
    """
    import numpy as np
    from sklearn.datasets import load_breast_cancer

    folder.mkdir(parents=True, exist_ok=True)
    table = load_breast_cancer()
    path = folder / "table.npz"
    np.savez(path, X=table.data, y=(table.target == 0).astype(np.int64))
    return path


def already_made(out: Path, wanted: dict[str, int], force: bool) -> bool:
    """Whether `out` is just this archive; EsadError where it was made with other settings (unless `force`), or is none."""
    if not out.exists() or not any(out.iterdir()):
        return False
    difference = first_difference(_settings_of(out), wanted)
    if difference and not force:
        raise EsadError(
            f"{out}: made with other settings ({difference}). Choose another --out, or --force to replace it."
        )
    return not force


def make_archive(out: Path, wanted: dict[str, int]) -> None:
    """Draw the archive beside `out` and rename it, so that it appears whole or not at all."""
    from esad.preprocessing.store.durable import replace_folder
    from esad.preprocessing.store.writing import full_disk_named

    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    with full_disk_named(out):
        _draw(fresh, wanted["slides"], wanted["radiographs"], wanted["size"], wanted["seed"])
        (fresh / "settings.json").write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        replace_folder(fresh, out)
