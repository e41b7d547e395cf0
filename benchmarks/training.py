"""Training and scoring beside the machine's own rate, a bare PyTorch loop and the bare forward pass, in one run.

    python benchmarks/training.py [--quick] [--device auto] [--json FILE]

step_vs_sgemm       FLOP/s of an ESAD step (64x64, batch 32, the whole network of Table 6, SGD) over those of a product
                    of float32 matrices of 2048, the better of two layouts; on CUDA, where steps are in mixed precision,
                    over the product in the same 16 bits
trainer_overhead    a training by the trainer (`esad.pipeline.training.engine`: TensorBoard, history, watch, model built and logs opened)
                    over the same steps in a bare PyTorch loop over tensors in memory, minus 1
data_waiting        share of the step on Table 6's network that getting its batch takes: gather, scale, mirror
scoring_vs_forward  items a second of `esad score` (overlays none: open, read, score, write tables) over the bare forward
                    pass of the same method on tensors in memory

The trainer is measured at an eighth of the network's width (preset `cpu`, the worst case for overhead), so that there are
steps enough to compare; a training is 100 steps, the least after which the trainer reports. Scoring is measured at the
width that is used without a preset, a quarter.
The bare loop draws a random order, gathers, converts and does what the network needs, with the same loss and optimiser.
FLOPs are counted by torch (`torch.utils.flop_counter`): products and convolutions, forward and backward. What is compared
alternates; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from esad.models.methods.esad import EsadMethod
from esad.models.methods.registry import build
from esad.models.training.augment import Augmentation
from esad.models.training.batch import Batch
from esad.models.training.fit import TrainingData, TrainingStep
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.runs.run_folder import open_run, resolve_device
from esad.pipeline.score import score
from esad.pipeline.settings.config import ImageSettings, RunSettings, resolve
from esad.pipeline.train import train
from esad.pipeline.training.engine import run_engine

SIDE, BATCH, SGEMM, STEPS = 64, 32, 2048, 100
FULL = {
    "train.epochs": 200, "train.warmup.epochs": 0, "network.channels": 3, "data.flip": "both",
    "train.learning_rate": 1e-3, "loss.eps": 0.01,
}  # fmt: skip
"""The paper's step (docs/explanation/decisions.md#training) with the flips of its tiles; its rate of 0.1
explodes on noise, and a step takes as long at any rate."""
SMALL = {**FULL, "network.width": 0.125, "train.epochs": None, "train.steps": STEPS}
TARGETS = {
    "step_vs_sgemm": ">= 0.70",
    "trainer_overhead": "<= 0.03",
    "data_waiting": "<= 0.02",
    "scoring_vs_forward": ">= 0.9",
}


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(task: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of `task`."""
    wait(device)
    began = perf_counter()
    task()
    wait(device)
    return perf_counter() - began


def pictures(items: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (items, 64, 64, 3) of smooth noise, and semi-labels: a twentieth are labelled anomalies."""
    numbers = np.random.default_rng(0)
    small = numbers.integers(0, 255, (items, SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
    return small.repeat(8, 1).repeat(8, 2), np.where(np.arange(items) % 20 == 19, -1, 0).astype(np.int8)


def training_step(settings: RunSettings, x: Tensor, semi: np.ndarray, device: torch.device) -> TrainingStep:
    """The step that the trainer drives, over `x` where it would lie: on the device."""
    method = build(settings, tuple(x.shape[1:]), (0,))
    data = TrainingData(x.to(device), [np.arange(len(x))], [semi])
    return TrainingStep(method, data, device, Augmentation(None, settings.data.flip))


def bare_loop(settings: RunSettings, x: Tensor, semi: np.ndarray, device: torch.device) -> Callable[[], None]:
    """STEPS steps as a person would write them: random orders, gather, mirror, the three losses, a fused optimiser."""
    method = build(settings, tuple(x.shape[1:]), (0,)).to(device).train()
    assert isinstance(method, EsadMethod)
    x, labels = x.to(device), torch.from_numpy(semi)
    mixed = torch.bfloat16 if device.type == "cuda" else None
    optimiser = torch.optim.SGD(method.parameters(), lr=settings.train.learning_rate, fused=True)

    def steps() -> None:
        order = torch.cat([torch.randperm(len(x)) for _ in range(-(-STEPS * BATCH // len(x)))])
        for step, chosen in enumerate(order[: STEPS * BATCH].split(BATCH)):
            batch = x[chosen.to(device)].permute(0, 3, 1, 2).float().div_(255)
            for axis in (2, 3):
                mirrored = (torch.rand(BATCH, 1, 1, 1) < 0.5).to(device)
                batch = torch.where(mirrored, batch.flip(axis), batch)
            group = labels[chosen]
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, mixed, enabled=mixed is not None):
                terms = method.losses(
                    "train", Batch(batch, group.to(device), [(0, step)], 0.0, bool((group < 0).any()))
                )
            terms["loss"].backward()
            optimiser.step()

    return steps


def trainer(
    settings: RunSettings, x: Tensor, semi: np.ndarray, device: torch.device, folder: Path
) -> Callable[[], None]:
    """The same steps by the trainer, from opening its logs to closing them."""
    turn = count()

    def training() -> None:
        out = folder / f"run-{next(turn)}"
        (out / "checkpoints").mkdir(parents=True)
        with redirect_stderr(StringIO()):
            run_engine(training_step(settings, x, semi, device), settings, out, out / "checkpoints")

    return training


def sgemm_rate(device: torch.device) -> float:
    """FLOP/s of the better of two layouts of a square product, in the step's type of number."""
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.rand(SGEMM, SGEMM, device=device, dtype=kind) for _ in range(2))
    times = [
        seconds(lambda left=left, right=right: left @ right, device) for left, right in ((a, b), (a, b.T))
    ]
    return 2 * SGEMM**3 / min(times)


def step_and_sgemm(rounds: int, device: torch.device) -> dict[str, float]:
    """`step_vs_sgemm` and `data_waiting`, on the whole network."""
    settings = resolve(RunSettings, FULL)
    x, semi = pictures(BATCH * 8)
    step = training_step(settings, torch.from_numpy(x), semi, device)
    with FlopCounterMode(display=False) as counter:
        step(0)
    flops = counter.get_total_flops()
    shares, waits, rates = [], [], []
    for number in range(1, rounds + 1):
        rates.append(sgemm_rate(device))
        whole = seconds(lambda number=number: step(number), device)
        waits.append(seconds(lambda number=number: step.batch(number), device) / whole)
        rates.append(sgemm_rate(device))
        shares.append(flops / whole / (sum(rates[-2:]) / 2))
    print(f"step: {flops / 1e9:.0f} GFLOP; product of matrices: {median(rates) / 1e9:.0f} GFLOP/s")
    return {"step_vs_sgemm": median(shares), "data_waiting": median(waits)}


def overhead(rounds: int, items: int, device: torch.device, folder: Path) -> dict[str, float]:
    """`trainer_overhead`, on a narrow network."""
    settings = resolve(RunSettings, SMALL)
    x, semi = pictures(items)
    data = torch.from_numpy(x)
    bare = bare_loop(settings, data, semi, device)
    ours = trainer(settings, data, semi, device, folder)
    short = settings.model_copy(deep=True)
    short.train.steps = 3
    trainer(short, data, semi, device, folder / "short")()  # imports, and what torch loads at the first call
    ratios = []
    for turn in range(rounds):
        pair = [seconds(task, device) for task in ((bare, ours) if turn % 2 else (ours, bare))]
        ours_s, bare_s = pair[::-1] if turn % 2 else pair
        print(f"{STEPS} steps: bare loop {bare_s:.2f} s, trainer {ours_s:.2f} s", flush=True)
        ratios.append(ours_s / bare_s)
    return {"trainer_overhead": median(ratios) - 1}


def scoring(rounds: int, items: int, device: torch.device, folder: Path) -> dict[str, float]:
    """`scoring_vs_forward`, on the default network."""
    x, _ = pictures(items)
    np.savez(folder / "pictures.npz", x=x, y=(np.arange(items) % 20 == 19).astype(int))
    with redirect_stderr(StringIO()):
        images([folder / "pictures.npz"], ImageSettings(), IngestOptions(folder / "store"))
        short = [
            SMALL,
            {"network.width": 0.25, "train.epochs": None, "train.steps": 4, "device": str(device)},
        ]
        train(folder / "store", folder / "run", None, short)
    method = open_run(folder / "run").method(device)
    data = torch.from_numpy(x).to(device)

    @torch.inference_mode()
    def forward() -> None:
        for batch in data.split(64):
            method.score_terms(method.scaler(batch))

    def stage() -> None:
        with redirect_stderr(StringIO()):
            score(folder / "run", None, folder / "scores", "none", str(device), force=True)

    ratios = []
    for turn in range(rounds + 1):
        pair = [seconds(task, device) for task in ((forward, stage) if turn % 2 else (stage, forward))]
        whole, bare = pair[::-1] if turn % 2 else pair
        if turn:
            print(f"scoring {items} pictures: bare forward {bare:.2f} s, stage {whole:.2f} s", flush=True)
            ratios.append(bare / whole)
    return {"scoring_vs_forward": median(ratios)}


def main() -> None:
    """Parse the options, measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds; under three minutes on two cores")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    steps, rounds, items = (4, 2, 1024) if options.quick else (15, 5, 2048)
    print(f"{device}, {torch.get_num_threads()} threads")
    result = step_and_sgemm(steps, device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result |= overhead(rounds, items, device, folder)
        result |= scoring(rounds, items, device, folder)
    print()
    for name, target in TARGETS.items():
        print(f"{name:24}{result[name]:10.4f}   target {target}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
