"""Folders that are replaced or emptied: at any moment of a kill it can be gone on from there. Files: flushed before their names."""

from __future__ import annotations

import errno
import os
import re

import pytest

from esad.preprocessing.store import durable
from esad.preprocessing.store.durable import (
    empty_folder,
    flush,
    give_name,
    is_empty,
    make_folder,
    remove_folder,
    replace_folder,
    take_name,
)
from esad.preprocessing.store.writing import remove_temporaries
from tests import ROOT

RENAMING = re.compile(
    r"os\.(rename|renames|replace)\(|shutil\.move\(|\w\.rename\((?!\s*(columns=|index=|str\b))"
)
"""pandas has a `rename`, too."""


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the system, in order: (what, file)."""
    found = []
    for name in ("fsync", "replace", "unlink", "rmdir"):
        original = getattr(os, name)

        def recorded(first, *more, name=name, original=original, **words):
            path = os.readlink(f"/proc/self/fd/{first}") if name == "fsync" else os.fspath(first)
            found.append((name, os.path.basename(path)))
            return original(first, *more, **words)

        monkeypatch.setattr(os, name, recorded)
    return found


def test_a_file_is_on_the_disk_before_its_name_and_the_name_after_it(tmp_path, calls):
    (tmp_path / ".a.1").write_text("a")
    give_name(tmp_path / ".a.1", tmp_path / "a")
    assert calls == [("fsync", ".a.1"), ("replace", ".a.1"), ("fsync", tmp_path.name)]
    calls.clear()
    take_name(tmp_path / "a")
    assert calls[-1] == ("fsync", tmp_path.name)
    assert not (tmp_path / "a").exists()


def test_folders_that_are_made_are_named_on_the_disk(tmp_path, calls):
    make_folder(tmp_path / "one" / "two")
    assert calls == [("fsync", tmp_path.name), ("fsync", "one")]
    calls.clear()
    make_folder(tmp_path / "one" / "two")
    assert calls == []


def test_a_folder_takes_the_place_of_another_at_once(tmp_path, calls):
    for name in ("old", "fresh"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / name).touch()
    replace_folder(tmp_path / "fresh", tmp_path / "old")
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "inner", "fresh"]
    order = [call for call in calls if call[0] in ("fsync", "replace")]
    assert order == [
        ("fsync", "inner"), ("fsync", "fresh"), ("fsync", "fresh"), ("fsync", tmp_path.name),
        ("replace", "old"), ("replace", "fresh"), ("fsync", tmp_path.name),
    ]  # fmt: skip


def test_a_folder_loses_first_what_says_that_it_is_finished_and_last_what_says_whose_it_is(
    tmp_path, monkeypatch
):
    (tmp_path / "parts").mkdir()
    (tmp_path / "shards" / "deep").mkdir(parents=True)
    for name in (
        "store.json",
        ".lock",
        "a",
        "parts/settings.json",
        "parts/b",
        "parts/sources-1",
        "shards/deep/c",
    ):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "shards")
    order, original = [], os.unlink

    def unlink(path, *more, **words):
        order.append(os.path.basename(path))
        original(path, *more, **words)

    monkeypatch.setattr(os, "unlink", unlink)
    empty_folder(tmp_path, "parts/settings.json", ["store.json", "parts/sources-*"])
    assert order[:3] == ["store.json", "sources-1", "b"]
    assert order[-1] == "settings.json"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert is_empty(tmp_path)
    (tmp_path / "x").touch()
    assert not is_empty(tmp_path)


def test_a_folder_goes_at_once_and_what_a_kill_leaves_of_it_is_hidden_and_removed(tmp_path, monkeypatch):
    (tmp_path / "cells" / "one").mkdir(parents=True)
    monkeypatch.setattr(durable.shutil, "rmtree", lambda *_, **__: None)
    remove_folder(tmp_path / "cells")
    assert [path.name for path in tmp_path.iterdir()] == [".cells.old"]
    monkeypatch.undo()
    remove_temporaries(tmp_path)
    assert list(tmp_path.iterdir()) == []
    remove_folder(tmp_path / "cells")


def test_a_share_that_cannot_flush_is_no_fault_and_a_broken_disk_is(tmp_path, monkeypatch):
    def refuse(number):
        def fsync(_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(durable.os, "fsync", fsync)

    refuse(errno.EINVAL)
    flush(tmp_path)
    refuse(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        flush(tmp_path)


def test_one_module_renames_and_no_other():
    """So that nothing gets its name before it is on the disk."""
    paths = [
        path
        for package in ("pipeline", "models", "preprocessing", "src/esad")
        for path in (ROOT / package).rglob("*.py")
    ]
    renaming = {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if RENAMING.search(path.read_text(encoding="utf-8"))
    }
    assert renaming == {"preprocessing/store/durable.py"}
