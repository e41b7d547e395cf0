"""Slides from tiles: aggregations by hand, labels, candidates that touch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esad.pipeline.scoring.slides.slide_scores import AGGREGATIONS, aggregate, candidates, slide_scores


def tiles(source, places, scores, percentile=1.0, **columns):
    table = pd.DataFrame(
        {"source": source, "x": [128 * x for x, _ in places], "y": [128 * y for _, y in places]}
    )
    table = table.assign(width=128, height=128, score=scores, percentile=percentile)
    table["p_value"] = 1 - table["percentile"]
    table["threshold"] = np.where(table["percentile"] >= 0.99, -np.inf, np.inf)
    return table.assign(label=pd.array(columns.pop("label", [None] * len(table)), dtype="Int8"), **columns)


def test_aggregations_by_hand():
    found = aggregate(np.arange(1.0, 102))
    assert found == {"max": 101, "top_mean": 96.5, "p99": 100}
    assert aggregate(np.array([2.0])) == {"max": 2, "top_mean": 2, "p99": 2}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_aggregations_lie_within_the_scores_and_max_is_the_highest(values):
    found = aggregate(np.array(values))
    slack = 1e-9 * max(1, *map(abs, values))
    assert all(min(values) - slack <= found[name] <= found["max"] + slack for name in AGGREGATIONS)


def test_labels_of_slides():
    places = [(0, 0), (1, 0)]
    table = pd.concat(
        [
            tiles("a", places, [1, 2], label=[0, None], tumour_fraction=[0.0, 0.2]),
            tiles("b", places, [1, 2], label=[0, 0], tumour_fraction=0.0),
            tiles("c", places, [1, 2], label=[0, None], tumour_fraction=np.nan),
            tiles("d", places, [1, 2], label=[None, 1], tumour_fraction=np.nan),
        ]
    )
    found = slide_scores(table)
    assert found["source"].tolist() == list("abcd")
    assert found["label"].tolist() == [1, 0, pd.NA, 1]
    assert (found["tiles"] == 2).all()
    assert (found["suspicious"] == 1).all()


def test_tiles_that_touch_are_one_candidate():
    places = [(0, 0), (1, 1), (3, 0), (3, 1), (9, 9)]
    table = tiles("a", places, [1.0, 5.0, 2.0, 7.0, 9.0], percentile=[1, 1, 1, 1, 0.5])
    found = candidates(table)
    assert found["tiles"].tolist() == [2, 2]  # the last tile is no suspicious one
    assert found["score"].tolist() == [7, 5]
    assert found.loc[0, ["x", "y"]].tolist() == [3 * 128 + 64, 128 + 64]
    assert found.loc[1, ["left", "top", "right", "bottom"]].tolist() == [0, 0, 256, 256]


def test_no_suspicious_tile_gives_no_candidate():
    found = candidates(tiles("a", [(0, 0)], [1.0], percentile=0.3))
    assert found.empty
    assert list(found.columns)[:3] == ["source", "x", "y"]


@pytest.mark.parametrize("step", [0.5, 1.0])
def test_overlapping_and_adjacent_tiles_connect_along_a_line(step):
    table = tiles("a", [(step * n, 0) for n in range(20)], np.arange(20.0))
    assert candidates(table)["tiles"].tolist() == [20]


def test_what_lies_beyond_the_slide_is_no_part_of_a_candidate():
    table = tiles("a", [(0, 0), (1, 0)], [1.0, 2.0])
    side = int(table["width"].iloc[0])
    slides = pd.DataFrame({"source": ["a"], "width": [side + side // 4], "height": [side // 2]})
    (found,) = candidates(table, slides).to_dict("records")
    assert (found["right"], found["bottom"]) == (side + side // 4, side // 2)
    assert (found["x"], found["y"]) == (side + side // 8, side // 4)
    unknown = slides.assign(width=float("nan"))
    assert candidates(table, unknown).equals(candidates(table))
