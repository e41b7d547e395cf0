"""What MkDocs cannot read from a Markdown file: `hooks` in mkdocs.yml names this file.

A page asks for a generated part by a pair of comments. What stands between them is for readers of the plain file:

    <!-- generated: commands -->
    `make docs` puts tables here.
    <!-- end -->

The notebook becomes a page, and formulas become MathML, which browsers show without a script.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

from command_tables import commands  # this file and the next two stand beside this one
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebook import as_markdown
from setting_tables import defaults_by_kind, ingest_settings, presets, run_settings

NOTEBOOK = "tutorials/tables.ipynb"
NOTEBOOK_PAGE = "tutorials/tables.md"
PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "ingest-settings": ingest_settings,
    "run-settings": run_settings,
    "defaults-by-kind": defaults_by_kind,
    "presets": presets,
}
"""Name in a page's comment -> what writes the part."""
MARK = re.compile(r"<!-- generated: ([\w-]+) -->.*?<!-- end -->", re.DOTALL)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
CITED = re.compile(r"\b([a-z-]+)\.md#([\w-]+)")
"""A heading of docs/explanation, as docstrings cite it: decisions.md#a20."""
ALSO_CITED = re.compile(r"\[([^\]]+)\]\(([^)#]+)#[^)]+\), #([\w-]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebook's page."""
    files.append(File.generated(config, NOTEBOOK_PAGE, content=as_markdown(Path(config.docs_dir) / NOTEBOOK)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Fill in the generated parts; links to the notebook go to its page."""
    if page.file.src_uri != NOTEBOOK_PAGE:
        markdown = markdown.replace("tables.ipynb)", "tables.md)")
    return MARK.sub(lambda found: with_links(PARTS[found[1]]()), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """LaTeX, as pymdownx.arithmatex marks it, to MathML."""

    def mathml(found: re.Match[str]) -> str:
        return convert(unescape(found[2]), display="block" if found[1] == "div" else "inline")

    return FORMULA.sub(mathml, html)


def with_links(text: str) -> str:
    """Citations of docs/explanation as links from a page of docs/reference: `decisions.md#a2, #a3` are two."""
    linked = CITED.sub(lambda found: _link(found[1], found[2]), text)
    while (also := ALSO_CITED.search(linked)) is not None:
        page = Path(also[2]).stem
        linked = f"{linked[: also.end() - len(also[3]) - 1]}{_link(page, also[3], short=True)}{linked[also.end() :]}"
    return linked


def _link(page: str, heading: str, short: bool = False) -> str:
    told = heading.upper() if re.fullmatch(r"a\d+", heading) else f"{page}: {heading}"
    return f"[{told}](../explanation/{page}.md#{heading})"
