"""Radiographs as archives hold them, which the standard describes otherwise or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from esad.preprocessing import pictures
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
