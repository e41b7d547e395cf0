"""Pen marks by their optical density alone: which colours are ink, and how far a mark is followed."""

from __future__ import annotations

import numpy as np
import pytest

from esad.preprocessing.tissue.ink import find_ink
from tests.preprocessing.tissue.drawn_thumbnails import INKS, SIZE, pen_marks, piece, stained

WHERE = piece()
EVERYWHERE = np.ones(SIZE, bool)
INK_COLOURS = {**INKS, "orange": (0.05, 0.7, 1.5), "teal": (1.2, 0.4, 0.5), "pale green": (0.5, 0.2, 0.35)}


@pytest.mark.parametrize("name", INK_COLOURS)
def test_a_mark_on_glass_is_ink(name):
    strokes = pen_marks()
    density = (strokes[..., None] * np.array(INK_COLOURS[name])).astype(np.float32)
    assert np.array_equal(find_ink(density, strokes), strokes)


@pytest.mark.parametrize("haematoxylin", [0, 0.5, 1.5])
@pytest.mark.parametrize("eosin", [0, 0.5, 1.5])
def test_no_mixture_of_the_two_stains_is_ink(haematoxylin, eosin):
    density = stained(WHERE, 0, haematoxylin, eosin).astype(np.float32)
    assert not find_ink(density, WHERE).any()


def test_the_blue_grey_of_haematoxylin_alone_is_not_blue_ink():
    density = np.broadcast_to(np.float32([0.53, 0.48, 0.37]), (*SIZE, 3))  # a real slide of kidney
    assert not find_ink(density, EVERYWHERE).any()


def test_specks_of_a_colour_are_no_mark():
    density = np.zeros((*SIZE, 3), np.float32)
    density[100:104, 100:104] = INKS["blue"]  # 16 pixels
    assert not find_ink(density, density.any(-1)).any()


def test_a_mark_is_followed_over_tissue_and_no_further():
    strokes = pen_marks()
    density = (stained(WHERE) + strokes[..., None] * np.array(INKS["blue"])).astype(np.float32)
    found = find_ink(density, density.any(-1))
    assert (found & strokes).sum() > 0.98 * strokes.sum()
    assert (found & ~strokes).sum() < 0.02 * strokes.sum()
    assert not find_ink(density * WHERE[..., None], WHERE & ~strokes).any()
