"""The picture of a training's progress: inputs, what they are to become, and what the model makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from esad.models.training.fit import TrainingStep

GAP = 2


def picture_grid(step: TrainingStep, most: int) -> Tensor | None:
    """float32 (C, H, W) in [0, 1]: a column an item, below each other input, target and reconstruction.

    At most `most` unlabelled items and as many labelled anomalies, always the same ones; the target of an anomaly is
    phi(x), of the others the input. None for a method that does not reconstruct. `step.method` must be set to score.
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
        return None
    rows = [x, method.target(batch), outputs]
    padded = [
        torch.nn.functional.pad(row.float().clamp(0, 1).cpu(), (0, GAP, 0, GAP), value=1.0) for row in rows
    ]
    return torch.cat([torch.cat(list(row), dim=2) for row in padded], dim=1)
