"""Shapley values by permutations: closed forms, the whole rise whatever the score, nothing of other items."""

from __future__ import annotations

import pytest
import torch

from esad.models.attribution.permutations import blocks, orders, permuted_contributions

X = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
EACH = torch.arange(4)


def test_a_sum_of_functions_of_one_entry_is_shared_out_exactly():
    weights = torch.tensor([1.0, -2, 3, 0.5])
    found = permuted_contributions(lambda x: (weights * x.abs()).sum(1), X, torch.ones(4), EACH, 8)
    assert torch.allclose(found, (weights * (X.abs() - 1)).double(), atol=1e-6)


def test_two_entries_that_only_count_together_share_alike():
    """The Shapley value of a product from 0: a half each, from any pair of an order and its reverse."""
    found = permuted_contributions(lambda x: x[:, 0] * x[:, 3], X, torch.zeros(4), EACH, 1)
    half = (X[:, 0] * X[:, 3] / 2).double()
    assert torch.allclose(found, torch.stack([half, 0 * half, 0 * half, half], 1), atol=1e-6)


def test_shares_add_up_to_the_rise_of_any_score_and_do_not_depend_on_the_batch():
    def score(x):
        return torch.floor(3 * x.sin().prod(1)) + x.square().sum(1)

    start = torch.full((4,), 0.3)
    found = permuted_contributions(score, X, start, EACH, 100)
    assert torch.allclose(found.sum(1), (score(X) - score(start[None])).double(), atol=1e-5)
    alone = torch.cat([permuted_contributions(score, row[None], start, EACH, 100) for row in X.flip(0)])
    assert torch.allclose(found, alone.flip(0), atol=1e-6)


def test_parts_of_a_picture_come_in_as_blocks():
    part = blocks(20, 28, 1000)
    assert part.shape == (20, 28)
    assert sorted(part.unique().tolist()) == list(range(int(part.max()) + 1))
    assert (part[:4, :4] == 0).all()  # sides of a seventh or an eighth of the longer one
    assert blocks(28, 28, 256).max() == 48
    assert blocks(32, 32, 32).max() == 15
    x = torch.rand(2, 3, 20, 28)
    found = permuted_contributions(
        lambda some: some.flatten(1).sum(1), x, torch.zeros(3, 20, 28), part.expand(3, 20, 28), 256
    )
    whole = torch.zeros(2, int(part.max()) + 1).index_add_(1, part.flatten(), x.sum(1).flatten(1))
    assert torch.allclose(found, whole.double(), atol=1e-3)


@pytest.mark.parametrize(
    ("parts", "evaluations", "count"), [(4, 0, 2), (4, 8, 2), (4, 16, 4), (2, 10**6, 32)]
)
def test_orders_are_pairs_and_as_many_as_scores_allow(parts, evaluations, count):
    found = orders(parts, evaluations)
    assert found.shape == (count, parts)
    assert torch.equal(found[1::2], found[::2].flip(1))
    assert (found.sort(1).values == torch.arange(parts)).all()
    assert torch.equal(found, orders(parts, evaluations))
