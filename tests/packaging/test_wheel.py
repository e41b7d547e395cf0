"""What an install brings: a wheel built from an sdist of this checkout, and an editable one, each in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests import ROOT
from tests.packaging.strangers import NAMES, Stranger

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def run(*words: object, cwd: Path, **environment: str) -> str:
    """stdout of a command that ends well; nothing of this checkout is on its path but what is installed."""
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env={**known, **environment}, text=True, capture_output=True,
        timeout=3600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def checked_out() -> list[str]:
    """Paths of what git has, or would take."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [name for name in listed.split("\0") if name and os.path.lexists(ROOT / name)]


def build(kind: str, source: Path, out: Path) -> Path:
    """What setuptools, the build backend, makes of the folder `source`: "sdist", "wheel" or "editable"."""
    out.mkdir()
    run(sys.executable, "-c", BUILD, f"build_{kind}", out, cwd=source)
    (made,) = out.iterdir()
    return made


def installed(wheel: Path, environment: Path) -> Path:
    """The folder of programs of a new environment that has the wheel, and this environment's packages but not its esad."""
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=ROOT)
    programs = environment / "bin"
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-index", "--no-deps"]
    run(*pip, wheel, cwd=environment, PIP_DISABLE_PIP_VERSION_CHECK="1")
    site = Path(
        run(
            programs / "python", "-c", "import sysconfig as s; print(s.get_path('purelib'))", cwd=environment
        ).strip()
    )
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text(
        "\n".join(sorted(paths))
    )  # its own .pth files, the editable esad's, are not read
    return programs


def files_of(wheel: Path) -> set[str]:
    """Names of a wheel's files, its metadata left out."""
    with zipfile.ZipFile(wheel) as file:
        return {name for name in file.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the checkout, so that nothing is built in it."""
    copy = tmp_path_factory.mktemp("source")
    for name in checked_out():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name, follow_symlinks=False)
    return copy


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """Built from the sdist, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(build("sdist", source, folder / "sdist")) as packed:
        assert all(member.isfile() or member.isdir() for member in packed)
        packed.extractall(folder, filter="data")
    (unpacked,) = folder.glob("esad-*")
    return build("wheel", unpacked, folder / "dist")


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    return installed(wheel, tmp_path_factory.mktemp("installed") / "environment")


def test_a_wheel_from_an_sdist_has_all_that_the_checkout_has_and_no_more(wheel):
    tracked = checked_out()
    expected = {f"esad/{name}" for name in tracked if name.split("/")[0] in NAMES}
    expected |= {
        name.removeprefix("src/") for name in tracked if name.startswith("src/") and (ROOT / name).is_file()
    }
    assert {"esad/py.typed", "esad/pipeline/workflow/demo.yaml", "esad/models/estimator.py"} < expected
    assert files_of(wheel) == expected


def test_the_image_is_built_from_the_same(source, wheel, tmp_path):
    """A wheel of what the Dockerfile copies, of what .dockerignore lets it see."""
    seen = {
        line[1:].strip()
        for line in (source / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    lines = [
        line.split()[1:-1]
        for line in (source / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
    ]
    copied = {word for words in lines if not words[0].startswith("--from") for word in words}
    assert copied <= seen
    for name in copied:
        place = tmp_path / "image" / name
        if (source / name).is_dir():
            shutil.copytree(source / name, place, symlinks=True)
        else:
            place.parent.mkdir(exist_ok=True)
            shutil.copy(source / name, place)
    assert files_of(build("wheel", tmp_path / "image", tmp_path / "dist")) == files_of(wheel)


def check_install(python: Path, folder: Path, own: Path) -> None:
    """esad comes from `own`, its modules and command can be had, and our folders are no packages of their own."""
    (folder / "empty").mkdir()
    modules = (
        "esad.data_manifests.loader, esad.models.settings, esad.pipeline.tile, esad.preprocessing.store.store"
    )
    code = f"from esad import train, open_store; import esad, {modules}; print(esad.__file__)"
    assert own in Path(run(python, "-c", code, cwd=folder / "empty").strip()).parents
    for name in NAMES:
        code = f"try:\n    import {name}\nexcept ImportError as error:\n    print(error)"
        assert f"No module named {name!r}" in run(python, "-c", code, cwd=folder / "empty")
    assert "Usage: esad [" in run(python.parent / "esad", "--help", cwd=folder / "empty")


def test_the_wheel_in_a_fresh_environment(programs, tmp_path):
    check_install(programs / "python", tmp_path, programs.parent / "lib")


def test_an_editable_install_in_a_fresh_environment(source, tmp_path):
    """A plain path entry: what mypy and editors understand."""
    programs = installed(build("editable", source, tmp_path / "dist"), tmp_path / "environment")
    check_install(programs / "python", tmp_path, source / "src" / "esad")
    (entry,) = (tmp_path / "environment").rglob("__editable__*.pth")
    assert entry.read_text().strip() == str(source / "src")


@pytest.mark.slow
def test_the_wheel_runs_the_demo_in_a_strangers_folder(programs, tmp_path):
    stranger = Stranger(tmp_path)
    run(programs / "esad", "run", "demo", "--out", "demo", cwd=stranger.place)
    assert (stranger.place / "demo" / "report.html").exists()
    assert not list(stranger.place.rglob("touched"))
