"""Every way to start the program, in a folder with a stranger's `models`, `pipeline`, `preprocessing`, `data_manifests`."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from distributed import Client
from PIL import Image

from esad.pipeline.cli.app import call
from esad.pipeline.export import export
from esad.pipeline.train import train
from esad.preprocessing.store.store import Store
from tests import ROOT
from tests.packaging.strangers import BIN, NAMES, Stranger, stray_copies
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store
from tests.pipeline.test_tile import contents, stained, write_slide

HELP_SECONDS = 0.6
"""Of processor time, and once is enough: on a busy machine the same work takes up to twice as much of it."""
SHORT = {"train.steps": 6, "train.warmup.steps": 2}
SET = ["--device=cpu", *(f"--set={name}={value}" for name, value in {**QUICK_TABLE, **SHORT}.items())]
SCRIPTS = sorted(
    path
    for path in (ROOT / "pipeline").glob("*.py")
    if "run_script(command)" in path.read_text(encoding="utf-8")
)
WIDTH = f"--set=network.width={QUICK['network.width']}"


@pytest.fixture
def stranger(tmp_path):
    made = Stranger(tmp_path)
    yield made
    made.check()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of rows and one of pictures; two slides, and the store of their tiles as this process makes it."""
    folder = tmp_path_factory.mktemp("strangers")
    make_store(folder, "table", "rows")
    make_store(folder, "images", "pictures")
    (folder / "slides").mkdir()
    for number in range(2):
        write_slide(folder / "slides" / f"slide_{number}.tif", stained(1024, number))
    assert call(["tile", str(folder / "slides"), "--out", str(folder / "tiles"), "--workers", "1"]) == 0
    return folder


def test_these_tests_see_a_stranger_imported_and_a_second_copy(tmp_path):
    touching = Stranger(tmp_path / "touching")
    touching.python("-c", "try:\n    import models\nexcept ImportError:\n    pass")
    with pytest.raises(AssertionError, match="a stranger's package was imported"):
        touching.check()
    double = Stranger(tmp_path / "double")
    double.python("-c", "import esad.pipeline.stage.errors, pipeline.stage.errors", cwd=ROOT)
    with pytest.raises(AssertionError, match=r"stray modules .*'pipeline\.stage\.errors': "):
        double.check()


@pytest.mark.slow  # beside other tests a core is slower
def test_the_help_comes_in_little_time(stranger):
    times = [np.inf]
    while min(times) >= HELP_SECONDS and len(times) < 20:
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        assert "Usage: esad [" in stranger.run(BIN / "esad", "--help")
        times.append(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before)
    assert min(times) < HELP_SECONDS, times


@pytest.mark.slow
def test_modules_and_scripts_explain_themselves(stranger):
    assert "Usage: esad [" in stranger.python("-m", "esad", "--help")
    assert "Usage: esad score" in stranger.python("-m", "esad.pipeline.score", "--help")
    assert len(SCRIPTS) > 10
    for script in SCRIPTS:
        assert f"Usage: esad {script.stem} " in stranger.python(script, "--help")
    assert not [told for told in stranger.testimonies() if str(ROOT / "pipeline") in told["path"]]


@pytest.mark.slow
def test_training_on_a_table(stranger, folder):
    stranger.run(BIN / "esad", "train", folder / "rows", "--out", "run", *SET)
    stranger.python("-m", "esad.pipeline.train", folder / "rows", "--out", "again", *SET)
    weights = [(stranger.place / run / "model.safetensors").read_bytes() for run in ("run", "again")]
    assert weights[0] == weights[1]


def test_the_public_names_are_imported(stranger):
    code = "from esad import ESAD, tile, train, score\nfrom esad import *\nimport esad\nprint(ESAD, esad.__file__)"
    out = stranger.python("-c", code)
    assert "esad.models.estimator.ESAD" in out
    assert str(ROOT / "src" / "esad" / "__init__.py") in out


@pytest.mark.parametrize("name", NAMES)
def test_after_an_install_our_folders_are_no_packages_of_their_own(stranger, name):
    """In an empty folder."""
    (empty := stranger.place / "empty").mkdir()
    code = f"import esad.{name}\ntry:\n    import {name}\nexcept ImportError as error:\n    print(error)"
    assert f"No module named {name!r}" in stranger.python("-c", code, cwd=empty)


@pytest.mark.slow
def test_torchrun_with_two_processes(stranger, folder):
    command = [BIN / "torchrun", "--standalone", "--nproc-per-node", 2, "-m", "esad.pipeline.train"]
    said = stranger.run(*command, folder / "pictures", "--out", "run", *SET, WIDTH)
    assert "Training esad on cpu in 2 processes" in said
    assert (stranger.place / "run" / "model.safetensors").exists()
    ranks = [told for told in stranger.testimonies() if "esad.models.training.fit" in told["files"]]
    assert len(ranks) == 2


def test_a_stage_script_from_the_checkout(stranger, folder):
    """Its folder, where our `tables.py` and `dicom.py` are, is not on the path any more when the work begins."""
    out = stranger.place / "tiles"
    stranger.python("pipeline/tile.py", folder / "slides", "--out", out, "--workers", 1, cwd=ROOT)
    assert contents(out) == contents(folder / "tiles")
    (told,) = (told for told in stranger.testimonies() if "esad.pipeline.slides.cutting" in told["files"])
    assert not {str(ROOT), str(ROOT / "pipeline")} & {str(Path(entry).resolve()) for entry in told["path"]}
    assert told["files"]["__main__"] == str(ROOT / "pipeline" / "tile.py")


def test_a_stage_script_from_elsewhere_with_processes_of_its_own(stranger, folder):
    stranger.python(ROOT / "pipeline" / "tile.py", folder / "slides", "--out", "tiles", "--workers", 2)
    assert contents(stranger.place / "tiles") == contents(folder / "tiles")


@pytest.mark.slow
def test_a_dask_worker(stranger, folder):
    """Started by `python -m`, which puts the stranger's folder first on its path."""
    at = stranger.place / "scheduler.json"
    at_home = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", at]
    dask = [sys.executable, "-m", "distributed.cli.dask_"]
    started = [stranger.start(*dask[:2], f"{dask[2]}scheduler", "--port", 0, *at_home)]
    try:
        started.append(stranger.start(*dask[:2], f"{dask[2]}worker", "--nthreads", 1, *at_home))
        with Client(scheduler_file=str(at), timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
            address = client.scheduler.address
            command = [BIN / "esad", "tile", folder / "slides", "--out", "tiles", "--scheduler", address]
            stranger.run(*command)
            places = client.run(lambda: sys.modules["esad.pipeline.slides.cutting"].__file__)
    finally:
        for process in reversed(started):
            process.terminate()
            process.communicate(timeout=60)
    assert contents(stranger.place / "tiles") == contents(folder / "tiles")
    assert list(places.values()) == [str(ROOT / "src" / "esad" / "pipeline" / "slides" / "cutting.py")]


@pytest.mark.slow
def test_a_bundle(stranger, folder):
    run = train(folder / "pictures", folder / "run", None, [{**QUICK, **SHORT}]).out
    bundle = export(run, "bundle").out
    picture = Store(folder / "pictures").read(np.array([17]))[0, ..., 0]
    Image.fromarray(picture).save(stranger.place / "picture.png")
    stranger.python(
        "-m", "monai.bundle", "run", "--config_file", bundle / "configs" / "inference.json", "--bundle_root", bundle,
        "--dataset_dir", "picture.png", "--output_dir", "out",
    )  # fmt: skip
    assert pd.read_csv(stranger.place / "out" / "scores.csv")["score"].notna().all()


def test_this_process_has_one_copy_of_each_module():
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    assert not stray_copies({name: str(Path(file).resolve()) for name, file in files.items() if file})
