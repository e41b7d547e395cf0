"""What has the same bytes again, and how far apart the rest may be: the table in docs/explanation/determinism.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from esad.pipeline.cli.app import call
from esad.pipeline.runs.items import in_memory
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.scoring.scores import raw_scores
from esad.pipeline.synthesis.radiographs import make_radiographs
from esad.pipeline.synthesis.slides import make_slides
from tests import ROOT
from tests.pipeline.stores import make_store

SETTINGS = {
    "train.steps": 12, "train.warmup.steps": 6, "train.batch_size": 16, "network.width": 0.0625, "checkpoint_seconds": 0.3,
}  # fmt: skip
SMALL = ["--tile-size", "32", "--mpp", "2"]
SAME_WEIGHTS, BATCHES, ANEW = 1e-5, 1e-5, 2.0
"""Largest relative differences of a score: with the same weights; in another batch; of another training."""
KINDS = ("tiles", "images", "table")
OLDER = {
    "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell", "NUMBA_CPU_NAME": "haswell",
}  # fmt: skip
"""Has torch, oneDNN, MKL, OpenBLAS and numba compute as on a processor without AVX-512."""


def whole(stores: Path, out: Path) -> None:
    """A run on the store of each kind, its scores, figures and report, as a person would make them."""
    for kind in KINDS:
        settings = {**SETTINGS, **({"network.width": 1.0} if kind == "table" else {})}
        pairs = [f"--set={name}={value}" for name, value in settings.items()]
        run = str(out / kind)
        assert call(["train", str(stores / kind), "--out", run, "--device", "cpu", *pairs]) == 0
        assert call(["score", run, "--overlays", "worst:3"]) == 0
        assert call(["evaluate", run]) == 0
        assert call(["report", run]) == 0


def scored(runs: Path, out: Path, overlays: str = "none") -> None:
    """Scores of the runs on their own stores, with the weights that are there."""
    for kind in KINDS:
        assert call(["score", str(runs / kind), "--out", str(out / kind), "--overlays", overlays]) == 0


def trained_and_scored(stores: Path, runs: Path, out: Path) -> None:
    """`whole` anew in OUT/anew, and `scored` with the weights of `runs` in OUT/same."""
    scored(runs, out / "same")
    whole(stores, out / "anew")


def ingest(archive: Path, out: Path, workers: int = 1) -> None:
    """A store of each kind that has several sources."""
    for stage, folder, more in (
        ("tile", "slides", [*SMALL, "--annotations", str(archive / "annotations")]),
        ("radiographs", "radiographs", ["--size", "32"]),
        ("images", "images", []),
        ("tables", "rows.npz", []),
    ):
        given = [] if stage == "tables" else ["--workers", str(workers)]
        assert call([stage, str(archive / folder), "--out", str(out / stage), *more, *given]) == 0


def elsewhere(function: str, *paths: Path, **environment: str) -> None:
    """Call a function of this file in a new process, whose hashes are other ones."""
    call_it = f"here.{function}(*map(Path, {list(map(str, paths))}))"
    code = f"from pathlib import Path\nfrom tests.pipeline import test_determinism as here\n{call_it}"
    merged = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **environment}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=merged, check=True, capture_output=True)


def contents(folder: Path) -> dict[str, bytes]:
    """All files by their place, but what is in a folder `log`."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix(): (folder / path).read_bytes() for path in files if "log" not in path.parts}


def unlike(one: Path, two: Path) -> list[str]:
    """Files that are in one folder alone, or have other bytes."""
    ours, theirs = contents(one), contents(two)
    assert ours
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def apart(once: Path, folder: Path) -> tuple[float, float]:
    """The largest relative difference of an item's score: with the same weights, and trained anew."""
    same, anew = [], []
    for kind in KINDS:
        inside = Path(kind, "scores", kind, "scores.parquet")
        places = (once / inside, folder / "same" / kind / "scores.parquet", folder / "anew" / inside)
        ours, theirs, other = (pd.read_parquet(path)["score"] for path in places)
        same.append(((ours - theirs).abs() / ours.abs()).max())
        anew.append(((ours - other).abs() / ours.abs()).max())
    return max(same), max(anew)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    annotations = folder / "annotations"
    make_slides(folder / "slides", slides=2, abnormal=1, size=1280, seed=3, annotations=annotations)
    make_radiographs(folder / "radiographs", count=6, abnormal=2, size=96, seed=3)
    numbers = np.random.default_rng(0)
    (folder / "images").mkdir()
    for name in "abc":
        np.savez(folder / "images" / f"{name}.npz", x=numbers.integers(0, 255, (9, 16, 16, 1), np.uint8))
    np.savez(folder / "rows.npz", x=numbers.normal(size=(90, 5)), y=np.repeat([0, 1], [60, 30]))
    return folder


@pytest.fixture(scope="module")
def stores(archive, tmp_path_factory):
    """A store of each kind."""
    folder = tmp_path_factory.mktemp("stores")
    arguments = [
        "--annotations",
        str(archive / "annotations"),
        "--out",
        str(folder / "tiles"),
        "--workers",
        "1",
    ]
    assert call(["tile", str(archive / "slides"), *arguments]) == 0
    make_store(folder, "images", "images")
    make_store(folder, "table", "table")
    return folder


@pytest.fixture(scope="module")
def once(stores, tmp_path_factory):
    """Runs, scores and reports that nothing disturbed."""
    folder = tmp_path_factory.mktemp("once")
    whole(stores, folder)
    return folder


def test_two_undisturbed_runs_are_the_same_bytes_but_for_their_logs(stores, once, tmp_path):
    elsewhere("whole", stores, tmp_path, OMP_NUM_THREADS=str(torch.get_num_threads()))
    assert unlike(once, tmp_path) == []
    for name in ("tiles/log/train.json", "images/scores/images/log/score.json"):
        assert (tmp_path / name).is_file()


@pytest.mark.slow
def test_exports_are_the_same_bytes(once, tmp_path):
    """Of one run, copied: the second in a process of its own."""
    pytest.importorskip("onnx", reason="needs esad[export]")
    for name in "ab":
        shutil.copytree(once / "images", tmp_path / name / "images")
    export(tmp_path / "a" / "images")
    elsewhere("export", tmp_path / "b" / "images", OMP_NUM_THREADS=str(torch.get_num_threads()))
    assert unlike(tmp_path / "a", tmp_path / "b") == []


def export(run: Path) -> None:
    """Both formats."""
    for form in ("onnx", "bundle"):
        assert call(["export", str(run), "--to", form]) == 0


def test_workers_change_no_byte_of_a_store(archive, tmp_path, monkeypatch):
    """Every stage with several units of work, the tables alone being one."""
    monkeypatch.setattr("esad.pipeline.conversion.images.IMAGES_PER_SHARD", 10)
    monkeypatch.setattr("esad.pipeline.conversion.radiographs.RADIOGRAPHS_PER_SHARD", 2)
    for workers in (1, 2):
        ingest(archive, tmp_path / str(workers), workers)
    assert unlike(tmp_path / "1", tmp_path / "2") == []
    for stage, units in (("tile", 2), ("radiographs", 3), ("images", 3), ("tables", 1)):
        assert len(list((tmp_path / "1" / stage / "shards").iterdir())) == units, stage


def test_the_same_weights_score_the_same_on_any_number_of_threads(once, tmp_path):
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            scored(once, tmp_path / str(threads), "worst:3")
    finally:
        torch.set_num_threads(before)
    assert unlike(tmp_path / "1", tmp_path / "3") == []
    assert list((tmp_path / "1").glob("*/overlays/*.png"))


@pytest.mark.slow
def test_threads_change_no_byte_of_a_store_but_those_of_a_training(archive, stores, once, tmp_path):
    ingest(archive, tmp_path / "one")
    passive = {"OMP_WAIT_POLICY": "passive"}  # on a busy machine, threads that spin take minutes
    elsewhere("ingest", archive, tmp_path / "two", OMP_NUM_THREADS="2", **passive)
    assert unlike(tmp_path / "one", tmp_path / "two") == []
    elsewhere("trained_and_scored", stores, once, tmp_path / "runs", OMP_NUM_THREADS="2", **passive)
    same, anew = apart(once, tmp_path / "runs")
    assert same < SAME_WEIGHTS
    assert anew < ANEW


@pytest.mark.slow
def test_an_older_processor_changes_scores_only_in_their_last_digits(archive, stores, once, tmp_path):
    """As far as environment variables can make this processor an older one."""
    elsewhere(
        "trained_and_scored", stores, once, tmp_path, OMP_NUM_THREADS=str(torch.get_num_threads()), **OLDER
    )
    same, anew = apart(once, tmp_path)
    assert same < SAME_WEIGHTS
    assert anew < ANEW
    for kind in KINDS:
        for name in ("config.yaml", "assignments.parquet", "sources.parquet"):
            assert (once / kind / name).read_bytes() == (tmp_path / "anew" / kind / name).read_bytes()


def test_an_items_score_depends_on_its_batch_only_in_its_last_digits(stores, once):
    for kind in KINDS:
        run = open_run(once / kind)
        device = torch.device("cpu")
        method, items = run.method(device), in_memory(run.training_store())
        positions = np.arange(min(70, len(items)))
        together = raw_scores(method, items, positions, device, run.augmentation)["eq9"].to_numpy()
        for part in ([0], [1, 5], range(2, 9)):
            alone = raw_scores(method, items, np.array(part), device, run.augmentation)["eq9"].to_numpy()
            assert alone == pytest.approx(together[list(part)], rel=BATCHES), kind


def test_scores_find_their_run_when_both_moved_or_they_alone(once, tmp_path):
    together, alone = tmp_path / "moved" / "images", tmp_path / "alone"
    shutil.copytree(once / "images", together)
    shutil.copytree(once / "images" / "scores" / "images", alone)
    assert json.loads((alone / "scores.json").read_text())["run"] == "../.."
    for folder in (together, together / "scores" / "images", alone):
        assert call(["evaluate", str(folder)]) == 0
        assert call(["report", str(folder)]) == 0
    assert contents(alone) == contents(once / "images" / "scores" / "images")
    assert unlike(once / "images", together) == []


def test_a_run_without_its_log_and_one_of_an_earlier_version_still_open(once, tmp_path, capsys):
    """Earlier versions wrote whole paths, seconds into provenance.json, and events beside it."""
    run = tmp_path / "images"
    shutil.copytree(once / "images", run)
    for log in (run / "log", run / "scores" / "images" / "log"):
        shutil.rmtree(log)
    provenance, marker = run / "provenance.json", run / "scores" / "images" / "scores.json"
    provenance.write_text(json.dumps({**json.loads(provenance.read_text()), "seconds": 3.5}))
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "run": str(run)}))
    (run / "events").mkdir()
    assert call(["score", str(run), "--overlays", "worst:3"]) == 0
    assert "Left alone" in capsys.readouterr().err
    assert call(["score", str(run), "--overlays", "none"]) == 0
    assert "scores kept" in capsys.readouterr().err
    for stage in ("evaluate", "report"):
        assert call([stage, str(run)]) == 0
