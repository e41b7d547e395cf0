"""TLSAD, our reading: its terms, its phases, its score."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from esad.models.methods.pretrained.tlsad import LEAST_DEVIATION, TlsadMethod, sphere_terms
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.fit import TrainingData, TrainingStep
from tests.models.fake_backbone import fake_backbone
from tests.models.small_data import scores

ADAM = {"optimiser": "adam", "learning_rate": 2e-3, "schedule": "constant"}


def method(shape=(32, 32, 3), steps=4, **own) -> TlsadMethod:
    chosen = MethodSettings(
        method="tlsad", tlsad=own, network={"width": 0.0625}, backbone=fake_backbone(),
        train={**ADAM, "steps": steps, "batch_size": 16, "batches": "balanced", "labelled_per_batch": 4,
               "warmup": {**ADAM, "steps": steps}},
    )  # fmt: skip
    return TlsadMethod(chosen, shape)


def test_terms_are_those_of_the_description():
    squared = torch.tensor([1.0, 2.0, 4.0, 3.0, math.log(2), 50.0])
    found = sphere_terms(squared, torch.tensor([0, 0, 0, 1, -1, -1]))
    expected = np.mean([value * math.exp(-value / 2) for value in (1, 2, 4)])
    assert found["unlabelled"].item() == pytest.approx(expected)
    assert found["normal"].item() == 3.0
    assert found["anomaly"].item() == pytest.approx(math.log(2) / 2)  # the second, far away, has none


def test_weights_are_constants_and_anomalies_are_pushed_away():
    squared = torch.tensor([1.0, 3.0, 0.5], requires_grad=True)
    terms = sphere_terms(squared, torch.tensor([0, 0, -1]))
    sum(terms.values()).backward()
    weights = torch.exp(-torch.tensor([1.0, 3.0]) / 1.0) / 2  # PyTorch's median is the lower of two
    assert torch.allclose(squared.grad[:2], weights)
    assert squared.grad[2] < 0


def test_an_anomaly_in_the_centre_has_a_finite_term():
    squared = torch.zeros(2, requires_grad=True)
    loss = sphere_terms(squared, torch.tensor([0, -1]))["anomaly"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(squared.grad).all()


def boards(normal: int, other: int) -> TrainingData:
    """Checkerboards of 4 pixels; anomalies, the first `other` // 2 of them labelled, are of 2 pixels."""
    numbers = np.random.default_rng(0)
    items = [np.kron(numbers.integers(0, 2, (8, 8)), np.ones((4, 4))) * 200 for _ in range(normal)]
    items += [np.kron(numbers.integers(0, 2, (16, 16)), np.ones((2, 2))) * 200 for _ in range(other)]
    stored = torch.from_numpy(np.stack(items).astype(np.uint8)[..., None].repeat(3, 3))
    chosen = np.arange(normal + other // 2)
    return TrainingData(stored, [chosen], [np.where(chosen < normal, 0, -1).astype(np.int8)])


def test_each_phase_learns_its_loss_and_unseen_anomalies_score_higher():
    data = boards(60, 40)
    step = TrainingStep(method(steps=50), data, torch.device("cpu"))
    assert [(phase.name, count) for phase, _, count in step.plan] == [
        ("statistics", 1),
        ("transfer", 50),
        ("train", 50),
    ]
    losses = [step(number) for number in range(step.steps)]
    assert np.mean([float(each["loss"]) for each in losses[41:51]]) < np.mean(
        [float(each["loss"]) for each in losses[1:11]]
    )
    assert float(losses[-1]["transfer"]) < float(losses[1]["transfer"])
    found = scores(step.method.eval(), data)
    assert (found[80:, None] > found[None, :60]).float().mean() > 0.8  # the AUC


def test_statistics_are_those_of_what_the_frozen_network_sees():
    data = boards(20, 4)
    step = TrainingStep(method(), data, torch.device("cpu"))
    step(0)
    built = step.method
    with torch.no_grad():
        rows = built.seen(built.scaler(data.items[:22]))
    assert torch.allclose(built.mean, rows.mean(0), atol=1e-5)
    assert torch.allclose(built.deviation, rows.std(0, correction=0).clamp(min=LEAST_DEVIATION), atol=1e-5)


def test_the_score_is_the_distance_alone():
    built = method().eval()
    built.centre.copy_(torch.rand(built.centre.shape))
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        z = built.latents(x)["z"].flatten(1)
        assert torch.allclose(built.score_terms(x)["eq9"], (z - built.centre[0]).square().mean(1))


def test_the_weight_of_the_transfer_is_a_setting():
    x, labels = torch.rand(6, 3, 32, 32), torch.tensor([0, 0, 0, 0, -1, -1])
    terms = [method(transfer=weight).losses("train", Batch(x, labels, [(0, 1)])) for weight in (0.0, 2.0)]
    assert terms[1]["loss"].item() == pytest.approx(
        (terms[0]["loss"] + 2 * terms[0]["transfer"]).item(), rel=1e-5
    )


def test_a_table_is_refused_in_words():
    with pytest.raises(ValueError, match="method tlsad is for pictures"):
        method((5,))
