"""A step depends on nothing but seed and number; schedules, batches, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esad.models.methods.registry import build
from esad.models.training.augment import Augmentation
from esad.models.training.fit import TrainingData, TrainingStep
from esad.models.training.schedule import learning_rate_factor
from tests.models.small_data import settings, table


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
