"""Several seeds, or cells of a grid, as one batched model: none depends on what is trained beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from esad.models.methods.esad import EsadMethod
from esad.models.methods.registry import METHODS, build
from esad.models.settings import (
    LossSettings,
    MethodSettings,
    NetworkSettings,
    OptimiserSettings,
    PhiSettings,
    TrainSettings,
)
from esad.models.training.fit import TrainingData, TrainingStep, fit, score_batches

ADAM = {"optimiser": "adam", "learning_rate": 1e-3, "schedule": "constant"}
SGD = {"optimiser": "sgd", "learning_rate": 0.003, "momentum": 0.9, "weight_decay": 1e-4}


def settings(
    method: str = "esad", first: dict = ADAM, second: dict = SGD, steps: int = 25, **more
) -> MethodSettings:
    batches = {"batch_size": 16, "batches": "balanced", "labelled_per_batch": 4, **more}
    return MethodSettings(
        method=method,
        network=NetworkSettings(hidden=[12, 6], code=3),
        loss=LossSettings(reconstruction="sum", eps=0.01),
        phi=PhiSettings(noise=0.1),
        train=TrainSettings(**second, **batches, steps=steps, warmup=OptimiserSettings(**first, steps=steps)),
    )


def data(anomalies: tuple[int, ...], seeds: tuple[int, ...] | None = None) -> TrainingData:
    """150 rows of 5 columns in float64; seed number s trains on its own 100 normals and `anomalies[s]` anomalies."""
    rows = torch.randn(150, 5, generator=torch.Generator().manual_seed(1)).double()
    rows[120:] += 4
    positions, semi = [], []
    for seed, count in zip(seeds or range(len(anomalies)), anomalies, strict=True):
        numbers = np.random.default_rng(seed)
        positions.append(np.r_[numbers.permutation(120)[:100], 120 + numbers.permutation(30)[:count]])
        semi.append(np.r_[np.zeros(100, np.int8), -np.ones(count, np.int8)])
    return TrainingData(rows, positions, semi)


def only(everything: TrainingData, place: int) -> TrainingData:
    return TrainingData(everything.items, [everything.positions[place]], [everything.semi_labels[place]])


def trained(chosen: MethodSettings, seeds: tuple[int, ...], rows: TrainingData) -> dict[str, torch.Tensor]:
    return fit(build(chosen, (5,), seeds).double(), rows).state_dict()


def scores(method, rows: TrainingData) -> torch.Tensor:
    """(S, 150): the method's own score of every row."""
    everything = rows.items.expand(len(method.seeds), *rows.items.shape)
    with torch.inference_mode():
        return method.score_terms(method.scaler(everything))["eq9"]


@pytest.mark.parametrize(("first", "second"), [(ADAM, SGD), (SGD, ADAM)])
@pytest.mark.parametrize("affine", [True, False])
def test_fifty_steps_of_seeds_at_once_equal_one_by_one(first, second, affine):
    """Every weight and running statistic within 1e-5 in float64, noise and permutation of phi included."""
    chosen, seeds, rows = settings("esad", first, second), (0, 5, 11), data((10, 10, 10))
    chosen.network.affine = chosen.network.bias = affine
    together = trained(chosen, seeds, rows)
    for place, seed in enumerate(seeds):
        for name, alone in trained(chosen, (seed,), only(rows, place)).items():
            assert torch.allclose(together[name][place], alone[0], rtol=0, atol=1e-5), name


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.pictures_only])
@pytest.mark.parametrize("batches", ["balanced", "joint"])
def test_cells_of_a_grid_may_have_different_numbers_of_labelled_items(name, batches):
    """gamma_l on the axis: 2, 4 and 25 labelled anomalies, of which 4 are drawn for a step (fewer: with replacement)."""
    chosen, counts = settings(name, batches=batches), (2, 4, 25)
    rows = data(counts, seeds=(3, 3, 3))
    together = scores(fit(build(chosen, (5,), (3, 3, 3)).double(), rows), rows)
    for place in range(len(counts)):
        part = only(rows, place)
        alone = scores(fit(build(chosen, (5,), (3,)).double(), part), part)
        assert torch.allclose(together[place], alone[0], rtol=1e-4, atol=1e-5)


def test_cells_with_batches_of_other_sizes_are_refused():
    """Without a labelled item a balanced batch is smaller; cutting the others would make them depend on it."""
    with pytest.raises(ValueError, match=r"seed 0 has 25 steps with batches of 20 items, seed 1 25 with 16"):
        TrainingStep(build(settings(), (5,), (0, 1)).double(), data((10, 0)), torch.device("cpu"))


def test_a_seed_that_explodes_starts_anew_alone_at_half_the_rate():
    class Exploding(EsadMethod):
        """Seed 5 explodes in company."""

        def losses(self, phase, batch):
            terms = super().losses(phase, batch)
            bad = [float("nan") if seed == 5 and len(self.seeds) > 1 else 1 for seed in self.seeds]
            return {**terms, "loss": terms["loss"] * torch.tensor(bad)}

    rows = data((10, 10))
    together = fit(Exploding(settings(), (5,), (0, 5)).double(), rows).state_dict()
    half = TrainingStep(build(settings(), (5,), (5,)).double(), only(rows, 1), torch.device("cpu"), rate=0.5)
    for number in range(half.steps):
        half(number)
    for place, alone in ((0, trained(settings(), (0,), only(rows, 0))), (1, half.method.state_dict())):
        for name, value in alone.items():
            assert torch.allclose(together[name][place], value[0], rtol=0, atol=1e-9), name
    with pytest.raises(FloatingPointError, match=r"seeds \[5\]"):
        fit(Exploding(settings(restarts=0), (5,), (0, 5)).double(), rows)


@pytest.mark.slow
@pytest.mark.data
def test_whole_runs_at_once_are_within_half_a_point_of_auc(data: Path):
    """Cardio, the recipe for tables at Deep SAD's widths in float32: mean AUC of four seeds."""
    from esad.pipeline.settings.config import RunSettings, resolve
    from esad.pipeline.settings.presets import preset_settings

    stored = np.load(data / "odds" / "cardio.npz")
    items, label = torch.from_numpy(stored["X"].astype(np.float32)), stored["y"]
    chosen = resolve(RunSettings, *preset_settings("table", None), {"network.width": 1.0})
    seeds, positions, tests = (0, 1, 2, 3), [], []
    for seed in seeds:
        numbers = np.random.default_rng(seed)
        normal, anomalous = (numbers.permutation(np.flatnonzero(label == value)) for value in (0, 1))
        positions.append(np.r_[normal[:993], anomalous[:10]])
        tests.append(np.r_[normal[993:], anomalous[105:]])
    semi = np.repeat(np.array([0, -1], np.int8), [993, 10])
    rows = TrainingData(items, positions, [semi] * len(seeds))

    def auc(some: tuple[int, ...], rows: TrainingData) -> list[float]:
        method = fit(build(chosen, (items.shape[1],), some), rows)
        found = score_batches(method, items, np.arange(len(items)), torch.device("cpu"))
        scores = torch.cat([terms["eq9"] for _, _, terms in found], -1).numpy()
        return [
            roc_auc_score(label[tests[seed]], scores[place][tests[seed]]) for place, seed in enumerate(some)
        ]

    together = auc(seeds, rows)
    alone = [auc((seed,), only(rows, seed))[0] for seed in seeds]
    assert abs(np.mean(together) - np.mean(alone)) < 0.005
