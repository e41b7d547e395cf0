"""What is each adversarial method's own: its score on planted anomalies, its penalty, search, mining, weighing, distilling."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from esad.models.methods.adversarial.adgan import Generator
from esad.models.methods.adversarial.dcgan import DcDecoder, DcEncoder, Frame, judged
from esad.models.methods.adversarial.piad import ScaledGradient
from esad.models.methods.adversarial.players import gradient_penalty, part_of, start_codes
from esad.models.methods.registry import build
from esad.models.settings import TrainSettings
from esad.models.training.fit import TrainingData, TrainingStep, fit
from tests.models.small_data import pictures, scores, settings

CPU, SHAPE = torch.device("cpu"), (16, 16, 1)
PLAYERS = ["ganomaly", "anogan", "anogan, encoder", "adgan", "ocgan", "p_kdgan", "piad", "piad, l1", "daol"]
"""All but ALOCC, whose verdict is a matter of luck after so few steps, as published."""


def spots(count: int, anomalies: int) -> TrainingData:
    """Soft spots of 16 pixels, all but the last `anomalies` of `count`; those have a bright square as well."""
    numbers = np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16]
    centre, size = numbers.uniform(5, 10, (2, count, 1, 1)), numbers.uniform(2, 3, (count, 1, 1))
    distance = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2
    found = np.exp(-distance / (2 * size**2)) * 150 + 30
    for number in range(count - anomalies, count):
        top, left = numbers.integers(0, 11, 2)
        found[number, top : top + 5, left : left + 5] = 250
    items = torch.from_numpy(found.astype(np.uint8))[..., None]
    trained = np.arange(count - 2 * anomalies)
    return TrainingData(items, [trained], [np.zeros(len(trained), np.int8)])


def trained(variant: str, data: TrainingData, steps: int = 60):
    chosen = settings(variant, steps=steps, beta1=0.5, learning_rate=2e-3)
    chosen.anogan.search_steps, chosen.anogan.search_rate = 60, 0.05
    chosen.anogan.encoder_steps, chosen.anogan.encoder_rate = 40, 1e-3
    return fit(build(chosen, SHAPE, (0,)), data)


@pytest.mark.parametrize("variant", PLAYERS)
def test_bright_squares_stand_out(variant):
    data = spots(260, 30)
    found = scores(trained(variant, data, 150 if variant == "ganomaly" else 60), data)[200:]
    assert roc_auc_score(np.repeat([0, 1], 30), found) > 0.8


def test_aloccs_reconstructor_learns_to_take_noise_away_and_its_score_is_the_verdict_on_what_it_made():
    data = spots(60, 5)
    method = trained("alocc", data)
    x = method.scaler(data.items[:50])
    square = method.frame.squares(x)
    noisy = square + 0.155 * torch.randn(square.shape, generator=torch.Generator().manual_seed(0))
    before = build(settings("alocc"), SHAPE, (0,)).eval()
    with torch.no_grad():
        errors = [(each.reconstructor(noisy) - square).square().mean() for each in (method, before)]
        verdict = method.discriminator(method.reconstructor(square))
        assert torch.equal(method.score_terms(x)["eq9"], -verdict)
    assert errors[0] < 0.5 * errors[1]


def test_the_gradient_penalty_of_a_linear_critic_is_known():
    """Its gradient is its weight everywhere: (|w| - 1)^2; that of a constant critic is 1, and has a gradient."""
    weight = torch.tensor([3.0, 0.0, 4.0], requires_grad=True)
    real, made = torch.randn(2, 5, 3)
    numbers = torch.Generator().manual_seed(0)
    penalty = gradient_penalty(lambda x: x @ weight, real, made, numbers)
    assert penalty.item() == pytest.approx(16.0, rel=1e-5)
    penalty.backward()
    assert weight.grad.tolist() == pytest.approx([4.8, 0.0, 6.4], rel=1e-5)  # 2 (|w| - 1) w / |w|
    flat = gradient_penalty(lambda x: (x * 0).sum(1), real, made, numbers)
    assert flat.item() == pytest.approx(1.0, abs=1e-5)


def test_a_searchs_start_follows_from_seed_item_and_number_alone():
    x = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8) / 255
    codes = start_codes(x, 3, 6)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(codes[order], start_codes(x[order], 3, 6))
    laid_otherwise = x.contiguous(memory_format=torch.channels_last).expand(-1, 3, -1, -1)[:, :1]
    assert torch.equal(codes, start_codes(laid_otherwise, 3, 6))
    assert not torch.equal(codes, start_codes(x, 4, 6))
    assert not torch.equal(codes, start_codes(x, 3, 6, number=1))
    assert len(codes.unique(dim=0)) == 4


@pytest.mark.parametrize("variant", ["anogan", "adgan", "adgan, codes"])
def test_a_search_leaves_the_method_as_it_is_and_comes_nearer_than_its_start(variant):
    data = spots(60, 5)
    method = trained(variant, data, 10)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.settings.anogan.search_rate = method.settings.adgan.code_rate = 0.05
    method.settings.adgan.search_steps = 10
    near = scores(method, data)
    method.settings.anogan.search_steps = method.settings.adgan.search_steps = 1
    far = scores(method, data)
    assert near.mean() < far.mean()
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_adgan_fits_a_copy_of_the_generator_to_each_item():
    """Nearer than by codes alone, since the copy has a rate of its own."""
    data = spots(60, 5)
    method = trained("adgan", data, 10)
    own = method.settings.adgan
    own.generator_rate, own.code_rate, own.search_steps, own.starts = 1e-2, 0.01, 5, 1
    with_copies = scores(method, data)
    own.adapt_generator = False
    assert bool((with_copies < scores(method, data)).all())


def test_ocgans_mined_codes_look_more_made_up_to_the_classifier_and_stay_codes():
    method = trained("ocgan", spots(60, 5), 20)
    free = 2 * torch.rand(64, 6, 1, 1, generator=torch.Generator().manual_seed(0)) - 1
    kept = torch.ones(64, method.decoder.width, 5, 5)
    mined = method.mined(free, kept)
    made_up = [judged(method.classifier(method.decoder(each, kept)), False) for each in (free, mined)]
    assert made_up[1] < made_up[0]
    assert mined.abs().max() < 1
    assert method.latents(torch.rand(3, 1, 16, 16))["z"].abs().max() < 1


def test_ocgan_mines_in_its_last_quarter_and_not_at_all_without_a_share():
    chosen = settings("ocgan", steps=12)
    plan = TrainingStep(build(chosen, (20, 20, 1), (0,)), pictures(), CPU).plan
    assert [(phase.name, first, steps) for phase, first, steps in plan] == [("train", 0, 9), ("mining", 9, 3)]
    chosen.ocgan.mining = 0
    plan = TrainingStep(build(chosen, (20, 20, 1), (0,)), pictures(), CPU).plan
    assert [phase.name for phase, *_ in plan] == ["train"]


def test_a_part_of_a_phase_is_a_share_of_what_states_its_length():
    assert part_of(TrainSettings(epochs=9, learning_rate=0.1), 1 / 3, 0.1).epochs == pytest.approx(3)
    shorter = part_of(TrainSettings(epochs=9, steps=30, learning_rate=0.1), 1 / 3, 0.1)
    assert (shorter.steps, shorter.learning_rate) == (10, pytest.approx(0.01))


def test_a_scaled_gradient_weighs_one_loss_differently_before_and_behind():
    before, behind = (torch.tensor([2.0], requires_grad=True) for _ in range(2))
    out = ScaledGradient.apply(before * 3, torch.tensor(0.25)) * behind
    assert out.item() == 12
    out.backward()
    assert (before.grad.item(), behind.grad.item()) == (3 * 2 * 0.25, 6)


def test_piads_weights_make_both_aims_pull_alike_in_each_network():
    """The median over a network's tensors of |gradient of the aim| / |weight * gradient of the error| is 1."""
    method = build(settings("piad"), SHAPE, (0,))
    x = method.frame.squares(torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    drawn = torch.randn(8, 6, 1, 1, generator=torch.Generator().manual_seed(1))
    method._weigh(x, drawn)
    of_encoder, of_decoder = method.weights
    adversarial, error = method._aims(x, drawn, of_encoder / of_decoder)
    for network in (method.encoder, method.decoder):
        tensors = [*network.parameters()]
        norms = [
            torch.stack([each.norm() for each in torch.autograd.grad(aim, tensors, retain_graph=True)])
            for aim in (adversarial, of_decoder * error)
        ]
        assert (norms[0] / norms[1]).median().item() == pytest.approx(1.0, rel=1e-3)
    first = method.weights.clone()
    method._weigh(x * 0.5, drawn)  # a later measurement counts a twentieth
    later = method.weights.clone()
    method.settings.piad.smoothing = 1.0
    method._weigh(x * 0.5, drawn)
    assert torch.allclose(later, 0.95 * first + 0.05 * method.weights, rtol=1e-5)
    assert not torch.allclose(later, first, rtol=1e-3)


@pytest.mark.parametrize(
    ("variant", "phase", "frozen"),
    [("anogan, encoder", "encoder", ("generator", "discriminator")), ("p_kdgan", "distil", ("teacher",))],
)
def test_what_an_earlier_phase_trained_stays_to_the_bit_with_its_statistics(variant, phase, frozen):
    step = TrainingStep(build(settings(variant, steps=4), (20, 20, 1), (0,)), pictures(), CPU)
    first = next(first for each, first, _ in step.plan if each.name == phase)
    for number in range(first):
        step(number)
    kept = {
        name: value.clone() for name, value in step.method.state_dict().items() if name.startswith(frozen)
    }
    step(first)
    step(first + 1)
    after = step.method.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in kept.items())
    assert any(name.endswith("running_mean") for name in kept)


def test_the_student_comes_nearer_to_its_teacher_than_without_it():
    def distance(weight: float) -> float:
        chosen = settings("p_kdgan", steps=40, learning_rate=2e-3)
        chosen.p_kdgan.distillation = weight
        method = fit(build(chosen, SHAPE, (0,)), spots(60, 5))
        with torch.no_grad():
            x = method.frame.squares(method.scaler(spots(60, 5).items[:50]))
            return float((method.teacher(x)[0] - method.student(x)[0]).square().mean())

    assert distance(10.0) < distance(0.0)


@pytest.mark.parametrize("side", [16, 28, 32, 61, 64])
def test_dcgans_networks_and_their_frame_fit_every_side(side):
    frame = Frame(side, side)
    x = torch.rand(2, 3, side, side)
    assert torch.allclose(frame.pictures(frame.squares(x)), x, atol=1e-6)
    code = DcEncoder(3, frame.side, 4, 7)(frame.squares(x))
    assert code.shape == (2, 7, 1, 1)
    assert DcDecoder(3, frame.side, 4, 7)(code).shape == (2, 3, frame.side, frame.side)
    assert Generator(3, frame.side, 4, 7)(code.flatten(1)).shape == (2, 3, frame.side, frame.side)


def test_dcgans_begin_small_and_without_biases():
    convolutions = [each for each in DcEncoder(1, 64, 16, 50).modules() if isinstance(each, nn.Conv2d)]
    assert all(each.bias is None for each in convolutions)
    assert torch.cat([each.weight.flatten() for each in convolutions]).std().item() == pytest.approx(
        0.02, rel=0.02
    )


@pytest.mark.parametrize("variant", ["ganomaly", "adgan"])
def test_players_are_not_compiled_since_a_penalty_differentiates_twice(variant, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, *_, **__: compiled.append(self))
    states = [
        fit(build(settings(variant, steps=2, compile=wanted), (20, 20, 1), (0,)), pictures()).state_dict()
        for wanted in (False, True)
    ]
    assert not compiled
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("variant", ["adgan", "adgan, codes", "anogan"])
def test_searches_of_several_threads_at_once_are_those_of_one(variant):
    """As scoring does: what one thread's search puts into the generator no other may see."""
    data = pictures()
    method = fit(build(settings(variant, steps=3), (20, 20, 1), (0,)), data)
    batches = [method.scaler(data.items[start : start + 2]) for start in range(0, 12, 2)]
    alone = [method.score_terms(x)["eq9"] for x in batches]
    with ThreadPoolExecutor(4) as pool:
        together = [*pool.map(lambda x: method.score_terms(x)["eq9"], batches)]
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(alone, together, strict=True))
