"""The image stage: folders, zips and npz; a bad picture is refused alone."""

from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from esad.pipeline.cli.app import call
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.runs.run_folder import Run
from esad.pipeline.settings.config import ImageSettings, RunSettings
from esad.pipeline.stage.errors import EsadError, ExitStatus, UsageError
from esad.preprocessing.pictures import TO_GREY, TO_RGB
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


def test_a_picture_that_will_be_refused_does_not_stop_others_by_its_size(folder, tmp_path):
    wide = folder / "train" / "scratch" / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 16), dtype=np.uint8)).save(wide)
    wide.write_bytes(wide.read_bytes()[:200])
    assert images([folder], ImageSettings(), IngestOptions(tmp_path / "out")).refused == 2
    assert Store(tmp_path / "out").shape == (16, 16, 1)


def test_two_sizes_are_told_before_anything_is_written(folder, tmp_path):
    Image.new("L", (20, 16)).save(folder / "train" / "scratch" / "wide.png")
    for given, named in (
        (folder, "wide.png"),
        (zipped(folder, tmp_path / "a.zip"), "a.zip/train/scratch/wide.png"),
    ):
        with pytest.raises(EsadError, match=f"{named} is 20 x 16"):
            images([given], ImageSettings(), IngestOptions(tmp_path / "out"))
    options = IngestOptions(tmp_path / "out", anonymous=True, group_key=tmp_path / "key")
    with pytest.raises(EsadError, match="one picture is 16 x 16 pixels, another is 20 x 16") as told:
        images([folder], ImageSettings(), options)
    assert "wide" not in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def mixed(tmp_path):
    """Three colour pictures and two grey ones, in two folders."""
    for number, (mode, colour) in enumerate([("RGB", (9, 90, 200))] * 3 + [("L", 77)] * 2):
        place = tmp_path / "mixed" / ("normal" if number % 2 else "ill")
        place.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (16, 16), colour).save(place / f"{number}.png")
    return tmp_path / "mixed"


def notes_of(out):
    table = Store(out).sources.set_index("source")["notes"]
    return {source.split("/")[-1]: note for source, note in table.dropna().items()}


def test_most_pictures_decide_the_colour_and_others_are_converted(mixed, tmp_path, capsys):
    out = tmp_path / "out"
    outcome = images([mixed], ImageSettings(), IngestOptions(out))
    assert Store(out).shape == (16, 16, 3)
    assert Store(out).settings["colour"] == "rgb"
    assert notes_of(out) == {"3.png": TO_RGB, "4.png": TO_RGB}
    assert "Noted: 2 grey converted to rgb" in outcome.message
    assert (outcome.summary["to_rgb"], outcome.summary["to_grey"]) == (2, 0)
    assert "3 of 5 pictures are colour" in capsys.readouterr().err
    pictures = dict(
        zip(Store(out).manifest["source"].str[-5:], Store(out).read()[:, 0, 0].tolist(), strict=True)
    )
    assert pictures["4.png"] == [77] * 3
    assert pictures["0.png"] == [9, 90, 200]


def test_a_stated_colour_decides(mixed, tmp_path):
    images([mixed], ImageSettings(colour="grey"), IngestOptions(tmp_path / "out"))
    store = Store(tmp_path / "out")
    assert store.shape == (16, 16, 1)
    assert set(store.read()[:, 0, 0, 0]) == {78, 77}  # 0.299 * 9 + 0.587 * 90 + 0.114 * 200
    assert notes_of(tmp_path / "out") == dict.fromkeys(("0.png", "1.png", "2.png"), TO_GREY)


def test_the_majority_is_of_the_whole_store_whatever_the_shards_and_workers(mixed, tmp_path, monkeypatch):
    images([mixed], ImageSettings(), IngestOptions(tmp_path / "whole"))
    monkeypatch.setattr("esad.pipeline.conversion.images.IMAGES_PER_SHARD", 1)
    for name, given, workers in (
        ("a", mixed, 1),
        ("b", mixed, 2),
        ("c", zipped(mixed, tmp_path / "z.zip"), 1),
    ):
        images([given], ImageSettings(), IngestOptions(tmp_path / name, workers=workers))
        assert np.array_equal(Store(tmp_path / name).read(), Store(tmp_path / "whole").read())


def test_pictures_that_come_later_are_made_as_those_that_are_there(mixed, tmp_path):
    out = tmp_path / "out"
    images([mixed], ImageSettings(), IngestOptions(out))
    for number in range(5):
        Image.new("L", (16, 16), 50 + number).save(mixed / "normal" / f"later{number}.png")
    images([mixed], ImageSettings(), IngestOptions(out))
    assert (len(Store(out)), Store(out).shape) == (10, (16, 16, 3))
    images([mixed], ImageSettings(), IngestOptions(out, force=True))
    assert Store(out).shape == (16, 16, 1)
    with pytest.raises(EsadError, match="colour: 'grey' -> 'rgb'"):
        images([mixed], ImageSettings(colour="rgb"), IngestOptions(out))


def test_like_takes_the_colour_of_the_runs_store(mixed, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    images([mixed], ImageSettings(), IngestOptions(tmp_path / "out"))
    store = {"kind": "images", "settings": Store(tmp_path / "out").settings}
    known = {**store, "path": "out", "name": "out", "shape": [16, 16, 3], "inputs": ""}
    (run / "config.yaml").write_text(
        yaml.safe_dump({**RunSettings().model_dump(mode="json"), "store": known})
    )
    grey = tmp_path / "grey"
    grey.mkdir()
    Image.new("L", (16, 16), 5).save(grey / "a.png")
    assert call(["images", str(grey), "--out", str(tmp_path / "new"), "--like", str(run)]) == 0
    assert Store(tmp_path / "new").shape == (16, 16, 3)
    Run(run, RunSettings(), {**store, "shape": [16, 16, 3]}).check(Store(tmp_path / "new"))
    older = {"kind": "images", "settings": {"size": None}, "shape": [16, 16, 3]}
    Run(run, RunSettings(), older).check(Store(tmp_path / "new"))  # a run that is older than the setting


def test_npz_files_become_one_colour(tmp_path):
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (3, 8, 8), np.uint8), rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x=grey)
    np.savez(tmp_path / "b.npz", x=colour)
    given = [tmp_path / "a.npz", tmp_path / "b.npz"]
    outcome = images(given, ImageSettings(), IngestOptions(tmp_path / "out"))
    assert "Noted: 1 colour converted to grey" in outcome.message
    store = Store(tmp_path / "out")
    luma = np.stack([np.asarray(Image.fromarray(each).convert("L")) for each in colour])
    assert np.array_equal(store.read()[..., 0], np.concatenate([grey, luma]))
    assert call(["images", str(given[0]), "--colour", "rgb", "--out", str(tmp_path / "rgb")]) == 0
    assert np.array_equal(Store(tmp_path / "rgb").read(), np.repeat(grey[..., None], 3, -1))


def test_every_kind_of_picture_in_one_folder(tmp_path):
    """Orientation, CMYK, palettes, one bit, alpha, animations; pages and giants are refused alone."""
    place = tmp_path / "all" / "normal"
    place.mkdir(parents=True)
    plain = Image.fromarray(np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 8).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    plain.rotate(90).save(place / "turned.png", exif=exif)
    plain.convert("CMYK").save(place / "cmyk.jpg", quality=100)
    plain.quantize(256).save(place / "palette.png")
    plain.convert("RGBA").save(place / "alpha.png")
    plain.save(place / "moves.gif", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    plain.save(place / "pages.tif", save_all=True, append_images=[plain])
    plain.convert("L").save(place / "grey.webp", lossless=True)
    outcome = images([tmp_path / "all"], ImageSettings(), IngestOptions(tmp_path / "out"))
    store = Store(tmp_path / "out")
    assert outcome.refused == 1
    assert "2 pages" in pd.read_csv(tmp_path / "out" / "failures.csv")["reason"].iloc[0]
    assert np.abs(store.read().astype(int) - np.asarray(plain)).max() <= 3
    assert notes_of(tmp_path / "out") == {
        "turned.png": "turned as its EXIF orientation says",
        "cmyk.jpg": "CMYK converted to RGB",
        "moves.gif": "first of several frames",
    }


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


@pytest.fixture
def mvtec(tmp_path):
    """Two pictures each of MVTec's folders, and a mask for each anomaly."""
    for number in range(2):
        for place in ("train/good", "test/good", "test/hole", "ground_truth/hole"):
            name = f"{number:03d}_mask.png" if place.startswith("ground") else f"{number:03d}.png"
            path = tmp_path / "bottle" / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 16), 90 + 10 * len(place) + number).save(path)
    return tmp_path / "bottle"


@pytest.mark.parametrize("below", [None, "", "bottle/"])
def test_masks_of_a_ground_truth_are_left_out_and_counted(mvtec, tmp_path, capsys, below):
    given = mvtec if below is None else zipped(mvtec, tmp_path / "a.zip", below)
    assert call(["images", str(given), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count("2 masks in ground_truth/ are left out.") == 1
    table = Store(tmp_path / "out").manifest
    assert not table["source"].str.contains("ground_truth").any()
    assert table.groupby("split")["label"].apply(sorted).to_dict() == {"test": [0, 0, 1, 1], "train": [0, 0]}


def test_masks_alone_are_no_pictures(mvtec, tmp_path, capsys):
    for name in ("train", "test"):
        (mvtec / name).rename(tmp_path / name)
    assert call(["images", str(mvtec), "--out", str(tmp_path / "out")]) == 1
    assert "all 2 pictures lie in ground_truth/ and are masks" in capsys.readouterr().err
    assert call(["images", str(mvtec / "ground_truth"), "--out", str(tmp_path / "masks")]) == 0  # named
    assert len(Store(tmp_path / "masks")) == 2
