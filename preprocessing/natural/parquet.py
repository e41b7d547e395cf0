"""Parquet of encoded pictures, as Hugging Face's datasets keep them: a picture's file in a cell, its class beside it.

The column is a struct of `bytes` and `path`, or bytes alone. Names of classes stand in the schema's metadata
(https://huggingface.co/docs/datasets/about_dataset_features). Read in a process of its own, codecs and Arrow alike.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size
from esad.preprocessing.gate.own_process import own_process
from esad.preprocessing.images import decode_picture
from esad.preprocessing.natural.idx import split_of_name
from esad.preprocessing.pictures import Colour, Header, read_header
from esad.preprocessing.tables.arrow import is_list, plain_column
from esad.preprocessing.tables.columns import IGNORED, LABEL_NAMES, Columns, bare_names
from esad.preprocessing.tables.items import STATED, describe_items

PICTURE_COLUMNS = ("image", "img", "picture", "pixels")
"""What the column of pictures is called where a file has several columns of bytes."""
LABEL = "label"
"""What Hugging Face's sets call their labels, where no `y` is there."""
ROWS = 256
"""Rows that are unpacked at a time."""
UNLABELLED = -1
"""The number of a class that is not told."""
Sizes = list[list[Any]]


def is_parquet(name: str) -> bool:
    """By its ending."""
    return name.lower().endswith(".parquet")


def parquet_colours(path: Path) -> Counter[str]:
    """How many pictures are grey and how many rgb, by their headers; {} of a file that cannot be read."""
    try:
        counts = own_process().call(_count, path.name, str(path), packed=path.stat().st_size)
    except (InputError, OSError):  # refused in words where it is read
        return Counter()
    return Counter({colour: int(count) for colour, count in counts.items()})


class ReadPictures(NamedTuple):
    """What a file of many pictures holds."""

    pixels: np.ndarray
    """uint8 (N, H, W, C)."""
    items: pd.DataFrame
    """A row for each picture."""
    notes: list[str]
    """What was converted or assumed."""
    label_column: str | None = None
    """The column that `stated` was read from; None without one."""


def read_parquet(path: Path, columns: Columns, size: int | None, colour: Colour) -> ReadPictures:
    """Pictures of `colour`, what is known of each (see `tables.describe_items`), notes, and which column has the labels.

    InputError where there is no column of pictures or several, where a picture cannot be read (it names the row and counts
    the others), where sizes differ and no `size` is given, and for a class that has no name.
    """
    pixels, frame, names, notes, lists = own_process().call(
        _read, path.name, str(path), size, colour, packed=path.stat().st_size
    )
    columns.check(list(frame), path)
    if columns.label not in frame and columns.label not in columns.named and LABEL in frame:
        columns = replace(columns, label=LABEL)
    columns = columns.found_in(list(frame), list(frame), path)
    if columns.label not in frame and columns.label != IGNORED:
        lost = next((name for name in lists if bare_names(name) & LABEL_NAMES), None)
        if lost is not None:
            raise InputError(
                f"{path.name}: column {lost!r} holds lists, as of pictures with several findings; which of them are anomalies? Give labels "
                "with --labels FILE.csv and say --label none."
            )
    for name, classes in names.items():
        frame[name] = _named(frame[name], classes, f"{path.name}, column {name}")
    table = describe_items(frame, columns, path)
    split = split_of_name(path.name) or split_of_name(path.parent.name)
    if "split" not in table and split:
        table["split"] = split
    return ReadPictures(pixels, table, notes, columns.label if STATED in table else None)


def _named(numbers: pd.Series, classes: list[str], where: str) -> pd.Series:
    """Numbers of classes as their names; a missing one stays missing."""
    if not pd.api.types.is_integer_dtype(numbers.dtype):
        return numbers
    wrong = numbers[numbers.notna() & ~numbers.between(UNLABELLED, len(classes) - 1)]
    if len(wrong):
        raise InputError(
            f"{where}: holds class {wrong.iloc[0]}, and the file names {len(classes)} classes, from 0 on."
        )
    return numbers.map(dict(enumerate(classes)), na_action="ignore").astype("string")


def _opened(path: Path) -> tuple[pq.ParquetFile, str]:
    """The file and the name of its column of pictures; InputError where none or several can be it, or it is too large."""
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    check_size(path.name, sum(group.total_byte_size for group in groups), path.stat().st_size)
    schema = file.schema_arrow
    found = [each.name for each in schema if _holds_bytes(each.type)]
    named = [name for name in found if name.lower() in PICTURE_COLUMNS]
    chosen = named if len(named) == 1 else found
    if len(chosen) != 1:
        has = f"it has {', '.join(schema.names[:8])}" if not found else f"{', '.join(found[:8])} may be it"
        raise InputError(f"{path.name}: expected one column of encoded pictures; {has}.")
    if schema.names.count(chosen[0]) > 1 or len(set(schema.names)) < len(schema.names):
        raise InputError(f"{path.name}: has two columns of one name; rename or drop one.")
    return file, chosen[0]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _contents(file: pq.ParquetFile, name: str) -> Iterator[bytes | None]:
    """Each row's picture as it is encoded; None where there is none."""
    for rows in file.iter_batches(batch_size=ROWS, columns=[name], use_threads=False):
        cells = rows.column(0)
        cells = cells.field("bytes") if pa.types.is_struct(cells.type) else cells
        for cell in cells:
            yield cell.as_py()


def _count(path: str) -> dict[str, int]:
    """`parquet_colours` in the process that reads."""
    file, name = _opened(Path(path))
    return dict(Counter(header.colour for _, header in _headers(file, name) if header is not None))


def _headers(file: pq.ParquetFile, name: str) -> Iterator[tuple[int, Header | None]]:
    """(row, what its picture says of itself)."""
    for row, content in enumerate(_contents(file, name)):
        yield row, None if content is None else read_header(pa.BufferReader(content))


def _read(path: str, size: int | None, colour: Colour) -> list[Any]:
    """`read_parquet` in the process that reads: [pixels, the other columns, names of classes by column, notes]."""
    place = Path(path)
    file, name = _opened(place)
    if not file.metadata.num_rows:
        raise InputError(f"{place.name}: holds no pictures.")
    _check_sizes(file, name, place, size, colour)
    pictures, faults, notes = list[np.ndarray](), dict[int, str](), set[str]()
    for row, content in enumerate(_contents(file, name)):
        try:
            if content is None:
                raise InputError("has no bytes; pictures that lie elsewhere are not fetched.")
            picture = decode_picture(content, "picture", size, colour)
            pictures.append(picture.pixels)
            notes |= set(picture.notes)
        except InputError as error:
            faults[row] = str(error)
    _check_faults(faults, place)
    first = next((row for row, each in enumerate(pictures) if each.shape != pictures[0].shape), None)
    if first is not None:
        raise InputError(_two_sizes(place, 0, pictures[0].shape[1::-1], first, pictures[first].shape[1::-1]))
    frame = _others(file, name)
    lists = [field.name for field in file.schema_arrow if is_list(field.type)]
    return [np.stack(pictures), frame, _class_names(file, list(frame)), sorted(notes), lists]


def _check_sizes(file: pq.ParquetFile, name: str, path: Path, size: int | None, colour: Colour) -> None:
    """InputError before anything is decoded where sizes differ and none is asked for, or all pictures are too large."""
    channels, first, total = 1 if colour == "grey" else 3, None, 0
    for row, header in _headers(file, name):
        if header is None:
            continue
        first = first or (row, header.size)
        if size is None and header.size != first[1]:
            raise InputError(_two_sizes(path, *first, row, header.size))
        width, height = (size, size) if size is not None else header.size
        total += width * height * channels
    check_size(path.name, total, path.stat().st_size)


def _two_sizes(path: Path, row: int, one: tuple[int, ...], later: int, other: tuple[int, ...]) -> str:
    sizes = [f"{size[0]} x {size[1]} pixels" for size in (one, other)]
    return f"{path.name}: row {row} is {sizes[0]}, row {later} is {sizes[1]}: give one size with --size N."


def _check_faults(faults: dict[int, str], path: Path) -> None:
    if not faults:
        return
    row, why = next(iter(faults.items()))
    more = f" So are {len(faults) - 1} other rows." if len(faults) > 1 else ""
    raise InputError(f"{path.name}: row {row} cannot be used: {why}{more} Leave them out of the file.")


def _others(file: pq.ParquetFile, name: str) -> pd.DataFrame:
    """The columns beside the pictures that are numbers or texts."""
    kept = {}
    for field in file.schema_arrow:
        if field.name == name or pa.types.is_nested(field.type) or _holds_bytes(field.type):
            continue
        values = file.read([field.name], use_threads=False)[field.name]
        if pa.types.is_dictionary(field.type):
            values = values.cast(field.type.value_type)
        column, reason = plain_column(values, values.type)
        if reason is None:
            kept[field.name] = column
    return pd.DataFrame(kept, index=range(file.metadata.num_rows))


def _class_names(file: pq.ParquetFile, columns: list[str]) -> dict[str, list[str]]:
    """Column -> the names of its classes, from the schema's metadata; of anything else in it nothing."""
    stated = (file.schema_arrow.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(stated)["info"]["features"] if stated else {}
        return {
            name: [str(one) for one in features[name]["names"]]
            for name in columns
            if name in features and isinstance(features[name].get("names"), list)
        }
    except (ValueError, KeyError, TypeError, AttributeError):  # another program's remark under this name
        return {}
