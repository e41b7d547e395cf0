"""Files of text, packed or not, and how they are encoded: found where a person states none."""

from __future__ import annotations

import bz2
import codecs
import gzip
import zipfile
from pathlib import Path
from typing import BinaryIO, cast

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import ALWAYS, MOST_INFLATION, check_size

PACKED = (".gz", ".bz2", ".zip")
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def open_bytes(path: Path) -> BinaryIO:
    """The file's content, unpacked where its name ends in .gz, .bz2 or .zip; InputError for a zip that does not hold one file."""
    match path.suffix.lower():
        case ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        case ".bz2":
            return cast(BinaryIO, bz2.open(path, "rb"))
        case ".zip":
            return _open_zip(path)
        case _:
            return path.open("rb")


def _open_zip(path: Path) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    names = [
        entry.filename
        for entry in archive.infolist()
        if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
    ]
    if len(names) != 1:
        archive.close()
        raise InputError(f"{path.name}: holds {len(names)} files; expected one table: unpack it.")
    return cast(BinaryIO, archive.open(names[0]))


def check_packed(path: Path) -> None:
    """InputError for a file that is not packed, and larger than may be read."""
    packed = path.stat().st_size
    if path.suffix.lower() not in PACKED:
        check_size(path.name, packed, packed)


def find_encoding(path: Path) -> str:
    """By byte order mark, UTF-8 where all of the file is, else Windows-1252 or Latin-1.

    Raises InputError where it is no text, or grows beyond what it can hold.
    """
    check_packed(path)
    packed = path.stat().st_size
    decoder, is_utf8, size, beyond_1252, first = codecs.getincrementaldecoder("utf-8")(), True, 0, False, True
    with open_bytes(path) as file:
        while block := file.read(1 << 20):
            size += len(block)
            if size > max(ALWAYS, MOST_INFLATION * packed):
                check_size(path.name, size, packed)
            marked = next((name for bom, name in BOMS.items() if first and block.startswith(bom)), None)
            if marked:
                return marked
            if b"\0" in block:
                raise InputError(f"{path.name}: no text (it holds zero bytes); expected a table in text.")
            first, beyond_1252 = False, beyond_1252 or any(byte in block for byte in b"\x81\x8d\x8f\x90\x9d")
            try:
                is_utf8 = is_utf8 and decoder.decode(block) is not None
            except UnicodeDecodeError:
                is_utf8 = False
    try:
        is_utf8 = is_utf8 and decoder.decode(b"", final=True) is not None
    except UnicodeDecodeError:
        is_utf8 = False
    return "utf-8" if is_utf8 else "latin-1" if beyond_1252 else "cp1252"
