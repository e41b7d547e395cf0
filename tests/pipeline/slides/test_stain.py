"""`--stain vahadane-dpa` and the sheet of samples, on slides made here and on the real one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from esad.pipeline.cli.app import call
from esad.pipeline.settings.config import TileSettings, resolve
from esad.pipeline.slides.stain_dpa import from_level_0
from esad.pipeline.slides.stain_sheet import CELL, GAP, MARGIN, SAMPLES, sample_places, stain_sheet
from esad.pipeline.slides.stain_target import dpa_target_matrix
from esad.pipeline.stage.errors import UsageError
from esad.preprocessing.errors import InputError
from esad.preprocessing.slides import tile_reader
from esad.preprocessing.slides.resampling import reduce_whole, resample_area
from esad.preprocessing.slides.tiling import ReadPlan, tile_grid
from esad.preprocessing.stain.dpa import (
    builtin_matrix,
    fit_matrix,
    repaint,
    standardise_brightness,
    typical_matrix,
)
from esad.preprocessing.store.store import Store
from tests.pipeline.test_tile import contents, run, stained, write_slide

DPA = TileSettings(stain="vahadane-dpa", min_tissue=0.3)
TARGET = builtin_matrix()


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slide") / "slide.tif", stained(512, 3))


def areas(path: Path, store: Store, side: int) -> list[np.ndarray]:
    """The level-0 areas of a store's tiles, by OpenSlide."""
    with openslide.OpenSlide(path) as file:
        return [
            np.asarray(file.read_region((x, y), 0, (side, side)).convert("RGB"))
            for x, y in store.manifest[["x", "y"]].to_numpy().tolist()
        ]


def expected(area: np.ndarray) -> np.ndarray:
    standardised = standardise_brightness(area)
    return repaint(standardised, fit_matrix(standardised), TARGET)


@given(
    downsample=st.one_of(st.floats(1, 16), st.integers(1, 16).map(lambda whole: whole + 1e-4)),
    tile_size=st.integers(16, 256), width=st.integers(300, 9000), height=st.integers(300, 9000),
)  # fmt: skip
def test_an_area_is_the_tiles_own_and_never_leaves_the_slide(downsample, tile_size, width, height):
    before = ReadPlan(1, downsample, 1.0, 0.25 * downsample)
    plan = from_level_0(before, tile_size)
    assert (plan.level, plan.level_downsample) == (0, 1.0)
    assert plan.mpp / plan.downsample == pytest.approx(0.25)
    assert abs(plan.downsample - downsample) * tile_size < 0.5
    assert plan.reduction == round(plan.reduction) or plan.reduction == downsample
    corners = tile_grid(width, height, plan.downsample, tile_size, tile_size)
    side = np.ceil(tile_size * plan.reduction - 1e-6)
    assert (corners + side <= [width, height]).all()


def test_a_level_of_odd_size_counts_as_whole():
    assert from_level_0(ReadPlan(2, 4.0001, 1.0, 1.0), 192).reduction == 4.0
    assert from_level_0(ReadPlan(1, 1.85, 2.0, 1.0), 192).reduction == 3.7


def test_each_tile_is_fitted_and_repainted_at_level_0_and_then_reduced(slide, tmp_path):
    outcome = run(slide, tmp_path / "out", DPA)
    store = Store(tmp_path / "out")
    assert outcome.summary["items"] == 12
    pairs = list(zip(areas(slide, store, 128), store.read(), strict=True))
    assert all(np.array_equal(reduce_whole(expected(area), 2), tile) for area, tile in pairs)
    row = store.sources.iloc[0]
    assert (row["level"], row["reduction"], row["reader"]) == (0, 2, "jpeg")
    fits = np.stack([fit_matrix(standardise_brightness(area)) for area, _ in pairs])
    assert np.array(json.loads(row["stain_matrix"])) == pytest.approx(typical_matrix(fits), abs=1e-6)
    assert row[["stain_concentration", "stain_guard"]].isna().all()
    assert store.settings["stain_scope"] == "tile"


def test_a_ratio_that_is_not_whole_gives_area_means_of_the_repainted_area(slide, tmp_path):
    settings = DPA.model_copy(update={"magnification": None, "mpp": 1.85, "tile_size": 32})
    run(slide, tmp_path / "out", settings)
    store = Store(tmp_path / "out")
    assert store.sources["reduction"].iloc[0] == pytest.approx(3.7)
    for area, tile in zip(areas(slide, store, 119), store.read(), strict=True):  # 118.4 pixels a tile
        ratio = store.sources["reduction"].iloc[0]
        assert np.array_equal(resample_area(expected(area), 0, 0, 32, ratio), tile)


def test_chunks_and_threads_change_nothing(slide, tmp_path, monkeypatch):
    run(slide, tmp_path / "one", DPA, workers=1)
    monkeypatch.setattr(tile_reader, "BLOCK_PIXELS", 300)
    run(slide, tmp_path / "chunks", DPA, workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "chunks")


def test_tiles_without_two_stains_take_the_median_fit_of_the_others(tmp_path, capsys):
    picture = stained(512, 6)
    picture[128:256, 128:384] = (150, 90, 150)  # two tiles of one colour
    path = write_slide(tmp_path / "patched.tif", picture)
    outcome = run(path, tmp_path / "out", DPA)
    store = Store(tmp_path / "out")
    fits, ill = [], []
    for number, area in enumerate(areas(path, store, 128)):
        try:
            fits.append(fit_matrix(standardise_brightness(area)))
        except InputError:
            ill.append((number, area))
    places = store.manifest[["x", "y"]].to_numpy().tolist()
    assert [places[number] for number, _ in ill] == [[128, 128], [256, 128]]
    typical, tiles = typical_matrix(np.stack(fits)), store.read()
    for number, area in ill:
        repainted = repaint(standardise_brightness(area), typical, TARGET)
        assert np.array_equal(tiles[number], reduce_whole(repainted, 2))
    assert store.sources["stain_guard"].iloc[0].startswith("2 tiles took the median fit")
    assert outcome.summary["stain_guarded"] == 1
    assert "patched.tif: stain: 2 tiles took the median fit" in capsys.readouterr().err


def test_where_no_tile_has_two_stains_all_keep_theirs_at_standardised_brightness(tmp_path):
    grey = np.full((512, 512, 3), 243, np.uint8)
    grey[64:-64, 64:-64] = np.random.default_rng(0).integers(60, 160, (384, 384, 1))
    grey[128:256, 128:256] = 0
    path = write_slide(tmp_path / "grey.tif", grey)
    run(path, tmp_path / "out", DPA.model_copy(update={"min_tissue": 0.0}))
    store = Store(tmp_path / "out")
    assert store.sources["stain_matrix"].isna().all()
    assert "16 tiles keep their stains, at standardised brightness" in store.sources["stain_guard"].iloc[0]
    for number, (area, tile) in enumerate(zip(areas(path, store, 128), store.read(), strict=True)):
        black = number == 5
        assert np.array_equal(tile, reduce_whole(area if black else standardise_brightness(area), 2))
        assert tile.any() != black


def test_unreadable_tiles_are_left_out_and_counted(slide, tmp_path):
    whole = run(slide, tmp_path / "whole", DPA)
    path = tmp_path / "slide.tif"
    content = bytearray(slide.read_bytes())
    with tifffile.TiffFile(slide) as file:
        offset, count = file.pages[0].dataoffsets[3], file.pages[0].databytecounts[3]
    content[offset : offset + count] = b"\0" * count
    path.write_bytes(content)
    # the fourth is glass, but the overview cannot tell
    assert run(path, tmp_path / "out", DPA).summary["items"] == whole.summary["items"] - 3
    ours, theirs = (Store(tmp_path / name) for name in ("out", "whole"))
    kept = theirs.manifest["item_id"].isin(ours.manifest["item_id"]).to_numpy()
    assert np.array_equal(ours.read(), theirs.read()[kept])
    assert ours.sources["unreadable_tiles"].iloc[0] == 4


def test_the_variant_has_one_scope_and_its_own_target(slide, tmp_path, capsys):
    assert resolve(TileSettings, {"stain": "vahadane-dpa"}).stain_scope == "tile"
    assert resolve(TileSettings, {"stain": "vahadane"}).stain_scope == "slide"
    assert resolve(TileSettings, DPA.model_dump()) == DPA
    words = ["tile", str(slide), "--out", str(tmp_path / "out"), "--stain", "vahadane-dpa"]
    assert call([*words, "--stain-scope", "slide"]) == 2
    assert "vahadane-dpa is fitted on each tile" in capsys.readouterr().err
    Image.fromarray(stained(128, 9)[16:-16, 16:-16]).save(tmp_path / "target.png")
    assert call([*words, "--stain-target", str(tmp_path / "target.png"), "--workers", "1"]) == 0
    store, target = Store(tmp_path / "out"), dpa_target_matrix(str(tmp_path / "target.png"))
    standardised = standardise_brightness(areas(slide, store, 128)[0])
    repainted = repaint(standardised, fit_matrix(standardised), target)
    assert np.array_equal(store.read()[0], reduce_whole(repainted, 2))
    Image.new("RGB", (64, 64), "black").save(tmp_path / "black.png")
    with pytest.raises(UsageError, match=r"black\.png: brightness"):
        run(slide, tmp_path / "no", DPA.model_copy(update={"stain_target": str(tmp_path / "black.png")}))


@given(st.integers(0, 10_000))
def test_samples_are_spread_over_all_tiles(count):
    places = sample_places(count)
    assert len(places) == min(count, SAMPLES)
    if count:
        assert (np.diff(places) > 0).all()
        assert 0 <= places[0] <= count / SAMPLES
        assert count - 1 - count / SAMPLES <= places[-1] < count


@pytest.mark.parametrize(("side", "shown"), [(16, 16), (64, 64), (192, 96), (512, CELL)])
def test_the_sheet_has_before_above_after(side, shown):
    before, after = np.zeros((2, 3, side, side, 3), np.uint8)
    before += np.array([[200, 190, 180], [20, 30, 40], [90, 80, 70]], np.uint8)[:, None, None]
    after += np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)[:, None, None]
    sheet = np.asarray(stain_sheet(before, after))
    assert sheet.shape == (2 * shown + GAP, MARGIN + 3 * (shown + GAP), 3)
    for column in range(3):
        left = MARGIN + column * (shown + GAP)
        assert (sheet[:shown, left : left + shown] == before[column, 0, 0]).all()
        assert (sheet[shown + GAP :, left : left + shown] == after[column, 0, 0]).all()
        assert (sheet[:, left + shown : left + shown + GAP] == 255).all()


@pytest.mark.parametrize("stain", ["none", "vahadane", "vahadane-dpa"])
def test_every_normalised_slide_has_a_sheet_of_its_own_tiles(slide, tmp_path, stain):
    run(slide, tmp_path / "plain", TileSettings(stain="none", min_tissue=0.3))
    run(slide, tmp_path / "out", TileSettings(stain=stain, min_tissue=0.3))
    store = Store(tmp_path / "out")
    if stain == "none":
        assert store.sources["stain_sheet"].isna().all()
        assert not (tmp_path / "out" / "stain").exists()
        return
    assert store.sources["stain_sheet"].tolist() == ["stain/00000.png"]
    places = sample_places(len(store))
    again = stain_sheet(Store(tmp_path / "plain").read(places), store.read(places))
    with Image.open(tmp_path / "out" / "stain" / "00000.png") as sheet:
        assert np.array_equal(np.asarray(sheet), np.asarray(again))


@pytest.mark.data
def test_the_real_slide_at_192_pixels(data, tmp_path):
    path = data / "slides" / "cmu-1-small-region.svs"
    run(path, tmp_path / "out", TileSettings(stain="vahadane-dpa", tile_size=192))
    store = Store(tmp_path / "out")
    for area, tile in zip(areas(path, store, 384), store.read(), strict=True):
        assert np.array_equal(reduce_whole(expected(area), 2), tile)
