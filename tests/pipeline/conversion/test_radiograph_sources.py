"""What a hospital's archive holds: views, modalities, discs and zips, spacing, orientation, burnt-in text, borders."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.fileset import FileSet

from esad.pipeline.cli.app import call
from esad.pipeline.exporting.source_archive import SourceArchive
from esad.pipeline.stage.errors import EsadError, ExitStatus, UsageError
from esad.preprocessing.radiographs import apart
from esad.preprocessing.store.store import Store
from tests.pipeline.test_radiographs import PIXELS, ingest
from tests.preprocessing.radiographs.dicom_files import write_dicom


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def reasons(out):
    table = Store(out).sources
    return dict(zip(table["source"], table["reason"], strict=True))


def test_what_is_not_frontal_or_no_radiograph_is_left_out_with_the_reason(folder, tmp_path):
    for name, elements in {
        "pa": {"ViewPosition": "PA"}, "unknown": {}, "side": {"ViewPosition": "LL"}, "lying": {"ViewPosition": "LLD"},
        "raw": {"PresentationIntentType": "FOR PROCESSING"}, "ct": {"Modality": "CT"},
    }.items():  # fmt: skip
        write_dicom(folder / f"{name}.dcm", PIXELS, **elements)
    outcome = ingest(folder, tmp_path / "out")
    assert (outcome.exit_status, outcome.refused, outcome.summary["left_out"]) == (ExitStatus.DONE, 0, 4)
    assert Store(tmp_path / "out").manifest["source"].tolist() == ["pa.dcm", "unknown.dcm"]
    told = reasons(tmp_path / "out")
    assert told["side.dcm"] == "left out: view lateral, not a frontal one"
    assert told["lying.dcm"] == "left out: view decubitus, not a frontal one"
    assert told["raw.dcm"].startswith("left out: raw detector values")
    assert told["ct.dcm"] == "left out: modality CT is no radiograph"


def test_what_is_left_out_is_not_decoded(folder, tmp_path, monkeypatch):
    write_dicom(folder / "pa.dcm", PIXELS, ViewPosition="PA")
    write_dicom(folder / "side.dcm", PIXELS, ViewPosition="LL")
    write_dicom(folder / "ap.dcm", PIXELS, ViewPosition="AP")
    decoded = []
    real = apart.square_apart
    monkeypatch.setattr(apart, "square_apart", lambda *given: decoded.append(given[1]) or real(*given))
    ingest(folder, tmp_path / "out", projection="PA")
    assert decoded == ["pa.dcm"]


@pytest.mark.parametrize(("resizing", "factor"), [("crop768", 96 / 64), ("resize300", 128 * 224 / 300 / 64)])
def test_spacing_is_of_a_pixel_of_the_square(folder, tmp_path, resizing, factor):
    write_dicom(folder / "a.dcm", PIXELS, PixelSpacing=[0.2, 0.2], PatientOrientation=["L", "F"])
    write_dicom(folder / "b.dcm", PIXELS)
    ingest(folder, tmp_path / "out", resizing=resizing)
    table = Store(tmp_path / "out").manifest
    assert table["pixel_spacing"].tolist() == pytest.approx([0.2 * factor, np.nan], nan_ok=True)
    assert table["orientation"].fillna("-").tolist() == [r"L\F", "-"]


def test_burnt_in_text_and_other_orientations_are_told_and_nothing_is_turned(folder, tmp_path):
    write_dicom(folder / "a.dcm", PIXELS, PatientOrientation=["L", "F"])
    write_dicom(folder / "b.dcm", PIXELS, PatientOrientation=["R", "F"], BurnedInAnnotation="YES")
    write_dicom(folder / "c.dcm", PIXELS, BurnedInAnnotation="NO")
    outcome = ingest(folder, tmp_path / "out")
    assert (outcome.summary["burned_in"], outcome.summary["turned"]) == (1, 1)
    assert (
        r"1 state burnt-in text. 1 state another orientation than L\F; they are taken as they lie."
        in outcome.message
    )
    store = Store(tmp_path / "out")
    assert store.sources["notes"].fillna("-").tolist() == [
        "-", r"burnt-in text; another orientation than L\F", "-",
    ]  # fmt: skip
    pictures = store.read()
    assert np.array_equal(pictures[0], pictures[1])


def test_a_collimation_border_outside_the_central_square_does_not_count_inside_it_stays(folder, tmp_path):
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    for name, width in (("none", 0), ("outside", 16), ("inside", 24)):
        pixels = PIXELS.copy()
        pixels[:, :width] = 4095
        write_dicom(folder / f"{name}.dcm", pixels, **window)
    ingest(folder, tmp_path / "out")
    store = Store(tmp_path / "out")
    pictures = dict(zip(store.manifest["source"], store.read()[..., 0].astype(int), strict=True))
    assert np.array_equal(pictures["none.dcm"], pictures["outside.dcm"])
    bright = pictures["inside.dcm"] - pictures["none.dcm"] > 0
    assert bright[:, :5].any()
    assert not bright[
        :, 6:
    ].any()  # the border reaches 8 source pixels into the square: 5 and a third of its own


def make_disc(folder, count=3):
    """A disc as pydicom's FileSet writes it: DICOMDIR, and files under names of its own."""
    files = FileSet()
    for number in range(count):
        path = write_dicom(
            folder.parent / f"{number}.dcm", PIXELS + number, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1",
            SOPInstanceUID=f"1.2.1.{number}", PatientID=str(number), Modality="DX", InstanceNumber=number,
            StudyDate="20000101", StudyTime="000000", StudyID="1", SeriesNumber=1, PatientName="A",
        )  # fmt: skip
        image = pydicom.dcmread(path)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        files.add(image)
    files.write(folder)
    return folder


def test_a_dicomdir_stands_for_the_images_that_it_lists(folder, tmp_path, capsys):
    make_disc(folder)
    write_dicom(folder / "unlisted.dcm", PIXELS)
    ingest(folder / "DICOMDIR", tmp_path / "disc")
    ingest(folder, tmp_path / "whole")
    disc, whole = Store(tmp_path / "disc").manifest, Store(tmp_path / "whole").manifest
    assert len(disc) == 3
    assert set(whole["item_id"]) - set(disc["item_id"]) == {
        name for name in whole["item_id"] if name.startswith("unlisted")
    }
    (folder / disc["source"][0]).unlink()
    ingest(folder / "DICOMDIR", tmp_path / "less")
    assert len(Store(tmp_path / "less").manifest) == 2
    assert "DICOMDIR: 1 of the images that it lists are not there" in capsys.readouterr().err


def test_a_dicomdir_that_is_none_is_refused(folder, tmp_path):
    write_dicom(folder / "DICOMDIR", PIXELS)
    with pytest.raises(EsadError, match="nothing in it that this stage reads"):
        ingest(folder, tmp_path / "out")
    (folder / "DICOMDIR").write_text("text")
    with pytest.raises(EsadError, match="DICOMDIR: not a readable DICOMDIR"):
        ingest(folder / "DICOMDIR", tmp_path / "out")


def zipped(folder, path, **more):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def test_a_zip_gives_what_its_folder_gives_and_is_never_unpacked(folder, tmp_path):
    make_disc(folder / "disc")
    write_dicom(folder / "1.2.840", PIXELS, PatientID="0")
    there = tmp_path / "there"
    there.mkdir()
    zipped(
        folder,
        there / "a.zip",
        **{"cut.dcm": (folder / "1.2.840").read_bytes()[:2000], "notes.txt": "x" * 300},
    )
    outcome = ingest(there, tmp_path / "zip")
    assert [path.name for path in there.iterdir()] == ["a.zip"]
    assert not [path for path in tmp_path.glob("zip/**/*") if path.suffix == ".dcm"]
    ingest(folder, tmp_path / "folder")
    zip_store, folder_store = Store(tmp_path / "zip"), Store(tmp_path / "folder")
    assert (outcome.exit_status, outcome.refused) == (ExitStatus.SOME_REFUSED, 1)
    assert zip_store.manifest["source"].tolist() == [
        f"a.zip/{name}" for name in folder_store.manifest["source"]
    ]
    assert np.array_equal(zip_store.read(), folder_store.read())
    assert zip_store.manifest["group"].tolist() == folder_store.manifest["group"].tolist()
    failures = pd.read_csv(tmp_path / "zip" / "failures.csv")
    assert failures["source"].tolist() == ["a.zip/cut.dcm"]
    ingest(there, tmp_path / "zip")
    attempts = Store(tmp_path / "zip").sources.set_index("source")["attempts"]
    assert attempts.pop("a.zip/cut.dcm") == 2  # what was refused is tried again, and nothing else
    assert set(attempts) == {1}


def test_a_zip_with_a_name_that_leaves_it_is_refused_as_a_whole(folder, tmp_path):
    write_dicom(folder / "good.dcm", PIXELS)
    zipped(folder, folder / "bad.zip", **{"../out.dcm": (folder / "good.dcm").read_bytes()})
    outcome = ingest(folder, tmp_path / "out")
    assert outcome.refused == 1
    assert "points out of the archive" in pd.read_csv(tmp_path / "out" / "failures.csv")["reason"][0]
    assert not (tmp_path / "out.dcm").exists()


def test_a_source_that_vanishes_while_the_stage_runs_is_refused_alone(folder, tmp_path, monkeypatch):
    from esad.pipeline.ingest import units as stage

    for name in ("a.dcm", "b.dcm"):
        write_dicom(folder / name, PIXELS)
    real = stage.run_job
    monkeypatch.setattr(
        stage, "run_job", lambda job, options: (folder / "b.dcm").unlink() or real(job, options)
    )
    assert ingest(folder, tmp_path / "out").refused == 1
    assert (
        "b.dcm: cannot be read (No such file" in pd.read_csv(tmp_path / "out" / "failures.csv")["reason"][0]
    )


def test_a_zip_that_breaks_while_the_stage_runs_refuses_its_members_alone(folder, tmp_path, monkeypatch):
    from esad.pipeline.ingest import units as stage

    write_dicom(folder / "a.dcm", PIXELS)
    zipped(folder, folder / "a.zip")
    real = stage.run_job
    monkeypatch.setattr(
        stage, "run_job", lambda job, options: (folder / "a.zip").write_bytes(b"x") and real(job, options)
    )
    outcome = ingest(folder, tmp_path / "out")
    assert (outcome.refused, len(Store(tmp_path / "out"))) == (1, 1)
    assert (
        "a.zip/a.dcm: the zip can no longer be read"
        in pd.read_csv(tmp_path / "out" / "failures.csv")["reason"][0]
    )


def test_workers_and_restarts_do_not_change_a_bit(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("esad.pipeline.conversion.radiographs.RADIOGRAPHS_PER_SHARD", 2)
    for number in range(5):
        write_dicom(folder / f"{number}.dcm", PIXELS // (number + 1), PatientID=str(number))
    key = ["--group-key", str(tmp_path / "key")]
    for name, workers in (("one", "1"), ("two", "2")):
        out = str(tmp_path / name)
        assert call(["radiographs", str(folder), "--out", out, "--workers", workers, *key]) == 0
    shutil.rmtree(tmp_path / "two" / "log", ignore_errors=True)
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def boxed(folder, sizes, box="200,200,100,100"):
    """(archive, metadata): pictures by name and (width, height), each with the same box in NIH's list."""
    archive, metadata = folder / "images", folder / "metadata"
    archive.mkdir()
    metadata.mkdir()
    whole = np.random.default_rng(0).integers(0, 256, (1024, 1024), dtype=np.uint8)
    for name, size in sizes.items():
        Image.fromarray(whole).resize(size).save(archive / name)
    rows = "\n".join(f"{name},Mass,{number},PA" for number, name in enumerate(sizes))
    (metadata / "Data_Entry_2017.csv").write_text(
        f"Image Index,Finding Labels,Patient ID,View Position\n{rows}\n"
    )
    boxes = "\n".join(f"{name},Mass,{box},,," for name in sizes)
    (metadata / "BBox_List_2017.csv").write_text(f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n{boxes}\n")
    return archive, metadata


def regions(out):
    table = Store(out).manifest.set_index("source")
    return table[["region_x", "region_y", "region_width", "region_height"]].astype(float)


def test_nihs_boxes_are_brought_to_pictures_of_another_size(tmp_path):
    sizes = {"full.png": (1024, 1024), "less.png": (256, 256), "wide.png": (300, 256)}
    archive, metadata = boxed(tmp_path, sizes)
    outcome = ingest(archive, tmp_path / "out", metadata)
    found = regions(tmp_path / "out")
    assert np.allclose(found.loc["full.png"], [6, 6, 100 / 12, 100 / 12])
    assert np.allclose(found.loc["less.png"], found.loc["full.png"])
    assert found.loc["wide.png"].isna().all()
    assert "1 have NIH's box, brought from 1024 x 1024 pixels to theirs" in outcome.message
    assert (
        "1 have NIH's box, which counts in 1024 x 1024 pixels, and are not square: no region"
        in outcome.message
    )
    (metadata / "regions.csv").write_text("source,x,y,width,height\nless.png,50,50,25,25\n")
    outcome = ingest(archive, tmp_path / "own", metadata)
    assert np.allclose(regions(tmp_path / "own").loc["less.png"], found.loc["full.png"])
    assert "brought from" not in outcome.message


def test_a_box_outside_its_picture_is_told_with_file_and_box(tmp_path):
    Image.new("L", (100, 100), 9).save(tmp_path / "a.png")
    for box, told in (("200,20,10,10", True), ("-10,20,10,10", True), ("20,99.5,10,10", False)):
        (tmp_path / "regions.csv").write_text(f"source,x,y,width,height\na.png,{box}\n")
        out = tmp_path / box
        outcome = ingest(tmp_path / "a.png", out, tmp_path / "regions.csv")
        shown = box.replace(",", ", ")
        assert (
            f"1 have a box that lies outside its picture: no region (first: a.png, box {shown})"
            in outcome.message
        ) is told
        assert regions(out).isna().all(axis=None)
        assert (
            Store(out).sources["notes"].tolist() == [f"box {shown} lies outside its picture: no region"]
        ) is told


def test_a_file_without_its_preamble_is_read_as_the_whole_one_and_gives_its_header(folder, tmp_path):
    whole = write_dicom(folder / "a.dcm", PIXELS, PatientID="7", StudyInstanceUID="1.2").read_bytes()
    (folder / "b.dcm").write_bytes(whole[132:])
    (folder / "without").write_bytes(whole[132:])
    outcome = ingest(folder, tmp_path / "out")
    store = Store(tmp_path / "out")
    assert (outcome.refused, store.manifest["source"].tolist()) == (0, ["a.dcm", "b.dcm"])
    pictures = store.read()
    assert np.array_equal(pictures[0], pictures[1])
    assert store.manifest["group"].nunique() == 1
    header = SourceArchive(folder, {}).header("b.dcm")
    assert header is not None
    assert header.StudyInstanceUID == "1.2"


def test_metadata_of_pngs_are_those_of_the_same_pictures_with_another_ending(tmp_path):
    archive, metadata = boxed(tmp_path, {"a.png": (1024, 1024), "b.png": (1024, 1024), "c.png": (1024, 1024)})
    (archive / "a.png").rename(archive / "A.PNG")
    (archive / "sub").mkdir()
    Image.open(archive / "b.png").save(archive / "sub" / "b.jpg")
    (archive / "b.png").unlink()
    Image.open(archive / "c.png").save(archive / "c.jpg")  # beside the picture of that name it has no row
    outcome = ingest(archive, tmp_path / "out", metadata)
    manifest = Store(outcome.out).manifest.set_index("source")
    assert manifest["label"].notna().to_dict() == {
        "A.PNG": True,
        "c.jpg": False,
        "c.png": True,
        "sub/b.jpg": True,
    }
    assert manifest["region_x"].notna().tolist() == manifest["label"].notna().tolist()
    (archive / "b.webp").write_bytes((archive / "sub" / "b.jpg").read_bytes())
    with pytest.raises(UsageError, match="there are two of that name"):
        ingest(archive, tmp_path / "twice", metadata)
