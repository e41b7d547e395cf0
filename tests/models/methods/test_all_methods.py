"""One contract over all methods, which a new one joins by being listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from esad.models.methods.registry import METHODS, build
from esad.models.settings import OptimiserSettings
from esad.models.training.augment import Augmentation
from esad.models.training.fit import TrainingData, TrainingStep, fit, score_batches
from esad.models.training.ranks import OneProcessOnly, Ranks
from esad.models.training.turns import PhaseTurns
from tests.models.small_data import (
    LENETS,
    OF_PICTURES,
    OF_TABLES,
    VARIANTS,
    pictures,
    scores,
    settings,
    shape_of,
    table,
)

CPU = torch.device("cpu")


@pytest.fixture(params=OF_TABLES)
def variant(request) -> str:
    return request.param


@pytest.fixture(params=OF_PICTURES)
def only_pictures(request) -> str:
    return request.param


@pytest.fixture(params=[*OF_PICTURES, *LENETS])
def picture_variant(request) -> str:
    return request.param


def picture_step(variant: str, seed: int = 3, data: TrainingData | None = None) -> TrainingStep:
    method = build(settings(variant, steps=6), shape_of(variant), (seed,))
    return TrainingStep(method, data or pictures(shape_of(variant)), CPU)


def test_it_learns_a_table_and_scores_the_same_in_any_batch(variant):
    data = table(held=5)
    method = fit(build(settings(variant, steps=60), (5,), (0,)), data)
    values = scores(method, data)
    assert values.shape == (1, 120)
    assert torch.isfinite(values).all()
    assert values[0, 100:].median() > values[0, :100].median()
    assert torch.allclose(values, scores(method, data, batch_size=50), atol=1e-5)


def test_every_phase_of_steps_lowers_its_loss(variant):
    longer = settings(variant, steps=40, learning_rate=5e-3)
    longer.train.warmup = OptimiserSettings(
        optimiser="adam", learning_rate=5e-3, schedule="constant", steps=40
    )
    step = TrainingStep(build(longer, (5,), (0,)), table(), CPU)
    losses = [float(step(number)["loss"].sum()) for number in range(step.steps)]
    for phase, first, count in step.plan:
        if phase.parameters:
            assert count == 40
            assert np.mean(losses[first + 30 : first + 40]) < np.mean(losses[first : first + 10]), phase.name
        else:
            assert (phase.name, count, losses[first]) == ("fit", 1, 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_trains_on_pictures_and_a_weights_file_is_the_whole_method(variant, tmp_path):
    side, across, channels = shape_of(variant)
    crop = side if variant in LENETS else 16
    data, augmentation = pictures((crop + 4, across - side + crop + 4, channels)), Augmentation(crop, "both")
    shape = (crop, crop, channels)
    method = build(settings(variant), shape, (0,))
    before = {key: value.clone() for key, value in method.state_dict().items()}
    fit(method, data, augmentation=augmentation)
    after = method.state_dict()
    assert any(not torch.equal(before[key], value) for key, value in after.items())
    save_file({name: value.contiguous() for name, value in after.items()}, tmp_path / "weights.safetensors")
    again = build(settings(variant), shape, (0,))
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    values = scores(method, data, augmentation=augmentation)
    assert torch.isfinite(values).all()
    assert torch.equal(values, scores(again, data, augmentation=augmentation))
    _, x, terms = next(score_batches(method, data.items, np.arange(9), CPU, augmentation))
    assert all(terms[name].shape == (9,) for name in ("eq9", "reconstruction", "norm"))
    assert terms.get("x_hat", x).shape == x.shape
    point = x.clone().requires_grad_()
    assert method.score_terms(point)["eq9"].requires_grad == method.has_gradient


def test_the_same_seed_gives_the_same_weights_and_another_other_ones(variant):
    first, again, other = (
        fit(build(settings(variant), (5,), (seed,)), table()).state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    if variant not in {"oc_svm", "ssad"}:  # nothing in these is drawn while there are fewer rows than allowed
        assert any(
            first[key].shape != value.shape or not torch.equal(first[key], value)
            for key, value in other.items()
        )


def stopped_and_continued(step: Callable[[], TrainingStep], stop: int) -> dict[str, torch.Tensor]:
    """The state after a training that stopped before `stop` and went on from what a checkpoint holds."""
    first, second = step(), step()
    for number in range(min(stop, first.steps)):
        first(number)
    second.method.load_state_dict(first.method.state_dict())
    second.restore(stop, first.state())
    for number in range(stop, second.steps):
        second(number)
    return second.method.state_dict()


def test_a_step_depends_on_seed_and_number_alone(variant):
    """Stopping before the last phase or inside it and going on from what a checkpoint holds: the same to the bit."""

    def step() -> TrainingStep:
        return TrainingStep(build(settings(variant), (5,), (3,)), table(), CPU)

    whole = fit(step().method, table()).state_dict()
    for stop in (6, 9):
        state = stopped_and_continued(step, stop)
        assert all(torch.equal(value, state[key]) for key, value in whole.items())


@pytest.mark.parametrize("stop", [3, 6, 9])
def test_pictures_with_a_linear_code_go_on_from_a_checkpoint_to_the_same_bits(stop):
    """In the warm-up, before the last phase, inside it: the code is fitted once and comes with the state."""

    def step() -> TrainingStep:
        return TrainingStep(build(settings("esad, linear"), (20, 20, 1), (3,)), pictures(), CPU)

    whole = fit(step().method, pictures()).state_dict()
    state = stopped_and_continued(step, stop)
    assert all(torch.equal(value, state[key]) for key, value in whole.items())


def test_the_warm_up_leaves_the_linear_code_out():
    data = pictures()
    method = build(settings("esad, linear"), (20, 20, 1), (0,))
    step = TrainingStep(method, data, CPU)
    step(0)  # fits the code
    batch = step.batch(1)
    z = method.encoder1(batch.x)
    error = (method.linear.mean + method.decoder(z) - batch.x).square().flatten(1).mean(1).mean()
    assert method.losses("warmup", batch)["loss"].item() == pytest.approx(error.item(), rel=1e-5)
    assert method.linear.is_fitted
    assert method.linear.gate.weight.grad is None


def test_several_seeds_at_once_equal_one_by_one(variant):
    """In float64: Adam divides by tiny numbers, which magnifies float32's rounding."""

    def trained(seeds: tuple[int, ...], chosen: list[int]) -> torch.Tensor:
        single = table(held=3)
        positions, semi = single.positions[0], single.semi_labels[0]
        keep = [slice(0, 114 - 3 * place) for place in chosen]  # fewer labelled anomalies for the second
        data = TrainingData(
            single.items.double(), [positions[k] for k in keep], [semi[k] for k in keep], single.validation * len(keep)
        )  # fmt: skip
        return scores(fit(build(settings(variant, steps=20), (5,), seeds).double(), data), data)

    together = trained((0, 5), [0, 1])
    assert torch.allclose(together[0], trained((0,), [0])[0], atol=1e-9)
    assert torch.allclose(together[1], trained((5,), [1])[0], atol=1e-9)


def test_constant_columns_and_equal_rows_give_finite_weights_and_scores(variant):
    data = table()
    data.items[:, 1:3] = 7.0
    data.items[:30] = data.items[0]
    method = fit(build(settings(variant), (5,), (0,)), data)
    assert all(torch.isfinite(value).all() for value in method.state_dict().values())
    assert torch.isfinite(scores(method, data)).all()


def test_without_labelled_anomalies_it_trains_or_says_that_it_cannot(variant):
    data = table()
    normal = TrainingData(data.items, [np.arange(100)], [np.zeros(100, np.int8)])
    method = build(settings(variant), (5,), (0,))
    if method.needs_anomalies:
        with pytest.raises(ValueError, match=f"no labelled anomaly.*{variant.partition(',')[0]}"):
            fit(method, normal)
    else:
        assert torch.isfinite(scores(fit(method, normal), data)).all()


def test_the_settings_name_every_method_of_the_table():
    from typing import get_args

    from esad.models.settings import MethodSettings

    assert set(get_args(MethodSettings.model_fields["method"].annotation)) == set(METHODS)


def test_on_pictures_a_training_that_stopped_ends_with_the_same_bits(picture_variant):
    """Inside the first phase, before and inside each later one, and before the last step."""
    whole = fit(picture_step(picture_variant).method, pictures(shape_of(picture_variant))).state_dict()
    plan, last = picture_step(picture_variant).plan, picture_step(picture_variant).steps - 1
    for stop in {2, last, *(first + more for _, first, count in plan[1:] for more in (0, 1) if count > more)}:
        state = stopped_and_continued(lambda: picture_step(picture_variant), stop)
        assert all(torch.equal(value, state[key]) for key, value in whole.items()), stop


def test_on_pictures_another_seed_gives_other_weights_and_batches(picture_variant):
    one, other = (picture_step(picture_variant, seed) for seed in (3, 4))
    assert not torch.equal(one.batch(0).x, other.batch(0).x)
    if not list(one.method.parameters()):  # all of it is made in one step
        one(0), other(0)
    first, second = (step.method.state_dict() for step in (one, other))
    assert any(not torch.equal(first[key], value) for key, value in second.items())


def test_every_player_learns_in_its_turn_and_no_other(only_pictures):
    """What a turn does not own is, to the bit, what it was; BatchNorm's counters of batches aside."""
    step = picture_step(only_pictures)
    for phase, first, _ in step.plan:
        for turn in phase.turns:
            own = {id(each) for each in turn.parameters}
            before = {name: value.detach().clone() for name, value in step.method.named_parameters()}
            alone = PhaseTurns(step.method, replace(phase, turns=(turn,)), 1.0)
            step.method.train()
            alone.step(step.batch(first), partial(step.batch, first), 1.0)
            moved = {
                name: not torch.equal(before[name], value) for name, value in step.method.named_parameters()
            }
            names = {name for name, value in step.method.named_parameters() if id(value) in own}
            assert not any(moved[name] for name in moved if name not in names)
            assert any(moved[name] for name in names), (phase.name, turn.name)


def test_a_picture_has_the_same_score_in_any_batch_and_order(picture_variant):
    data = pictures(shape_of(picture_variant))
    method = fit(picture_step(picture_variant).method, data)
    values, spread = scores(method, data), scores(method, data).std()
    backwards = TrainingData(data.items.flip(0), [], [])
    assert torch.allclose(values, scores(method, data, batch_size=7), atol=1e-3 * float(spread), rtol=1e-4)
    assert torch.allclose(values, scores(method, backwards).flip(0), atol=1e-3 * float(spread), rtol=1e-4)
    assert torch.equal(values, scores(method, data))


def test_constant_pictures_without_a_label_that_is_not_needed_give_finite_weights_and_scores(picture_variant):
    data = pictures(shape_of(picture_variant))
    data.items[:16] = 0
    data.items[16:] = 255
    count = 40 if METHODS[picture_variant.partition(",")[0]].needs_anomalies else 32
    same = TrainingData(data.items, [np.arange(count)], [data.semi_labels[0][:count]])
    method = fit(picture_step(picture_variant, data=same).method, same)
    assert all(torch.isfinite(value).all() for value in method.state_dict().values())
    assert torch.isfinite(scores(method, data)).all()


def test_rows_of_a_table_and_several_processes_are_refused_in_words(only_pictures):
    with pytest.raises(ValueError, match=f"method {only_pictures.partition(',')[0]} is for pictures"):
        build(settings(only_pictures), (5,), (0,))
    method = build(settings(only_pictures), shape_of(only_pictures), (0,))
    with pytest.raises(OneProcessOnly, match="trains in one process"):
        TrainingStep(method, pictures(), CPU, ranks=Ranks(0, 2))


@pytest.mark.parametrize("side", [28, 32, 64])
def test_pictures_of_the_usual_sides_come_back_as_they_are(only_pictures, side):
    method = build(settings(only_pictures), (side, side, 3), (0,)).eval()
    x = method.scaler(torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8))
    terms = method.score_terms(x)
    assert terms["eq9"].shape == (2,)
    assert terms.get("x_hat", x).shape == x.shape


def test_every_method_with_the_shared_encoder_is_tried_with_a_lenet():
    shared = set()
    for variant in VARIANTS:
        method, chosen = METHODS[variant.partition(",")[0]], settings(variant)
        reads = bool({"network", "network.form"} & set(method.settings_read(chosen)))
        assert method.has_shared_encoder(chosen) == reads, variant
        shared |= {variant.partition(",")[0]} if reads else set()
    assert shared == {variant.partition(",")[0] for variant in LENETS}


def test_each_method_has_a_title_of_its_own():
    assert len({method.title for method in METHODS.values()}) == len(METHODS)
