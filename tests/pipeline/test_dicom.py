"""Results as DICOM: read back whole, pixels equal the overlay, references, patients only where asked for."""

from __future__ import annotations

import math
import shutil
import zipfile

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.uid import SecondaryCaptureImageStorage

from esad.pipeline.cli.app import call
from esad.pipeline.exporting.secondary_capture import Overlay
from esad.pipeline.synthesis.radiographs import make_radiographs
from esad.preprocessing.store.store import Store
from tests.dicom_standard import attributes_of, check_attributes, check_by_validator
from tests.pipeline.stores import QUICK

SHORT = [*(f"{name}={value}" for name, value in QUICK.items()), "train.steps=4", "train.warmup.steps=2"]
PATIENT = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyDate",
    "StudyID",
)


def esad(*words):
    return call([str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """archive/: 18 drawn radiographs with patients, and two PNGs; run/ with scores of them."""
    folder = tmp_path_factory.mktemp("dicom")
    make_radiographs(folder / "archive", 18, 6, 128)
    for number, path in enumerate(sorted((folder / "archive").glob("*.dcm"))):
        image = pydicom.dcmread(path)
        image.PatientName, image.PatientSex, image.PatientBirthDate = "Jäger^Anna", "F", "19600102"
        image.StudyDate, image.StudyID, image.AccessionNumber = "20200304", "S1", "A77"
        image.SpecificCharacterSet = "ISO_IR 100"
        image.LossyImageCompression = "01" if number == 0 else "00"
        image.save_as(path)
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (128, 128), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "archive" / f"picture_{number}.png")
    labels, key = folder / "archive" / "labels.csv", folder / "key"
    assert (
        esad(
            "radiographs",
            folder / "archive",
            "--out",
            folder / "store",
            "--labels",
            labels,
            "--group-key",
            key,
        )
        == 0
    )
    settings = [word for pair in SHORT for word in ("--set", pair)]
    assert esad("train", folder / "store", "--out", folder / "run", *settings) == 0
    assert esad("score", folder / "run", "--overlays", "all") == 0
    return folder


@pytest.fixture(scope="module")
def plain(folder):
    """The results without patients' attributes."""
    assert esad("dicom", folder / "run", "--archive", folder / "archive", "--out", folder / "plain") == 0
    return folder / "plain"


def results(out):
    return pd.read_parquet(out / "results.parquet")


def test_every_overlay_reads_back_whole_and_is_the_overlay(folder, plain):
    table = results(plain)
    assert len(table) == table["dicom"].notna().sum() == 20
    scores = folder / "run" / "scores" / "store"
    for row in table.to_dict("records"):
        image = pydicom.dcmread(plain / row["dicom"])
        strip = np.asarray(Image.open(scores / "overlays" / f"{row['item_id']}.png"))
        assert np.array_equal(image.pixel_array, strip)
        assert image.SOPClassUID == SecondaryCaptureImageStorage
        assert (image.StudyInstanceUID, image.SOPInstanceUID) == (
            row["StudyInstanceUID"],
            row["SOPInstanceUID"],
        )
        assert (
            f"Anomaly score {row['score']:.5g}, above {math.floor(1000 * row['percentile'] + 1e-9) / 10:g} % of held-out"
            in image.ImageComments
        )
        assert "no diagnosis" in image.SeriesDescription
        assert len(image.SeriesDescription) <= 64
    assert table["SOPInstanceUID"].is_unique
    assert table["score"].is_monotonic_decreasing


def test_a_full_disk_ends_it_and_is_no_fault_of_an_overlay(folder, plain, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("esad.preprocessing.store.writing.free_bytes", lambda _: 1000)
        assert esad("dicom", folder / "run", "--archive", folder / "archive", "--out", folder / "full") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "/full/dicom/" in error
    assert "No space left on device (0." in error
    assert "MB needed, 0.0 MB free). Free some space" in error
    assert esad("dicom", folder / "run", "--archive", folder / "archive", "--out", folder / "full") == 0
    pd.testing.assert_frame_equal(results(folder / "full"), results(plain))


def test_it_refers_to_its_source_and_joins_its_study_as_a_new_series(folder, plain):
    for row in results(plain).to_dict("records"):
        image = pydicom.dcmread(plain / row["dicom"])
        if row["source"].endswith(".png"):
            assert "SourceImageSequence" not in image
            assert pydicom.uid.UID(image.StudyInstanceUID).is_valid
            continue
        source = pydicom.dcmread(folder / "archive" / row["source"])
        reference = image.SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID == row["ReferencedSOPInstanceUID"]
        assert reference.ReferencedSOPClassUID == source.SOPClassUID
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        assert image.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
        assert image.StudyInstanceUID == source.StudyInstanceUID
        assert image.SeriesInstanceUID != source.SeriesInstanceUID
        assert image.get("LossyImageCompression", "00") == source.LossyImageCompression
    table = results(plain)
    for _, of in table.groupby("StudyInstanceUID"):
        assert of["SeriesInstanceUID"].nunique() == 1
        numbers = [int(pydicom.dcmread(plain / name).InstanceNumber) for name in of["dicom"]]
        assert numbers == list(range(1, len(of) + 1))  # by falling score


def test_patients_are_copied_only_where_asked_for(folder, plain, tmp_path):
    words = [
        "dicom",
        folder / "run",
        "--archive",
        folder / "archive",
        "--out",
        tmp_path / "out",
        "--with-patient",
    ]
    assert esad(*words) == 0
    for row in results(plain).to_dict("records"):
        bare, full = (pydicom.dcmread(root / row["dicom"]) for root in (plain, tmp_path / "out"))
        assert (bare.PatientIdentityRemoved, str(bare.PatientName)) == ("YES", "Anonymous^")
        assert not any(
            bare.get(name) for name in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate")
        )
        if row["source"].endswith(".png"):
            continue
        source = pydicom.dcmread(folder / "archive" / row["source"])
        assert [str(full[name].value) for name in PATIENT] == [str(source[name].value) for name in PATIENT]
        assert "PatientIdentityRemoved" not in full
        assert bare.PatientID == row["group"] != source.PatientID
    for path in plain.rglob("*"):
        assert path.is_dir() or b"SYN-0" not in path.read_bytes()
        assert path.is_dir() or "Jäger".encode("latin-1") not in path.read_bytes()


def test_the_tables_hold_every_item(plain):
    table, text = results(plain), pd.read_csv(plain / "results.csv")
    assert list(table.columns) == list(text.columns)
    assert {"item_id", "source", "score", "percentile", "pixel_spacing", "hot_x", "dicom"} <= set(table)
    assert np.allclose(table["score"], text["score"])
    assert table["pixel_spacing"].notna().sum() == 18


def test_finished_results_are_left_alone_and_others_refused(folder, plain, capsys):
    words = ["dicom", folder / "run", "--archive", folder / "archive", "--out", plain]
    before = {path: path.stat().st_mtime_ns for path in plain.rglob("*.dcm")}
    assert esad(*words) == 0
    assert "Left alone" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in plain.rglob("*.dcm")}
    assert esad(*words, "--with-patient") == 1
    assert "with_patient: False -> True" in capsys.readouterr().err
    assert esad(*words[:-1], folder / "archive") == 1
    assert "holds no DICOM results" in capsys.readouterr().err


def test_a_source_that_is_gone_refuses_its_overlay_alone_and_is_tried_again(folder, plain, tmp_path):
    shutil.copytree(folder / "archive", tmp_path / "archive")
    gone = results(plain)["source"][0]
    (tmp_path / "archive" / gone).rename(tmp_path / "away")
    words = ["dicom", folder / "run", "--archive", tmp_path / "archive", "--out", tmp_path / "out"]
    assert esad(*words) == 3
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert failures["source"].tolist() == [gone]
    assert "not in the archive" in failures["reason"][0]
    assert results(tmp_path / "out")["dicom"].notna().sum() == 19
    (tmp_path / "away").rename(tmp_path / "archive" / gone)
    assert esad(*words) == 0
    assert results(tmp_path / "out")["dicom"].notna().sum() == 20


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda image: setattr(image, "PatientBirthDate", "sometime in spring"),
            "attributes cannot be written",
        ),
        (lambda image: setattr(image, "StudyInstanceUID", "no uid"), None),
    ],
)
def test_attributes_that_break_the_standard_are_refused_or_left_out(folder, plain, tmp_path, change, told):
    import warnings

    shutil.copytree(folder / "archive", tmp_path / "archive")
    source = next(name for name in results(plain)["source"] if name.endswith(".dcm"))
    image = pydicom.dcmread(tmp_path / "archive" / source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        change(image)
        image.save_as(tmp_path / "archive" / source)
    words = [
        "dicom",
        folder / "run",
        "--archive",
        tmp_path / "archive",
        "--out",
        tmp_path / "out",
        "--with-patient",
    ]
    assert esad(*words) == (3 if told else 0)
    if told:
        assert told in pd.read_csv(tmp_path / "out" / "failures.csv")["reason"][0]
    else:
        row = results(tmp_path / "out").set_index("source").loc[source]
        assert pydicom.uid.UID(row["StudyInstanceUID"]).is_valid


def test_other_scores_and_a_missing_archive_are_wrong_use(folder, tmp_path, capsys):
    scores = tmp_path / "scores"
    shutil.copytree(folder / "run" / "scores" / "store", scores)
    marker = (scores / "scores.json").read_text()
    (scores / "scores.json").write_text(marker.replace('"radiographs"', '"images"'))
    assert esad("dicom", scores, "--archive", folder / "archive", "--out", tmp_path / "out") == 2
    assert "scores of images; DICOM results are of radiographs" in capsys.readouterr().err
    assert esad("dicom", folder / "run", "--archive", tmp_path / "none", "--out", tmp_path / "out") == 2


def test_hashed_names_and_zips_are_found_again(folder, tmp_path):
    (tmp_path / "archive").mkdir()
    with zipfile.ZipFile(tmp_path / "archive" / "a.zip", "w") as archive:
        for path in sorted((folder / "archive").glob("*.dcm")):
            archive.write(path, f"inner/{path.name}")
    key = ["--group-key", tmp_path / "key"]
    assert esad("radiographs", tmp_path / "archive", "--out", tmp_path / "store", "--anonymous", *key) == 0
    assert (
        esad(
            "score", folder / "run", tmp_path / "store", "--out", tmp_path / "scores", "--overlays", "worst:3"
        )
        == 0
    )
    words = ["dicom", tmp_path / "scores", "--archive", tmp_path / "archive"]
    assert esad(*words, "--out", tmp_path / "out", *key) == 0
    table = results(tmp_path / "out")
    assert table["ReferencedSOPInstanceUID"].notna().sum() == table["dicom"].notna().sum() >= 3
    assert not table["source"].str.contains("image").any()
    assert esad(*words, "--out", tmp_path / "other", "--group-key", tmp_path / "another") == 3


def test_an_archive_that_holds_results_does_not_take_them_for_radiographs(folder, plain, tmp_path):
    shutil.copytree(plain / "dicom", tmp_path / "archive")
    shutil.copy(folder / "archive" / "image_0001.dcm", tmp_path / "archive" / "a.dcm")
    words = [
        "radiographs",
        tmp_path / "archive",
        "--out",
        tmp_path / "store",
        "--group-key",
        tmp_path / "key",
    ]
    assert esad(*words) == 0
    sources = Store(tmp_path / "store").sources
    assert sources["items"].sum() == 1
    assert (sources["reason"] == "left out: an overlay that esad dicom wrote").sum() == 20


def test_required_attributes_are_those_of_the_standards_tables(plain):
    """By the tables of PS3.3 that highdicom ships: mandatory modules whole, nothing of a foreign module."""
    image = pydicom.dcmread(next(plain.rglob("*.dcm")))
    check_attributes(image, "secondary-capture-image")
    for _, attribute in attributes_of("secondary-capture-image"):
        path, keyword = attribute["path"], attribute["keyword"]
        if path in (["SourceImageSequence"], ["ReferencedSeriesSequence"]) and attribute["type"] == "1":
            assert keyword in image[path[0]].value[0], (path, keyword)


@pytest.mark.parametrize(
    ("held_out", "told"),
    [
        (True, "above 16.3 % of held-out normal radiographs."),
        (False, "above 16.3 % of training normal radiographs."),
        (None, "above 16.3 % of normal radiographs."),
    ],
)
def test_what_is_compared_with_is_said_as_the_scores_say_it(held_out, told):
    overlay = Overlay(np.zeros((8, 8, 3), np.uint8), "i", "p", 1.0, 0.1635, 1, held_out)
    assert told in overlay.words


@pytest.mark.slow
def test_the_standards_own_validator_finds_no_error(plain):
    check_by_validator(plain / "dicom")
