"""Contributions of columns to the final score, of either kind, and their size for normal rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from esad.models.folding import folded
from esad.models.methods.registry import build
from esad.models.training.fit import fit, score_batches
from esad.pipeline.scoring.columns.contributions import ROWS, ColumnShares
from esad.pipeline.scoring.scores import TERMS, score_of
from tests.models.small_data import settings, table

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def method():
    return folded(fit(build(settings("esad", steps=60), (5,), (0,)), table()))


@pytest.mark.parametrize("kind", ["eq9", "standardised"])
def test_start_and_contributions_are_the_final_score(method, kind):
    items, places = table().items, np.arange(120)
    _, _, terms = next(score_batches(method, items, places, CPU, None, 120))
    raw = pd.DataFrame({name: terms[name][0].numpy() for name in TERMS})
    shares = ColumnShares.of_run(method, kind, raw[:80])
    score = score_of(kind, raw, raw[:80])
    found = shares.of(items, places, CPU)
    assert found.dtype == np.float32
    spread = np.abs(score - shares.start()).max()
    assert np.allclose(found.sum(1) + shares.start(), score, atol=1e-5 * spread)
    parts = np.concatenate([shares.of(items, some, CPU) for some in np.array_split(places, 7)])
    assert np.allclose(found, parts, atol=1e-5 * spread)


def test_scales_are_quantiles_of_sizes_over_normal_rows(method):
    items, places = table().items, np.arange(100)
    raw = pd.DataFrame({name: [0.0, 1.0, 2.0] for name in TERMS})
    shares = ColumnShares.of_run(method, "eq9", raw)
    found = shares.scales(items, places, CPU)["contribution"]
    sizes = np.abs(shares.of(items, places, CPU))
    assert list(found) == ["0.5", "0.9", "0.99", "0.999"]
    for share, value in found.items():
        assert value == pytest.approx(np.quantile(sizes, float(share)), rel=1e-3)
    many = torch.cat([items[:100]] * (ROWS // 100 + 1))
    again = shares.scales(many, np.arange(len(many)), CPU)["contribution"]
    assert again["0.5"] == pytest.approx(found["0.5"], rel=0.05)
