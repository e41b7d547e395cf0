"""Colours of heat: transparent below the threshold, the same on every slide, the rarest brightest."""

from __future__ import annotations

import numpy as np

from esad.pipeline.annotating.heat_files import colours


def test_colours_begin_at_the_threshold_and_end_above_all_normals():
    rare = np.array([[0.01, 0.005, 0.001, 0.0001, np.nan]])
    painted = colours(-np.log10(rare), (0.01, 0.001))[0]
    assert painted[:, 3].tolist() == [255, 255, 255, 255, 0]
    assert painted[4].tolist() == [255, 255, 255, 0]
    brightness = painted[:4, :3].astype(int).sum(1)
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]
    other = colours(-np.log10([[0.005]]), (0.01, 0.001))[0, 0]
    assert np.array_equal(painted[1], other)  # whatever else is on the slide


def test_too_few_normals_to_tell_suspicious_tiles_apart_give_one_colour():
    painted = colours(np.array([[2.0, 2.0, np.nan]]), (0.01, 0.01))[0]
    assert painted[:, 3].tolist() == [255, 255, 0]
    assert np.array_equal(painted[0], painted[1])
    assert painted[0, 0] > 200  # the last of viridis, yellow
