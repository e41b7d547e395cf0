"""Radiographs as archives hold them, which the standard describes otherwise or not at all."""

from __future__ import annotations

import io
import zipfile

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from esad.preprocessing import pictures
from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs import dicom
from esad.preprocessing.radiographs.dicom_display import HALF_RESCALE
from esad.preprocessing.radiographs.reading import is_radiograph, read_radiograph, zip_radiographs
from tests.preprocessing.radiographs.dicom_files import RAMP, content_of, make_dicom


@pytest.mark.parametrize(("bits", "noted"), [(12, True), (13, True), (14, True), (15, True), (16, False)])
def test_a_sixteen_bit_png_of_fewer_bits_is_noted(tmp_path, bits, noted):
    scaled = (RAMP / 4095 * (2**bits - 1)).astype(np.uint16)
    Image.fromarray(scaled).save(tmp_path / "a.png")
    picture = read_radiograph((tmp_path / "a.png").read_bytes(), "a.png").picture()
    assert picture.notes == ((pictures.DIM,) if noted else ())


def read(pixels=RAMP, **elements):
    return read_radiograph(content_of(make_dicom(pixels, **elements)), "a.dcm").picture()


@pytest.mark.parametrize(
    ("stated", "whole"),
    [
        ({"RescaleSlope": 2}, {"RescaleSlope": 2, "RescaleIntercept": 0}),
        ({"RescaleSlope": 2, "RescaleIntercept": ""}, {"RescaleSlope": 2, "RescaleIntercept": 0}),
        ({"RescaleIntercept": 1000}, {"RescaleSlope": 1, "RescaleIntercept": 1000}),
    ],
)
def test_a_slope_without_an_intercept_counts_and_is_noted(stated, whole):
    window = {"WindowCenter": 4095, "WindowWidth": 8190}
    half, both = read(**stated, **window), read(**whole, **window)
    assert np.array_equal(half.pixels, both.pixels)
    assert (half.notes, both.notes, read(**window).notes) == ((HALF_RESCALE,), (), ())


def compressed(syntax, stream, **elements):
    """What is read of RAMP's elements with the compressed `stream`."""
    image = make_dicom(RAMP, WindowCenter=2048, WindowWidth=4096, **elements)
    image.PixelData = encapsulate([stream])
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = syntax
    return read_radiograph(content_of(image), "a.dcm").picture()


def jpeg_2000(pixels, bits):
    return imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="j2k", bitspersample=bits)


def lossless(pixels, bits):
    return imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits)


STREAMS = {
    uid.JPEG2000Lossless: jpeg_2000,
    uid.JPEGLosslessSV1: lossless,
    uid.JPEGLSLossless: lambda pixels, _: imagecodecs.jpegls_encode(pixels),
}


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.keyword)
def test_compressed_samples_at_the_top_of_sixteen_bits_are_brought_down(syntax):
    plain = read(WindowCenter=2048, WindowWidth=4096)
    shifted = compressed(syntax, STREAMS[syntax](RAMP << 4, 16), HighBit=15)
    assert np.array_equal(shifted.pixels, plain.pixels)
    assert shifted.notes == ()


def test_signed_compressed_samples_at_the_top_keep_their_sign():
    signed = ((RAMP.astype(np.int32) - 2048) << 4).astype(np.int16)
    shifted = compressed(
        uid.JPEG2000Lossless, jpeg_2000(signed, 16), HighBit=15, PixelRepresentation=1, RescaleSlope=1,
        RescaleIntercept=2048,
    )  # fmt: skip
    assert np.array_equal(shifted.pixels, read(WindowCenter=2048, WindowWidth=4096).pixels)


def test_compressed_samples_that_the_encoder_brought_down_stay():
    down = compressed(uid.JPEG2000Lossless, jpeg_2000(RAMP, 12), HighBit=15)
    assert np.array_equal(down.pixels, read(WindowCenter=2048, WindowWidth=4096).pixels)


@pytest.mark.parametrize(("pixels", "bits"), [(RAMP, 16), (RAMP << 2, 14)])
def test_compressed_samples_whose_place_cannot_be_told_are_refused(pixels, bits):
    with pytest.raises(InputError, match=r"a\.dcm: .*BitsStored 12 and HighBit 15 do not fit"):
        compressed(uid.JPEG2000Lossless, jpeg_2000(pixels, bits), HighBit=15)


def bare(syntax, meta, **elements):
    """A file without preamble and mark; without file meta, too, if not `meta`."""
    image = make_dicom(RAMP, PatientID="7", ViewPosition="PA", **elements)
    image.file_meta.TransferSyntaxUID = syntax
    whole = content_of(image)[132:]
    if meta:
        return whole
    buffer = io.BytesIO()
    plain = pydicom.Dataset(image)
    pydicom.dcmwrite(
        buffer, plain, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=False
    )
    return buffer.getvalue()


@pytest.mark.parametrize("meta", [True, False], ids=["file meta", "data set alone"])
@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian], ids=lambda syntax: syntax.keyword
)
def test_dicom_without_its_preamble_is_read(syntax, meta):
    content = bare(syntax, meta)
    assert content[:2] == (b"\x02\0" if meta else b"\x08\0")
    image = read_radiograph(content, "a.dcm")
    assert (image.view, image.patient, image.unfit) == ("PA", "7", None)
    assert np.array_equal(image.pixels(), read().pixels)


def test_dicom_without_its_preamble_is_known_by_its_ending_alone(tmp_path):
    for name in ("1.2.840", "a.dcm"):
        (tmp_path / name).write_bytes(bare(uid.ImplicitVRLittleEndian, meta=True))
    assert [path.name for path in sorted(tmp_path.iterdir()) if is_radiograph(path)] == ["a.dcm"]


@pytest.mark.parametrize("lacking", ["SOPClassUID", "Rows", "Columns", "PixelData"])
@pytest.mark.parametrize("meta", [True, False])
def test_what_lacks_the_mark_and_what_a_radiograph_needs_is_refused(lacking, meta):
    image = make_dicom(RAMP)
    delattr(image, lacking)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, image, enforce_file_format=False)
    content = buffer.getvalue()[132:]
    content = (
        content
        if meta
        else content[content.index(b"\x08\0\x16\0" if lacking != "SOPClassUID" else b"\x08\0\x18\0") :]
    )
    with pytest.raises(InputError, match=r"a\.dcm: not readable as DICOM .no mark DICM at byte 128"):
        read_radiograph(content, "a.dcm")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\0",
        b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
        b"\x08\0\x05\0\xff\xff\xff\x7fISO_IR 100",
        b"\x02\0\x00\0" + b"\0" * 4000,
        b"\x08\0\x60\0CS\x02\0DX" * 300,
        b"\0\x08\0\x16UI\0\x02" * 300,
        b"PK\x03\x04" * 300,
    ],
)
def test_bytes_that_only_begin_like_a_data_set_are_refused(content):
    with pytest.raises(InputError, match=r"a\.dcm: not readable as DICOM"):
        read_radiograph(content, "a.dcm")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("meta", [True, False])
def test_a_cut_file_without_a_preamble_is_refused(share, meta):
    content = bare(uid.ExplicitVRLittleEndian, meta)
    with pytest.raises(InputError, match=r"a\.dcm: "):
        read_radiograph(content[: int(len(content) * share)], "a.dcm").pixels()


def test_the_limits_hold_without_a_preamble(monkeypatch):
    content = bare(uid.ImplicitVRLittleEndian, meta=False, Rows=60000, Columns=60000)
    with pytest.raises(InputError, match="60000 x 60000 pixels; at most"):
        read_radiograph(content, "a.dcm").pixels()
    deflated = bare(uid.DeflatedExplicitVRLittleEndian, meta=True)
    assert np.array_equal(read_radiograph(deflated, "a.dcm").pixels(), read().pixels)
    monkeypatch.setattr(dicom, "MOST_BYTES", 5000)
    with pytest.raises(InputError, match=r"a\.dcm: inflates to more than"):
        read_radiograph(deflated, "a.dcm")


def test_compressed_pixels_without_file_meta_are_refused_in_words():
    image = make_dicom(RAMP)
    image.PixelData = encapsulate([jpeg_2000(RAMP, 12)])
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    content = content_of(image)
    whole = read_radiograph(content[132:], "a.dcm")
    assert np.array_equal(whole.pixels(), read().pixels)
    with pytest.raises(InputError, match=r"a\.dcm: compressed pixels, and no file meta"):
        read_radiograph(content[content.index(b"\x08\0\x16\0") :], "a.dcm")


@pytest.mark.parametrize(
    ("ending", "bits"),
    [("tif", 8), ("tif", 16), ("tiff", 16), ("jp2", 8), ("jp2", 16), ("bmp", 8), ("webp", 8)],
)
def test_pictures_of_other_endings_are_read_in_folders_and_zips_alike(tmp_path, ending, bits):
    grey = (RAMP >> 4).astype(np.uint8)
    path = tmp_path / f"a.{ending.upper()}"
    options = {"lossless": True} if ending == "webp" else {"irreversible": False} if ending == "jp2" else {}
    Image.fromarray(grey if bits == 8 else grey.astype(np.uint16) * 257).save(path, **options)
    assert is_radiograph(path)
    picture = read_radiograph(path.read_bytes(), path.name).picture()
    assert np.array_equal(picture.pixels, grey)
    assert set(picture.notes) <= {pictures.TO_GREY}  # WebP has no grey of its own
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, path.name)
    assert zip_radiographs(tmp_path / "a.zip") == [path.name]
    whole = path.read_bytes()
    with pytest.raises(InputError, match=rf"{path.name}: not a readable picture"):
        read_radiograph(whole[: len(whole) // 2], path.name).pixels()


def test_a_jpeg_2000_of_twelve_bits_takes_its_own_range(tmp_path):
    content = imagecodecs.jpeg2k_encode(RAMP, level=0, reversible=True, codecformat="jp2", bitspersample=12)
    assert np.abs(read_radiograph(content, "a.jp2").pixels().astype(int) - RAMP / 4095 * 255).max() <= 1


def test_a_tiff_keeps_its_sense_and_one_of_several_pages_is_refused():
    grey = (RAMP >> 4).astype(np.uint8)
    for photometric in ("minisblack", "miniswhite"):
        file = io.BytesIO()
        tifffile.imwrite(file, grey if photometric == "minisblack" else 255 - grey, photometric=photometric)
        assert np.array_equal(read_radiograph(file.getvalue(), "a.tif").pixels(), grey)
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([grey, grey]), photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.tif: 2 pages; expected one picture"):
        read_radiograph(file.getvalue(), "a.tif").pixels()


def test_dicom_that_a_tiff_viewer_reads_too_is_dicom():
    """PS3.10 7.1: the preamble may make the file one of another format, such as TIFF."""
    content = content_of(make_dicom(RAMP, ViewPosition="PA"))
    assert read_radiograph(b"II*\0" + content[4:], "a.tif").view == "PA"
