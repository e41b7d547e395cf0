"""Training and scoring beside the machine's own rate, a bare PyTorch loop and the bare forward pass, in one run.

    python benchmarks/training.py [--quick] [--smoke] [--device auto] [--json FILE]

step_vs_sgemm       FLOP/s of an ESAD step (64x64, batch 32, the whole network of Table 6, SGD) over those of a product
                    of two float32 matrices of 2048 x 2048 by the fastest library at hand: torch's, oneDNN's, numpy's and,
                    where it is installed, ONNX Runtime's, with as many threads each. One library alone can be slow on a
                    processor, and the step would look better than it is. On CUDA, where steps are in mixed precision,
                    torch's product of 8192 x 8192 in the same 16 bits
images_per_second   of that step; camelyon16_hours is what the paper's training would take at it: 200 passes over 7812 tiles
trainer_overhead    time of a training by the trainer (`esad.pipeline.training.engine`: the model is built, the logs are
                    opened, TensorBoard, history and watch run) over the same steps in a bare PyTorch loop over tensors in
                    memory, minus 1
data_waiting        share of the step on Table 6's network that is spent on getting its batch: gather, scale, mirror
scoring_vs_forward  items a second of `esad score` (no overlays: open, read, score, write tables) over the bare forward
                    pass of the same method, folded as scoring has it, on tensors in memory; scoring_vs_plain_forward
                    over that of the method as it was trained, with BatchNorm on its own

The trainer is measured at an eighth of the network's width (preset `cpu`, the worst case for overhead), so that there are
enough steps to compare; a training is 100 steps, the least after which the trainer reports. Scoring is measured at a
quarter of the width, which is what is used without a preset.
The bare loop draws a random order, gathers, converts and does what the network needs, with the same loss and optimiser.
FLOPs are counted by torch (`torch.utils.flop_counter`): products and convolutions, forward and backward. What is compared
takes turns, five times; figures are medians, and `lowest` and `highest` are those of the five.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from io import StringIO
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from command import of_size, parsed, parser, write_json
from matrix_products import fastest, measure, products
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from esad.models.detector import Method
from esad.models.folding import folded
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

SIDE, BATCH = 64, 32
FULL: dict[str, Any] = {
    "train.epochs": 200, "train.warmup.epochs": 0, "network.channels": 3, "data.flip": "both",
    "train.learning_rate": 1e-3, "loss.eps": 0.01,
}  # fmt: skip
"""The paper's step (docs/explanation/decisions.md#training) with the flips of its tiles; at the paper's rate of 0.1 the
loss explodes on noise, and a step takes as long at any rate."""


@dataclass(frozen=True)
class Work:
    """How much is done: repeats of each comparison, items in memory, steps of a training and of a repeat, matrices, widths."""

    rounds: int
    items: int
    steps: int = 100
    steps_a_repeat: int = 3
    matrix: int | None = None
    """Side of the matrices; None: 2048, on CUDA 8192."""
    full: float = 1.0
    narrow: float = 0.125
    scored: float = 0.25


TARGETS = {
    "step_vs_sgemm": ">= 0.75 (CUDA: 0.5)",
    "trainer_overhead": "<= 0.03",
    "data_waiting": "<= 0.02",
    "scoring_vs_forward": ">= 0.97",
    "scoring_vs_plain_forward": "",
    "images_per_second": "",
    "camelyon16_hours": "",
    "scored_per_second": "",
}
PAPER_ITEMS, PAPER_EPOCHS = 7812, 200
"""Training tiles of the paper's Camelyon16 (7612 normal, 200 anomalies) and passes over them (paper 6.3, 6.4)."""
WARM_UP = 6
"""Steps before any is timed: libraries choose their kernels, and memory is handed out."""
Repeats = dict[str, list[float]]


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
    """The steps as a person would write them: random orders, gather, mirror, the three losses, a fused optimiser."""
    method = build(settings, tuple(x.shape[1:]), (0,)).to(device).train()
    assert isinstance(method, EsadMethod)
    x, labels = x.to(device), torch.from_numpy(semi)
    mixed = torch.bfloat16 if device.type == "cuda" else None
    optimiser = torch.optim.SGD(method.parameters(), lr=settings.train.learning_rate, fused=True)
    items = (settings.train.steps or 0) * BATCH

    def steps() -> None:
        order = torch.cat([torch.randperm(len(x)) for _ in range(-(-items // len(x)))])
        for step, chosen in enumerate(order[:items].split(BATCH)):
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


def step_and_sgemm(work: Work, device: torch.device) -> Repeats:
    """`step_vs_sgemm`, its images a second and `data_waiting`, on the whole network."""
    settings = resolve(RunSettings, {**FULL, "network.width": work.full})
    x, semi = pictures(BATCH * 8)
    step = training_step(settings, torch.from_numpy(x), semi, device)
    with FlopCounterMode(display=False) as counter:
        step(0)
    flops = counter.get_total_flops()
    side = work.matrix or (8192 if device.type == "cuda" else 2048)
    libraries = products(side, device)

    def rates() -> dict[str, float]:
        return measure(libraries, side, lambda task: seconds(task, device))

    def several(first: int) -> None:
        for number in range(first, first + work.steps_a_repeat):
            step(number)

    for number in range(1, WARM_UP + 1):
        step(number)
    rates()  # what a library does at its first product
    waits, speeds, limits = [], [], []
    for repeat in range(work.rounds):
        first, before = WARM_UP + 1 + repeat * work.steps_a_repeat, rates()
        whole = seconds(lambda first=first: several(first), device) / work.steps_a_repeat  # type: ignore[misc]
        waits.append(seconds(lambda first=first: step.batch(first), device) / whole)  # type: ignore[misc]
        after = rates()
        speeds.append(flops / whole)
        limits.append({name: (before[name] + after[name]) / 2 for name in libraries})
    best = fastest(limits)
    print(f"step: {flops / 1e9:.0f} GFLOP, {median(speeds) / 1e9:.0f} GFLOP/s")
    print(f"product of two matrices of {side} x {side}, GFLOP/s:")
    for name in libraries:
        note = "   the fastest: the limit" if name == best else ""
        print(f"  {name:<14}{median(limit[name] for limit in limits) / 1e9:8.0f}{note}")
    images = [speed / flops * BATCH for speed in speeds]
    return {
        "step_vs_sgemm": [speed / limit[best] for speed, limit in zip(speeds, limits, strict=True)],
        "data_waiting": waits,
        "images_per_second": images,
        "camelyon16_hours": [PAPER_EPOCHS * PAPER_ITEMS / speed / 3600 for speed in images],
    }


def overhead(work: Work, device: torch.device, folder: Path) -> Repeats:
    """`trainer_overhead`, on a narrow network."""
    small = {**FULL, "network.width": work.narrow, "train.epochs": None, "train.steps": work.steps}
    settings = resolve(RunSettings, small)
    x, semi = pictures(work.items)
    data = torch.from_numpy(x)
    bare = bare_loop(settings, data, semi, device)
    ours = trainer(settings, data, semi, device, folder)
    short = settings.model_copy(deep=True)
    short.train.steps = 3
    trainer(short, data, semi, device, folder / "short")()  # imports, and what torch loads at the first call
    ratios = []
    for turn in range(work.rounds):
        pair = [seconds(task, device) for task in ((bare, ours) if turn % 2 else (ours, bare))]
        ours_s, bare_s = pair[::-1] if turn % 2 else pair
        print(f"{work.steps} steps: bare loop {bare_s:.2f} s, trainer {ours_s:.2f} s", flush=True)
        ratios.append(ours_s / bare_s)
    return {"trainer_overhead": [ratio - 1 for ratio in ratios]}


def scoring(work: Work, device: torch.device, folder: Path) -> Repeats:
    """`scoring_vs_forward` and its like, on the default network."""
    x, _ = pictures(work.items)
    np.savez(folder / "pictures.npz", x=x, y=(np.arange(work.items) % 20 == 19).astype(int))
    with redirect_stderr(StringIO()):
        images([folder / "pictures.npz"], ImageSettings(), IngestOptions(folder / "store"))
        length = {"train.epochs": None, "train.steps": 4}
        settings = {**FULL, **length, "network.width": work.scored, "device": str(device)}
        train(folder / "store", folder / "run", None, [settings])
    method = open_run(folder / "run").method(device)
    data = torch.from_numpy(x).to(device)

    @torch.inference_mode()
    def forward(network: Method) -> None:
        for batch in data.split(64):
            network.score_terms(network.scaler(batch))

    def stage() -> None:
        with redirect_stderr(StringIO()):
            score(folder / "run", None, folder / "scores", "none", str(device), force=True)

    tasks: list[Callable[[], None]] = [stage, partial(forward, folded(method)), partial(forward, method)]
    found: Repeats = {"scoring_vs_forward": [], "scoring_vs_plain_forward": [], "scored_per_second": []}
    for turn in range(-1, work.rounds):  # the first one warms up
        order = [(turn + place) % 3 for place in range(3)]
        times = dict(zip(order, [seconds(tasks[place], device) for place in order], strict=True))
        if turn < 0:
            continue
        print(
            f"scoring {work.items} pictures: stage {times[0]:.2f} s, bare forward {times[1]:.2f} s, with BatchNorm on its own "
            f"{times[2]:.2f} s", flush=True,
        )  # fmt: skip
        found["scoring_vs_forward"].append(times[1] / times[0])
        found["scoring_vs_plain_forward"].append(times[2] / times[0])
        found["scored_per_second"].append(work.items / times[0])
    return found


def print_repeats(found: Repeats) -> None:
    """A line for each figure: lowest, median and highest of the repeats, and the target."""
    print(f"\n{'':<26}{'lowest':>10}{'median':>10}{'highest':>10}")
    for name, target in TARGETS.items():
        values = found[name]
        three = "".join(f"{value:>10.4g}" for value in (min(values), median(values), max(values)))
        print(f"{name:<26}{three}{f'   target {target}' if target else ''}")


def main() -> None:
    """Parse the options, measure, print a table."""
    options = parser(__doc__, quick="fewer rounds: under three minutes on two cores")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    given = parsed(options)
    device = resolve_device(given.device)
    work = of_size(
        given, full=Work(5, 2048), quick=Work(2, 1024, steps_a_repeat=2),
        smoke=Work(1, 80, steps=2, steps_a_repeat=1, matrix=64, full=0.02, narrow=0.02, scored=0.02),
    )  # fmt: skip
    print(f"{device}, {torch.get_num_threads()} threads")
    found = step_and_sgemm(work, device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found |= overhead(work, device, folder)
        found |= scoring(work, device, folder)
    print_repeats(found)
    medians = {name: median(values) for name, values in found.items()}
    extremes = {
        "lowest": {name: min(found[name]) for name in found},
        "highest": {name: max(found[name]) for name in found},
    }
    write_json(given.json, medians | extremes)


if __name__ == "__main__":
    main()
