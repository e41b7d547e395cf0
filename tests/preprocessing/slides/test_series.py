"""Which DICOM files are one slide, which are copies, and which share UIDs by mistake: none is dropped without a word."""

from __future__ import annotations

import io
import shutil

import numpy as np
import openslide
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

from esad.preprocessing.slides.series import slides_of

SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"


def jpeg(grey, side):
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), grey, np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_level(path, grey, side=64, uid="1.2.3.1", series="1.2.3", kind="VOLUME", mpp=0.5):
    """One level of a whole-slide image (PS3.3, A.32.8): one frame of one grey, `side` pixels wide."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SLIDE_CLASS, uid
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID, header.SeriesInstanceUID = SLIDE_CLASS, uid, series
    header.StudyInstanceUID, header.Modality = "1.2", "SM"
    header.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
    header.DimensionOrganizationType, header.NumberOfFrames = "TILED_FULL", 1
    header.Rows = header.Columns = header.TotalPixelMatrixRows = header.TotalPixelMatrixColumns = side
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PlanarConfiguration = (
        3,
        "YBR_FULL_422",
        0,
    )
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [mpp / 1000 * 64 / side] * 2
    shared.PixelMeasuresSequence = Sequence([measures])
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    header.PixelData = encapsulate([jpeg(grey, side)])
    header.file_meta = meta
    pydicom.dcmwrite(path, header, enforce_file_format=True)
    return path


def test_openslide_takes_either_of_two_files_with_the_same_uids(tmp_path):
    """Why levels of two such slides must not be read together."""
    for name, grey in (("a", 50), ("b", 200)):
        write_level(tmp_path / f"{name}0.dcm", grey)
        write_level(tmp_path / f"{name}1.dcm", grey, side=32, uid="1.2.3.2")
    with openslide.OpenSlide(tmp_path / "b0.dcm") as slide:
        values = [int(np.asarray(slide.read_region((0, 0), level, (8, 8)))[4, 4, 0]) for level in (0, 1)]
    assert sorted(round(value, -1) for value in values) == [50, 200]


def test_levels_label_and_overview_are_parts_of_one_slide(tmp_path):
    write_level(tmp_path / "a_label.dcm", 9, uid="1.2.3.9", kind="LABEL")
    write_level(tmp_path / "b.dcm", 50)
    write_level(tmp_path / "c.dcm", 50, side=32, uid="1.2.3.2")
    write_level(tmp_path / "d.dcm", 70, series="1.2.4", uid="1.2.4.1")
    (tmp_path / "text.dcm").write_text("no DICOM")
    found = slides_of(tmp_path, ["a.svs", "a_label.dcm", "b.dcm", "c.dcm", "d.dcm", "text.dcm"])
    assert found.sources == ["a.svs", "b.dcm", "d.dcm", "text.dcm"]
    assert (found.parts, found.copies, found.refused, found.notes) == (2, {}, {}, {})


def test_a_copy_under_another_name_is_told_and_read_once(tmp_path):
    write_level(tmp_path / "a.dcm", 50)
    shutil.copy(tmp_path / "a.dcm", tmp_path / "b.dcm")
    found = slides_of(tmp_path, ["a.dcm", "b.dcm"])
    assert found.sources == ["a.dcm", "b.dcm"]
    assert list(found.copies) == ["b.dcm"]
    assert (found.parts, found.refused) == (0, {})


def test_slides_of_one_level_with_the_same_uids_are_each_read_and_noted(tmp_path):
    for name, grey in (("a", 50), ("b", 200), ("c", 90)):
        write_level(tmp_path / f"{name}.dcm", grey)
    found = slides_of(tmp_path, ["a.dcm", "b.dcm", "c.dcm"])
    assert found.sources == ["a.dcm", "b.dcm", "c.dcm"]
    assert set(found.notes) == {"a.dcm", "b.dcm", "c.dcm"}
    assert (found.parts, found.refused, found.copies) == (0, {}, {})
    for name, grey in (("a", 50), ("b", 200), ("c", 90)):
        with openslide.OpenSlide(tmp_path / f"{name}.dcm") as slide:
            assert abs(int(np.asarray(slide.read_region((0, 0), 0, (8, 8)))[4, 4, 0]) - grey) <= 2


def test_slides_of_several_levels_with_the_same_uids_are_refused_since_they_would_mix(tmp_path):
    for name, grey in (("a", 50), ("b", 200)):
        write_level(tmp_path / f"{name}0.dcm", grey)
        write_level(tmp_path / f"{name}1.dcm", grey, side=32, uid="1.2.3.2")
    found = slides_of(tmp_path, ["a0.dcm", "a1.dcm", "b0.dcm", "b1.dcm"])
    assert set(found.refused) == {"a0.dcm", "a1.dcm", "b0.dcm", "b1.dcm"} == set(found.sources)
    assert "a folder of its own" in found.refused["b0.dcm"]
    (tmp_path / "x").mkdir()
    for name in ("b0.dcm", "b1.dcm"):
        (tmp_path / name).rename(tmp_path / "x" / name)
    apart = slides_of(tmp_path, ["a0.dcm", "a1.dcm", "x/b0.dcm", "x/b1.dcm"])
    assert (apart.sources, apart.refused, apart.parts) == (["a0.dcm", "x/b0.dcm"], {}, 2)


@pytest.mark.data
def test_files_of_one_dicom_series_are_one_slide(data, tmp_path):
    for name in ("boxes_0.dcm", "boxes_1.dcm"):
        shutil.copy(data / "slides" / name, tmp_path / name)
    other = pydicom.dcmread(tmp_path / "boxes_1.dcm")
    other.SeriesInstanceUID = "1.2.3"
    other.save_as(tmp_path / "c.dcm")
    names = ["a.svs", "boxes_0.dcm", "boxes_1.dcm", "c.dcm", "text.dcm"]
    assert slides_of(tmp_path, names).sources == ["a.svs", "boxes_0.dcm", "c.dcm", "text.dcm"]
    assert slides_of(tmp_path, ["boxes_1.dcm"]).sources == ["boxes_1.dcm"]
    ours = openslide.OpenSlide(tmp_path / "boxes_0.dcm").properties["openslide.quickhash-1"]
    assert ours == openslide.OpenSlide(tmp_path / "boxes_1.dcm").properties["openslide.quickhash-1"]
