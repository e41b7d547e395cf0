"""`esad synthetic`: an archive to try everything on: made-up slides and radiographs, and a real small table."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import progress, say

DRAWING = 3
"""Goes up when the same settings begin to give other pictures, so that an older archive is not taken for a new one."""
README = """The slides and radiographs in this folder are SYNTHETIC: drawn by a program (esad synthetic).
They show no patient, follow no anatomy closely and mean nothing medically.
The table is real: breast cancer Wisconsin (diagnostic), as scikit-learn ships it (UCI, CC BY 4.0).
"""


def synthetic(
    out: Path, slides: int = 6, radiographs: int = 240, size: int = 6144, seed: int = 0, force: bool = False
) -> Outcome:
    """Write OUT/slides, OUT/annotations, OUT/radiographs, OUT/table.npz; the same bytes for the same settings.

    Half of the `slides` (of `size` level-0 pixels, 0.25 um each) and a quarter of the `radiographs` are abnormal. The
    folder appears whole or not at all. Raises EsadError where `out` was made with other settings (unless `force`)
    or is something else, UsageError for a size that leaves no room for a tile.
    """
    if size < 1024:
        raise UsageError(f"--size {size}: a slide needs at least 1024 level-0 pixels.")
    wanted = {"drawing": DRAWING, "radiographs": radiographs, "seed": seed, "size": size, "slides": slides}
    if out.exists() and any(out.iterdir()):
        difference = first_difference(_settings_of(out), wanted)
        if not difference and not force:
            return _outcome(out, wanted, f"Left {out} alone (made before)")
        if not force:
            raise EsadError(
                f"{out}: made with other settings ({difference}). Choose another --out, or --force to replace it."
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (out.with_name(f".{out.name}.{word}") for word in ("partial", "old"))
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    _make(fresh, slides, radiographs, size, seed)
    (fresh / "settings.json").write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    return _outcome(out, wanted, f"Wrote {out}")


def _settings_of(out: Path) -> dict[str, Any]:
    """What the archive at `out` was made with; EsadError where it is none, whatever `--force` says."""
    try:
        settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = None
    if not isinstance(settings, dict) or not (out / "README.txt").is_file():
        raise EsadError(f"{out}: exists and is not a synthetic archive; choose another --out.")
    return settings


def _make(folder: Path, slides: int, radiographs: int, size: int, seed: int) -> None:
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


def _outcome(out: Path, wanted: dict[str, int], verb: str) -> Outcome:
    message = f"{verb}: {wanted['slides']} synthetic slides, {wanted['radiographs']} synthetic radiographs, one real table."
    command = f"esad tile {out / 'slides'} --annotations {out / 'annotations'} --out tiles"
    return Outcome(out, message, command, 0, dict(wanted))


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["synthetic", *sys.argv[1:]])
