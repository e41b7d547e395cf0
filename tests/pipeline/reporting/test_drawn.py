"""Figures of `esad figures` come into the page as vectors where these are small enough, else as pictures."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from esad.pipeline.report import report
from esad.pipeline.reporting import drawn
from esad.pipeline.reporting.drawn import drawn_figures, not_drawn
from tests.pipeline.test_report import complete, references

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9v9z"/></svg>'


@pytest.fixture
def folder(tmp_path):
    """A folder of two figures, `vectors` with an SVG and `bitmap` without."""
    path = tmp_path / "figures"
    path.mkdir()
    figures = [
        {
            "name": name,
            "title": f"Title of {name}",
            "caption": f"What {name} shows.",
            "tables": {f"{name}.csv": "rows"},
        }
        for name in ("vectors", "bitmap")
    ]
    for figure in figures:
        Image.new("RGB", (8, 8)).save(path / f"{figure['name']}.png")
    (path / "vectors.svg").write_text(SVG)
    content = {"asked": {}, "runs": [], "figures": figures, "left_out": ["tsne: too few items"], "refused": 1}
    (path / "figures.json").write_text(json.dumps(content))
    return path


def kinds(folder):
    return [figure["data"].partition(";")[0] for figure in drawn_figures([folder])]


def test_vectors_are_taken_where_there_are_any_that_are_small_enough(folder, monkeypatch):
    assert kinds(folder) == ["data:image/svg+xml", "data:image/png"]
    monkeypatch.setattr(drawn, "LARGEST_SVG", len(SVG) - 1)
    assert kinds(folder) == ["data:image/png", "data:image/png"]
    monkeypatch.setattr(drawn, "LARGEST_SVG", len(SVG))
    assert kinds(folder)[0] == "data:image/svg+xml"
    (folder / "vectors.svg").write_text("")
    assert kinds(folder)[0] == "data:image/png"


def test_figures_and_what_was_not_drawn_are_on_the_page(folder, tmp_path):
    page = report([complete(tmp_path)], figures=folder).out.read_text()
    assert "Title of vectors" in page
    assert 'alt="What bitmap shows."' in page
    assert "The numbers are in vectors.csv." in page
    assert "<li>tsne: too few items</li>" in page
    assert not_drawn([folder]) == ["tsne: too few items"]
    assert all(target.startswith(("data:image/", "#")) for target in references(page))
