"""DIF: its columns, its forest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest

from esad.models.methods.classic.isolation_forest import fit_isolation_forest
from esad.models.methods.pretrained.dif import DifMethod
from esad.models.settings import MethodSettings
from esad.models.training.fit import TrainingData, fit
from tests.models.fake_backbone import fake_backbone
from tests.models.small_data import scores


def method(shape=(16, 16, 3), **own) -> DifMethod:
    chosen = MethodSettings(method="dif", dif={"side": None, **own}, backbone=fake_backbone())
    return DifMethod(chosen, shape)


def squares(count: int, brightness: int) -> np.ndarray:
    """(count, 16, 16, 3): dark noise with a square."""
    out = np.random.default_rng(brightness).integers(0, 60, (count, 16, 16, 3), dtype=np.uint8)
    out[:, 4:9, 5:10] += np.uint8(brightness)
    return out


def data(normal: int = 300) -> TrainingData:
    items = np.concatenate([squares(normal, 20), squares(30, 190)])
    return TrainingData(torch.from_numpy(items), [np.arange(normal)], [np.zeros(normal, np.int8)])


def test_columns_are_the_means_of_the_layers_one_after_the_other():
    built = method(layers=["stage3", "head"])
    x = torch.rand(4, 3, 32, 32)
    third, head = built.backbone(x, ["stage3", "head"])
    assert torch.allclose(built.features(x), torch.cat([third.mean((2, 3)), head.mean((2, 3))], 1))


def test_pictures_are_resized_first():
    x = torch.rand(2, 3, 16, 16)
    larger = torch.nn.functional.interpolate(x, (48, 48), mode="bilinear")
    assert torch.allclose(method(side=48).features(x), method().features(larger))
    assert method(side=16).features(torch.rand(2, 3, 64, 64)).shape == method().features(x).shape


def test_scores_are_scikit_learns_of_these_columns():
    stored = data()
    built = fit(method(trees=25), stored)
    with torch.no_grad():
        rows = built.features(built.scaler(stored.items)).numpy()
    forest = fit_isolation_forest(rows[:300], 25, 256, 0)
    assert isinstance(forest, IsolationForest)
    assert scores(built, stored).numpy() == pytest.approx(-forest.score_samples(rows), abs=1e-6)


def test_other_squares_score_higher_and_labelled_anomalies_take_no_part():
    stored = data()
    built = fit(method(), stored)
    found = scores(built, stored)
    assert (found[300:, None] > found[None, :300]).float().mean() > 0.9  # the AUC
    semi = np.r_[np.zeros(300, np.int8), -np.ones(30, np.int8)]
    labelled = TrainingData(stored.items, [np.arange(330)], [semi])
    assert torch.equal(found, scores(fit(method(), labelled), stored))


def test_a_table_is_refused_in_words():
    with pytest.raises(ValueError, match="method dif is for pictures"):
        method((5,))


def test_a_layer_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="stage9"):
        MethodSettings(method="dif", dif={"layers": ["stage9"]})
