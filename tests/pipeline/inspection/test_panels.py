"""Panels of an item, computed when they are asked for, are those that `esad score` draws."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from esad.pipeline.inspection.panels import heat_picture
from esad.pipeline.score import score
from esad.pipeline.train import train
from tests.pipeline.inspection.case import case_of
from tests.pipeline.stores import QUICK, make_store


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A run that was really trained, on 32 of 36 pixels, with overlays of all items."""
    folder = tmp_path_factory.mktemp("panels")
    store = make_store(folder, "images", side=36)
    settings = {**QUICK, "train.steps": 8, "train.warmup.steps": 4, "data.crop": 32}
    train(store.root, folder / "run", overrides=[settings])
    score(folder / "run", overlays="worst:4")
    return folder / "run"


@pytest.fixture
def trained(scored, tmp_path):
    return case_of([scored], tmp_path / "marks.sqlite")


def picture(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_panels_are_those_of_the_drawn_overlay(trained, scored):
    strip = next((scored / "scores" / "store" / "overlays").glob("*.png"))
    row = trained.subject.row_of(strip.stem)
    known = trained.get(f"/api/panels/0/{row}")
    assert known == {
        "panels": ["input", "reconstruction", "contribution", "pixel_error"], "away": "", "frame": [2 / 36, 2 / 36, 32 / 36, 32 / 36],
    }  # fmt: skip
    drawn, factor = np.asarray(Image.open(strip).convert("RGB")).astype(int), 256 // 32
    for place, name in enumerate(known["panels"]):
        left = place * (32 * factor + 8)
        panel = drawn[: 32 * factor : factor, left : left + 32 * factor : factor]
        served = picture(trained.client.get(f"/picture/panel/0/{row}/{name}.png")).astype(int)
        served = served if served.ndim == 3 else served[..., None].repeat(3, -1)
        assert np.abs(served - panel).max() <= 2, name


def test_heat_to_be_laid_over_has_holes_where_normal_items_have_as_much(trained):
    served = picture(trained.client.get("/picture/panel/0/0/contribution.png", params={"over": 1}))
    assert served.shape == (32, 32, 4)
    share = trained.pages.panels[0].of(0)["contribution"]
    assert np.array_equal(served[..., 3] == 0, np.isnan(share))
    found = heat_picture(np.array([[np.nan, 0.25]], np.float32), None)
    assert found[0, :, 3].tolist() == [0, 255]
    assert heat_picture(np.array([[np.nan, 1.0]]), np.full((1, 2, 1), 90.0))[0, 0].tolist() == [90, 90, 90]


def test_what_there_is_not_is_said(trained, scored):
    assert trained.client.get("/picture/panel/0/0/other.png").status_code == 404
    assert trained.client.get("/picture/panel/3/0/input.png").status_code == 404
    weights = scored / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(b"")
    try:
        other = case_of([scored], trained.pages.marks.path)
        assert "model.safetensors" in other.get("/api/panels/0/0")["away"]
        assert other.client.get("/picture/panel/0/0/input.png").status_code == 410
    finally:
        weights.write_bytes(content)
