"""Deep SAD, Deep SVDD and their centre against values worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from esad.models.methods.deep_sad import deep_sad_loss
from esad.models.methods.deep_svdd import DeepSvddMethod, soft_boundary_loss
from esad.models.methods.hypersphere import push_from_zero
from esad.models.methods.registry import build
from esad.models.settings import DeepSadSettings
from esad.models.training.batch import Batch
from esad.models.training.fit import TrainingStep
from tests.models.small_data import scores, settings, table

SQUARED = torch.tensor([[4.0, 2.0, 0.5, 9.0]])
SEMI = torch.tensor([[0, 1, -1, 0]])


def test_deep_sad_is_one_mean_over_the_mixed_batch():
    loss = deep_sad_loss(SQUARED, SEMI, DeepSadSettings(eta=3, eps=0.5))
    assert loss.item() == pytest.approx((4 + 3 * 2.5 + 3 * 1 / (0.5 + 0.5) + 9) / 4)
    assert deep_sad_loss(SQUARED, SEMI * 0, DeepSadSettings()).item() == pytest.approx(15.5 / 4)


def test_a_labelled_anomaly_at_the_centre_gives_one_over_eps():
    loss = deep_sad_loss(torch.zeros(1, 1), torch.tensor([[-1]]), DeepSadSettings())
    assert loss.item() == pytest.approx(1e6)


def test_the_soft_boundary_pays_for_what_lies_outside_only():
    loss = soft_boundary_loss(SQUARED, torch.tensor([2.0]), nu=0.1)
    assert loss.item() == pytest.approx(4 + (9 - 4) / 4 / 0.1)
    assert soft_boundary_loss(SQUARED, torch.tensor([0.0]), 0.5).item() == pytest.approx(15.5 / 4 / 0.5)


def test_small_coordinates_of_the_centre_are_pushed_away_and_zeros_stay():
    centre = torch.tensor([0.05, -0.02, 0.0, 0.3, -0.1])
    assert torch.allclose(push_from_zero(centre, 0.1), torch.tensor([0.1, -0.1, 0.0, 0.3, -0.1]))


@pytest.mark.parametrize(("name", "counted"), [("deep_sad", slice(None)), ("deep_svdd", slice(0, 100))])
def test_the_centre_is_the_mean_code_in_evaluation_mode_of_those_that_train(name, counted):
    method = build(settings(name), (5,), (0,))
    step = TrainingStep(method, table(), torch.device("cpu"))
    for number in range(7):  # six of pre-training, and the first that needs the centre
        if number == 6:
            method.eval()
            with torch.no_grad():
                codes = method.codes(method.scaler(table().items[None]))[0, counted]
        step(number)
    assert torch.allclose(method.centre[0, 0], push_from_zero(codes.mean(0), 0.1), atol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (16, 16, 1)])
def test_nothing_in_the_encoder_can_add_a_constant(shape):
    method = build(settings("deep_sad"), shape, (0,))
    names = [name for name, _ in method.encoder.named_parameters()]
    assert names
    assert all(name.endswith("weight") for name in names)
    norms = [module for module in method.encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(module.weight is None for module in norms)


def test_the_radius_is_the_quantile_of_the_last_batch_after_its_warm_up():
    chosen = settings("deep_svdd, soft")
    method = build(chosen, (5,), (0,)).train()
    assert isinstance(method, DeepSvddMethod)
    squared = torch.arange(1.0, 12)[None].square()
    for epoch, radius in ((0.9, 0.0), (1.0, 10.0)):  # nu = 0.1: nine tenths of the way from 1 to 11
        terms = method.sphere_losses(squared, torch.zeros(1, 11), epoch)
        assert terms["radius"].item() == 0
        assert method.radius.item() == pytest.approx(radius)
    method.eval()
    method.sphere_losses(squared * 4, torch.zeros(1, 11), 5.0)
    assert method.radius.item() == pytest.approx(10)
    values = scores(method, table())
    method.radius.zero_()
    assert torch.allclose(scores(method, table()) - values, torch.tensor(100.0), atol=1e-3)


def test_pre_training_takes_labelled_anomalies_along_in_deep_sad_alone():
    for name, labelled in (("deep_sad", True), ("deep_svdd", False)):
        method = build(settings(name), (5,), (0,))
        assert [phase.labelled for phase in method.phases()] == [labelled, labelled]
    batch = Batch(torch.rand(1, 8, 5), torch.tensor([[0, 0, 0, 0, -1, -1, -1, -1]]), [(0, 0)])
    sad = build(settings("deep_sad"), (5,), (0,)).eval()
    loss = sad.losses("pretraining", batch)["loss"]
    assert loss.item() == pytest.approx((sad.decoder(sad.encoder(batch.x)) - batch.x).square().mean().item())
