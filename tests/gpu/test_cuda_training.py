"""Training and scoring on a CUDA device against the same on the CPU."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from esad.models.methods.registry import build
from esad.models.settings import MethodSettings
from esad.models.training.augment import Augmentation
from esad.models.training.fit import TrainingData, TrainingStep, score_batches
from esad.pipeline.score import score
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK, make_store

pytestmark = pytest.mark.gpu
STEPS = 5


def small_pictures(side: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (64, side, side, 3), dtype=np.uint8))


def training_step(
    device: torch.device, precision: str = "auto", width: float = 0.125, side: int = 32, batch: int = 16,
    linear: int | None = None, compiled: bool = False,
) -> TrainingStep:  # fmt: skip
    """ESAD on pictures of which a few are labelled anomalies, with plain SGD at a low rate."""
    items = small_pictures(side=side)
    semi = np.zeros(len(items), np.int8)
    semi[-8:] = -1
    train = {
        "steps": STEPS,
        "batch_size": batch,
        "learning_rate": 0.001,
        "schedule": "constant",
        "precision": precision,
        "compile": compiled,
    }
    settings = MethodSettings(
        network={"width": width, "linear": linear}, train={**train, "warmup": {"steps": 0}}
    )
    method = build(settings, tuple(items.shape[1:]))
    return TrainingStep(
        method, TrainingData(items, [np.arange(len(items))], [semi]), device, Augmentation(None, "both")
    )


def losses(step: TrainingStep) -> np.ndarray:
    return np.array([float(step(number)["loss"]) for number in range(step.steps)])


@pytest.fixture
def without_tf32():
    """Convolutions of float32 in float32: TF32, the default on CUDA, keeps ten bits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@pytest.mark.parametrize("linear", [None, 16])
def test_the_same_losses_as_on_the_cpu_in_single_precision(cuda, without_tf32, linear):
    """The same items, augmentation and phi reach both devices: the losses agree but for the order of sums."""
    on_cpu = losses(training_step(torch.device("cpu"), linear=linear))
    assert losses(training_step(cuda, "float32", linear=linear)) == pytest.approx(on_cpu, rel=1e-3)


@pytest.mark.parametrize(("precision", "kind"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_mixed_precision_is_on_and_stays_near_single_precision(cuda, precision, kind):
    step = training_step(cuda, precision)
    kinds = set()

    def note(_module, _inputs, output):
        kinds.add(output.dtype)

    for module in step.method.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(note)
    mixed = losses(step)
    assert kinds == {kind}
    assert {parameter.dtype for parameter in step.method.parameters()} == {torch.float32}
    assert mixed == pytest.approx(losses(training_step(torch.device("cpu"))), rel=0.1)


def test_channels_last_is_kept_from_the_batch_to_the_weights(cuda):
    """Convolutions of 1x1 maps or one channel count as either, and are left out."""
    step = training_step(cuda)
    assert step.batch(0).x.is_contiguous(memory_format=torch.channels_last)
    kept = []

    def note(_module, _inputs, output):
        if output.shape[1] > 1 and output.shape[2] > 1:
            kept.append(output.is_contiguous(memory_format=torch.channels_last))

    for module in step.method.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(note)
            assert module.weight.is_contiguous(memory_format=torch.channels_last)
    step(0)
    assert kept
    assert all(kept)


def test_memory_stays_flat_and_the_papers_batch_is_small(cuda):
    """Table 6 at full width, 32 pictures of 64 pixels: later steps take no more than the second, and under 8 GiB."""
    step = training_step(cuda, width=1.0, side=64, batch=32)
    peaks = []
    for number in range(STEPS):
        step(number)
        torch.cuda.synchronize()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[-1] <= 1.01 * peaks[1]
    assert peaks[-1] < 8 * 2**30


def test_scores_are_those_of_the_cpu(cuda, without_tf32):
    step = training_step(cuda, "float32")
    losses(step)
    items, positions = small_pictures(), np.arange(64)
    found = {}
    for device in (cuda, torch.device("cpu")):
        method = step.method.to(device)
        batches = list(score_batches(method, items, positions, device))
        found[device.type] = torch.cat([terms["eq9"].float().cpu() for _, _, terms in batches])
    assert torch.allclose(found["cuda"], found["cpu"], rtol=1e-3)


def test_compiled_steps_have_the_losses_of_plain_ones(cuda, without_tf32):
    """CUDA graphs, over steps with and without labelled anomalies, and scores in between."""
    plain, graphs = (
        training_step(cuda, "float32", linear=16, compiled=compiled) for compiled in (False, True)
    )
    assert graphs.graphs
    assert not plain.graphs
    found: list[list[float]] = [[], []]
    for number in range(STEPS):
        for step, values in zip((plain, graphs), found, strict=True):
            values.append(float(step(number)["loss"]))
            list(score_batches(step.method, small_pictures(), np.arange(8), cuda))
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.parametrize("stop", [2, 9])
def test_a_stopped_run_goes_on_where_it_was_to_the_same_scores(cuda, tmp_path, monkeypatch, stop):
    """Stopped in either phase. Sums in any order leave no equal bits on CUDA, so scores are compared by correlation."""
    make_store(tmp_path, "images", "store")
    settings = {**QUICK, "device": "cuda", "checkpoint_seconds": 0, "train.steps": 8, "train.warmup.steps": 4}
    train(tmp_path / "store", tmp_path / "whole", None, [settings])
    original, steps = TrainingStep.__call__, []

    def stops(self, number):
        if number == stop:
            raise KeyboardInterrupt
        return original(self, number)

    def counts(self, number):
        steps.append(number)
        return original(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", stops)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "store", tmp_path / "stopped", None, [settings])
    monkeypatch.setattr(TrainingStep, "__call__", counts)
    train(tmp_path / "store", tmp_path / "stopped", None, [settings])
    assert steps == list(range(stop, 12))
    scores = [
        pd.read_parquet(score(tmp_path / run, overlays="none").out / "scores.parquet")["score"]
        for run in ("whole", "stopped")
    ]
    assert np.corrcoef(*scores)[0, 1] > 0.99
