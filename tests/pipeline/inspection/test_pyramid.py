"""Heat lies on the tissue: layers, slides and stored tiles are in the same level-0 pixels, to the last tile's far corner."""

from __future__ import annotations

import io

import numpy as np
import openslide
import pandas as pd
import pytest
from PIL import Image

from esad.pipeline.inspection.layers import LEAST_BOX, coloured, highest, palette
from esad.pipeline.inspection.pyramid import LAYER_SIDE, SlidePyramid, StoredPyramid, level_count, window
from esad.preprocessing.store.store import Store
from tests.pipeline.inspection.case import ODD, case_of, score_store

SIZE = (ODD[1], ODD[0])
LAST = level_count(SIZE) - 1


def picture(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def whole_layer(case, name, slide, level, **query):
    """All tiles of a layer at a level, joined: uint8 (h, w, 4)."""
    step = 1 << (LAST - level)
    width, height = (-(-side // step) for side in SIZE)
    out = np.zeros((height, width, 4), np.uint8)
    for row in range(-(-height // LAYER_SIDE)):
        for column in range(-(-width // LAYER_SIDE)):
            part = picture(case.client.get(f"/slide/{slide}/{name}/{level}/{column}_{row}.png", params=query))
            out[row * LAYER_SIDE :, column * LAYER_SIDE :][: part.shape[0], : part.shape[1]] = part
    return out


def test_levels_are_those_of_deep_zoom(made):
    from openslide.deepzoom import DeepZoomGenerator

    for size in (SIZE, (1, 1), (2, 1), (1024, 3), (1025, 1025), (100_001, 77)):
        blank = openslide.ImageSlide(Image.new("RGB", size)) if max(size) < 2000 else None
        if blank is not None:
            assert DeepZoomGenerator(blank).level_count == level_count(size)
        else:
            assert level_count(size) == 18


def test_a_tile_of_the_slide_is_openslides_region(made, case):
    path = made / "slides" / "a.tif"
    pyramid = SlidePyramid(path)
    with openslide.OpenSlide(path) as slide:
        assert pyramid.size == slide.dimensions == SIZE
        for column, row in ((0, 0), (1, 2), (4, 4)):
            left, top = max(0, column * 254 - 1), max(0, row * 254 - 1)
            right, bottom = min(SIZE[0], column * 254 + 255), min(SIZE[1], row * 254 + 255)
            expected = np.asarray(
                slide.read_region((left, top), 0, (right - left, bottom - top)).convert("RGB")
            )
            served = picture(case.client.get(f"/slide/1/picture/{LAST}/{column}_{row}.jpg"))
            assert served.shape == expected.shape
            off = np.abs(served[2:, 2:].astype(int) - expected[2:, 2:]).mean()
            assert off < 6  # JPEG once more
            if expected.std() > 10:  # tissue: a shift by one pixel would be seen
                assert off < np.abs(served[2:, 2:].astype(int) - expected[1:-1, 1:-1]).mean() / 3
    assert pyramid.bounds is None
    assert pyramid.tile(LAST, 99, 0) is None
    assert pyramid.tile(99, 0, 0) is None
    pyramid.close()


def test_heat_has_its_corners_where_the_tiles_have_theirs(case):
    boxes = case.subject.boxes(1)
    assert boxes[0, 2] == pytest.approx(64 / 0.46)  # not a whole number
    right = np.rint(boxes[:, :2] + boxes[:, 2:]).max(0).astype(int)
    heat = whole_layer(case, "heat", 1, LAST, least=0)
    there = np.argwhere(heat[..., 3] > 0)
    assert there.min(0).tolist() == boxes[:, 1::-1].min(0).tolist()
    assert (there.max(0) + 1).tolist() == right[::-1].tolist()
    assert (right <= SIZE).all()


def test_each_tile_has_its_own_colour_over_the_whole_of_its_place(case, runs):
    boxes, rows = case.subject.boxes(1), case.subject.rows_of_slide(1)
    scores = case.subject.runs[0].figures["score"].to_numpy()[rows]
    low, high = case.pages.layers.scale(0)
    table = palette(256)
    expected = table[np.rint(np.clip((scores - low) / (high - low), 0, 1) * 255).astype(int)]
    for level in (LAST, LAST - 2):
        step = 1 << (LAST - level)
        heat = whole_layer(case, "heat", 1, level, least=0)
        for box, colour in zip(boxes, expected, strict=True):
            left, top = np.ceil(box[:2] / step + 1).astype(int)
            right, bottom = np.floor((box[:2] + box[2:]) / step - 1).astype(int)
            inside = heat[top:bottom, left:right, :3].reshape(-1, 3)
            assert (inside == colour).all()


def test_below_the_threshold_there_is_no_colour(case):
    run, boxes, rows = case.subject.runs[0], case.subject.boxes(1), case.subject.rows_of_slide(1)
    heat = whole_layer(case, "heat", 1, LAST)
    middles = (boxes[:, :2] + boxes[:, 2:] / 2).astype(int)
    coloured_there = heat[middles[:, 1], middles[:, 0], 3] > 0
    assert coloured_there.tolist() == run.stands_out[rows].tolist()
    assert 0 < coloured_there.sum() < len(rows)
    other = whole_layer(case, "heat", 1, LAST, run=1)
    assert not np.array_equal(other, heat)


def test_with_several_thresholds_heat_shows_what_slide_maps_paint(made, tmp_path):
    """A slide whose tiles all lie above their threshold, one where few do, and one without: in the viewer and in the written maps."""
    store = Store(made / "store")
    sources = store.manifest["source"].astype(str)
    at = sources.map(dict(zip(sorted(sources.unique()), (-99.0, 3.0, np.nan), strict=True))).to_numpy()
    case = case_of([score_store(tmp_path, store, threshold=at)], tmp_path / "marks.sqlite", made / "slides")
    run = case.subject.runs[0]
    names = pd.read_parquet(run.root / "slides.parquet").set_index("source")["map"]
    shares = []
    for slide, source in enumerate(case.subject.slides["source"]):
        boxes, rows = case.subject.boxes(slide), case.subject.rows_of_slide(slide)
        middles = boxes[:, :2] + boxes[:, 2:] / 2
        x, y = middles.astype(int).T
        in_viewer = whole_layer(case, "heat", slide, LAST)[y, x, 3] > 0
        plain = np.asarray(
            Image.open(store.root / store.sources.set_index("source").loc[source, "thumbnail"])
        )
        drawn = np.asarray(Image.open(run.root / "slides" / f"{names[source]}.png"))[:, : plain.shape[1]]
        column, line = (middles * plain.shape[1] / SIZE[0]).astype(int).T
        in_map = (drawn != plain[..., :3])[line, column].any(1)
        assert in_viewer.tolist() == in_map.tolist() == run.stands_out[rows].tolist()
        shares.append(in_map.mean())
    assert sorted(shares)[0] == 0
    assert 0 < sorted(shares)[1] < 1
    assert sorted(shares)[2] == 1


def test_where_tiles_overlap_the_highest_shows_and_far_out_every_tile_has_a_pixel():
    place = window((4096, 4096), 12, 0, 0)
    boxes = np.array([[0.0, 0, 100, 100], [50, 0, 100, 100]])
    found = highest(place, boxes, np.array([0.9, 0.2]))
    assert found[5, 60] == np.float32(0.9)
    assert found[5, 120] == np.float32(0.2)
    assert np.isnan(found[150, 5])
    far = window((1 << 17, 1 << 17), 7, 0, 0)  # a pixel is 1024 level-0 pixels
    assert far.step == 1024
    small = highest(far, np.array([[1024.0, 2048, 64, 64], [1100, 2100, 64, 64]]), np.array([0.1, 0.7]))
    assert small[2, 1] == np.float32(0.7)
    assert np.isfinite(small).sum() == 1
    assert coloured(np.array([[np.nan, 1.0]], np.float32))[0, :, 3].tolist() == [0, 255]


def test_a_hundred_thousand_steps_do_not_drift():
    size, side = (139_131 * 40, 2000), 139.1304347826087
    place = window(size, level_count(size) - 1, (139_131 * 39) // LAYER_SIDE, 0)
    number = int((place.left + 100) / side)
    (left, _, right, _) = place.pixels(np.array([[number * side, 0, side, side]]))[0]
    assert place.left + left == round(number * side)
    assert place.left + right == round((number + 1) * side)


def test_boxes_and_marks_are_drawn_where_the_tile_is(case):
    row = int(case.subject.rows_of_slide(1)[-1])
    x, y, width, height = (round(value) for value in case.subject.boxes(1)[-1])
    boxes = whole_layer(case, "boxes", 1, LAST)
    assert boxes[y, x : x + width, 3].all()
    assert boxes[y + height - 1, x + width - 1, 3] > 0
    assert boxes[y + height // 2, x + width // 2, 3] == 0
    assert not whole_layer(case, "marks", 1, LAST)[..., 3].any()
    case.mark(row, "anomaly")
    marks = whole_layer(case, "marks", 1, LAST)
    there = np.argwhere(marks[..., 3] > 0)
    assert (there.min(0).tolist(), (there.max(0) + 1).tolist()) == ([y, x], [y + height, x + width])
    assert not whole_layer(case, "boxes", 1, 3)[..., 3].any()  # smaller than LEAST_BOX
    assert LEAST_BOX > 1


def test_candidates_are_framed_as_the_table_says(case):
    known = case.get("/api/slide/1")["candidates"][0]
    frames = whole_layer(case, "candidates", 1, LAST)
    there = np.argwhere(frames[..., 3] > 0)
    corners = np.array([[one["top"], one["left"], one["bottom"], one["right"]] for one in known])
    assert np.abs(there.min(0) - corners[:, :2].min(0)).max() <= 1
    assert np.abs(there.max(0) + 1 - corners[:, 2:].max(0)).max() <= 1


def test_tissue_lies_on_the_tissue_on_both_axes(case):
    tissue = whole_layer(case, "tissue", 1, LAST)
    dark = tissue[..., 3] == 120  # glass
    side = ODD[1] // 8  # the drawn square of tissue begins there, and goes on over the lower edge
    assert dark[side // 2, :].all()
    assert not dark[side + 20 : ODD[0] - 20, side + 20 : ODD[1] - side - 20].any()
    edge = np.flatnonzero(~dark[ODD[0] // 2])
    assert edge.min() == pytest.approx(side, abs=4)
    assert edge.max() == pytest.approx(ODD[1] - side, abs=4)


def test_outlines_are_drawn_where_they_are(made, runs, tmp_path):
    from tests.pipeline.test_tile import outline

    folder = tmp_path / "outlines"
    folder.mkdir()
    outline(folder / "a.json", 300, 400, 200)
    case = case_of(runs, tmp_path / "m.sqlite", made / "slides", folder)
    assert case.get("/api/slide/1")["layers"]["outlines"] == ""
    assert "no outline file" in case.get("/api/slide/2")["layers"]["outlines"]
    there = np.argwhere(whole_layer(case, "outlines", 1, LAST)[..., 3] > 0)
    assert np.abs(there.min(0) - (400, 300)).max() <= 2
    assert np.abs(there.max(0) - (600, 500)).max() <= 2
    (folder / "b.json").write_text("{")
    case = case_of(runs, tmp_path / "m.sqlite", made / "slides", folder)
    assert "not a readable JSON" in case.get("/api/slide/2")["layers"]["outlines"]


def test_a_slide_that_has_vanished_is_shown_from_its_stored_tiles_which_is_said(made, runs, tmp_path):
    import shutil

    archive = tmp_path / "slides"
    shutil.copytree(made / "slides", archive)
    case = case_of(runs, tmp_path / "m.sqlite", archive)
    assert case.get("/api/slide/1")["real"] is True
    real = picture(case.client.get(f"/slide/1/picture/{LAST}/1_1.jpg"))
    (archive / "a.tif").unlink()
    gone = case.get("/api/slide/1")
    assert (gone["real"], gone["away"], gone["side"]) == (
        False,
        "a.tif is not in the archive any more",
        LAYER_SIDE,
    )
    stored = picture(case.client.get(f"/slide/1/picture/{LAST}/1_1.jpg"))
    assert stored.shape == (256, 256, 3)
    assert (
        np.abs(stored[2:200, 2:200].astype(int) - real[:198, :198]).mean() < 45
    )  # 64 pixels a tile, not 139
    shutil.copy(made / "slides" / "b.tif", archive / "a.tif")
    assert "another file than the one that was scored" in case.get("/api/slide/1")["away"]
    nobody = case_of(runs, tmp_path / "m2.sqlite")
    assert "--archive FOLDER" in nobody.get("/api/slide/1")["away"]


def test_stored_tiles_stand_at_their_places():
    boxes = np.array([[0.0, 0, 139.13, 139.13], [139.13, 0, 139.13, 139.13], [0, 139.13, 139.13, 139.13]])
    pixels = np.stack([np.full((64, 64, 3), shade, np.uint8) for shade in (10, 120, 230)])
    pyramid = StoredPyramid((500, 400), boxes, lambda chosen: pixels[chosen], None)
    place = window((500, 400), level_count((500, 400)) - 1, 0, 0)
    found = np.asarray(pyramid.picture(place))[..., 0]
    assert (found[:139, :139] == 10).all()
    assert (found[:139, 139:256] == 120).all()
    assert (found[139:256, :139] == 230).all()
    assert (found[139:, 139:] == 255).all()
    overview = Image.fromarray(np.full((4, 5, 3), 77, np.uint8))
    bare = StoredPyramid((500, 400), boxes, None, overview)
    assert (np.asarray(bare.picture(place)) == 77).all()
    assert pyramid.tile(0, 1, 0) is None


def test_a_damaged_part_of_a_slide_is_grey_and_the_rest_is_shown(made, monkeypatch):
    pyramid = SlidePyramid(made / "slides" / "a.tif")
    whole = pyramid.tile(LAST, 1, 1)

    def failing(*_):
        raise openslide.OpenSlideError("a bad tile")

    monkeypatch.setattr(pyramid._reader._handle, "read_region", failing, raising=False)
    grey = np.asarray(Image.open(io.BytesIO(pyramid.tile(LAST, 1, 1))))
    assert np.ptp(grey) <= 2
    assert pyramid.tile(LAST, 1, 1) == whole  # the file was opened anew
    pyramid.close()


def test_the_item_under_a_place_is_the_one_whose_box_holds_it(case):
    boxes, rows = case.subject.boxes(1), case.subject.rows_of_slide(1)
    for place in (0, len(rows) - 1):
        x, y, width, height = boxes[place]
        for at in ((x, y), (x + width - 0.5, y + height - 0.5)):
            found = case.get("/api/slide/1/at", x=at[0], y=at[1])["row"]
            assert found is not None
            near = boxes[np.flatnonzero(rows == found)[0]]
            assert near[0] <= at[0] < near[0] + near[2]
            assert near[1] <= at[1] < near[1] + near[3]
    assert case.get("/api/slide/1/at", x=1.0, y=1.0)["row"] is None
    assert case.client.get("/api/slide/1/at", params={"x": "here", "y": 0}).status_code == 400
    assert case.client.get("/api/slide/7").status_code == 404


def test_tiles_that_are_not_there_are_not_found(case):
    for address in ("/slide/1/heat/99/0_0.png", "/slide/1/heat/11/99_0.png", "/slide/1/none/11/0_0.png", "/slide/9/heat/11/0_0.png",
                    "/slide/1/picture/11/99_0.jpg", "/slide/1/heat/11/0_0.png?run=5"):  # fmt: skip
        assert case.client.get(address).status_code == 404, address


def test_bounds_of_a_scanner_are_where_the_first_look_goes_and_cut_nothing_off(made):
    pyramid = SlidePyramid(made / "slides" / "a.tif")
    stated = {"x": "100", "y": "200", "width": "300", "height": "400"}
    pyramid._reader.properties |= {f"openslide.bounds-{name}": value for name, value in stated.items()}
    assert pyramid.bounds == (100, 200, 300, 400)
    assert pyramid.size == SIZE  # level-0 pixels as tiles have them, from (0, 0) on
    pyramid._reader.properties["openslide.bounds-x"] = "left"
    assert pyramid.bounds is None
    pyramid.close()


def test_a_slide_that_tifffile_reads_is_shown_too(tmp_path):
    import tifffile

    picture = np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)
    path = tmp_path / "slide.ome.tif"
    tifffile.imwrite(
        path,
        picture,
        tile=(128, 128),
        photometric="rgb",
        metadata={"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5},
    )
    pyramid = SlidePyramid(path)
    assert pyramid.size == (500, 300)
    found = np.asarray(Image.open(io.BytesIO(pyramid.tile(level_count((500, 300)) - 1, 1, 1))))
    assert found.shape == (300 - 253, 500 - 253, 3)
    small = np.asarray(Image.open(io.BytesIO(pyramid.tile(8, 0, 0))))
    assert small.shape[:2] == (150, 250)
    assert small.mean() == pytest.approx(picture.mean(), abs=3)
    pyramid.close()


@pytest.mark.data
def test_a_real_slide_is_served(data):
    pyramid = SlidePyramid(data / "slides" / "cmu-1-small-region.svs")
    with openslide.OpenSlide(data / "slides" / "cmu-1-small-region.svs") as slide:
        expected = np.asarray(slide.read_region((253, 253), 0, (256, 256)).convert("RGB")).astype(int)
    found = np.asarray(Image.open(io.BytesIO(pyramid.tile(level_count(pyramid.size) - 1, 1, 1))))
    assert np.abs(found - expected).mean() < 3
    pyramid.close()
