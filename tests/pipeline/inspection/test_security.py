"""Nobody without the token, under another name, or from another page gets or writes anything."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from esad.pipeline.inspection.security import Guard, file_inside, is_loopback
from tests.pipeline.inspection.case import ORIGIN, PORT, TOKEN


@pytest.fixture
def stranger(case):
    """A client without the token."""
    return TestClient(Guard(case.pages.application(), TOKEN, "127.0.0.1", PORT), base_url=ORIGIN)


@pytest.mark.parametrize(
    "address", ["/", "/api/about", "/static/main.js", "/picture/item/0.png", "/?token=", "/?token=other"]
)
def test_without_the_token_there_is_nothing(stranger, address):
    answer = stranger.get(address)
    assert answer.status_code == 403
    assert "esad view" in answer.text


def test_the_token_in_the_address_becomes_a_cookie_of_this_site_alone(stranger):
    answer = stranger.get(f"/?token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/api/about").status_code == 200  # the client kept it
    assert "<title>esad view</title>" in stranger.get("/").text


def test_every_answer_says_what_a_browser_may_do_with_it(case, stranger):
    for answer in (
        case.client.get("/"),
        case.client.get("/api/about"),
        stranger.get("/"),
        case.client.get("/nothing"),
    ):
        rules = answer.headers["content-security-policy"].split("; ")
        assert "default-src 'self'" in rules
        assert "frame-ancestors 'none'" in rules
        assert not [rule for rule in rules if "unsafe" in rule or "http" in rule or "data:" in rule]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert case.client.get("/api/about").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8765", True), ("localhost:8765", True), ("[::1]:8765", True), ("127.0.0.1:80", False), ("127.0.0.1", False),
        ("evil.example:8765", False), ("127.0.0.1.evil.example:8765", False), ("", False), ("192.168.0.7:8765", False), ("[", False),
    ],
)  # fmt: skip
def test_a_foreign_name_that_leads_here_is_refused(case, host, allowed):
    assert (case.client.get("/api/about", headers={"host": host}).status_code == 200) is allowed


def test_a_server_for_others_answers_under_numbers_and_its_own_name_only(case):
    client = TestClient(
        Guard(case.pages.application(), TOKEN, "0.0.0.0", PORT),
        base_url=ORIGIN,
        cookies={f"esad-{PORT}": TOKEN},
    )
    status = {
        host: client.get("/api/version", headers={"host": f"{host}:{PORT}"}).status_code
        for host in ("192.168.0.7", "evil.example")
    }
    assert status == {"192.168.0.7": 200, "evil.example": 421}
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_other_pages_cannot_write_and_not_even_read(case):
    body = {"of": "item", "row": 0, "mark": "normal", "reader": "Ada"}
    post = case.client.post
    assert post("/api/marks", json=body, headers={"origin": "http://evil.example"}).status_code == 403
    assert post("/api/marks", json=body, headers={"origin": "null"}).status_code == 403
    assert post("/api/marks", json=body, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert (
        post("/api/marks", data={"of": "item"}).status_code == 415
    )  # what a form of another page could send
    assert post("/api/marks", json={**body, "comment": "x" * 70_000}).status_code == 413
    assert (
        case.client.get(
            "/api/about", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
        ).status_code
        == 403
    )
    assert case.pages.marks.current("item") == {}
    assert (
        post("/api/marks", json=body, headers={"origin": ORIGIN, "sec-fetch-site": "same-origin"}).status_code
        == 200
    )


def test_nothing_but_marks_can_be_written(case):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert case.client.request(method, "/api/marks").status_code == 405
    posts = [
        route.path
        for route in case.pages.application().routes
        if "POST" in (getattr(route, "methods", None) or ())
    ]
    assert posts == ["/api/marks", "/api/undo"]


@pytest.mark.parametrize(
    "address",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/picture/item/..%2f..%2fetc.png",
        "/slide/0/..%2f..%2f/0/0_0.png", "/marks/..%2fstore-marks.sqlite", "/static/%00", "/picture/overlay/0/-1.png",
    ],
)  # fmt: skip
def test_no_address_leads_out_of_the_folders(case, address):
    answer = case.client.get(address)
    assert answer.status_code in (404, 405)
    assert b"import" not in answer.content
    assert b"root:" not in answer.content


def test_a_file_is_inside_or_is_none(tmp_path):
    inside = tmp_path / "folder"
    inside.mkdir()
    (inside / "a.png").write_bytes(b"a")
    (tmp_path / "b.png").write_bytes(b"b")
    (inside / "link.png").symlink_to(tmp_path / "b.png")
    assert file_inside(inside, "a.png") == (inside / "a.png").resolve()
    for name in ("../b.png", str(tmp_path / "b.png"), "link.png", "", ".", "none.png", "a\0.png"):
        assert file_inside(inside, name) is None


def test_a_tampered_store_cannot_name_a_picture_outside_of_it(case, made, tmp_path, monkeypatch):
    (made / "secret.png").write_bytes(b"\x89PNG secret")
    sources = case.subject.sources.assign(thumbnail="../secret.png")
    monkeypatch.setitem(case.subject.__dict__, "sources", sources)
    assert case.client.get("/picture/slide/0.png").status_code == 404
