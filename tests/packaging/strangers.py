"""Somebody else's folder with packages of our four folders' names, and commands that fresh processes run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests import ROOT

NAMES = ("data_manifests", "models", "pipeline", "preprocessing")
BIN = Path(sys.executable).parent
TOUCHED = """\
from pathlib import Path
Path(__file__).with_name("touched").touch()
raise ImportError("a stranger's package was imported")
"""
WITNESS = """\
import atexit, json, os, sys

def tell():
    places = {name: getattr(module, "__dict__", {}).get("__file__") for name, module in list(sys.modules.items())}
    files = {name: os.path.realpath(place) for name, place in places.items() if place}
    with open(os.path.join(os.environ["WITNESSES"], f"{os.getpid()}.json"), "w") as file:
        json.dump({"argv": sys.orig_argv, "path": sys.path, "files": files}, file)

atexit.register(tell)
"""
"""Imported by Python at its start: tells at the end what the process had on its path and among its modules."""


def stray_copies(files: dict[str, str]) -> dict[str, str]:
    """Of a process's modules (name -> file) those of this checkout that are no submodule of esad or have a second name."""
    folders = tuple(f"{ROOT / name}{os.sep}" for name in (*NAMES, "src"))
    started = {"__main__", "__mp_main__"}
    ours = {name: file for name, file in files.items() if file.startswith(folders) and name not in started}
    seen = Counter(ours.values())
    return {name: file for name, file in ours.items() if seen[file] > 1 or name.split(".")[0] != "esad"}


class Stranger:
    """The folder `place`; every process started by `environment` leaves a testimony, children of children, too."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "stranger"
        self._witness, self._told = folder / "witness", folder / "told"
        for name in NAMES:
            (self.place / name).mkdir(parents=True)
            (self.place / name / "__init__.py").write_text(TOUCHED)
        self._witness.mkdir()
        self._told.mkdir()
        (self._witness / "sitecustomize.py").write_text(WITNESS)

    @property
    def environment(self) -> dict[str, str]:
        """This checkout's esad before any installed one; the installed one of `make test` is the same."""
        path = os.pathsep.join([str(self._witness), str(ROOT / "src")])
        return {**os.environ, "PYTHONPATH": path, "WITNESSES": str(self._told)}

    def run(self, *words: object, cwd: Path | None = None) -> str:
        """What a command that ends well writes on stdout and stderr; it runs in the folder unless `cwd` says."""
        done = subprocess.run(
            [str(word) for word in words], cwd=cwd or self.place, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def python(self, *words: object, cwd: Path | None = None) -> str:
        return self.run(sys.executable, *words, cwd=cwd)

    def start(self, *words: object) -> subprocess.Popen[str]:
        """A program that stays."""
        return subprocess.Popen(
            [str(word) for word in words], cwd=self.place, env=self.environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def testimonies(self) -> list[dict[str, Any]]:
        """Of all processes that have ended."""
        return [json.loads(path.read_text()) for path in sorted(self._told.iterdir())]

    def check(self) -> None:
        """No process imported a stranger's package, and none has a module of ours twice or by another name than esad's."""
        imported = [*self.place.rglob("touched"), *self.place.rglob("__pycache__")]
        assert not imported, f"a stranger's package was imported: {imported}"
        told = self.testimonies()
        assert told, "no process told of its end"
        for process in told:
            strays = stray_copies(process["files"])
            assert not strays, f"{process['argv']} has stray modules {strays}"
