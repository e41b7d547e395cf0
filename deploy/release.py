"""`make release`: what a version is handed out as, into dist/ or `--out`.

    esad-VERSION.tar.gz, esad-VERSION-py3-none-any.whl
    requirements.lock    every package of an installation with its version and SHA-256, of this platform and Python:
                         pip install --require-hashes -r requirements.lock, then --no-deps the wheel
    licences.csv         their licences (deploy/licences.py refuses what binds the code beside it)
    sbom.cdx.json        the same as a software bill of materials (CycloneDX)
    CHANGES.md           the version's part of CHANGELOG.md
    SHA256SUMS           of all of these

Refused for a working tree with changes, and for a version without a part in CHANGELOG.md; `--candidate` takes [Unreleased].
An environment of its own is installed for the lists, in minutes; the tools (build, cyclonedx-bom) have another.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "export,tables,embeddings,mlflow"
"""Of the package that is listed: all that a user of every stage installs, but `staintools`, whose solver is under the GPL."""
TOOLS = ("build>=1.6", "cyclonedx-bom>=7.5")


def run(*words: object) -> str:
    """Standard output of a command; where it fails, its name and status end the release."""
    command = [str(word) for word in words]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"release: FAILED with status {done.returncode}: {' '.join(command)}")
    return done.stdout


def version_of(root: Path) -> str:
    """The version that pyproject.toml states."""
    return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def changes_of(changelog: str, part: str) -> str:
    """The part `## [part]` of a changelog, without its heading; SystemExit where it is missing or empty."""
    found = re.search(
        rf"^## \[{re.escape(part)}\][^\n]*\n(.*?)(?=^## \[|\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if found is None or not found[1].strip():
        sys.exit(
            f"release: CHANGELOG.md has no part [{part}], or nothing in it. Name [Unreleased] so, or use --candidate."
        )
    return found[1].strip() + "\n"


def locked(report: Mapping[str, Any]) -> str:
    """pip's installation report as a file of requirements with hashes, by name; SystemExit for a package without a SHA-256."""
    lines = []
    for each in report["install"]:
        name, version = each["metadata"]["name"], each["metadata"]["version"]
        if name == "esad":
            continue
        digest = each["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if not digest:
            sys.exit(f"release: {name} {version} comes from no archive with a SHA-256.")
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    return "".join(sorted(lines, key=str.lower))


def without_places(bom: dict[str, Any]) -> dict[str, Any]:
    """An SBOM that does not say where on this machine a package came from."""
    for each in bom["components"]:
        references = each.pop("externalReferences", [])
        kept = [reference for reference in references if not reference["url"].startswith("file:")]
        if kept:
            each["externalReferences"] = kept
    return bom


def sums(folder: Path) -> str:
    """SHA256SUMS of the files of a folder, as sha256sum --check reads it."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def environment(folder: Path, *requirements: object) -> Path:
    """A new environment with these packages; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *requirements)
    return python


def release(out: Path, work: Path, candidate: bool) -> None:
    """Make all files of the release in `out`; `work` holds the environments."""
    version = version_of(ROOT)
    if not candidate and run("git", "status", "--porcelain"):
        sys.exit("release: the working tree has changes. Commit them, or use --candidate.")
    changes = changes_of(
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), "Unreleased" if candidate else version
    )
    out.mkdir(parents=True)
    tools = environment(work / "tools", *TOOLS)
    run(tools, "-m", "build", "--outdir", out)
    wheel = f"{next(out.glob('*.whl'))}[{EXTRAS}]"
    python = environment(work / "environment", "-c", ROOT / "constraints.txt", wheel)
    report = run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--report",
        "-",
        "-c",
        ROOT / "constraints.txt",
        wheel,
    )
    (out / "requirements.lock").write_text(locked(json.loads(report)), encoding="utf-8")
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "pip")  # no part of the product
    run(python, ROOT / "deploy" / "licences.py", "--out", out / "licences.csv")
    program = tools.with_name("cyclonedx-py")
    bom = without_places(json.loads(run(program, "environment", "--output-reproducible", python)))
    (out / "sbom.cdx.json").write_text(json.dumps(bom, indent=2) + "\n", encoding="utf-8")
    (out / "CHANGES.md").write_text(changes, encoding="utf-8")
    (out / "SHA256SUMS").write_text(sums(out), encoding="utf-8")


def main(words: Sequence[str] | None = None) -> None:
    """Parse the options, make the release, say where it is."""
    options = argparse.ArgumentParser(
        description="Wheel, sdist, locked requirements, licences, SBOM and checksums of this version."
    )
    options.add_argument("--out", type=Path, default=ROOT / "dist", help="folder to make (default dist)")
    options.add_argument(
        "--candidate", action="store_true", help="try it: with changes in the tree, and [Unreleased]"
    )
    given = options.parse_args(words)
    if given.out.exists():
        sys.exit(f"release: {given.out} is there already; remove it, or choose another --out.")
    with tempfile.TemporaryDirectory() as folder:
        release(given.out.resolve(), Path(folder), given.candidate)
    print(f"release: {given.out} has {', '.join(sorted(path.name for path in given.out.iterdir()))}.")


if __name__ == "__main__":
    main()
