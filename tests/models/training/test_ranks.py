"""Several processes that train on one batch: the losses and weights of one process, and refusals."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import distributed

from esad.models.methods.registry import build
from esad.models.settings import OptimiserSettings
from esad.models.training.augment import Augmentation
from esad.models.training.batch import SumOverProcesses
from esad.models.training.fit import TrainingData, TrainingStep
from esad.models.training.ranks import (
    GlobalBatchNorm1d,
    GlobalBatchNorm2d,
    OneProcessOnly,
    Ranks,
    with_global_statistics,
)
from tests import ROOT
from tests.forks import in_ranks
from tests.models.small_data import LENETS, OF_TABLES, pictures, settings, table

CASES = {
    "balanced, odd sizes, crops, labelled normals": ("esad", {"batch_size": 7, "labelled_per_batch": 4}),
    "joint, batches with and without anomalies": ("esad", {"batch_size": 9, "batches": "joint"}),
    "a linear code": ("esad, linear", {"batch_size": 7, "labelled_per_batch": 4}),
    "cae": ("cae", {"batch_size": 5, "batches": "joint"}),
    "deep_sad": ("deep_sad", {"batch_size": 7, "batches": "joint"}),
    "deep_svdd, soft": ("deep_svdd, soft", {"batch_size": 7}),
    "supervised": ("supervised", {"batch_size": 7, "labelled_per_batch": 3}),
    "a LeNet with a hidden layer": (
        "esad, lenet-fashion-mnist",
        {"batch_size": 7, "labelled_per_batch": 4},
    ),
}
GENTLE = {"optimiser": "sgd", "learning_rate": 1e-3}
"""Rounding grows by Adam's division by gradients that are 0, and by steps that explode: weights moved by 1e-15 in one
process move the losses of these by 1e-9."""
ALONE = [name for name in OF_TABLES if name.split(",")[0] in {"ss_dgm", "oc_svm", "isolation_forest", "ssad"}]
"""Those of pictures alone are in test_all_methods.py."""
BOTH = [*CASES][:2]
"""Those that are also tried where one process has all the labelled items."""


class Lopsided(Ranks):
    """The first process has all labelled items and most others."""

    def places(self, semi_label):
        first = (semi_label != 0) | (np.arange(len(semi_label)) % 3 > 0)
        return np.flatnonzero(first if self.first else ~first)


def trained(case: str, ranks: Ranks | None, device: str = "cpu") -> dict[str, torch.Tensor]:
    """In float64: every term of four steps (one of them warm-up), then the whole state."""
    variant, train = CASES[case]
    chosen = settings(variant, **{**train, "steps": 3, **GENTLE})
    chosen.loss.eps = 0.01
    chosen.train.warmup = OptimiserSettings(**GENTLE, steps=1)
    lenet = variant in LENETS
    data = pictures((30, 30, 1)) if lenet else pictures()
    semi = data.semi_labels[0].copy()
    semi[[3, 30]] = 1
    crop = 28 if lenet else 18
    method = build(chosen, (crop, crop, 1)).double()
    method.scaler.register_forward_hook(lambda module, inputs, x: x.double())
    augmentation = Augmentation(crop, "both")
    step = TrainingStep(
        method,
        TrainingData(data.items, data.positions, [semi]),
        torch.device(device),
        augmentation,
        1.0,
        ranks,
    )
    values = {}
    for number in range(step.steps):
        values |= {f"{number} {name}": value.cpu() for name, value in step(number).items()}
    return values | {name: value.cpu() for name, value in method.state_dict().items()}


def assert_two_processes_train_as_one(folder, kinds, device="cpu"):
    def work(rank):
        distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
        for case in CASES:
            for kind in kinds if case in BOTH else kinds[:1]:
                torch.save(trained(case, kind(rank, 2), device), folder / f"{case} {kind.__name__} {rank}.pt")
        distributed.destroy_process_group()

    assert in_ranks(work) == [0, 0]
    for case in CASES:
        alone = trained(case, None, device)
        for kind in kinds if case in BOTH else kinds[:1]:
            for rank in (0, 1):
                together = torch.load(folder / f"{case} {kind.__name__} {rank}.pt", weights_only=True)
                assert together.keys() == alone.keys()
                for name, value in alone.items():
                    torch.testing.assert_close(
                        together[name], value, rtol=1e-6, atol=1e-6, equal_nan=True, msg=f"{case}, {name}"
                    )


def test_two_processes_have_the_losses_and_the_weights_of_one(tmp_path):
    assert_two_processes_train_as_one(tmp_path, (Ranks, Lopsided))


@pytest.mark.gpu
def test_two_processes_have_the_losses_of_one_on_a_gpu(tmp_path):
    """With torch's SyncBatchNorm; gloo, since nccl wants a GPU for each process. Started anew: CUDA does not survive a fork."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    program = (
        "import sys, pathlib; from tests.models.training.test_ranks import Ranks, assert_two_processes_train_as_one as check; "
        "check(pathlib.Path(sys.argv[1]), (Ranks,), 'cuda')"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=ROOT)


def test_every_item_is_one_processs_and_labelled_ones_are_dealt_out():
    numbers = np.random.default_rng(0)
    for count in (1, 2, 3, 5):
        semi = numbers.choice([-1, 0, 0, 0, 1], 23)
        parts = [Ranks(rank, count).places(semi) for rank in range(count)]
        assert sorted(np.concatenate(parts)) == list(range(23))
        sizes = [len(part) for part in parts]
        labelled = [int((semi[part] != 0).sum()) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert max(labelled) - min(labelled) <= 1


@pytest.mark.parametrize(
    ("kind", "theirs", "shape"),
    [
        (GlobalBatchNorm2d, torch.nn.BatchNorm2d, (5, 3, 4, 4)),
        (GlobalBatchNorm1d, torch.nn.BatchNorm1d, (5, 3)),
    ],
)
def test_batch_norm_over_one_process_is_torchs_with_gradients(tmp_path, kind, theirs, shape):
    ours, torchs = kind(3).double(), theirs(3).double()
    numbers = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, dtype=torch.float64, generator=numbers) + 7
    weights = torch.randn(x.shape, dtype=torch.float64, generator=numbers)
    outcomes = []
    distributed.init_process_group("gloo", f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        for norm in (ours, torchs):
            entry = x.clone().requires_grad_()
            out = norm(entry)
            (out * weights).sum().backward()
            outcomes.append(
                [out, entry.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
            )
    finally:
        distributed.destroy_process_group()
    for a, b in zip(*outcomes, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))


def test_the_gradient_of_a_sum_over_processes_is_that_of_all_their_losses(tmp_path):
    def work(rank):
        distributed.init_process_group("gloo", f"file://{tmp_path}/meeting", rank=rank, world_size=2)
        x = torch.tensor([2.0 + rank], requires_grad=True)
        total = SumOverProcesses.apply(x)
        total.square().backward()
        assert total.item() == 5
        assert x.grad is not None
        assert x.grad.item() == 2 * (2 * 5)

    assert in_ranks(work) == [0, 0]


def test_statistics_over_all_processes_leave_the_state_as_it_is():
    method = build(settings("esad"), (16, 16, 1))
    before, parameters = dict(method.state_dict()), [*method.parameters()]
    with_global_statistics(method, torch.device("cpu"))
    assert dict(method.state_dict()).keys() == before.keys()
    assert all(a is b for a, b in zip(method.parameters(), parameters, strict=True))
    kinds = {type(module) for module in method.modules() if isinstance(module, torch.nn.BatchNorm2d)}
    assert kinds == {GlobalBatchNorm2d}


@pytest.mark.parametrize("variant", ALONE)
def test_methods_that_several_processes_cannot_train_say_so(variant):
    with pytest.raises(OneProcessOnly, match="trains in one process"):
        TrainingStep(
            build(settings(variant), (20, 20, 1)), pictures(), torch.device("cpu"), ranks=Ranks(0, 2)
        )


def test_tables_and_batches_smaller_than_the_processes_are_refused():
    with pytest.raises(OneProcessOnly, match="table"):
        TrainingStep(build(settings("esad"), (5,)), table(), torch.device("cpu"), ranks=Ranks(0, 2))
    small = build(settings("esad", batch_size=3), (20, 20, 1))
    with pytest.raises(OneProcessOnly, match=r"train\.batch_size = 3 for 4"):
        TrainingStep(small, pictures(), torch.device("cpu"), ranks=Ranks(0, 4))
