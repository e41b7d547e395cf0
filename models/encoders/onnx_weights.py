"""Where the weights of an ONNX file lie, if not in it: external data, as ONNX calls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from esad.models.encoders.preparation import UnknownEncoder, first_line


def files_beside(path: Path) -> list[Path]:
    """The other files that hold weights of the model, sorted; they lie in its folder.

    UnknownEncoder where onnx is not installed, the file is no model, or it names a file elsewhere, which may be any of this machine.
    """
    try:
        import onnx  # noqa: PLC0415  an extra
    except ImportError as error:
        raise UnknownEncoder(f"{path.name}: ONNX is read by onnx; pip install 'esad[export]'.") from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # of protobuf's own kinds
        raise UnknownEncoder(f"{path.name}: no ONNX model ({first_line(error)}).") from error
    places = {
        entry.value
        for tensor in _tensors(model.graph, [*model.functions])
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(_beside(path, place) for place in places)


def _beside(path: Path, place: str) -> Path:
    file = path.parent / place
    if Path(place).name != place or file.resolve().parent != path.resolve().parent:
        raise UnknownEncoder(
            f"{path.name}: takes weights from {place[:80]!r}; only files beside it are read. Export it into one folder."
        )
    if not file.is_file():
        raise UnknownEncoder(f"{path.name}: its weights in {place[:80]} are not beside it.")
    return file


def _tensors(graph: Any, functions: list[Any] | tuple[()] = ()) -> Iterator[Any]:
    """All stored tensors: of the graph, of graphs in its nodes, and of functions."""
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                yield from (sparse.values, sparse.indices)
            for inner in [attribute.g, *attribute.graphs]:
                yield from _tensors(inner)
    for function in functions:
        yield from _tensors(function)
