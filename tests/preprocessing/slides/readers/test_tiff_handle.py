"""The reader over tifffile: its pixels are tifffile.imread's, it decodes no more than it must, and damage is told in words."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from esad.preprocessing.slides.readers import tiff_handle
from esad.preprocessing.slides.readers.tiff_handle import TiffHandle
from esad.preprocessing.slides.readers.tiff_layout import Refused

LOSSLESS = ("none", "lzw", "adobe_deflate", "zstd", "lzma", "packbits")
PICTURES = ("jpeg", "jpeg2000", "aperio_jp2000_rgb", "webp", "jpegxl")


def noise(height, width, dtype="u1", samples=3, seed=0):
    most = 256 if dtype == "u1" else 65536
    return np.random.default_rng(seed).integers(0, most, (height, width, samples)).astype(dtype)


def write(path, picture, **options):
    options = {
        "photometric": "rgb",
        "metadata": None,
        "resolution": (20_000, 20_000),
        "resolutionunit": "CENTIMETER",
    } | options
    tifffile.imwrite(path, picture, **options)
    return path


def pixels(path):
    """tifffile's own (H, W, 3), 8 bits."""
    found = tifffile.imread(path)
    found = np.moveaxis(found, 0, -1) if found.shape[0] in (3, 4) else found
    return (found >> 8 if found.dtype == np.uint16 else found)[..., :3].astype(np.uint8)


def whole(handle, level=0):
    return handle.read_region((0, 0), level, handle.level_dimensions[level])


@given(
    height=st.integers(20, 200), width=st.integers(20, 200), tile=st.sampled_from([None, 16, 64]),
    rows=st.integers(1, 250), compression=st.sampled_from(LOSSLESS + PICTURES), separate=st.booleans(),
    deep=st.booleans(), predictor=st.booleans(), big=st.booleans(), order=st.sampled_from("<>"),
    samples=st.sampled_from([3, 4]), data=st.data(),
)  # fmt: skip
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_region_has_the_pixels_of_imread(
    tmp_path, height, width, tile, rows, compression, separate, deep, predictor, big, order, samples, data
):
    picture = compression in PICTURES
    deep &= compression not in ("jpeg", "webp") and (compression, order) != (
        "jpegxl",
        ">",
    )  # cannot be written
    separate &= compression not in ("webp",)
    samples = 3 if picture else samples
    array = noise(height, width, "u2" if deep else "u1", samples)
    path = write(
        tmp_path / "a.tif", np.moveaxis(array, -1, 0).copy() if separate else array,
        compression=None if compression == "none" else compression,
        planarconfig="separate" if separate else "contig", tile=(tile, tile) if tile else None,
        rowsperstrip=None if tile else rows, predictor=predictor and compression in LOSSLESS[1:4],
        bigtiff=big, byteorder=order, extrasamples=["unassalpha"] if samples == 4 else None,
    )  # fmt: skip
    handle = TiffHandle(path)
    truth = pixels(path)
    x, y = data.draw(st.integers(-20, width)), data.draw(st.integers(-20, height))
    w, h = data.draw(st.integers(1, 250)), data.draw(st.integers(1, 250))
    padded = np.pad(truth, ((20, 500), (20, 500), (0, 0)), constant_values=255)
    region = handle.read_region((x, y), 0, (w, h))
    assert region.dtype == np.uint8
    assert np.array_equal(region, padded[y + 20 : y + 20 + h, x + 20 : x + 20 + w])
    assert np.array_equal(whole(handle), truth)
    assert (deep and "upper 8" in " ".join(handle.notes)) or not deep
    assert ("alpha" in " ".join(handle.notes)) == (samples == 4)
    handle.close()


@given(
    side=st.integers(120, 400), steps=st.lists(st.sampled_from([2, 3, 4]), min_size=1, max_size=3),
    sub=st.booleans(), up=st.booleans(), tile=st.sampled_from([None, 32]), separate=st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_levels_in_subifds_or_directories_are_found_with_their_downsamples(
    tmp_path, side, steps, sub, up, tile, separate
):
    downsamples = np.cumprod([1, *steps]).tolist()
    assume(side / downsamples[-1] >= 4)
    sizes = [
        (-(-side // d) if up else side // d, -(-(side + 37) // d) if up else (side + 37) // d)
        for d in downsamples
    ]
    levels = [noise(*size, seed=n) for n, size in enumerate(sizes)]
    kept = {
        "tile": (tile, tile) if tile else None,
        "photometric": "rgb",
        "metadata": None,
        "compression": "zlib",
    }
    kept["planarconfig"] = "separate" if separate else "contig"
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number, level in enumerate(levels):
            stored = np.moveaxis(level, -1, 0).copy() if separate else level
            file.write(
                stored,
                subfiletype=int(number > 0),
                subifds=(len(levels) - 1 if sub and not number else None),
                **kept,
            )
    handle = TiffHandle(tmp_path / "a.tif")
    assert handle.level_dimensions == tuple((w, h) for h, w in sizes)
    for found, downsample, size in zip(handle.level_downsamples, downsamples, sizes, strict=True):
        assert found == pytest.approx(downsample, rel=0 if downsample in (1, 2, 4, 8) else 2 / min(size))
    for number, level in enumerate(levels):
        assert np.array_equal(whole(handle, number), level)
    assert handle.get_best_level_for_downsample(handle.level_downsamples[-1] + 0.01) == len(levels) - 1
    handle.close()


def test_pictures_of_another_shape_are_no_levels(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size in ((100, 300), (512, 768), (256, 384), (200, 200)):  # label first
            file.write(noise(*size), tile=(64, 64), photometric="rgb", metadata=None)
    handle = TiffHandle(tmp_path / "a.tif")
    assert handle.level_dimensions == ((768, 512), (384, 256))


@pytest.mark.parametrize("tile", [(256, 256), None])
def test_only_the_tiles_or_strips_that_a_region_meets_are_decoded(tmp_path, monkeypatch, tile):
    path = write(tmp_path / "a.tif", noise(1024, 1024), tile=tile, rowsperstrip=64, compression="zlib")
    handle = TiffHandle(path)
    decoded = []
    honest = TiffHandle._decoded
    monkeypatch.setattr(TiffHandle, "_decoded", lambda self, *key: decoded.append(key) or honest(self, *key))
    handle.read_region((300, 300), 0, (100, 100))
    assert len(decoded) == (1 if tile else 3)
    handle.read_region((310, 310), 0, (10, 10))
    assert len(decoded) == (1 if tile else 3)  # kept


def test_what_is_kept_decoded_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_handle, "CACHE_BYTES", 5 * 64 * 64 * 3)
    handle = TiffHandle(write(tmp_path / "a.tif", noise(512, 512), tile=(64, 64), compression="zlib"))
    truth = pixels(tmp_path / "a.tif")
    assert np.array_equal(whole(handle), truth)
    assert len(handle._cache) <= 5
    assert handle._held == sum(part.nbytes for part in handle._cache.values())


def test_tiles_that_are_not_stored_are_white(tmp_path):
    path = write(tmp_path / "a.tif", noise(128, 128), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as file:
        counts = list(file.pages[0].databytecounts)
        file.pages[0].tags[325].overwrite([counts[0], 0, *counts[2:]])
    handle = TiffHandle(path)
    assert (whole(handle)[:64, 64:] == 255).all()
    assert (whole(handle)[:64, :64] == tifffile.imread(path)[:64, :64]).all()


@pytest.mark.parametrize(
    ("picture", "options", "told"),
    [
        (noise(64, 64)[..., 0], {"photometric": "minisblack"}, "one sample a pixel, grey; a slide has red, green and blue"),
        (noise(64, 64)[..., 0], {"photometric": "miniswhite"}, "grey \\(white is 0\\)"),
        (noise(64, 64)[..., 0], {"photometric": "palette", "colormap": np.zeros((3, 256), "u2")}, "a palette of colours"),
        (noise(64, 64).astype("f4"), {}, "floating-point numbers of 32 bits"),
        (noise(64, 64).astype("i2"), {}, "signed numbers of 16 bits"),
        (noise(64, 64, samples=4), {"photometric": "separated"}, "4 samples a pixel of CMYK"),
        (noise(64, 64, samples=5), {"photometric": "minisblack", "planarconfig": "contig"}, "5 samples a pixel of grey"),
    ],
)  # fmt: skip
def test_what_is_no_stained_slide_is_refused_in_words(tmp_path, picture, options, told):
    write(tmp_path / "a.tif", picture, **options)
    with pytest.raises(Refused, match=told):
        TiffHandle(tmp_path / "a.tif")


def test_a_single_huge_strip_is_refused_and_one_of_plain_rows_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("esad.preprocessing.slides.readers.tiff_layout.MOST_SEGMENT_BYTES", 1 << 18)
    monkeypatch.setattr("esad.preprocessing.slides.readers.tiff_layout.STRIP_BYTES", 1 << 16)
    write(tmp_path / "a.tif", noise(400, 400), rowsperstrip=400, compression="zlib")
    with pytest.raises(Refused, match=r"strip of 400 x 400 pixels.*too large.*vips"):
        TiffHandle(tmp_path / "a.tif")
    plain = write(tmp_path / "b.tif", noise(400, 400), rowsperstrip=400)
    assert np.array_equal(whole(TiffHandle(plain)), tifffile.imread(plain))


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("tile", [(64, 64), None])
def test_a_truncated_file_is_refused_in_words(tmp_path, share, tile):
    path = write(tmp_path / "a.tif", noise(512, 512), tile=tile, compression="zlib")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(Refused, match=r"\w+ \w+") as caught:
        TiffHandle(path)
    assert share < 0.1 or "the copy is incomplete" in str(caught.value)
    assert not str(caught.value).endswith(("Error", "Exception"))


def test_a_large_slide_is_read_in_little_memory(tmp_path):
    """A level of 4096 x 4096 x 3 samples of 16 bits is 100 MB; reading it tile by tile takes less."""
    small = noise(256, 256, "u2")
    path = write(tmp_path / "a.tif", np.tile(small, (16, 16, 1)), tile=(256, 256), compression="zlib")
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from esad.preprocessing.slides.readers.tiff_handle import TiffHandle\n"
        "handle = TiffHandle(Path(sys.argv[1])); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for y in range(0, 4096, 512):\n"
        "    for x in range(0, 4096, 512):\n"
        "        handle.read_region((x, y), 0, (512, 512))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert int(grown.stdout) < 90_000  # kB: what is kept is at most 64 MiB


@pytest.mark.parametrize("tile", [(64, 64), None])
@pytest.mark.parametrize(("most", "bits"), [(4095, 12), (4080, 12), (1023, 10), (16383, 14), (65535, 16)])
def test_the_greatest_value_that_a_tiff_states_is_white(tmp_path, tile, most, bits):
    deep = noise(100, 100).astype(np.uint16) << (bits - 8)
    path = write(tmp_path / "a.tif", deep, tile=tile, extratags=[(281, 3, 3, (most,) * 3, True)])
    handle = TiffHandle(path)
    assert np.array_equal(whole(handle), deep >> (bits - 8))
    assert f"{bits} bits a sample, of which the upper 8 are kept" in handle.notes
    assert not any("full range" in note for note in handle.notes)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize(("shift", "greatest"), [(2, 1020), (4, 4080), (6, 16320), (7, 32640), (8, None)])
def test_sixteen_bits_that_stay_dark_are_told(tmp_path, separate, shift, greatest):
    deep = noise(200, 200).astype(np.uint16) << shift
    deep[0, 0] = 255 << shift
    how = {"planarconfig": "separate"} if separate else {}
    path = write(tmp_path / "a.tif", np.moveaxis(deep, -1, 0) if separate else deep, tile=(64, 64), **how)
    told = [note for note in TiffHandle(path).notes if note.startswith(tiff_handle.DIMLY)]
    assert told == ([] if greatest is None else [tiff_handle.DIM.format(greatest)])


def test_a_dark_place_of_a_bright_slide_is_not_told_and_eight_bits_are_not_looked_at(tmp_path):
    deep = np.full((640, 640, 3), 300, np.uint16)
    deep[:, 320:] = 60000
    assert not any(
        "full range" in note for note in TiffHandle(write(tmp_path / "a.tif", deep, tile=(64, 64))).notes
    )
    dark = write(tmp_path / "b.tif", np.full((64, 64, 3), 9, np.uint8))
    assert not any("full range" in note for note in TiffHandle(dark).notes)
