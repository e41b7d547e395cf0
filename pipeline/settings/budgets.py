"""What methods with a training of their own are trained with: as published, and what a CPU can do.

A method that is not here trains with Deep SAD's settings on pictures (`esad.pipeline.settings.presets`). The first column holds
for the presets named `paper`, the second for all others. other-methods.md has the sources.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Budget(NamedTuple):
    """Settings of a method over those of all methods."""

    published: dict[str, Any]
    """As its authors trained it; networks are the defaults of its section of settings."""
    cpu: dict[str, Any]
    """Smaller networks, fewer steps: minutes on two cores for some thousand pictures of 32 pixels."""


def _adam(rate: float, beta1: float, beta2: float = 0.999) -> dict[str, Any]:
    """Adam as adversaries are trained with it: at one rate."""
    return {
        "train.optimiser": "adam", "train.learning_rate": rate, "train.beta1": beta1, "train.beta2": beta2,
        "train.schedule": "constant", "train.momentum": 0.0, "train.weight_decay": 0.0, "train.steps": None,
    }  # fmt: skip


NEVER_FLIPPED = {"dgeo"}
"""Methods that learn to tell a flip: pictures flipped at random beforehand would take that away (other-methods.md#dgeo)."""

_DGEO = {
    **_adam(1e-3, 0.9), "train.weight_decay": 5e-4, "train.batch_size": 128, "data.flip": "none",
}  # fmt: skip

_GANOMALY = {**_adam(2e-4, 0.5), "train.batch_size": 64, "train.epochs": 15}

BUDGETS: dict[str, Budget] = {
    "dgeo": Budget(
        {**_DGEO, "train.epochs": 216},  # 3 passes over every item under all 72 transforms
        {**_DGEO, "train.steps": 1000, "dgeo.width": 1, "dgeo.depth": 10, "dgeo.items": 500},
    ),
    "ganomaly": Budget(_GANOMALY, {**_GANOMALY, "ganomaly.base": 16}),
}
