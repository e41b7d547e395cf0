"""Convolutions that include their BatchNorm: the same function, in another copy, for every method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from esad.models.attribution.gradients import contributions
from esad.models.folding import _pairs, folded
from esad.models.methods.registry import METHODS, build
from esad.models.settings import MethodSettings
from esad.models.training.fit import fit, score_batches
from esad.models.training.ranks import with_global_statistics
from tests.models.small_data import VARIANTS, pictures, scores, settings, shape_of, table

CPU = torch.device("cpu")
SHAPE = (20, 20, 1)


def trained(variant: str):
    """A method after a few steps, with scales and shifts of BatchNorm that are not 1 and 0, in float64."""
    shape = shape_of(variant)
    method = fit(build(settings(variant), shape, (0,)), pictures(shape))
    numbers = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in method.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=numbers))
                module.bias.copy_(torch.rand(module.bias.shape, generator=numbers) - 0.5)
    return method.double()


def norms(method) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in method.modules())


def test_most_methods_have_something_to_fold():
    """The tests below would hold for methods without any BatchNorm, too."""
    plain = {name for name in METHODS if not norms(build(settings(name), SHAPE, (0,)))}
    assert plain == {"oc_svm", "isolation_forest", "ssad", "piad", "dif", "dpa"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_and_gradients_are_those_of_the_method_itself(variant):
    method = trained(variant)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    numbers = torch.Generator().manual_seed(1)
    x = torch.rand(5, *method.scaler.scaled_shape, generator=numbers, dtype=torch.float64)
    found, results = folded(method), []
    for each in (method, found):
        point = x.clone().requires_grad_()
        terms = each.score_terms(point)
        results.append({name: value.detach() for name, value in terms.items()})
        if method.has_gradient:
            results[-1]["gradient"] = torch.autograd.grad(terms["eq9"].sum(), point)[0]
    assert method.searches or not list(_pairs(found))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-9, atol=1e-12)
    assert folded(found) is found
    after = method.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_with_and_without_bias_takes_in_batchnorm_of_either_kind(affine, bias):
    method = build(settings("cae"), SHAPE, (0,)).double()
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine), nn.ReLU(), nn.BatchNorm2d(4)
    ).double()
    method.extra = layers
    layers(torch.rand(9, 3, 8, 8, dtype=torch.float64) * 5)
    with torch.no_grad():
        for parameter in layers[1].parameters():
            parameter.add_(0.3)
    found = folded(method)
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    assert [type(each) for each in found.extra] == [
        nn.Conv2d,
        nn.ReLU,
        nn.BatchNorm2d,
    ]  # that behind ReLU stays
    torch.testing.assert_close(found.extra(x), layers.eval()(x), rtol=1e-10, atol=1e-12)


def test_batchnorm_without_known_statistics_stays():
    method = build(settings("oc_svm"), SHAPE, (0,))
    method.extra = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    assert folded(method) is method


def test_statistics_of_several_processes_are_folded_too():
    method = trained("esad")
    x = torch.rand(3, 1, 32, 32, dtype=torch.float64)
    expected = method.score_terms(x)["eq9"]
    with_global_statistics(method, CPU)
    assert norms(folded(method)) == 0
    torch.testing.assert_close(folded(method).score_terms(x)["eq9"], expected, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize(
    "variant", ["esad", "deep_sad", "isolation_forest, hybrid", "esad, lenet-fashion-mnist"]
)
def test_scoring_folds_by_itself_to_the_same_bits(variant):
    data = pictures(shape_of(variant))
    method = fit(build(settings(variant), shape_of(variant), (0,)), data)
    values = scores(method, data)
    assert torch.equal(values, scores(folded(method), data))
    _, x, terms = next(score_batches(method, data.items, np.arange(40), CPU))
    assert torch.equal(terms["eq9"], folded(method).score_terms(x.clone())["eq9"])
    torch.testing.assert_close(
        terms["eq9"], method.score_terms(x.clone())["eq9"].detach(), rtol=1e-4, atol=1e-5
    )


def test_a_method_folded_while_scoring_gives_contributions():
    """A copy made in inference mode would have tensors that no gradient may pass."""
    method = build(MethodSettings(network={"width": 0.0625}), (16, 16, 1))
    with torch.inference_mode():
        found = folded(method)
    x = torch.rand(2, 1, 16, 16)
    ours = contributions(found, x, torch.zeros(1, 16, 16), {"eq9": 1.0})
    assert torch.equal(ours, contributions(method, x, torch.zeros(1, 16, 16), {"eq9": 1.0}))
    assert found.settings is method.settings
    assert ours.abs().max() > 0


def test_tables_are_scored_as_they_are():
    method = build(settings("esad"), (5,), (0,))
    assert folded(method) is method
    assert scores(method, table()).shape == (1, 120)
