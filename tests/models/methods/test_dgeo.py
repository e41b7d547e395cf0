"""DGEO: its transforms, its Dirichlet distributions, its scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch.nn import functional

from esad.models.ignored_settings import ignored_settings
from esad.models.methods.dgeo import (
    LEAST_LOG,
    TRANSFORMS,
    DgeoMethod,
    fit_dirichlets,
    inverse_digamma,
    transform_places,
)
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.fit import TrainingData, TrainingStep, fit
from tests.models.small_data import scores

ADAM = {"optimiser": "adam", "learning_rate": 3e-3, "schedule": "constant", "batch_size": 64}


def method(shape=(16, 16, 1), seed=0, steps=4, **own) -> DgeoMethod:
    chosen = MethodSettings(method="dgeo", dgeo={"width": 1, **own}, train={**ADAM, "steps": steps})
    return DgeoMethod(chosen, shape, (seed,))


def bars(count: int) -> np.ndarray:
    """(count, 16, 16, 1) uint8: a bright corner and a less bright bar, which tell every flip, shift and turn apart."""
    numbers = np.random.default_rng(0)
    out = numbers.integers(0, 30, (count, 16, 16, 1), dtype=np.uint8)
    out[:, 3:7, 3:6] += 200
    out[:, 9:11, 3:13] += 100
    return out


def test_transforms_are_the_published_ones_in_their_order():
    side, shift = 8, 2
    x = torch.arange(64.0).view(side, side)
    padded = np.pad(x.numpy(), shift, mode="symmetric")
    places, number = transform_places(side, shift), 0
    assert places.shape == (TRANSFORMS, 64)
    for flip in (False, True):
        start = padded[:, ::-1] if flip else padded
        for down in (0, -shift, shift):
            for across in (0, -shift, shift):
                cut = start[shift - down :][:side, shift - across :][:, :side]
                for turns in range(4):
                    expected = np.rot90(cut, turns)
                    assert np.array_equal(x.flatten()[places[number]].view(8, 8), expected), number
                    number += 1
    assert len(torch.unique(places, dim=0)) == TRANSFORMS


def test_each_item_of_a_batch_gets_its_own_transform():
    built = method((20, 16, 3))  # padded to 32 x 16, then to a square
    x = torch.rand(5, 3, 32, 16)
    out = built.transformed(x, torch.tensor([0, 1, 40, 0, 71]))
    square = functional.pad(2 * x - 1, (8, 8, 0, 0), value=-1.0)
    assert torch.equal(out[0], square[0])
    assert torch.equal(out[1], square[1].rot90(1, (1, 2)))
    assert torch.equal(out[3], square[3])
    assert not torch.equal(out[2], square[2])


def test_inverse_digamma():
    x = torch.tensor([1e-3, 0.1, 1.0, 7.5, 300.0], dtype=torch.float64)
    assert torch.allclose(inverse_digamma(torch.digamma(x)), x, rtol=1e-9)


@pytest.mark.parametrize("known", [[0.3, 2.0, 5.0], [20.0, 1.0, 0.5, 0.5], [4.0] * 6])
def test_dirichlet_fit_finds_known_alphas(known):
    drawn = torch.from_numpy(np.random.default_rng(1).dirichlet(known, 40_000))
    logs = drawn.log().clamp(min=LEAST_LOG)
    found = fit_dirichlets([logs])[0].numpy()
    assert found == pytest.approx(known, rel=0.03)
    # the maximum of the likelihood: psi(alpha) - psi(sum alpha) = mean log p
    assert digamma(found) - digamma(found.sum()) == pytest.approx(logs.mean(0).numpy(), abs=1e-6)


def test_a_certain_network_gives_finite_alphas_and_scores():
    logs = torch.full((50, TRANSFORMS), LEAST_LOG)
    logs[:, 3] = 0.0
    alphas = fit_dirichlets([logs, logs])
    assert torch.isfinite(alphas).all()
    assert (alphas[:, 3] > alphas[:, 4]).all()


def test_the_score_is_minus_the_mean_log_likelihood_and_the_simple_one_minus_the_mean_probability():
    torch.manual_seed(0)
    x = torch.rand(3, 1, 16, 16)
    full, simple = method().eval(), method(score="simple").eval()
    full.alphas.copy_(torch.rand(TRANSFORMS, TRANSFORMS) * 3)
    with torch.no_grad():
        likelihoods, right = [], []
        for number in range(TRANSFORMS):
            logits = full.network(full.transformed(x, torch.full((3,), number)))
            log = functional.log_softmax(logits, 1)
            likelihoods.append(((full.alphas[number] - 1) * log).sum(1))
            right.append(log[:, number].exp())
        assert torch.allclose(full.score_terms(x)["eq9"], -torch.stack(likelihoods).mean(0), rtol=1e-4)
        assert torch.allclose(simple.score_terms(x)["eq9"], -torch.stack(right).mean(0), rtol=1e-4)


def test_transforms_are_drawn_by_seed_and_step_alone():
    built = method()
    x, labels = torch.rand(6, 1, 16, 16), torch.zeros(6, dtype=torch.int8)

    def loss(step: int) -> float:
        return built.losses("train", Batch(x, labels, [(0, step)]))["loss"].item()

    assert loss(1) == loss(1)
    assert loss(1) != loss(2)


def test_a_phase_in_closed_form_follows_unless_the_score_is_simple():
    assert [phase.name for phase in method().phases()] == ["train", "dirichlet"]
    simple = method(score="simple")
    assert [phase.name for phase in simple.phases()] == ["train"]
    assert ignored_settings(simple.settings, True)["dgeo.items"] == "method dgeo does not use it"


@pytest.mark.parametrize("score", ["dirichlet", "simple"])
def test_it_learns_the_transforms_and_other_pictures_score_higher(score):
    items = np.concatenate([bars(80), bars(20)])
    items[80:] = items[80:].transpose(0, 2, 1, 3)  # a transpose is none of the transforms
    items[80:, 3:7, 10:13] += 50
    data = TrainingData(torch.from_numpy(items), [np.arange(64)], [np.zeros(64, np.int8)])
    step = TrainingStep(method(steps=80, score=score), data, torch.device("cpu"))
    accuracy = [float(step(number).get("accuracy", 0)) for number in range(80)]
    assert np.mean(accuracy[-10:]) > 3 * np.mean(accuracy[:10])
    found = scores(fit(method(steps=80, score=score), data), data)
    assert found[80:].median() > found[64:80].median()
    assert torch.allclose(
        found, scores(fit(method(steps=80, score=score), data), data, batch_size=7), rtol=1e-3
    )


def test_labelled_anomalies_take_no_part():
    items = torch.from_numpy(bars(40))
    semi = np.r_[np.zeros(30, np.int8), -np.ones(10, np.int8)]
    without = TrainingData(items, [np.arange(30)], [semi[:30]])
    states = [
        fit(method(), data).state_dict() for data in (TrainingData(items, [np.arange(40)], [semi]), without)
    ]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_published_networks_are_chosen_by_size():
    blocks = {
        side: len(DgeoMethod(MethodSettings(method="dgeo"), (side, side, 1)).network.body)
        for side in (28, 64)
    }
    assert blocks == {28: 1 + 3 + 4, 64: 1 + 6 + 4}
    wide = DgeoMethod(MethodSettings(method="dgeo"), (28, 28, 1)).network.last
    assert (wide.in_features, wide.out_features) == (64 * 4, TRANSFORMS)


def test_a_table_is_refused_in_words():
    with pytest.raises(ValueError, match="method dgeo is for pictures"):
        method((5,))
