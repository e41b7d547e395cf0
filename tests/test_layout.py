"""The rules of the layout: imports go one way, files stay readable, every stage runs as a module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

PACKAGES = ("pipeline", "models", "preprocessing", "data_manifests")
MAY_IMPORT = {
    "pipeline": set(PACKAGES),
    "models": {"models"},
    "preprocessing": {"preprocessing", "data_manifests"},
    "data_manifests": {"data_manifests"},
}
STAGES = [
    "tile", "radiographs", "images", "tables", "train", "score", "evaluate", "report", "dicom", "synthetic", "run", "plan",
    "audit", "benchmark", "export", "verify", "sweep",
]  # fmt: skip
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SOURCES = [
    *MODULES,
    *sorted(path for folder in ("tests", "benchmarks", "deploy") for path in (ROOT / folder).rglob("*.py")),
]


def imported_packages(path: Path) -> set[str]:
    """Top-level names of all imports of a file, inside functions and TYPE_CHECKING, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(path.parent.name if node.level else str(node.module).split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    assert imported_packages(path) & set(PACKAGES) <= MAY_IMPORT[package]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_can_load_a_pickle(path):
    text = path.read_text(encoding="utf-8")
    assert not imported_packages(path) & {"pickle", "dill", "joblib", "cloudpickle", "shelve"}
    assert "allow_pickle=True" not in text
    assert "weights_only=False" not in text


def test_a_slide_can_be_tiled_without_torch():
    package = ROOT / "preprocessing"
    needing = {path.name for path in package.rglob("*.py") if "torch" in imported_packages(path)}
    assert needing <= {"stain_torch.py"}
    others = [
        path for path in MODULES if "esad.preprocessing.stain.on_device" in path.read_text(encoding="utf-8")
    ]
    assert not [path for path in others if path.parent == package]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_ends_in_the_call_that_python_m_needs(stage):
    tree = ast.parse((ROOT / "pipeline" / f"{stage}.py").read_text(encoding="utf-8"))
    last = tree.body[-1]
    assert isinstance(last, ast.If)
    assert ast.unparse(last.test) == "__name__ == '__main__'"
    assert f"main(['{stage}', *sys.argv[1:]])" in ast.unparse(last)


def test_python_m_is_the_same_command():
    for module, told in (
        ("esad.pipeline.score", "esad score"),
        ("pipeline", "esad"),
        ("esad.pipeline.run", "esad run"),
    ):
        end = subprocess.run(
            [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert f"Usage: {told}" in end.stdout


def test_every_stage_of_the_layout_is_a_command():
    from typer.main import get_command

    from esad.pipeline.cli.app import app

    assert set(STAGES) <= set(get_command(app).commands)  # type: ignore[attr-defined]
