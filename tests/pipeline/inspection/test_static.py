"""What the page is made of: ours, and OpenSeadragon as it was published; nothing is fetched from anywhere."""

from __future__ import annotations

import hashlib
import re

import pytest

from esad.pipeline.inspection.app import STATIC
from tests import ROOT

SUMS = {
    "openseadragon.min.js": "14d587cd3ee7c4861f1a41077ce642029364a21029956ba635bd8fb1202cf9ad",
    "LICENSE.txt": "17da96b26ac706d2cbd06d4555dedb43026782f4943faf0156fe7acf89454228",
}
"""SHA-256 of files of the npm package openseadragon 6.1.1."""
OURS = sorted(path for path in STATIC.glob("*") if path.suffix in (".js", ".css", ".html", ".svg"))


@pytest.mark.parametrize("name", SUMS)
def test_openseadragon_is_the_published_one(name):
    content = (STATIC / "openseadragon" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == SUMS[name]


def test_its_version_and_licence_are_said():
    assert (
        "openseadragon 6.1.1" in (STATIC / "openseadragon" / "openseadragon.min.js").read_text()[:400].lower()
    )
    assert (
        "BSD" in (STATIC / "openseadragon" / "LICENSE.txt").read_text()
        or "Redistribution and use" in (STATIC / "openseadragon" / "LICENSE.txt").read_text()
    )
    notice = (ROOT / "NOTICE").read_text()
    assert "OpenSeadragon 6.1.1" in notice
    assert "BSD-3-Clause" in notice


def test_its_pictures_are_there():
    pictures = list((STATIC / "openseadragon" / "images").glob("*.png"))
    assert len(pictures) == 40
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_files_lead_nowhere_and_write_no_markup(path):
    text = path.read_text()
    addresses = re.findall(
        r"\b(?:https?:)?//[\w.-]+\.\w+", re.sub(r"^\s*//.*$|(?<=[;{}]) //.*$", "", text, flags=re.M)
    )
    assert [found for found in addresses if "www.w3.org" not in found] == []
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
    )
    if path.suffix == ".html":
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", text)


def test_the_wheel_takes_all_of_it():
    import tomllib

    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "esad.pipeline.inspection"
    ]
    room = STATIC.parent
    taken = {path for pattern in patterns for path in room.glob(pattern) if path.is_file()}
    assert taken == {path for path in STATIC.rglob("*") if path.is_file()}
