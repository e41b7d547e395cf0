"""Stores, runs, scores, checkpoints, marks and workflows to be damaged, each as small as it can be, and what reads them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from typer.main import get_command

from esad.pipeline.cli.app import app
from esad.pipeline.stage.command import call as call_program
from tests.pipeline.stores import make_store
from tests.trust import mutants
from tests.trust.trial import Subject

QUICK = {
    "train.steps": 3,
    "train.warmup.steps": 2,
    "train.batch_size": 8,
    "network.width": 0.0625,
    "checkpoint_seconds": 0,
}
WORDS = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
PROGRAM = get_command(app)
"""Made once: making it takes as long as a small command."""
ROWS, PICTURES, SLIDES = "rows", "pictures", "slides"
TREES = {
    ".json": (mutants.json_mutant,),
    ".yaml": (mutants.yaml_mutant,),
    ".parquet": (mutants.parquet_mutant,),
}
CHANGES = {
    **TREES, ".npy": (mutants.npy_mutant,), ".safetensors": (mutants.safetensors_mutant,), ".csv": (mutants.csv_mutant,),
    ".sqlite": (mutants.sqlite_mutant,),
}  # fmt: skip


def call(words: Sequence[object]) -> int:
    """Run `esad` with these words; its exit status."""
    return call_program(PROGRAM, [*map(str, words)])


def made(*words: object) -> None:
    """A command that must end well."""
    assert call(words) == 0, words


def prepare(good: Path) -> None:
    """Write all folders below `good`."""
    like = {"resizing": "box", "crop": 1.0, "size": 16, "equalise": False}
    for name, kind, settings in ((ROWS, "table", {}), (PICTURES, "radiographs", like)):
        folder = good / name
        folder.mkdir(parents=True)
        store = make_store(folder, kind, settings=settings)
        shutil.rmtree(folder / "archive-store")
        made("train", store.root, "--out", folder / "run", *WORDS)
        made("score", folder / "run", "--overlays", "worst:2")
        made("evaluate", folder / "run")
        half = folder / "half"
        shutil.copytree(
            folder / "run",
            half,
            ignore=shutil.ignore_patterns("scores", "model.safetensors", "normals.parquet", "heat.json"),
        )
    _prepare_marks(good / ROWS)
    _prepare_slides(good / SLIDES)


def _prepare_slides(folder: Path) -> None:
    """Slides with a lesion, so that candidates, whole slides and a FROC are among the figures."""
    archive = folder / "archive"
    made("synthetic", "--out", archive, "--slides", 4, "--radiographs", 0, "--size", 3072)
    tiling = ("--tile-size", 16, "--mpp", 4, "--step", 32, "--stain", "none", "--workers", 1)
    made(
        "tile",
        archive / "slides",
        "--annotations",
        archive / "annotations",
        "--out",
        folder / "store",
        *tiling,
    )
    shutil.rmtree(archive / "slides")
    made("train", folder / "store", "--out", folder / "run", *WORDS)
    made("score", folder / "run", "--overlays", "worst:1", "--false-alarms", 0.1)
    made("evaluate", folder / "run", "--annotations", archive / "annotations")


def _prepare_marks(folder: Path) -> None:
    from esad.pipeline.inspection.marks import Marks
    from esad.preprocessing.store.store import Store

    marks = Marks(folder / "marks.sqlite")
    names = Store(folder / "store").manifest["item_id"].head(6).tolist()
    for number, name in enumerate(names):
        marks.put("item", name, ("normal", "anomaly", "unsure", None)[number % 4], "a comment", "A reader")
    marks.remember("archive", str(folder))
    for path in folder.glob("marks.sqlite-*"):
        assert path.stat().st_size == 0, path


def store_drive(copy: Path, seed: int) -> int:
    """Score, audit or, one time in ten, train, which takes longest."""
    words = ["score", copy / "run", copy / "store", "--out", copy / "new", "--overlays", "none"]
    if seed % 10 == 0:
        words = ["train", copy / "store", "--out", copy / "new", *WORDS]
    elif seed % 3 == 0:
        words = ["audit", copy / "store"]
    return call(words)


def run_drive(copy: Path, seed: int, stages: tuple[str, ...] = ()) -> int:
    """One of the stages that open a run."""
    run, store, new = copy / "run", copy / "store", copy / "new"
    every = {
        "score": ["score", run, store, "--out", new, "--overlays", "worst:1"],
        "evaluate": ["evaluate", run],
        "outlines": ["evaluate", run, "--annotations", copy / "archive" / "annotations"],
        "report": ["report", run, "--out", new / "report.html"],
        "annotations": ["annotations", run, "--out", new, "--format", "qupath", "--format", "asap"],
        "audit": ["audit", run],
        "suggest": ["suggest", run, "--out", new / "suggestions.csv"],
        "train": ["train", store, "--out", run, *WORDS],
        "renew": ["score", run, store, "--overlays", "worst:2"],
        "like": ["train", store, "--out", new, "--like", run, *WORDS],
    }
    chosen = stages or OF_RUNS
    return call(every[chosen[seed % len(chosen)]])


OF_RUNS = ("score", "evaluate", "report", "audit", "suggest", "train", "renew", "like")
OF_SCORES = ("evaluate", "report", "suggest", "renew")
OF_SLIDES = ("outlines", "report", "annotations", "evaluate", "renew", "suggest")


def resume_drive(copy: Path, seed: int) -> int:
    """Go on with a training from its checkpoints."""
    return call(["train", copy / "store", "--out", copy / "half", *WORDS])


def marks_drive(copy: Path, seed: int) -> int:
    """What the viewer does with marks when it is opened and closed, without serving."""
    from esad.pipeline.inspection.marks import Marks
    from esad.pipeline.inspection.server import known_archive, viewer
    from esad.pipeline.inspection.subject import Subject as Scored

    marks = Marks(copy / "marks.sqlite")
    pages = viewer(Scored([copy / "run"]), marks, known_archive(marks, None))
    marks.version()
    for of in ("item", "slide"):
        marks.current(of)
        marks.table(of)
    item = pages.subject.items["item_id"].iloc[0]
    marks.history("item", item)
    marks.put("item", item, "normal", "", "B")
    marks.undo("B")
    marks.put("item", item, None, "", "B")
    return 0


def subjects(good: Path) -> list[Subject]:
    """One for each file that a stage of ours wrote and another reads."""
    found = []
    for kind in (ROWS, PICTURES, SLIDES):
        folder = good / kind

        def add(name: str, file: str, drive, writes, kind: str = kind, folder: Path = folder) -> None:
            suffix = Path(file).suffix
            found.append(
                Subject(f"{name}-{kind}", suffix[1:], folder, file, drive, CHANGES.get(suffix, ()), writes)
            )

        for file in ("store.json", "manifest.parquet", "sources.parquet", "shards/00000.npy"):
            add(f"store/{file}", f"store/{file}", store_drive, ("new",))
        for path in sorted(folder.glob("run/*")):
            if path.is_file():
                add(f"run/{path.name}", f"run/{path.name}", run_drive, ("new", "run"))
        for path in sorted((folder / "run" / "log").glob("*.*")):
            add(f"run/log/{path.name}", f"run/log/{path.name}", run_drive, ("new", "run"))
        scores = folder / "run/scores/store"
        for path in sorted(scores.rglob("*")):
            name = path.relative_to(scores).as_posix()
            if path.is_file() and path.suffix != ".png":
                drive = partial(run_drive, stages=OF_SLIDES if kind == SLIDES else OF_SCORES)
                add(f"scores/{name}", f"run/scores/store/{name}", drive, ("new", "run/scores"))
        for path in sorted((folder / "half" / "checkpoints").glob("*")):
            add("checkpoints", f"half/checkpoints/{path.name}", resume_drive, ("half",))
            break
    found.append(
        Subject(
            "marks",
            "sqlite",
            good / ROWS,
            "marks.sqlite",
            marks_drive,
            (mutants.sqlite_mutant,),
            tuple(f"marks.sqlite{end}" for end in ("", "-wal", "-shm")),
        )
    )
    return found
