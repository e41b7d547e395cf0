"""DPA: its error, its networks, its training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esad.models.methods.pretrained.backbone import Backbone
from esad.models.methods.pretrained.dpa import DpaMethod
from esad.models.methods.pretrained.perceptual import LEAST_DEVIATION, RelativePerceptualError
from esad.models.settings import BackboneSettings, MethodSettings
from esad.models.training.fit import TrainingData, TrainingStep, fit
from tests.models.fake_backbone import fake_backbone
from tests.models.small_data import scores


def error(layer="wide3", divisor="deviation") -> RelativePerceptualError:
    return RelativePerceptualError(Backbone(BackboneSettings(**fake_backbone()), 3), layer, divisor)


def method(shape=(32, 32, 3), steps=4, **own) -> DpaMethod:
    train = {
        "optimiser": "adam",
        "learning_rate": 2e-3,
        "schedule": "constant",
        "steps": steps,
        "batch_size": 16,
    }
    chosen = MethodSettings(
        method="dpa", dpa={"width": 8, "code": 8, **own}, train=train, backbone=fake_backbone()
    )
    return DpaMethod(chosen, shape)


def test_equal_pictures_have_no_error_and_others_have():
    x, built = torch.rand(3, 3, 32, 32), error()
    built.fit([torch.rand(20, 3, 32, 32)])
    assert torch.equal(built(x, x), torch.zeros(3))
    assert (built(x, torch.rand(3, 3, 32, 32)) > 0).all()


@pytest.mark.parametrize("divisor", ["deviation", "variance"])
def test_the_error_is_relative_and_of_standardised_channels(divisor):
    built, normals = error(divisor=divisor), torch.rand(20, 3, 32, 32)
    built.fit([normals[:7], normals[7:]])
    maps = built.maps(normals).double()
    deviation = maps.std((0, 2, 3), correction=0, keepdim=True).clamp(min=LEAST_DEVIATION)
    spread = deviation if divisor == "deviation" else deviation**2
    x, x_hat = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    one, other = (
        (built.maps(each).double() - maps.mean((0, 2, 3), keepdim=True)) / spread for each in (x, x_hat)
    )
    expected = [(a - b).abs().mean() / a.abs().mean() for a, b in zip(one, other, strict=True)]
    assert built(x, x_hat).double().tolist() == pytest.approx([float(each) for each in expected], rel=1e-4)


def test_a_channel_that_never_changes_does_not_outweigh_all_others():
    built = error()
    built.fit([torch.full((4, 3, 32, 32), 0.5)])
    assert built.spread.min() >= LEAST_DEVIATION * 0.999
    assert torch.isfinite(built(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))).all()


@pytest.mark.parametrize(("side", "code"), [(1, (8, 1, 1)), (4, (8, 4, 4)), (8, (8, 8, 8))])
@pytest.mark.parametrize("shape", [(64, 64, 3), (28, 28, 1), (40, 24, 3)])
def test_codes_have_the_side_of_the_settings_and_pictures_come_back_in_their_own(side, code, shape):
    built = method(shape, side=side)
    x = built.scaler(torch.randint(0, 256, (2, *shape), dtype=torch.uint8))
    assert built.latents(x)["z"].shape == (2, *code)
    assert built.reconstruct(x).shape == x.shape


def pictures(normal: int) -> TrainingData:
    """Smooth waves; the last 20 are checkerboards."""
    numbers = np.random.default_rng(0)
    place = np.arange(32)
    waves = [
        127 + 90 * np.sin(place[:, None] / (3 + a) + 6 * b) * np.cos(place[None] / (3 + b) + 6 * a)
        for a, b in numbers.random((normal, 2))
    ]
    boards = [np.kron(numbers.integers(0, 2, (8, 8)), np.ones((4, 4))) * 220 for _ in range(20)]
    items = np.stack([*waves, *boards]).astype(np.uint8)[..., None].repeat(3, 3)
    return TrainingData(torch.from_numpy(items), [np.arange(normal)], [np.zeros(normal, np.int8)])


def test_it_learns_waves_and_boards_score_higher():
    data = pictures(60)
    step = TrainingStep(method(steps=60), data, torch.device("cpu"))
    losses = [step(number)["loss"].item() for number in range(step.steps)]
    assert losses[0] == 0  # the statistics
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[1:6])
    found = scores(step.method.eval(), data)
    assert (found[60:, None] > found[None, :60]).float().mean() > 0.9  # the AUC


def test_the_backbone_stays_as_it_is_and_out_of_the_state():
    data, built = pictures(30), method()
    before = {name: value.clone() for name, value in built.error.backbone.named_buffers()}
    fit(built, data)
    assert all(torch.equal(before[name], value) for name, value in built.error.backbone.named_buffers())
    kept = {name for name in built.state_dict() if name.startswith("error.")}
    assert kept == {"error.mean", "error.spread", "error.backbone.origin"}
    assert not torch.equal(built.error.spread, torch.ones_like(built.error.spread))


def test_a_table_is_refused_in_words():
    with pytest.raises(ValueError, match="method dpa is for pictures"):
        method((5,))
