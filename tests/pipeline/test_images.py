"""The image stage: folders, zips and npz; a bad picture is refused alone."""

from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.stage.errors import EsadError, ExitStatus, UsageError
from esad.preprocessing.store.store import Store


@pytest.fixture
def folder(tmp_path):
    """Two classes of three grey pictures under train, one bad picture among them."""
    for number in range(3):
        for name, grey in (("normal", 90), ("scratch", 200)):
            place = tmp_path / "pictures" / "train" / name
            place.mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 16), grey + number).save(place / f"{number}.png")
    (tmp_path / "pictures" / "train" / "normal" / "bad.png").write_text("no picture")
    return tmp_path / "pictures"


def zipped(folder, path, below=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, below + file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("below", [None, "", "wrapped/"])
def test_a_folder_and_its_zip_give_the_same_items(folder, tmp_path, below):
    given = folder if below is None else zipped(folder, tmp_path / "a.zip", below)
    outcome = images([given], ImageSettings(), IngestOptions(tmp_path / "out"))
    assert (outcome.refused, outcome.exit_status) == (1, ExitStatus.SOME_REFUSED)
    store = Store(tmp_path / "out")
    assert store.shape == (16, 16, 1)
    assert store.read()[:, 0, 0, 0].tolist() == [90, 91, 92, 200, 201, 202]
    assert store.manifest["label"].tolist() == [0, 0, 0, 1, 1, 1]
    assert store.manifest["class_name"].tolist() == ["normal"] * 3 + ["scratch"] * 3
    assert set(store.manifest["split"]) == {"train"}
    assert store.manifest["item_id"].is_unique
    refused = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert refused["source"].str.endswith("normal/bad.png").tolist() == [True]
    assert "not a readable picture" in refused["reason"].iloc[0]


def test_a_damaged_member_is_refused_alone(folder, tmp_path):
    path = zipped(folder, tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("train/scratch/1.png").header_offset
    content = bytearray(path.read_bytes())
    content[start + 60 : start + 70] = b"\xff" * 10
    path.write_bytes(bytes(content))
    outcome = images([path], ImageSettings(), IngestOptions(tmp_path / "out"))
    assert outcome.refused == 2
    assert len(Store(tmp_path / "out")) == 5


def test_a_broken_zip_beside_a_good_one_is_refused(folder, tmp_path):
    zipped(folder, tmp_path / "a.zip")
    (tmp_path / "b.zip").write_text("no zip")
    outcome = images(
        [tmp_path / "a.zip", tmp_path / "b.zip"], ImageSettings(), IngestOptions(tmp_path / "out")
    )
    assert outcome.refused == 2
    assert "b.zip" in set(pd.read_csv(tmp_path / "out" / "failures.csv")["source"])


def test_mixed_sizes_name_two_pictures_and_the_remedy(folder, tmp_path):
    Image.new("L", (20, 16)).save(folder / "train" / "scratch" / "wide.png")
    out = tmp_path / "out"
    with pytest.raises(EsadError, match=r"normal/0\.png is 16 x 16 .*wide\.png is 20 x 16 .*--size"):
        images([folder], ImageSettings(), IngestOptions(out))
    images([folder], ImageSettings(size=12), IngestOptions(out))
    assert Store(out).shape == (12, 12, 1)


def test_colour_among_grey_is_named_as_such(folder, tmp_path):
    Image.new("RGB", (16, 16)).save(folder / "train" / "scratch" / "red.png")
    with pytest.raises(EsadError, match="grey and colour need separate stores"):
        images([folder], ImageSettings(), IngestOptions(tmp_path / "out"))


def test_npz_files_of_two_shapes_are_named(tmp_path):
    for name, side in (("a", 8), ("b", 9)):
        np.savez(tmp_path / f"{name}.npz", x=np.zeros((2, side, side), np.uint8))
    given = [tmp_path / "a.npz", tmp_path / "b.npz"]
    with pytest.raises(EsadError, match=r"a\.npz holds items of 8 x 8 x 1, b\.npz of 9 x 9 x 1.*--size"):
        images(given, ImageSettings(), IngestOptions(tmp_path / "out"))


def test_a_bad_npz_beside_a_good_one_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    outcome = images(
        [tmp_path / "a.npz", tmp_path / "b.npz"], ImageSettings(), IngestOptions(tmp_path / "out")
    )
    assert (outcome.refused, len(Store(tmp_path / "out"))) == (1, 2)


def test_columns_that_were_asked_for(folder, tmp_path):
    with pytest.raises(UsageError, match=r"no column 'sick'.*--labels"):
        images([folder], ImageSettings(label="sick"), IngestOptions(tmp_path / "out"))
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 8, 8), np.uint8), y=[0, 1])
    with pytest.raises(UsageError, match=r"a\.npz: has no column 'sick'; it has x, y"):
        images([tmp_path / "a.npz"], ImageSettings(label="sick"), IngestOptions(tmp_path / "out2"))


def test_an_empty_folder_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EsadError, match="nothing in it that this stage reads"):
        images([tmp_path / "empty"], ImageSettings(), IngestOptions(tmp_path / "out"))


@pytest.mark.data
def test_real_npz_files(data, tmp_path):
    images([data / "pcam" / "pcam_64.npz"], ImageSettings(), IngestOptions(tmp_path / "pcam"))
    store = Store(tmp_path / "pcam")
    assert store.shape == (64, 64, 3)
    assert store.manifest["label"].value_counts().to_dict() == {0: 3000, 1: 1500}
    options = IngestOptions(tmp_path / "ap", where={"view": "AP"})
    images([data / "nih" / "nih1000_crop768_64.npz"], ImageSettings(group="patient"), options)
    chosen = Store(tmp_path / "ap").manifest
    assert chosen["label"].value_counts().to_dict() == {0: 342, 1: 225}
    assert set(chosen["split"]) == {"train", "test"}
    assert "patient" not in chosen
