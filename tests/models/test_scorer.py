"""The module that exports hold: the same scores as scoring gives, from stored items and from pictures in [0, 1]."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esad.models.methods.registry import build
from esad.models.scorer import PictureScorer, StoredItemScorer
from esad.models.settings import MethodSettings
from esad.models.training.augment import Augmentation
from esad.models.training.fit import TrainingData, fit, score_batches

FORMULA = {"reconstruction": (0.25, 0.5), "norm": (1.0, 4.0)}


def trained(method: str, items: torch.Tensor, crop: int | None, **network):
    """A few steps on 40 items of which the last 4 are labelled anomalies."""
    settings = MethodSettings(
        method=method, network={"width": 0.0625, **network},
        train={"steps": 3, "batch_size": 8, "learning_rate": 0.001, "warmup": {"steps": 2}},
    )  # fmt: skip
    semi = np.zeros(len(items), np.int8)
    semi[-4:] = -1
    model = build(settings, Augmentation(crop).shape(tuple(items.shape[1:])))
    return fit(model, TrainingData(items, [np.arange(len(items))], [semi]), augmentation=Augmentation(crop))


def expected(model, items, crop):
    """Score by the formula's definition from the terms that scoring gives, in float64, with all terms."""
    batches = score_batches(model, items, np.arange(len(items)), torch.device("cpu"), Augmentation(crop))
    _, _, terms = next(batches)
    terms = {
        name: value.float().double().reshape(len(items)) for name, value in terms.items() if name != "x_hat"
    }
    return (terms["reconstruction"] - 0.25) / 0.5 + (terms["norm"] - 1) / 4, terms


@pytest.mark.parametrize("method", ["esad", "oc_svm"])
@torch.inference_mode()
def test_pictures_as_stored_and_in_0_to_1_have_the_score_of_scoring(method):
    """Grey, not square, cropped, repeated to three channels and padded: all of what stands before the network."""
    items = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (40, 26, 22, 1), dtype=np.uint8))
    with torch.inference_mode(False):
        model = trained(method, items, 20, channels=3)
    score, terms = expected(model, items, 20)
    found = StoredItemScorer(model, 20, FORMULA).eval()(items)
    assert torch.allclose(found[0].double(), score, rtol=1e-6)
    torch.testing.assert_close(
        found[2].double(), terms["norm"], rtol=1e-5, atol=0.0
    )  # scoring folds BatchNorm
    if method == "esad":
        assert found[3].shape == (40, 20, 20, 3)
        inside = items[:, 3:23, 1:21].float().expand(-1, -1, -1, 3)
        padded = (
            (found[3] - inside).square().mean((1, 2, 3)) / 255**2 * (400 / 1024)
        )  # the padding counts as well
        assert (padded <= terms["reconstruction"] + 1e-6).all()
    weights = model.state_dict()
    fitted = {
        name.removeprefix("fitted."): {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        for name, value in weights.items() if name.startswith("fitted.")
    }  # fmt: skip
    scorer = PictureScorer(model.settings.model_dump(), (26, 22, 1), 20, FORMULA, fitted).eval()
    pictures = items.permute(0, 3, 1, 2) / 255
    assert scorer(pictures[:1]).shape == (1, 3)  # without its weights, as MONAI's check calls it
    scorer.method.load_state_dict(weights)
    assert torch.equal(scorer(pictures), torch.stack(found[:3], 1))


@torch.inference_mode()
def test_rows_come_back_in_the_tables_own_units():
    items = torch.from_numpy(np.random.default_rng(0).normal(50, 10, (40, 5)).astype(np.float32))
    with torch.inference_mode(False):
        model = trained("cae", items, None)
    found = StoredItemScorer(model, None, {"eq9": (0.0, 1.0)}).eval()(items)
    again = model.scaler(found[3][None]) - model.scaler(items[None])
    assert torch.allclose(again.square().mean(-1)[0], found[1], rtol=1e-4)
    assert torch.equal(found[0], found[1])


def test_a_picture_of_another_size_is_refused_with_both_sizes():
    scorer = PictureScorer(MethodSettings(network={"width": 0.0625}).model_dump(), (16, 16, 1), None, FORMULA)
    with pytest.raises(ValueError, match=r"\(3, 16, 16\).*takes \(1, 16, 16\)"):
        scorer(torch.zeros(2, 3, 16, 16))
