"""What the directories of a TIFF are: which image is the slide, its levels, where their colours lie, its scale.

TIFF 6.0, BigTIFF, and OME-TIFF (pyramids in SubIFDs). Nothing is decoded here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import tifffile

from esad.preprocessing.slides.readers.ome import OmeImage, is_ome, read_ome
from esad.preprocessing.slides.readers.stated_scale import UM_PER_TIFF_UNIT, microscopic, mpp_in_words

WHITE_IS_ZERO, GREY, RGB, PALETTE, MASK, CMYK, YCBCR, LAB = 0, 1, 2, 3, 4, 5, 6, 8
PHOTOMETRICS = {
    WHITE_IS_ZERO: "grey (white is 0)", GREY: "grey", PALETTE: "a palette of colours", MASK: "a mask", CMYK: "CMYK", LAB: "CIE L*a*b*",
}  # fmt: skip
CONVERTED = (6, 7, 34892, 33007, 50001, 34927, 50002, 52546)
"""Compressions whose decoders give RGB themselves where the directory says YCbCr: JPEG, WebP, JPEG XL."""
JPEGS = (6, 7, 34892, 33007)
SIXTEEN = 16
MOST_DIRECTORIES = 1 << 12
MOST_SUBLEVELS = 64
MOST_SIDE = 1 << 20
MOST_SEGMENT_BYTES = 1 << 29
"""A tile or strip that decodes to more than 512 MiB is not decoded."""
STRIP_BYTES = 1 << 20
"""Strips of uncompressed rows are read in parts of so many bytes."""
SIMILAR = 0.25
"""Images beside the slide of more than this share of its area are told."""
UM_PER_PIXEL_AT_1X = 10.0
NEAR = 0.1
"""A downsample differs by no more from what the sizes of a small level give."""


class Refused(Exception):
    """A TIFF that is understood, or too damaged to be, and that is no slide for us; the text says why, without the file."""


@dataclass
class TiffLevel:
    """One level: size in pixels, and its pages: one with all samples, or one for each of red, green and blue.

    `rows`, `columns` of a segment (a tile, or a strip as wide as the level); `planes`: one colour each segment.
    `down_by`: 16-bit values are shifted right by so many bits.
    """

    width: int
    height: int
    pages: list[tifffile.TiffPage]
    columns: int
    rows: int
    planes: bool
    down_by: int
    raw: bool = False
    """Uncompressed strips, read in parts of `rows` rows."""

    @property
    def across(self) -> int:
        """Segments beside each other."""
        return -(-self.width // self.columns)

    @property
    def down(self) -> int:
        """Segments below each other."""
        return -(-self.height // self.rows)


@dataclass
class TiffLayout:
    """The slide in a TIFF: levels, finest first, `mpp` of x and y where stated, and what is to be told of it."""

    levels: list[TiffLevel]
    downsamples: list[float]
    kind: str
    mpp: tuple[float | None, float | None]
    by_magnification: float | None = None
    """Microns per pixel by the objective alone: 10 / magnification."""
    told_of_scale: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class _Candidate:
    """An image that may be the slide: one page, or three; of OME-XML where there is any."""

    pages: list[tifffile.TiffPage]
    image: OmeImage | None = None
    bits: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        return int(self.pages[0].imagewidth), int(self.pages[0].imagelength)


def read_layout(file: tifffile.TiffFile) -> TiffLayout:
    """The slide of an open TIFF; Refused where there is none. Damaged directories raise whatever tifffile raises."""
    first = file.pages.first
    images = read_ome(first.description) if is_ome(first.description) else None
    candidates, reasons = _of_ome(file, images) if images else _of_pages(file)
    if not candidates:
        raise Refused("; ".join(dict.fromkeys(reasons)) or "it holds no image")
    notes: list[str] = []
    found = []
    for candidate in candidates:
        base = _level(candidate, candidate.pages)
        found.append((candidate, [base, *_levels(file, candidate, base, images is not None, notes)]))
    chosen, levels = max(found, key=lambda pair: (len(pair[1]) > 1, pair[1][0].width * pair[1][0].height))
    area = levels[0].width * levels[0].height
    own = {id(page) for level in levels for page in level.pages}
    similar = [
        other for other, _ in found
        if id(other.pages[0]) not in own and math.prod(other.size) >= SIMILAR * area
    ]  # fmt: skip
    if similar:
        notes.append(f"{len(similar)} further images of similar size in the file are not read")
    notes = [*dict.fromkeys(notes), *_notes(chosen, levels[0])]
    if is_ome(first.description) and images is None:
        notes.append("its OME-XML is damaged and not used")
    layout = TiffLayout(
        levels, [_downsample(levels[0], level) for level in levels], "OME-TIFF" if images else "TIFF",
        *_scale(chosen), notes=notes,
    )  # fmt: skip
    return layout


def _of_ome(file: tifffile.TiffFile, images: list[OmeImage]) -> tuple[list[_Candidate], list[str]]:
    """(what may be the slide, why the others cannot be) among the images of OME-XML."""
    candidates, reasons = [], []
    for image in images:
        try:
            candidates.append(_ome_candidate(file, image))
        except Refused as error:
            if not image.beside:
                reasons.append(str(error))
    slides = [found for found in candidates if found.image is not None and not found.image.beside]
    return slides or candidates, reasons


def _ome_candidate(file: tifffile.TiffFile, image: OmeImage) -> _Candidate:
    if any(plane is None for plane in image.planes):
        raise Refused("its pixels lie in other files (an OME-TIFF of several files); join them into one")
    if image.depth > 1 or image.times > 1:
        raise Refused(
            f"{image.depth} focal planes and {image.times} points in time; a slide has one of each (bfconvert -z 0 -timepoint 0)"
        )
    if image.fluorescent:
        raise Refused("its channels are of fluorescence, not the red, green and blue of a stained slide")
    if image.channels not in (3, 4):
        raise Refused(
            f"{_count(image.channels, 'channel')}; a slide has red, green and blue (fluorescence and grey images are not read)"
        )
    pages = [_page(file, plane) for plane in image.planes if plane is not None]
    if len(pages) == 1:
        check_colour(pages[0], stated=True)
        return _Candidate(pages, image, image.bits or _stated_bits(pages[0]))
    if len(pages) != 3 or any(page.samplesperpixel != 1 for page in pages):
        raise Refused(f"{image.channels} channels in {len(pages)} planes; a slide has red, green and blue")
    if image.rgb_order is None:
        raise Refused(
            "its three channels have other names than red, green and blue; fluorescence is not read"
        )
    if len({(page.imagewidth, page.imagelength, page.bitspersample) for page in pages}) != 1:
        raise Refused("its three channels differ in size")
    for page in pages:
        _check_samples(page)
    bits = image.bits or max(_stated_bits(page) or SIXTEEN for page in pages)
    return _Candidate([pages[place] for place in image.rgb_order], image, bits)


def _stated_bits(page: tifffile.TiffPage) -> int | None:
    """The bits of the greatest MaxSampleValue (TIFF 6.0, 281) of the page, None where it states none."""
    stated = np.atleast_1d(page.tags.valueof(281, default=0))
    greatest = int(stated.max()) if stated.size and stated.dtype.kind in "iu" else 0
    return greatest.bit_length() if greatest > 0 else None


def _of_pages(file: tifffile.TiffFile) -> tuple[list[_Candidate], list[str]]:
    """(what may be the slide, why the others cannot be) among the directories of a TIFF."""
    candidates, reasons = [], []
    for page in _pages(file):
        try:
            check_colour(page, stated=False)
        except Refused as error:
            reasons.append(str(error))
            continue
        candidates.append(_Candidate([page], bits=_stated_bits(page)))
    largest = max((math.prod(found.size) for found in candidates), default=0)
    return [found for found in candidates if 2 * math.prod(found.size) > largest], reasons


def _pages(file: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    for page in itertools.islice(file.pages, MOST_DIRECTORIES):
        if isinstance(page, tifffile.TiffPage):
            yield page


def _page(file: tifffile.TiffFile, number: int) -> tifffile.TiffPage:
    try:
        page = file.pages[number]
    except IndexError:
        raise Refused(
            f"its OME-XML names directory {number}, which the file has not; is the copy complete?"
        ) from None
    if not isinstance(page, tifffile.TiffPage):
        raise Refused(f"directory {number} is no image")
    return page


def check_colour(page: tifffile.TiffPage, stated: bool) -> None:
    """Refused where the page has no red, green and blue, or is turned; `stated`: other words say that its samples are these."""
    photometric, samples = int(page.photometric), int(page.samplesperpixel)
    _check_samples(page)
    if photometric == YCBCR and samples == 3:
        if int(page.compression) not in CONVERTED:
            raise Refused("YCbCr colours without JPEG; save it as RGB")
        return
    if samples in (3, 4) and (photometric == RGB or (photometric == GREY and (stated or samples == 3))):
        return
    if photometric == RGB or samples > 1:
        raise Refused(
            f"{_count(samples, 'sample')} a pixel of {PHOTOMETRICS.get(photometric, 'colour')}; a slide has red, green and blue"
        )
    raise Refused(
        f"one sample a pixel, {PHOTOMETRICS.get(photometric, 'of an unknown kind')}; a slide has red, green and blue"
    )


def _check_samples(page: tifffile.TiffPage) -> None:
    bits, form = page.bitspersample, int(page.sampleformat)
    if not isinstance(bits, int) or not 8 <= bits <= SIXTEEN or form != 1:
        kind = {1: "whole", 2: "signed", 3: "floating-point"}.get(form, "other")
        raise Refused(f"samples are {kind} numbers of {bits} bits; a slide has whole numbers of 8 to 16")
    if page.imagedepth != 1 or page.tiledepth > 1:
        raise Refused("it is a volume")
    orientation = page.tags.valueof(274, default=1)
    if orientation not in (0, 1):  # 0 is no value of TIFF 6.0, and writers that leave it mean none
        raise Refused(
            f"its picture is stored turned or mirrored (Orientation {str(orientation)[:20]}), which is not undone"
        )


def _level(candidate: _Candidate, pages: list[tifffile.TiffPage]) -> TiffLevel:
    """Geometry of a level; Refused where sizes make no sense or tiles are missing from the lists."""
    page = pages[0]
    width, height, bits = int(page.imagewidth), int(page.imagelength), int(page.bitspersample)
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        raise Refused(f"it declares {width} x {height} pixels")
    tiled = bool(page.is_tiled)
    columns, rows = (int(page.tilewidth), int(page.tilelength)) if tiled else (width, int(page.rowsperstrip))
    rows = rows if tiled else min(rows, height)
    if columns <= 0 or rows <= 0:
        raise Refused(f"it declares {'tiles' if tiled else 'strips'} of {columns} x {rows} pixels")
    planes = len(pages) == 3 or (int(page.planarconfig) == 2 and page.samplesperpixel > 1)
    stated = candidate.bits if candidate.bits and candidate.bits <= bits else bits
    level = TiffLevel(width, height, pages, columns, rows, planes, max(0, stated - 8))
    item = 1 if bits == 8 else 2
    row_bytes = columns * item * (1 if planes else int(page.samplesperpixel))
    for one in pages:
        _check_lists(one, level)
    if (
        not tiled
        and int(page.compression) == 1
        and int(page.predictor) == 1
        and bits in (8, SIXTEEN)
        and page.fillorder == 1
    ):
        level.raw, level.rows = True, _part(rows, height, max(1, STRIP_BYTES // row_bytes))
    if row_bytes * level.rows > MOST_SEGMENT_BYTES:
        raise Refused(
            f"a single {'tile' if tiled else 'strip'} of {columns} x {rows} pixels, which is decoded as a whole, is too large; "
            "save it with tiles of 256 or 512 pixels (vips tiffsave --tile, bfconvert -tilex 512 -tiley 512)"
        )
    return level


def _check_lists(page: tifffile.TiffPage, level: TiffLevel) -> None:
    needed = level.across * level.down
    if level.planes and int(page.planarconfig) == 2 and page.samplesperpixel > 1:
        needed *= int(page.samplesperpixel)
    found = min(len(page.dataoffsets), len(page.databytecounts))
    if found < needed:
        raise Refused(f"{needed} tiles or strips are needed and {found} are listed; is the copy complete?")
    size = page.parent.filehandle.size
    ends = [
        offset + count
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
        if offset and count
    ]
    beyond = sum(end > size for end in ends)
    if beyond:
        raise Refused(
            f"the file ends before {beyond} of its {len(ends)} tiles or strips: the copy is incomplete"
        )


def _part(rows: int, height: int, most: int) -> int:
    """The most rows, up to `most`, that divide a strip of `rows` rows; any number where there is one strip."""
    if rows >= height:
        return min(rows, most)
    return next(part for part in range(min(rows, most), 0, -1) if rows % part == 0)


def _levels(
    file: tifffile.TiffFile, candidate: _Candidate, base: TiffLevel, ome: bool, notes: list[str]
) -> list[TiffLevel]:
    """Coarser levels, finest first: SubIFDs, else directories of decreasing size; what cannot be one is left out."""
    below = list(zip(*(_below(page) for page in candidate.pages), strict=False))
    if not below and not (ome and len(candidate.pages) > 1):
        below = [(page,) for page in _pages(file) if _may_be_level(page, candidate.pages[0], ome)]
    levels: list[TiffLevel] = []
    for pages in below:
        try:
            if len(pages) == 1:
                check_colour(pages[0], stated=True)
            else:
                for page in pages:
                    _check_samples(page)
            level = _level(candidate, list(pages))
        except Refused:
            notes.append("a reduced level that cannot be read is left out")
            continue
        alike = level.planes == base.planes and level.down_by == base.down_by
        if alike and same_shape(base, level) and (not levels or level.width < levels[-1].width):
            levels.append(level)
    return levels


def _below(page: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    """The images in a page's SubIFDs, largest first."""
    if not page.subifds or page.pages is None:
        return []
    found = [
        sub for sub in itertools.islice(page.pages, MOST_SUBLEVELS) if isinstance(sub, tifffile.TiffPage)
    ]
    return sorted(found, key=lambda sub: -int(sub.imagewidth))


def _may_be_level(page: tifffile.TiffPage, base: tifffile.TiffPage, ome: bool) -> bool:
    """Whether a directory of the file may be a reduced copy: marked so, or tiled as the base and not another OME image."""
    if page.imagewidth >= base.imagewidth or page.imagelength >= base.imagelength:
        return False
    if page.samplesperpixel < 3:
        return False
    reduced = bool(int(page.subfiletype) & 1)
    return reduced if ome else reduced or bool(page.is_tiled) == bool(base.is_tiled)


def same_shape(base: TiffLevel, level: TiffLevel) -> bool:
    """Whether one downsample gives the level's size from the base's, rounded up or down by less than a pixel."""
    if level.width >= base.width or level.height >= base.height:
        return False
    least = max(base.width / (level.width + 1), base.height / (level.height + 1))
    most = min(base.width / max(level.width - 1, 0.5), base.height / max(level.height - 1, 0.5))
    return least < most and abs(
        math.log((base.width * level.height) / (base.height * level.width))
    ) < math.log(2)


def _downsample(base: TiffLevel, level: TiffLevel) -> float:
    """Level-0 pixels a pixel: the whole number that sizes were rounded from, where there is one; a power of 2 first."""
    sizes = ((base.width, level.width), (base.height, level.height))
    mean = sum(full / part for full, part in sizes) / 2

    def fits(whole: int) -> bool:
        return all(math.floor(full / whole) <= part <= math.ceil(full / whole) for full, part in sizes)

    power = 1 << round(math.log2(mean))
    wholes = [whole for whole in (power, round(mean)) if fits(whole) and abs(whole / mean - 1) < NEAR]
    return float(wholes[0]) if wholes else mean


def _scale(candidate: _Candidate) -> tuple[tuple[float | None, float | None], float | None, str | None]:
    """(mpp of x and y, mpp by the objective, what the file says instead)."""
    page, image = candidate.pages[0], candidate.image
    if image is not None and (image.width, image.height) != candidate.size:
        return _of_page(page), None, _other_size(candidate)
    mpp = image.mpp if image is not None else (None, None)
    if mpp == (None, None):
        mpp = _of_page(page)
    power = image.magnification if image is not None else None
    by_power = microscopic(UM_PER_PIXEL_AT_1X / power) if power else None
    return mpp, by_power, image.told if image is not None else None


def _other_size(candidate: _Candidate) -> str | None:
    """What to say of OME-XML of another picture: one that was reduced keeps the words, and not the pixel size; else None."""
    image, (width, height) = candidate.image, candidate.size
    if image is None or (image.width, image.height) == (width, height):
        return None
    return f"its OME-XML is of {image.width} x {image.height} pixels, the picture {width} x {height}: its pixel size is not used"


def _of_page(page: tifffile.TiffPage) -> tuple[float | None, float | None]:
    """Microns per pixel of x and y by the directory's resolution, else its descriptions."""
    mpp = _of_resolution(page)
    if mpp != (None, None):
        return mpp
    stated = described_mpp(page)
    return stated, stated


def described_mpp(page: tifffile.TiffPage) -> float | None:
    """Microns per pixel by the first of the page's descriptions that states them; some writers add one of their own."""
    texts = [str(text) for text in page.tags.getall(270, default=[]) or [] if isinstance(text, str | bytes)]
    found = (mpp_in_words(text, _rational(page, 282)) for text in [page.description, *texts])
    return next((mpp for mpp in found if mpp is not None), None)


def _of_resolution(page: tifffile.TiffPage) -> tuple[float | None, float | None]:
    """Microns per pixel by XResolution and YResolution; None where they have no unit or are those of print and screens."""
    unit = UM_PER_TIFF_UNIT.get(int(page.tags.valueof(296, default=2)))
    found = [_rational(page, code) for code in (282, 283)]
    x, y = (microscopic(unit / value) if unit and value else None for value in found)
    return x, y


def _rational(page: tifffile.TiffPage, code: int) -> float | None:
    value = np.asarray(page.tags.valueof(code, default=(0, 1)), dtype=float).reshape(-1)
    if value.size == 1:
        return float(value[0])
    return float(value[0] / value[1]) if value.size == 2 and value[1] > 0 and value[0] > 0 else None


def _notes(candidate: _Candidate, base: TiffLevel) -> list[str]:
    """What was assumed of the pixels."""
    page, notes = candidate.pages[0], []
    bits = int(page.bitspersample)
    other = _other_size(candidate)
    if other is not None:
        notes.append(other)
    if bits > 8:
        notes.append(f"{base.down_by + 8} bits a sample, of which the upper 8 are kept")
    if len(candidate.pages) == 3:
        notes.append("three channels taken as red, green and blue")
    elif int(page.photometric) == GREY:
        notes.append("three samples taken as red, green and blue")
    if page.samplesperpixel == 4:
        notes.append("its alpha channel is dropped")
    return notes


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def is_jpeg(page: tifffile.TiffPage) -> bool:
    """Whether segments need the page's shared JPEG tables."""
    return int(page.compression) in JPEGS
