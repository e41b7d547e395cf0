"""Contributions share out the score: closed form for a quadratic score, completeness for the real networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from esad.models.attribution import contributions
from esad.models.methods.registry import METHODS, build
from esad.models.settings import MethodSettings
from esad.models.training.fit import TrainingData, fit
from tests.models.small_data import VARIANTS, settings

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


def test_the_baseline_itself_contributes_nothing():
    x = torch.rand(2, 1, 16, 16)
    method = build(MethodSettings(network={"width": 0.0625}), (16, 16, 1)).eval()
    assert contributions(method, x, x, {"eq9": 1.0}).abs().max() == 0


@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_contributions_sum_to_the_rise_of_the_score(name):
    training = {"steps": 1, "optimiser": "adam", "learning_rate": 1e-3}
    own = {section: value for section, value in VARIANTS[name].items() if section != "network"}
    chosen = MethodSettings(
        method=name, network={"width": 0.0625}, train={**training, "batch_size": 8}, **own
    )
    numbers = torch.Generator().manual_seed(1)
    stored = torch.randint(0, 256, (12, 16, 16, 3), generator=numbers, dtype=torch.uint8)
    data = TrainingData(stored, [np.arange(12)], [np.r_[np.zeros(9, np.int8), -np.ones(3, np.int8)]])
    method = fit(build(chosen, (16, 16, 3)), data)
    method.zero_grad(set_to_none=True)
    x, baseline = torch.rand(4, 3, 16, 16, generator=numbers), torch.full((3, 16, 16), 0.5)
    with torch.inference_mode():
        rise = method.score_terms(x)["eq9"] - method.score_terms(baseline[None])["eq9"]
        inside = x.clone()
    found = contributions(method, inside, baseline, {"eq9": 1.0}, steps=256)
    atol = max(1e-4, 0.01 * float(rise.abs().max()))  # rises may cancel
    assert torch.allclose(found.sum((1, 2)), rise.float(), rtol=0.02, atol=atol)
    assert found.shape == (4, 16, 16)
    assert all(parameter.grad is None for parameter in method.parameters())
