"""Which licences pass, and that those of this environment do."""

from __future__ import annotations

import csv

import pytest

from tests.deploy.scripts import script

licences = script("licences")


@pytest.mark.parametrize(
    ("licence", "binds"),
    [
        ("MIT", False),
        ("BSD-3-Clause AND Apache-2.0", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False),
        ("LGPL-2.1-only AND (BSD-3-Clause OR GPL-2.0-only)", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("MIT OR GPL-3.0-only", False),
        ("GPL-3.0-or-later", True),
        ("MIT AND GPL-3.0-or-later", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0-only OR GPL-2.0-only", True),
        ("GNU Affero General Public License v3", True),
        ("CC-BY-NC-4.0", True),
        ("Free for non-commercial use", True),
    ],
)
def test_licences_that_bind_the_code_beside_them_are_told(licence, binds):
    package = licences.Package("one", "1.0", licence)
    assert package.binds is binds
    assert bool(licences.faults([package], [])) is binds
    assert licences.faults([package], ["One"]) == []


def test_a_package_that_says_no_licence_is_looked_up():
    assert "says no licence" in licences.faults([licences.Package("one", "1.0", "")], [])[0]


def test_this_environment_has_one_package_under_the_gpl_and_notice_names_it(tmp_path, capsys):
    out = tmp_path / "licences.csv"
    assert licences.main(["--out", str(out), "--but", "spams-bin"]) == 0, capsys.readouterr().err
    with out.open(encoding="utf-8") as file:
        found = {row["name"]: row["licence"] for row in csv.DictReader(file)}
    assert found["esad"] == "Apache-2.0"
    assert found["torch"]
    if "spams-bin" in found:
        assert licences.main(["--out", str(out)]) == 1
