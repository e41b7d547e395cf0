"""Heat maps of slides: every tile's score at its place, and back to level-0 pixels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from esad.pipeline.scoring.slides.slide_maps import slide_map, write_slide_maps
from esad.pipeline.thresholds.conformal import colour_ends, p_values, rate_bounds, threshold
from esad.preprocessing.slides.tiling import tile_grid


@given(
    width=st.integers(300, 6000), height=st.integers(300, 6000), downsample=st.floats(1, 9), tile=st.integers(16, 96),
    overlap=st.floats(0.25, 1.5), seed=st.integers(0, 2**31),
)  # fmt: skip
@settings(deadline=None, max_examples=80)
def test_every_score_stands_at_its_tiles_place(width, height, downsample, tile, overlap, seed):
    """On grids of any step, overlapping and with gaps, of which only some tiles are kept."""
    step = max(1, round(tile * overlap))
    corners = tile_grid(width, height, downsample, tile, step)
    numbers = np.random.default_rng(seed)
    corners = corners[numbers.random(len(corners)) < 0.6]
    assume(0 < len(corners) < 20_000 and step * downsample >= 2)
    scores = numbers.normal(size=len(corners)).astype(np.float32)
    found = slide_map(corners, scores, step * downsample, tile * downsample)
    boxes, values = found.boxes()
    order = np.lexsort(corners.T)
    assert found.values.dtype == np.float32
    assert np.array_equal(values, scores[order])  # a cell each, row by row
    assert np.abs(boxes[:, :2] - corners[order]).max() < 1 + 1e-6
    assert (boxes[:, 2:] == tile * downsample).all()


@given(seed=st.integers(0, 2**31), count=st.integers(1, 40))
def test_off_the_grid_a_score_is_within_half_a_step_and_the_highest_wins(seed, count):
    numbers = np.random.default_rng(seed)
    corners, scores = numbers.integers(0, 3000, (count, 2)), numbers.normal(size=count).astype(np.float32)
    found = slide_map(corners, scores, 100.0, 100.0)
    cells = np.rint((corners - [found.x, found.y]) / 100).astype(int)
    for column, row in np.unique(cells, axis=0):
        within = (cells == [column, row]).all(1)
        assert found.values[row, column] == scores[within].max()
        places = np.array([found.x + 100 * column, found.y + 100 * row])
        assert np.abs(corners[within] - places).max() <= 50
    assert np.isfinite(found.values).sum() == len(np.unique(cells, axis=0))


def fake_store(root, thumbnail="thumbnails/0.png", **settings):
    (root / "thumbnails").mkdir(parents=True)
    Image.new("RGB", (128, 64), "white").save(root / "thumbnails" / "0.png")
    Image.new("RGB", (128, 64), "white").save(root.parent / "outside.png")
    sources = pd.DataFrame(
        {"source": ["a/s.svs"], "state": "done", "mpp": 1.0, "slide_mpp": 0.3, "thumbnail": thumbnail}
    )
    sources = sources.assign(width=1280, height=640)
    return SimpleNamespace(
        kind="tiles", root=root, sources=sources, settings={"tile_size": 30, "step": None, **settings}
    )


def tiles_of(corners, scores):
    table = pd.DataFrame(np.asarray(corners), columns=["x", "y"]).assign(
        source="a/s.svs", width=100, height=100
    )
    return table.assign(score=scores, p_value=np.linspace(0.5, 0.01, len(table)), threshold=2.0)


ENDS = colour_ends(0.01, 99)


def test_arrays_and_pictures_of_a_store(tmp_path):
    store = fake_store(tmp_path / "store")
    table = tiles_of([[100, 200], [400, 300], [200, 200]], [1.5, -2.0, 7.0])
    places = write_slide_maps(store, table, tmp_path / "slides", ENDS)
    (place,) = places.to_dict("records")
    assert (place["map"], place["map_x"], place["map_y"], place["whole"]) == ("a__s", 100, 200, True)
    assert (place["map_step"], place["map_tile"]) == pytest.approx((100, 100))
    assert (place["width"], place["height"], place["slide_mpp"]) == (1280, 640, 0.3)
    array = np.load(tmp_path / "slides" / "a__s.npy", allow_pickle=False)
    nan = np.nan
    np.testing.assert_array_equal(array, np.float32([[1.5, 7, nan, nan], [nan, nan, nan, -2]]))
    picture = np.asarray(Image.open(tmp_path / "slides" / "a__s.png"))[:, :128]
    tinted = (picture != 255).any(2)
    expected = np.zeros((64, 128), bool)
    expected[20:30, 20:30] = True  # the others lie below the threshold
    assert np.array_equal(tinted, expected)


def test_slides_of_normals_stay_dark(tmp_path):
    """Painted is at most the promised share of normal tiles, whatever their scores are like."""
    numbers = np.random.default_rng(0)
    reference, new = numbers.gamma(2, size=499), numbers.gamma(2, size=800)
    store = fake_store(tmp_path / "store")
    rows, columns = np.divmod(np.arange(64 * 128 // 100), 12)
    painted, boxes = [], np.column_stack([100 * columns, 100 * rows])[:72]
    for start in range(0, 720, 72):
        scores = new[start : start + 72]
        table = tiles_of(boxes, scores).assign(
            p_value=p_values(scores, reference), threshold=threshold(reference, 0.05)
        )
        write_slide_maps(store, table, tmp_path / "slides", colour_ends(0.05, 499))
        picture = np.asarray(Image.open(tmp_path / "slides" / "a__s.png"))[:60, :120]
        painted.append((picture != 255).any(2).mean())
    assert np.mean(painted) == pytest.approx((new[:720] > threshold(reference, 0.05)).mean())
    assert np.mean(painted) < rate_bounds(499, 0.05)[1] + 0.02


def test_listed_tiles_are_not_whole_slides(tmp_path):
    store = fake_store(tmp_path / "store", tile_list="1a")
    assert not write_slide_maps(store, tiles_of([[0, 0]], [1.0]), tmp_path / "slides", ENDS)["whole"].any()


@pytest.mark.parametrize("thumbnail", ["../outside.png", None, "thumbnails/gone.png"])
def test_no_picture_from_outside_the_store(thumbnail, tmp_path):
    store = fake_store(tmp_path / "store", thumbnail)
    write_slide_maps(store, tiles_of([[0, 0]], [1.0]), tmp_path / "slides", ENDS)
    assert [path.name for path in (tmp_path / "slides").iterdir()] == ["a__s.npy"]


def test_with_several_thresholds_each_tile_above_its_own_is_painted(tmp_path):
    """At 1 %, 99 references promise it and 3 promise 1 in 4. Between both levels lie a tile that is above its threshold, and one that
    is not; a tile without a threshold is never painted."""
    store = fake_store(tmp_path / "store")
    table = tiles_of([[0, 0], [200, 0], [400, 0], [600, 0]], [3.0, 3.0, 9.0, 9.0]).assign(
        p_value=[0.25, 0.05, 0.01, np.nan], threshold=[2.0, 5.0, 5.0, np.nan]
    )
    write_slide_maps(store, table, tmp_path / "slides", colour_ends(0.01, 3, 99))
    picture = np.asarray(Image.open(tmp_path / "slides" / "a__s.png"))[:, :128].astype(int)
    tinted = (picture[5, [5, 25, 45, 65]] != 255).any(1)
    assert tinted.tolist() == [True, False, True, False]
    assert picture[5, 5].sum() < picture[5, 45].sum()  # the rarer is the brighter
