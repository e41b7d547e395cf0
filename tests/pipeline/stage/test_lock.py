"""One writer an output: the second is refused and told who the first is; what a dead one leaves stops nobody."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import signal
import tempfile
import time
from pathlib import Path

import pytest

from esad.pipeline.stage import lock
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.lock import lock_of, writing_to
from esad.preprocessing.store.writing import write_json
from tests.forks import fork, wait

KILLED = -signal.SIGKILL


def refused(out, inside=True, **expected):
    with pytest.raises(EsadError) as raised, writing_to(out, inside):
        pass
    told = str(raised.value)
    assert f"{out}: is being written by process {expected['pid']} on {platform.node()}, since 20" in told
    assert "Wait until it ends" in told


@pytest.mark.parametrize("inside", [True, False])
def test_another_process_is_refused_and_told_who_writes(tmp_path, inside, capfd):
    out = tmp_path / "out"
    with writing_to(out, inside):
        assert wait(fork(lambda: refused(out, inside, pid=os.getppid()))) == 0, capfd.readouterr().err
        assert lock_of(out, inside).is_file()
    with writing_to(out, inside):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_same_thread_may_enter_again_and_the_lock_stays_until_the_first_leaves(tmp_path):
    with writing_to(tmp_path):
        with writing_to(tmp_path):
            pass
        assert wait(fork(lambda: refused(tmp_path, pid=os.getppid()))) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_stops_nobody_and_what_it_left_is_removed(tmp_path):
    out, inner = tmp_path / "out", tmp_path / "out" / "scores"

    def killed():
        with writing_to(out), writing_to(inner):
            write_json(out / "done.json", 1)
            for folder in (out, inner, out / "plain"):
                folder.mkdir(exist_ok=True)
                (folder / ".half.123.npy").write_text("half")
            (out / ".mine.txt").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    assert wait(fork(killed)) == KILLED
    assert lock_of(out).is_file()
    with writing_to(out):
        left = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    # the scores' own stage clears them up, in whose lock another process may be
    assert left == [".lock", ".mine.txt", "done.json", "scores/.half.123.npy", "scores/.lock"]
    with writing_to(inner):
        assert [path.name for path in inner.iterdir()] == [".lock"]


def test_a_killed_process_leaves_nothing_beside_what_is_made_as_a_whole(tmp_path):
    page, folder = tmp_path / "report.html", tmp_path / "onnx"

    def killed():
        with writing_to(page, inside=False), writing_to(folder, inside=False):
            for name in (".onnx.partial", ".onnx.old"):
                (tmp_path / name).mkdir()
            (tmp_path / ".report.7.html").touch()
            (tmp_path / ".other.7.html").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    assert wait(fork(killed)) == KILLED
    for out in (page, folder):
        with writing_to(out, inside=False):
            pass
    assert [path.name for path in tmp_path.iterdir()] == [".other.7.html"]


def test_a_folder_that_stays_empty_is_gone_again(tmp_path):
    with pytest.raises(EsadError, match="first"), writing_to(tmp_path / "a" / "b"):
        raise EsadError("first")
    assert list(tmp_path.iterdir()) == []
    with writing_to(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "c").touch()
    assert (tmp_path / "a" / "b" / "c").is_file()


def test_the_lock_is_not_taken_on_a_file_that_is_gone(tmp_path):
    """The holder removes the file as it leaves; who opened it before must look again."""
    path = lock_of(tmp_path)
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    path.unlink()
    assert not lock._is_still(handle, path)
    path.touch()
    assert not lock._is_still(handle, path)
    os.close(handle)


def test_two_that_come_and_go_are_never_in_together(tmp_path):
    """Both enter some hundreds of times; each says so in a file, and looks whether the other does."""

    def often(own, other):
        entered, ends = 0, time.monotonic() + 0.5
        while time.monotonic() < ends:
            try:
                with writing_to(tmp_path / "out"):
                    (tmp_path / own).touch()
                    assert not (tmp_path / other).exists()
                    entered += 1
                    (tmp_path / own).unlink()
            except EsadError:
                pass
        assert entered

    numbers = [fork(lambda names=names: often(*names)) for names in (("one", "two"), ("two", "one"))]
    assert [wait(number) for number in numbers] == [0, 0]


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"pid": "x", "host": 1})])
def test_a_holder_that_said_nothing_is_another_process(tmp_path, content):
    with (tmp_path / ".lock").open("w") as file:
        file.write(content)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(EsadError, match="is being written by another process"), writing_to(tmp_path):
            pass


def test_where_there_are_no_locks_stages_write_all_the_same(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    with writing_to(tmp_path):
        (tmp_path / "a").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    monkeypatch.setattr(lock, "fcntl", None)
    with writing_to(tmp_path):
        pass


def test_a_folder_that_may_only_be_read_is_entered_and_another_persons_lock_is_seen():
    """As somebody who is not root, who may write everywhere."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders may not be read by others
        place = Path(name)
        for folder in ("read", "theirs"):
            (place / folder).mkdir()
        (place / "theirs" / ".lock").touch(0o644)
        place.chmod(0o755)
        (place / "read").chmod(0o555)
        (place / "theirs").chmod(0o777)

        def as_nobody():
            if os.getuid() == 0:
                os.setuid(65534)
            with writing_to(place / "read"):
                pass
            refused(place / "theirs", pid=os.getppid())

        with writing_to(place / "theirs"):
            assert wait(fork(as_nobody)) == 0
