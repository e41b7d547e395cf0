"""Outlines drawn in QuPath on a slide that begins outside (0, 0): the same tiles are labelled, evaluated and shown."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from esad.preprocessing.store.store import Store
from tests.pipeline.annotating.scored import write_scn
from tests.pipeline.commands import made

WHOLE, BOUNDS = (1600, 1200), (256, 128, 1024, 768)
LESION = (256, 128, 256, 256)
"""Left, top, width and height in QuPath, whose (0, 0) is the corner of the bounds."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bounds")
    (folder / "slides").mkdir()
    (folder / "outlines").mkdir()
    write_scn(folder / "slides" / "leica.scn", WHOLE, BOUNDS)
    left, top, width, height = LESION
    ring = [[left, top], [left + width, top], [left + width, top + height], [left, top + height], [left, top]]
    drawn = {
        "type": "Feature", "id": "PathAnnotationObject", "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}},
    }  # fmt: skip
    (folder / "outlines" / "leica.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [drawn]})
    )
    return folder


PLAIN = ("--stain", "none", "--slide-mpp", "0.5", "--set", "min_tissue=0")


def tiled(archive, out, *more):
    said = ["--annotations", archive / "outlines", *PLAIN, *more]
    made("tile", archive / "slides", "--out", out, *said)
    return Store(out).manifest


def corners(tiles):
    return set(map(tuple, tiles[["x", "y"]].to_numpy().tolist()))


def expected(left, top):
    """Tiles of 64 pixels at 10x are 128 of level 0."""
    return {(x, y) for x in range(left, left + 256, 128) for y in range(top, top + 256, 128)}


def test_tiles_under_the_outline_are_those_that_were_drawn_on(archive, tmp_path):
    tiles = tiled(archive, tmp_path / "store")
    assert corners(tiles[tiles["label"] == 1]) == expected(512, 256)
    row = pd.read_parquet(tmp_path / "store" / "sources.parquet").iloc[0]
    assert tuple(row[[f"slide_bounds_{side}" for side in ("x", "y", "width", "height")]]) == BOUNDS


def test_a_person_may_say_that_the_file_counts_from_level_0(archive, tmp_path):
    tiles = tiled(archive, tmp_path / "store", "--set", "labels.geojson_origin=slide")
    assert corners(tiles[tiles["label"] == 1]) == expected(256, 128)


def test_geojson_of_another_program_refuses_the_slide_until_it_is_said(archive, tmp_path, capfd):
    path = tmp_path / "outlines" / "leica.geojson"
    path.parent.mkdir()
    content = json.loads((archive / "outlines" / "leica.geojson").read_text())
    content["features"][0] |= {"id": "1", "properties": {"class": "Tumor"}}
    path.write_text(json.dumps(content))
    said = ["--out", tmp_path / "store", "--annotations", path.parent, *PLAIN]
    made("tile", archive / "slides", *said, status=1)
    assert "labels.geojson_origin=bounds, or =slide" in capfd.readouterr().err
