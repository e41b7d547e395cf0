"""The mask's picture: colours where they belong, the slide's own everywhere else."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from esad.pipeline.slides.mask_picture import (
    BLURRED,
    LEGEND_HEIGHT,
    LOST,
    OUTLINE,
    TINTS,
    Overview,
    mask_picture,
    write_pictures,
)
from esad.preprocessing.tissue.mask import Kind

NONE = np.empty((0, 4))


def overview(size=(80, 120), downsample=10.0):
    """Grey glass with a square of tissue at (40, 30) and a stripe of each other kind at the right."""
    thumbnail = np.full((*size, 3), 200, np.uint8)
    kinds = np.zeros(size, np.int8)
    kinds[30:60, 40:70] = Kind.TISSUE
    for place, kind in enumerate((Kind.INK, Kind.BLACK, Kind.GREY)):
        kinds[:, 90 + 5 * place : 95 + 5 * place] = kind
    lost = np.zeros(size, bool)
    lost[70:, :10] = True
    return Overview(thumbnail, kinds, lost, downsample)


def test_tissue_is_outlined_and_other_kinds_are_tinted_in_their_own_colours():
    seen = overview()
    picture = mask_picture(seen, NONE, NONE)
    assert picture.shape == (80 + LEGEND_HEIGHT, 120, 3)
    ring = np.zeros((80, 120), bool)
    ring[30:60, 40:70] = True
    ring[31:59, 41:69] = False
    assert (picture[:80][ring] == OUTLINE).all()
    untouched = np.isin(seen.kinds, [Kind.GLASS, Kind.TISSUE]) & ~ring & ~seen.lost
    assert (picture[:80][untouched] == 200).all()
    for kind, (colour, _) in TINTS.items():
        tinted = picture[:80][seen.kinds == kind].astype(float)
        assert np.abs(tinted - (0.4 * 200 + 0.6 * np.array(colour))).max() <= 1
    assert (picture[75, 5] != 200).any()
    assert (seen.thumbnail == 200).all()


def test_kept_tiles_have_a_border_where_they_can_be_told_apart_and_blurred_ones_are_tinted():
    boxes = np.array([[400, 300, 100, 100], [500, 300, 100, 100]])
    drawn = mask_picture(overview(), boxes[:1], boxes[1:])
    plain = mask_picture(overview(), NONE, NONE)
    changed = (drawn != plain).any(-1)[:80]
    assert changed[35, 50]
    assert changed[40, 45]  # the border of the kept tile, below and in the middle
    assert not changed[35, 45]
    assert changed[31:40, 51:60].all()
    assert not changed[41:, :40].any()
    small = mask_picture(overview(downsample=50.0), boxes[:1], NONE)
    assert np.array_equal(small, plain)


def test_no_square_of_the_legend_is_called_by_another_colours_name():
    """A blue square was once called grey."""
    from PIL import ImageColor

    colours = {}
    for name in ImageColor.colormap:
        red, green, blue, *_ = ImageColor.getrgb(name)
        colours[name] = (red, green, blue)
    for colour, meaning in (*TINTS.values(), LOST, BLURRED, (OUTLINE, "tissue")):
        for word in re.findall("[a-z]+", meaning.lower()):
            named = colours.get(word)
            assert named is None or np.abs(np.subtract(named, colour)).max() < 64, (meaning, colour)


def test_squares_of_the_legend_have_the_colours_of_the_picture_in_its_order():
    legend = mask_picture(overview((80, 900)), NONE, NONE)[80:]
    used = [OUTLINE, *[colour for colour, _ in TINTS.values()], LOST[0]]
    places = [np.flatnonzero((legend == colour).all(-1).any(0)) for colour in used]
    assert all(len(columns) == 10 for columns in places)
    assert [columns[0] for columns in places] == sorted(columns[0] for columns in places)


def test_the_legend_names_only_what_is_there():
    bare = Overview(
        np.full((40, 300, 3), 240, np.uint8), np.zeros((40, 300), np.int8), np.zeros((40, 300), bool), 1
    )
    legend = mask_picture(bare, NONE, NONE)[40:]
    assert (legend == OUTLINE).all(-1).any()
    for colour, _ in TINTS.values():
        assert not (legend == colour).all(-1).any()
        full = mask_picture(overview((80, 400)), NONE, NONE)[80:]
        assert (full == colour).all(-1).any()


def test_both_pictures_are_written_and_named(tmp_path):
    seen = overview()
    columns = write_pictures(tmp_path, 7, seen, NONE, NONE)
    assert columns == {"thumbnail": "thumbnails/00007.png", "mask_picture": "masks/00007.png"}
    with Image.open(tmp_path / columns["thumbnail"]) as picture:
        assert np.array_equal(np.asarray(picture), seen.thumbnail)
    with Image.open(tmp_path / columns["mask_picture"]) as picture:
        assert np.array_equal(np.asarray(picture), mask_picture(seen, NONE, NONE))
