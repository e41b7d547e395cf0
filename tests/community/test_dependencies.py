"""Every dependency has a reason in docs/explanation/dependencies.md, and no other package stands there."""

from __future__ import annotations

import re
import tomllib

import yaml

from tests import ROOT

PAGE = (ROOT / "docs" / "explanation" / "dependencies.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOR_DEVELOPERS = ("dev", "docs")


def names(requirements):
    return {re.split(r"[\[<>=~! ]", each)[0] for each in requirements}


def rows(heading):
    """The first cells of the tables of a part of the page, and its second ones."""
    part = PAGE.split(heading, 1)[1].split("\n## ", 1)[0]
    return [
        re.findall(r"`([^`]+)`", cell)
        for line in part.splitlines()
        if line.startswith("| `")
        for cell in line.split("|")[1:3]
    ]


def test_each_dependency_has_a_row():
    found = [name for cell in rows("# Dependencies")[::2] for name in cell]
    assert sorted(found) == sorted(names(PROJECT["dependencies"]))


def test_each_extra_has_a_row_with_its_packages():
    cells = rows("## Extras")
    told = {
        extra: set(packages)
        for extras, packages in zip(cells[::2], cells[1::2], strict=True)
        for extra in extras
    }
    extras = {
        name: names(of) for name, of in PROJECT["optional-dependencies"].items() if name not in FOR_DEVELOPERS
    }
    extras["imagenet"] = extras["pretrained"]  # the same under another name
    assert told == extras


def test_all_pins_are_of_one_version():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.+!-]+", line)] == []
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins}
    assert {name.lower() for name in names(PROJECT["dependencies"])} - pinned == set()


def test_the_workflow_runs_the_same_target_as_ci():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    commands = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    assert commands == ["make test"]
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
