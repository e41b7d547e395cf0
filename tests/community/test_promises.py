"""What SECURITY.md promises and no other test holds."""

from __future__ import annotations

import ast
import inspect
import os
import pickle
import zipfile
from functools import cache
from pathlib import Path

import pytest

from esad.pipeline.exporting.source_archive import SourceArchive
from esad.pipeline.ingest.inputs import find_sources
from esad.pipeline.view import command as view_command
from esad.pipeline.view import view
from esad.preprocessing.errors import InputError
from tests import ROOT

MODULES = sorted(
    path
    for folder in ("pipeline", "models", "preprocessing", "data_manifests", "src/esad")
    for path in (ROOT / folder).rglob("*.py")
)
TAKES_NO_OBJECTS = {"np.load": "allow_pickle=False", "numpy.load": "allow_pickle=False", "torch.load": "weights_only=True"}  # fmt: skip
RUNS_TEXT = {
    "eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.eval",
    "pandas.eval",
}  # fmt: skip
SERVERS = {
    "aiohttp", "fastapi", "flask", "http.server", "socket", "socketserver", "starlette", "tornado", "uvicorn",
    "wsgiref", "xmlrpc",
}  # fmt: skip


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Every node of our modules, and the file that it is in."""
    trees = [
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in MODULES
    ]
    return [(path, node) for path, tree in trees for node in ast.walk(tree)]


@cache
def calls() -> list[tuple[str, str, set[str]]]:
    """Of every call in our modules: the file, what is called, and its named arguments as they are written."""
    return [
        (path, ast.unparse(node.func), {ast.unparse(word) for word in node.keywords})
        for path, node in nodes()
        if isinstance(node, ast.Call)
    ]


def test_every_load_says_that_it_takes_no_objects():
    loads = [(path, name, named) for path, name, named in calls() if name in TAKES_NO_OBJECTS]
    assert len(loads) >= 4
    assert [(path, name) for path, name, named in loads if TAKES_NO_OBJECTS[name] not in named] == []
    assert [path for path, name, _ in calls() if name.endswith("read_pickle")] == []


def test_no_module_runs_text():
    assert [(path, name) for path, name, named in calls() if name in RUNS_TEXT or "shell=True" in named] == []


def test_nothing_is_unpacked():
    unpacking = (".extract", ".extractall", "unpack_archive")
    assert [(path, name) for path, name, _ in calls() if name.endswith(unpacking)] == []


def test_no_module_listens_but_the_viewers_and_that_on_loopback():
    """Another stage that starts a server is to listen on loopback, too, and changes this test and its row in SECURITY.md."""
    listening = []
    for path, node in nodes():
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        if names == ["socket", "socket.gaierror"]:
            continue  # the error of a name that no server has
        listening += [(path, name) for name in names if SERVERS & {name, name.split(".")[0]}]
    listening += [(path, name) for path, name, _ in calls() if name.endswith("LocalCluster")]
    assert {path for path, _ in listening} == {
        f"pipeline/inspection/{name}.py" for name in ("app", "security", "server")
    }
    binding = [path for path, name, _ in calls() if name.endswith((".bind", "create_server", "uvicorn.run"))]
    assert binding == ["pipeline/inspection/server.py"]
    assert [path.name for path in MODULES if "0.0.0.0" in path.read_text(encoding="utf-8")] == ["server.py"]
    assert inspect.signature(view).parameters["host"].default == "127.0.0.1"
    assert inspect.signature(view_command).parameters["host"].default == "127.0.0.1"


class Code:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_that_holds_code_runs_none(tmp_path, capsys):
    import torch

    from esad.pipeline.training import checkpoints

    path = tmp_path / "checkpoint_iteration=1.pt"
    torch.save({"about": "{}", "code": Code(tmp_path / "ran")}, path)
    assert checkpoints._read(path, torch.device("cpu")) is None
    assert "unreadable (UnpicklingError)" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    with zipfile.ZipFile(path) as archive:  # it would have run
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        pickle.loads(archive.read(name))  # noqa: S301
    assert (tmp_path / "ran").exists()


def test_links_out_of_an_archive_are_left_out(tmp_path, capsys):
    for name in ("archive/in.png", "private/out.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "archive" / "link.png").symlink_to(tmp_path / "private" / "out.png")
    (tmp_path / "archive" / "folder").symlink_to(tmp_path / "private")
    _, found = find_sources([tmp_path / "archive"], lambda path: path.suffix == ".png")
    assert found == ["in.png"]
    assert "link.png: left out, it is a link to a place outside" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["../private", "/etc/passwd", "a/../../private", "link"])
def test_no_source_is_opened_outside_its_archive(tmp_path, source):
    (tmp_path / "private").write_text("private")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "link").symlink_to(tmp_path / "private")
    with pytest.raises(InputError, match="its path leaves the archive"):
        SourceArchive(tmp_path / "archive", {}).header(source)
