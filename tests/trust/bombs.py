"""Files that ask for far more than they are: of pixels, rows, levels, memory or time. Each is small and soon made."""

from __future__ import annotations

import gzip
import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from tests.preprocessing.radiographs.dicom_files import content_of, make_dicom

SIDE = 60000
"""Pixels a side: a grey picture of 3.6 GB."""
DEEP = 200_000
"""Levels of nesting."""


def zeros(count: int) -> bytes:
    """A zlib stream of so many zeros, written in pieces: a thousandth of them."""
    packer, piece = zlib.compressobj(9), bytes(1 << 24)
    parts = [packer.compress(piece[: min(len(piece), count - at)]) for at in range(0, count, len(piece))]
    return b"".join([*parts, packer.flush()])


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _png(side: int, *between: bytes, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = data or zlib.compress(bytes(side * (side + 1)) if side < 100 else b"")
    chunks = [_chunk(b"IHDR", header), *between, _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_pixels() -> bytes:
    """A header of 3.6 gigapixels."""
    return _png(SIDE)


def png_just_below_the_limit() -> bytes:
    """170 million pixels that are there, below Pillow's limit, in 170 kB."""
    return _png(13000, data=zeros(13000 * 13001))


def png_text() -> bytes:
    """A packed text of 300 MB."""
    return _png(32, _chunk(b"zTXt", b"Comment\0\0" + zeros(300_000_000)))


def png_profile() -> bytes:
    """A packed colour profile of 300 MB."""
    return _png(32, _chunk(b"iCCP", b"profile\0\0" + zeros(300_000_000)))


def tiff_pixels() -> bytes:
    """A TIFF of 3.6 gigapixels, all of them in one packed strip."""
    entries = [
        (256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8),
        (277, 3, 1, 1), (278, 4, 1, SIDE), (279, 4, 1, 1000),
    ]  # fmt: skip
    data = zeros(1_000_000)[:1000].ljust(1000, b"\0")
    table = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *each) for each in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + table + bytes(4)


def jpeg_pixels() -> bytes:
    """A small JPEG whose header says 65,500 by 65,500."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(buffer, "jpeg")
    return buffer.getvalue().replace(struct.pack(">HH", 32, 32), struct.pack(">HH", 65500, 65500), 1)


def gif_frames() -> bytes:
    """A screen of 65,535 squared and an empty picture on it."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x44\x01\0;"


def _dicom(**elements: object) -> bytes:
    image = make_dicom(np.zeros((64, 64), np.uint16))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in elements.items():
            setattr(image, name, value)
        return content_of(image)


def dicom_size() -> bytes:
    """8 kB of pixels of 65,535 by 65,535."""
    return _dicom(Rows=65535, Columns=65535)


def dicom_frames() -> bytes:
    """As many frames as a 32-bit number takes."""
    return _dicom(NumberOfFrames=2**31 - 1)


def dicom_packed() -> bytes:
    """A deflated dataset with a gigabyte of zeros behind its pixels."""
    image = make_dicom(np.zeros((64, 64), np.uint16))
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = content_of(image)
    inner = content_of(make_dicom(np.zeros((64, 64), np.uint16)))
    start = inner.index(b"\x08\x00\x16\x00UI")
    private = struct.pack("<HH2sHI", 0x7FE1, 0x0010, b"OB", 0, 1_000_000_000)
    packer, piece = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(1 << 24)
    parts = [packer.compress(inner[start:] + private)]
    parts += [packer.compress(piece[: min(len(piece), 10**9 - at)]) for at in range(0, 10**9, len(piece))]
    return content[: _end_of_meta(content)] + b"".join([*parts, packer.flush()])


def _end_of_meta(content: bytes) -> int:
    """Where the file meta information ends: its first element holds its length."""
    return 132 + 12 + int(struct.unpack_from("<I", content, 132 + 8)[0])


def dicom_runs() -> bytes:
    """RLE of two bytes a run for 16,000 by 16,000 pixels of 16 bits."""
    from pydicom.encaps import encapsulate

    image = make_dicom(np.zeros((64, 64), np.uint16))
    image.file_meta.TransferSyntaxUID = RLELossless
    image.Rows = image.Columns = 16000
    segment = bytes([0x81, 0]) * (16000 * 16000 // 128)
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    image.PixelData = encapsulate([header + segment + segment])
    image["PixelData"].is_undefined_length = True
    return content_of(image)


def dicom_nested() -> bytes:
    """Sequences in sequences, 20,000 deep, of undefined length."""
    opening = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    content = _dicom()
    end = _end_of_meta(content)
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return content[:end] + opening * 20_000 + closing * 20_000 + content[end:]


def xml_deep() -> bytes:
    """Elements in elements."""
    return b"<ASAP_Annotations>" + b"<Annotation>" * DEEP + b"</Annotation>" * DEEP + b"</ASAP_Annotations>"


def xml_laughs() -> bytes:
    """Entities of entities: 10^9 times a word."""
    lines = [b'<!ENTITY a "lol">']
    lines += [b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)]
    return b"<!DOCTYPE l [" + b"".join(lines) + b"]><ASAP_Annotations>&j;</ASAP_Annotations>"


def xml_from_elsewhere() -> bytes:
    """An entity that is another file of this machine."""
    return b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><ASAP_Annotations>&x;</ASAP_Annotations>'


def geojson_deep() -> bytes:
    """Brackets in brackets."""
    return b'{"type": "FeatureCollection", "features": ' + b"[" * DEEP + b"]" * DEEP + b"}"


def yaml_laughs() -> bytes:
    """Lists of one another: 9^12 words once they are written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 13)]
    return "\n".join(lines).encode() + b"\n"


def yaml_deep() -> bytes:
    """Lists in lists."""
    return b"data: " + b"[" * 20_000 + b"]" * 20_000 + b"\n"


def yaml_code() -> bytes:
    """What PyYAML's unsafe loader would run."""
    return b'data: !!python/object/apply:os.system ["touch RAN"]\n'


def table_packed() -> bytes:
    """300 MB of zeros as a CSV."""
    return gzip.compress(b"a,b\n" + b"0,0\n" * 75_000_000, 1)


def workbook_packed() -> bytes:
    """A workbook whose only sheet is a gigabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        )
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            for _ in range(64):
                sheet.write(bytes(1 << 24))
    return buffer.getvalue()


def mat_packed() -> bytes:
    """A MATLAB 5 file with an element of 500 MB."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")
    body = zeros(500_000_000)
    return header + struct.pack("<II", 15, len(body)) + body


def npz_claims() -> bytes:
    """Arrays whose headers say 10^12 rows."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("x", "y"):
            header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 5), }"
            padded = header.ljust(118 - 1) + b"\n"
            archive.writestr(
                f"{name}.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(padded)) + padded + b"\0" * 64
            )
    return buffer.getvalue()


def parquet_runs() -> bytes:
    """100 million rows of one value in each of two columns, in a few bytes a page."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    piece = pa.table({name: pa.array(np.zeros(5_000_000)).dictionary_encode() for name in ("a", "b")})
    with pq.ParquetWriter(buffer, piece.schema, compression="zstd", data_page_size=1 << 30) as writer:
        for _ in range(20):
            writer.write_table(piece, row_group_size=5_000_000)
    return buffer.getvalue()


def idx_claims() -> bytes:
    """Pictures of 28 by 28 pixels, four thousand million of them."""
    return struct.pack(">IIII", 0x803, 2**32 - 1, 28, 28) + bytes(28 * 28)


def hdf5_never_written(path: Path) -> None:
    """Ten million vectors of 1,024 and their places, none of them written: 40 GB in 2 kB."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("features", (10_000_000, 1024), "f4", chunks=(1000, 1024))
        file.create_dataset("coords", (10_000_000, 2), "i8", chunks=(100_000, 2))


def zarr_never_written(path: Path) -> None:
    """As many vectors, as a Zarr array of which there is no chunk."""
    path.mkdir()
    sizes = {"shape": [10_000_000, 1024], "chunks": [1000, 1024]}
    how = {"dtype": "<f4", "fill_value": 0, "order": "C", "filters": None, "compressor": None}
    (path / ".zarray").write_text(json.dumps({"zarr_format": 2, **sizes, **how}))


def safetensors_claims() -> bytes:
    """A header of 2^60 bytes."""
    return struct.pack("<Q", 2**60) + b"{}"


PICTURES: dict[str, tuple[Callable[[], bytes], str]] = {
    each.__name__: (each, ending)
    for each, ending in (
        (png_pixels, ".png"), (png_just_below_the_limit, ".png"), (png_text, ".png"), (png_profile, ".png"), (tiff_pixels, ".tif"),
        (jpeg_pixels, ".jpg"), (gif_frames, ".gif"),
    )
}  # fmt: skip
RADIOGRAPHS = {each.__name__: (each, ".dcm") for each in (dicom_size, dicom_frames, dicom_packed, dicom_runs, dicom_nested)}  # fmt: skip
TABLES: dict[str, tuple[Callable[[], bytes], str]] = {
    each.__name__: (each, ending)
    for each, ending in (
        (table_packed, ".csv.gz"), (workbook_packed, ".xlsx"), (mat_packed, ".mat"), (npz_claims, ".npz"), (parquet_runs, ".parquet"),
    )
}  # fmt: skip
OUTLINES = {
    each.__name__: (each, ending)
    for each, ending in (
        (xml_deep, ".xml"), (xml_laughs, ".xml"), (xml_from_elsewhere, ".xml"), (geojson_deep, ".geojson"),
    )
}  # fmt: skip
SETTINGS = {each.__name__: (each, ".yaml") for each in (yaml_laughs, yaml_deep, yaml_code)}
