"""An archive of every kind with a word planted wherever a file can hold text about a person, and the search for it."""

from __future__ import annotations

import base64
import gzip
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import tifffile
from PIL import ExifTags, Image, PngImagePlugin

from tests.pipeline.ingest.test_privacy import MARKER, marked_file
from tests.pipeline.test_tile import stained
from tests.preprocessing.radiographs.dicom_files import content_of

LABEL = (255, 0, 255)
"""The colour of the labels and overviews of slides, which show what is written on the glass; no tissue has it."""
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:creator>{MARKER}</dc:creator></x:xmpmeta>'.encode()
SIDE = 256


def needles(word: str = MARKER) -> re.Pattern[bytes]:
    """The word in UTF-8, UTF-16 and base64, which begins at any of three places of a byte triple; in any case of letters."""
    plain = [
        form
        for text in (word, word.lower())
        for form in (text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be"))
    ]
    inside = [
        base64.b64encode(bytes(shift) + form)[[0, 2, 3][shift] : -4] for form in plain for shift in range(3)
    ]
    return re.compile(b"|".join(re.escape(form) for form in {*plain, *inside}))


def unpacked(name: str, content: bytes) -> Iterator[bytes]:
    """What a file holds: as it lies, and as a reader of its kind would see it."""
    yield content
    if content[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(content))
        yield table.to_pandas().to_csv().encode()
        yield repr(table.schema.metadata).encode()
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for inner in archive.namelist():
                yield inner.encode()
                yield from unpacked(inner, archive.read(inner))
    elif content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:4] in (b"\x89PNG", b"II*\0", b"MM\0*") or content[:2] == b"\xff\xd8":
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            yield repr(image.info).encode()
            yield repr(dict(image.getexif())).encode()
    elif name.endswith(".html"):
        for inner in re.findall(rb"data:[\w/+.-]+;base64,([\w+/=]+)", content):
            yield from unpacked("", base64.b64decode(inner))


def holding(folder: Path, allowed: Callable[[Path], bool] = lambda path: False) -> list[str]:
    """Files below `folder` in whose name or content the word is, but for those that are `allowed` to."""
    pattern = needles()
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hit = bool(pattern.search(str(inside).encode()))
        if path.is_file() and not hit:
            hit = any(pattern.search(part) for part in unpacked(path.name, path.read_bytes()))
        if hit and not allowed(path):
            found.append(str(inside))
    return found


def _exif() -> bytes:
    exif = Image.Exif()
    for name in ("Artist", "ImageDescription", "Copyright", "Software", "HostComputer"):
        exif[ExifTags.Base[name]] = MARKER
    exif[ExifTags.Base.XPAuthor] = MARKER.encode("utf-16-le")
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAreaInformation] = MARKER.encode()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = MARKER.encode("utf-16-be")
    return exif.tobytes()


def _png_text() -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", MARKER)
    text.add_text("Comment", MARKER, zip=True)
    text.add_itxt("Title", MARKER)
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return text


def pictures(folder: Path) -> None:
    """PNG, JPEG and TIFF of 16 by 16 pixels with texts of every kind; one is damaged."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for number in range(12):
        image = Image.fromarray(numbers.integers(0, 256, (16, 16), dtype=np.uint8))
        stem = folder / f"{MARKER}_{number}"
        if number % 3 == 0:
            image.save(stem.with_suffix(".png"), pnginfo=_png_text(), exif=_exif())
        elif number % 3 == 1:
            image.save(stem.with_suffix(".jpg"), exif=_exif(), xmp=XMP, comment=MARKER)
        else:
            image.save(stem.with_suffix(".tif"), exif=_exif())
    (folder / f"{MARKER}_bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + MARKER.encode())


def radiographs(folder: Path) -> None:
    """DICOM with the word in every element, in overlay planes and curves, and a PNG of a radiograph."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(1)
    first = numbers.integers(0, 4096, (96, 96), dtype=np.uint16)
    plane = (MARKER.encode() * 200)[: 96 * 96 // 8]
    image = pydicom.dcmread(io.BytesIO(marked_file(first)))
    overlay = (
        (0x0010, "US", 96), (0x0011, "US", 96), (0x0100, "US", 1), (0x0040, "CS", "G"), (0x0022, "LO", MARKER), (0x3000, "OW", plane),
    )  # fmt: skip
    for element, kind, value in overlay:
        image.add_new((0x6000, element), kind, value)
    image.add_new((0x5000, 0x3000), "OW", plane)
    image.add_new((0xFFFC, 0xFFFC), "OB", MARKER.encode())
    content = content_of(image)
    for number in range(14):
        pixels = numbers.integers(0, 4096, (96, 96), dtype=np.uint16)
        (folder / f"{MARKER}_{number}.dcm").write_bytes(content.replace(first.tobytes(), pixels.tobytes()))
    Image.fromarray((first // 16).astype(np.uint8)).save(
        folder / f"{MARKER}.png", pnginfo=_png_text(), exif=_exif()
    )
    (folder / f"{MARKER}_bad.dcm").write_bytes(content[:3000])


def slides(folder: Path) -> None:
    """TIFF slides of tissue with texts in their tags, and a label and an overview as further pages."""
    folder.mkdir(parents=True)
    for number in range(3):
        pixels = stained(512, number)
        with tifffile.TiffWriter(folder / f"{MARKER}_{number}.tif") as writer:
            texts = [(tag, "s", 0, MARKER, True) for tag in (315, 316, 33432)]
            texts.append((700, "B", len(XMP), XMP, True))
            writer.write(
                pixels, tile=(128, 128), photometric="rgb", description=MARKER, software=MARKER, datetime="2001:02:03 04:05:06",
                resolution=(20000, 20000), resolutionunit="CENTIMETER", extratags=texts, metadata=None,
            )  # fmt: skip
            for name in ("label", "macro"):
                shown = np.full((64, 96, 3), LABEL, np.uint8)
                writer.write(
                    shown, photometric="rgb", description=f"{name} {MARKER}", subfiletype=1, metadata=None
                )
    (folder / f"{MARKER}_bad.tif").write_bytes(b"II*\0" + MARKER.encode())


def tables(folder: Path) -> None:
    """Parquet with the word in its metadata, of the file and of a column; the other file is damaged."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(2)
    frame = pd.DataFrame(numbers.normal(size=(60, 4)), columns=list("abcd")).assign(y=[0, 0, 1] * 20)
    table = pa.Table.from_pandas(frame)
    field = table.schema.field("a").with_metadata({"patient": MARKER})
    schema = table.schema.set(0, field).with_metadata(
        {"PatientName": MARKER, **(table.schema.metadata or {})}
    )
    pq.write_table(table.cast(schema), folder / f"{MARKER}.parquet")
    (folder / f"{MARKER}_bad.parquet").write_bytes(b"PAR1" + MARKER.encode())


def embeddings(folder: Path) -> None:
    """CLAM-like HDF5 with the word in attributes of the file and of its arrays."""
    import h5py

    folder.mkdir(parents=True)
    numbers = np.random.default_rng(3)
    for number in range(3):
        with h5py.File(folder / f"{MARKER}_{number}.h5", "w") as file:
            file.attrs["patient"] = MARKER
            held = file.create_dataset("features", data=numbers.normal(size=(40, 8)).astype(np.float32))
            held.attrs["slide"] = MARKER
            file.create_dataset("coords", data=np.stack(np.divmod(np.arange(40), 8), 1) * 256).attrs[
                "name"
            ] = MARKER
    (folder / f"{MARKER}_bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + MARKER.encode())
