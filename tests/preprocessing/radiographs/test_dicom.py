"""What a DICOM file says of itself, by a table of real files; damage; nothing crashes on any file that pydicom ships."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, DigitalXRayImageStorageForProcessing

from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs import dicom
from esad.preprocessing.radiographs.reading import read_radiograph
from tests.preprocessing.radiographs.dicom_files import RAMP, content_of, make_dicom, write_dicom

SHIPPED = Path(pydicom.__file__).parent / "data"
FACTS = {
    # file: (why it is unfit, mm per pixel, its shape or what is said, lowest, highest and mean grey)
    "CT_small.dcm": ("modality CT is no radiograph", 0.661468, (128, 128), 0, 255, 96.0),
    "MR_small.dcm": ("modality MR is no radiograph", 0.3125, (64, 64), 52, 255, 113.1),
    "MR_small_RLE.dcm": ("modality MR is no radiograph", 0.3125, (64, 64), 52, 255, 113.1),
    "MR_small_bigendian.dcm": ("modality MR is no radiograph", 0.3125, (64, 64), 52, 255, 113.1),
    "MR_small_implicit.dcm": ("modality MR is no radiograph", 0.3125, (64, 64), 52, 255, 113.1),
    "MR_small_jpeg_ls_lossless.dcm": ("modality MR is no radiograph", 0.3125, (64, 64), 52, 255, 113.1),
    "MR_small_jp2klossless.dcm": ("modality MR is no radiograph", 0.3125, (64, 64), 52, 255, 113.1),
    "MR_small_padded.dcm": ("modality MR is no radiograph", 0.3125, (64, 64), 52, 255, 113.1),
    "MR_truncated.dcm": ("modality MR is no radiograph", 0.3125, "cannot be decoded"),
    "JPEG2000.dcm": ("modality NM is no radiograph", 2.26, (1024, 256), 0, 255, 40.4),
    "JPGExtended.dcm": ("modality NM is no radiograph", 2.26, (1024, 256), 0, 255, 13.9),
    "JPEG-lossy.dcm": ("modality NM is no radiograph", 2.26, (1024, 256), 0, 255, 13.9),
    "J2K_pixelrep_mismatch.dcm": ("modality CT is no radiograph", 0.431, (512, 512), 0, 255, 63.2),
    "image_dfl.dcm": (None, None, (512, 512), 0, 255, 127.1),
    "SC_rgb_jpeg_gdcm.dcm": (None, 1.0, (100, 100), 0, 255, 127.7),
    "SC_rgb_rle_16bit.dcm": (None, 1.0, (100, 100), 0, 255, 127.7),
    "SC_rgb_rle_32bit.dcm": (None, 1.0, (100, 100), 0, 255, 127.7),
    "SC_rgb_small_odd_big_endian.dcm": (None, 33.333333, (3, 3), 90, 158, 128.7),
    "SC_ybr_full_422_uncompressed.dcm": (None, 1.0, (100, 100), 0, 255, 127.7),
    "SC_rgb_rle_2frame.dcm": (None, 1.0, "2 frames; a radiograph has one"),
    "examples_palette.dcm": ("modality US is no radiograph", None, "palette colours"),
    "liver_1frame.dcm": ("modality SEG is no radiograph", None, (512, 512), 0, 255, 35.2),
    "rtplan.dcm": ("modality RTPLAN is no radiograph", None, "without pixels"),
    "test-SR.dcm": ("modality SR is no radiograph", None, "without pixels"),
    "meta_missing_tsyntax.dcm": (None, None, "unknown transfer syntax"),
}


def shipped_files():
    files = [
        path for path in sorted(SHIPPED.rglob("*")) if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert len(files) > 150
    return files


@pytest.mark.parametrize("name", FACTS)
def test_files_that_pydicom_ships_say_and_show_what_the_table_has(name):
    unfit, spacing, shape, *grey = FACTS[name]
    image = read_radiograph((SHIPPED / "test_files" / name).read_bytes(), name)
    assert (image.unfit, image.spacing) == (unfit, pytest.approx(spacing))
    if isinstance(shape, str):
        with pytest.raises(InputError) as raised:
            image.pixels()
        assert shape in str(raised.value)
        assert str(raised.value).startswith(f"{name}: ")
        return
    pixels = image.pixels()
    assert (pixels.shape, pixels.dtype) == (shape, np.uint8)
    assert (pixels.min(), pixels.max(), round(pixels.mean(), 1)) == tuple(grey)


def test_every_file_that_pydicom_ships_is_read_or_refused_with_a_reason(caplog):
    read, refused = [], []
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")  # pydicom's quote values, and must not come out
        for path in shipped_files():
            try:
                read.append(read_radiograph(path.read_bytes(), path.name).pixels())
            except InputError as error:
                refused.append(str(error).partition(f"{path.name}: ")[2])
    assert not caplog.records
    assert all((pixels.ndim, pixels.dtype) == (2, np.uint8) for pixels in read)
    assert all(len(reason) > 20 for reason in refused)
    assert min(len(read), len(refused)) > 70


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "view", "spacing", "orientation", "shape", "mean"),
    [
        (
            "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm",
            "PA",
            0.168,
            None,
            (1024, 1024),
            160.4,
        ),
        ("Fake_MONOHR1.dcm", "PA", 0.168, None, (1024, 1024), 94.6),
        ("RG3_UNCR.dcm", "AP", None, r"R\F", (1760, 1760), 177.5),
        ("RG3_J2KR.dcm", "AP", None, r"R\F", (1760, 1760), 177.5),
        ("RG3_J2KI.dcm", "AP", None, r"R\F", (1760, 1760), 177.5),
    ],
)
def test_real_radiographs_say_and_show_what_the_table_has(
    data, name, view, spacing, orientation, shape, mean
):
    image = read_radiograph((data / "dicom" / name).read_bytes(), name)
    stated = (image.view, image.spacing, image.orientation, image.burned_in, image.unfit)
    assert stated == (view, spacing, orientation, False, None)
    pixels = image.pixels()
    assert pixels.shape == shape
    assert pixels.mean() == pytest.approx(mean, abs=0.1)


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.25, 0.25]}, 0.2),
        ({"ImagerPixelSpacing": [0.25, 0.25]}, 0.25),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, 0.1),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.25, 0.25]}, 0.25),
        ({"PixelAspectRatio": [1, 1]}, None),
        ({}, None),
    ],
)
def test_the_calibrated_spacing_comes_before_the_detectors(elements, spacing):
    assert read_radiograph(content_of(make_dicom(RAMP, **elements)), "a").spacing == spacing


@pytest.mark.parametrize("elements", [{"PixelSpacing": [0.1, 0.2]}, {"PixelAspectRatio": [1, 2]}])
def test_pixels_that_are_not_square_are_refused(elements):
    with pytest.raises(InputError, match="a: its pixels are not square"):
        read_radiograph(content_of(make_dicom(RAMP, **elements)), "a")


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        ({"Modality": "CR"}, None),
        ({"Modality": "DX", "PresentationIntentType": "FOR PRESENTATION"}, None),
        ({"Modality": "DX", "PresentationIntentType": "FOR PROCESSING"}, "raw detector values"),
        ({"SOPClassUID": DigitalXRayImageStorageForProcessing}, "raw detector values"),
        ({"Modality": "MG"}, "modality MG is no radiograph"),
        ({"Modality": "ANNAMARIA"}, None),  # no defined term: the file does not say, and its words go nowhere
    ],
)
def test_what_is_no_radiograph_for_viewing_says_so(elements, told):
    unfit = read_radiograph(content_of(make_dicom(RAMP, **elements)), "a").unfit
    assert (unfit is None) if told is None else (told in unfit)


def test_orientation_and_burnt_in_text_are_passed_on_and_nothing_else_of_them():
    image = make_dicom(RAMP, PatientOrientation=["L", "FP"], BurnedInAnnotation="YES")
    read = read_radiograph(content_of(image), "a")
    assert (read.orientation, read.burned_in) == (r"L\FP", True)
    for words in (["ANNA", "F"], ["L"], ["L", "F", "A"], ""):
        image.PatientOrientation = words
        assert read_radiograph(content_of(image), "a").orientation is None


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.95])
def test_a_cut_file_is_refused(tmp_path, share):
    content = write_dicom(tmp_path / "a.dcm", RAMP).read_bytes()
    with pytest.raises(InputError, match=r"a\.dcm: "):
        read_radiograph(content[: int(len(content) * share)], "a.dcm").pixels()


def test_a_deflated_bomb_ends_at_the_limit(monkeypatch):
    image = make_dicom(RAMP)
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = content_of(image)
    assert np.array_equal(
        read_radiograph(content, "a").pixels(), read_radiograph(content_of(make_dicom(RAMP)), "a").pixels()
    )
    monkeypatch.setattr(dicom, "MOST_BYTES", 5000)
    with pytest.raises(InputError, match="a: inflates to more than"):
        read_radiograph(content, "a")
