"""SS-DGM and the supervised classifier against values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from esad.models.methods.registry import build
from esad.models.methods.ss_dgm import SsDgmMethod, kl_to_standard, ss_dgm_losses
from esad.models.training.batch import Batch
from tests.models.small_data import settings


def test_the_divergence_from_a_standard_normal():
    mean, log_variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(4)]])
    assert kl_to_standard(mean, log_variance).item() == pytest.approx(0.5 * (1 + (4 - 1 - math.log(4))))
    assert kl_to_standard(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0


def test_the_loss_sums_the_class_out_where_it_is_unknown():
    """Kingma et al., Eq. 6 to 9, with q(anomaly | x) = 3/4, 1/2, 1/4 for an unlabelled, an anomaly, a normal."""
    normal, anomaly = torch.tensor([[1.0, 5.0, 2.0]]), torch.tensor([[3.0, 7.0, 6.0]])
    logits = torch.tensor([[math.log(3), 0.0, -math.log(3)]])
    terms = ss_dgm_losses(normal, anomaly, logits, torch.tensor([[0, -1, 1]]), alpha=0.1)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert terms["unlabelled"].item() == pytest.approx(0.25 * 1 + 0.75 * 3 - entropy)
    assert terms["labelled"].item() == pytest.approx((7 + 2) / 2)
    crossed = (math.log(2) - math.log(0.75)) / 2
    assert terms["cross_entropy"].item() == pytest.approx(crossed)
    assert terms["loss"].item() == pytest.approx(
        terms["unlabelled"].item() + terms["labelled"].item() + 0.1 * crossed
    )


def test_the_bound_of_an_untrained_model_is_the_sum_over_columns():
    """With all weights 0 every column has probability 1/2, and z is standard normal whatever the item."""
    method = build(settings("ss_dgm"), (5,), (0,)).eval()
    assert isinstance(method, SsDgmMethod)
    for parameter in method.parameters():
        parameter.data.zero_()
    normal, anomaly = method.bounds(torch.rand(1, 4, 5), torch.randn(1, 8, method.latent))
    assert torch.allclose(normal, torch.full((1, 4), 6 * math.log(2)), atol=1e-6)
    assert torch.equal(normal, anomaly)


def test_the_bound_depends_on_the_class():
    method = build(settings("ss_dgm"), (5,), (0,)).eval()
    normal, anomaly = method.bounds(torch.rand(1, 4, 5), torch.zeros(1, 8, method.latent))
    assert not torch.allclose(normal, anomaly)


def test_the_classifier_takes_unlabelled_items_for_normal():
    method = build(settings("supervised"), (5,), (0,)).eval()
    x = torch.rand(1, 3, 5)
    logits = method.logits(x)[0]
    expected = -(
        torch.sigmoid(-logits[0]).log() + torch.sigmoid(-logits[1]).log() + torch.sigmoid(logits[2]).log()
    )
    loss = method.losses("train", Batch(x, torch.tensor([[0, 1, -1]]), [(0, 0)]))["loss"]
    assert loss.item() == pytest.approx(expected.item() / 3, rel=1e-5)
