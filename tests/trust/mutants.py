"""Damage with a shape: a value of another kind, a column of another type, a name that stands twice; seeded, one a call.

Each function takes the content of a file and a generator of random numbers, and gives the content of a mutant. What is
no longer of the form at all (bytes flipped, the end cut off) is `tests.mutations.mutated`.
"""

from __future__ import annotations

import copy
import io
import json
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from tests.mutations import mutated

Change = Callable[[bytes, np.random.Generator], bytes]
NUMBERS = (
    0, 1, 2, -1, 3, 0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), -float("inf"), 255, 256, -128, 2**31 - 1, 2**31,
    -(2**31), 2**32, 2**53, 2**63, -(2**63), 2**64, 10**30,
)  # fmt: skip
TEXTS = (
    "", " ", "0", "1", " 1", "1.0", "-1", "True", "nan", "maybe", "TUMOR ", "../../outside", "/etc/passwd", "a/b", "a\\b", "..",
    "\0", "\n", "ä€😀", "=1+1", "<script>", "1e999", "0x10", "1,5", "2026-11-30", "x" * 5000, "${name}", "%s{}", "\ufeff", "none",
)  # fmt: skip
OTHERS = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"a": 1},
    [0],
    [1, 2, 3, 4, 5],
    ["a"],
    [[1, 2], 3],
)
VALUES = (*NUMBERS, *TEXTS, *OTHERS)


def some(numbers: np.random.Generator, values: Any) -> Any:
    """One of `values`, which may be of any kinds."""
    values = list(values)
    return values[int(numbers.integers(len(values)))]


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


def _places(tree: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree of mappings and lists."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    for key in keys:
        found.append((tree, key))
        _places(tree[key], found)
    return found


def tree_mutant(tree: Any, numbers: np.random.Generator) -> Any:
    """A copy of a tree of mappings, lists and values with one to three changes."""
    box = [copy.deepcopy(tree)]
    for _ in range(int(numbers.integers(1, 4))):
        places = _places(box, [])
        parent, key = some(numbers, places)
        value = parent[key]
        match int(numbers.integers(9)):
            case 0 if parent is not box:
                del parent[key]
            case 1 | 2 | 3:
                parent[key] = some(numbers, VALUES)
            case 4 if isinstance(parent, dict):
                parent[some(numbers, [*TEXTS, f"{key} ", str(key).upper()])] = parent.pop(key)
            case 5:
                other, place = some(numbers, places)
                parent[key] = copy.deepcopy(other[place])
            case 6:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    parent[key] = str(value) if numbers.random() < 0.5 else [value]
                else:
                    parent[key] = some(
                        numbers, [-value, value + 1, value * 1000, str(value), value + 0.5, f" {value}"]
                    )
            case 7 if isinstance(parent, list):
                parent.insert(key, copy.deepcopy(value))
            case 8 if numbers.random() < 0.2:
                parent[key] = nested(200)
    return box[0]


def json_mutant(content: bytes, numbers: np.random.Generator) -> bytes:
    """A JSON text; now and then with a name that stands twice."""
    tree = tree_mutant(json.loads(content), numbers)
    text = json.dumps(tree, ensure_ascii=bool(numbers.random() < 0.5))
    if isinstance(tree, dict) and tree and numbers.random() < 0.1:
        name = some(numbers, tree)
        text = text[:-1] + f", {json.dumps(name)}: {json.dumps(some(numbers, VALUES))}}}"
    return text.encode("utf-8", "surrogatepass")


def yaml_mutant(content: bytes, numbers: np.random.Generator) -> bytes:
    """A YAML text; now and then with a tag, an alias or a name that stands twice."""
    text = yaml.safe_dump(tree_mutant(yaml.safe_load(content), numbers), allow_unicode=True, sort_keys=False)
    lines = text.splitlines()
    match int(numbers.integers(14)):
        case 0:
            lines.insert(int(numbers.integers(len(lines) + 1)), some(numbers, lines))
        case 1:
            lines.append("bomb: !!python/object/apply:os.system ['true']")
        case 2:
            lines[0:0] = [
                "x0: &x0 [a, a]",
                *(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 9)),
            ]
        case 3:
            lines.append(
                some(numbers, ["---", "\t- x", "? ", "2026-11-30: 1", "1: 2", "null: 3", "[1]: 2", "on: off"])
            )
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"


def column_mutant(table: pd.DataFrame, numbers: np.random.Generator) -> pd.DataFrame:  # noqa: PLR0911, PLR0912
    """A table with one column or its rows changed."""
    name = some(numbers, table.columns)
    values, count = table[name], len(table)
    row = int(numbers.integers(max(count, 1)))
    match int(numbers.integers(16)):
        case 0:
            return table.drop(columns=name)
        case 1:
            return table.rename(columns={name: some(numbers, [f"{name} ", str(name).upper(), *TEXTS])})
        case 2:
            return table.assign(
                **{str(name): pd.Series([some(numbers, TEXTS)] * count, index=table.index, dtype="str")}
            )
        case 3:
            return table.assign(**{str(name): some(numbers, NUMBERS[:19])})
        case 4 | 5:
            spoilt = values.astype(object).copy()
            spoilt.iloc[row] = some(
                numbers, NUMBERS[:19] if pd.api.types.is_numeric_dtype(values.dtype) else TEXTS
            )
            return table.assign(**{str(name): spoilt.infer_objects()})
        case 6:
            spoilt = values.astype(object).copy()
            spoilt.iloc[row] = None
            return table.assign(**{str(name): spoilt})
        case 7:
            return table.assign(**{str(name): values.astype("str")})
        case 8:
            return table.assign(**{str(name): [some(numbers, ([], [1, 2], ["a"]))] * count})
        case 9:
            return table.iloc[:0]
        case 10:
            return pd.concat([table, table.iloc[row : row + 1]])
        case 11:
            return table.drop(index=table.index[row])
        case 12:
            return table.assign(**{str(name): pd.Timestamp("2026-11-30")})
        case 13:
            return table.assign(**{str(name): values.isna()})
        case 14:
            return table.assign(
                **{str(name): values.sample(frac=1, random_state=int(numbers.integers(99))).to_numpy()}
            )
        case _:
            return table.assign(**{str(name): pd.Series([None] * count, index=table.index, dtype=object)})


def parquet_mutant(content: bytes, numbers: np.random.Generator) -> bytes:
    """A table with a changed column; columns that no Parquet file can hold are left as they were."""
    table = pd.read_parquet(io.BytesIO(content))
    for _ in range(5):
        buffer = io.BytesIO()
        try:
            column_mutant(table, numbers).to_parquet(buffer, index=False)
        except Exception:  # noqa: BLE001  pyarrow raises what it likes for mixed columns
            continue
        return buffer.getvalue()
    return content[:-1]


def npy_mutant(content: bytes, numbers: np.random.Generator) -> bytes:
    """An array of another type, shape or order, with other values, or a header that claims other things."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    match int(numbers.integers(9)):
        case 0:
            kind = some(
                numbers, ["u1", "i1", "f4", "f8", ">f4", "f2", "i8", "c16", "U3", "S2", "?", "M8[s]", "V4"]
            )
            array = (
                np.zeros(array.shape, kind)
                if numbers.random() < 0.5
                else array.astype("f8").astype(kind, casting="unsafe")
                if kind not in ("V4",)
                else np.zeros(array.shape, kind)
            )
        case 1:
            array = array[: len(array) // 2] if array.ndim else array
        case 2:
            array = array.reshape(-1)
        case 3:
            array = np.asfortranarray(array)
        case 4:
            array = array[..., None]
        case 5 if array.dtype.kind == "f" and array.size:
            array = array.copy()
            array.reshape(-1)[int(numbers.integers(array.size))] = some(
                numbers, [np.nan, np.inf, -np.inf, 3e38]
            )
        case 6:
            shape = some(
                numbers,
                [
                    (10**12,),
                    (2**62, 4),
                    (-1, *array.shape[1:]),
                    (0, *array.shape[1:]),
                    (),
                    (2**40, *array.shape[1:]),
                ],
            )
            return header_mutant(content, str(array.shape), str(shape))
        case 7:
            old, new = (
                str(array.dtype.str),
                some(numbers, ["|O", "<f16", "<U99999999", "|V9999999999", "x", "<f8", "[('a','<f4')]"]),
            )
            return header_mutant(content, old, new)
        case _:
            return mutated(content[:128], int(numbers.integers(2**31))) + content[128:]
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def header_mutant(content: bytes, old: str, new: str) -> bytes:
    """A `.npy` of version 1 whose header says `new` for `old`."""
    length = struct.unpack("<H", content[8:10])[0]
    header = content[10 : 10 + length].decode("latin-1").rstrip().replace(old, new) + "\n"
    return content[:8] + struct.pack("<H", len(header)) + header.encode("latin-1") + content[10 + length :]


def safetensors_mutant(content: bytes, numbers: np.random.Generator) -> bytes:
    """Weights with another header, with a tensor less or of another shape or type, or with values that are no numbers."""
    from safetensors.numpy import load, save

    size = struct.unpack("<Q", content[:8])[0]
    match int(numbers.integers(5)):
        case 0:
            header = json.dumps(tree_mutant(json.loads(content[8 : 8 + size]), numbers)).encode()
            return struct.pack("<Q", len(header)) + header + content[8 + size :]
        case 1:
            return (
                struct.pack("<Q", int(some(numbers, [0, 1, size - 1, size + 1, 2**40, 2**63]))) + content[8:]
            )
    tensors = load(content)
    name = some(numbers, tensors)
    match int(numbers.integers(6)):
        case 0:
            del tensors[name]
        case 1:
            tensors[some(numbers, TEXTS[6:12])] = tensors.pop(name)
        case 2:
            tensors[name] = tensors[name].reshape(-1)
        case 3:
            tensors[name] = tensors[name].astype(some(numbers, ["f8", "f2", "i4", "u1"]))
        case 4:
            tensors[name] = np.full_like(
                tensors[name], some(numbers, [0, 1]) if tensors[name].dtype.kind != "f" else np.nan
            )
        case _:
            tensors[name] = np.zeros((0,), tensors[name].dtype)
    return save(tensors)


def xml_mutant(content: bytes, numbers: np.random.Generator) -> bytes:
    """An XML with an element or attribute changed, renamed, doubled or taken out."""
    from xml.etree import ElementTree

    root = ElementTree.fromstring(content)  # noqa: S314  our own text
    every = list(root.iter())
    parents = {child: parent for parent in every for child in parent}
    for _ in range(int(numbers.integers(1, 3))):
        one = some(numbers, every)
        words = [word.replace("\0", "") for word in (*TEXTS, *map(str, NUMBERS))]
        match int(numbers.integers(8)):
            case 0 if one in parents and one in list(parents[one]):
                parents[one].remove(one)
            case 1:
                one.tag = some(numbers, ["Annotation", "x", one.tag.lower(), one.tag.upper(), f"{one.tag}s"])
            case 2 | 3 | 4 if one.attrib:
                one.set(some(numbers, one.attrib), some(numbers, words))
            case 5 if one.attrib:
                one.attrib.pop(some(numbers, one.attrib))
            case 6 if one in parents:
                parents[one].append(copy.deepcopy(one))
            case _:
                one.text = some(numbers, words)
    text = ElementTree.tostring(root, encoding="unicode")
    if numbers.random() < 0.05:
        text = '<!DOCTYPE a [<!ENTITY b "cccccccccc"><!ENTITY d "&b;&b;&b;&b;&b;&b;">]>' + text
    if numbers.random() < 0.05:
        return text.encode(some(numbers, ["utf-16", "latin-1", "utf-8-sig"]), "replace")
    return text.encode("utf-8", "surrogatepass")


def csv_mutant(content: bytes, numbers: np.random.Generator) -> bytes:
    """A CSV with a cell, a row, a column, its marks or its encoding changed."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    row, column = int(numbers.integers(len(rows))), int(numbers.integers(len(rows[0])))
    mark, end, encoding = ",", "\n", "utf-8"
    match int(numbers.integers(14)):
        case 0 | 1 | 2 | 3:
            rows[row][column] = some(
                numbers, [*TEXTS, *map(str, NUMBERS), '"a\nb"', '"', '"a,b"', "1;2", "#"]
            )
        case 4:
            rows = [each[:column] + each[column + 1 :] for each in rows]
        case 5:
            rows.insert(row, list(rows[row]))
        case 6:
            rows[row].append(some(numbers, TEXTS[:12]))
        case 7:
            rows[row].pop()
        case 8:
            mark = some(numbers, [";", "\t", "|", " ", ", "])
        case 9:
            encoding = some(numbers, ["utf-16", "utf-8-sig", "utf-16-le", "utf-32"])
        case 10:
            end = some(numbers, ["\r\n", "\r", "\n\n", "\0\n"])
        case 11:
            rows = [[str(number - 1) if number else "", *each] for number, each in enumerate(rows)]
        case 12:
            rows = [[cell.replace(".", ",") for cell in each] for each in rows]
            mark = ";"
        case _:
            rows[0][column] = some(
                numbers, [rows[0][(column + 1) % len(rows[0])], *TEXTS[:6], rows[0][column].upper()]
            )
    text = end.join(mark.join(each) for each in rows) + end
    return text.encode(encoding, "replace")


def sqlite_mutant(content: bytes, numbers: np.random.Generator) -> bytes:
    """A database with a table gone, another schema, or a cell of another kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.sqlite"
        path.write_bytes(content)
        with sqlite3.connect(path, isolation_level=None) as connection:
            connection.execute("PRAGMA ignore_check_constraints = 1")
            column = some(numbers, ["of", "name", "mark", "comment", "reader", "at", "undone"])
            value = some(numbers, [*TEXTS[:20], 0, -1, 2**62, 1.5, b"\xff\x00", None])
            try:
                match int(numbers.integers(6)):
                    case 0:
                        connection.execute(f"ALTER TABLE entries DROP COLUMN {column}")
                    case 1:
                        connection.execute(
                            f"ALTER TABLE {some(numbers, ['entries', 'remembered'])} RENAME TO others"
                        )
                    case 2:
                        connection.execute(
                            f"CREATE VIEW {some(numbers, ['entries2', 'remembered2'])} AS SELECT 1"
                        )
                    case _:
                        connection.execute(f"UPDATE entries SET {column} = ? WHERE id % 2", (value,))
            except sqlite3.Error:
                connection.execute("DELETE FROM entries")
        connection.close()
        return path.read_bytes()


def zip_mutant(content: bytes, numbers: np.random.Generator, inner: Change | None = None) -> bytes:
    """A zip with a member changed (by `inner`), renamed, doubled, linked, gone, or with a size that is a lie."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    place = int(numbers.integers(len(members)))
    name, held = members[place]
    info: zipfile.ZipInfo | str = name
    match int(numbers.integers(6)):
        case 0:
            members.pop(place)
        case 1:
            info = some(
                numbers,
                [
                    "../out.png",
                    "/tmp/out.png",
                    "a/../../b.png",
                    "C:\\a.png",
                    "",
                    ".",
                    "a\0b.png",
                    name.upper(),
                    "x" * 300,
                ],
            )
        case 2:
            members.append(members[place])
        case 3:
            link = zipfile.ZipInfo(name)
            link.external_attr = 0o120777 << 16
            info, held = link, b"/etc/passwd"
        case _:
            held = (inner or (lambda data, _: mutated(data, int(numbers.integers(2**31)))))(held, numbers)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", some(numbers, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for number, (each, data) in enumerate(members):
            archive.writestr(info if number == place else each, held if number == place else data)
    return buffer.getvalue()
