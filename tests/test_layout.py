"""The rules of the house: imports go one way and never in a circle, rooms and files stay small, every stage is a script."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import networkx
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
    "audit", "benchmark", "export", "verify", "sweep", "fetch", "figures", "suggest", "view", "annotations",
    "embeddings", "embed", "combine",
]  # fmt: skip
FUNCTION_OF = {"run": "run_workflow", "annotations": "write_annotations"}
"""Stages whose function is not called as they are."""
MOST_FILES, MOST_LINES, MOST_LINES_OF_A_STAGE = 12, 500, 40
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FACADE = sorted(path for path in (ROOT / "src" / "esad").glob("*.py"))
SOURCES = [
    *MODULES,
    *FACADE,
    *sorted(path for folder in ("tests", "benchmarks", "deploy") for path in (ROOT / folder).rglob("*.py")),
]
ROOMS = sorted({path.parent for path in MODULES})


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def name_of(path: Path) -> str:
    """`esad.pipeline.ingest.units` for pipeline/ingest/units.py; a package for its __init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("esad", *(parts[:-1] if parts[-1] == "__init__" else parts)))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """Dotted names of all that a file imports, inside functions and TYPE_CHECKING, too."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import; write esad.…"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def imports() -> networkx.DiGraph:
    """Module -> the modules of ours that it imports."""
    known = {name_of(path) for path in MODULES}
    pairs = [(name_of(path), name) for path in MODULES for name in imported(path) & known]
    graph = networkx.DiGraph()
    graph.add_nodes_from(known)
    graph.add_edges_from((one, other) for one, other in pairs if other not in parents(one))
    return graph


def parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


def circles(graph: networkx.DiGraph) -> list[list[str]]:
    return [sorted(found) for found in networkx.strongly_connected_components(graph) if len(found) > 1]


def test_imports_go_one_way():
    wrong = []
    for path in MODULES:
        package = path.relative_to(ROOT).parts[0]
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("esad.")}
        wrong += [(shown(path), name) for name in ours & set(PACKAGES) - MAY_IMPORT[package]]
    assert wrong == []


def test_no_two_modules_import_each_other_however_far_apart():
    assert circles(imports()) == []


def test_no_two_rooms_of_the_pipeline_or_of_preprocessing_import_each_other():
    graph = networkx.DiGraph()
    for one, other in imports().edges:
        rooms = [".".join(name.split(".")[:3]) for name in (one, other)]
        if rooms[0] != rooms[1] and not one.startswith("esad.models"):
            graph.add_edge(*rooms)
    assert circles(graph) == []


def floors() -> dict[str, int]:
    """Room -> its line in ARCHITECTURE.md's picture of the rooms, counted from above."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    picture = text.split("## The rooms")[1].split("```")[1]
    found: dict[str, int] = {}
    for number, line in enumerate(picture.splitlines()):
        for word in line[:41].replace("(src/esad)", "").split():
            found[word] = number
    return found


def room_in_picture(name: str) -> str:
    """`ingest` for `esad.pipeline.ingest.units`, `pipeline/STAGE.py` for a script, `models` for all of its rooms."""
    parts = name.split(".")
    if parts[1] != "pipeline":
        return parts[1]
    if (ROOT / "pipeline" / parts[2]).is_dir():
        return "pipeline/cli" if parts[2] == "cli" else parts[2]
    return {"run": "pipeline/run.py", "__main__": "pipeline/cli"}.get(parts[2], "pipeline/STAGE.py")


def test_rooms_import_downwards_in_the_picture_of_architecture_md():
    line = floors()
    upwards = []
    for one, other in imports().edges:
        here, there = room_in_picture(one), room_in_picture(other)
        scripts = {here, there} == {"pipeline/STAGE.py"}
        if here != there and not scripts and line[here] >= line[there]:
            upwards.append((one, other))
    assert upwards == []


def test_a_circle_would_be_found():
    graph = networkx.DiGraph([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])
    assert circles(graph) == [["a", "b", "c"]]


def test_the_command_line_is_imported_by_nothing_below_it():
    above = {"esad.pipeline.__main__", *(name for name in imports() if name.startswith("esad.pipeline.cli"))}
    below = [
        one for one, other in imports().edges if other.startswith("esad.pipeline.cli") and one not in above
    ]
    assert below == []
    quoting = [
        shown(path)
        for path in MODULES
        if name_of(path) not in above and "esad.pipeline.cli" in path.read_text(encoding="utf-8")
    ]
    assert quoting == []  # nor by name


def test_nothing_of_ours_imports_the_public_names():
    """`esad` itself offers what the rooms have; a room that took it from there would close a circle."""
    assert [shown(path) for path in MODULES if {"esad", "esad.api"} & imported(path)] == []


def test_our_modules_have_one_name():
    """`pipeline.x` beside `esad.pipeline.x` would be a second copy of the same file."""
    outer = {shown(path): {name.split(".")[0] for name in imported(path)} for path in SOURCES}
    assert [path for path, names in outer.items() if names & set(PACKAGES)] == []


def test_files_stay_readable():
    lines = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


@pytest.mark.parametrize("room", ROOMS, ids=shown)
def test_rooms_stay_small_and_say_what_they_are(room):
    files = sorted(path.name for path in room.glob("*.py"))
    if room == ROOT / "pipeline":
        assert set(files) == {"__init__.py", "__main__.py", *(f"{stage}.py" for stage in STAGES)}
    else:
        assert len(files) <= MOST_FILES
    assert "__init__.py" in files
    tree = tree_of(room / "__init__.py")
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1  # what a room offers is taken from its files


def test_tests_mirror_the_rooms():
    """test_x.py stands in the room of tests that mirrors the room of x.py, where there is an x.py."""
    tests = [path for package in PACKAGES for path in (ROOT / "tests" / package).rglob("test_*.py")]
    misplaced = []
    for path in tests:
        room = ROOT / path.parent.relative_to(ROOT / "tests")
        package = ROOT / path.relative_to(ROOT / "tests").parts[0]
        homes = {found.parent for found in package.rglob(f"{path.stem.removeprefix('test_')}.py")}
        if not room.is_dir() or (homes and room not in homes):
            misplaced.append(shown(path))
    assert misplaced == []


def test_no_module_imports_by_a_text():
    """A name in a text would not be seen by the tests above; the reading process gets functions that others imported."""
    importing = [shown(path) for path in MODULES if "import_module" in path.read_text(encoding="utf-8")]
    assert importing == ["preprocessing/gate/serve.py"]


def test_no_text_shows_an_old_import():
    old = re.compile(rf"\b(from|import) ({'|'.join(PACKAGES)})[ .](?!.*\bfails\b)")
    showing = [
        f"{shown(path)}: {line.strip()}"
        for path in SOURCES
        if path != Path(__file__).resolve() and "packaging" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if old.search(line)
    ]
    assert showing == []


def test_the_walk_of_architecture_md_names_functions_that_there_are():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    walk = text.split("### One slide")[1].split("### ")[0]
    named = re.findall(r"`([\w/]+\.py)`, `([\w.]+)`", walk)
    assert len(named) >= 15
    for file, name in named:
        path = ROOT / file if (ROOT / file).is_file() else ROOT / "pipeline" / file
        assert re.search(
            rf"^\s*(def|class) {name.split('.')[-1]}\b", path.read_text(encoding="utf-8"), re.M
        ), (file, name)


def test_no_module_can_load_a_pickle():
    loading = []
    for path in [*MODULES, *FACADE]:
        text = path.read_text(encoding="utf-8")
        names = {name.split(".")[0] for name in imported(path)}
        if names & {"pickle", "dill", "joblib", "cloudpickle", "shelve"}:
            loading.append(shown(path))
        if "allow_pickle=True" in text or "weights_only=False" in text:
            loading.append(shown(path))
    assert loading == []


def test_a_slide_can_be_tiled_without_torch():
    package = ROOT / "preprocessing"
    needing = {
        path for path in package.rglob("*.py") if "torch" in {name.split(".")[0] for name in imported(path)}
    }
    assert needing == {package / "stain" / "on_device.py"}
    assert [one for one, other in imports().edges if other == "esad.preprocessing.stain.on_device"] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_script_is_its_own_table_of_contents(stage):
    tree = tree_of(ROOT / "pipeline" / f"{stage}.py")
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {"command", FUNCTION_OF.get(stage, stage)} <= set(functions)
    for name, function in functions.items():
        body = function.body[1:] if ast.get_docstring(function) else function.body
        lines = (function.end_lineno or 0) - body[0].lineno + 1
        assert lines <= MOST_LINES_OF_A_STAGE, f"{name}: {lines} lines"
    assert not [node for node in tree.body if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_script_ends_in_its_own_command(stage):
    last = tree_of(ROOT / "pipeline" / f"{stage}.py").body[-1]
    assert isinstance(last, ast.If)
    assert ast.unparse(last) == "if __name__ == '__main__':\n    run_script(command)"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-m", "esad.pipeline.score"], "esad score"),
        (["-m", "esad.pipeline.run"], "esad run"),
        (["-m", "esad.pipeline"], "esad"),
        (["-m", "esad"], "esad"),
        (["pipeline/tile.py"], "esad tile"),
    ],
)
def test_a_script_and_python_m_are_the_same_command(words, told):
    end = subprocess.run(
        [sys.executable, *words, "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert f"Usage: {told}" in end.stdout


def test_every_stage_of_the_layout_is_a_command():
    from typer.main import get_command

    from esad.pipeline.cli.app import app

    assert set(get_command(app).commands) == {*STAGES, "doctor"}  # type: ignore[attr-defined]
