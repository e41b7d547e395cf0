"""Every transfer syntax that pydicom and its plug-ins decode, made from one real radiograph."""

from __future__ import annotations

from copy import deepcopy

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs.reading import read_radiograph
from tests.preprocessing.radiographs.dicom_files import content_of

SIDE = 256


@pytest.fixture(scope="module")
def radiograph(data):
    """A piece of a real radiograph of 10 bits, uncompressed."""
    image = pydicom.dcmread(data / "dicom" / "RG3_UNCR.dcm")
    pixels = image.pixel_array[700 : 700 + SIDE, 700 : 700 + SIDE]
    image.Rows = image.Columns = SIDE
    image.PixelData = pixels.tobytes()
    return image


def native(syntax):
    def encode(image):
        order = "<" if syntax.is_little_endian else ">"
        image.PixelData = image.pixel_array.astype(f"{order}u2").tobytes()
        image["PixelData"].VR = "OW"
        image.file_meta.TransferSyntaxUID = syntax

    return encode


def compressed(syntax, **options):
    """By pydicom's own encoders."""
    return lambda image: image.compress(syntax, generate_instance_uid=False, **options)


def stream(syntax, encode):
    """By imagecodecs, put into DICOM's fragments."""

    def make(image):
        image.PixelData = encapsulate([encode(image.pixel_array)])
        image["PixelData"].VR = "OB"
        image.file_meta.TransferSyntaxUID = syntax

    return make


def jpeg(**options):
    return lambda pixels: imagecodecs.jpeg8_encode(pixels, **options)


def jpeg_2000(**options):
    return lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", bitspersample=10, **options)


SYNTAXES = {
    uid.ImplicitVRLittleEndian: (native(uid.ImplicitVRLittleEndian), 0),
    uid.ExplicitVRLittleEndian: (native(uid.ExplicitVRLittleEndian), 0),
    uid.ExplicitVRBigEndian: (native(uid.ExplicitVRBigEndian), 0),
    uid.DeflatedExplicitVRLittleEndian: (native(uid.DeflatedExplicitVRLittleEndian), 0),
    uid.RLELossless: (compressed(uid.RLELossless), 0),
    uid.JPEGExtended12Bit: (stream(uid.JPEGExtended12Bit, jpeg(level=95, bitspersample=12)), 3),
    uid.JPEGLossless: (stream(uid.JPEGLossless, jpeg(lossless=True, predictor=4, bitspersample=10)), 0),
    uid.JPEGLosslessSV1: (stream(uid.JPEGLosslessSV1, jpeg(lossless=True, predictor=1, bitspersample=10)), 0),
    uid.JPEGLSLossless: (compressed(uid.JPEGLSLossless), 0),
    uid.JPEGLSNearLossless: (compressed(uid.JPEGLSNearLossless, jls_error=2), 1),
    uid.JPEG2000Lossless: (stream(uid.JPEG2000Lossless, jpeg_2000(reversible=True)), 0),
    uid.JPEG2000: (stream(uid.JPEG2000, jpeg_2000(level=70, reversible=False)), 3),
    uid.HTJ2KLossless: (stream(uid.HTJ2KLossless, imagecodecs.htj2k_encode), 0),
    uid.HTJ2KLosslessRPCL: (stream(uid.HTJ2KLosslessRPCL, imagecodecs.htj2k_encode), 0),
    uid.HTJ2K: (stream(uid.HTJ2K, lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=False)), 3),
}
"""Syntax -> (how it is made, the greatest difference in grey levels of 255)."""


def test_no_syntax_that_pydicom_decodes_is_left_out():
    from pydicom.pixels import decoders

    known = {value.UID for name, value in vars(decoders).items() if name.endswith("Decoder")}
    assert known == set(SYNTAXES) | {uid.JPEGBaseline8Bit}


@pytest.mark.data
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_a_real_radiograph_in_every_transfer_syntax(radiograph, syntax):
    encode, most = SYNTAXES[syntax]
    image = deepcopy(radiograph)
    encode(image)
    plain = read_radiograph(content_of(radiograph), "plain.dcm").pixels().astype(int)
    content = content_of(image)
    assert pydicom.uid.UID(syntax).encode() in content[:2000]
    difference = np.abs(read_radiograph(content, "a.dcm").pixels() - plain)
    assert difference.max() <= most
    assert plain.std() > 5  # a real picture, not an even area


@pytest.mark.data
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_a_cut_file_is_refused_in_every_transfer_syntax(radiograph, syntax):
    image = deepcopy(radiograph)
    SYNTAXES[syntax][0](image)
    content = content_of(image)
    with pytest.raises(InputError, match=r"cut\.dcm: .*(cannot be decoded|without pixels|not readable)"):
        read_radiograph(content[: len(content) // 2], "cut.dcm").pixels()


@pytest.mark.data
def test_jpeg_baseline_has_eight_bits(radiograph):
    pixels = (radiograph.pixel_array >> 2).astype(np.uint8)
    eight = deepcopy(radiograph)
    eight.BitsAllocated, eight.BitsStored, eight.HighBit = 8, 8, 7
    eight.WindowCenter, eight.WindowWidth = 128, 256
    eight.PixelData = pixels.tobytes()
    coded = deepcopy(eight)
    coded.PixelData = encapsulate([imagecodecs.jpeg8_encode(pixels, level=95)])
    coded.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    plain, read = (read_radiograph(content_of(image), "a").pixels().astype(int) for image in (eight, coded))
    assert np.abs(plain - read).max() <= 4


@pytest.mark.data
def test_real_lossless_encoding_is_exact_and_lossy_near(data):
    from esad.preprocessing.radiographs.squares import Squaring, small_square
    from tests.preprocessing.radiographs.dicom_files import grey_of

    read = {
        name: grey_of(data / "dicom" / f"RG3_{name}.dcm").astype(int) for name in ("UNCR", "J2KR", "J2KI")
    }
    assert np.array_equal(read["UNCR"], read["J2KR"])
    difference = np.abs(read["UNCR"] - read["J2KI"])
    assert difference.max() <= 4
    assert difference.mean() < 0.3
    small = [
        small_square(read[name].astype(np.uint8), Squaring(), "a").astype(int) for name in ("UNCR", "J2KI")
    ]
    assert np.abs(small[0] - small[1]).max() <= 1
