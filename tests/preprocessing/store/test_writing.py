"""Full disks and limits on files, for real where the system lets us: named with the file, what is needed and what is free."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from esad.preprocessing.errors import EsadError
from esad.preprocessing.store import writing
from esad.preprocessing.store.shards import ShardWriter
from esad.preprocessing.store.writing import (
    full_disk_named,
    set_aside,
    write_array,
    write_atomically,
    write_json,
    write_table,
)
from tests import ROOT
from tests.forks import fork, wait


@pytest.mark.parametrize("shape", [(0, 3), (5,), (7, 4, 4, 3), (1000, 30)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", ">f4"])
def test_arrays_are_the_files_that_numpy_writes(tmp_path, shape, dtype):
    array = (np.arange(np.prod(shape)) % 100).reshape(shape).astype(dtype)
    for number, each in enumerate((array, array.T, array[::2])):
        write_array(tmp_path / "ours.npy", each)
        np.save(tmp_path / f"{number}.npy", each)
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / f"{number}.npy").read_bytes()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_array(path, np.zeros(100_000)),
        lambda path: write_table(path, pd.DataFrame({"a": np.random.default_rng(0).random(100_000)})),
        lambda path: write_json(path, list(range(100_000))),
        lambda path: ShardWriter(path.parent, 0, 1000, (16, 16, 3)).__exit__(),
        lambda path: write_atomically(path, Image.new("RGB", (2000, 2000)).save),
    ],
    ids=["array", "table", "json", "shard", "picture"],
)
def test_a_limit_on_the_size_of_files_names_the_file_and_leaves_nothing(tmp_path, write, request):
    ending = ".png" if "picture" in request.node.name else ".npy"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with pytest.raises(OSError, match="File too large") as raised:
            write(tmp_path / f"a{ending}")
        assert raised.value.errno == errno.EFBIG
        assert str(raised.value.filename).startswith(str(tmp_path))
        assert not str(raised.value.filename).rpartition("/")[2].startswith(".")

    assert wait(fork(limited)) == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("free", [0, 5_000])
def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch, free):
    monkeypatch.setattr(writing, "free_bytes", lambda folder: free)
    for write in (
        lambda: write_array(tmp_path / "shards" / "00000.npy", np.zeros((1500, 1000), np.uint8)),
        lambda: ShardWriter(tmp_path, 0, 1500, (10, 10, 10)),
    ):
        with pytest.raises(OSError, match="No space left") as raised:
            write()
        assert raised.value.errno == errno.ENOSPC
        assert raised.value.filename == str(tmp_path / "shards" / "00000.npy")
        assert raised.value.strerror == f"No space left on device (1.5 MB needed, {free / 1e6:.1f} MB free)"
    assert not list((tmp_path / "shards").iterdir())


def test_a_librarys_error_without_a_number_on_a_full_disk_is_a_full_disk(tmp_path, monkeypatch):
    def short(_path):
        raise OSError("1500 requested and 992 written")

    with pytest.raises(OSError, match="1500 requested"):
        write_atomically(tmp_path / "a.npy", short)
    monkeypatch.setattr(writing, "free_bytes", lambda folder: 0)
    with pytest.raises(OSError, match=r"No space left on device \(0\.0 MB free\)"):
        write_atomically(tmp_path / "a.npy", short)


def test_an_error_of_another_file_stays_its_own(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        write_atomically(tmp_path / "a", lambda path: (tmp_path / "elsewhere").read_bytes())
    assert raised.value.filename == str(tmp_path / "elsewhere")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_ingest_stage_under_ulimit_ends_at_once_in_one_line(tmp_path, workers):
    """4000 pictures of 64 x 64 are 16 MB of shards in units of many; the first that is too large ends the stage."""
    (tmp_path / "in").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (900, 64, 64), dtype=np.uint8)
    for number in range(3):
        np.savez(tmp_path / "in" / f"{number}.npz", x=picture)
    command = f"ulimit -f 1000; exec {sys.executable} -m esad images {tmp_path / 'in'} --out {tmp_path / 'out'} --workers {workers}"
    began = time.monotonic()
    end = subprocess.run(
        ["bash", "-c", command], check=False, capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert end.returncode == 1, end.stderr
    assert time.monotonic() - began < 60
    last = end.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {tmp_path / 'out'}/shards/0000"), end.stderr
    assert "File too large. A limit on the size of files is in force (ulimit -f)" in last
    assert "Traceback" not in end.stderr
    assert not list((tmp_path / "out" / "shards").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="fallocate is Linux's")
def test_room_that_was_set_aside_is_the_files_own(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.write(b"abc")
        file.flush()
        set_aside(file.fileno(), 1 << 20)
    assert (tmp_path / "a").stat().st_blocks * 512 >= 1 << 20
    assert (tmp_path / "a").read_bytes() == b"abc" + bytes((1 << 20) - 3)


@pytest.mark.skipif(sys.platform != "linux", reason="fallocate is Linux's")
def test_room_that_no_disk_has_is_an_error_and_a_file_system_without_such_a_thing_is_none(tmp_path):
    with (tmp_path / "a").open("wb") as file, pytest.raises(OSError, match=r"too large|No space"):
        set_aside(file.fileno(), 1 << 62)
    reads, writes = os.pipe()
    set_aside(writes, 1 << 20)
    os.close(reads)
    os.close(writes)


@pytest.mark.parametrize(
    ("raised", "free", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 5_000_000, True),
        (OSError("With tag (7FE0,0010) got exception: [Errno 28] No space left on device"), 5_000_000, True),
        (RuntimeError("unexpected pos 64 vs 0"), 1000, True),
        (RuntimeError("unexpected pos 64 vs 0"), 5_000_000, False),
        (OSError(errno.EACCES, "Permission denied"), 1000, False),
        (EsadError("a run on tables"), 1000, False),
    ],
)
def test_what_libraries_raise_on_a_full_disk_names_the_folder(tmp_path, monkeypatch, raised, free, full):
    monkeypatch.setattr("esad.preprocessing.store.writing.free_bytes", lambda _: free)
    with pytest.raises(type(raised) if not full else OSError) as found, full_disk_named(tmp_path / "out"):
        raise raised
    assert (found.value is raised) is not full
    if full:
        assert (found.value.errno, found.value.filename) == (errno.ENOSPC, str(tmp_path / "out"))
        assert f"{free / 1e6:.1f} MB free" in str(found.value)
