"""The linear code: principal components of patches, exact where there are enough, and the gate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esad.models.linear_code import PATCH, LinearCode
from esad.models.training.item_pool import ItemPool


def pool(x: torch.Tensor, labels: np.ndarray | None = None) -> ItemPool:
    semi = np.zeros(len(x), np.int8) if labels is None else labels
    return ItemPool([np.arange(len(x))], [semi], lambda positions: x[positions[0]])


def smooth_pictures(count: int, channels: int = 1, side: int = 32) -> torch.Tensor:
    """Pictures whose patches lie on four directions around a mean picture."""
    numbers = torch.Generator().manual_seed(0)
    waves = torch.randn(4, channels, PATCH, PATCH, generator=numbers)
    amounts = torch.randn(count, 4, side // PATCH, side // PATCH, generator=numbers)
    return 0.5 + 0.05 * torch.nn.functional.conv_transpose2d(amounts, waves, stride=PATCH)


def test_it_copies_pictures_of_as_many_directions_as_it_has_numbers():
    x = smooth_pictures(50, channels=3)
    code = LinearCode((3, 32, 32), 4)
    assert not code.is_fitted
    code.fit(pool(x))
    assert code.is_fitted
    assert code.mean + code(x) == pytest.approx(x, abs=1e-5)


def test_it_keeps_as_much_of_the_patches_as_a_singular_value_decomposition():
    x = torch.rand(30, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    code = LinearCode((1, 32, 32), 7)
    code.fit(pool(x))
    flat = code.components.flatten(1)
    assert flat @ flat.T == pytest.approx(torch.eye(7), abs=1e-5)
    patches = torch.nn.functional.unfold(x - x.mean(0), PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
    values = torch.linalg.svdvals(patches.double()).square()
    left = float((code.mean + code(x) - x).square().sum())
    assert left == pytest.approx(float(values[7:].sum()), rel=1e-4)


def test_only_unlabelled_items_count_and_the_same_items_give_the_same_code():
    x = torch.cat([smooth_pictures(40), torch.rand(20, 1, 32, 32)])
    labels = np.repeat([0, -1], [40, 20]).astype(np.int8)
    some, again = LinearCode((1, 32, 32), 4), LinearCode((1, 32, 32), 4)
    some.fit(pool(x, labels))
    again.fit(pool(x[:40]))
    assert torch.equal(some.components, again.components)
    assert torch.equal(some.mean, again.mean)


@pytest.mark.parametrize("of_item", [True, False])
def test_an_open_gate_gives_the_linear_copy_and_a_shut_one_what_was_learnt(of_item):
    x = smooth_pictures(40)
    learnt = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    code = LinearCode((1, 32, 32), 4, gate_channels=2, gate_of_item=of_item)
    code.fit(pool(x))
    z = torch.ones(40, 2, 2, 2)
    for bias, expected in ((-30.0, code.mean + learnt), (30.0, x), (0.0, (x + code.mean + learnt) / 2)):
        torch.nn.init.constant_(code.gate.bias, bias)
        assert code.mixed(x, learnt, z).detach() == pytest.approx(expected, abs=1e-5)


def test_a_gate_for_each_place_shuts_a_part_of_the_picture():
    x, learnt = smooth_pictures(3), torch.zeros(3, 1, 32, 32)
    code = LinearCode((1, 32, 32), 4, gate_channels=1)
    code.fit(pool(x))
    torch.nn.init.constant_(code.gate.weight, 60.0)
    torch.nn.init.constant_(code.gate.bias, -30.0)
    z = torch.zeros(3, 1, 2, 2)
    z[..., 0, 1] = 1.0  # open at the top right alone
    found = code.mixed(x, learnt, z).detach()
    assert found[..., :16, 16:] == pytest.approx(x[..., :16, 16:], abs=1e-4)
    assert found[..., 16:, :] == pytest.approx(code.mean[..., 16:, :].expand(3, -1, -1, -1), abs=1e-5)


def test_without_a_gate_both_are_added():
    x, learnt = smooth_pictures(9), torch.full((9, 1, 32, 32), 0.1)
    code = LinearCode((1, 32, 32), 4)
    code.fit(pool(x))
    assert code.mixed(x, learnt, torch.zeros(9, 2, 2, 2)) == pytest.approx(x + 0.1, abs=1e-5)


def test_more_numbers_than_a_patch_has_are_refused():
    with pytest.raises(ValueError, match="has 256 numbers"):
        LinearCode((1, 32, 32), 257)


def test_the_stream_of_random_numbers_is_left_as_it_was():
    before = torch.get_rng_state()
    LinearCode((1, 32, 32), 4, gate_channels=3)
    assert torch.equal(before, torch.get_rng_state())


def test_the_cap_on_items_is_kept(monkeypatch):
    monkeypatch.setattr("esad.models.linear_code.MOST_ITEMS", 10)
    x, read = smooth_pictures(19), []

    def reader(positions):
        read.append(positions.size)
        return x[positions[0]]

    LinearCode((1, 32, 32), 4).fit(ItemPool([np.arange(19)], [np.zeros(19, np.int8)], reader))
    assert max(read) <= 10
