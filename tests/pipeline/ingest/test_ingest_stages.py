"""The four ingest stages as a user drives them: good input, bad input, continuing, labels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import openslide
import pandas as pd
import pydicom
import pytest
from PIL import Image

from esad.pipeline.cli.app import call
from esad.pipeline.synthesis.radiographs import make_radiographs
from esad.pipeline.synthesis.slides import make_slides
from esad.preprocessing.store.store import Store


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two small synthetic slides, the second abnormal with its outline; eight radiographs."""
    folder = tmp_path_factory.mktemp("archive")
    make_slides(
        folder / "slides", slides=2, abnormal=1, size=3072, seed=3, annotations=folder / "annotations"
    )
    make_radiographs(folder / "radiographs", count=20, abnormal=5, size=128, seed=3)
    return folder


def failures(store) -> dict[str, str]:
    table = pd.read_csv(store / "failures.csv")
    return dict(zip(table["source"], table["reason"], strict=True))


def test_slides_become_labelled_tiles(archive, tmp_path, capsys):
    out = tmp_path / "tiles"
    command = [
        "tile",
        str(archive / "slides"),
        "--annotations",
        str(archive / "annotations"),
        "--out",
        str(out),
        "--json",
    ]
    assert call([*command, "--workers", "1"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["items"] == len(Store(out))
    assert "Next: esad train" in said.err
    store = Store(out)
    assert store.kind == "tiles"
    assert store.shape == (64, 64, 3)
    assert set(store.manifest["label"].dropna()) == {0, 1}
    part = store.manifest[store.manifest["label"] == 1]
    assert (part["tumour_fraction"] == 1).all()
    assert store.manifest["mpp"].iloc[0] == pytest.approx(1.0)
    assert (
        json.loads(store.sources["stain_matrix"].iloc[0])[0][0]
        > json.loads(store.sources["stain_matrix"].iloc[0])[1][0]
    )
    assert (out / store.sources["thumbnail"].iloc[0]).is_file()
    before = (out / "manifest.parquet").read_bytes()
    assert call([*command, "--workers", "2"]) == 0
    assert (out / "manifest.parquet").read_bytes() == before
    assert call([*command, "--tile-size", "32"]) == 1
    assert "tile_size: 64 -> 32" in capsys.readouterr().err


def test_a_store_cut_short_is_continued_to_the_same_bytes(archive, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for out in (whole, cut):
        assert call(["tile", str(archive / "slides"), "--out", str(out), "--workers", "1"]) == 0
    for name in ("store.json", "manifest.parquet", "parts/sources-00001.parquet", "shards/00001.npy"):
        (cut / name).unlink()
    assert call(["tile", str(archive / "slides"), "--out", str(cut), "--workers", "1"]) == 0
    names = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(cut) for path in cut.rglob("*") if path.is_file())
    assert all((whole / name).read_bytes() == (cut / name).read_bytes() for name in names)


def test_bad_slides_do_not_stop_good_ones(archive, tmp_path, capsys):
    folder = tmp_path / "slides"
    shutil.copytree(archive / "slides", folder)
    (folder / "note.svs").write_text("no slide")
    content = (folder / "tumor_001.tif").read_bytes()
    (folder / "cut.tif").write_bytes(content[: len(content) // 3])
    Image.new("RGB", (512, 512), "purple").save(folder / "plain.tif")
    assert (
        call(["tile", str(folder), "--out", str(tmp_path / "out"), "--stain", "none", "--workers", "1"]) == 3
    )
    reasons = failures(tmp_path / "out")
    assert set(reasons) == {"note.svs", "cut.tif", "plain.tif"}
    assert "--slide-mpp" in reasons["plain.tif"]
    assert set(Store(tmp_path / "out").manifest["source"]) == {"normal_001.tif", "tumor_001.tif"}
    assert "3 refused" in capsys.readouterr().err


def test_an_empty_folder_and_a_missing_one(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert call(["tile", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 1
    assert "nothing in it" in capsys.readouterr().err
    assert call(["images", str(tmp_path / "missing"), "--out", str(tmp_path / "out")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.data
def test_tiles_before_normalisation_are_openslides_own_pixels(data, tmp_path):
    path = data / "slides" / "cmu-1-small-region.svs"
    assert call(["tile", str(path), "--out", str(tmp_path / "out"), "--stain", "none", "--workers", "1"]) == 0
    store = Store(tmp_path / "out")
    slide = openslide.OpenSlide(path)
    for position in range(0, len(store), 7):
        row = store.manifest.iloc[position]
        box = np.asarray(
            slide.read_region((int(row["x"]), int(row["y"])), 0, (128, 128)).convert("RGB")
        ).astype(int)
        sums = box.reshape(64, 2, 64, 2, 3).sum((1, 3))
        assert np.array_equal(store.read(np.array([position]))[0], (sums + 2) // 4)


@pytest.mark.data
def test_the_three_broken_slides_are_refused(data, tmp_path):
    assert (
        call(
            [
                "tile",
                str(data / "slides"),
                "--out",
                str(tmp_path / "out"),
                "--stain",
                "none",
                "--workers",
                "1",
            ]
        )
        == 3
    )
    assert {"broken.svs", "unopenable.tiff", "unreadable.svs"} <= set(failures(tmp_path / "out"))


def test_radiographs_with_labels_regions_and_hashed_patients(archive, tmp_path):
    folder, out = archive / "radiographs", tmp_path / "out"
    command = [
        "radiographs",
        str(folder),
        "--labels",
        str(folder / "labels.csv"),
        "--metadata",
        str(folder / "regions.csv"),
    ]
    assert call([*command, "--out", str(out), "--group-key", str(tmp_path / "key")]) == 0
    store = Store(out)
    assert store.shape == (64, 64, 1)
    assert store.manifest["label"].tolist() == [0, 0, 0, 1] * 5
    files = [pydicom.dcmread(folder / name) for name in store.manifest["source"]]
    assert store.manifest["view"].tolist() == [image.ViewPosition for image in files]
    pairs = set(zip(store.manifest["group"], [image.PatientID for image in files], strict=True))
    assert len(pairs) == len({image.PatientID for image in files}) == store.manifest["group"].nunique()
    assert store.manifest.loc[3, "region_width"] > 2
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    text = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"SYN-" not in text
    assert b"Nobody" not in text
    assert (
        call(
            [
                *command,
                "--out",
                str(tmp_path / "ap"),
                "--projection",
                "AP",
                "--group-key",
                str(tmp_path / "key"),
            ]
        )
        == 0
    )
    assert set(Store(tmp_path / "ap").manifest["view"]) == {"AP"}


def test_monochrome1_is_turned_round_and_bad_dicom_refused(archive, tmp_path):
    folder = tmp_path / "dicom"
    folder.mkdir()
    image = pydicom.dcmread(archive / "radiographs" / "image_0002.dcm")
    image.save_as(folder / "a.dcm")
    image.PhotometricInterpretation = "MONOCHROME1"
    image.PixelData = (4095 - image.pixel_array).astype("<u2").tobytes()
    image.save_as(folder / "b.dcm")
    del image.PixelData
    image.save_as(folder / "empty.dcm")
    (folder / "text.dcm").write_text("no DICOM")
    Image.new("L", (80, 80)).save(folder / "small.png")
    assert (
        call(
            ["radiographs", str(folder), "--out", str(tmp_path / "out"), "--group-key", str(tmp_path / "key")]
        )
        == 3
    )
    first, second = Store(tmp_path / "out").read()
    assert np.abs(first.astype(int) - second).max() <= 1
    reasons = failures(tmp_path / "out")
    assert "without pixels" in reasons["empty.dcm"]
    assert "not readable as DICOM" in reasons["text.dcm"]
    assert "smaller than 64" in reasons["small.png"]


@pytest.mark.data
def test_real_radiographs_equal_the_reference(data, tmp_path):
    out = tmp_path / "nih"
    command = ["radiographs", str(data / "nih" / "images"), "--metadata", str(data / "nih" / "metadata")]
    assert call([*command, "--out", str(out), "--group-key", str(tmp_path / "key")]) == 0
    store, reference = Store(out), np.load(data / "nih" / "nih1000_crop768_64.npz")
    places = {name: place for place, name in enumerate(reference["image"])}
    chosen = [places[name] for name in store.manifest["source"]]
    assert len(chosen) == 100
    assert np.abs(store.read()[..., 0].astype(int) - reference["x"][chosen]).mean() < 1.5
    counts = store.manifest.groupby(["view", "label"]).size().to_dict()
    assert counts == {("AP", 0): 28, ("AP", 1): 22, ("PA", 0): 24, ("PA", 1): 26}


@pytest.mark.data
def test_encodings_of_one_radiograph_agree(data, tmp_path):
    assert (
        call(
            [
                "radiographs",
                str(data / "dicom"),
                "--out",
                str(tmp_path / "out"),
                "--group-key",
                str(tmp_path / "key"),
            ]
        )
        == 0
    )
    store = Store(tmp_path / "out")
    pictures = dict(zip(store.manifest["source"], store.read().astype(int), strict=True))
    assert np.array_equal(pictures["RG3_UNCR.dcm"], pictures["RG3_J2KR.dcm"])
    assert np.abs(pictures["RG3_UNCR.dcm"] - pictures["RG3_J2KI.dcm"]).max() <= 2
    rsna = next(picture for name, picture in pictures.items() if name.startswith("1.2.276"))
    # The twin holds the same stored values under MONOCHROME1, so that the right picture is the inverse.
    assert np.abs(255 - rsna - pictures["Fake_MONOHR1.dcm"]).max() <= 1


def test_tables_in_four_formats_give_one_store(tmp_path):
    numbers = np.random.default_rng(0)
    x, y = numbers.normal(size=(30, 3)), np.repeat([0, 1], 15)
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=y)
    np.savez(tmp_path / "t.npz", X=x, y=y)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    values = []
    for name in ("t.npz", "t.csv", "t.parquet"):
        assert call(["tables", str(tmp_path / name), "--out", str(tmp_path / f"out-{name}")]) == 0
        store = Store(tmp_path / f"out-{name}")
        assert store.manifest["label"].tolist() == y.tolist()
        values.append(store.read())
    assert np.array_equal(values[0], x.astype(np.float32))
    assert np.allclose(values[0], values[1])
    assert np.array_equal(values[0], values[2])


@pytest.mark.parametrize(("cell", "words"), [("red", "text"), ("", "missing"), ("inf", "not finite")])
def test_a_table_with_a_bad_cell_names_column_row_and_value(tmp_path, capsys, cell, words):
    (tmp_path / "t.csv").write_text(f"a,b,y\n1,2,0\n3,{cell},1\n")
    assert call(["tables", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "column 'b', row 2" in said
    assert words in said


def test_class_folders_and_mixed_sizes(tmp_path, capsys):
    for number in range(4):
        for name, grey in (("good", 90), ("scratch", 200)):
            folder = tmp_path / "pictures" / "train" / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", (32 + 16 * (number == 3), 32), grey).save(folder / f"{number}.png")
    (tmp_path / "pictures" / "train" / "good" / "bad.png").write_text("no picture")
    assert call(["images", str(tmp_path / "pictures"), "--out", str(tmp_path / "out")]) == 1
    assert "--size" in capsys.readouterr().err
    assert (
        call(
            ["images", str(tmp_path / "pictures"), "--out", str(tmp_path / "out"), "--size", "32", "--force"]
        )
        == 3
    )
    store = Store(tmp_path / "out")
    assert store.manifest.groupby("class_name")["label"].first().to_dict() == {"good": 0, "scratch": 1}
    assert set(store.manifest["split"]) == {"train"}
    assert list(failures(tmp_path / "out")) == ["train/good/bad.png"]


def test_a_zip_that_points_out_of_itself_is_refused(tmp_path, capsys):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../evil.png", b"")
    assert call(["images", str(tmp_path / "a.zip"), "--out", str(tmp_path / "out")]) == 1
    assert "points out of the archive" in capsys.readouterr().err


def test_pickled_arrays_are_never_loaded(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    assert call(["images", str(tmp_path / "a.npz"), "--out", str(tmp_path / "out")]) == 1
    assert "plain arrays" in capsys.readouterr().err


def test_a_column_of_none_is_ignored(tmp_path):
    x = np.zeros((6, 16, 16), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=[0, 1] * 3, split=["train_val", "test"] * 3, patient=np.arange(6))
    command = ["images", str(tmp_path / "a.npz"), "--group", "patient", "--out"]
    assert call([*command, str(tmp_path / "with")]) == 0
    assert Store(tmp_path / "with").manifest["split"].tolist() == ["train", "test"] * 3
    assert call([*command, str(tmp_path / "without"), "--split", "none"]) == 0
    assert Store(tmp_path / "without").manifest["split"].isna().all()
