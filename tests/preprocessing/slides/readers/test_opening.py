"""Which reader opens what, as `Slide` shows it: OME-TIFF, pyramids in SubIFDs, refusals of both, mutated files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.headers import level_headers
from esad.preprocessing.slides.readers.probe import probe_slide
from esad.preprocessing.slides.reading import Slide, UnknownScale, UnreadableRegion
from esad.preprocessing.slides.tile_reader import TileReader
from esad.preprocessing.slides.tiling import ReadPlan, tile_grid

MUTATIONS = 150
"""Of each of the seed files below."""


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_ome(path, levels, beside=(), mpp=500.0, unit="nm", planes=False, **options):
    """An OME-TIFF: `beside`, (name, picture) first, then the slide with its lower levels in SubIFDs."""
    options = {"tile": (64, 64), "compression": "zlib", "photometric": "rgb"} | options
    if planes:
        options["photometric"] = "minisblack"
        levels = [np.moveaxis(level, -1, 0).copy() for level in levels]
    scale = (
        {}
        if mpp is None
        else {f"PhysicalSize{a}{u}": v for a in "XY" for u, v in (("", mpp), ("Unit", unit))}
    )
    with tifffile.TiffWriter(path, ome=True) as file:
        for name, picture in beside:
            file.write(
                picture,
                photometric="rgb",
                metadata={"axes": "YXS", "Name": name, "PhysicalSizeX": 30.0, "PhysicalSizeY": 30.0},
            )
        file.write(
            levels[0],
            subifds=len(levels) - 1,
            metadata={"axes": "CYX" if planes else "YXS", **scale},
            **options,
        )
        for level in levels[1:]:
            file.write(level, subfiletype=1, **options)
    return path


def region(slide, level=0):
    return slide.region(0, 0, level, *slide.handle.level_dimensions[level])


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("compression", ["zlib", "jpeg", "jpeg2000", "lzw", None])
def test_an_ome_tiff_has_its_scale_and_the_levels_of_its_subifds(tmp_path, planes, compression):
    levels = [noise(256, 320), noise(128, 160, 1), noise(64, 80, 2)]
    path = write_ome(tmp_path / "a.ome.tif", levels, planes=planes, compression=compression)
    with tifffile.TiffFile(path) as file:
        truth = [level.asarray() for level in file.series[0].levels]
    with Slide(path) as slide:
        assert slide.mpp == pytest.approx(0.5)
        assert (slide.reader, slide.format) == ("tifffile", "OME-TIFF")
        assert slide.handle.level_downsamples == (1.0, 2.0, 4.0)
        for number, level in enumerate(truth):
            assert np.array_equal(region(slide, number), np.moveaxis(level, 0, -1) if planes else level)
        assert any("three channels" in note for note in slide.notes) == planes
        assert [level.readable for level in level_headers(slide)] == [True] * 3
        assert slide.plan(1.0, exact=False).level == 1
        assert slide.thumbnail(32)[0].shape == (26, 32, 3)
        assert np.array_equal(slide.overview(4), region(slide, 2))


def test_the_slide_is_taken_not_the_label_before_it(tmp_path):
    beside = [("label", noise(90, 70, 5)), ("macro", noise(300, 900, 6))]
    path = write_ome(tmp_path / "a.ome.tif", [noise(256, 320), noise(128, 160, 1)], beside)
    with Slide(path) as slide:
        assert slide.handle.level_dimensions == ((320, 256), (160, 128))
        assert slide.mpp == pytest.approx(0.5)
        assert np.array_equal(region(slide), noise(256, 320))


def test_two_slides_in_one_file_are_told(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for seed, side in ((0, 200), (1, 180)):
            file.write(
                noise(side, side, seed),
                photometric="rgb",
                metadata={"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5},
            )
    with Slide(tmp_path / "a.ome.tif") as slide:
        assert slide.width == 200
        assert any("1 further image" in note for note in slide.notes)


@pytest.mark.parametrize("order", ["file", "person", "objective"])
def test_the_scale_is_the_files_then_the_persons_then_the_objectives(tmp_path, order):
    path = write_ome(
        tmp_path / "a.ome.tif", [noise(128, 128)], mpp=0.25 if order == "file" else None, unit="um"
    )
    with tifffile.TiffFile(path, mode="r+b") as file:
        text = (
            file.pages[0]
            .description.replace(
                "<Image ",
                '<Instrument ID="I:0"><Objective ID="O:0" NominalMagnification="20"/></Instrument><Image ',
            )
            .replace("<Pixels ", '<ObjectiveSettings ID="O:0"/><Pixels ')
        )
        file.pages[0].tags[270].overwrite(text.encode())
    with Slide(path, 0.4 if order != "objective" else None) as slide:
        assert slide.mpp == pytest.approx({"file": 0.25, "person": 0.4, "objective": 0.5}[order])
        assert any("objective" in note for note in slide.notes) == (order == "objective")


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_a_scale_in_pixels_is_none_and_the_person_is_asked(tmp_path, unit):
    path = write_ome(tmp_path / "a.ome.tif", [noise(128, 128)], mpp=1.0, unit=unit)
    with pytest.raises(UnknownScale, match=rf"a\.ome\.tif.*\({unit}\).*--slide-mpp"):
        Slide(path)
    assert Slide(path, 0.5).mpp == 0.5


def test_pixels_that_are_not_square_are_told_and_averaged(tmp_path):
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.4, "PhysicalSizeY": 0.6}
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(64, 64), photometric="rgb", metadata=metadata)
    with Slide(tmp_path / "a.ome.tif") as slide:
        assert slide.mpp == pytest.approx(0.5)
        assert any("0.4 x 0.6 um" in note for note in slide.notes)


@pytest.mark.parametrize(
    ("shape", "axes", "words", "told"),
    [
        ((64, 64), "YX", {}, "1 channel;"),
        ((4, 64, 64), "CYX", {}, "4 channels in 4 planes"),
        ((7, 64, 64), "CYX", {}, "7 channels"),
        ((3, 64, 64), "CYX", {"Channel": {"Name": ["DAPI", "FITC", "Cy3"]}}, "other names than red, green and blue"),
        ((3, 64, 64), "CYX", {"Channel": {"EmissionWavelength": [460, 520, 600]}}, "fluorescence"),
        ((5, 64, 64, 3), "ZYXS", {}, "5 focal planes"),
    ],
)  # fmt: skip
def test_what_is_no_stained_slide_is_refused_in_words(tmp_path, shape, axes, words, told):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", picture, photometric="rgb" if axes[-1] == "S" else "minisblack",
        metadata={"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, **words},
    )  # fmt: skip
    with pytest.raises(InputError, match=rf"a\.ome\.tif.*{told}.*save the slide as"):
        Slide(tmp_path / "a.ome.tif")


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (64, 64), "compression": name} for name in ("jpeg2000", "aperio_jp2000_ycbc", "aperio_jp2000_rgb", "webp", "jpegxl")
    ] + [{"compression": name} for name in (None, "zlib", "lzw", "jpeg", "zstd")],
)  # fmt: skip
def test_what_openslide_cannot_open_is_read_by_tifffile_to_the_same_pixels(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, noise(300, 200), photometric="rgb", metadata=None, resolution=(20_000, 20_000), resolutionunit="CENTIMETER", **options
    )  # fmt: skip
    truth = tifffile.imread(path)
    with Slide(path) as slide:
        assert (slide.reader, slide.format) == ("tifffile", "TIFF")
        assert slide.mpp == pytest.approx(0.5)
        assert slide.notes[0].startswith("read by tifffile (")
        corners = tile_grid(slide.width, slide.height, 2.0, 16, 16)
        with TileReader(slide, ReadPlan(0, 1.0, 2.0, 1.0), 16) as reader:
            tiles, read = reader.read_all(corners, threads=2)
            assert reader.reader == "tifffile"
    assert read.all()
    for tile, (x, y) in zip(tiles, corners, strict=True):
        sums = truth[y : y + 32, x : x + 32].astype(int).reshape(16, 2, 16, 2, 3).sum((1, 3))
        assert np.array_equal(tile, (sums + 2) // 4)


@pytest.mark.parametrize("tile", [(64, 64), None])
def test_sixteen_bits_are_cut_to_their_upper_eight_whatever_the_layout(tmp_path, tile):
    deep = noise(128, 128).astype("u2") * 256 + noise(128, 128, 1)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", metadata=None, tile=tile)
    with Slide(tmp_path / "a.tif", 0.5) as slide:
        assert np.array_equal(region(slide), deep >> 8)
        assert any("16 bits" in note for note in slide.notes)


def test_the_bits_that_ome_xml_calls_significant_are_the_ones_that_count(tmp_path):
    deep = noise(64, 64).astype("u2") * 16
    metadata = {"axes": "YXS", "SignificantBits": 12, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", deep, photometric="rgb", metadata=metadata)
    with Slide(tmp_path / "a.ome.tif") as slide:
        assert np.array_equal(region(slide), noise(64, 64))
        assert any("12 bits" in note for note in slide.notes)


@pytest.mark.parametrize(
    "tags",
    [
        {"resolution": (72, 72), "resolutionunit": "INCH"}, {"resolution": (96, 96), "resolutionunit": "INCH"},
        {"resolution": (1, 1), "resolutionunit": "INCH"}, {"resolution": (1, 1), "resolutionunit": "CENTIMETER"},
        {"resolution": (20_000, 20_000), "resolutionunit": "NONE"}, {"resolution": (300, 300), "resolutionunit": "INCH"}, {},
    ],
)  # fmt: skip
@pytest.mark.parametrize("tile", [(64, 64), None])
def test_resolutions_that_are_defaults_state_nothing(tmp_path, tags, tile):
    tifffile.imwrite(tmp_path / "a.tif", noise(128, 128), photometric="rgb", metadata=None, tile=tile, **tags)
    with pytest.raises(UnknownScale, match=r"a\.tif.*--slide-mpp"):
        Slide(tmp_path / "a.tif")


@pytest.mark.parametrize("tile", [(64, 64), None])
def test_a_description_states_the_scale_where_no_resolution_does(tmp_path, tile):
    options = {
        "photometric": "rgb",
        "metadata": None,
        "tile": tile,
        "description": "A scanner|AppMag = 20|MPP = 0.4990",
    }
    tifffile.imwrite(tmp_path / "a.tif", noise(128, 128), **options)
    with Slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == pytest.approx(0.499)


def test_what_neither_reads_is_refused_with_what_both_say(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, noise(64, 64), photometric="rgb", metadata=None, tile=(64, 64), compression="jpeg2000"
    )
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[259].overwrite(34661)  # JBIG
    with pytest.raises(
        InputError, match=r"a\.tif: OpenSlide cannot open it \(.+\), and tifffile cannot read it.*OME-TIFF"
    ):
        Slide(path, 0.5)
    (tmp_path / "b.svs").write_text("no slide")
    with pytest.raises(InputError, match=r"b\.svs: OpenSlide cannot open it.*Slides are read in"):
        Slide(tmp_path / "b.svs", 0.5)


def test_a_giant_declared_shape_is_refused(tmp_path):
    for name, options in (
        ("a", {"tile": (16, 16)}),
        ("b", {"tile": (16, 16), "compression": "jpeg2000"}),
        ("c", {}),
    ):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, noise(16, 16), photometric="rgb", metadata=None, **options)
        with tifffile.TiffFile(path, mode="r+b") as file:
            for code in (256, 257) + ((322, 323) if "tile" in options else ()):
                file.pages[0].tags[code].overwrite(4_000_000)
        with pytest.raises(InputError, match=rf"{name}\.tif"):
            Slide(path, 0.5)


def seeds(folder) -> list[Path]:
    """Small files of every kind that the readers part between them."""
    made = []
    for name, options in {
        "tiled": {"tile": (32, 32), "compression": "zlib"}, "strips": {"rowsperstrip": 8, "compression": "lzw"}, "plain": {},
        "jpeg": {"tile": (32, 32), "compression": "jpeg"}, "j2k": {"tile": (32, 32), "compression": "jpeg2000"},
        "webp": {"tile": (32, 32), "compression": "webp"}, "jxl": {"tile": (32, 32), "compression": "jpegxl"},
        "big": {"tile": (32, 32), "compression": "zstd", "bigtiff": True, "byteorder": ">"},
    }.items():  # fmt: skip
        made.append(folder / f"{name}.tif")
        tifffile.imwrite(made[-1], noise(64, 96), photometric="rgb", metadata=None, **options)
    made.append(write_ome(folder / "ome.ome.tif", [noise(64, 96), noise(32, 48)], tile=(32, 32)))
    return made


def mutate(content, numbers):
    """Bytes changed, cut, doubled or zeroed, more often where the structure is than in the pixels."""
    broken = bytearray(content)
    for _ in range(int(numbers.integers(1, 8))):
        place = int(numbers.integers(0, len(broken) if numbers.random() < 0.4 else min(len(broken), 600)))
        kind = int(numbers.integers(0, 5))
        if kind == 0:
            broken[place] = int(numbers.integers(0, 256))
        elif kind == 1:
            broken[place : place + 4] = bytes(numbers.choice([0, 1, 127, 255], 4).astype(np.uint8))
        elif kind == 2 and len(broken) > 20:
            del broken[max(8, place) :][:1]
        elif kind == 3 and numbers.random() < 0.2:
            del broken[max(8, place) :]
        else:
            broken[place : place + 2] = int(numbers.integers(0, 1 << 16)).to_bytes(2, "little")
    return bytes(broken)


@pytest.mark.parametrize("kind", range(9))
def test_mutated_files_are_read_or_refused_in_words(tmp_path, kind):
    seed = seeds(tmp_path)[kind]
    content, path = seed.read_bytes(), tmp_path / "x.tif"
    reasons = []
    for number in range(MUTATIONS):
        path.write_bytes(mutate(content, np.random.default_rng([kind, number])))
        try:
            probe_slide(path)  # as the stage does: a death there is a refusal here
            with Slide(path, 0.5) as slide:
                slide.region(0, 0, len(slide.handle.level_dimensions) - 1, 50, 50)
                slide.thumbnail(64)
                level_headers(slide)
                with TileReader(slide, ReadPlan(0, 1.0, 1.0, 0.5), 16) as reader:
                    reader.read_all(tile_grid(min(slide.width, 64), min(slide.height, 64), 1.0, 16, 16))
        except (InputError, UnreadableRegion) as error:
            reasons.append(str(error))
    assert reasons
    assert [
        told for told in reasons if "x.tif" not in told or re.search(r"(Error|Exception)[.)]*$", told)
    ] == []
