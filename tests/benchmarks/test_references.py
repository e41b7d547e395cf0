"""What benchmarks/ and deploy/ take from the package is there: a file that moved or a renamed function shows here."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

from esad.pipeline.benchmarking.grid import cells, read_grid
from tests import ROOT

FILES = [path for folder in ("benchmarks", "deploy") for path in sorted((ROOT / folder).rglob("*.py"))]
GRIDS = sorted((ROOT / "benchmarks").glob("*.yaml"))


def missing(text: str) -> list[str]:
    """Modules and names of the package that a file imports or reaches for, and that are not there.

    `import esad.a as b`, `from esad.a import b`, and `b.name`, read or set, where b is a module of the package: setting
    a name that a module does not have is no error for Python, but changes nothing.
    """
    tree, known, absent = ast.parse(text), {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "esad":
                    found = there(alias.name)
                    known[alias.asname or "esad"] = found if alias.asname else there("esad")
                    absent += [] if found else [alias.name]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "esad":
            for alias in node.names:
                found = there(f"{node.module}.{alias.name}")
                known[alias.asname or alias.name] = found
                absent += [] if found is not None else [f"{node.module}.{alias.name}"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = known.get(node.value.id)
            if isinstance(module, ModuleType) and not hasattr(module, node.attr):
                absent.append(f"{module.__name__}.{node.attr}")
    return absent


def there(name: str) -> object | None:
    """The module of that name, or the thing of that name in a module; None where there is neither."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        module, _, last = name.rpartition(".")
        return getattr(there(module), last, None) if module else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_all_that_a_script_takes_from_the_package_is_there(path):
    assert missing(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("from esad.models.methods.registry import METHODS, build", []),
        ("from esad.pipeline.ingest import job\njob.Job", []),
        ("from esad.models.methods.registry import gone", ["esad.models.methods.registry.gone"]),
        ("from esad.models.fit import fit", ["esad.models.fit.fit"]),
        ("import esad.models.fit", ["esad.models.fit"]),
        ("def f():\n    import esad.pipeline.radiographs as stage\n    stage.GONE = 1", ["esad.pipeline.radiographs.GONE"]),
        ("from esad.pipeline.ingest import job\njob.Gone", ["esad.pipeline.ingest.job.Gone"]),
    ],
)  # fmt: skip
def test_what_is_missing_is_found(text, absent):
    assert missing(text) == absent


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_a_grid_of_settings_can_still_be_run(path):
    assert cells(read_grid(str(path)))


@pytest.mark.slow
def test_types_agree_with_the_package():
    """Calls with arguments that a function no longer takes are found without running them."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "benchmarks", "deploy"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
