"""A grid of shallow ESAD on digits beside its cells one by one in plain PyTorch with a DataLoader, in one run.

    python benchmarks/images.py [--quick] [--smoke] [--data DIR] [--json FILE]

grid_vs_dataloader   time of the cells, written as Deep SAD's public trainer is (docs/explanation/other-methods.md#schedules): a
                     data set that makes a picture of PIL's of every item and a tensor of that, a DataLoader, one network of torch's
                     own layers, a Python loop, all threads for one cell after the other; over that of `esad benchmark --workers N`
                     with as many workers as there are cores
one_cell_vs_dataloader   the same for one cell in one process with all threads
stacked_vs_one_by_one    time of a step's networks for 2 cells one after the other over that for both at once by
                     `torch.func.vmap` over stacked weights: whether cells of one shape are worth training as one batch

A cell is a digit as the normal class, with a labelled anomaly to twenty training items: autoencoder, then all three networks, then
the scores of 2000 test items; LeNet of MNIST, batches of 32, the same numbers of steps on both sides. MNIST, or made-up pictures
of its shape where the file is absent. What is compared takes turns.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import yaml
from command import of_repeats, of_size, parsed, parser, print_repeats, write_json
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from esad.models.lenets import DoubledConvolution, LeNet, PooledConvolution
from esad.models.methods.esad import esad_losses
from esad.models.settings import MethodSettings
from esad.models.training.schedule import learning_rate_factor
from esad.pipeline.benchmark import benchmark
from esad.pipeline.benchmarking.grid import Cell, cell_settings, cells, read_grid, runs_of
from esad.pipeline.benchmarking.grid_file import Grid
from esad.pipeline.benchmarking.measurement import Part, parts_of
from esad.pipeline.benchmarking.opened import Opened, opened
from esad.pipeline.runs.items import positions_of

TARGETS = {
    "grid_vs_dataloader": ">= 3",
    "one_cell_vs_dataloader": "> 1",
    "stacked_vs_one_by_one": "> 1 to be worth it",
}
TESTED = 2000
BATCH = 32


def digits(data: Path, folder: Path, train: int, test: int) -> Path:
    """A folder with an npz of `train` and `test` digits, of MNIST or made up where it is absent, saying so."""
    path = data / "images" / "mnist.npz"
    if path.is_file():
        with np.load(path) as stored:
            parts = {name: stored[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    else:
        print(f"{path} is absent: pictures of the same shape are made up")
        numbers = np.random.default_rng(0)
        parts = {}
        for name, count in (("train", train), ("test", test)):
            parts[f"x_{name}"] = numbers.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            parts[f"y_{name}"] = np.arange(count) % 10
    cut = {"train": train, "test": test}
    np.savez(folder / "digits.npz", **{name: values[: cut[name[2:]]] for name, values in parts.items()})
    return folder


def grid_of(folder: Path, classes: list[str], steps: int) -> Path:
    """The file of a grid with one cell a class."""
    content = {
        "title": "digits",
        "datasets": {"digits": {"path": "digits.npz", "kind": "images", "normal": classes}},
        "methods": {"esad": {}},
        "gamma_l": [0.05],
        "seeds": 1,
        "budgets": {
            "cpu": {
                "preset": "cpu",
                "test_items": TESTED,
                "settings": {
                    "network.form": "lenet-mnist", "train.optimiser": "adam", "train.learning_rate": 0.003, "train.batch_size": BATCH,
                    "train.batches": "joint", "train.steps": steps, "train.warmup.steps": steps // 4, "loss.score_block": 1,
                },
            }
        },
    }  # fmt: skip
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def of_torchs_layers(network: nn.Module) -> nn.Module:
    """The network with torch's layers one after the other, as anybody would write it, not as ours computes them on a CPU."""
    for name, child in network.named_children():
        own = isinstance(child, PooledConvolution | DoubledConvolution)
        setattr(network, name, nn.Sequential(*child.children()) if own else of_torchs_layers(child))
    return network


class PublicDataset(Dataset):
    """Items one by one, as the public data sets give them: PIL's picture, then a tensor (1, 28, 28) in [0, 1]."""

    def __init__(self, items: np.ndarray, labels: np.ndarray, semi_labels: np.ndarray) -> None:
        self.items, self.labels, self.semi_labels = items, labels, semi_labels

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int, int]:
        picture = Image.fromarray(self.items[index])
        x = torch.from_numpy(np.array(picture, copy=True))[None].float().div(255)
        return x, int(self.labels[index]), int(self.semi_labels[index]), index


def endless(loader: DataLoader) -> Iterator[Any]:
    """Batches for as many passes as are asked for."""
    while True:
        yield from loader


def phi(x: Tensor) -> Tensor:
    """Pictures turned by 90, 180 or 270 degrees each, with noise."""
    turned = torch.stack(
        [
            torch.rot90(one, int(turns), (1, 2))
            for one, turns in zip(x, torch.randint(1, 4, (len(x),)), strict=True)
        ]
    )
    return turned + 0.1 * torch.randn_like(turned)


def public_trainer(settings: MethodSettings, part: Part, of: Opened) -> np.ndarray:
    """One cell in plain PyTorch; scores (T,) of its test items."""
    torch.manual_seed(0)
    made = LeNet("lenet-mnist", (1, 28, 28), 1.0, True, True)
    encoder1, encoder2, decoder = map(of_torchs_layers, (made.encoder(), made.encoder(), made.decoder()))
    train, loss = settings.train, settings.loss
    pixels = of.store.read(positions_of(of.store, part.trained["item_id"]))[..., 0]
    semi = part.trained["semi_label"].to_numpy(dtype=int)
    everything = PublicDataset(pixels, part.trained["label"].to_numpy(dtype=int), semi)
    normals = PublicDataset(pixels[semi == 0], everything.labels[semi == 0], semi[semi == 0])

    def reconstruction(x: Tensor, _: Tensor) -> Tensor:
        return (decoder(encoder1(x)) - x).square().flatten(1).mean(1).mean()

    def whole(x: Tensor, semi_label: Tensor) -> Tensor:
        z = encoder1(x)
        x_hat = decoder(z)
        target, anomalies = x.clone(), semi_label < 0
        if anomalies.any():
            target[anomalies] = phi(x[anomalies])
        return esad_losses(x, x_hat, z, encoder2(x_hat), target, semi_label, loss)["loss"]

    first = [*encoder1.parameters(), *decoder.parameters()]
    phases = (
        (normals, reconstruction, first, train.warmup),
        (everything, whole, [*chain(first, encoder2.parameters())], train),
    )
    for dataset, loss_of, parameters, chosen in phases:
        optimiser = torch.optim.Adam(parameters, lr=chosen.learning_rate)
        batches = endless(DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True))
        epoch_loss = 0.0
        for step in range(chosen.steps or 0):
            x, _, semi_label, _ = next(batches)
            for group in optimiser.param_groups:
                group["lr"] = chosen.learning_rate * learning_rate_factor(
                    chosen.schedule, step, chosen.steps or 0
                )
            optimiser.zero_grad()
            value = loss_of(x, semi_label)
            value.backward()
            optimiser.step()
            epoch_loss += value.item()
    for network in (encoder1, encoder2, decoder):
        network.eval()
    tested = PublicDataset(
        of.store.read(positions_of(of.store, part.tested["item_id"]))[..., 0],
        part.tested["label"].to_numpy(dtype=int),
        np.zeros(len(part.tested), int),
    )
    scores = []
    with torch.no_grad():
        for x, *_ in DataLoader(tested, batch_size=BATCH):
            x_hat = decoder(encoder1(x))
            scores.append((x_hat - x).square().flatten(1).mean(1) + encoder2(x_hat).square().mean(1))
    return torch.cat(scores).numpy()


def one_by_one(grid: Grid, asked: list[Cell], of: Opened) -> None:
    """The cells of a grid in plain PyTorch."""
    for cell in asked:
        part = parts_of(grid, cell, of, first=True)[0]
        public_trainer(cell_settings(grid, cell, runs_of(grid, cell)[0]), part, of)


def stacked_gain(count: int, repeats: int) -> list[float]:
    """Time of forward and backward passes of `count` encoders one after the other over that of all at once by vmap."""
    made = LeNet("lenet-mnist", (1, 28, 28), 1.0, True, True)
    networks = [of_torchs_layers(made.encoder()) for _ in range(count)]
    x = torch.rand(count, BATCH, 1, 28, 28)
    for network in networks:  # statistics of a batch alone: vmap has no running ones
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.track_running_stats, module.running_mean, module.running_var = False, None, None
    weights, _ = torch.func.stack_module_state(networks)
    base = deepcopy(networks[0]).to("meta")

    def loss_of(parameters: dict[str, Tensor], batch: Tensor) -> Tensor:
        return torch.func.functional_call(base, parameters, (batch,)).square().mean()

    at_once = torch.func.vmap(torch.func.grad(loss_of), randomness="different")

    def apart() -> None:
        for network, batch in zip(networks, x, strict=True):
            network.zero_grad()
            network(batch).square().mean().backward()

    ways: tuple[Callable[[], Any], ...] = (apart, lambda: at_once(weights, x))
    ratios = []
    for _ in range(repeats + 1):  # the first is thrown away: what torch loads
        times = []
        for way in ways:
            start = perf_counter()
            for _ in range(5):
                way()
            times.append(perf_counter() - start)
        ratios.append(times[0] / times[1])
    return ratios[1:]


def main() -> None:
    """Parse the options, measure, print a table."""
    given = parsed(parser(__doc__, quick="fewer cells and steps: under four minutes on two cores", data=True))
    count, steps, rounds = of_size(given, full=(10, 600, 3), quick=(4, 200, 3), smoke=(2, 4, 1))
    train, test = of_size(given, full=(60_000, 10_000), quick=(60_000, 10_000), smoke=(1500, 100))
    workers = 1 if given.smoke else os.cpu_count() or 1
    classes = [str(number) for number in range(count)]
    found: dict[str, list[float]] = {"grid_vs_dataloader": [], "one_cell_vs_dataloader": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = grid_of(digits(given.data, folder, train, test), classes, steps)
        out = folder / "out"
        benchmark(str(file), folder, out, forecast=True)  # makes the store
        grid = read_grid(str(file))
        of, asked = opened(out / "stores" / "digits"), cells(grid)
        print(
            f"{count} cells of {steps // 4} + {steps} steps, {workers} workers, {torch.get_num_threads()} threads"
        )
        for _ in range(rounds):
            seconds = []
            for work in (
                lambda: one_by_one(grid, asked, of),
                lambda: benchmark(str(file), folder, out, force=True, workers=workers),
                lambda: benchmark(str(file), folder, out, only=["normal=0"], force=True),
            ):
                start = perf_counter()
                work()
                seconds.append(perf_counter() - start)
            print(
                f"plain {seconds[0]:.2f} s, grid {seconds[1]:.2f} s, one cell {seconds[2]:.2f} s", flush=True
            )
            found["grid_vs_dataloader"].append(seconds[0] / seconds[1])
            found["one_cell_vs_dataloader"].append(seconds[0] / count / seconds[2])
    found["stacked_vs_one_by_one"] = stacked_gain(2, rounds)
    print_repeats(found, TARGETS)
    write_json(given.json, of_repeats(found))


if __name__ == "__main__":
    main()
