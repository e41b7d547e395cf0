"""Paths of an isolation forest: by hand for a tree of five nodes, and against the forest's own score."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from esad.models.attribution.paths import ORDINARY, path_contributions
from esad.models.methods.classic.isolation_forest import (
    average_path_length,
    fit_isolation_forest,
    forest_arrays,
    forest_scores,
)

C4, C3 = (float(average_path_length(np.array(count))) for count in (4, 3))


def small_tree() -> dict[str, torch.Tensor]:
    """A tree of four rows: column 1 at 0.5 leaves one row left and three right, of which column 0 at 2 parts one from two."""
    depth = [C4, 1, 1 + C3, 2, 2 + 1]  # of two rows one more is to be expected below
    return {
        "left": torch.tensor([[1, 1, 3, 3, 4]], dtype=torch.int32),
        "right": torch.tensor([[2, 1, 4, 3, 4]], dtype=torch.int32),
        "feature": torch.tensor([[1, 0, 0, 0, 0]], dtype=torch.int32),
        "threshold": torch.tensor([[0.5, 0, 2, 0, 0]], dtype=torch.float64),
        "depth": torch.tensor([depth], dtype=torch.float64) / C4,
    }


def test_a_tiny_tree_by_hand():
    rows = torch.tensor([[9.0, 0.0], [1.0, 1.0], [3.0, 1.0]])
    found = path_contributions(small_tree(), rows, samples=4)
    # what each split takes from the expected depth, over that of four rows
    first = [(C4 - 1) / C4, (C4 - 1 - C3) / C4, (C4 - 1 - C3) / C4]
    second = [0, (1 + C3 - 2) / C4, (1 + C3 - 3) / C4]
    for row, (of_1, of_0) in enumerate(zip(first, second, strict=True)):
        rise = of_1 + of_0
        score = 2 ** -(1 - rise)
        expected = torch.tensor([of_0, of_1], dtype=torch.float64) * (score - ORDINARY) / rise
        assert torch.allclose(found[row], expected, atol=1e-12)
    assert found[0, 0] == 0  # its path never looks at column 0
    assert torch.allclose(found.sum(1) + ORDINARY, forest_scores(small_tree(), rows, 4))


def test_a_row_as_deep_as_the_mean_has_shares_that_cancel():
    tree = small_tree()
    tree["depth"] = torch.tensor([[1.0, 0.5, 0.8, 1.0, 1.0]], dtype=torch.float64)
    found = path_contributions(tree, torch.tensor([[1.0, 1.0]]), samples=4)
    steep = math.log(2) / 2
    assert torch.allclose(found, torch.tensor([[-0.2, 0.2]], dtype=torch.float64) * steep)


@pytest.mark.parametrize("samples", [2, 64])
def test_shares_add_up_to_the_score_and_name_the_column_that_is_far_out(samples):
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(300, 6))
    fit = forest_arrays(fit_isolation_forest(x, 50, samples, 0))
    rows = torch.from_numpy(numbers.normal(size=(20, 6)) / 5)  # ordinary but for one column
    rows[:, 4] += 9
    found = path_contributions(fit, rows, samples)
    assert torch.allclose(found.sum(1) + ORDINARY, forest_scores(fit, rows, samples), atol=1e-12)
    assert samples == 2 or (found.argmax(1) == 4).all()
    backwards = path_contributions(fit, rows.flip(0), samples).flip(0)
    assert torch.equal(found, backwards)
