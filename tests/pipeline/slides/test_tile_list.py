"""Published tile lists in place of a grid: their boxes, parts and labels; crops of 64 in training and scoring."""

from __future__ import annotations

import numpy as np
import openslide
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.evaluate import evaluate
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.synthesis.slides import make_slides
from esad.pipeline.tile import tile
from esad.preprocessing.store.store import Store
from tests.preprocessing.splits.test_published_lists import archive

PLACES = [(768 * x + 600, 768 * y + 700) for y in range(3) for x in range(3)]
"""x, y of tiles in the middle of a slide of 4096 pixels; no multiples of the tile, as a grid would have."""


def names(slide, kind, places):
    return "\n".join(f"{slide}_{kind}_x_{y}_y_{x}_w_768_h_768.jpg" for x, y in places)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    make_slides(folder / "slides", slides=3, abnormal=1, size=4096, seed=4)
    whole = "folds/train_test_split/camelyon16/healthy"
    lists = {
        f"{whole}/normal/train": names("normal_001", "normal", PLACES),
        f"{whole}/normal/test": names("normal_002", "normal", PLACES)
        + "\n"
        + names("test_009", "normal", [(0, 0)]),
        f"{whole}/anomaly/test": names("test_009", "tumor", [(768, 0)]),
        "folds/folds/camelyon16/healthy/0/anomaly/test": names("tumor_001", "tumor", PLACES[:4]),
    }
    archive(folder / "lists.tar.gz", lists)
    return folder


def test_listed_tiles_are_read_where_the_list_says(published, tmp_path, capsys):
    settings = TileSettings(tile_size=192, stain="none")
    options = IngestOptions(tmp_path / "out")
    outcome = tile([published / "slides"], settings, options, tile_list=published / "lists.tar.gz")
    assert "22 of its 24 tiles, on 3 of its 4 slides" in capsys.readouterr().err
    store = Store(tmp_path / "out")
    table = store.manifest
    assert (outcome.summary["items"], store.shape) == (22, (192, 192, 3))
    assert table.groupby(["split", "label"]).size().to_dict() == {
        ("test", 0): 9, ("train", 0): 9, ("train", 1): 4,
    }  # fmt: skip
    assert (table["semi_label"] == -1).sum() == 4
    pixels = store.read()
    for place, (source, x, y) in enumerate(table[["source", "x", "y"]].itertuples(index=False)):
        assert (x, y) in PLACES
        with openslide.OpenSlide(published / "slides" / source) as slide:
            theirs = np.asarray(slide.read_region((x, y), 2, (192, 192)).convert("RGB"))
        assert np.array_equal(pixels[place], theirs)


def test_the_set_trains_on_crops_and_scores_its_test_part(published, tmp_path):
    lists, slides = published / "lists.tar.gz", published / "slides"
    words = ["tile", slides, "--tile-list", lists, "--out", tmp_path / "store", "--workers", 1]
    assert call([str(word) for word in words]) == 0
    quick = [
        "data.crop=64", "network.width=0.0625", "train.steps=10", "train.warmup.steps=5", "train.batch_size=4",
        "data.validation_share=0",
    ]  # fmt: skip
    sets = [word for pair in quick for word in ("--set", pair)]
    assert call(["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), *sets]) == 0
    assert call(["score", str(tmp_path / "run"), "--overlays", "worst:2"]) == 0
    assert evaluate(tmp_path / "run").summary["normal"] == 9
    table = pd.read_parquet(tmp_path / "run" / "scores" / "store" / "scores.parquet")
    hot = table.dropna(subset="hot_x")
    assert hot[["hot_x", "hot_y"]].ge(64).all(axis=None)  # of the central crop, in pixels of the stored tile
    assert hot[["hot_x", "hot_y"]].lt(128).all(axis=None)


def test_a_list_for_other_slides_and_a_tile_off_the_slide_are_refused(published, tmp_path):
    only = tmp_path / "only"
    make_slides(only, slides=1, abnormal=0, size=1024, seed=4)
    settings = TileSettings(tile_size=192, stain="none")
    with pytest.raises(EsadError, match=r"x_700_y_600_w_768_h_768\.jpg leaves the slide of 1024 x 1024"):
        tile([only], settings, IngestOptions(tmp_path / "out"), tile_list=published / "lists.tar.gz")
    with pytest.raises(EsadError, match="768 level-0 pixels wide; a tile of 64 pixels"):
        tile(
            [published / "slides"],
            TileSettings(),
            IngestOptions(tmp_path / "a"),
            tile_list=published / "lists.tar.gz",
        )
    (only / "normal_001.tif").rename(only / "case.tif")
    with pytest.raises(EsadError, match="names none of the 1 slides"):
        tile([only], settings, IngestOptions(tmp_path / "b"), tile_list=published / "lists.tar.gz")
