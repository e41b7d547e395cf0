"""DIF (Ouardini et al. 2019): means of what a network trained on ImageNet sees, and an isolation forest of them.

docs/explanation/other-methods.md#dif has what differs from the published code, its network first of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from esad.models.detector import Method, Phase, phase_at_once, single_term
from esad.models.methods.classic.fitted import FittedTensors, stack_padded
from esad.models.methods.classic.isolation_forest import (
    FOREST,
    fit_isolation_forest,
    forest_arrays,
    forest_scores,
)
from esad.models.methods.classic.shallow import draw_rows
from esad.models.methods.pretrained.backbone import BATCH, CAUTION, Backbone
from esad.models.networks import PictureScaler
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.item_pool import ItemPool

STUMP = {
    **{name: torch.zeros(1, 1, 1, dtype=torch.int32) for name in FOREST[:3]},
    "threshold": torch.zeros(1, 1, 1, dtype=torch.float64),
    "depth": torch.ones(1, 1, 1, dtype=torch.float64),
}
"""Before the forest is grown: one tree of one leaf, by which every score is a half."""


class DifMethod(Method):
    """Grown on the items without label; nothing is trained in steps."""

    title: ClassVar[str] = "DIF (Ouardini et al. 2019), with EfficientNet-Lite0"
    caution: ClassVar[str] = CAUTION
    pictures_only: ClassVar[bool] = True
    has_gradient = False
    most_evaluations: ClassVar[int] = 32  # a tenth of a second each on a CPU

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        assert isinstance(self.scaler, PictureScaler)
        self.backbone = Backbone(settings.backbone, self.scaler.channels)
        self.fitted = FittedTensors(FOREST)
        self.fitted.replace(STUMP)

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return ("network.channels", "backbone", "dif")

    def phases(self) -> list[Phase]:
        return [phase_at_once("fit")]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        raise AssertionError("a forest has no loss: it is grown at once")

    def features(self, x: Tensor) -> Tensor:
        """(B, F): of scaled items, the means over place of the maps of `dif.layers`, one after the other."""
        side = self.settings.dif.side
        if side is not None and x.shape[-2:] != (side, side):
            smaller = side < max(x.shape[-2:])
            x = functional.interpolate(x, (side, side), mode="bilinear", antialias=smaller)
        return self.backbone.means(x, self.settings.dif.layers)

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        own, usable = self.settings.dif, np.flatnonzero(items.labels[0] == 0)
        most = own.trees * own.samples  # more rows than all trees draw together would change nothing
        chosen = usable[draw_rows(items.labels[0][usable], most, self.seeds[0])]
        rows = [self.features(x).float().cpu() for x, _ in items.batches([chosen], BATCH)]
        forest = fit_isolation_forest(torch.cat(rows).numpy(), own.trees, own.samples, self.seeds[0])
        self.fitted.replace(stack_padded([forest_arrays(forest)]))

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        return single_term(forest_scores(self.fitted.of(0), self.features(x), self.settings.dif.samples))
