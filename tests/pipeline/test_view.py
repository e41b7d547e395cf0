"""`esad view` as a person starts and ends it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from types import SimpleNamespace

import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.inspection.marks import Marks
from esad.pipeline.inspection.server import Place, default_marks, find_place, known_archive, show
from esad.pipeline.inspection.subject import Subject
from esad.pipeline.stage.errors import UsageError
from tests.pipeline.inspection.case import score_store
from tests.pipeline.stores import make_store


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    return score_store(folder, make_store(folder, "images"))


def test_it_prints_an_address_answers_under_it_alone_and_ends_in_order(run, tmp_path):
    words = [
        sys.executable,
        "-m",
        "esad",
        "view",
        str(run),
        "--no-browser",
        "--json",
        "--marks",
        str(tmp_path / "m.sqlite"),
    ]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    try:
        told = json.loads(process.stdout.readline())
        url = told["url"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", url)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        assert b"<title>esad view</title>" in opener.open(url, timeout=20).read()
        address = url.split("?")[0]
        about = json.load(opener.open(f"{address}api/about", timeout=20))
        assert (about["kind"], about["items"]) == ("images", 120)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{address}api/about", timeout=20)
        body = json.dumps({"of": "item", "row": 0, "mark": "anomaly", "reader": "Ada"}).encode()
        request = urllib.request.Request(f"{address}api/marks", body, {"Content-Type": "application/json"})
        opener.open(request, timeout=20)
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)
    assert process.returncode == 0, rest
    assert f"Ended; {tmp_path / 'm.sqlite'} holds 1 marks." in rest[1]
    assert "Traceback" not in rest[1]
    assert len(Marks(tmp_path / "m.sqlite").current("item")) == 1


def test_what_is_missing_or_taken_is_said_before_anything_is_served(run, tmp_path, capsys):
    marks = ["--no-browser", "--marks", str(tmp_path / "m.sqlite")]
    assert call(["view", str(tmp_path / "none"), *marks]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert call(["view", str(tmp_path), *marks]) == 1
    assert "neither a run" in capsys.readouterr().err
    assert call(["view", str(run), *marks, "--archive", str(tmp_path / "none")]) == 2
    assert "--archive" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.listen()
        assert call(["view", str(run), *marks, "--port", str(taken.getsockname()[1])]) == 2
    assert "Choose another --port" in capsys.readouterr().err
    assert call(["view", str(run), "--no-browser", "--marks", str(tmp_path / "none" / "m.sqlite")]) == 1
    assert "--marks FILE" in capsys.readouterr().err
    assert call(["view", str(run), *marks, "--annotations", str(tmp_path / "none")]) == 2


def test_where_others_reach_the_server_that_is_said():
    place = find_place("127.0.0.1", 0)
    place.listening.close()
    assert place.warning == ""
    assert place.port > 0
    open_to_all = Place(place.listening, "0.0.0.0", 80, "t")
    assert "everyone on the network" in open_to_all.warning
    assert open_to_all.url == "http://127.0.0.1:80/?token=t"
    assert Place(place.listening, "::1", 80, "t").url == "http://[::1]:80/?token=t"
    with pytest.raises(UsageError, match="cannot listen there"):
        find_place("192.0.2.1", 0)  # an address of no machine


def test_the_archive_is_remembered_until_it_is_gone(tmp_path):
    marks = Marks(tmp_path / "m.sqlite")
    folder = tmp_path / "archive"
    assert known_archive(marks, None) is None
    folder.mkdir()
    assert known_archive(marks, folder) == folder.resolve()
    assert known_archive(Marks(marks.path), None) == folder.resolve()
    folder.rmdir()
    assert known_archive(marks, None) is None
    with pytest.raises(UsageError, match="no such folder"):
        known_archive(marks, folder)


def test_marks_lie_beside_the_store_so_that_no_force_removes_them(run):
    subject = Subject([run])
    assert default_marks(subject) == subject.store_root.with_name("store-marks.sqlite")
    gone = SimpleNamespace(store_root=subject.store_root / "none" / "store", runs=subject.runs)
    assert default_marks(gone) == run / "marks.sqlite"


def test_no_browser_of_the_terminal_is_opened(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    show("http://127.0.0.1/")
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    show("http://127.0.0.1/")
    assert opened == ["http://127.0.0.1/"]


def test_lists_and_marks_need_no_torch(run, tmp_path):
    """It takes 260 MB and seconds to import; panels alone need it."""
    program = (
        "import sys; from pathlib import Path; from esad.pipeline.inspection.server import viewer; "
        "from esad.pipeline.inspection.subject import Subject; from esad.pipeline.inspection.marks import Marks; "
        f"pages = viewer(Subject([Path({str(run)!r})]), Marks(Path({str(tmp_path / 'm.sqlite')!r})), None); "
        "pages.application(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
