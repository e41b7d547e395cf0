"""The model card: what it says is what the run's files say, and nothing in it names a file or a person."""

from __future__ import annotations

import pandas as pd
import pytest

from esad.models.methods.pretrained.backbone import CAUTION
from esad.models.methods.readings import OUR_READING, READINGS
from esad.models.methods.registry import METHODS
from esad.pipeline.evaluate import evaluate
from esad.pipeline.exporting.input_contract import input_contract
from esad.pipeline.exporting.model_card import data_manifest, model_card
from esad.pipeline.report import report
from esad.pipeline.score import score
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.train import train
from tests.models.small_data import tiny
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store


def test_the_card_of_a_run(tmp_path):
    make_store(tmp_path)
    train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE])
    card = (tmp_path / "run" / "model_card.md").read_text()
    table = pd.read_parquet(tmp_path / "run" / "assignments.parquet")
    trained = table[table["part"] == "train"]
    labelled = int((trained["semi_label"] == -1).sum())
    assert f"{len(trained) - labelled} unlabelled, {labelled} labelled anomalies" in card
    assert f"{int((table['part'] == 'test').sum())} to test" in card
    assert "[scores/store/metrics.json](scores/store/metrics.json)" in card
    assert "A row of 5 numbers" in card
    assert "Not a medical device" in card
    assert str(tmp_path) not in card
    assert "g1" not in card  # a group's name
    assert "scores/store" not in model_card(tmp_path / "run")


def test_the_card_of_a_description_built_here_says_so(tmp_path, monkeypatch):
    """In the card, in metrics.json and in the line that `esad evaluate` prints."""
    make_store(tmp_path)
    train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE])
    score(tmp_path / "run", overlays="none")
    assert "Our reading" not in model_card(tmp_path / "run") + evaluate(tmp_path / "run").message
    monkeypatch.setitem(READINGS, "esad", METHODS["esad"].title)
    assert f"ESAD (Huang et al.): {OUR_READING}" in model_card(tmp_path / "run")
    found = evaluate(tmp_path / "run")
    assert found.message.endswith(OUR_READING)
    assert OUR_READING in found.summary["note"]
    assert OUR_READING in report([tmp_path / "run"]).out.read_text()


def test_the_card_says_what_a_method_stands_on_and_not_where_it_lies(tmp_path):
    make_store(tmp_path, "images")
    short = {**QUICK, "train.steps": 4, "method": "dif", **tiny("dif")}
    train(tmp_path / "store", tmp_path / "run", None, [short])
    card = (tmp_path / "run" / "model_card.md").read_text()
    assert CAUTION in card
    assert short["backbone.weights"] not in card


@pytest.mark.parametrize(("error", "stands"), [("perceptual", True), ("l1", False)])
def test_the_card_of_a_method_that_may_do_without_says_what_it_stands_on_where_it_does(
    tmp_path, error, stands
):
    make_store(tmp_path, "images")
    short = {**QUICK, "train.steps": 4, "method": "piad", **tiny("piad"), "piad.error": error}
    train(tmp_path / "store", tmp_path / "run", None, [short])
    assert (CAUTION in (tmp_path / "run" / "model_card.md").read_text()) is stands


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "the means of blocks of 8 x 8 pixels plus 1 times the squared norm"),
        ({"loss.score_lambda1": None, "loss.lambda1": 0.5, "loss.score_block": 1}, "error plus 0.5 times"),
        ({"score.kind": "standardised"}, "median absolute deviations"),
    ],
)
def test_the_card_says_how_this_score_is_made(tmp_path, changes, told):
    make_store(tmp_path, "images")
    short = {**QUICK, "train.steps": 4, "train.warmup.steps": 2}
    train(tmp_path / "store", tmp_path / "run", None, [{**short, **changes}])
    assert told in (tmp_path / "run" / "model_card.md").read_text()


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"protocol": "nih-ap"}, "nih"), ({"protocol": "camelyon16"}, "camelyon16"), ({"tile_list": "a.tar.gz"}, "camelyon16"),
     ({"protocol": None}, None), ({}, None)],
)  # fmt: skip
def test_a_published_set_is_known_by_its_protocol(settings, name):
    found = data_manifest({"settings": settings})
    assert (found and found.name) == name


def test_the_contract_states_scale_stain_and_crop():
    settings = TileSettings(mpp=0.5, magnification=None, stain_target="/home/someone/target.png").model_dump()
    words = " ".join(input_contract({"kind": "tiles", "shape": [192, 192, 3], "settings": settings}, crop=64))
    assert "192 x 192 pixels, RGB" in words
    assert "0.5 um a pixel" in words
    assert "vahadane, per slide" in words
    assert "central 64 x 64" in words
    assert "someone" not in words
