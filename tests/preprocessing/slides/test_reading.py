"""Reading slides: levels, microns per pixel, area means against sums by hand, damaged files."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.reading import Slide, is_slide, on_white
from esad.preprocessing.slides.resampling import area_weights, reduce_whole, resample_area
from esad.preprocessing.slides.tile_reader import TileReader
from esad.preprocessing.slides.tiling import ReadPlan, tile_grid


def write_slide(path, levels, mpp=0.25, compression="adobe_deflate", tile=256):
    """A generic tiled TIFF of RGB `levels`, finest first; `mpp` None leaves the resolution out."""
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            shrink = levels[0].shape[1] / level.shape[1]
            tags = (
                {}
                if mpp is None
                else {"resolution": (1e4 / mpp / shrink,) * 2, "resolutionunit": "CENTIMETER"}
            )
            file.write(
                level, tile=(tile, tile), photometric="rgb", compression=compression,
                subfiletype=int(number > 0), metadata=None, **tags,
            )  # fmt: skip
    return path


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def read_all(slide, corners, plan, size):
    with TileReader(slide, plan, size) as reader:
        out, read = reader.read_all(corners)
    return {place: out[place] if read[place] else None for place in range(len(corners))}


@pytest.mark.parametrize("step", [16, 24, 64])
@pytest.mark.parametrize(
    "plan", [ReadPlan(0, 1.0, 1.0, 0.25), ReadPlan(0, 1.0, 3.0, 0.75), ReadPlan(1, 4.0, 2.0, 2.0)]
)
def test_tiles_cut_from_blocks_equal_the_stored_pixels(tmp_path, monkeypatch, plan, step):
    monkeypatch.setattr(
        "esad.preprocessing.slides.tile_reader.BLOCK_PIXELS", 200
    )  # several blocks on a small slide
    fine = noise(900, 1100)
    levels = [fine, noise(225, 275, 1)]
    with Slide(write_slide(tmp_path / "a.tif", levels)) as slide:
        corners = tile_grid(slide.width, slide.height, plan.downsample, 16, step)
        tiles = read_all(slide, corners, plan, 16)
    assert sorted(tiles) == list(range(len(corners)))
    factor = int(plan.reduction)
    for place, tile in tiles.items():
        x, y = (corners[place] / plan.level_downsample).astype(int)
        box = levels[plan.level][y : y + 16 * factor, x : x + 16 * factor].astype(int)
        sums = box.reshape(16, factor, 16, factor, 3).sum((1, 3))
        assert np.array_equal(tile, np.floor(sums / factor**2 + 0.5))


def test_a_fractional_reduction_reads_the_same_in_blocks_and_alone(tmp_path, monkeypatch):
    path = write_slide(tmp_path / "a.tif", [noise(700, 700)], mpp=0.3)
    plan = ReadPlan(0, 1.0, 1 / 0.3, 1.0)
    with Slide(path) as slide:
        corners = tile_grid(slide.width, slide.height, plan.downsample, 32, 32)
        together = read_all(slide, corners, plan, 32)
        monkeypatch.setattr("esad.preprocessing.slides.tile_reader.BLOCK_PIXELS", 1)
        alone = read_all(slide, corners, plan, 32)
    assert len(together) == 36
    assert all(np.array_equal(together[place], alone[place]) for place in together)


@given(
    offset=st.floats(0, 3), reduction=st.floats(1, 9), count=st.integers(1, 20),
)  # fmt: skip
@settings(deadline=None)
def test_area_weights_share_every_pixel_out_exactly(offset, reduction, count):
    length = int(np.ceil(offset + reduction * count)) + 1
    weights = area_weights(offset, reduction, count, length)
    assert weights.sum(1) == pytest.approx(np.ones(count))
    assert (weights.sum(0) * reduction <= 1 + 1e-9).all()
    positions = (np.arange(length) + 0.5) @ weights.T  # a ramp keeps its value at the middle of each cell
    if offset == int(offset) and reduction == int(reduction):
        assert positions == pytest.approx(offset + reduction * (np.arange(count) + 0.5))


def test_fractions_of_a_pixel_count_by_their_area():
    ramp = np.repeat(np.arange(0, 80, 10, dtype=np.uint8)[None, :, None], 8, 0).repeat(3, 2)
    exact = [
        10 / 3,
        50 / 3,
        100 / 3,
        140 / 3,
        190 / 3,
    ]  # cells of 1.5: (0 + 10/2) / 1.5, (10/2 + 20) / 1.5, ...
    assert resample_area(ramp, 0, 0, 5, 1.5)[0, :, 0].tolist() == np.floor(np.array(exact) + 0.5).tolist()


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), factor=st.integers(1, 18), value=st.integers(0, 255)
)
@settings(deadline=None)
def test_whole_reduction_keeps_a_constant_and_rounds_sizes_up(height, width, factor, value):
    out = reduce_whole(np.full((height, width, 3), value, np.uint8), factor)
    assert out.shape == (-(-height // factor), -(-width // factor), 3)
    assert (out == value).all()


@pytest.mark.parametrize("factor", [3, 64, 65, 130])
def test_whole_reduction_is_the_rounded_mean_at_any_factor(factor):
    picture = noise(4 * factor, 3 * factor)
    means = picture.reshape(4, factor, 3, factor, 3).sum((1, 3), dtype=np.int64) / factor**2
    assert np.array_equal(reduce_whole(picture, factor), np.floor(means + 0.5))


def test_transparency_is_laid_on_white():
    picture = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    assert on_white(picture).tolist() == [[[10, 20, 30], [255, 255, 255], [127, 127, 127]]]


def test_microns_per_pixel_from_the_file_else_from_the_person_else_refused(tmp_path):
    said = write_slide(tmp_path / "said.tif", [noise(300, 300)], mpp=0.5)
    silent = write_slide(tmp_path / "silent.tif", [noise(300, 300)], mpp=None)
    printed = write_slide(tmp_path / "printed.tif", [noise(300, 300)], mpp=84.7)  # 300 dpi
    assert Slide(said, 9.0).mpp == pytest.approx(0.5, rel=1e-4)
    assert Slide(silent, 0.4).mpp == 0.4
    assert Slide(printed, 0.4).mpp == 0.4
    for path in (silent, printed):
        with pytest.raises(InputError, match=rf"{path.name}.*--slide-mpp"):
            Slide(path)


def test_a_slide_coarser_than_wanted_is_refused(tmp_path):
    with (
        Slide(write_slide(tmp_path / "a.tif", [noise(300, 300)], mpp=2.0)) as slide,
        pytest.raises(InputError, match=r"a\.tif.*coarser.*never enlarged"),
    ):
        slide.plan(1.0, exact=False)


def test_one_corrupt_place_costs_the_tiles_that_it_touches(tmp_path):
    picture = np.full((1024, 1024, 3), 200, np.uint8)
    path = write_slide(tmp_path / "a.tif", [picture], compression="jpeg")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[5], file.pages[0].databytecounts[5]  # row 1, column 1
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = b"\0" * count
    path.write_bytes(content)
    with Slide(path) as slide:
        corners = tile_grid(1024, 1024, 1.0, 64, 64)
        tiles = read_all(slide, corners, ReadPlan(0, 1.0, 1.0, 0.25), 64)
        thumbnail, unread = slide.thumbnail(512)
    touched = {n for n, (x, y) in enumerate(corners) if 256 <= x < 512 and 256 <= y < 512}
    assert {place for place, tile in tiles.items() if tile is None} == touched
    assert len(tiles) == 256
    assert unread[128:256, 128:256].all()
    assert unread.sum() == 128 * 128
    assert (thumbnail[unread] == 255).all()
    assert np.abs(thumbnail[~unread].astype(int) - 200).max() <= 2


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_slide_ends_in_an_input_error_or_lost_tiles(tmp_path, share):
    path = write_slide(tmp_path / "a.tif", [noise(1024, 1024)], compression="jpeg")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message, lost = "", 0
    try:
        with Slide(path) as slide:
            corners = tile_grid(slide.width, slide.height, 1.0, 64, 64)
            tiles = read_all(slide, corners, ReadPlan(0, 1.0, 1.0, 0.25), 64)
            lost = sum(tile is None for tile in tiles.values())
    except InputError as error:
        message = str(error)
    assert "a.tif" in message or lost > 0


def test_a_damaged_plain_picture_is_an_input_error(tmp_path):
    Image.fromarray(noise(600, 600)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a\.tif"):
        Slide(tmp_path / "a.tif", 0.5)


def test_thumbnail_of_a_slide_with_one_level_is_its_area_mean(tmp_path):
    columns = np.linspace(0, 250, 3000).astype(np.uint8)
    picture = np.broadcast_to(columns[None, :, None], (2000, 3000, 3)).copy()
    with Slide(write_slide(tmp_path / "a.tif", [picture])) as slide:
        thumbnail, unread = slide.thumbnail(300)
    assert thumbnail.shape == (200, 300, 3)
    assert not unread.any()
    assert np.abs(thumbnail[100, :, 0] - picture[0].reshape(300, 10, 3).mean(1)[:, 0]).max() <= 1.5


def test_what_is_taken_for_a_slide(tmp_path):
    (tmp_path / "1.2.276.0").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "1.2.277.0").write_bytes(b"\0" * 140)
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    names = ("a.SVS", "b.tiff", "notes.txt", "1.2.276.0", "1.2.277.0", "DICOMDIR")
    assert [is_slide(tmp_path / name) for name in names] == [True, True, False, True, False, True]


@pytest.mark.data
@pytest.mark.parametrize("name", ["broken.svs", "unopenable.tiff", "unreadable.svs"])
def test_real_broken_slides_fail_with_their_name(data, name):
    def read() -> None:
        with Slide(data / "slides" / name) as slide:
            tiles = read_all(slide, np.array([[0, 0]]), ReadPlan(0, 1.0, 1.0, 0.5), 16)
            if tiles[0] is None:
                raise InputError(f"{name}: no tile")

    with pytest.raises(InputError, match=name):
        read()
