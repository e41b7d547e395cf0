"""Runs with a LeNet through the stages, and their exports."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.exporting.model_card import model_card
from esad.pipeline.score import score
from esad.pipeline.train import train
from esad.pipeline.verify import verify
from tests.models.small_data import LENETS, tiny
from tests.pipeline.stores import QUICK, make_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of grey pictures of 28 pixels, and one of 16."""
    out = tmp_path_factory.mktemp("lenets")
    make_store(out, "images", "grey", side=28)
    make_store(out, "images", "colour")
    return out


def trained(folder, variant: str):
    """The run of one of LENETS; where colour is wanted, grey is repeated."""
    more = {"checkpoint_seconds": 60, "train.steps": 4, "train.warmup.steps": 4}
    colour = variant.endswith("lenet-cifar10")
    if colour:
        more["network.channels"] = 3
    run = folder / variant
    train(
        folder / ("colour" if colour else "grey"),
        run,
        None,
        [{**more, "method": variant.partition(",")[0], **tiny(variant)}],
    )
    return run


@pytest.mark.parametrize(
    "variant", ["esad, lenet-mnist", "deep_sad, lenet-fashion-mnist", "esad, lenet-cifar10"]
)
def test_a_lenet_is_scored_explained_and_exported(folder, variant):
    run = trained(folder, variant)
    out = score(run, overlays="worst:1").out
    table = pd.read_parquet(out / "scores.parquet")
    assert np.isfinite(table[["score", "norm", "standardised"]]).all(axis=None)
    assert table["hot_x"].notna().any()
    assert any((out / "overlays").glob("*.png"))
    assert re.search(rf"network\.form.*{variant.split(', ')[-1]}", (run / "model_card.md").read_text())
    found = verify(run)
    assert not found.failed
    assert {"bundle", "onnx"} <= found.summary.keys()


def test_the_card_of_a_run_with_table_6_names_no_form_and_an_older_one_has_none(folder):
    run = folder / "table6"
    quick = {**QUICK, "checkpoint_seconds": 60, "train.steps": 2, "train.warmup.steps": 2}
    train(folder / "colour", run, None, [quick])
    card = model_card(run)
    assert "network.form" not in card
    assert "network.width" in card
    config = run / "config.yaml"
    lines = config.read_text().splitlines()
    kept = [line for line in lines if line != "  form: table6"]
    assert len(kept) == len(lines) - 1
    config.write_text("\n".join(kept))
    assert model_card(run) == card


@pytest.mark.slow
@pytest.mark.parametrize("variant", LENETS)
def test_every_method_with_a_lenet_survives_its_exports(folder, variant):
    run = trained(folder, variant)
    assert not verify(run).failed
