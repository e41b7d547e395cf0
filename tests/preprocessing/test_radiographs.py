"""Radiographs: windows, photometric sense, views."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from preprocessing.errors import InputError
from preprocessing.radiograph_squares import Squaring, small_square
from preprocessing.radiographs import dicom_view, is_radiograph, read_radiograph

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def write_dicom(path, pixels, **elements):
    """A grey 12-bit DICOM file; `elements` replace or add, None removes."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = pixels.astype("<u2").tobytes()
    for name, value in elements.items():
        setattr(image, name, value)
    image.save_as(path)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA"])
def test_grey_pictures_of_any_mode_are_the_same(tmp_path, mode):
    pixels = RAMP.astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png")
    assert np.array_equal(read_radiograph(tmp_path / "a.png").pixels, pixels)


def test_sixteen_bit_png_takes_the_full_range(tmp_path):
    wide = np.array([[0, 257, 65535], [32768, 128, 129]], dtype=np.uint16)
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert read_radiograph(tmp_path / "a.png").pixels.tolist() == [[0, 1, 255], [128, 0, 1]]


def test_a_window_maps_its_ends_to_black_and_white(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2048, WindowWidth=1024)
    grey = read_radiograph(path).pixels.ravel().astype(int)
    # PS3.3 C.11.2.1.2.1 (LINEAR): 0 up to c - 0.5 - (w - 1) / 2, full above c - 0.5 + (w - 1) / 2
    x = np.arange(4096)
    expected = np.clip((x - 2047.5) / 1023 + 0.5, 0, 1) * 255
    assert np.abs(grey - expected).max() <= 0.51


def test_rescaling_does_not_change_a_picture_whose_window_is_rescaled_with_it(tmp_path):
    plain = write_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2048, WindowWidth=1025)
    scaled = write_dicom(
        tmp_path / "b.dcm", RAMP, WindowCenter=2048 * 2 - 100, WindowWidth=1024 * 2 + 1,
        RescaleSlope=2, RescaleIntercept=-100, RescaleType="US",
    )  # fmt: skip
    difference = read_radiograph(plain).pixels.astype(int) - read_radiograph(scaled).pixels
    assert np.abs(difference).max() <= 1


def test_without_a_window_the_values_that_occur_are_the_range(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP // 2 + 100, BitsStored=16, HighBit=15, WindowCenter=None)
    grey = read_radiograph(path).pixels
    assert (grey.min(), grey.max()) == (0, 255)


def test_a_voi_table_is_applied(tmp_path):
    table = pydicom.Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (4095 - np.arange(4096)).astype("<u2").tobytes()
    table["LUTData"].VR = "OW"
    table["LUTDescriptor"].VR = "US"
    path = write_dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=[table])
    plain = read_radiograph(write_dicom(tmp_path / "b.dcm", RAMP)).pixels
    assert np.abs(255 - plain.astype(int) - read_radiograph(path).pixels).max() <= 1


def test_monochrome1_is_turned_round(tmp_path):
    one = write_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2048, WindowWidth=4096)
    other = write_dicom(
        tmp_path / "b.dcm",
        4095 - RAMP,
        WindowCenter=2048,
        WindowWidth=4096,
        PhotometricInterpretation="MONOCHROME1",
    )
    assert np.abs(read_radiograph(one).pixels.astype(int) - read_radiograph(other).pixels).max() <= 1


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "PA"}, "PA"),
        ({"ViewPosition": "AP "}, "AP"),
        ({"ViewPosition": "AP SUPINE"}, "AP"),
        ({"ViewPosition": "LL"}, "lateral"),
        ({"ViewPosition": "PA", "SeriesDescription": "Chest AP"}, "PA"),
        ({"ViewPosition": "", "SeriesDescription": "Chest_AP"}, "AP"),
        ({"ProtocolName": "CHEST, PA"}, "PA"),
        ({"SeriesDescription": "PA and LAT"}, None),
        ({"SeriesDescription": "PAEDIATRIC CHEST"}, None),
        ({}, None),
    ],
)
def test_the_view_is_stated_or_one_word(elements, view):
    dataset = pydicom.Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    assert dicom_view(dataset) == view


def test_dicom_is_known_by_its_mark(tmp_path):
    for name in ("1.2.840.7", "IMG0001", "DICOMDIR"):
        write_dicom(tmp_path / name, RAMP)
    (tmp_path / "notes.txt").write_text("x" * 200)
    (tmp_path / "short").write_text("x")
    assert {path.name for path in tmp_path.iterdir() if is_radiograph(path)} == {"1.2.840.7", "IMG0001"}


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        ({"NumberOfFrames": 2}, "2 frames; a radiograph has one"),
        ({"PixelData": b"\0\0"}, "cannot be decoded .Explicit VR Little Endian"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette colours"),
    ],
)
def test_dicom_that_is_no_single_grey_picture_is_refused(tmp_path, elements, told):
    path = write_dicom(tmp_path / "a.dcm", RAMP, **elements)
    with pytest.raises(InputError, match=rf"a\.dcm: .*{told}"):
        read_radiograph(path)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.95])
def test_a_cut_file_of_either_kind_is_refused(tmp_path, share):
    write_dicom(tmp_path / "a.dcm", RAMP)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    for name in ("a.dcm", "a.png"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(InputError, match=name):
            read_radiograph(path)


@pytest.mark.data
def test_real_lossless_encoding_is_exact_and_lossy_near(data):
    read = {
        name: read_radiograph(data / "dicom" / f"RG3_{name}.dcm").pixels.astype(int)
        for name in ("UNCR", "J2KR", "J2KI")
    }
    assert np.array_equal(read["UNCR"], read["J2KR"])
    difference = np.abs(read["UNCR"] - read["J2KI"])
    assert difference.max() <= 4
    assert difference.mean() < 0.3
    small = [
        small_square(pixels.astype(np.uint8), Squaring(), "a").astype(int)
        for pixels in (read["UNCR"], read["J2KI"])
    ]
    assert np.abs(small[0] - small[1]).max() <= 1


@pytest.mark.data
def test_a_real_radiograph_and_its_monochrome1_twin(data, tmp_path):
    rsna = next((data / "dicom").glob("1.2.276*.dcm"))
    stored = pydicom.dcmread(rsna)
    picture = read_radiograph(rsna)
    assert picture.view == "PA"
    # The file in the data folder holds the SAME stored values under MONOCHROME1: read rightly it is the inverse.
    fake = data / "dicom" / "Fake_MONOHR1.dcm"
    assert np.array_equal(pydicom.dcmread(fake).pixel_array, stored.pixel_array)
    assert np.array_equal(read_radiograph(fake).pixels, 255 - picture.pixels)
    # A true twin holds the inverse values, and gives the same picture.
    turned = 255 - stored.pixel_array
    stored.PhotometricInterpretation = "MONOCHROME1"
    stored.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stored.PixelData = turned.tobytes()
    stored["PixelData"].VR = "OB"
    stored.save_as(tmp_path / "twin.dcm")
    assert np.array_equal(read_radiograph(tmp_path / "twin.dcm").pixels, picture.pixels)
