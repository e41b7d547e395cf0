"""Colours of heat: transparent below the threshold, the same on every slide, the rarest brightest."""

from __future__ import annotations

import numpy as np

from esad.pipeline.annotating.heat_files import colours


def test_colours_begin_at_the_threshold_and_end_at_one_in_a_thousand():
    rare = np.array([[0.01, 0.005, 0.001, 0.0001, np.nan]])
    painted = colours(-np.log10(rare), 0.01)[0]
    assert painted[:, 3].tolist() == [255, 255, 255, 255, 0]
    assert painted[4].tolist() == [255, 255, 255, 0]
    brightness = painted[:4, :3].astype(int).sum(1)
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]
    assert np.array_equal(
        painted[1], colours(-np.log10([[0.005]]), 0.01)[0, 0]
    )  # whatever else is on the slide


def test_a_threshold_rarer_than_the_end_still_has_colours():
    painted = colours(np.array([[4.0, 6.0, np.nan]]), 0.00001)[0]
    assert painted[:, 3].tolist() == [255, 255, 0]
