"""The radiograph stage: bad files, views, metadata, regions, and nothing of a patient in any output."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from esad.pipeline.cli.app import call
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.radiographs import radiographs
from esad.pipeline.runs.run_folder import Run
from esad.pipeline.settings.config import RadiographSettings, RunSettings
from esad.pipeline.stage.errors import EsadError, ExitStatus, UsageError
from esad.preprocessing.radiographs import nih
from esad.preprocessing.store.store import Store
from tests.preprocessing.radiographs.dicom_files import RAMP, write_dicom

PIXELS = np.kron(RAMP, np.ones((2, 2), np.uint16))  # 128 x 128


def ingest(folder, out, metadata=None, **settings):
    options = IngestOptions(out, group_key=out.parent / "group.key")
    return radiographs([folder], RadiographSettings(**settings), options, metadata)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    for name, view, patient in (("a", "PA", "7"), ("b", "AP", "7"), ("c", "AP", "8"), ("d", "", "")):
        write_dicom(folder / f"{name}.dcm", PIXELS, ViewPosition=view, PatientID=patient)
    return folder


def test_bad_files_do_not_stop_good_ones(folder, tmp_path):
    (folder / "text.dcm").write_text("no DICOM")
    image = pydicom.dcmread(folder / "a.dcm")
    del image.PixelData
    image.save_as(folder / "empty.dcm")
    content = (folder / "a.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(content[: len(content) // 2])
    Image.new("L", (80, 80)).save(folder / "small.png")
    Image.new("L", (90, 90)).save(folder / "fits.png")
    (folder / "bad.png").write_bytes((folder / "fits.png").read_bytes()[:60])
    outcome = ingest(folder, tmp_path / "out")
    assert outcome.exit_status == ExitStatus.SOME_REFUSED
    assert Store(tmp_path / "out").manifest["source"].tolist() == [
        "a.dcm",
        "b.dcm",
        "c.dcm",
        "d.dcm",
        "fits.png",
    ]
    reasons = pd.read_csv(tmp_path / "out" / "failures.csv").set_index("source")["reason"]
    assert outcome.refused == len(reasons) == 5
    for name, told in (
        ("text.dcm", "not readable as DICOM"), ("empty.dcm", "without pixels"), ("cut.dcm", "cannot be decoded"),
        ("small.png", "80 x 80 pixels; the central square of 60 is smaller than 64"), ("bad.png", "not a readable picture"),
    ):  # fmt: skip
        assert told in reasons[name]


def test_an_empty_folder_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EsadError, match="nothing in it that this stage reads"):
        ingest(tmp_path / "empty", tmp_path / "out")


def test_other_views_are_left_out_not_refused(folder, tmp_path):
    outcome = ingest(folder, tmp_path / "out", projection="AP")
    assert (outcome.refused, outcome.summary["left_out"]) == (0, 2)
    assert "2 left out (1 view PA, AP was asked for; 1 view unknown, AP was asked for)" in outcome.message
    store = Store(tmp_path / "out")
    assert store.manifest["source"].tolist() == ["b.dcm", "c.dcm"]
    assert store.sources["state"].tolist() == ["done"] * 4
    assert store.sources["items"].tolist() == [0, 1, 1, 0]
    with pytest.raises(EsadError, match="left out: view"):
        ingest(_only(folder, tmp_path, "b.dcm"), tmp_path / "none", projection="PA")


def _only(folder, tmp_path, name):
    (tmp_path / "one").mkdir()
    shutil.copy(folder / name, tmp_path / "one")
    return tmp_path / "one"


def test_patients_are_hashed_groups(folder, tmp_path):
    ingest(folder, tmp_path / "out")
    groups = Store(tmp_path / "out").manifest["group"]
    assert groups[0] == groups[1] != groups[2]
    assert groups.isna().tolist() == [False, False, False, True]
    assert groups[0] not in ("7", "8")
    assert len(groups[0]) == 12
    other = tmp_path / "other"
    other.mkdir()
    ingest(folder, other / "out")
    assert Store(other / "out").manifest["group"][0] != groups[0]
    assert Store(other / "out").settings["group_key"] != Store(tmp_path / "out").settings["group_key"]


def test_regions_are_in_pixels_of_the_small_square(folder, tmp_path):
    rows = ["a.dcm,32,48,24,12", "a.dcm,0,0,9,9", "b.dcm,0,0,10,10", "c.dcm,-100,40,1000,12"]
    (folder / "regions.csv").write_text("\n".join(["source,x,y,width,height", *rows]))
    ingest(folder, tmp_path / "out", folder)
    regions = Store(tmp_path / "out").manifest[["region_x", "region_y", "region_width", "region_height"]]
    # the square is 96 of 128 pixels from (16, 16), so that 3 source pixels are 2
    assert np.allclose(regions.iloc[0].astype(float), [32 / 3, 64 / 3, 16, 8])
    assert regions.iloc[[1, 3]].isna().all(axis=None)
    assert np.allclose(regions.iloc[2].astype(float), [0, 16, 64, 8])


@pytest.mark.data
def test_real_radiographs_equal_the_reference_and_carry_nihs_metadata(data, tmp_path):
    outcome = ingest(data / "nih" / "images", tmp_path / "out", data / "nih" / "metadata")
    store, reference = Store(tmp_path / "out"), np.load(data / "nih" / "nih1000_crop768_64.npz")
    assert (outcome.refused, len(store)) == (0, 100)
    places = {name: place for place, name in enumerate(reference["image"])}
    chosen = [places[name] for name in store.manifest["source"]]
    difference = np.abs(store.read()[..., 0].astype(int) - reference["x"][chosen]).mean()
    assert difference < 1.5
    manifest = store.manifest
    assert manifest["view"].tolist() == reference["view"][chosen].tolist()
    assert manifest["label"].tolist() == reference["y"][chosen].tolist()
    assert manifest["split"].tolist() == [
        name.replace("train_val", "train") for name in reference["split"][chosen]
    ]
    pairs = set(zip(manifest["group"], reference["patient"][chosen], strict=True))
    assert len(pairs) == manifest["group"].nunique() == len(set(reference["patient"][chosen]))


def nih_archive(folder):
    """Twelve images as the official archive lays them out, and its metadata: AP and PA, six of either part."""
    names = [f"{n:08d}_000.png" for n in range(1, 13)]
    findings = ["No Finding", "No Finding", "Infiltration", "Infiltration|Mass", "No Finding", "Mass"] * 2
    for number, name in enumerate(names):
        path = folder / f"images_{number % 2 + 1:03d}" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((128, 128), 10 * number, np.uint8)).save(path)
    table = pd.DataFrame({"Image Index": names, "Finding Labels": findings, "Patient ID": range(12)})
    table["View Position"] = ["AP"] * 10 + ["PA"] * 2
    table.to_csv(folder / "Data_Entry_2017_v2020.csv", index=False)
    (folder / "train_val_list.txt").write_text("\n".join(names[:6]))
    (folder / "test_list.txt").write_text("\n".join(names[6:]))
    return folder


def test_a_protocol_takes_its_images_with_its_split_and_labelled_anomalies(tmp_path, monkeypatch):
    monkeypatch.setattr("esad.preprocessing.splits.published_lists.LABELLED_RATIO", {"AP": 0.25, "PA": 0.25})
    archive = nih_archive(tmp_path / "nih")
    settings = RadiographSettings(protocol="nih-ap")
    outcome = radiographs([archive], settings, IngestOptions(tmp_path / "out"), archive)
    table = Store(tmp_path / "out").manifest
    assert (
        outcome.summary["items"] == 8
    )  # three normals and one labelled of six train, two and two test, PA left out
    train, test = (table[table["split"] == part] for part in ("train", "test"))
    assert train["label"].tolist() == [0, 1, 0, 0]  # images_001 holds the first, third and fifth image
    assert train["semi_label"].tolist() == [pd.NA, -1, pd.NA, pd.NA]
    assert test["label"].sum() == 2
    assert set(table["view"]) == {"AP"}
    assert table["group"].notna().all()


def test_images_that_the_archive_lacks_are_counted_and_foreign_ones_refused(tmp_path, capsys):
    archive = nih_archive(tmp_path / "nih")
    (archive / "images_001" / "images" / "00000001_000.png").unlink()
    settings = RadiographSettings(protocol="nih-ap")
    radiographs([archive], settings, IngestOptions(tmp_path / "out"), archive)
    assert "nih-ap: 6 of the set's 7 images are here, 1 are not" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    Image.fromarray(np.zeros((128, 128), np.uint8)).save(tmp_path / "other" / "a.png")
    with pytest.raises(EsadError, match="none of the 1 radiographs is of this set"):
        radiographs([tmp_path / "other"], settings, IngestOptions(tmp_path / "more"), archive)
    with pytest.raises(UsageError, match="needs --metadata"):
        radiographs([archive], settings, IngestOptions(tmp_path / "more"))


def test_an_image_that_lies_there_twice_is_read_once(tmp_path, capsys):
    archive = nih_archive(tmp_path / "nih")
    (archive / "copies").mkdir()
    shutil.copy(archive / "images_001" / "images" / "00000001_000.png", archive / "copies")
    settings = RadiographSettings(protocol="nih-ap")
    outcome = radiographs([archive], settings, IngestOptions(tmp_path / "out"), archive)
    assert outcome.summary["items"] == 7
    assert (
        "1 images lie in the archive more than once (first: copies/00000001_000.png"
        in capsys.readouterr().err
    )
    table = Store(tmp_path / "out").manifest
    assert table["source"].str.contains("copies").sum() == 1


def test_nihs_metadata_is_read_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "esad.preprocessing.radiographs.nih._read_entries",
        lambda path, read=nih._read_entries: calls.append(path) or read(path),
    )
    archive = nih_archive(tmp_path / "nih")
    radiographs([archive], RadiographSettings(protocol="nih-ap"), IngestOptions(tmp_path / "out"), archive)
    assert len(calls) == 1


def test_a_run_takes_only_squares_that_were_made_as_its_own(tmp_path):
    archive = nih_archive(tmp_path / "nih")
    for name, words in (("a", []), ("b", ["resizing=resize300"]), ("c", ["equalise=true"])):
        given = [word for pair in words for word in ("--set", pair)]
        assert (
            call(
                [
                    "radiographs",
                    str(archive),
                    "--out",
                    str(tmp_path / name),
                    "--group-key",
                    str(tmp_path / "key"),
                    *given,
                ]
            )
            == 0
        )
    run = Run(
        tmp_path / "run", RunSettings(), {"kind": "radiographs", "settings": Store(tmp_path / "a").settings}
    )
    with pytest.raises(EsadError, match=r"resizing: 'crop768' -> 'resize300'.*--like"):
        run.check(Store(tmp_path / "b"))
    with pytest.raises(EsadError, match="equalise: False -> True"):
        run.check(Store(tmp_path / "c"))


def test_a_crop_of_ones_own_does_not_go_with_resize300(tmp_path, capsys):
    words = [
        "radiographs",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--crop",
        "0.8",
        "--set",
        "resizing=resize300",
    ]
    assert call(words) == 2
    assert "crop = 0.8: resize300 keeps 224 of 300" in capsys.readouterr().err


@pytest.mark.data
def test_the_real_images_of_the_ap_set(data, tmp_path):
    settings = RadiographSettings(protocol="nih-ap")
    metadata = data / "nih" / "metadata"
    outcome = radiographs([data / "nih" / "images"], settings, IngestOptions(tmp_path / "out"), metadata)
    table = Store(tmp_path / "out").manifest
    assert outcome.summary["items"] == len(table) > 20
    assert set(table["view"]) == {"AP"}
    assert (table.loc[table["split"] == "train", "label"].eq(0) | table["semi_label"].eq(-1).fillna(False))[
        table["split"] == "train"
    ].all()


def test_what_was_assumed_is_noted_and_counted_in_words_of_our_own(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    hot = PIXELS // 9
    hot[60:63, 60:63] = 4011
    write_dicom(folder / "hot.dcm", hot, PatientID="ANNA")
    write_dicom(folder / "zero.dcm", PIXELS, WindowCenter=2048, WindowWidth=0, BurnedInAnnotation="YES")
    write_dicom(folder / "words.dcm", PIXELS, WindowCenter=2048, WindowWidth=77777777)
    content = (folder / "words.dcm").read_bytes()
    (folder / "words.dcm").write_bytes(content.replace(b"77777777", b"ANNA^JOE"))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray((PIXELS >> 4).astype(np.uint8)).save(folder / "turned.png", exif=exif)
    outcome = ingest(folder, tmp_path / "out")
    store = Store(tmp_path / "out")
    assert dict(store.sources[["source", "notes"]].itertuples(index=False)) == {
        "hot.dcm": "no window, grey range from percentiles",
        "turned.png": "turned as its EXIF orientation says",
        "words.dcm": "unusable window taken as absent",
        "zero.dcm": "burnt-in text; unusable window taken as absent",
    }
    assert "1 state burnt-in text." in outcome.message
    assert (
        "Noted: 2 unusable window taken as absent; 1 no window, grey range from percentiles; "
        "1 turned as its EXIF orientation says." in outcome.message
    )
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"ANNA" not in path.read_bytes()
    squares = dict(zip(store.manifest["source"], store.read()[..., 0].astype(int), strict=True))
    assert (np.abs(squares["zero.dcm"] - squares["hot.dcm"]) > 4).sum() <= 9  # the dead pixels themselves
    assert np.array_equal(squares["zero.dcm"], squares["words.dcm"])
    assert np.abs(np.rot90(squares["turned.png"]) - squares["zero.dcm"]).max() <= 4
