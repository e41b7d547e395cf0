"""What the number of a step decides: which items it sees, at what learning rate, how many steps a phase has."""

from __future__ import annotations

import math

import numpy as np
import torch

from esad.models.settings import OptimiserSettings, TrainSettings
from esad.models.training.randomness import generator


def learning_rate_factor(schedule: str, step: int, steps: int, milestone: float = 1.0) -> float:
    """Share of the initial learning rate at `step` of `steps` (paper 6.3: halved at each quarter).

    `milestone`: a tenth from this share of the steps on, as Deep SAD's
    (docs/explanation/other-methods.md#schedules).
    """
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))
    if schedule == "milestone":
        return 1.0 if step < milestone * steps else 0.1
    return 0.5 ** min(3, 4 * step // max(steps, 1)) if schedule == "halve_at_quarters" else 1.0


class BatchOrder:
    """Which items a step sees, for one seed."""

    def __init__(
        self, seed: int, positions: np.ndarray, semi_labels: np.ndarray, train: TrainSettings
    ) -> None:
        self.seed, self.train = seed, train
        self.unlabelled = positions[semi_labels == 0]
        self.labelled, self.labels = positions[semi_labels != 0], semi_labels[semi_labels != 0]
        self._passes: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}

    def steps_per_epoch(self, labelled: bool) -> int:
        """Full batches in one pass; a last incomplete batch is left out (decisions.md#a17)."""
        count = len(self.unlabelled) + (len(self.labelled) if self._joint(labelled) else 0)
        return max(1, count // self.train.batch_size)

    def batch_size(self, labelled: bool) -> int:
        """Items in every batch: fewer than asked for where there are fewer."""
        count = len(self.unlabelled) + (len(self.labelled) if self._joint(labelled) else 0)
        drawn = self.train.labelled_per_batch if self._balanced(labelled) else 0
        return min(self.train.batch_size, count) + drawn

    def _joint(self, labelled: bool) -> bool:
        return labelled and self.train.batches == "joint"

    def _balanced(self, labelled: bool) -> bool:
        return labelled and self.train.batches == "balanced" and len(self.labelled) > 0

    def _shuffled(self, phase: str, labelled: bool, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and semi-labels of one pass, in its order; of each phase the last pass asked for is kept."""
        kept = self._passes.get(phase)
        if kept is None or kept[0] != epoch:
            positions, semi = self.unlabelled, np.zeros(len(self.unlabelled), np.int8)
            if self._joint(labelled):
                positions = np.concatenate([positions, self.labelled])
                semi = np.concatenate([semi, self.labels])
            numbers = generator(self.seed, f"order {phase}", epoch)
            order = torch.randperm(len(positions), generator=numbers).numpy()
            kept = self._passes[phase] = (epoch, positions[order], semi[order])
        return kept[1:]

    def __call__(self, step: int, phase: str, labelled: bool) -> tuple[np.ndarray, np.ndarray]:
        """Positions and semi-labels of the batch at `step` of `phase`."""
        epoch, place = divmod(step, self.steps_per_epoch(labelled))
        shuffled = self._shuffled(phase, labelled, epoch)
        size = self.train.batch_size
        positions, semi = (values[place * size : (place + 1) * size] for values in shuffled)
        if self._balanced(labelled):
            drawn = self._draw(step, phase)
            positions = np.concatenate([positions, self.labelled[drawn]])
            semi = np.concatenate([semi, self.labels[drawn]])
        return positions, semi

    def _draw(self, step: int, phase: str) -> np.ndarray:
        numbers = generator(self.seed, f"labelled {phase}", step)
        count, wanted = len(self.labelled), self.train.labelled_per_batch
        if count >= wanted:
            return torch.randperm(count, generator=numbers)[:wanted].numpy()
        return torch.randint(0, count, (wanted,), generator=numbers).numpy()


def phase_steps(settings: OptimiserSettings, per_epoch: int) -> int:
    """Length of a phase in steps."""
    if settings.steps is not None:
        return settings.steps
    return round((settings.epochs or 0) * per_epoch)
