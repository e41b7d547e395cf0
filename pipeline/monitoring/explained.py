"""What a method's reconstructions of held-out normal items explain, beside a linear code's, while it trains and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.evaluation.explained import (
    FOLDS,
    cross_fitted,
    explained,
    explained_sentence,
    interval,
    principal_components,
)
from esad.pipeline.runs.items import evenly
from esad.pipeline.stage.progress import say

if TYPE_CHECKING:
    from torch import Tensor

    from esad.models.settings import MethodSettings
    from esad.models.training.fit import TrainingStep

COMPONENTS = 64
"""Numbers of the linear code beside a picture's; beside a table row's as many as its own code has."""
MOST_FITTED = 2048
FITTED_FOR_CURVE = 512
"""Pictures for the curve, whose points count 32 items: a fit to more would cost as much as a dozen steps."""
MOST_ENTRIES = 64_000_000
"""Of the items that the components are fitted to: half a gigabyte of float64."""
MOST_COUNTED = 512
FEW = 30
"""Held-out normals below which the linear code is cross-fitted, too, to show how much its figure depends on the items."""
BATCH = 64


class ReconstructionWatch:
    """Compares a method's reconstructions of normal items held out of training with their principal components.

    Where none is held out, the items are those that it trained on, which flatters both. Items of the first seed count.
    """

    def __init__(self, step: TrainingStep, most_fitted: int = MOST_FITTED) -> None:
        """Fits the components to at most `most_fitted` unlabelled items; `step.method` must be set to score."""
        import torch

        self.step = step
        positions, semi = step.data.positions[0], step.data.semi_labels[0]
        training = positions[semi == 0]
        held, labels = step.data.validation[0] if step.data.validation else (training[:0], semi[:0])
        self.held_out = bool((labels == 0).any())
        self.counted = evenly(held[labels == 0] if self.held_out else training, MOST_COUNTED)
        entries = int(np.prod(getattr(step.method.scaler, "scaled_shape", step.method.shape)))
        self._training = evenly(training, min(most_fitted, max(2 * COMPONENTS, MOST_ENTRIES // entries)))
        with torch.inference_mode():
            first = self._read(self._training[:1])
            self.reconstructs = step.method.reconstruct(first) is not None
            if self.reconstructs:
                code = step.method.latents(first)["z"]
                self.components = COMPONENTS if step.method.pictures else code.shape[-1]
                self.linear = principal_components(self._rows_at(self._training), self.components)

    def figures(self, most: int = MOST_COUNTED) -> dict[str, float]:
        """`explained` and `explained_pca` of at most `most` items; empty for a method that does not reconstruct."""
        if not self.reconstructs:
            return {}
        errors, linear, distances = self._sums(evenly(self.counted, most))
        return {"explained": explained(errors, distances), "explained_pca": explained(linear, distances)}

    def summary(self) -> dict[str, Any] | None:
        """For provenance.json: both figures with intervals, of how many items, and whether these were held out."""
        if not self.reconstructs:
            return None
        errors, linear, distances = self._sums(self.counted)
        found: dict[str, Any] = {
            "model": explained(errors, distances), "model_interval": interval(errors, distances),
            "pca": explained(linear, distances), "pca_interval": interval(linear, distances),
            "components": len(self.linear.directions), "items": len(errors), "held_out": self.held_out,
        }  # fmt: skip
        if len(self.counted) < FEW or not self.held_out:
            pool = np.concatenate([self._training, self.counted]) if self.held_out else self._training
            if len(pool) >= 2 * FOLDS:
                found["pca_cross_fitted"] = cross_fitted(self._rows_at(pool), self.components)
        return found

    def _read(self, positions: np.ndarray) -> Tensor:
        return self.step.read(np.repeat(positions[None], len(self.step.method.seeds), axis=0))

    def _rows(self, x: Tensor) -> np.ndarray:
        """Scaled items as flat float64 rows of the first seed, padding cut off."""
        method = self.step.method
        rows = method.scaler.unpad(x).flatten(1) if method.pictures else x[0]  # type: ignore[operator]
        return rows.double().cpu().numpy()

    def _rows_at(self, positions: np.ndarray) -> np.ndarray:
        blocks = [positions[start : start + 256] for start in range(0, len(positions), 256)]
        return np.concatenate([self._rows(self._read(block)) for block in blocks])

    def _sums(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Squared errors of the method, of the components, and distances from the mean, (N,) each."""
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(positions), BATCH):
                x = self._read(positions[start : start + BATCH])
                x_hat = self.step.method.reconstruct(x)
                assert x_hat is not None
                rows = self._rows(x)
                errors = np.square(rows - self._rows(x_hat)).sum(1)
                found.append(np.stack([errors, self.linear.residuals(rows), self.linear.distances(rows)]))
        errors, linear, distances = np.concatenate(found, axis=1)
        return errors, linear, distances


def warn_below_components(summary: dict[str, Any], settings: MethodSettings, pictures: bool) -> None:
    """Say on stderr where the model explains less than the components do, and what to change."""
    if not summary["model"] < summary["pca"]:
        return
    remedies = []
    if pictures and settings.network.form == "table6" and settings.network.linear is None:
        remedies.append("set network.linear (32 numbers a patch reached 0.78 to 0.98 in our trials)")
    if settings.method == "esad":
        loss = settings.loss
        remedies.append(f"lower loss.lambda1 (now {loss.lambda1:g}) and loss.lambda2 (now {loss.lambda2:g})")
    remedies.append("train longer (train.epochs, train.warmup.epochs)")
    say(f"warning: {explained_sentence(summary)} To reconstruct better: {'; or '.join(remedies)}.")
