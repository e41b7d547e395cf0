"""`esad fetch`: a data set of several files, its licence, and the store that is made of it."""

from __future__ import annotations

import hashlib
import json

import pytest

from esad.data_manifests.loader import Download, load_manifest
from esad.pipeline.cli.app import call
from esad.pipeline.fetching import data_set, download
from esad.preprocessing.store.store import Store
from tests.pipeline.fetching.local_server import Offer, serving
from tests.preprocessing.natural.set_files import write_idx


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """A server that has a small set in the form of Fashion-MNIST, under that name."""
    monkeypatch.setattr(download, "WAITING", 0.01)
    whole = load_manifest("fashion-mnist")
    with serving() as server:
        files = {}
        for path in sorted(write_idx(tmp_path / "published").iterdir()):
            content = path.read_bytes()
            server.offers[f"/{path.name}"] = Offer(content)
            files[path.name] = Download(
                urls=[f"{server.address}/{path.name}"], size=len(content), md5=hashlib.md5(content).hexdigest(), stated_by="the test"
            )  # fmt: skip
        small = whole.model_copy(update={"downloads": files})
        monkeypatch.setattr(
            data_set, "load_manifest", lambda name: small if name == "fashion-mnist" else load_manifest(name)
        )
        yield server


def test_a_set_is_fetched_with_its_licence_and_read(tmp_path, offered, capsys):
    out = tmp_path / "fashion"
    assert call(["fetch", "fashion-mnist", "--out", str(out), "--json"]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("Fashion-MNIST, pictures of articles of clothing, of Zalando Research")
    assert "Licence: MIT" in told.err.splitlines()[0]
    summary = json.loads(told.out)
    assert (summary["licence"], len(summary["files"]), summary["fetched"]) == ("MIT", 4, 4)
    about = (out / "ABOUT.txt").read_text()
    assert "Licence: MIT" in about
    assert "stated by the test" in about
    asked = len(offered.asked)
    assert call(["fetch", "fashion-mnist", "--out", str(out)]) == 0
    assert "Left alone (fetched before)" in capsys.readouterr().err
    assert len(offered.asked) == asked
    assert call(["images", str(out), "--out", str(tmp_path / "store")]) == 0
    assert "T-shirt/top" in set(Store(tmp_path / "store").manifest["class_name"])


def test_a_cut_set_is_taken_up_by_the_same_command(tmp_path, offered, capsys):
    name = "train-images-idx3-ubyte.gz"
    offered.offers[f"/{name}"].cuts = [100, *[0] * download.TRIES]
    out = tmp_path / "fashion"
    assert call(["fetch", "fashion-mnist", "--out", str(out)]) == 1
    assert "100 bytes of" in capsys.readouterr().err
    assert (out / f"{name}.part").stat().st_size == 100
    assert call(["fetch", "fashion-mnist", "--out", str(out)]) == 0
    assert [wanted for path, wanted in offered.asked if path == f"/{name}"][-1] == "bytes=100-"
    assert not (out / f"{name}.part").exists()


def test_a_wrong_file_is_refused_and_the_others_stay(tmp_path, offered, capsys):
    path = "/train-labels-idx1-ubyte.gz"
    offered.offers[path].content = b"x" * len(offered.offers[path].content)
    assert call(["fetch", "fashion-mnist", "--out", str(tmp_path / "out")]) == 1
    assert "is not the published file" in capsys.readouterr().err
    assert (tmp_path / "out" / "t10k-images-idx3-ubyte.gz").is_file()
    assert not (tmp_path / "out" / "ABOUT.txt").exists()


def test_without_a_name_the_sets_are_listed_and_wrong_names_are_told(tmp_path, capsys):
    assert call(["fetch"]) == 0
    told = capsys.readouterr().err
    assert "cifar-10" in told
    assert "fashion-mnist" in told
    for words, reason in (
        (
            ["nope", "--out", str(tmp_path / "a")],
            "no such data set can be fetched; there are cifar-10, fashion-mnist, mnist",
        ),
        (["nih", "--out", str(tmp_path / "a")], "no such data set"),
        (["mnist"], "--out FOLDER is needed"),
    ):
        assert call(["fetch", *words]) == 2
        assert reason in capsys.readouterr().err


def test_no_room_is_told_before_anything_is_fetched(tmp_path, offered, capsys, monkeypatch):
    monkeypatch.setattr(data_set.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    assert call(["fetch", "fashion-mnist", "--out", str(tmp_path / "out")]) == 1
    assert "are needed, and 10 bytes are free there" in capsys.readouterr().err
    assert offered.asked == []


@pytest.mark.parametrize("name", sorted(data_set.offered()))
def test_every_set_that_is_offered_says_its_licence_before_and_after(name, tmp_path, capsys, monkeypatch):
    """With the files of the real manifest, each as small as can be, on a server of this machine."""
    whole = load_manifest(name)
    with serving() as server:
        files = {}
        for place, (file_name, file) in enumerate(whole.downloads.items()):
            content = bytes([place]) * 3
            server.offers[f"/{file_name}"] = Offer(leads_to=f"/moved/{file_name}")
            server.offers[f"/moved/{file_name}"] = Offer(content)
            changed = {
                "size": 3,
                "md5": hashlib.md5(content).hexdigest(),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            files[file_name] = file.model_copy(update={"urls": [f"{server.address}/{file_name}"], **changed})
        small = whole.model_copy(update={"downloads": files})
        monkeypatch.setattr(
            data_set, "load_manifest", lambda each: small if each == name else load_manifest(each)
        )
        assert call(["fetch", name, "--out", str(tmp_path / name)]) == 0
        told = capsys.readouterr().err.splitlines()
        assert f"Licence: {whole.licence}" in told[0]
        assert ("1 file of 3 bytes" if len(files) == 1 else f"{len(files)} files of") in told[-1]
        assert f"Licence: {whole.licence.rstrip('.')}." in told[-1]
        assert f"Licence: {whole.licence}\n" in (tmp_path / name / "ABOUT.txt").read_text()
        assert call(["fetch"]) == 0
        assert " ".join(whole.licence.split()) in " ".join(capsys.readouterr().err.split())
