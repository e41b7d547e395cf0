"""From stored bits to grey: windows, tables, signs, unused bits, padding, photometric sense, colour."""

from __future__ import annotations

import re

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs.dicom_display import BAD_PADDING, BAD_WINDOW
from esad.preprocessing.radiographs.dicom_pixels import to_eight_bit
from esad.preprocessing.radiographs.reading import read_radiograph
from tests.preprocessing.radiographs.dicom_files import RAMP, content_of, grey_of, make_dicom, read_back

SIGNED = {"PixelRepresentation": 1}
WHOLE = {"WindowCenter": 2048, "WindowWidth": 4096}


def lut(entries, first=0, depth=16, packed=False):
    """A LUT item; `packed` writes entries of 8 bits each."""
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries), first, depth]
    item.LUTData = np.asarray(entries).astype("u1" if packed else "<u2").tobytes()
    item["LUTData"].VR, item["LUTDescriptor"].VR = "OW", "SS" if first < 0 else "US"
    return item


def test_a_window_maps_its_ends_to_black_and_white():
    grey = read_back(RAMP, WindowCenter=2048, WindowWidth=1024).ravel().astype(int)
    # PS3.3 C.11.2.1.2.1 (LINEAR): 0 up to c - 0.5 - (w - 1) / 2, full above c - 0.5 + (w - 1) / 2
    expected = np.clip((np.arange(4096) - 2047.5) / 1023 + 0.5, 0, 1) * 255
    assert np.abs(grey - expected).max() <= 0.51


def test_exact_and_sigmoid_windows_by_their_formulas():
    x = np.arange(4096)
    exact = read_back(RAMP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT").ravel()
    assert np.abs(exact - np.clip((x - 2000) / 1000 + 0.5, 0, 1) * 255).max() <= 0.51  # C.11.2.1.3.2
    sigmoid = read_back(RAMP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID").ravel()
    assert np.abs(sigmoid - 255 / (1 + np.exp(-4 * (x - 2000) / 1000))).max() <= 0.51  # C.11.2.1.3.1


def test_of_several_windows_the_first_counts():
    several = read_back(RAMP, WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    assert np.array_equal(several, read_back(RAMP, WindowCenter=1000, WindowWidth=500))


def test_rescaling_does_not_change_a_picture_whose_window_is_rescaled_with_it():
    plain = read_back(RAMP, WindowCenter=2048, WindowWidth=1025).astype(int)
    scaled = read_back(
        RAMP, WindowCenter=2048 * 2 - 100, WindowWidth=1024 * 2 + 1, RescaleSlope=2, RescaleIntercept=-100,
        RescaleType="US",
    )  # fmt: skip
    assert np.abs(plain - scaled).max() <= 1


def test_without_a_window_the_values_that_occur_are_the_range():
    grey = read_back(RAMP // 2 + 100, BitsStored=16, HighBit=15)
    assert (grey.min(), grey.max()) == (0, 255)


@pytest.mark.parametrize(("depth", "packed"), [(8, True), (8, False), (10, False), (16, False)])
def test_a_voi_table_of_any_depth_is_applied(depth, packed):
    top = 2**depth - 1
    entries = np.arange(4096)[::-1] * top // 4095
    grey = read_back(RAMP, VOILUTSequence=[lut(entries, depth=depth, packed=packed)]).ravel()
    assert np.array_equal(grey, to_eight_bit(entries, 0, top))


def test_values_beyond_a_table_take_its_first_or_last_entry():
    grey = read_back(RAMP, VOILUTSequence=[lut([10, 20, 30], first=100)]).ravel()
    assert grey[:101].max() == 0
    assert (grey[101], grey[102], grey[4095]) == (128, 255, 255)


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_a_modality_table_comes_before_the_window_and_says_its_range(depth):
    top = 2**depth - 1
    entries = (np.arange(4096) / 4095) ** 2 * top
    given = {"WindowCenter": (top + 1) / 2, "WindowWidth": top + 1}
    grey = read_back(RAMP, ModalityLUTSequence=[lut(entries.astype(int), depth=depth)], **given).ravel()
    assert np.abs(grey - entries / top * 255).max() <= 255 / top + 1


@settings(max_examples=40, deadline=None)
@given(
    bits=st.integers(9, 16), signed=st.booleans(), slope=st.sampled_from([1, 0.5, 2, -1]), shift=st.integers(-300, 300),
    centre=st.integers(-2000, 5000), width=st.integers(2, 6000), function=st.sampled_from(["LINEAR", "SIGMOID"]),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_the_table_gives_what_pydicom_gives_pixel_by_pixel(
    bits, signed, slope, shift, centre, width, function, seed
):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    stored = np.random.default_rng(seed).integers(low, high, (8, 8), dtype=np.int32)
    image = make_dicom(
        stored.astype(np.int16 if signed else np.uint16), BitsStored=bits, HighBit=bits - 1,
        PixelRepresentation=int(signed), RescaleSlope=slope, RescaleIntercept=shift, WindowCenter=centre,
        WindowWidth=width, VOILUTFunction=function,
    )  # fmt: skip
    with np.errstate(over="ignore"):
        windowed = apply_voi_lut(apply_modality_lut(stored, image), image)
    ends = sorted(slope * end + shift for end in (low, high - 1))
    if (
        slope < 0
    ):  # pydicom then maps onto a range from white to black; a window never turns greys round (C.11.2.1.2)
        windowed = sum(ends) - windowed
    picture, expected = read_radiograph(content_of(image), "a").picture(), to_eight_bit(windowed, *ends)
    if BAD_WINDOW in picture.notes:  # nothing is seen in it
        assert len(np.unique(expected)) <= 2 + (slope < 0)
    else:
        assert np.abs(picture.pixels.astype(int) - expected).max() <= (slope < 0)


def test_signed_pixels_keep_their_order():
    stored = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    grey = read_back(stored, **SIGNED, WindowCenter=0, WindowWidth=4096)
    assert np.array_equal(grey, read_back(RAMP, **WHOLE))


def test_bits_that_are_not_stored_do_not_count():
    """Overlays once lived in the unused high bits (PS3.5 8.1.2)."""
    assert np.array_equal(read_back(RAMP | 0xF000, **WHOLE), read_back(RAMP, **WHOLE))
    stored = (RAMP.astype(np.int32) - 2048) & 0x0FFF  # the sign is bit 11, those above are not set
    grey = read_back(stored.astype(np.uint16), **SIGNED, WindowCenter=0, WindowWidth=4096)
    assert np.array_equal(grey, read_back(RAMP, **WHOLE))
    assert np.array_equal(read_back(RAMP << 4 | 7, HighBit=15, **WHOLE), read_back(RAMP, **WHOLE))


def test_big_endian_values_are_the_same():
    image = make_dicom(RAMP, **WHOLE)
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    image.PixelData = RAMP.astype(">u2").tobytes()
    assert np.array_equal(read_radiograph(content_of(image), "a").pixels(), read_back(RAMP, **WHOLE))


@pytest.mark.parametrize("sense", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_counts_in_no_range(sense):
    stored = (RAMP // 4 + 500).astype(np.uint16)
    padded = stored.copy()
    padded[:8] = 4000
    plain = read_back(stored[8:], PhotometricInterpretation=sense)
    grey = read_back(padded, PhotometricInterpretation=sense, PixelPaddingValue=4000)
    assert not grey[:8].any()
    assert np.array_equal(grey[8:], plain)
    padded[4:8] = 3990
    grey = read_back(
        padded, PhotometricInterpretation=sense, PixelPaddingValue=4000, PixelPaddingRangeLimit=3980
    )
    assert not grey[:8].any()
    assert np.array_equal(grey[8:], plain)


def test_padding_outside_the_stored_bits_and_negative_padding_are_found():
    padded = RAMP.copy()
    padded[0] = 63536
    assert not read_back(padded, **WHOLE, PixelPaddingValue=63536)[0].any()
    signed = RAMP.astype(np.int16)
    signed[0] = -2000
    grey = read_back(signed, **SIGNED, BitsStored=16, HighBit=15, PixelPaddingValue=-2000)
    assert not grey[0].any()
    assert (grey[1:].min(), grey[1:].max()) == (0, 255)


@pytest.mark.parametrize(
    ("signed", "vr", "value", "limit"),
    [
        (True, "SS", -32768, None),
        (True, "US", 32768, None),
        (True, "US", 32768, 32800),
        (False, "US", 65535, None),
        (False, "SS", -1, None),
        (False, "SS", -1, -100),
    ],
)
def test_padding_written_with_the_other_sign_than_the_pixels_is_found(signed, vr, value, limit):
    stored = RAMP.astype(np.int16) - 1024 if signed else RAMP.astype(np.uint16)
    whole = {"PixelRepresentation": int(signed), "BitsStored": 16, "HighBit": 15}
    plain = read_back(stored[8:], **whole)
    stored[:8] = -32768 if signed else 65535
    image = make_dicom(stored, **whole)
    image.add_new("PixelPaddingValue", vr, value)
    if limit is not None:
        image.add_new("PixelPaddingRangeLimit", vr, limit)
    read = read_radiograph(content_of(image), "a")
    assert not read.pixels()[:8].any()
    assert np.array_equal(read.pixels()[8:], plain)


def test_padding_of_every_value_cannot_be_used():
    stored = RAMP.astype(np.uint16)
    image = make_dicom(stored, BitsStored=16, HighBit=15)
    image.add_new("PixelPaddingValue", "US", 0)
    image.add_new("PixelPaddingRangeLimit", "SS", -1)
    picture = read_radiograph(content_of(image), "a").picture()
    assert (picture.pixels.max(), picture.notes) == (255, (BAD_PADDING,))


def test_monochrome1_is_turned_round():
    one = read_back(RAMP, **WHOLE).astype(int)
    other = read_back(4095 - RAMP, **WHOLE, PhotometricInterpretation="MONOCHROME1")
    assert np.abs(one - other).max() <= 1


def test_eight_bits_without_a_window_are_taken_as_they_are():
    pixels = RAMP.astype(np.uint8)
    image = make_dicom(RAMP, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=pixels.tobytes())
    assert np.array_equal(read_radiograph(content_of(image), "a").pixels(), pixels)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_capture_of_a_grey_film_is_that_grey(bits):
    grey = RAMP.astype(np.uint8)
    samples = np.repeat(grey[..., None], 3, -1).astype("u1" if bits == 8 else "<u2") * (
        1 if bits == 8 else 257
    )
    image = make_dicom(
        RAMP, SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="RGB", BitsAllocated=bits,
        BitsStored=bits, HighBit=bits - 1, PixelData=samples.tobytes(),
    )  # fmt: skip
    assert np.array_equal(read_radiograph(content_of(image), "a").pixels(), grey)


def test_floating_pixels_are_read_and_infinite_ones_refused():
    def image(values):
        made = make_dicom(RAMP, BitsAllocated=32, FloatPixelData=values.astype("<f4").tobytes())
        del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation
        return read_radiograph(content_of(made), "a.dcm")

    values = RAMP / 4095
    assert np.array_equal(image(values).pixels(), to_eight_bit(values.astype(np.float32), 0, 1))
    with pytest.raises(InputError, match=r"a\.dcm: its pixels cannot be decoded"):
        image(np.where(RAMP == 7, np.inf, values)).pixels()


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        ({"NumberOfFrames": 2}, "2 frames; a radiograph has one"),
        ({"PixelData": b"\0\0"}, "cannot be decoded .Explicit VR Little Endian"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette colours"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels; at most"),
        ({"ModalityLUTSequence": [pydicom.Dataset()]}, "an element that is needed is missing"),
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, "the slope is 0"),
        ({"SamplesPerPixel": 2}, "cannot be decoded"),
    ],
)
def test_dicom_that_is_no_single_grey_picture_is_refused(elements, told):
    with pytest.raises(InputError, match=rf"a\.dcm: .*{told}") as raised:
        read_back(RAMP, **elements)
    assert not re.search(r"Error|Exception", str(raised.value))


@pytest.mark.data
def test_a_real_radiograph_and_its_monochrome1_twin(data, tmp_path):
    rsna = next((data / "dicom").glob("1.2.276*.dcm"))
    stored, picture = pydicom.dcmread(rsna), grey_of(rsna)
    # The file in the data folder holds the SAME stored values under MONOCHROME1: read rightly it is the inverse.
    fake = data / "dicom" / "Fake_MONOHR1.dcm"
    assert np.array_equal(pydicom.dcmread(fake).pixel_array, stored.pixel_array)
    assert np.array_equal(grey_of(fake), 255 - picture)
    # A true twin holds the inverse values, and gives the same picture.
    turned = 255 - stored.pixel_array
    stored.PhotometricInterpretation = "MONOCHROME1"
    stored.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stored.PixelData = turned.tobytes()
    stored["PixelData"].VR = "OB"
    stored.save_as(tmp_path / "twin.dcm")
    assert np.array_equal(grey_of(tmp_path / "twin.dcm"), picture)
