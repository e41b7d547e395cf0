"""Zips as folders: hidden files, names that leave, members that grow."""

from __future__ import annotations

import zipfile

import pytest

from esad.preprocessing import zips
from esad.preprocessing.errors import InputError
from esad.preprocessing.zips import file_names, read_member


def write(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__slash__", "/"), content)
    return path


def test_files_are_listed_without_hidden_ones(tmp_path):
    path = write(tmp_path / "a.zip", b="1", a="2", __MACOSX__slash__c="3", **{".d": "4", "x__slash__.y": "5"})
    assert file_names(path) == ["a", "b"]


@pytest.mark.parametrize(
    "name", ["../a", "/etc/a", "x/../../a", "C:a", "..\\a", "\\a", "x\\..\\..\\a", "C:\\a"]
)
def test_one_name_that_leaves_refuses_the_whole_file(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good", "1")
        archive.writestr(name, "2")
    with pytest.raises(InputError, match=r"a\.zip: member .* points out of the archive"):
        file_names(tmp_path / "a.zip")


def test_backslashes_of_windows_are_slashes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good\\", "")
        archive.writestr("good\\a.png", "1")
        archive.writestr("bad/b.png", "2")
    assert file_names(tmp_path / "a.zip") == ["bad/b.png", "good/a.png"]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert [read_member(archive, name) for name in ("good/a.png", "bad/b.png")] == [b"1", b"2"]


def test_two_members_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x\\a", "1")
        archive.writestr("x/a", "2")
    with pytest.raises(InputError, match="'x/a' twice"):
        file_names(tmp_path / "a.zip")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zip", bomb=b"\0" * 3_000_000, small=b"\0" * 1000)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(zips, "MOST_BYTES", 2_000_000)
    with zipfile.ZipFile(path) as archive:
        assert len(read_member(archive, "small")) == 1000
        with pytest.raises(InputError, match=r"bomb: 2 MiB in the zip; at most 1 MiB"):
            read_member(archive, "bomb")


def test_a_member_that_lies_about_its_size_is_refused(tmp_path):
    """The directory says 10 bytes where a million are packed: no more than 10 come out, and their sum is wrong."""
    path = write(tmp_path / "a.zip", bomb=b"\0" * 1_000_000)
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(mark) + place
        content[start : start + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    with (
        zipfile.ZipFile(path) as archive,
        pytest.raises(InputError, match="bomb: cannot be read from the zip"),
    ):
        read_member(archive, "bomb")
