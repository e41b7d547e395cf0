"""A medium's own list: what is there, what is not, and no path out of its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs.dicomdir import listed_images
from tests.preprocessing.radiographs.dicom_files import RAMP, write_dicom

DISC = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR-implicit", "DICOMDIR-bigEnd", "DICOMDIR-reordered"])
def test_a_real_medium_lists_its_images(name):
    here, missing = listed_images(DISC / name)
    assert len(here) == 31
    assert "77654033/CR1/6154" in here
    assert missing == []


def test_missing_images_are_told_and_other_letters_found(tmp_path):
    shutil.copytree(DISC, tmp_path / "disc")
    (tmp_path / "disc" / "77654033" / "CR1" / "6154").unlink()
    (tmp_path / "disc" / "98892003" / "MR1").rename(tmp_path / "disc" / "98892003" / "mr1")
    here, missing = listed_images(tmp_path / "disc" / "DICOMDIR")
    assert missing == ["77654033/CR1/6154"]
    assert len(here) == 30
    assert "98892003/mr1/4919" in here


def test_no_path_leaves_the_folder(tmp_path):
    write_dicom(tmp_path / "secret", RAMP)
    (tmp_path / "disc").mkdir()
    record = pydicom.Dataset()
    record.DirectoryRecordType = "IMAGE"
    records = []
    for parts in (["..", "secret"], ["/", str(tmp_path)[1:], "secret"], ["A\\B"], []):
        one = pydicom.Dataset()
        one.DirectoryRecordType, one.ReferencedFileID = "IMAGE", parts
        records.append(one)
    directory = pydicom.dcmread(DISC / "DICOMDIR")
    directory.DirectoryRecordSequence = records
    directory.save_as(tmp_path / "disc" / "DICOMDIR")
    here, missing = listed_images(tmp_path / "disc" / "DICOMDIR")
    assert here == []
    assert all(".." not in name and not name.startswith("/") for name in missing)


def test_what_is_no_dicomdir_is_refused(tmp_path):
    (tmp_path / "DICOMDIR").write_text("no DICOM")
    with pytest.raises(InputError, match="DICOMDIR: not a readable DICOMDIR"):
        listed_images(tmp_path / "DICOMDIR")
    write_dicom(tmp_path / "DICOMDIR", RAMP)
    with pytest.raises(InputError, match="DICOMDIR: not a readable DICOMDIR"):
        listed_images(tmp_path / "DICOMDIR")
