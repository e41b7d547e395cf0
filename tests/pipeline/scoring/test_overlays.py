"""One colour scale for all, and heat that lies where it belongs."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from PIL import Image

from esad.pipeline.scoring.overlays import (
    FIRST_COLOUR,
    FOOT,
    GAP,
    HEADROOM,
    Heat,
    StripWriter,
    heat_colours,
    heat_share,
    heat_strip,
    hot_point,
    rarity,
    slide_heat_map,
    smooth,
    strip_foot,
    with_headroom,
    write_strip,
)
from tests import ROOT

BLACK, ZERO = np.zeros((32, 32, 1), np.uint8), np.zeros((32, 32, 1))


def test_equal_errors_have_equal_colours_in_two_images():
    weak, strong = np.full((32, 32), 0.1), np.full((32, 32), 0.1)
    strong[24:, 24:] = 0.9
    panels = [heat_strip(BLACK, ZERO, [Heat(error, (0.0, 0.5))]) for error in (weak, strong)]
    assert (panels[0][0, -256] == panels[1][0, -256]).all()
    assert (panels[0][-1, -1] != panels[1][-1, -1]).any()


def test_values_beyond_the_scale_are_clipped_not_stretched():
    colours = heat_colours(np.array([[-5.0, 0.0, 0.5, 1.0, 50.0]]), (0.0, 1.0))[0]
    assert (colours[0] == colours[1]).all()
    assert (colours[3] == colours[4]).all()
    assert len({tuple(colour) for colour in colours}) == 3


@pytest.mark.parametrize(("side", "channels", "panel"), [(28, 1, 252), (64, 3, 256), (400, 3, 400)])
def test_a_strip_is_enlarged_panels(side, channels, panel, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (side, side, channels), dtype=np.uint8)
    heats = [Heat(np.zeros((side, side)), (0.0, 1.0)), Heat(np.ones((side, side)), (0.0, 1.0))]
    strip = heat_strip(image, image / 255, heats)
    assert strip.shape == (panel, 4 * panel + 3 * GAP, 3)
    assert (strip[:, :panel] == strip[:, panel + GAP : 2 * panel + GAP]).all()
    write_strip(tmp_path / "a.png", image, image / 255, heats)
    written = np.asarray(Image.open(tmp_path / "a.png"))
    assert (written[:panel] == strip).all()
    assert written.shape == (panel + FOOT, *strip.shape[1:])


def test_the_foot_names_the_panels_and_shows_the_colours_that_the_heat_has():
    """Of a black picture whose heat runs from the threshold to the last colour, and of a white one."""
    foot = strip_foot(256, ("input", "contribution (permutations)"), 1)
    assert foot.shape == (FOOT, 2 * 256 + GAP, 3)
    assert (foot[:16, :256] < 128).any()  # a title
    assert (foot[19:, :256] == 255).all()  # no colours under what is no heat
    share = np.linspace(FIRST_COLOUR, 1, 256)
    ordinary = 0.01 + (share - FIRST_COLOUR) / (0.6 - FIRST_COLOUR)
    values = np.where(share <= 0.6, ordinary, 0.01 + HEADROOM ** ((share - 0.6) / 0.4))[None].repeat(256, 0)
    for level, line in ((0, 20), (255, 27)):
        image = np.full((256, 256, 1), level, np.uint8)
        panel = heat_strip(image, None, [Heat(values, (0.009, 1.01))])[0, 256 + GAP :]
        assert np.abs(panel.astype(int) - foot[line, 256 + GAP :]).max() <= 2


def test_the_hot_point_is_the_blob_and_not_the_single_brightest_pixel():
    error = np.zeros((40, 50))
    error[5, 5] = 3.0
    error[20:27, 30:37] = 1.0
    assert hot_point(smooth(error)) == (33.0, 23.0)
    assert hot_point(error) == (5.0, 5.0)


def test_maps_are_smoothed_each_by_itself():
    maps = np.random.default_rng(0).random((3, 20, 30))
    assert np.array_equal(smooth(maps), np.stack([smooth(one) for one in maps]))
    assert smooth(np.ones((2, 9, 9))) == pytest.approx(1.0)


def test_tiles_are_painted_where_they_lie_and_the_highest_wins():
    thumbnail = np.full((100, 120, 3), 200, np.uint8)
    boxes = np.array([[0, 0, 400, 400], [200, 200, 400, 400]], float)
    boxes = np.vstack([boxes, [[700, 0, 200, 200]]])
    picture = slide_heat_map(thumbnail, boxes, np.array([0.1, 0.01, np.nan]), 10.0, (0.1, 0.01))
    low, high = (
        np.round(0.45 * 200 + 0.55 * heat_colours(np.array([[v]]), (0, 1))[0, 0]) for v in (FIRST_COLOUR, 1)
    )
    assert (picture[5, 75] == 200).all()  # below the threshold
    assert (picture[10, 10] == low).all()
    assert (picture[30, 30] == high).all()
    assert (picture[80, 80] == 200).all()
    assert picture.shape[0] == 100
    assert picture.shape[1] > 120


def test_panels_are_linear_to_what_normals_reach_then_by_decades():
    values = np.array([-1.0, 0.0, 0.25, 0.5, 0.5 * np.sqrt(30), 15.0, 99.0])
    found = with_headroom(values, (0.0, 0.5))
    assert found[1:6] == pytest.approx([0, 0.3, 0.6, 0.8, 1.0])
    assert found[0] < 0
    assert found[6] > 1  # both ends are clipped by the colours
    assert (np.diff(found) > 0).all()


def test_the_colours_are_those_that_the_report_names():
    """From purple to bright yellow; orange-red is what one in a thousand pixels of normal items reaches."""
    template = (ROOT / "pipeline" / "reporting" / "templates" / "pictures.html.j2").read_text()
    assert (
        "purple to bright yellow: purple begins at what one in a hundred pixels of normal items reaches, orange-red"
        in template
    )
    shares = heat_share(np.array([[1.0, 1.0001, 2.0, 1 + HEADROOM]]), (1.0, 2.0))
    assert np.isnan(shares[0, 0])
    purple, middle, yellow = heat_colours(shares[:, 1:], (0, 1))[0].astype(int)
    hue = [colorsys.rgb_to_hsv(*(colour / 255)) for colour in (purple, middle, yellow)]
    assert 270 < 360 * hue[0][0] < 310
    assert 5 < 360 * hue[1][0] < 25
    assert 45 < 360 * hue[2][0] < 70
    assert hue[2][2] > 0.95


def test_heat_begins_at_its_scale_and_what_normals_reach_is_not_painted():
    values = np.array([[-1.0, 0.0, 1.0, 1.5, 2.0, 1 + np.sqrt(HEADROOM), 1 + HEADROOM, 500.0]])
    share = heat_share(values, (1.0, 2.0))[0]
    assert np.isnan(share[:3]).all()
    assert share[3:] == pytest.approx([(FIRST_COLOUR + 0.6) / 2, 0.6, 0.8, 1, 1])
    image = np.full((1, 8, 1), 100, np.uint8)
    panel = heat_strip(image, None, [Heat(values, (1.0, 2.0))])[0, 256 + GAP :: 32]
    assert (panel[:3] == 100).all()
    assert (panel[3:] != 100).any(1).all()


def test_with_too_few_normals_for_the_level_all_alarms_have_the_last_colour():
    thumbnail = np.full((40, 40, 3), 200, np.uint8)
    picture = slide_heat_map(thumbnail, np.array([[0, 0, 100, 100.0]]), np.array([0.25]), 10.0, (0.25, 0.25))
    last = np.round(0.45 * 200 + 0.55 * heat_colours(np.array([[1.0]]), (0, 1))[0, 0])
    assert (picture[5, 5] == last).all()
    assert rarity(np.array([1.0, 0.1, 0.01])) == pytest.approx([0, 1, 2])


def test_outlines_are_drawn_in_level_0_pixels():
    thumbnail = np.full((100, 100, 3), 200, np.uint8)
    square = np.array([[200, 200], [600, 200], [600, 600], [200, 600]], float)
    picture = slide_heat_map(thumbnail, np.empty((0, 4)), np.empty(0), 10.0, (0.01, 0.01), [square])
    assert (picture[40, 20] != 200).any()
    assert (picture[40, 40] == 200).all()


def test_strips_written_by_threads_are_those_written_one_by_one(tmp_path):
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 255, (100, 16, 16, 3), dtype=np.uint8)
    maps = numbers.random((100, 16, 16))
    with StripWriter() as strips:
        for place, image in enumerate(images):
            strips.write(
                tmp_path / "threads" / f"{place}.png", image, image / 255, [Heat(maps[place], (0, 1))]
            )
    for place, image in enumerate(images):
        write_strip(tmp_path / "one.png", image, image / 255, [Heat(maps[place], (0, 1))])
        assert (tmp_path / "one.png").read_bytes() == (tmp_path / "threads" / f"{place}.png").read_bytes()


def test_a_strip_that_cannot_be_written_is_an_error_for_the_user(tmp_path):
    (tmp_path / "folder").write_text("in the way")
    image = np.zeros((16, 16, 3), np.uint8)

    def draw(count: int) -> None:
        with StripWriter() as strips:
            for place in range(count):
                strips.write(tmp_path / "folder" / f"{place}.png", image, None, [])

    for count in (1, 500):  # found as the block ends, or by a later strip
        with pytest.raises(OSError, match="folder"):
            draw(count)


def test_what_stops_the_work_is_raised_and_not_what_the_threads_say(tmp_path):
    (tmp_path / "folder").write_text("in the way")

    def stopped() -> None:
        with StripWriter() as strips:
            strips.write(tmp_path / "folder" / "a.png", np.zeros((16, 16, 3), np.uint8), None, [])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
