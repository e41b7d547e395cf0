"""The documentation builds, its links lead somewhere, and what it tells people to type exists."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from esad.pipeline.cli.app import app
from esad.pipeline.run import commands as workflow_commands
from esad.pipeline.settings.config import (
    ImageSettings,
    RadiographSettings,
    RunSettings,
    TableSettings,
    TileSettings,
)
from esad.pipeline.settings.embeddings import EmbeddingSettings, EncoderSettings
from esad.pipeline.settings.presets import PRESETS
from esad.pipeline.workflow.files import read_workflow
from tests import ROOT
from tests.docs import texts
from tests.docs.texts import DOCS, PAGES, README

GENERATED = {DOCS / "tutorials" / "tables.md"}
"""Pages that `make docs` makes, so that a link to them leads to no file."""
STAGES: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
EXAMPLES = {"docs/how-to/use-from-python.md": 3}
"""Page -> the number, from 1, of the Python block that runs alone and makes an `auc` (README's: tests/models)."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site. MkDocs checks the links and headings between its pages, and any warning is an error."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    end = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert end.returncode == 0, end.stderr
    return folder


def test_the_site_builds(site):
    assert {path.relative_to(site).parts[0] for path in site.rglob("*.html")} >= {
        "index.html", "tutorials", "how-to", "reference", "explanation", "results.html",
    }  # fmt: skip
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert [stage for stage in STAGES if f'id="esad-{stage}"' not in commands] == []
    settings = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    assert [name for name in known_settings() if f"<code>{name}</code>" not in settings] == []


def test_the_site_takes_nothing_from_the_network(site):
    """Scripts, styles, fonts and pictures: hospitals' machines have no way out."""
    loading = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    found = {path.name: loading.findall(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert {name: tags for name, tags in found.items() if tags} == {}


def test_formulas_are_drawn(site):
    method = (site / "explanation" / "method.html").read_text(encoding="utf-8")
    assert "<math" in method
    assert 'class="arithmatex"' not in method


@pytest.mark.parametrize("page", PAGES, ids=texts.name_of)
def test_links_lead_to_files_and_headings(page):
    broken = []
    for link in texts.links(page):
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        known = target in GENERATED or target.exists()
        outside = page == README and heading and target.suffix == ".md"  # within docs/ MkDocs checks headings
        if not known or (outside and heading not in texts.anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=texts.name_of)
def test_no_table_is_still_to_be_filled_in(page):
    assert re.findall(r"^[A-Z][A-Z_]+_TABLE$|\bTODO\b", page.read_text(encoding="utf-8"), re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=texts.name_of)
def test_commands_parse(page):
    """Stages, options, choices and needed arguments of every command line; nothing is run."""
    for stage, words in texts.commands(page):
        if stage.startswith("--"):
            assert stage in {"--version", "--help", "--install-completion", "--show-completion"}
            continue
        assert stage in STAGES, f"esad {stage}"
        if "--help" in words:
            continue
        given = STAGES[stage].make_context(f"esad {stage}", words).params
        assert given.get("preset") in {None, *PRESETS}
        choices = {
            option.name: option.metavar.split("|") for option in STAGES[stage].params if option.metavar
        }
        assert {name: given[name] for name in choices if given[name] not in {None, *choices[name]}} == {}


@pytest.mark.parametrize("page", PAGES, ids=texts.name_of)
def test_options_in_the_text_exist(page):
    """`esad tile --stain none` within a sentence may leave out what is needed, but names what there is."""
    for code in texts.inline_code(page):
        program, *words = code.split()
        if program == "esad" and words and re.fullmatch(r"[a-z]+", words[0]):
            assert words[0] in STAGES, code
            known = {
                name for option in STAGES[words[0]].params for name in (*option.opts, *option.secondary_opts)
            }
            assert {word for word in words if word.startswith("--")} <= known | {"--help"}, code


def known_settings() -> set[str]:
    """Dotted names of all settings."""

    def names(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
        for name, value in content.items():
            if isinstance(value, dict) and value:
                yield from names(value, f"{prefix}{name}.")
            else:
                yield prefix + name

    models = (
        TileSettings, RadiographSettings, ImageSettings, TableSettings, EmbeddingSettings, EncoderSettings, RunSettings,
    )  # fmt: skip
    return {name for model in models for name in names(model().model_dump())}


@pytest.mark.parametrize("page", PAGES, ids=texts.name_of)
def test_settings_exist(page):
    known = known_settings()
    groups = {name.partition(".")[0] for name in known if "." in name}
    text = page.read_text(encoding="utf-8")
    assigned = set(re.findall(r"(?:--set|--over) ([a-z_0-9.]+)=", text))
    assigned |= set(re.findall(r"(?<![\w./])([a-z_0-9]+(?:\.[a-z_0-9]+)+)=", text))
    mentioned = {
        code
        for code in texts.inline_code(page)
        if re.fullmatch(r"[a-z_0-9]+(\.[a-z_0-9]+)+(?<!\.csv)(?<!\.py)", code)
        and code.partition(".")[0] in groups
    }
    sections = {name.rpartition(".")[0] for name in known}
    assert (assigned | mentioned) - known - sections == set()


def test_the_workflow_on_the_page_is_one(tmp_path):
    (block,) = texts.blocks(DOCS / "how-to" / "run-a-workflow.md", "yaml")
    (tmp_path / "workflow.yaml").write_text(block, encoding="utf-8")
    for folder in ("slides", "outlines"):
        (tmp_path / folder).mkdir()
    steps = read_workflow(tmp_path / "workflow.yaml", tmp_path / "out", workflow_commands())
    assert [step.name for step in steps] == ["tiles", "model", "scores", "figures", "report"]


@pytest.mark.parametrize(("page", "number"), EXAMPLES.items())
def test_examples_of_the_estimator_run(page, number):
    names: dict[str, Any] = {}
    exec(texts.blocks(ROOT / page, "python")[number - 1], names)
    assert names["auc"] > 0.9


@pytest.mark.parametrize("page", PAGES, ids=texts.name_of)
def test_python_examples_are_python(page):
    for block in texts.blocks(page, "python"):
        compile(block, texts.name_of(page), "exec")


def test_the_notebook_runs(monkeypatch):
    """Every cell, to figures like those that the notebook shows."""
    path = DOCS / "tutorials" / "tables.ipynb"
    cells = notebook_module().run(path)
    outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    printed = "".join(line for output in outputs for line in output.get("text", []))
    found = [float(number) for number in re.findall(r"(?:rows|forest|part): ([\d.]+) %", printed)]
    assert len(found) == 3
    assert min(found) > 80
    assert found[0] > found[1]  # labels help
    assert any("image/png" in output.get("data", {}) for output in outputs)


def notebook_module() -> Any:
    """docs/notebook.py, which is in no package."""
    specification = importlib.util.spec_from_file_location("esad_docs_notebook", DOCS / "notebook.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_readme_stays_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_pictures_are_small():
    large = {path.name for path in (DOCS / "images").iterdir() if path.stat().st_size > 200_000}
    assert large == set()


def test_every_row_about_determinism_names_a_test_that_exists():
    """One test a row, so that nothing is claimed that is not held."""
    text = (DOCS / "explanation" / "determinism.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    named = [re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row) for row in rows]
    assert rows
    assert [row for row, tests in zip(rows, named, strict=True) if len(tests) != 1] == []
    for ((path, name),) in named:
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), name
