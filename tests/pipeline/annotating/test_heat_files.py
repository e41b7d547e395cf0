"""Colours of heat: transparent below the threshold, the same on every slide, the rarest brightest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from esad.pipeline.annotating.heat_files import colours
from esad.pipeline.annotating.scored_slides import scored_slides
from esad.pipeline.scoring.open_scores import open_scores
from esad.pipeline.thresholds.conformal import colour_ends
from tests.pipeline.annotating.scored import NORMALS, tiles_of, write_scores_folder


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


@pytest.mark.parametrize("per_group", [False, True])
def test_colours_have_the_ends_of_slide_maps(tmp_path, per_group):
    """With thresholds by site, or by group, the sets count, not all reference normals."""
    folder = write_scores_folder(tmp_path / "scores", {"a.svs": ((640, 640), tiles_of("a.svs", (640, 640)))})
    path = folder / "scores.json"
    marker = json.loads(path.read_text())
    sizes = [50] if per_group else [200, 3]
    sets = [
        {"name": f"s{n}", "normals": n, "threshold": 1.0, "level": 0.1, "rate_bounds": [0.0, 0.2]}
        for n in sizes
    ]
    rule = {
        "level": 0.01,
        "by": None if per_group else "site",
        "per_group": per_group,
        "held_out": True,
        "sets": sets,
    }

    def ends(least=None):
        return scored_slides(open_scores(folder, whole=True), (), least, None, False).ends

    assert ends() == colour_ends(0.01, NORMALS)  # an earlier version's scores
    path.write_text(json.dumps({**marker, "thresholds": rule}))
    assert ends() == colour_ends(0.01, *sizes)
    assert ends(0.95) == (pytest.approx(0.05), 1 / (NORMALS + 1))
