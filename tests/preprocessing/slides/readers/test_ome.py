"""Pixel sizes, planes and channels of OME-XML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esad.preprocessing.slides.readers.ome import is_ome, read_ome
from esad.preprocessing.slides.readers.stated_scale import mpp_in_words, um_per

HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'


def xml(pixels="", inside="", image="", before=""):
    return (
        f'{HEAD}{before}<Image ID="Image:0">{image}<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="40" SizeY="30" '
        f'SizeC="3" SizeZ="1" SizeT="1" {pixels}>{inside}</Pixels></Image></OME>'
    )


@pytest.mark.parametrize(
    ("unit", "per_um"),
    [
        (None, 1), ("µm", 1), ("μm", 1), ("um", 1), ("nm", 1e3), ("mm", 1e-3), ("cm", 1e-4), ("m", 1e-6), ("Å", 1e4),
        ("\u212b", 1e4), ("A\u030a", 1e4), ("in", 1 / 25_400), ("inch", 1 / 25_400), ("thou", 1 / 25.4), ("pm", 1e6),
        ("micron", 1), ("Âµm", 1),
    ],
)  # fmt: skip
def test_any_unit_of_length_gives_the_same_microns(unit, per_um):
    stated = f'PhysicalSizeX="{0.5 * per_um:.17g}" PhysicalSizeY="{0.25 * per_um:.17g}"'
    units = "" if unit is None else f' PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"'
    (image,) = read_ome(xml(stated + units))
    assert image.mpp == (pytest.approx(0.5), pytest.approx(0.25))
    assert image.told is None


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "Mm", "furlong"])
def test_what_is_no_length_states_nothing_and_is_told(unit):
    (image,) = read_ome(xml(f'PhysicalSizeX="0.5" PhysicalSizeXUnit="{unit}"'))
    assert image.mpp == (None, None)
    assert "pixel size" in image.told


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "half", "", "0,5", "264.58"])
def test_a_size_that_no_slide_has_states_nothing(size):
    (image,) = read_ome(xml(f'PhysicalSizeX="{size}" PhysicalSizeY="0.5"'))
    assert image.mpp == (None, 0.5)


def test_units_of_x_and_y_are_apart():
    (image,) = read_ome(
        xml('PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="0.0005" PhysicalSizeYUnit="mm"')
    )
    assert image.mpp == (pytest.approx(0.5), pytest.approx(0.5))


def test_the_magnification_of_the_objective_of_the_image():
    lenses = "".join(
        f'<Objective ID="O:{n}" NominalMagnification="{power}"/>' for n, power in enumerate((4, 20))
    )
    objectives = f'<Instrument ID="I">{lenses}</Instrument>'
    (image,) = read_ome(xml(image='<ObjectiveSettings ID="O:1"/>', before=objectives))
    assert image.magnification == 20
    assert read_ome(xml(before=objectives))[0].magnification is None


def test_planes_follow_one_another_or_lie_where_tiffdata_says():
    assert read_ome(xml())[0].planes == (0, 1, 2)
    assert read_ome(xml(inside='<Channel SamplesPerPixel="3"/><TiffData/>'))[0].planes == (0,)
    assert read_ome(xml(inside='<Channel SamplesPerPixel="3"/><TiffData IFD="4"/>'))[0].planes == (4,)
    apart = "".join(f'<TiffData FirstC="{c}" IFD="{7 - c}" PlaneCount="1"/>' for c in range(3))
    assert read_ome(xml(inside=apart))[0].planes == (7, 6, 5)
    assert read_ome(xml(inside='<TiffData IFD="2" PlaneCount="3"/>'))[0].planes == (2, 3, 4)
    other = (
        '<Channel SamplesPerPixel="3"/><TiffData IFD="0"><UUID FileName="b.tif">urn:uuid:2</UUID></TiffData>'
    )
    assert read_ome(xml(inside=other))[0].planes == (None,)


def test_channels_that_fluoresce_or_have_other_names():
    def image(*channels):
        return read_ome(xml(inside="".join(f"<Channel {words}/>" for words in channels)))[0]

    assert image('EmissionWavelength="460"', "", "").fluorescent
    assert image('Fluor="DAPI"', "", "").fluorescent
    assert not image("", "", "").fluorescent
    assert image("", "", "").rgb_order == (0, 1, 2)
    assert image('Name="C0"', 'Name="Channel 1"', 'Name="2"').rgb_order == (0, 1, 2)
    assert image('Name="Blue"', 'Name="Green"', 'Name="Red"').rgb_order == (2, 1, 0)
    assert image('Name="DAPI"', 'Name="FITC"', 'Name="Cy3"').rgb_order is None


@given(st.binary(max_size=40), st.integers(0, 400))
def test_damaged_xml_is_none_or_images_and_never_an_error(damage, place):
    whole = xml('PhysicalSizeX="0.5"', "<Channel/><TiffData/>")
    broken = whole[:place] + damage.decode("latin-1") + whole[place + len(damage) :]
    assert read_ome(broken) is None or isinstance(read_ome(broken), list)
    assert isinstance(is_ome(broken), bool)


def test_entities_are_not_expanded():
    bomb = '<!DOCTYPE OME [<!ENTITY a "aaaa">]>' + xml().removeprefix(
        '<?xml version="1.0" encoding="UTF-8"?>'
    )
    assert read_ome(bomb) is None


@pytest.mark.parametrize(
    ("description", "resolution", "mpp"),
    [
        ("Aperio Image Library\r\n4000x3000|AppMag = 20|MPP = 0.4990|Left = 1", None, 0.499),
        ("x|MPP=0.25", None, 0.25),
        ("x|MPP = 0", None, None),
        ("x|MPP = 1e99", None, None),
        ("ImageJ=1.53\nimages=1\nunit=um\n", 2.0, 0.5),
        ("ImageJ=1.53\nunit=\\u00B5m\n", 4.0, 0.25),
        ("ImageJ=1.53\nunit=inch\n", 72.0, None),
        ("ImageJ=1.53\nunit=pixel\n", 2.0, None),
        ("nothing", 2.0, None),
    ],
)
def test_what_other_writers_say_of_the_scale(description, resolution, mpp):
    assert mpp_in_words(description, resolution) == mpp


def test_a_megametre_is_no_millimetre():
    assert um_per("Mm") is None
    assert um_per("MM") == um_per("mm") == 1000
