"""The texts of the documentation, taken apart: fenced blocks, commands, inline code, links and headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ +(.+?)(?: *\{#([\w-]+)\})?$", re.MULTILINE)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, *kinds: str) -> list[str]:
    """The fenced blocks of these languages; an empty text is a fence without one."""
    return [body for kind, body in FENCE.findall(path.read_text(encoding="utf-8")) if kind in kinds]


def without_fences(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def inline_code(path: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", without_fences(path))


def links(path: Path) -> list[str]:
    """Links to files and headings of this repository."""
    found = ["".join(pair) for pair in LINK.findall(without_fences(path))]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(path: Path) -> set[str]:
    """What a link can name behind `#`: the headings, as GitHub and MkDocs write them."""
    headings = HEADING.findall(without_fences(path))
    return {
        given or re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text.lower()).strip())
        for text, given in headings
    }


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Stage and further words of every `esad` command line in the fenced blocks, in containers and by torchrun, too."""
    for block in blocks(path, "", "sh", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "esad.pipeline.train" in words:
                yield "train", words[words.index("esad.pipeline.train") + 1 :]
            elif words[:2] == ["docker", "run"]:
                words = words[words.index("esad") + 1 :]
                yield words[0], words[1:]
            elif words and words[0].rpartition("/")[2] == "esad":
                yield words[1], words[2:]
