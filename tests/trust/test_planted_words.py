"""Names of people, planted in every place that a file has for them, are in no output, log, temporary file or message."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esad.pipeline.cli.app import call
from tests.pipeline.ingest.test_privacy import MARKER
from tests.pipeline.stores import QUICK
from tests.trust import planted

SETTINGS = {**QUICK, "train.steps": 4, "train.warmup.steps": 2, "train.batch_size": 8}
WORDS = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
STAGES = {
    "images": (planted.pictures, ["--size", "16", "--colour", "grey"]),
    "radiographs": (planted.radiographs, []),
    "tile": (planted.slides, ["--stain", "none", "--min-tissue", "0.1"]),
    "tables": (planted.tables, []),
    "embeddings": (planted.embeddings, ["--tile-side", "256"]),
}


FORMS = {"images": ("bundle",), "tables": ("onnx",)}
"""To which a run of each is exported; they take seconds."""


def test_the_search_finds_what_is_hidden_in_any_of_these_ways(tmp_path):
    forms = [MARKER.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be")]
    hidden = [b"a" + form for form in forms]
    hidden += [base64.b64encode(b"abc"[:shift] + form + b"xy") for form in forms for shift in range(3)]
    for number, content in enumerate(hidden):
        (tmp_path / f"{number}.bin").write_bytes(content)
    planted.tables(tmp_path / "t")
    planted.pictures(tmp_path / "p")
    for path in [*tmp_path.glob("*/*")]:
        path.rename(path.with_name(path.name.replace(MARKER, "x")))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(planted.holding(tmp_path)) == len(files)
    (tmp_path / "innocent.txt").write_text("MARKER")
    assert len(planted.holding(tmp_path)) == len(files)


@pytest.mark.parametrize("stage", STAGES)
def test_no_planted_word_comes_out(tmp_path, monkeypatch, capfd, stage):
    make, more = STAGES[stage]
    make(tmp_path / f"{MARKER}_archive")
    out, temporary, key = tmp_path / "out", tmp_path / "temporary", tmp_path / "keys" / "key"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    kept = _kept_temporaries(monkeypatch, temporary)
    hidden = ["--anonymous", "--group-key", str(key)]
    archive = f"{MARKER}_archive"
    assert call(["--debug", stage, archive, "--out", str(out / "store"), *hidden, *more, "--json"]) == 3
    run, scores = out / "run", out / "run" / "scores" / "store"
    train = ["train", str(out / "store"), "--out", str(run), *WORDS, "--mlflow", f"file:{out / 'mlflow'}"]
    assert call(["--debug", *train, "--json"]) == 0
    assert call(["--debug", "score", str(run), "--overlays", "worst:2", "--json"]) == 0
    assert call(["evaluate", str(scores), "--json"]) in (0, 1)  # nothing has labels where no column tells
    assert call(["report", str(scores), "--json"]) == 0
    assert call(["suggest", str(scores), "--json"]) == 0
    for form in FORMS.get(stage, ()):
        assert call(["export", str(run), "--to", form, "--json"]) == 0
    assert call(["audit", str(run), "--json"]) == 0
    if stage == "radiographs":
        asked = ["--archive", archive, "--group-key", str(key), "--out", str(out / "dicom")]
        assert call(["--debug", "dicom", str(scores), *asked]) == 0
    if stage in ("tile", "embeddings"):
        call(["--debug", "annotations", str(scores), "--out", str(out / "qupath"), "--group-key", str(key)])
    said = capfd.readouterr()
    assert "refused" in said.err
    assert planted.needles().search((said.err + said.out).encode()) is None, said.err
    assert planted.holding(out) == []
    assert planted.holding(temporary) == []
    assert not planted.needles().search(b"".join(kept))
    assert len(list((out / "mlflow").rglob("*"))) > 20
    assert planted.holding(key.parent) == ["key.names.csv"]
    assert os.stat(key.with_name("key.names.csv")).st_mode & 0o077 == 0


def _kept_temporaries(monkeypatch, folder: Path) -> list[bytes]:
    """What temporary files held as they were removed."""
    seen: list[bytes] = []
    unlink = os.unlink

    def kept(path, *more, **how):
        name = os.fspath(path)
        if isinstance(name, str) and os.path.isfile(name) and (str(folder) in name or "/." in name):
            seen.append(Path(name).read_bytes())
        return unlink(path, *more, **how)

    monkeypatch.setattr(os, "unlink", kept)
    monkeypatch.setattr(os, "remove", kept)
    return seen


def test_labels_and_overviews_of_slides_are_never_read(tmp_path):
    planted.slides(tmp_path / "slides")
    words = ["--stain", "none", "--min-tissue", "0"]
    assert call(["tile", str(tmp_path / "slides"), "--out", str(tmp_path / "store"), *words]) == 3
    assert call(["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), *WORDS]) == 0
    assert call(["score", str(tmp_path / "run"), "--overlays", "worst:2"]) == 0
    drawn = [path for path in tmp_path.rglob("*.png") if "slides" not in path.parts]
    pixels = [np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3) for path in drawn]
    pixels += [np.load(path).reshape(-1, 3) for path in (tmp_path / "store" / "shards").glob("*.npy")]
    assert len(pixels) > 3
    for each in pixels:
        assert not (np.abs(each.astype(int) - planted.LABEL).max(1) < 12).any()
