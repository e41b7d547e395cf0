"""Decoding: every mode to the values a viewer shows, every orientation upright, every fault a reason in words."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from esad.preprocessing import pictures
from esad.preprocessing.errors import InputError
from esad.preprocessing.pictures import decode, read_header, to_channels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 8), dtype=np.uint8)
SMOOTH = np.stack(
    [np.add.outer(np.arange(12), np.arange(8)) * 10 + shift for shift in (0, 20, 40)], -1
).astype(np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(values: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, **options)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_modes_keep_one_channel(mode):
    image = Image.fromarray(GREY).convert(mode)
    picture = decode(saved(image), "a.png")
    assert np.array_equal(picture.pixels[..., 0], np.asarray(image.convert("L")))
    assert picture.notes == ()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colour_modes_give_three_channels_even_where_they_are_equal(mode):
    image = Image.fromarray(GREY).convert(mode)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(decode(saved(image, kind), "a").pixels, np.asarray(image.convert("RGB")))


def test_cmyk_is_shown_as_rgb_in_both_of_its_senses():
    for kind, options in (
        ("TIFF", {}),
        ("JPEG", {"quality": 100}),
    ):  # Pillow writes Adobe's inverted CMYK in JPEG
        picture = decode(saved(Image.fromarray(SMOOTH).convert("CMYK"), kind, **options), "a")
        assert np.abs(picture.pixels.astype(int) - SMOOTH).max() <= 3
        assert picture.notes == (pictures.FROM_CMYK,)


def test_what_lies_under_transparent_parts_shows():
    for mode, colours in (("RGBA", SMOOTH), ("LA", SMOOTH[..., :1])):
        alpha = np.zeros((12, 8, 1), np.uint8)
        picture = decode(saved(Image.fromarray(np.concatenate([colours, alpha], -1), mode)), "a.png")
        assert np.array_equal(picture.pixels, colours)
        assert picture.notes == (pictures.OPAQUE,)
        full = decode(saved(Image.fromarray(np.concatenate([colours, alpha + 255], -1), mode)), "a.png")
        assert full.notes == ()
    palette = Image.fromarray(GREY).convert("P")
    shown = decode(saved(palette, transparency=int(np.asarray(palette)[0, 0])), "a.png")
    assert np.array_equal(shown.pixels, np.asarray(palette.convert("RGB")))
    assert shown.notes == (pictures.OPAQUE,)


def test_sixteen_bits_take_their_full_range():
    wide = np.array([[0, 257, 65535, 32768, 128, 129]], dtype=np.uint16)
    expected = [[0, 1, 255, 128, 0, 1]]
    assert decode(saved(Image.fromarray(wide)), "a.png").pixels[..., 0].tolist() == expected
    for order in "<>":
        values = wide.astype(f"{order}u2")
        content = tiff(values, byteorder=order, photometric="minisblack")
        assert decode(content, "a.tif").pixels[..., 0].tolist() == expected
    for order in "<>":
        content = tiff(wide.astype(f"{order}u2"), byteorder=order, photometric="miniswhite")
        assert decode(content, "a.tif").pixels[..., 0].tolist() == [[255, 254, 0, 127, 255, 254]]
    rgb = np.repeat(wide[..., None], 3, -1)
    assert np.abs(decode(tiff(rgb, photometric="rgb"), "a.tif").pixels[..., 0] - expected).max() <= 1


@settings(max_examples=30, deadline=None)
@given(top=st.integers(1, 65535))
def test_sixteen_bits_that_stay_dark_are_noted(top):
    picture = decode(saved(Image.fromarray(np.array([[0, top]], dtype=np.uint16))), "a.png")
    assert picture.pixels[0, 1, 0] == round(top / 257)
    assert picture.notes == ((pictures.DIM,) if top <= 32767 else ())


def test_whole_numbers_that_are_no_grey_levels_are_refused():
    for values in ([[-1, 5]], [[0, 65536]]):
        with pytest.raises(InputError, match=r"a\.tif: grey levels of .*expected 0 to 65535"):
            decode(tiff(np.array(values, np.int32), photometric="minisblack"), "a.tif")


def test_floating_values_are_shares_or_levels():
    picture = decode(tiff(np.array([[0, 0.5, 1]], np.float32), photometric="minisblack"), "a.tif")
    assert (picture.pixels[..., 0].tolist(), picture.notes) == ([[0, 128, 255]], (pictures.SHARES,))
    picture = decode(tiff(np.array([[0, 127.6, 255]], np.float32), photometric="minisblack"), "a.tif")
    assert (picture.pixels[..., 0].tolist(), picture.notes) == ([[0, 128, 255]], (pictures.LEVELS,))


@pytest.mark.parametrize(
    ("value", "told"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (-1, "of -1 to 1"), (300, "of 0 to 300")],
)
def test_floating_values_that_are_neither_are_refused(value, told):
    with pytest.raises(InputError, match=rf"a\.tif: floating values .*{told}"):
        decode(tiff(np.array([[0, value, 1]], np.float32), photometric="minisblack"), "a.tif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_as_a_viewer_does(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    content = saved(Image.fromarray(SMOOTH), kind, exif=exif, **options)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    picture = decode(content, "a")
    assert np.array_equal(picture.pixels, expected)
    assert picture.notes == (() if orientation == 1 else (pictures.TURNED,))
    assert read_header(io.BytesIO(content)).size == expected.shape[1::-1]


@pytest.mark.parametrize("orientation", [6, 7])
def test_wide_values_are_turned_too(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    wide = GREY.astype(np.uint16) * 257
    turned = decode(saved(Image.fromarray(wide), exif=exif), "a.png").pixels[..., 0]
    flat = decode(saved(Image.fromarray(GREY), exif=exif), "a.png").pixels[..., 0]
    assert np.array_equal(turned, flat)
    assert np.array_equal(
        decode(saved(Image.fromarray(wide), "TIFF", exif=exif), "a.tif").pixels[..., 0], flat
    )


def test_damaged_exif_is_no_fault_of_the_pixels():
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0"):
        assert decode(saved(Image.fromarray(SMOOTH), "JPEG", exif=exif), "a.jpg").notes == ()
    exif = Image.Exif()
    exif[0x0112] = 99
    assert decode(saved(Image.fromarray(SMOOTH), "JPEG", exif=exif), "a.jpg").notes == ()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken_and_noted(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options), "a")
    assert picture.notes == (pictures.FIRST_FRAME,)
    assert (picture.pixels == (255, 0, 0)).all()


def test_a_tiff_of_several_pages_is_refused_with_their_number():
    pages = [Image.fromarray(GREY + shift) for shift in range(3)]
    with pytest.raises(InputError, match=r"a\.tif: 3 pages; expected one picture"):
        decode(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), "a.tif")
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(GREY, photometric="minisblack")
        writer.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1)  # a thumbnail of the first
    assert np.array_equal(decode(out.getvalue(), "a.tif").pixels[..., 0], GREY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF", "PPM"])
def test_every_format_gives_the_picture(kind):
    library = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}.get(kind)
    if library and not features.check(library):
        with pytest.raises(InputError, match="reads no"):
            decode(b"", f"a.{kind.lower()}")
        return
    options = {"JPEG": {"quality": 98}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(kind, {})
    content = saved(Image.fromarray(SMOOTH), kind, **options)
    assert np.abs(decode(content, "a").pixels.astype(int) - SMOOTH).max() <= 6
    header = read_header(io.BytesIO(content))
    assert (header.size, header.grey) == ((8, 12), False)


def test_a_format_that_pillow_lacks_is_named(monkeypatch):
    monkeypatch.setattr(features, "check", lambda library: library != "avif")
    with pytest.raises(InputError, match=r"a\.avif: .*reads no AVIF; convert it to PNG"):
        decode(b"\0\0\0\x1cftypavif", "a.avif")


def test_programs_are_not_run_as_pictures():
    with pytest.raises(InputError, match="no known format"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "a.png")


def giant(width: int, height: int) -> bytes:
    """A PNG of some bytes that states a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def test_giant_sizes_are_refused_before_decoding(monkeypatch):
    for limit in (Image.MAX_IMAGE_PIXELS, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(
            InputError, match=f"at most {pictures.MOST_PIXELS}|more than {pictures.MOST_PIXELS}"
        ):
            decode(giant(60000, 60000), "a.png")


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000", "AVIF"]), seed=st.integers(0, 10**6),
    share=st.floats(0, 1), flips=st.integers(0, 8),
)  # fmt: skip
def test_damage_of_any_kind_is_a_reason_in_words(kind, seed, share, flips):
    library = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}.get(kind)
    if library and not features.check(library):
        return
    content = bytearray(saved(Image.fromarray(SMOOTH), kind))
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(content), flips):
        content[place] = rng.integers(0, 256)
    content = bytes(content[: int(share * len(content))])
    read_header(io.BytesIO(content))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = "a.png: "
        try:
            assert decode(content, "a.png").pixels.dtype == np.uint8
        except InputError as error:
            told = str(error)
    assert told.startswith("a.png: ")
    assert not re.search(r"Error|Exception|0x[0-9a-f]|<", told)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
def test_a_picture_that_is_cut_is_refused(kind):
    content = saved(Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)), kind)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(InputError, match="a: not a readable picture"):
            decode(content[: int(share * len(content))], "a")


@pytest.mark.parametrize(
    "raised", [MemoryError, struct.error, AttributeError, IndexError, zlib.error, RecursionError]
)
def test_whatever_a_decoder_raises_refuses_the_picture_alone(monkeypatch, raised):
    def fails(*_):
        raise raised("anna")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fails)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fails, raising=False)
    with pytest.raises(InputError) as told:
        decode(saved(Image.fromarray(GREY)), "a.png")
    assert "anna" not in str(told.value)
    assert raised.__name__ not in str(told.value)


@given(value=st.tuples(*[st.integers(0, 255)] * 3))
def test_channels_become_others_as_pillow_does_it_and_grey_stays_itself(value):
    colour = np.array(value, np.uint8).reshape(1, 1, 1, 3)
    grey, note = to_channels(colour, "grey")
    assert grey[0, 0, 0, 0] == Image.fromarray(colour[0]).convert("L").getpixel((0, 0))
    assert note == pictures.TO_GREY
    back, note = to_channels(grey, "rgb")
    assert (back == grey).all()
    assert (back.shape, note) == ((1, 1, 1, 3), pictures.TO_RGB)
    assert np.array_equal(to_channels(back, "grey")[0], grey)
    for unchanged in (None, "rgb"):
        assert to_channels(colour, unchanged) == (colour, None)


@pytest.mark.parametrize(
    ("values", "options", "told"),
    [
        (np.zeros((8, 8, 3), np.float32), {"photometric": "rgb"}, "3 floating samples of 32 bits a pixel"),
        (np.zeros((8, 8, 3), np.float32), {"photometric": "rgb", "bigtiff": True}, "3 floating samples"),
        (np.zeros((8, 8, 3), np.float32), {"photometric": "rgb", "byteorder": ">"}, "3 floating samples"),
        (np.zeros((8, 8), np.float64), {}, "1 floating samples of 64 bits"),
        (np.zeros((8, 8, 3), np.int32), {"photometric": "rgb"}, "3 signed samples of 32 bits"),
    ],
)
def test_a_tiff_whose_samples_are_not_read_says_which_they_are(values, options, told):
    with pytest.raises(InputError, match=f"a TIFF of {told}.*, which is not read; save 8 or 16 bits"):
        decode(tiff(values, **options), "a.tif")


def test_a_tiff_of_an_unread_compression_or_a_damaged_directory_says_so():
    whole = tiff(np.zeros((8, 8, 3), np.float32), photometric="rgb")
    entry = struct.pack("<HHIHH", 259, 3, 1, 1, 0)
    assert whole.count(entry) == 1
    with pytest.raises(InputError, match="a TIFF of compression 50002, which is not read"):
        decode(whole.replace(entry, struct.pack("<HHIHH", 259, 3, 1, 50002, 0)), "a.tif")
    with pytest.raises(InputError, match="a damaged TIFF"):
        decode(whole[:4] + b"\xff" * 4 + whole[8:], "a.tif")


def test_values_of_12_bits_say_what_to_do():
    assert "multiply the values by 16, of 14: by 4" in pictures.DIM
    grey = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    dim, scaled = (decode(tiff(values), "a.tif") for values in (grey, grey * 16))
    assert dim.notes == (pictures.DIM,)
    assert scaled.notes == ()
    assert (dim.pixels.max(), scaled.pixels.max()) == (16, 255)
    assert all("; " not in note for note in pictures.NOTES)  # which parts them in sources.parquet
