"""Integrated gradients share out the score: closed form for a quadratic score, completeness for the real networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from esad.models.attribution.gradients import contributions, integrated_gradients
from esad.models.methods.registry import METHODS, build
from esad.models.settings import MethodSettings
from esad.models.training.fit import TrainingData, fit
from tests.models.small_data import SHAPES, VARIANTS, settings, shape_of

WITH_GRADIENT = [name for name in METHODS if build(settings(name), (16, 16, 1), (0,)).has_gradient]


class Quadratic(nn.Module):
    """Terms whose integrated gradients are known: for sum of w x^2 from 0 they are w x^2."""

    def score_terms(self, x):
        weights = torch.arange(1.0, 1 + x[0].numel()).reshape(x.shape[1:])
        return {"a": (weights * x.square()).flatten(1).sum(1), "b": x.flatten(1).sum(1)}


def test_closed_form_of_a_quadratic_score():
    x = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    weights = torch.arange(1.0, 41).reshape(2, 4, 5)
    found = contributions(Quadratic(), x, torch.zeros(2, 4, 5), {"a": 2.0, "b": 3.0}, steps=1)
    assert torch.allclose(found, (2 * weights * x.square() + 3 * x).sum(1), atol=1e-4)


def test_a_linear_score_is_shared_out_exactly_by_one_point():
    """Completeness in closed form: from b, w . (x - b) entry by entry, whatever the number of points."""
    numbers = torch.Generator().manual_seed(3)
    weights, x, start = (torch.randn(*shape, generator=numbers) for shape in ((7,), (4, 7), (7,)))
    for steps in (1, 5):
        found = integrated_gradients(lambda point: point @ weights + 3, x, start, steps)
        assert torch.allclose(found, weights * (x - start), atol=1e-5)
        assert torch.allclose(found.sum(1), x @ weights - start @ weights, atol=1e-5)


def test_the_baseline_itself_contributes_nothing():
    x = torch.rand(2, 1, 16, 16)
    method = build(MethodSettings(network={"width": 0.0625}), (16, 16, 1)).eval()
    assert contributions(method, x, x, {"eq9": 1.0}).abs().max() == 0


@pytest.mark.parametrize("name", [*WITH_GRADIENT, "esad, lenet-mnist", "deep_sad, lenet-cifar10"])
def test_contributions_sum_to_the_rise_of_the_score(name):
    training = {"steps": 1, "optimiser": "adam", "learning_rate": 1e-3}
    own = {"network": {"width": 0.0625}, **VARIANTS[name]}
    chosen = MethodSettings(method=name.partition(",")[0], train={**training, "batch_size": 8}, **own)
    numbers = torch.Generator().manual_seed(1)
    side, _, channels = (16, 16, 3) if shape_of(name) == SHAPES["table6"] else shape_of(name)
    stored = torch.randint(0, 256, (12, side, side, channels), generator=numbers, dtype=torch.uint8)
    data = TrainingData(stored, [np.arange(12)], [np.r_[np.zeros(9, np.int8), -np.ones(3, np.int8)]])
    method = fit(build(chosen, (side, side, channels)), data)
    method.zero_grad(set_to_none=True)
    x = torch.rand(4, channels, side, side, generator=numbers)
    baseline = torch.full((channels, side, side), 0.5)
    with torch.inference_mode():
        rise = method.score_terms(x)["eq9"] - method.score_terms(baseline[None])["eq9"]
        inside = x.clone()
    found = contributions(method, inside, baseline, {"eq9": 1.0}, steps=256)
    atol = max(1e-4, 0.01 * float(rise.abs().max()))  # rises may cancel
    assert torch.allclose(found.sum((1, 2)), rise.float(), rtol=0.02, atol=atol)
    assert found.shape == (4, side, side)
    assert all(parameter.grad is None for parameter in method.parameters())
