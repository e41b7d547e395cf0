"""A thousand damaged pictures of each format and radiographs of each kind of compression: read or refused, and work goes on.

(Those of tables are in tests/preprocessing/tables/test_mutations.py, of outlines in tests/preprocessing/slides/outlines.)
"""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from esad.preprocessing.images import decode_apart
from esad.preprocessing.radiographs.apart import square_apart
from esad.preprocessing.radiographs.squares import Squaring
from esad.preprocessing.splits.labels import read_labels
from tests import mutations
from tests.preprocessing.radiographs.dicom_files import content_of, make_dicom

PIXELS = (np.add.outer(np.arange(40), np.arange(40)) * 3).astype(np.uint8)
COLOUR = np.stack([PIXELS, PIXELS.T, 255 - PIXELS], axis=-1)
FORMATS = {
    "png": {},
    "jpg": {},
    "tif": {"compression": "tiff_lzw"},
    "webp": {},
    "gif": {},
    "jp2": {},
    "avif": {},
    "bmp": {},
}
HOW = Squaring("crop768", 0.75, 16, False)


def picture(name):
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(
        buffer, {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(name, name.upper()), **FORMATS[name]
    )
    return buffer.getvalue()


def compressed(syntax, encode):
    image = make_dicom(PIXELS.astype(np.uint16) * 16)
    image.PixelData = encapsulate([encode(image.pixel_array)])
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = syntax
    return content_of(image)


def deflated():
    image = make_dicom(PIXELS.astype(np.uint16) * 16)
    image.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    return content_of(image)


def compressed_by_pydicom(syntax):
    image = make_dicom(PIXELS.astype(np.uint16) * 16)
    image.compress(syntax, generate_instance_uid=False)
    return content_of(image)


def eight_bits(syntax, encode):
    image = make_dicom(PIXELS, BitsAllocated=8, BitsStored=8, HighBit=7)
    image.PixelData = encapsulate([encode(PIXELS)])
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = syntax
    return content_of(image)


RADIOGRAPHS = {
    "uncompressed": lambda: content_of(
        make_dicom(PIXELS.astype(np.uint16) * 16, WindowCenter=1024, WindowWidth=2048)
    ),
    "deflated": deflated,
    "RLE": lambda: compressed_by_pydicom(uid.RLELossless),
    "JPEG": lambda: eight_bits(uid.JPEGBaseline8Bit, imagecodecs.jpeg8_encode),
    "JPEG-LS": lambda: compressed(uid.JPEGLSLossless, imagecodecs.jpegls_encode),
    "JPEG 2000": lambda: compressed(
        uid.JPEG2000Lossless, lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", level=0)
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_picture_is_read_or_refused(tmp_path, name, record_property):
    good, path = picture(name), tmp_path / f"a.{name}"
    whole = decode_apart(good, path.name, None, None).pixels
    counts = mutations.run(good, path, lambda path: decode_apart(path.read_bytes(), path.name, 32, "rgb"))
    record_property("counts", counts)
    assert counts["refused"] > mutations.COUNT // 50
    assert np.array_equal(decode_apart(good, path.name, None, None).pixels, whole)


@pytest.mark.parametrize("kind", RADIOGRAPHS)
def test_a_damaged_radiograph_is_read_or_refused(tmp_path, kind, record_property):
    good, path = RADIOGRAPHS[kind](), tmp_path / "a.dcm"
    whole = square_apart(good, path.name, HOW)[0]
    counts = mutations.run(good, path, lambda path: square_apart(path.read_bytes(), path.name, HOW))
    record_property("counts", counts)
    assert counts["refused"] > mutations.COUNT // 50
    assert np.array_equal(square_apart(good, path.name, HOW)[0], whole)


def test_a_damaged_file_of_labels_is_read_or_refused(tmp_path, record_property):
    good = b"source,label,split,group\n" + b"".join(
        b"a%d.png,%d,train,g%d\n" % (n, n % 2, n % 3) for n in range(9)
    )
    counts = mutations.run(good, tmp_path / "labels.csv", read_labels)
    record_property("counts", counts)
    assert counts["refused"] > mutations.COUNT // 50
