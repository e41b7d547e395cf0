"""Downloads against a server on this machine: resumed, checked, and led nowhere else."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import urllib.error
import urllib.request

import pytest

from esad.data_manifests.loader import Download
from esad.pipeline.fetching import download as downloading
from esad.pipeline.fetching.download import TRIES, download
from esad.pipeline.stage.errors import EsadError
from tests.pipeline.fetching.local_server import Offer, serving

CONTENT = os.urandom(700_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloading, "WAITING", 0.01)
    with serving() as server:
        yield server


def described(*urls, **changes):
    stated = {"urls": list(urls), "size": len(CONTENT), "md5": MD5, "stated_by": "the test", **changes}
    return Download(**stated)


def fetch(file, target, **more):
    counts: list[int] = []
    fetched = download(file, target, counts.append, **more)
    return fetched, sum(counts)


def test_a_file_is_fetched_whole_and_only_once(tmp_path, server):
    server.offers["/a"] = Offer(CONTENT)
    file = described(f"{server.address}/a", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert fetch(file, tmp_path / "a") == (True, len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert fetch(file, tmp_path / "a") == (False, len(CONTENT))
    assert len(server.asked) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("length", [True, False])
def test_a_cut_connection_goes_on_where_it_was(tmp_path, server, length):
    server.offers["/a"] = Offer(CONTENT, cuts=[100_000, 1, 250_000], length=length)
    assert fetch(described(f"{server.address}/a"), tmp_path / "a") == (True, len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=100000-", "bytes=100001-", "bytes=350001-"]


def test_a_server_without_ranges_sends_all_again(tmp_path, server):
    server.offers["/a"] = Offer(CONTENT, cuts=[100_000], ranges=False)
    assert fetch(described(f"{server.address}/a"), tmp_path / "a") == (True, len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_connection_that_never_gives_more_ends_in_words_and_is_taken_up_later(tmp_path, server):
    server.offers["/a"] = Offer(CONTENT, cuts=[1000, *[0] * TRIES])
    file = described(f"{server.address}/a")
    with pytest.raises(EsadError, match=r"cut again and again .* 1 kB of 700 kB are kept: the same command"):
        fetch(file, tmp_path / "a")
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "a").exists()
    assert fetch(file, tmp_path / "a") == (True, len(CONTENT))
    assert server.asked[-1] == ("/a", "bytes=1000-")


def test_a_wrong_checksum_is_told_and_nothing_is_kept(tmp_path, server):
    server.offers["/a"] = Offer(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(
        EsadError, match=f"a: what came is not the published file .md5 .*, expected {MD5}; stated by the test"
    ):
        fetch(described(f"{server.address}/a"), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_bytes_of_another_file_that_were_kept_are_found_out(tmp_path, server):
    server.offers["/a"] = Offer(CONTENT)
    (tmp_path / "a.part").write_bytes(b"x" * 1000)
    with pytest.raises(EsadError, match="not the published file"):
        fetch(described(f"{server.address}/a"), tmp_path / "a")
    assert fetch(described(f"{server.address}/a"), tmp_path / "a")[0]
    (tmp_path / "b.part").write_bytes(b"x" * (len(CONTENT) + 1))
    assert fetch(described(f"{server.address}/a"), tmp_path / "b")[0]


@pytest.mark.parametrize(
    ("offer", "told"),
    [
        (Offer(CONTENT[:-5]), r"offers 699995 bytes, and the published file has 700000"),
        (Offer(CONTENT + b"more", length=False), r"sends more than the published file's 700000 bytes"),
        (Offer(status=404), r"refused by the server \(status 404"),
        (Offer(status=503), r"no connection, or it is cut again and again \(status 503\)"),
    ],
)
def test_another_size_and_refusals_are_told(tmp_path, server, offer, told):
    server.offers["/a"] = offer
    with pytest.raises(EsadError, match=told):
        fetch(described(f"{server.address}/a"), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_second_address_serves_where_the_first_does_not(tmp_path, server):
    server.offers["/b"] = Offer(CONTENT)
    assert fetch(described(f"{server.address}/a", f"{server.address}/b"), tmp_path / "a")[0]
    assert [path for path, _ in server.asked] == ["/a", "/b"]


def test_redirects_are_followed_to_http_alone_and_not_for_ever(tmp_path, server):
    server.offers |= {
        "/a": Offer(leads_to="/b"),
        "/b": Offer(leads_to=f"{server.address}/c"),
        "/c": Offer(CONTENT),
    }
    assert fetch(described(f"{server.address}/a"), tmp_path / "a")[0]
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    for target in (secret.as_uri(), "ftp://127.0.0.1/a", "data:,x"):
        server.offers["/a"] = Offer(leads_to=target)
        with pytest.raises(EsadError, match=r"which is not followed|is not allowed"):
            fetch(described(f"{server.address}/a"), tmp_path / "b")
    server.offers["/a"] = Offer(leads_to="/a")
    with pytest.raises(EsadError, match=r"refused by the server .*redirect"):
        fetch(described(f"{server.address}/a"), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_redirects_never_leave_https_for_http():
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(EsadError, match="from https to http"):
        downloading._SafeRedirects().redirect_request(request, None, 302, "", {}, "http://example.org/a")  # type: ignore[arg-type]


def test_another_file_in_its_place_stays_unless_it_is_to_be_replaced(tmp_path, server):
    server.offers["/a"] = Offer(CONTENT)
    (tmp_path / "a").write_text("mine")
    with pytest.raises(
        EsadError, match=r"is there and is not the published file \(4 bytes, expected 700000\). --force"
    ):
        fetch(described(f"{server.address}/a"), tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"
    assert fetch(described(f"{server.address}/a"), tmp_path / "a", replace=True)[0]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_without_a_net_it_says_so_at_once_and_what_to_do(tmp_path, monkeypatch, capsys):
    asked = []

    def nowhere(self, request, *more, **options):
        asked.append(request.full_url)
        raise urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", nowhere)
    (tmp_path / "a.part").write_bytes(CONTENT[:2000])
    file = described("https://example.org/a", "https://example.net/a")
    told = (
        r"^https://example.org/a: no server is reached \(Temporary failure in name resolution\)\. https://example.net/a: .* "
        rf"Is this machine connected.*put it in {tmp_path} as a: the same command then checks it\. 2 kB of 700 kB are kept"
    )
    with pytest.raises(EsadError, match=told):
        fetch(file, tmp_path / "a")
    assert asked == ["https://example.org/a", "https://example.net/a"]


def test_a_file_that_was_brought_by_hand_is_checked_and_taken(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    assert fetch(described("http://127.0.0.1:1/a"), tmp_path / "a") == (False, len(CONTENT))


def test_a_port_without_a_server_is_not_asked_again(tmp_path, server):
    server.offers["/a"] = Offer(CONTENT)
    file = described("http://127.0.0.1:1/a", f"{server.address}/a")
    assert fetch(file, tmp_path / "a")[0]
    with pytest.raises(EsadError, match=r"no server is reached \(Connection refused\)\. Is this machine"):
        fetch(described("http://127.0.0.1:1/a"), tmp_path / "b")


def test_a_certificate_that_cannot_be_verified_is_told_and_not_tried_again(tmp_path, monkeypatch):
    asked = []

    def strange(self, request, *more, **options):
        asked.append(request.full_url)
        error = ssl.SSLCertVerificationError(1, "certificate verify failed")
        error.verify_message = "self-signed certificate"
        raise urllib.error.URLError(error)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", strange)
    with pytest.raises(
        EsadError, match=r"certificate cannot be verified \(self-signed certificate\).*SSL_CERT_FILE"
    ):
        fetch(described("https://example.org/a"), tmp_path / "a")
    assert len(asked) == 1


def test_that_it_waits_and_from_where_it_goes_on_is_said(tmp_path, server, capsys):
    server.offers["/a"] = Offer(CONTENT, cuts=[100_000])
    assert fetch(described(f"{server.address}/a"), tmp_path / "a")[0]
    assert "a: 100000 of 700000 bytes came; going on from 100 kB in 0 s." in capsys.readouterr().err
