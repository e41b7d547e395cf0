"""The direct JPEG path gives OpenSlide's own pixels, and leaves to OpenSlide what it cannot decode."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from esad.preprocessing.slides.jpeg_levels import jpeg_levels
from esad.preprocessing.slides.reading import Slide
from esad.preprocessing.slides.tile_reader import TileReader
from esad.preprocessing.slides.tiling import ReadPlan, tile_grid


def picture(height, width, seed=0):
    noise = np.random.default_rng(seed).random((height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def encode(tile, quality, subsampling):
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def without_jfif(stream):
    """As TIFF writers store it: no APP0."""
    assert stream[2:4] == b"\xff\xe0"
    return stream[:2] + stream[4 + int.from_bytes(stream[4:6], "big") :]


def split_tables(stream):
    """(tables, the rest): quantisation and Huffman segments kept apart, as tag 347 does."""
    tables, rest, place = b"\xff\xd8", b"\xff\xd8", 2
    while stream[place : place + 2] != b"\xff\xda":
        end = place + 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
        segment = stream[place:end]
        if segment[1] in (0xDB, 0xC4):
            tables += segment
        else:
            rest += segment
        place = end
    return tables + b"\xff\xd9", rest + stream[place:]


def write_level(path, pixels, tile, quality=85, subsampling=2, apart=False, missing=(), cut=()):
    """One level of JPEG tiles, 4:2:0 (`subsampling` 2) or 4:4:4 (0); tiles left out, or cut short, by number."""
    height, width = pixels.shape[:2]
    down, across = -height % tile, -width % tile
    padded = np.pad(pixels, ((0, down), (0, across), (0, 0)), mode="edge")
    streams = [
        without_jfif(encode(padded[y : y + tile, x : x + tile], quality, subsampling))
        for y in range(0, height, tile)
        for x in range(0, width, tile)
    ]
    tables = split_tables(streams[0])[0] if apart else None
    streams = [split_tables(stream)[1] if apart else stream for stream in streams]
    for number in cut:
        streams[number] = streams[number][: len(streams[number]) // 2]
    for number in missing:
        streams[number] = b""
    factor = {2: (2, 2), 0: (1, 1)}[subsampling]
    with tifffile.TiffWriter(path) as file:
        file.write(
            iter(streams), shape=pixels.shape, dtype=np.uint8, tile=(tile, tile), photometric="ycbcr",
            subsampling=factor, compression="jpeg", jpegtables=tables, metadata=None, resolution=(40_000, 40_000),
            resolutionunit="CENTIMETER",
        )  # fmt: skip
    return path


def both(path, size, plan, step, threads=1):
    """(pixels, read mask, reader) directly, then through OpenSlide alone."""
    found = []
    for direct in (True, False):
        with Slide(path) as slide:
            corners = tile_grid(slide.width, slide.height, plan.downsample, size, step)
            with TileReader(slide, plan, size, direct) as reader:
                out, read = reader.read_all(corners, threads)
                out[~read] = 0
                found.append((out, read, reader.reader))
    return found


@given(
    height=st.integers(130, 420), width=st.integers(130, 420), tile=st.sampled_from([64, 128, 240]),
    quality=st.integers(30, 100), subsampling=st.sampled_from([0, 2]), apart=st.booleans(),
    size=st.integers(16, 70), step=st.integers(16, 90), reduction=st.integers(1, 3), threads=st.integers(1, 2),
)  # fmt: skip
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_direct_path_gives_openslides_pixels(
    tmp_path, height, width, tile, quality, subsampling, apart, size, step, reduction, threads
):
    path = write_level(tmp_path / "a.tif", picture(height, width), tile, quality, subsampling, apart)
    ours, theirs = both(path, size, ReadPlan(0, 1.0, float(reduction), 0.25 * reduction), step, threads)
    assert ours[2] in ("jpeg", "openslide")  # openslide: no tile fits
    assert (ours[2] == "jpeg") == bool(len(ours[0]))
    assert np.array_equal(ours[0], theirs[0])
    assert ours[1].all()
    assert theirs[1].all()


@pytest.mark.parametrize("damage", [{}, {"missing": (0,), "cut": (5,)}])
def test_room_that_is_used_again_holds_what_new_memory_would(tmp_path, damage):
    path = write_level(tmp_path / "a.tif", picture(400, 420), 128, 80, 2, True, **damage)
    with Slide(path) as slide, TileReader(slide, ReadPlan(0, 1.0, 1.0, 0.25), 50) as reader:
        corners = tile_grid(slide.width, slide.height, 1.0, 50, 50)
        blocks = reader.blocks(corners)
        room = reader.room_for(blocks)
        for members in [*blocks, *blocks[::-1]]:
            (tiles, read), (anew, read_anew) = (
                reader.read(corners[members], room),
                reader.read(corners[members]),
            )
            assert np.shares_memory(tiles, room)
            assert np.array_equal(read, read_anew)
            assert np.array_equal(tiles[read], anew[read])


@pytest.mark.parametrize("damage", [{"missing": (5,)}, {"cut": (5,)}, {"missing": (0, 9), "cut": (3,)}])
def test_missing_and_damaged_tiles_are_left_to_openslide(tmp_path, damage):
    path = write_level(tmp_path / "a.tif", picture(512, 512), 128, **damage)
    ours, theirs = both(path, 64, ReadPlan(0, 1.0, 1.0, 0.25), 64)
    assert ours[2] == "jpeg+openslide"
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])
    assert ours[1].sum() == 64 - 4 * len(damage.get("cut", ()))  # OpenSlide paints what is missing white


def test_levels_of_other_forms_are_not_decoded_directly(tmp_path):
    pixels = picture(256, 256)
    for name, options in {
        "deflate": {"compression": "adobe_deflate"}, "jpeg2000": {"compression": "aperio_jp2000_rgb"},
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, pixels, tile=(128, 128), photometric="rgb", metadata=None, **options)
        assert jpeg_levels(path, "generic-tiff", [(256, 256)]) == {}
    path = write_level(tmp_path / "a.tif", pixels, 128)
    assert list(jpeg_levels(path, "generic-tiff", [(256, 256), (64, 64)])) == [0]
    assert jpeg_levels(path, "ventana", [(256, 256)]) == {}
    assert jpeg_levels(tmp_path / "absent.tif", "aperio", [(256, 256)]) == {}


def test_a_level_that_comes_out_otherwise_than_openslide_reads_it_is_not_trusted(tmp_path, monkeypatch):
    def wrong_colours(path, vendor, dimensions):
        return {
            n: replace(level, head=level.head[:-1] + b"\0")
            for n, level in jpeg_levels(path, vendor, dimensions).items()
        }

    path = write_level(tmp_path / "a.tif", picture(256, 256), 128)
    monkeypatch.setattr("esad.preprocessing.slides.tile_reader.jpeg_levels", wrong_colours)
    ours, theirs = both(path, 64, ReadPlan(0, 1.0, 1.0, 0.25), 64)
    assert ours[2] == "openslide"
    assert np.array_equal(ours[0], theirs[0])


@pytest.mark.data
@pytest.mark.parametrize("reduction", [1, 2])
def test_the_real_slide_comes_out_as_openslide_reads_it(data, reduction):
    path = data / "slides" / "cmu-1-small-region.svs"
    ours, theirs = both(path, 64, ReadPlan(0, 1.0, float(reduction), 0.499 * reduction), 64, threads=2)
    assert ours[2] == "jpeg"
    assert np.array_equal(ours[0], theirs[0])
    with openslide.OpenSlide(path) as slide:
        first = np.asarray(slide.read_region((0, 0), 0, (64, 64)).convert("RGB"))
    assert reduction == 2 or np.array_equal(ours[0][0], first)


@given(
    height=st.integers(130, 420), width=st.integers(130, 420), tile=st.sampled_from([64, 128, 240]),
    reduction=st.sampled_from([2, 4, 8]), size=st.integers(16, 40), seed=st.integers(0, 9),
)  # fmt: skip
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_decoding_straight_to_the_wanted_scale_stays_within_its_tolerance(
    tmp_path, height, width, tile, reduction, size, seed
):
    path = write_level(tmp_path / "a.tif", picture(height, width, seed), tile)
    found = []
    for tolerance in (None, 255.0, 0.0):
        with Slide(path) as slide:
            plan = ReadPlan(0, 1.0, float(reduction), 0.25 * reduction)
            corners = tile_grid(slide.width, slide.height, plan.downsample, size, size)
            with TileReader(slide, plan, size, tolerance=tolerance) as reader:
                found.append((*reader.read_all(corners), reader))
    exact, straight, strict = found
    assert straight[2].level.shrink == reduction
    assert strict[2].level.shrink == 1  # noise: never to the bit
    assert np.array_equal(strict[0], exact[0])
    if len(exact[0]):
        assert straight[1].all()
        assert np.abs(straight[0].astype(int) - exact[0]).mean() < 6


@pytest.mark.data
def test_the_real_slide_may_be_decoded_at_half_size(data):
    plan = ReadPlan(0, 1.0, 2.0, 0.998)
    found = []
    with Slide(data / "slides" / "cmu-1-small-region.svs") as slide:
        corners = tile_grid(slide.width, slide.height, 2.0, 64, 64)
        for tolerance in (None, 0.5):
            with TileReader(slide, plan, 64, tolerance=tolerance) as reader:
                found.append(reader.read_all(corners)[0].astype(int))
                assert reader.reader == ("jpeg" if tolerance is None else "jpeg at 1/2")
    assert np.abs(found[0] - found[1]).mean() < 0.5
