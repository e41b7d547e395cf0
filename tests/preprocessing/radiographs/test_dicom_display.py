"""Windows, look-up tables and padding that cannot be used count as absent and are noted; a usable one beside them counts."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs.dicom_display import BAD_PADDING, BAD_TABLE, BAD_WINDOW, OTHER_WINDOW
from esad.preprocessing.radiographs.dicom_pixels import BITS_ABOVE
from esad.preprocessing.radiographs.reading import read_radiograph
from tests.preprocessing.radiographs.dicom_files import RAMP, content_of, make_dicom
from tests.preprocessing.radiographs.test_dicom_pixels import lut


def picture(swap=(), **elements):
    """What is read of `make_dicom`, where bytes of the file are swapped for others of their length."""
    content = content_of(make_dicom(RAMP, **elements))
    for old, new in swap:
        assert len(old) == len(new)
        assert content.count(old) == 1
        content = content.replace(old, new)
    return read_radiograph(content, "a.dcm").picture()


PLAIN = picture()
GOOD = {"WindowCenter": 2048, "WindowWidth": 1024}


@pytest.mark.parametrize(
    ("elements", "swap"),
    [
        ({"WindowCenter": 9, "WindowWidth": 0}, ()),
        ({"WindowCenter": 9, "WindowWidth": -5}, ()),
        ({"WindowCenter": 9, "WindowWidth": "0.5"}, ()),  # LINEAR takes 1 at least
        ({"WindowCenter": 9, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, ()),
        ({"WindowCenter": 9, "WindowWidth": -1, "VOILUTFunction": "LINEAR_EXACT"}, ()),
        ({"WindowCenter": 9}, ()),
        ({"WindowWidth": 9}, ()),
        ({"WindowCenter": 9, "WindowWidth": None}, ()),
        ({"WindowCenter": [9, 10], "WindowWidth": [300]}, ()),
        ({"WindowCenter": 2048, "WindowWidth": 77777777}, [(b"77777777", b"ANNA^JOE")]),
        ({"WindowCenter": 66666666, "WindowWidth": 100}, [(b"66666666", b"ANNA^JOE")]),
        ({"WindowCenter": 2048, "WindowWidth": 7777}, [(b"7777", b"nan ")]),
        ({"WindowCenter": 6666, "WindowWidth": 100}, [(b"6666", b"inf ")]),
        ({**GOOD, "VOILUTFunction": "ANNA"}, ()),
        ({"WindowCenter": 90000, "WindowWidth": 10}, ()),  # all black
        ({"WindowCenter": -90000, "WindowWidth": 10}, ()),  # all white
        ({"WindowCenter": 2048, "WindowWidth": 1}, ()),  # a step: black and white
        ({"WindowCenter": 2048, "WindowWidth": "1e9"}, ()),  # one grey
        ({"WindowCenter": [90000, 2048], "WindowWidth": [10, 1]}, ()),
        ({"WindowCenter": 90000, "WindowWidth": 10, "VOILUTFunction": "SIGMOID"}, ()),
    ],
)
def test_a_window_that_cannot_be_used_counts_as_absent_and_is_noted(elements, swap):
    read = picture(swap, **elements)
    assert read.notes == (BAD_WINDOW,)
    assert np.array_equal(read.pixels, PLAIN.pixels)


@pytest.mark.parametrize("empty", [{}, {"WindowCenter": None, "WindowWidth": None}, {"WindowCenter": ""}])
def test_a_window_that_is_not_there_is_no_fault(empty):
    assert picture(**empty).notes == ()


def test_of_several_windows_the_first_usable_counts():
    read = picture(WindowCenter=[9, 2048, 500], WindowWidth=[0, 1024, 20])
    assert np.array_equal(read.pixels, picture(**GOOD).pixels)
    assert read.notes == (OTHER_WINDOW,)
    read = picture(WindowCenter=[90000, 2048], WindowWidth=[10, 1024])
    assert np.array_equal(read.pixels, picture(**GOOD).pixels)
    assert read.notes == (OTHER_WINDOW,)
    assert picture(WindowCenter=[2048, 9], WindowWidth=[1024, 0]).notes == ()


@pytest.mark.parametrize(
    ("values", "centre", "notes"),
    [
        ([7], 2048, ()),
        ([7], 90000, ()),
        ([0, 4095], 2048, ()),
        ([0, 4095], 90000, (BAD_WINDOW,)),
        ([7, 8], 2048, (BAD_WINDOW,)),  # both are black
    ],
)
def test_a_picture_of_few_values_needs_no_more_levels_than_it_has(values, centre, notes):
    pixels = np.resize(np.array(values, dtype=np.uint16), (8, 8))
    image = make_dicom(pixels, WindowCenter=centre, WindowWidth=4096)
    assert read_radiograph(content_of(image), "a.dcm").picture().notes == notes


def test_padding_does_not_make_a_window_show_something():
    pixels = RAMP // 4 + 500
    pixels[0], pixels[1] = 4000, 3900
    image = make_dicom(
        pixels, WindowCenter=3950, WindowWidth=200, PixelPaddingValue=4000, PixelPaddingRangeLimit=3900
    )
    assert read_radiograph(content_of(image), "a.dcm").picture().notes == (BAD_WINDOW,)


def test_a_window_beside_a_table_is_not_used_and_tells_of_no_other():
    table = lut(range(4096))
    several = picture(WindowCenter=[9, 2048], WindowWidth=[0, 1024], VOILUTSequence=[table])
    assert several.notes == ()


@pytest.mark.parametrize(
    ("pixels", "elements", "told"),
    [
        (RAMP, {"BitsStored": 10, "HighBit": 9}, True),
        (RAMP, {}, False),
        (RAMP << 4, {"HighBit": 15}, False),
        (RAMP | 0x1000, {}, True),
        ((RAMP.astype(np.int16) - 2048), {"PixelRepresentation": 1}, False),  # the sign goes on
        (((RAMP.astype(np.int16) - 2048) & 0x0FFF).astype(np.int16), {"PixelRepresentation": 1}, False),
        (RAMP.astype(np.int16), {"PixelRepresentation": 1, "BitsStored": 11, "HighBit": 10}, True),
        (np.where(RAMP < 64, 63536, RAMP).astype(np.uint16), {"PixelPaddingValue": 63536}, False),
    ],
)
def test_bits_above_the_stored_ones_are_noted(pixels, elements, told):
    read = read_radiograph(content_of(make_dicom(pixels, **elements)), "a.dcm").picture()
    assert (BITS_ABOVE in read.notes) is told


def bad_tables():
    short, long, flat, none = lut(range(4096)), lut(range(4096)), lut([7] * 4096), lut(range(4096))
    short.LUTDescriptor, long.LUTDescriptor = [5000, 0, 16], [4000, 0, 16]
    none.LUTData = b""
    two = lut(range(4096))
    two.LUTDescriptor = [4096, 0]
    return [short, long, flat, none, two, pydicom.Dataset()]


@pytest.mark.parametrize("item", bad_tables())
def test_a_table_that_cannot_be_used_counts_as_absent_and_is_noted(item):
    read = picture(VOILUTSequence=[item])
    assert read.notes == (BAD_TABLE,)
    assert np.array_equal(read.pixels, PLAIN.pixels)
    beside = picture(VOILUTSequence=[item], **GOOD)
    assert (beside.notes, np.array_equal(beside.pixels, picture(**GOOD).pixels)) == ((BAD_TABLE,), True)
    turned = lut(np.arange(4096)[::-1], depth=12)
    second = picture(VOILUTSequence=[item, turned])
    assert (second.notes, np.array_equal(second.pixels, picture(VOILUTSequence=[turned]).pixels)) == (
        (BAD_TABLE,),
        True,
    )


def test_a_table_of_an_odd_number_of_bytes_is_usable():
    assert picture(VOILUTSequence=[lut(np.arange(255), depth=8, packed=True)]).notes == ()


def test_padding_that_cannot_be_used_counts_as_absent_and_is_noted():
    image = make_dicom(RAMP)
    image.add_new("PixelPaddingValue", "US", [1, 2])
    read = read_radiograph(content_of(image), "a").picture()
    assert read.notes == (BAD_PADDING,)
    assert np.array_equal(read.pixels, PLAIN.pixels)


def test_a_rescaling_that_is_no_number_refuses_the_file():
    with pytest.raises(InputError, match=r"a\.dcm: .*slope or intercept is no number") as told:
        picture([(b"77777777", b"ANNA^JOE")], RescaleSlope=77777777, RescaleIntercept=0)
    assert "ANNA" not in str(told.value)
