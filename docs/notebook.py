"""Run a notebook without Jupyter, keep what it shows, and make a page of it.

    python docs/notebook.py docs/tutorials/tables.ipynb

runs the cells in order and writes their outputs into the file: text, tables and matplotlib figures.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot

Cell = dict[str, Any]


def run(path: Path) -> list[Cell]:
    """The cells of the notebook with fresh outputs; an exception in a cell is raised as it is."""
    matplotlib.use("Agg")
    cells: list[Cell] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        cell.update(execution_count=number, outputs=_outputs("".join(cell["source"]), names))
    return cells


def write(path: Path) -> None:
    """Run the notebook and keep its outputs in the file."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"] = run(path)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def as_markdown(path: Path) -> str:
    """The notebook as a page: its text, code, and the outputs that are kept in it."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [_shown(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _outputs(source: str, names: dict[str, Any]) -> list[Cell]:
    """What a cell prints, the value of its last line, and the figures that it draws."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    found: list[Cell] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    found += [
        {"output_type": "display_data", "data": {"image/png": picture}, "metadata": {}}
        for picture in _figures()
    ]
    if value is not None and not source.rstrip().endswith(";"):
        found.append(_value(value))
    return found


def _figures() -> list[str]:
    pictures = []
    for number in pyplot.get_fignums():
        file = io.BytesIO()
        pyplot.figure(number).savefig(
            file, format="png", dpi=80, bbox_inches="tight", metadata={"Software": None}
        )
        pictures.append(base64.b64encode(file.getvalue()).decode())
    pyplot.close("all")
    return pictures


def _value(value: Any) -> Cell:
    data = {"text/plain": _lines(repr(value))}
    if hasattr(value, "_repr_html_"):
        data["text/html"] = _lines(value._repr_html_())
    return {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _shown(output: Cell) -> str:
    if output["output_type"] == "stream":
        return f"```text\n{''.join(output['text']).rstrip()}\n```"
    data = output["data"]
    if "image/png" in data:
        return f"![figure](data:image/png;base64,{data['image/png']})"
    return f"```text\n{''.join(data['text/plain'])}\n```"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
