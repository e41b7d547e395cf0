"""Where a run looks: maps of the reconstruction error and of each pixel's contribution to the score, per picture.

Both are smoothed, padding is cut off, and each kind has one colour scale for the whole run, measured on normal items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from esad.pipeline.runs.items import evenly
from esad.pipeline.scoring.overlays import smooth

if TYPE_CHECKING:
    import torch

    from esad.models.detector import Method
    from esad.models.training.augment import Augmentation
    from esad.models.training.fit import Items

BATCH, BATCH_ON_CPU = 32, 8
"""Items at once, by one thread each on a CPU: gradients keep what every layer gave."""
MOST_AVERAGED = 2048
MOST_REFERENCES, PERMUTED_REFERENCES = 128, 32
"""Normal items that the colour scales are measured on: each costs as much as an overlay, by permutations many scores."""
QUANTILES = (0.5, 0.9, 0.99, 0.999)
FIRST_QUANTILE, HEAT_QUANTILE = "0.99", "0.999"
"""The quantiles of normal items' pixels at which colours begin, and at which they go over to decades."""
HOT = ("hot_x", "hot_y", "error_x", "error_y")
"""Columns of the scores table: the peak of the contributions, and of the error, in pixels of the stored item."""
KINDS = ("contribution", "pixel_error")
"""The kinds of map, in the order of HOT's pairs and of an overlay's panels."""


def mean_picture(items: Items, positions: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """Mean of stored pictures after the central crop: float32 (H, W, C) in [0, 255]; at most MOST_AVERAGED count."""
    import torch

    from esad.models.training.fit import TrainingData

    chosen, data = evenly(positions, MOST_AVERAGED), TrainingData(items, [], [])
    total = torch.zeros(())
    for start in range(0, len(chosen), 256):
        x = augmentation.centre(data.take(chosen[start : start + 256], torch.device("cpu")))
        total = total + x.double().sum(0)
    return (total / len(chosen)).float().numpy()


@dataclass(frozen=True)
class HeatMaps:
    """The maps of one trained method; `baseline` is `mean_picture` of its normal training items."""

    method: Method
    baseline: np.ndarray
    weights: Mapping[str, float]

    def errors(self, x: torch.Tensor, x_hat: torch.Tensor) -> np.ndarray:
        """Squared reconstruction error, mean over channels, smoothed: float32 (B, H, W) >= 0."""
        return smooth(self._cut((x_hat - x).square().mean(1)))

    def contributions(self, x: torch.Tensor, terms: Mapping[str, torch.Tensor]) -> np.ndarray:
        """Each pixel's contribution to the score, smoothed: float32 (B, H, W); `models.attribution.explain` says from what on."""
        import torch

        from esad.models.attribution.explain import picture_contributions

        start = self.method.scaler(torch.from_numpy(self.baseline.copy())[None].to(x.device))[0]
        return smooth(self._cut(picture_contributions(self.method, x, start, self.weights, terms)))

    def kinds(self, x: torch.Tensor, terms: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        """The maps that the method has, by KINDS' names, of scaled pictures with their score terms: a classifier has no `x_hat`."""
        found = {KINDS[0]: self.contributions(x, terms)}
        if "x_hat" in terms:
            found[KINDS[1]] = self.errors(x, terms["x_hat"])
        return found

    def _cut(self, maps: torch.Tensor) -> np.ndarray:
        return self.method.scaler.unpad(maps).float().cpu().numpy()  # type: ignore[operator]

    def scales(
        self, items: Items, positions: np.ndarray, device: torch.device, augmentation: Augmentation
    ) -> dict[str, dict[str, float]]:
        """Quantiles of both maps' pixels over normal items: what the run's colour scales span."""
        from esad.models.training.fit import score_batches

        pixels: dict[str, list[np.ndarray]] = {}
        permuted = self.method.explained_by == "permutations"
        chosen = evenly(positions, PERMUTED_REFERENCES if permuted else MOST_REFERENCES)
        for _, x, terms in score_batches(self.method, items, chosen, device, augmentation, BATCH):
            for name, values in self.kinds(x, terms).items():
                pixels.setdefault(name, []).append(values)
        return {
            name: {str(share): float(np.quantile(np.concatenate(values), share)) for share in QUANTILES}
            for name, values in pixels.items()
        }
