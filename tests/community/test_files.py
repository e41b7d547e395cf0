"""The files that maintainers and users look for: true, and about things that are there."""

from __future__ import annotations

import ast
import configparser
import hashlib
import re
import shlex
import tomllib
from functools import cache

import pytest
import yaml

from tests import ROOT

APACHE_2 = "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645"
"""SHA-256 of the words of the licence, as `words_of` gives them."""
TEXTS = ("CONTRIBUTING.md", "SECURITY.md")
EXAMPLES = {
    "models/methods/absolute_error.py", "data_manifests/wdbc.yaml", "pipeline/count.py", "tests/pipeline/test_count.py",
}  # fmt: skip
"""Files that CONTRIBUTING.md tells to write."""
FOLDERS = "pipeline|models|preprocessing|data_manifests|tests|src|deploy|benchmarks|docs"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def project() -> dict:
    return tomllib.loads(text_of("pyproject.toml"))


@cache
def recipes() -> dict[str, list[str]]:
    """Target of the Makefile -> its commands."""
    found: dict[str, list[str]] = {}
    target = None
    for line in text_of("Makefile").splitlines():
        head = re.match(r"([\w-]+):", line)
        if head:
            target = head[1]
            found.setdefault(target, [])
        elif line.startswith("\t") and target:
            found[target].append(line.strip().replace("$(BIN)", ".venv/bin"))
        elif line and not line.startswith("\t"):
            target = None
    return found


@cache
def names_of_tests() -> set[str]:
    """Names of all test files and tests."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found |= {path.stem, *re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))}
    return found


def words_of(text: str) -> str:
    return " ".join(text.split())


def test_the_licence_is_apache_2_word_for_word():
    assert hashlib.sha256(words_of(text_of("LICENSE")).encode()).hexdigest() == APACHE_2


def test_the_notice_names_the_licence_of_every_data_set():
    notice = words_of(text_of("NOTICE"))
    for path in sorted((ROOT / "data_manifests").glob("*.yaml")):
        licence = yaml.safe_load(path.read_text(encoding="utf-8"))["licence"]
        assert path.stem in notice
        kind = re.match(r"CC0|CC BY [\d.]+|Free to use|MIT|None is stated", licence)
        assert kind, f"{path.name}: a licence of a new kind; name it in NOTICE and here"
        assert kind[0].lower() in notice.lower()


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == project()["project"]["version"]
    assert citation["title"] == project()["project"]["name"]
    assert citation["license"] == "Apache-2.0"
    assert {"message", "authors"} <= set(citation)
    (paper,) = citation["references"]
    assert paper["title"].startswith("ESAD: ")
    assert paper["authors"][0] == {"family-names": "Huang", "given-names": "Chaoqin"}
    assert "doi" not in text_of("CITATION.cff").lower()  # none is known


def test_the_hooks_are_local_and_do_what_make_lint_does():
    repositories = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = {hook["id"]: hook for hook in repositories[0]["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    code = shlex.split(hooks.pop("large-files")["entry"])
    assert code[:2] == [".venv/bin/python", "-c"]
    ast.parse(code[2])
    assert {hook["entry"] for hook in hooks.values()} <= set(recipes()["lint"])
    assert len(hooks) >= 3


def test_the_editor_is_told_what_ruff_wants():
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + text_of(".editorconfig"))
    assert parser["top"]["root"] == "true"
    assert parser["*.py"]["max_line_length"] == str(project()["tool"]["ruff"]["line-length"])
    assert parser["*"]["end_of_line"] == "lf"
    assert parser["Makefile"]["indent_style"] == "tab"


@pytest.mark.parametrize("name", TEXTS)
def test_every_path_that_is_named_exists(name):
    text = text_of(name)
    inside = set(re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./-]*\w/?", text))
    at_the_top = set(
        re.findall(
            r"(?<![\w/.-])\w+\.(?:md|toml|txt|cff)\b|\.ci/run|\.editorconfig|\.pre-commit[\w.-]+", text
        )
    )
    at_the_top |= set(re.findall(r"\b(?:LICENSE|NOTICE|Makefile|Dockerfile)\b", text))
    assert inside | at_the_top
    missing = {path for path in inside | at_the_top if not (ROOT / path).exists()} - EXAMPLES
    assert missing == set()


@pytest.mark.parametrize("name", [*TEXTS, "NOTICE"])
def test_every_make_target_and_test_that_is_named_exists(name):
    text = text_of(name)
    code = " ".join(re.findall(r"```\n(.*?)```", text, re.S) + re.findall(r"`([^`\n]+)`", text))
    targets = set(re.findall(r"\bmake (?:[A-Z]+=\S+ )?([a-z-]+)", code))
    assert targets <= set(recipes())
    for path, test in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        assert f"\ndef {test}(" in text_of(path), f"{path} has no {test}"
    written = {path.rpartition("/")[2].removesuffix(".py") for path in EXAMPLES}
    assert set(re.findall(r"\btest_\w+", text)) <= names_of_tests() | written


def test_every_promise_says_where_and_by_which_test():
    promised, threats = text_of("SECURITY.md").split("## What is promised\n")[1].split("## Threats\n")
    tried = re.findall(r"^\| (.+) \| (.+) \| (.+) \| (.+) \|$", threats, re.M)[1:]
    assert len(tried) >= 10
    assert all("::test_" in test for *_, test in tried)
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", promised, re.M)[1:]
    assert len(rows) >= 10
    for promise, where, held in rows:
        assert where == "all packages" or re.search(r"`[\w/.-]+`", where), promise
        assert "::test_" in held, promise
