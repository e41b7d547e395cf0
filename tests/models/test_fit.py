"""One contract over all methods, and that a step depends on nothing but seed and number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.augment import Augmentation
from models.fit import TrainingData, TrainingStep, fit, learning_rate_factor, score_batches
from models.settings import MethodSettings, NetworkSettings, OptimiserSettings, TrainSettings
from models.table_of_methods import METHODS, build

ADAM = {"optimiser": "adam", "learning_rate": 1e-3, "schedule": "constant"}


def settings(method: str, **train) -> MethodSettings:
    train = {**ADAM, "steps": 12, "batch_size": 16, "batches": "balanced", "labelled_per_batch": 4, **train}
    return MethodSettings(
        method=method,
        network=NetworkSettings(width=0.0625, hidden=[12, 6], code=3),
        train=TrainSettings(**train, warmup=OptimiserSettings(**ADAM, steps=6)),
    )


def table(seeds: int = 1) -> TrainingData:
    rows = torch.randn(120, 5, generator=torch.Generator().manual_seed(1))
    rows[100:] += 4
    semi = np.r_[np.zeros(100, np.int8), -np.ones(20, np.int8)]
    return TrainingData(rows, [np.arange(120)] * seeds, [semi] * seeds)


def pictures() -> TrainingData:
    numbers = np.random.default_rng(0)
    items = torch.from_numpy(numbers.integers(0, 256, (40, 20, 20, 1), dtype=np.uint8))
    return TrainingData(items, [np.arange(40)], [np.r_[np.zeros(32, np.int8), -np.ones(8, np.int8)]])


def scores(method, data, **more):
    batches = score_batches(method, data.items, np.arange(len(data.items)), torch.device("cpu"), **more)
    return torch.cat([terms["eq9"] for _, _, terms in batches], -1)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_a_table_and_scores_the_same_in_any_batch(name):
    data = table()
    method = fit(build(settings(name, steps=60), (5,), (0,)), data)
    values = scores(method, data)
    assert values.shape == (1, 120)
    assert torch.isfinite(values).all()
    assert values[0, 100:].median() > values[0, :100].median()
    assert torch.allclose(values, scores(method, data, batch_size=7), atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_on_pictures(name):
    data, augmentation = pictures(), Augmentation(16, "both")
    method = build(settings(name), augmentation.shape((20, 20, 1)), (0,))
    before = {key: value.clone() for key, value in method.state_dict().items()}
    fit(method, data, augmentation=augmentation)
    assert any(not torch.equal(before[key], value) for key, value in method.state_dict().items())
    assert scores(method, data, augmentation=augmentation).shape == (40,)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_depends_on_seed_and_number_alone(name):
    """Stopping after nine steps and going on from the kept state gives the same weights to the bit."""
    whole = fit(build(settings(name), (5,), (3,)), table())
    first = TrainingStep(build(settings(name), (5,), (3,)), table(), torch.device("cpu"))
    for number in range(9):
        first(number)
    second = TrainingStep(build(settings(name), (5,), (3,)), table(), torch.device("cpu"))
    second.method.load_state_dict(first.method.state_dict())
    second.restore(9, first.state())
    for number in range(9, second.steps):
        second(number)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, second.method.state_dict()[key]), key


def test_several_seeds_at_once_equal_one_by_one():
    """In float64: Adam divides by tiny numbers, which magnifies float32's rounding."""

    def trained(seeds: tuple[int, ...]) -> torch.Tensor:
        single = table(len(seeds))
        data = TrainingData(single.items.double(), single.positions, single.semi_labels)
        return scores(fit(build(settings("esad", steps=44), (5,), seeds).double(), data), data)

    together = trained((0, 5))
    assert torch.allclose(together[0], trained((0,))[0], atol=1e-9)
    assert torch.allclose(together[1], trained((5,))[0], atol=1e-9)


def test_joint_batches_see_every_item_once_an_epoch():
    train = settings("esad", batches="joint", batch_size=10, steps=None, epochs=1)
    step = TrainingStep(build(train, (5,), (0,)), table(), torch.device("cpu"))
    phase, _, length = step.plan[1]
    seen = np.concatenate([step.orders[0](number, phase.name, True)[0] for number in range(length)])
    assert length == 12
    assert sorted(seen) == list(range(120))


def test_learning_rate_is_halved_at_each_quarter():
    factors = [learning_rate_factor("halve_at_quarters", step, 200) for step in (0, 49, 50, 100, 150, 199)]
    assert factors == [1, 1, 0.5, 0.25, 0.125, 0.125]


def test_too_few_items_are_refused():
    data = TrainingData(torch.zeros(3, 5), [np.arange(3)], [np.array([0, -1, -1], np.int8)])
    with pytest.raises(ValueError, match="at least two"):
        TrainingStep(build(settings("esad"), (5,), (0,)), data, torch.device("cpu"))


def test_a_crop_larger_than_the_items_names_the_setting():
    with pytest.raises(ValueError, match=r"data\.crop = 64"):
        Augmentation(64).shape((32, 32, 3))
