"""Milliseconds of a training step with each of Deep SAD's LeNets, and what computing by squares of 2 x 2 gains.

    python benchmarks/lenets.py [--quick] [--smoke] [--json FILE]

FORM METHOD THREADS     milliseconds a step of 128 made-up pictures, batch, augmentation and Adam included: the median of the repeats
FORM layers_vs_squares  time of a step of ESAD with torch's own layers over that by squares (esad.models.lenets), one thread; the two
                        take turns

docs/explanation/measurements.md#lenet-cost has figures.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter
from unittest import mock

import numpy as np
import torch
from command import of_size, parsed, parser, write_json

from esad.models import lenets
from esad.models.methods.registry import build
from esad.models.settings import MethodSettings
from esad.models.training.fit import TrainingData, TrainingStep

SHAPES = {"lenet-mnist": (28, 28, 1), "lenet-fashion-mnist": (28, 28, 1), "lenet-cifar10": (32, 32, 3)}
METHODS = ("esad", "deep_sad")
LABELLED = 20
"""One of so many items is a labelled anomaly."""


class Steps:
    """Steps of one training on batches of `batch`, timed a few at a time."""

    def __init__(self, method: str, form: str, batch: int) -> None:
        adam = {"optimiser": "adam", "learning_rate": 1e-4, "schedule": "constant"}
        settings = MethodSettings.model_validate(
            {
                "method": method,
                "network": {"form": form, "affine": False, "bias": False},
                "train": {**adam, "batch_size": batch, "steps": 10**6, "warmup": {**adam, "steps": 0}},
            }
        )
        items = np.random.default_rng(0).integers(0, 256, (8 * batch, *SHAPES[form]), dtype=np.uint8)
        semi = np.where(np.arange(len(items)) % LABELLED, 0, -1).astype(np.int8)
        data = TrainingData(torch.from_numpy(items), [np.arange(len(items))], [semi])
        self.step, self.done = TrainingStep(build(settings, SHAPES[form]), data, torch.device("cpu")), 0

    def milliseconds(self, count: int) -> float:
        """Of one step, the mean of the next `count`."""
        start = perf_counter()
        for number in range(self.done, self.done + count):
            self.step(number)
        self.done += count
        return 1000 * (perf_counter() - start) / count


def main() -> None:
    """Measure all, print, and write what was asked for."""
    given = parsed(parser(__doc__ or "", quick="fewer steps"))
    steps, repeats, batch = of_size(given, (20, 9, 128), (5, 5, 128), (1, 1, 16))
    threads = (1,) if given.smoke else (1, 2)
    found: dict[str, float] = {}
    for form in SHAPES:
        for method in METHODS:
            for count in threads:
                torch.set_num_threads(count)
                work = Steps(method, form, batch)
                work.milliseconds(2)
                name = f"{form} {method} {count}"
                found[name] = median(work.milliseconds(steps) for _ in range(repeats))
                print(f"{name:<34}{found[name]:>10.2f} ms", flush=True)
        torch.set_num_threads(1)
        squares, layers = Steps("esad", form, batch), Steps("esad", form, batch)
        pairs = []
        for _ in range(repeats):
            one = squares.milliseconds(steps)
            with mock.patch.object(lenets, "_by_squares", return_value=False):
                pairs.append(layers.milliseconds(steps) / one)
        found[f"{form} layers_vs_squares"] = median(pairs)
        print(f"{form + ' layers_vs_squares':<34}{median(pairs):>10.2f}", flush=True)
    write_json(given.json, found)


if __name__ == "__main__":
    main()
