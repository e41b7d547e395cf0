"""A TIFF gets the same answer in tiles, which OpenSlide reads, and in strips, which tifffile does."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.reading import Slide, UnknownScale
from tests.preprocessing.slides.readers.test_opening import noise, write_ome

LAYOUTS = [(64, 64), None]
SCALE = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


def write(path, picture, tile, **options):
    tifffile.imwrite(path, picture, tile=tile, **{"photometric": "rgb", "metadata": None, **options})
    return path


@pytest.mark.parametrize("tile", LAYOUTS)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_that_is_turned_or_mirrored_is_refused(tmp_path, tile, orientation):
    """TIFF 6.0, Orientation: outlines are in the coordinates of the picture as it is seen."""
    tags = [(274, "H", 1, orientation, True)]
    with pytest.raises(InputError, match=rf"a\.tif.*turned or mirrored \(Orientation {orientation}\)"):
        Slide(write(tmp_path / "a.tif", noise(128, 128), tile, extratags=tags, **SCALE))
    tags = [(274, "H", 1, 1, True)]
    assert Slide(write(tmp_path / "a.tif", noise(128, 128), tile, extratags=tags, **SCALE)).mpp == 0.5


GREY = noise(128, 128)[..., 0]
COLOURS = {
    "grey": (GREY, {"photometric": "minisblack"}, "one sample a pixel, grey"),
    "white": (GREY, {"photometric": "miniswhite"}, "one sample a pixel, grey .white is 0"),
    "palette": (
        GREY, {"photometric": "palette", "colormap": np.stack([np.arange(256, dtype="u2") * 257] * 3)}, "a palette of colours",
    ),
    "cmyk": (np.dstack([noise(128, 128), GREY]), {"photometric": "separated"}, "CMYK"),
    "signed": (noise(128, 128).view("i1"), {}, "samples are signed numbers"),
    "float": (noise(128, 128).astype("f4"), {}, "samples are floating-point numbers"),
    "lab": (noise(128, 128), {"photometric": "cielab"}, "CIE L"),
}  # fmt: skip


@pytest.mark.parametrize("tile", LAYOUTS)
@pytest.mark.parametrize("name", COLOURS)
def test_what_has_no_red_green_and_blue_is_refused_whatever_the_layout(tmp_path, tile, name):
    picture, options, told = COLOURS[name]
    with pytest.raises(InputError, match=rf"a\.tif.*{told}.*save the slide as"):
        Slide(write(tmp_path / "a.tif", picture, tile, **options, **SCALE))


@pytest.mark.parametrize("tile", LAYOUTS)
@pytest.mark.parametrize(
    ("options", "mpp"),
    [
        ({"description": "ImageJ=1.53t\nunit=um\n", "resolution": (2, 2), "resolutionunit": "NONE"}, 0.5),
        (
            {"description": "ImageJ=1.53t\nunit=micron\n", "resolution": (4, 4), "resolutionunit": "NONE"},
            0.25,
        ),
        ({"description": "x|MPP = 0.5"}, 0.5),
        ({"description": "x|MPP = 0.5", "metadata": {}}, 0.5),  # tifffile writes a second description
        ({"description": "ImageJ=1.53t\nunit=pixel\n", "resolution": (2, 2), "resolutionunit": "NONE"}, None),
    ],
)
def test_descriptions_state_the_scale_whatever_the_layout(tmp_path, tile, options, mpp):
    path = write(tmp_path / "a.tif", noise(128, 128), tile, **options)
    if mpp is None:
        with pytest.raises(UnknownScale):
            Slide(path)
    else:
        assert Slide(path).mpp == pytest.approx(mpp)


@pytest.mark.parametrize("tile", LAYOUTS)
def test_ome_xml_of_another_size_than_its_picture_states_no_scale(tmp_path, tile):
    """A picture that was reduced or cut, with the words of the whole: its pixels are of another size."""
    path = write_ome(tmp_path / "a.ome.tif", [noise(128, 192)], tile=tile)
    words = tifffile.tiffcomment(path)
    tifffile.tiffcomment(
        path, words.replace('SizeX="192"', 'SizeX="384"').replace('SizeY="128"', 'SizeY="256"').encode()
    )
    with pytest.raises(
        UnknownScale, match=r"a\.ome\.tif.*OME-XML is of 384 x 256 pixels, the picture 192 x 128.*--slide-mpp"
    ):
        Slide(path)
    slide = Slide(path, 0.9)
    assert (slide.mpp, slide.width) == (0.9, 192)
    assert any("OME-XML is of 384 x 256 pixels" in note for note in slide.notes)
