"""Optimisers as the settings name them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from esad.models.settings import OptimiserSettings


def make_optimiser(parameters: Sequence[nn.Parameter], settings: OptimiserSettings) -> torch.optim.Optimizer:
    """The optimiser of `parameters`, whose learning rate each step sets anew. Weight decay is L2, in the gradient."""
    learning_rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, lr=learning_rate, weight_decay=decay, momentum=settings.momentum, fused=True
        )
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(
            parameters, lr=learning_rate, weight_decay=decay, momentum=settings.momentum
        )
    betas = (settings.beta1, settings.beta2)
    return torch.optim.Adam(parameters, lr=learning_rate, weight_decay=decay, betas=betas, fused=True)
