"""One contract over all methods: contributions are finite, add up, and are the same in any batch and order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esad.models.attribution.explain import (
    OF_PICTURES as WORDS_OF_PICTURES,
)
from esad.models.attribution.explain import (
    OF_ROWS,
    SHORT,
    _settled,
    median_row,
    medians,
    picture_contributions,
    row_contributions,
    starting_score,
    told,
)
from esad.models.attribution.gradients import integrated_gradients, weighted
from esad.models.folding import folded
from esad.models.methods.registry import build
from esad.models.training.fit import fit
from tests.models.small_data import OF_TABLES, VARIANTS, pictures, settings, shape_of, table

KINDS = {"eq9": {"eq9": 1.0}, "standardised": {"reconstruction": 2.0, "norm": 0.25}}


def of_rows(method, rows: torch.Tensor, weights) -> torch.Tensor:
    x = method.scaler(rows[None])
    with torch.inference_mode():
        terms = method.score_terms(x)
    return row_contributions(method, x, weights, terms)


@pytest.mark.parametrize("variant", OF_TABLES)
def test_contributions_of_columns_are_finite_and_add_up_to_the_score(variant):
    data = table()
    method = folded(fit(build(settings(variant, steps=60), (5,), (0,)), data))
    rows = data.items[90:]
    for weights in KINDS.values():
        found = of_rows(method, rows, weights)
        with torch.inference_mode():
            score = weighted(method.score_terms(method.scaler(rows[None])), weights)[0].double()
        start = starting_score(method, weights)
        assert found.shape == (30, 5)
        assert torch.isfinite(found).all()
        spread = float((score - start).abs().max())
        assert torch.allclose(found.sum(1), score - start, atol=1e-5 * spread, rtol=1e-5)
    backwards = torch.cat([of_rows(method, part, weights) for part in rows.flip(0).split(17)]).flip(0)
    assert torch.allclose(found, backwards, atol=1e-4 * spread)
    assert torch.equal(found, of_rows(method, rows, weights))


@pytest.mark.parametrize("variant", OF_TABLES)
def test_the_median_row_and_missing_values_contribute_no_more_than_their_reconstruction(variant):
    data = table()
    method = folded(fit(build(settings(variant), (5,), (0,)), data))
    assert torch.equal(medians(method)[0, 0], data.items.median(0).values) or torch.allclose(
        medians(method)[0, 0], torch.from_numpy(np.median(data.items.numpy(), 0))
    )
    row = medians(method)[0].clone()
    row[0, 2] = torch.nan
    found = of_rows(method, row, {"eq9": 1.0})
    if method.reconstructs():
        terms = method.score_terms(median_row(method))
        assert float(found.sum()) == pytest.approx(float(terms["reconstruction"].detach()), rel=1e-5)
    elif method.explained_by != "paths":
        assert found.abs().max() < 1e-9


def test_rows_get_as_many_points_as_their_kinks_need_and_keep_the_shares_that_many_points_give():
    """A network with sharp kinks: 64 points miss a sixth of the rise."""
    data = table()
    method = folded(fit(build(settings("esad", steps=60), (5,), (0,)), data))
    x, start = method.scaler(data.items[None, 90:]), median_row(method)

    def score(point):
        return method.score_terms(point)["norm"]

    rise = (score(x) - score(start)).detach()
    rough, fine = (integrated_gradients(score, x, start, steps) for steps in (64, 2048))
    assert (rough.sum(-1) - rise).abs().max() > 0.01 * rise.abs().max()
    found = _settled(score, x, start)
    assert torch.allclose(found, fine.double(), atol=0.03 * float(fine.abs().max()))
    assert torch.allclose(found.sum(-1), rise.double(), atol=1e-6)


def test_a_reconstruction_errors_columns_are_its_squares():
    data = table()
    method = folded(fit(build(settings("cae"), (5,), (0,)), data))
    x = method.scaler(data.items[None])
    terms = method.score_terms(x)
    squares = (terms["x_hat"] - x)[0].square() / 5
    assert torch.allclose(of_rows(method, data.items, {"eq9": 1.0}), squares.double(), atol=1e-7)
    assert told(method) == "squared errors of the reconstruction, column by column"


@pytest.mark.parametrize("variant", VARIANTS)
def test_contributions_of_pixels_are_finite_and_add_up_to_the_score(variant):
    data = pictures(shape_of(variant))
    method = folded(fit(build(settings(variant), shape_of(variant), (0,)), data))
    x = method.scaler(data.items[30:33])
    with torch.inference_mode():
        terms = method.score_terms(x)
        baseline = method.scaler(data.items[:28].float().mean(0, keepdim=True).round().byte())[0]
        weights = {"eq9": 1.0}
        score, start = terms["eq9"].double(), method.score_terms(baseline[None])["eq9"].double()
    found = picture_contributions(method, x, baseline, weights, terms)
    assert found.shape == (3, *x.shape[2:])
    assert torch.isfinite(found).all()
    if method.explained_by == "paths":
        start = torch.tensor(0.5)
    elif method.explained_by == "held":
        start = method.held_terms(terms["x_hat"].clone(), terms["held"])["eq9"].double()
    rise = (score - start).detach()
    if method.explained_by != "gradients":  # their sums tend to it slowly: tests of gradients.py
        assert torch.allclose(
            found.sum((1, 2)).double(), rise, atol=0.02 * float(rise.abs().max()), rtol=0.02
        )
    once = picture_contributions(method, x[2:].clone(), baseline, weights, some(terms, slice(2, 3)))
    assert torch.allclose(found[2:], once, atol=1e-3 * float(found.abs().max()))
    assert told(method) in WORDS_OF_PICTURES.values()


def some(terms: dict[str, torch.Tensor], places: slice) -> dict[str, torch.Tensor]:
    return {name: value[places].clone() for name, value in terms.items()}


@pytest.mark.parametrize("variant", ["anogan", "adgan"])
def test_terms_by_what_a_search_found_are_those_of_the_search(variant):
    data = pictures()
    method = folded(fit(build(settings(variant), (20, 20, 1), (0,)), data))
    x = method.scaler(data.items[:5])
    terms = method.score_terms(x)
    again = method.held_terms(x, terms["held"])
    for name in ("eq9", "reconstruction", "norm"):
        assert torch.allclose(terms[name], again[name], rtol=1e-5, atol=1e-6)


def test_methods_that_cannot_say_so():
    method = build(settings("cae"), (5,), (0,))
    with pytest.raises(TypeError, match="cae does not search"):
        method.held_terms(torch.zeros(1, 1, 5), torch.zeros(1))
    with pytest.raises(TypeError, match="cae is no forest"):
        method.path_contributions(torch.zeros(1, 1, 5))
    hybrid = build(settings("isolation_forest, hybrid"), (5,), (0,))
    assert hybrid.explained_by == "permutations"
    with pytest.raises(TypeError, match="no forest of the items' own entries"):
        hybrid.path_contributions(torch.zeros(1, 1, 5))


def test_every_way_has_its_words():
    ways = {build(settings(name), shape_of(name), (0,)).explained_by for name in VARIANTS}
    assert ways == set(SHORT) == set(WORDS_OF_PICTURES)
    assert {build(settings(name), (5,), (0,)).explained_by for name in OF_TABLES} == set(OF_ROWS)
