"""JPEG, JPEG-LS, JPEG 2000 and HTJ2K of DICOM by imagecodecs (libjpeg-turbo, CharLS, OpenJPEG), as a plug-in of pydicom's decoders.

pydicom's own plug-ins for these need packages under the GPL, or do without 12-bit JPEG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import get_j2k_parameters

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.pixels.decoders.base import DecodeRunner

NAME = "esad-imagecodecs"
JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
DECODER_DEPENDENCIES = {syntax: ("imagecodecs",) for syntax in (*JPEG, *JPEG_LS, *JPEG_2000)}
"""pydicom asks a plug-in for this, by transfer syntax."""
FRAME_MARKERS = {0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""SOF of JPEG (ITU-T T.81, B.1.1.3) and of JPEG-LS (T.87, C.1.1)."""


def is_available(syntax: str) -> bool:
    """pydicom's question whether a transfer syntax is decoded here."""
    return syntax in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """One frame of a file, colour by pixel, in 8, 16 or 32 bits as its own stream says (not the file's elements).

    YBR of JPEG stays as it is, as pydicom expects it; JPEG 2000 becomes RGB (PS3.5 8.2.4). imagecodecs' errors are raised.
    """
    syntax = runner.transfer_syntax
    if syntax in JPEG:
        as_it_is: dict[str, Any] = {"colorspace": "rgb", "outcolorspace": "rgb"}
        frame = imagecodecs.jpeg8_decode(source, **(as_it_is if runner.samples_per_pixel == 3 else {}))
    elif syntax in JPEG_LS:
        frame = imagecodecs.jpegls_decode(source)
    else:
        frame = imagecodecs.jpeg2k_decode(source)
        if runner.photometric_interpretation in {"YBR_ICT", "YBR_RCT"}:
            runner.set_option("photometric_interpretation", "RGB")
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * frame.dtype.itemsize)
    return bytearray(np.ascontiguousarray(frame).tobytes())


def plug_in(syntax: uid.UID) -> str:
    """The name of the plug-in that decodes `syntax`, known to pydicom from now on; empty for what pydicom decodes itself."""
    if syntax not in DECODER_DEPENDENCIES:
        return ""
    decoder = get_decoder(syntax)
    if NAME not in decoder.available_plugins:
        decoder.add_plugin(NAME, (__name__, decode_frame.__name__))
    return NAME


def stream_bits(dataset: Dataset) -> int | None:
    """Bits a sample by the first compressed stream itself, not by the file's elements; None where it does not say.

    SIZ of JPEG 2000 (ITU-T T.800, A.5.1), the frame header of JPEG and JPEG-LS (T.81, B.2.2).
    """
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if dataset.file_meta.TransferSyntaxUID in JPEG_2000:
        return get_j2k_parameters(stream).get("precision")
    place = 2  # behind SOI
    while stream[place : place + 1] == b"\xff" and place + 4 < len(stream):
        if stream[place + 1] in FRAME_MARKERS:
            return stream[place + 4]
        place += 2 + int.from_bytes(stream[place + 2 : place + 4])
    return None
