"""The picture of a training's progress: inputs, what they are to become, and what the model makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from esad.models.training.fit import TrainingStep

GAP = 2


def picture_rows(step: TrainingStep, most: int) -> list[Tensor]:
    """Inputs, targets and reconstructions: float32 (1, 3, H, W) in [0, 1] each, a row of items beside each other.

    At most `most` unlabelled items and as many labelled anomalies, always the same ones; the target of an anomaly is
    phi(x), of the others the input. Grey is repeated to three channels: of fewer MONAI's handler stretches the contrast, which
    would make a faint reconstruction look like a strong one. Empty for a method that does not reconstruct. `step.method` must
    be set to score.
    """
    import numpy as np
    import torch

    from esad.models.training.batch import Batch
    from esad.pipeline.runs.items import evenly

    method, positions, semi = step.method, step.data.positions[0], step.data.semi_labels[0]
    chosen = np.concatenate([evenly(positions[semi == value], most) for value in (0, -1)])
    labels = np.repeat([0, -1], [min(int((semi == value).sum()), most) for value in (0, -1)])
    x = step.read(chosen[None])
    batch = Batch(x, torch.from_numpy(labels).to(x.device), [(method.seeds[0], 0)])
    outputs = method.reconstruct(x)
    if outputs is None:
        return []
    rows = [x, method.target(batch), outputs]
    return [_side_by_side(row) for row in rows]


def _side_by_side(pictures: Tensor) -> Tensor:
    """(B, C, H, W) -> (1, 3, H, B * (W + GAP)), cut to [0, 1]."""
    import torch

    padded = torch.nn.functional.pad(pictures.float().clamp(0, 1).cpu(), (0, GAP, 0, 0), value=1.0)
    row = torch.cat(list(padded), dim=2)
    return row.expand(3, -1, -1)[None]
