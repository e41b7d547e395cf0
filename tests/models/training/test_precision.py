"""What the networks compute in and how they lie in memory: channels last, 16 bits on CUDA alone, torch.compile."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from esad.models.methods.registry import build
from esad.models.networks import at_least_float32
from esad.models.training.augment import Augmentation
from esad.models.training.fit import TrainingData, TrainingStep, mixed_precision, score_batches
from tests.models.small_data import settings, table

CPU = torch.device("cpu")


def picture_step(**changes) -> TrainingStep:
    numbers = np.random.default_rng(0)
    pictures = torch.from_numpy(numbers.integers(0, 255, (24, 36, 36, 3), dtype=np.uint8))
    semi = np.repeat(np.array([0, -1], np.int8), [18, 6])
    method = build(settings("esad", **changes), (32, 32, 3), (0,))
    data = TrainingData(pictures, [np.arange(24)], [semi])
    return TrainingStep(method, data, CPU, Augmentation(32, "both"))


def is_channels_last(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last)


def convolutions(method) -> list[torch.Tensor]:
    return [value for name, value in method.named_parameters() if value.dim() == 4]


def test_weights_and_activations_are_channels_last_in_training_after_loading_and_in_scoring(tmp_path):
    step = picture_step()
    seen = []
    for network in (step.method.encoder1, step.method.decoder, step.method.encoder2):
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda _, given, out: seen.extend([given[0], out]))
    assert is_channels_last(step.batch(0).x)
    step(6)  # after the warm-up, which has no second encoder
    assert len(seen) == 2 * (10 + 9 + 10)
    assert all(is_channels_last(tensor) for tensor in seen)
    save_file({name: value.contiguous() for name, value in step.method.state_dict().items()}, tmp_path / "m")
    loaded = build(step.method.settings, (32, 32, 3), (0,))
    loaded.load_state_dict(load_file(tmp_path / "m"))
    assert all(is_channels_last(weight) for weight in convolutions(loaded))
    seen.clear()
    list(score_batches(step.method, step.data.items, np.arange(24), CPU, step.augmentation, 8))
    assert seen
    assert all(is_channels_last(tensor) for tensor in seen)


def test_the_scale_of_fp16_gradients_goes_on_between_phases():
    """The scaler of a CPU stands in for that of CUDA."""
    one, two = picture_step(), picture_step()
    for step in (one, two):
        step.gradient_scaler = torch.amp.GradScaler("cpu", init_scale=4.0 if step is one else 65536.0)
    boundary = one.plan[1][1]
    for number in range(boundary):
        one(number)
    assert one.gradient_scaler.get_scale() == 4.0
    two.restore(boundary, one.state())
    assert two.gradient_scaler.get_scale() == 4.0


def test_crops_and_mirrors_of_a_batch_are_those_of_each_item():
    numbers = torch.Generator().manual_seed(0)
    x = torch.randint(0, 255, (9, 20, 24, 3), generator=numbers, dtype=torch.uint8)
    out = Augmentation(16, "none").train(x, (3, 5))
    assert out.shape == (9, 16, 16, 3)
    for item, picture in zip(out, x, strict=True):
        windows = picture.unfold(0, 16, 1).unfold(1, 16, 1).permute(0, 1, 3, 4, 2).reshape(-1, 16, 16, 3)
        assert (windows == item).flatten(1).all(1).any()
    assert not torch.equal(out, Augmentation(16, "none").train(x, (3, 6)))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_sixteen_bits_are_for_cuda_only(precision):
    with pytest.raises(ValueError, match=f"{precision} is for CUDA devices, not cpu"):
        picture_step(precision=precision)
    assert mixed_precision(precision, True, torch.device("cuda")) in {torch.bfloat16, torch.float16}
    assert mixed_precision(precision, False, torch.device("cuda")) is None  # tables


def test_what_is_not_asked_for_in_sixteen_bits_is_float32():
    for precision in ("auto", "float32"):
        assert mixed_precision(precision, True, CPU) is None
    assert mixed_precision("float32", True, torch.device("cuda")) is None
    assert at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype is torch.float32
    double = torch.zeros(1, dtype=torch.float64)
    assert at_least_float32(double) is double


@pytest.mark.slow
def test_compiled_networks_give_the_same_losses():
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler: torch.compile cannot work here")
    compiled, plain = (
        TrainingStep(build(settings("cae", compile=compiled), (5,), (0,)), table(), CPU)
        for compiled in (True, False)
    )
    assert plain.method.state_dict().keys() == compiled.method.state_dict().keys()
    for number in range(8):
        ours, theirs = compiled(number), plain(number)
        assert ours["loss"].tolist() == pytest.approx(theirs["loss"].tolist(), rel=1e-4)
