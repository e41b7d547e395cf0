"""Messages between two processes of ours: JSON, with arrays, tables and bytes beside it. Nothing is unpickled.

A message is a line of JSON `{"body": …, "sizes": […]}`, then the parts of these sizes. In `body` a part stands as
`{"$": kind, "part": number}`; kinds: `array` (its values row by row, with `dtype` and `shape` beside), `frame` (Arrow
stream), `bytes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa

LONGEST_LINE = 1 << 26


def send(stream: BinaryIO, body: Any) -> None:
    """Write one message: dicts with texts for keys, lists, tuples (read as lists), numbers, texts, None, and parts."""
    parts: list[bytes] = []
    text = json.dumps(_without_parts(body, parts))
    stream.write(json.dumps({"body": text, "sizes": [len(part) for part in parts]}).encode() + b"\n")
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message; EOFError where the other side has ended."""
    line = stream.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    parts = [_exactly(stream, size) for size in head["sizes"]]
    return _with_parts(json.loads(head["body"]), parts)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _without_parts(value: Any, parts: list[bytes]) -> Any:
    if isinstance(value, dict):
        return {key: _without_parts(inner, parts) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_parts(inner, parts) for inner in value]
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or value.dtype.names:
            raise TypeError(f"an array of {value.dtype} is not sent")
        said = {"dtype": value.dtype.str, "shape": value.shape}
        return _part("array", value.tobytes(), parts) | said
    if isinstance(value, pd.DataFrame):
        return _part("frame", _arrow_bytes(value), parts)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _part("bytes", bytes(value), parts)
    return value.item() if isinstance(value, np.generic) else value


def _part(kind: str, content: bytes, parts: list[bytes]) -> dict[str, Any]:
    parts.append(content)
    return {"$": kind, "part": len(parts) - 1}


def _with_parts(value: Any, parts: list[bytes]) -> Any:
    if isinstance(value, dict) and "$" in value:
        if value["$"] == "array":
            return np.frombuffer(parts[value["part"]], value["dtype"]).reshape(value["shape"]).copy()
        return READ[value["$"]](parts[value["part"]])
    if isinstance(value, dict):
        return {key: _with_parts(inner, parts) for key, inner in value.items()}
    return [_with_parts(inner, parts) for inner in value] if isinstance(value, list) else value


def _arrow_bytes(frame: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(frame)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _frame(content: bytes) -> pd.DataFrame:
    return pa.ipc.open_stream(content).read_all().to_pandas()


READ: dict[str, Callable[[bytes], Any]] = {
    "frame": _frame,
    "bytes": bytes,
}
