"""Ten seeds at once beside ten runs one after the other, and beside a plain PyTorch trainer, in one run.

    python benchmarks/tables.py [--quick] [--smoke] [--data DIR] [--json FILE]

ten_seeds_vs_sequential  time of ten runs of the same code, one after the other, over that of ten seeds at once
ten_seeds_vs_dataloader  time of the same work over ten seeds at once, where that work is written as Deep SAD's public trainer
                         is (docs/explanation/other-methods.md#schedules): a DataLoader over a TensorDataset, one small
                         network of torch's own layers, a Python loop

ESAD's recipe for tables at Deep SAD's widths on cardio (60 % of the normals, one labelled anomaly to a hundred), or on
made-up rows of the same shape where that file is absent. `--quick` trains for a twentieth of the recipe's steps. What is
compared takes turns; ratios are medians over the rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from command import of_size, parsed, parser, print_beside_targets, write_json
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from esad.models.methods.esad import esad_losses
from esad.models.methods.registry import build
from esad.models.networks import ColumnScaler, table_widths
from esad.models.settings import MethodSettings, OptimiserSettings
from esad.models.training.fit import TrainingData, fit
from esad.pipeline.settings.config import RunSettings, resolve
from esad.pipeline.settings.presets import preset_settings

SEEDS = 10
TARGETS = {"ten_seeds_vs_sequential": ">= 4", "ten_seeds_vs_dataloader": ">= 8"}
DEEP_SAD_WIDTHS = {"network.width": 1.0}


def cardio(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows float32 (1831, 21) and labels (1831,); made-up rows where the file is absent, saying so."""
    path = data / "odds" / "cardio.npz"
    if path.is_file():
        stored = np.load(path)
        return stored["X"].astype(np.float32), stored["y"].astype(int)
    print(f"{path} is absent: rows of the same shape are made up")
    numbers = np.random.default_rng(0)
    labels = (np.arange(1831) >= 1655).astype(int)
    rows = numbers.normal(size=(1831, 21)) + 2 * labels[:, None]
    return rows.astype(np.float32), labels


def training_data(rows: np.ndarray, labels: np.ndarray, seeds: int) -> TrainingData:
    """For each of `seeds` seeds 60 % of the normals, and one labelled anomaly to a hundred of them."""
    positions, semi_labels = [], []
    for seed in range(seeds):
        numbers = np.random.default_rng(seed)
        normal, anomalous = (numbers.permutation(np.flatnonzero(labels == value)) for value in (0, 1))
        normal = normal[: round(0.6 * len(normal))]
        anomalous = anomalous[: round(len(normal) / 99)]
        positions.append(np.concatenate([normal, anomalous]))
        semi_labels.append(np.repeat(np.array([0, -1], np.int8), [len(normal), len(anomalous)]))
    return TrainingData(torch.from_numpy(rows), positions, semi_labels)


def at_once(settings: MethodSettings, data: TrainingData) -> None:
    """All seeds as one batched model."""
    fit(build(settings, tuple(data.items.shape[1:]), range(len(data.positions))), data)  # type: ignore[union-attr]


def one_by_one(settings: MethodSettings, data: TrainingData) -> None:
    """The same code, a seed at a time."""
    for seed in range(len(data.positions)):
        single = TrainingData(data.items, [data.positions[seed]], [data.semi_labels[seed]])
        fit(build(settings, tuple(data.items.shape[1:]), (seed,)), single)  # type: ignore[union-attr]


def perceptron(widths: list[int], settings: MethodSettings, last: list[nn.Module]) -> nn.Sequential:
    """The same network out of torch's layers."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        norm = nn.BatchNorm1d(outputs, eps=1e-4, affine=settings.network.affine)
        layers += [nn.Linear(inputs, outputs, bias=settings.network.bias), norm, nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias=settings.network.bias), *last)


def optimiser(parameters: Iterator[nn.Parameter], settings: OptimiserSettings) -> torch.optim.Optimizer:
    """torch's optimiser at its defaults, as the public trainer makes it."""
    if settings.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        parameters, settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
    )


def run_loader(
    dataset: TensorDataset,
    batch_size: int,
    steps: int,
    optimise: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """The public trainer's loop: zero the gradients, forward, backward, step, add up the loss."""
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)
    epoch_loss, step = 0.0, 0
    while step < steps:
        for x, _, semi_label, _ in loader:  # row, label, semi-label, index: what the public data set gives
            optimise.zero_grad()
            loss = loss_of(x, semi_label)
            loss.backward()
            optimise.step()
            epoch_loss += loss.item()
            step += 1
            if step == steps:
                return


def public_trainer(settings: MethodSettings, data: TrainingData) -> None:
    """A DataLoader and one small network, a seed at a time; phi is drawn anew for the labelled anomalies."""
    widths, train = table_widths(data.items.shape[1], settings.network), settings.train  # type: ignore[union-attr]
    for seed in range(len(data.positions)):
        torch.manual_seed(seed)
        scaler = ColumnScaler(1, widths[0])
        chosen = data.items[torch.from_numpy(data.positions[seed])]  # type: ignore[index]
        scaler.fit(0, chosen)
        semi_label = torch.from_numpy(data.semi_labels[seed])
        label, index = (semi_label < 0).long(), torch.arange(len(chosen))
        dataset = TensorDataset(scaler(chosen)[0].contiguous(), label, semi_label, index)
        encoder1, encoder2 = (perceptron(widths, settings, []) for _ in range(2))
        decoder = perceptron(widths[::-1], settings, [nn.Sigmoid()])

        def reconstruction(x: Tensor, _: Tensor) -> Tensor:
            return (decoder(encoder1(x)) - x).square().sum(1).mean()  # noqa: B023

        def loss(x: Tensor, semi_label: Tensor) -> Tensor:
            z = encoder1(x)  # noqa: B023
            x_hat = decoder(z)  # noqa: B023
            target, anomalies = x.clone(), semi_label < 0
            order = torch.rand_like(x[anomalies]).argsort(1)
            target[anomalies] = x[anomalies].gather(1, order)
            z_hat = encoder2(x_hat)  # noqa: B023
            return esad_losses(x, x_hat, z, z_hat, target, semi_label, settings.loss)["loss"]

        first = [*encoder1.parameters(), *decoder.parameters()]
        normals = TensorDataset(*(values[semi_label == 0] for values in dataset.tensors))
        warm, size = train.warmup, train.batch_size
        run_loader(normals, size, warm.steps or 0, optimiser(iter(first), warm), reconstruction)
        everything = optimiser(chain(first, encoder2.parameters()), train)
        run_loader(dataset, size + train.labelled_per_batch, train.steps or 0, everything, loss)


def main() -> None:
    """Parse the options, measure, print a table."""
    given = parsed(
        parser(__doc__, quick="a twentieth of the steps: under three minutes on two cores", data=True)
    )
    settings = resolve(RunSettings, *preset_settings("table", None), DEEP_SAD_WIDTHS)
    share, rounds, seeds = of_size(given, full=(1.0, 3, SEEDS), quick=(0.05, 5, SEEDS), smoke=(0.001, 1, 2))
    train, warm = settings.train, settings.train.warmup
    train.steps, warm.steps = round(share * (train.steps or 0)), round(share * (warm.steps or 0))
    data = training_data(*cardio(given.data), seeds)
    ways = {"at once": at_once, "one by one": one_by_one, "DataLoader": public_trainer}
    times: dict[str, list[float]] = {name: [] for name in ways}
    short = settings.model_copy(deep=True)
    short.train.steps = short.train.warmup.steps = 2
    for train_all in ways.values():  # what torch loads at the first call
        train_all(short, data)
    print(f"seconds for {seeds} seeds, {warm.steps} + {train.steps} steps, {torch.get_num_threads()} threads")
    print("".join(f"{name:>14}" for name in ways))
    for _ in range(rounds):
        for name, train_all in ways.items():
            start = perf_counter()
            train_all(settings, data)
            times[name].append(perf_counter() - start)
        print("".join(f"{values[-1]:>14.2f}" for values in times.values()), flush=True)
    results = {
        f"ten_seeds_vs_{key}": median(a / b for a, b in zip(times[name], times["at once"], strict=True))
        for key, name in (("sequential", "one by one"), ("dataloader", "DataLoader"))
    }
    print_beside_targets(results, TARGETS)
    write_json(given.json, results)


if __name__ == "__main__":
    main()
