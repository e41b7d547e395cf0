"""`esad synthetic`: an archive to try everything on: made-up slides and radiographs, and a real small table."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from pipeline.config import first_difference
from pipeline.errors import EsadError
from pipeline.outcome import Outcome
from pipeline.progress import progress, say

README = """The slides and radiographs in this folder are SYNTHETIC: drawn by a program (esad synthetic).
They show no patient, follow no anatomy closely and mean nothing medically.
The table is real: breast cancer Wisconsin (diagnostic), as scikit-learn ships it (UCI, CC BY 4.0).
"""


def synthetic(
    out: Path, slides: int = 6, radiographs: int = 240, size: int = 6144, seed: int = 0, force: bool = False
) -> Outcome:
    """Write OUT/slides, OUT/annotations, OUT/radiographs, OUT/table.npz; the same bytes for the same settings.

    Raises EsadError where `out` was made with other settings or is something else.
    """
    wanted = {"slides": slides, "radiographs": radiographs, "size": size, "seed": seed}
    marker = out / "settings.json"
    if out.exists() and any(out.iterdir()):
        if not marker.exists():
            raise EsadError(f"{out}: exists and is not a synthetic archive; choose another --out.")
        difference = first_difference(json.loads(marker.read_text()), wanted)
        if not difference and not force:
            return _outcome(out, wanted, "Left alone (made before)")
        if not force:
            raise EsadError(
                f"{out}: made with other settings ({difference}). Choose another --out, or --force to replace it."
            )
        shutil.rmtree(out)
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    _make(temporary, slides, radiographs, size, seed)
    (temporary / "settings.json").write_text(json.dumps(wanted, indent=1) + "\n")
    if out.exists():
        out.rmdir()
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(out)
    return _outcome(out, wanted, f"Wrote {out}")


def _make(folder: Path, slides: int, radiographs: int, size: int, seed: int) -> None:
    import numpy as np
    from sklearn.datasets import load_breast_cancer

    from pipeline.synthetic_radiographs import make_radiographs
    from pipeline.synthetic_slides import make_slides

    folder.mkdir(parents=True)
    (folder / "README.txt").write_text(README)
    say("These slides and radiographs are synthetic: drawn by a program, they mean nothing medically.")
    with progress("synthetic archive", 3) as bar:
        make_slides(folder / "slides", folder / "annotations", slides, size, seed=seed)
        bar.advance()
        make_radiographs(folder / "radiographs", radiographs, seed=seed)
        bar.advance()
        table = load_breast_cancer()
        np.savez(folder / "table.npz", X=table.data, y=(table.target == 0).astype(np.int64))
        bar.advance()


def _outcome(out: Path, wanted: dict[str, int], verb: str) -> Outcome:
    message = f"{verb}: {wanted['slides']} synthetic slides, {wanted['radiographs']} synthetic radiographs, one real table."
    command = f"esad tile {out / 'slides'} --annotations {out / 'annotations'} --out tiles"
    return Outcome(out, message, command, 0, dict(wanted))


if __name__ == "__main__":
    from pipeline.cli import main

    main(["synthetic", *sys.argv[1:]])
