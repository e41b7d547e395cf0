"""What reconstructions explain: closed-form values, and the linear code that they are compared with."""

from __future__ import annotations

import numpy as np
import pytest

from esad.pipeline.evaluation.explained import (
    cross_fitted,
    explained,
    explained_sentence,
    interval,
    principal_components,
)


def test_a_copy_explains_all_the_mean_nothing_and_worse_is_below_zero():
    distances = np.array([1.0, 3.0])
    assert explained(np.zeros(2), distances) == 1
    assert explained(distances, distances) == 0
    assert explained(2 * distances, distances) == -1
    assert explained(np.array([1.0, 0.0]), distances) == 0.75
    assert np.isnan(explained(np.zeros(2), np.zeros(2)))


@pytest.mark.parametrize(("count", "columns"), [(40, 6), (6, 40), (10, 10)])
def test_components_are_orthonormal_and_explain_what_a_singular_value_decomposition_says(count, columns):
    rows = np.random.default_rng(0).normal(size=(count, columns)) * np.linspace(3, 0.1, columns)
    found = principal_components(rows, 3)
    assert found.directions @ found.directions.T == pytest.approx(np.eye(3), abs=1e-9)
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    share = explained(found.residuals(rows), found.distances(rows))
    assert share == pytest.approx(values[:3].sum() / values.sum())


def test_equal_rows_have_no_direction_and_more_components_than_rows_are_not_made_up():
    flat = principal_components(np.ones((5, 30)), 4)
    assert flat.directions.shape == (0, 30)
    assert flat.residuals(np.ones((2, 30))) == pytest.approx(0)
    assert len(principal_components(np.random.default_rng(0).normal(size=(4, 30)), 64).directions) == 3


def test_the_interval_holds_the_figure_and_shrinks_with_more_items():
    numbers = np.random.default_rng(0)
    widths = []
    for count in (10, 1000):
        distances = numbers.uniform(1, 2, count)
        errors = distances * numbers.uniform(0, 0.5, count)
        low, high = interval(errors, distances)
        assert low < explained(errors, distances) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_cross_fitting_never_measures_a_row_by_components_that_saw_it():
    rows = np.random.default_rng(0).normal(
        size=(40, 200)
    )  # nothing in common: components of others explain nothing
    seen = principal_components(rows, 30)
    crossed = cross_fitted(rows, 30)
    assert explained(seen.residuals(rows), seen.distances(rows)) > 0.7
    assert crossed["lowest"] <= crossed["mean"] <= crossed["highest"] < 0.3


def test_the_sentence_says_what_was_counted_and_that_nothing_was_held_out():
    summary = {
        "model": 0.18, "model_interval": [0.1, 0.25], "pca": 0.57, "pca_interval": [0.5, 0.6],
        "components": 64, "items": 12, "held_out": False, "pca_cross_fitted": {"mean": 0.5, "lowest": 0.4, "highest": 0.6},
    }  # fmt: skip
    text = explained_sentence(summary)
    parts = (
        "18 % [10 %, 25 %]",
        "12 normal items that it trained on",
        "components explain 57 %",
        "50 % (40 % to 60 %)",
    )
    assert all(part in text for part in parts)
