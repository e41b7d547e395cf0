"""What `make release` decides itself; the release proper installs an environment anew and is made by hand."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from tests import ROOT
from tests.deploy.scripts import script

release = script("release")
CHANGELOG = """# Changelog

## [Unreleased]

### Added
- A thing.

## [0.1.0] - 2026-01-02
- The first.

## [0.0.9]
"""


def test_a_versions_part_of_the_changelog_is_its_own():
    assert release.changes_of(CHANGELOG, "Unreleased") == "### Added\n- A thing.\n"
    assert release.changes_of(CHANGELOG, "0.1.0") == "- The first.\n"
    for part in ("0.0.9", "0.1", "0x1.0"):
        with pytest.raises(SystemExit, match="no part"):
            release.changes_of(CHANGELOG, part)


def test_our_own_changelog_has_a_part_for_a_candidate():
    assert release.changes_of((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), "Unreleased")
    assert release.version_of(ROOT) in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def entry(name, version, **archive):
    return {"metadata": {"name": name, "version": version}, "download_info": {"archive_info": archive}}


def test_requirements_are_locked_by_version_and_hash():
    report = {
        "install": [
            entry("Zarr", "3.1", hashes={"sha256": "b" * 64}),
            entry("numpy", "2.2", hashes={"sha256": "a" * 64}),
            entry("esad", "0.1.0"),
        ]
    }
    assert (
        release.locked(report) == f"numpy==2.2 --hash=sha256:{'a' * 64}\nZarr==3.1 --hash=sha256:{'b' * 64}\n"
    )
    with pytest.raises(SystemExit, match=r"other 1\.0"):
        release.locked({"install": [entry("other", "1.0")]})


def test_an_sbom_says_no_place_on_this_machine():
    own = {"name": "esad", "externalReferences": [{"url": "file:///home/one/esad.whl"}]}
    other = {"name": "two", "externalReferences": [{"url": "https://example.org"}, {"url": "file:///x"}]}
    found = release.without_places({"components": [own, other, {"name": "three"}]})["components"]
    assert found == [
        {"name": "esad"},
        {"name": "two", "externalReferences": [{"url": "https://example.org"}]},
        {"name": "three"},
    ]


def test_checksums_are_those_that_sha256sum_checks(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"wheel")
    (tmp_path / "SHA256SUMS").write_text("old")
    told = release.sums(tmp_path)
    assert told == f"{hashlib.sha256(b'wheel').hexdigest()}  a.whl\n"
    (tmp_path / "SHA256SUMS").write_text(told)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_a_release_that_is_there_is_left_alone(tmp_path):
    with pytest.raises(SystemExit, match="there already"):
        release.main(["--out", str(tmp_path)])
