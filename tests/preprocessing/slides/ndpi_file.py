"""A small NDPI file that OpenSlide opens as Hamamatsu's, for tests of what only such slides have."""

from __future__ import annotations

import struct

import simplejpeg

SHORT, LONG, FLOAT, ASCII = 3, 4, 11, 2
SIZES = {SHORT: ("H", 2), LONG: ("I", 4), FLOAT: ("f", 4), ASCII: ("s", 1)}


def write_ndpi(path, picture, mpp=0.5, offset=(1_000_000, -2_000_000)):
    """One level of `picture`, uint8 (H, W, 3), at `mpp` um a pixel (x, or x and y); `offset` nm from the centre of the glass.

    `offset` None leaves its tags out. A TIFF whose directory has 64-bit offsets and Hamamatsu's private tags.
    """
    mpp = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    height, width = picture.shape[:2]
    jpeg = simplejpeg.encode_jpeg(picture, 90, "RGB", "444")
    start = 12
    content = bytearray(b"II*\0" + bytes(8) + jpeg + bytes(len(jpeg) % 2))

    def extra(data):
        place = len(content)
        content.extend(data + bytes(len(data) % 2))
        return place

    resolution = [extra(struct.pack("<II", round(1e7 / one), 1000)) for one in mpp]
    make = extra(b"Hamamatsu\0")
    tags = [
        (256, LONG, 1, width), (257, LONG, 1, height), (258, SHORT, 1, 8), (259, SHORT, 1, 7), (262, SHORT, 1, 6),
        (271, ASCII, 10, make), (273, LONG, 1, start), (277, SHORT, 1, 3), (278, LONG, 1, height), (279, LONG, 1, len(jpeg)),
        (282, 5, 1, resolution[0]), (283, 5, 1, resolution[1]), (296, SHORT, 1, 3), (65420, LONG, 1, 1), (65421, FLOAT, 1, 20.0),
    ]  # fmt: skip
    if offset is not None:
        tags += [(65422, 9, 1, offset[0]), (65423, 9, 1, offset[1])]
    tags += [(65424, 9, 1, 0)]
    directory = extra(b"")
    body = struct.pack("<H", len(tags))
    for tag, kind, count, value in tags:
        packed = struct.pack({FLOAT: "<f", 9: "<i"}.get(kind, "<I"), value)
        body += struct.pack("<HHI", tag, kind, count) + packed
    body += struct.pack("<Q", 0) + bytes(4 * len(tags))
    content += body
    content[4:12] = struct.pack("<Q", directory)
    path.write_bytes(content)
    return path
