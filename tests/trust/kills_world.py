"""A small archive, stores, runs and scores of each kind, and the commands whose outputs are killed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from esad.pipeline.synthesis.radiographs import make_radiographs
from esad.pipeline.synthesis.slides import make_slides
from tests.pipeline.commands import words
from tests.pipeline.stores import make_store
from tests.pipeline.tiny_encoders import STATED, write_onnx
from tests.preprocessing.embeddings.vector_files import TRIDENT, labels, vectors, write_h5
from tests.trust.kills import made_by

SHORT = {
    "train.steps": 8, "train.warmup.steps": 4, "train.batch_size": 16, "network.width": 0.0625, "checkpoint_seconds": 0,
    "data.validation_share": 0.3,
}  # fmt: skip
ALONE = ["--workers", "1"]
"""In one process, so that moments are counted in it."""
SMALL = ["--tile-size", "32", "--mpp", "2"]
ROWS = {**SHORT, "network.width": 1.0}
GRID = {
    "title": "Tiny", "datasets": {"tiny-1": "tiny.npz"}, "methods": {"esad": {}, "cae": {}}, "splits": ["clean"], "gamma_l": [0.05],
    "seeds": 1, "settings": {name: value for name, value in ROWS.items() if name != "checkpoint_seconds"},
}  # fmt: skip


def make_world(root: Path) -> Path:
    """root/archive, and root/given with what later stages take."""
    archive, given = root / "archive", root / "given"
    make_slides(
        archive / "slides", slides=2, abnormal=1, size=1280, seed=3, annotations=archive / "annotations"
    )
    make_radiographs(archive / "radiographs", count=8, abnormal=2, size=96, seed=3)
    numbers = np.random.default_rng(0)
    (archive / "images").mkdir()
    for name in "abc":
        np.savez(archive / "images" / f"{name}.npz", x=numbers.integers(0, 255, (9, 16, 16, 1), np.uint8))
    y = np.repeat([0, 1], [60, 30])
    np.savez(archive / "rows.npz", x=numbers.normal(size=(90, 5)) + 3 * y[:, None], y=y)
    (archive / "grid").mkdir()
    np.savez(archive / "grid" / "tiny.npz", X=numbers.normal(size=(90, 5)) + 3 * y[:, None], y=y)
    (root / "grid.yaml").write_text(yaml.safe_dump(GRID, sort_keys=False))
    (archive / "vectors").mkdir()
    for number in range(3):
        write_h5(archive / "vectors" / f"slide_{number}.h5", vectors(number), TRIDENT, label=labels())
    write_onnx(root / "tiny.onnx")
    make_store(given, "images", "images", shards=3)
    make_store(given, "radiographs", "pictures", shards=3)
    make_store(given, "table", "table", shards=3)
    made_by(
        ["tile", archive / "slides", "--out", given / "tiles", "--annotations", archive / "annotations", *SMALL, *ALONE],
        ["radiographs", archive / "radiographs", "--out", given / "radiographs", "--size", 32, *ALONE,
         "--labels", archive / "radiographs" / "labels.csv"],
        *(["train", given / kind, "--out", given / f"{kind}-run", *words(ROWS if kind == "table" else SHORT)]
          for kind in ("images", "table", "tiles", "radiographs")),
        *(["score", given / f"{kind}-run", "--out", given / f"{kind}-scores", "--overlays", "worst:2"]
          for kind in ("images", "table", "tiles", "radiographs")),
    )  # fmt: skip
    (root / "flow.yaml").write_text(yaml.safe_dump([
        {"name": "store", "stage": "tables", "inputs": [str(archive / "rows.npz")]},
        {"name": "model", "stage": "train", "inputs": ["${store}"], "options": {"set": ROWS}},
        {"name": "scores", "stage": "score", "inputs": ["${model}"], "options": {"overlays": "worst:2"}},
        {"name": "figures", "stage": "evaluate", "inputs": ["${scores}"]},
        {"name": "page", "stage": "report", "inputs": ["${scores}"]},
    ], sort_keys=False))  # fmt: skip
    return root


def commands_of(root: Path) -> Mapping[str, Callable[[Path], list[list[object]]]]:
    """Stage -> the commands that bring its output to the given place."""
    archive, given = root / "archive", root / "given"
    train = [*words(SHORT)]
    rows = [*words(ROWS)]
    found = {
        "tile": lambda out: [["tile", archive / "slides", "--out", out, "--annotations", archive / "annotations", *SMALL, *ALONE]],
        "radiographs": lambda out: [["radiographs", archive / "radiographs", "--out", out, "--size", 32, *ALONE]],
        "images": lambda out: [["images", archive / "images", "--out", out, *ALONE]],
        "tables": lambda out: [["tables", archive / "rows.npz", "--out", out]],
        "embeddings": lambda out: [["embeddings", archive / "vectors", "--out", out, "--encoder", "uni", *ALONE]],
        "embed": lambda out: [["embed", given / "pictures", "--encoder", root / "tiny.onnx", "--out", out, *STATED]],
        "train-images": lambda out: [["train", given / "images", "--out", out, *train]],
        "train-table": lambda out: [["train", given / "table", "--out", out, *rows]],
        "score-images": lambda out: [["score", given / "images-run", "--out", out, "--overlays", "worst:2"]],
        "score-table": lambda out: [["score", given / "table-run", "--out", out, "--overlays", "all"]],
        "redraw": lambda out: [["score", given / "images-run", "--out", out, "--overlays", "worst:1"]],
        "score-tiles": lambda out: [["score", given / "tiles-run", "--out", out, "--overlays", "worst:4"]],
        "evaluate": lambda out: [["evaluate", out, "--annotations", archive / "annotations"]],
        "suggest": lambda out: [["suggest", given / "images-scores", "--out", out]],
        "report": lambda out: [["report", given / "tiles-scores", given / "images-scores", "--out", out]],
        "sweep": lambda out: [["sweep", given / "table", "--out", out, *rows, "--over", "loss.lambda1=0.1,1"]],
        "benchmark": lambda out: [["benchmark", root / "grid.yaml", "--data", archive / "grid", "--out", out]],
        "figures": lambda out: [["figures", given / "images-run", "--out", out, "--items", 40, "--only", "tsne"]],
        "annotations": lambda out: [["annotations", given / "tiles-scores", "--out", out, "--archive", archive / "slides"]],
        "dicom": lambda out: [["dicom", given / "radiographs-scores", "--archive", archive / "radiographs", "--out", out]],
        "onnx": lambda out: [["export", given / "images-run", "--to", "onnx", "--out", out]],
        "bundle": lambda out: [["export", given / "images-run", "--to", "bundle", "--out", out]],
        "synthetic": lambda out: [["synthetic", "--out", out, "--slides", 1, "--radiographs", 4, "--size", 1024]],
        "run": lambda out: [["run", root / "flow.yaml", "--out", out]],
    }  # fmt: skip
    return found


FORCED = (
    "tile", "images", "embed", "train-table", "score-table", "sweep", "benchmark", "figures", "annotations", "dicom", "onnx", "synthetic",
)  # fmt: skip
"""Stages that are killed with `--force`, too, while they replace what they made before."""


WHOLE = ("suggest", "report", "onnx", "bundle", "synthetic")
"""Stages whose output is one file, or a folder that is renamed as a whole: their lock lies beside it."""


@dataclass(frozen=True)
class Made:
    """A stage's output and how it is made; picklable it need not be."""

    root: Path
    stage: str

    def make(self, place: Path) -> None:
        """Run the stage's commands."""
        stop_the_clock()
        made_by(*commands_of(self.root)[self.stage](place))

    def forced(self, place: Path) -> None:
        """The same with `--force`."""
        stop_the_clock()
        made_by(*([*command, "--force"] for command in commands_of(self.root)[self.stage](place)))

    def begin(self, place: Path) -> None:
        """What is there before the stage begins: the scores that are evaluated, or whose overlays are drawn anew."""
        if self.stage == "evaluate":
            shutil.copytree(self.root / "given" / "tiles-scores", place)
        if self.stage == "redraw":
            shutil.copytree(self.root / "given" / "images-scores", place)

    def undisturbed(self) -> Path:
        """Its output as nobody disturbed it, made once by this process, whose copies then have all imported."""
        place = self.place("undisturbed", str(os.getpid()))
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            self.begin(place)
            self.make(place)
        return place

    def place(self, *parts: str) -> Path:
        """Where the output lies, at the same depth in every folder, since some files name others as seen from theirs."""
        name = {"suggest": "suggest.csv", "report": "report.html"}.get(self.stage, self.stage)
        return self.root.joinpath(*parts, name)


def stop_the_clock() -> None:
    """A benchmark says how long its cells took: here they take no time. A run says of which commit it is: of no other one meanwhile."""
    from types import SimpleNamespace

    from esad.pipeline.benchmarking import measurement
    from esad.pipeline.training import run_end

    run_end._revision = lambda: "the same"  # type: ignore[assignment]

    measurement.time = SimpleNamespace(monotonic=lambda: 0.0)  # type: ignore[assignment]


def mark_some(place: Path) -> None:
    """Marks of forty items in a file at `place`, each once however often this is called; the same times each time."""
    from datetime import UTC, datetime

    from esad.pipeline.inspection import marks as room

    class Fixed(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 1, 1, tzinfo=UTC)

    room.datetime = Fixed  # type: ignore[misc]
    marks = room.Marks(place)
    there = marks.current("item")
    for number in range(40):
        if f"i{number}" not in there:
            marks.put("item", f"i{number}", room.MARKS[number % 3], f"comment {number}", "reader")
    told = {name: [entry.mark, entry.comment, entry.at] for name, entry in marks.current("item").items()}
    place.with_suffix(".json").write_text(json.dumps(told))
