"""Which pixels a score of a vector comes from: the whole rise is shared out, to where the picture differs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from esad.models.encoders.encoder import Encoder
from esad.models.encoders.pixels import pixel_contributions, way_of
from esad.models.encoders.preparation import Preparation


class Means(Encoder):
    """Means of the four quarters of a picture, squared: smooth, and its score is known."""

    name, digest, layers, preparation = "means", "0" * 64, (), Preparation((8, 8), (0.0,), (1.0,))

    def __init__(self, differentiable: bool) -> None:
        self.differentiable = differentiable

    def encode(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), 4).flatten(1).square()


@pytest.mark.parametrize(("differentiable", "has_gradient"), [(True, True), (True, False), (False, True)])
def test_a_spot_is_found_and_the_rise_is_shared_out(differentiable, has_gradient):
    encoder = Means(differentiable)
    x = torch.zeros(2, 3, 8, 8)
    x[1, :, 4:, :4] = 1.0

    def score(vectors: Tensor) -> Tensor:
        return vectors.sum(1)

    found = pixel_contributions(encoder, score, x, torch.zeros(3, 8, 8), has_gradient)
    assert found.shape == (2, 8, 8)
    assert torch.equal(found[0], torch.zeros(8, 8))
    assert found[1, 4:, :4].min() > 0
    assert found[1, :4].abs().max() == found[1, 4:, 4:].abs().max() == 0
    if differentiable and has_gradient:
        assert found[1].sum().item() == pytest.approx(1.0, rel=1e-4)


def test_what_is_done_is_said():
    assert way_of(Means(True), True).startswith("integrated gradients through the encoder")
    assert way_of(Means(True), False).startswith("occlusion")
    assert way_of(Means(False), True).startswith("occlusion")
