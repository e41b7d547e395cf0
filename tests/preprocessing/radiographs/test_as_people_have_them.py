"""Radiographs as archives hold them, which the standard describes otherwise or not at all."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from esad.preprocessing import pictures
from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs.dicom_display import HALF_RESCALE
from esad.preprocessing.radiographs.reading import read_radiograph
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
