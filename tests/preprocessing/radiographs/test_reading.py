"""Radiographs of any kind: pictures of any mode, what counts as one, in folders and zips."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs.apart import square_apart
from esad.preprocessing.radiographs.reading import is_radiograph, read_radiograph, zip_radiographs
from esad.preprocessing.radiographs.squares import Squaring
from tests.preprocessing.radiographs.dicom_files import RAMP, content_of, grey_of, make_dicom, write_dicom

GREY = RAMP.astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "I;16"])
def test_grey_pictures_of_any_mode_are_the_same(tmp_path, mode):
    picture = (
        Image.fromarray(GREY.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(GREY).convert(mode)
    )
    picture.save(tmp_path / "a.png")
    assert np.array_equal(grey_of(tmp_path / "a.png"), GREY)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_pictures_of_few_levels_are_read(tmp_path, bits):
    levels = GREY >> (8 - bits)
    Image.fromarray(levels * (255 // (2**bits - 1))).quantize(2**bits).save(tmp_path / "a.png", bits=bits)
    assert len(np.unique(grey_of(tmp_path / "a.png"))) == 2**bits


def test_a_transparent_grey_counts_as_that_grey(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png", transparency=7)
    assert np.array_equal(grey_of(tmp_path / "a.png"), GREY)


def test_sixteen_bit_png_takes_the_full_range(tmp_path):
    wide = np.array([[0, 257, 65535], [32768, 128, 129]], dtype=np.uint16)
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert grey_of(tmp_path / "a.png").tolist() == [[0, 1, 255], [128, 0, 1]]


def test_the_content_decides_what_a_file_is(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    picture, image = (tmp_path / "a.png").read_bytes(), content_of(make_dicom(RAMP))
    assert np.array_equal(read_radiograph(picture, "scan.dcm").pixels(), GREY)
    assert read_radiograph(image, "scan.png").pixels().shape == RAMP.shape
    with pytest.raises(InputError, match=r"a\.png: not a readable picture .no known format"):
        read_radiograph(b"text", "a.png").pixels()
    with pytest.raises(InputError, match=r"a\.dcm: not readable as DICOM .no mark"):
        read_radiograph(b"text", "a.dcm")


@pytest.mark.parametrize("last", [False, True], ids=["before the pixels", "after them"])
def test_a_picture_that_says_how_it_lies_is_turned(tmp_path, last):
    wide, exif = np.vstack([GREY, GREY // 2]), Image.Exif()
    exif[0x0112] = 6  # a viewer turns it by 90 degrees to the right
    Image.fromarray(wide).save(tmp_path / "a.png", exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    if last:
        start = content.index(b"eXIf") - 4
        chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4])]
        content = content.replace(chunk, b"")
        end = content.index(b"IEND") - 4
        content = content[:end] + chunk + content[end:]
    assert np.array_equal(read_radiograph(content, "a.png").pixels(), np.rot90(wide, -1))


def test_a_file_is_read_by_its_path_as_by_its_content(tmp_path):
    path, how = tmp_path / "ä.png", Squaring(size=4, crop=0.5)
    Image.fromarray(GREY).save(path)
    by_path, by_content = square_apart(path, "a", how), square_apart(path.read_bytes(), "a", how)
    assert np.array_equal(by_path[0], by_content[0])
    assert by_path[1:] == by_content[1:]
    path.unlink()
    with pytest.raises(InputError, match=r"a: cannot be read \(No such file"):
        square_apart(path, "a", how)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.95])
def test_a_cut_picture_is_refused(tmp_path, share):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    content = (tmp_path / "a.png").read_bytes()
    with pytest.raises(InputError, match=r"a\.png"):
        read_radiograph(content[: int(len(content) * share)], "a.png").pixels()


def test_a_picture_whose_sum_is_wrong_is_refused(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(InputError, match=r"a\.png: not a readable picture"):
        read_radiograph(bytes(content), "a.png").pixels()


def test_dicom_is_known_by_its_mark(tmp_path):
    for name in ("1.2.840.7", "IMG0001", "DICOMDIR"):
        write_dicom(tmp_path / name, RAMP)
    (tmp_path / "notes.txt").write_text("x" * 200)
    (tmp_path / "short").write_text("x")
    assert {path.name for path in tmp_path.iterdir() if is_radiograph(path)} == {"1.2.840.7", "IMG0001"}


def test_a_zip_holds_what_a_folder_would(tmp_path):
    picture = io.BytesIO()
    Image.fromarray(GREY).save(picture, "png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("disc/1.2.840.7", "disc/DICOMDIR"):
            archive.writestr(name, content_of(make_dicom(RAMP)))
        archive.writestr("b.png", picture.getvalue())
        archive.writestr("notes.txt", "x" * 200)
    assert zip_radiographs(tmp_path / "a.zip") == ["b.png", "disc/1.2.840.7"]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("notes.txt", "x" * 200)
    with pytest.raises(InputError, match=r"b\.zip: holds no radiographs"):
        zip_radiographs(tmp_path / "b.zip")
