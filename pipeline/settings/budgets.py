"""What methods with a training of their own are trained with: as published, and what a CPU can do.

A method that is not here trains with Deep SAD's settings on pictures (`esad.pipeline.settings.presets`). The first column holds
for the presets named `paper`, the second for all others. other-methods.md has the sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Budget(NamedTuple):
    """Settings of a method over those of all methods."""

    published: dict[str, Any]
    """As its authors trained it; networks are the defaults of its section of settings."""
    cpu: dict[str, Any]
    """Smaller networks, fewer steps: minutes on two cores for some thousand pictures of 32 pixels."""


def form_of(method: str, stated: Mapping[str, Any]) -> str:
    """The row of BUDGETS for a method as it is stated: one with two games trains as its authors did each."""
    encoder = method == "anogan" and stated.get("anogan.search") == "encoder"
    return "anogan, encoder" if encoder else method


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

_DPA = _adam(1e-3, 0.9)
_TRANSFER = {
    "train.warmup.optimiser": "adam", "train.warmup.learning_rate": 1e-4, "train.warmup.schedule": "constant",
    "train.warmup.epochs": 150,
}  # fmt: skip

_WASSERSTEIN = {**_adam(1e-4, 0.0, 0.9)}
_ANOGAN = {**_adam(2e-4, 0.5), "train.batch_size": 64, "train.epochs": 20}
_F_ANOGAN = {**_WASSERSTEIN, "anogan.search": "encoder", "train.batch_size": 64}
_ALOCC = {
    **_adam(2e-3, 0.9), "train.optimiser": "rmsprop", "train.batch_size": 128, "train.epochs": 40,
}  # fmt: skip
_OCGAN = {**_adam(2e-4, 0.5), "train.batch_size": 512, "train.epochs": 201}
_PIAD = {**_adam(2e-4, 0.5, 0.99), "train.batch_size": 32, "train.steps": 100_000}
_GANOMALY = {**_adam(2e-4, 0.5), "train.batch_size": 64, "train.epochs": 15}

BUDGETS: dict[str, Budget] = {
    "dgeo": Budget(
        {**_DGEO, "train.epochs": 216},  # 3 passes over every item under all 72 transforms
        {**_DGEO, "train.steps": 1000, "dgeo.width": 1, "dgeo.depth": 10, "dgeo.items": 500},
    ),
    "tlsad": Budget(
        {
            **_adam(1e-4, 0.9),
            "train.batch_size": 128,
            "train.epochs": 150,
            "train.batches": "balanced",
            **_TRANSFER,
        },
        {},  # that of ESAD on pictures
    ),
    "dpa": Budget(
        {**_DPA, "train.batch_size": 128, "train.learning_rate": 2e-3, "train.steps": 33_000},
        {**_DPA, "train.batch_size": 32, "train.learning_rate": 2e-3, "train.steps": 3000},
    ),
    "dif": Budget({}, {"dif.side": 96, "dif.trees": 300}),
    "ganomaly": Budget(_GANOMALY, {**_GANOMALY, "ganomaly.base": 16}),
    "anogan": Budget(_ANOGAN, {**_ANOGAN, "anogan.base": 16, "anogan.search_steps": 100}),
    "anogan, encoder": Budget(
        {**_F_ANOGAN, "train.epochs": 20},  # f-AnoGAN's own length is not known here
        {
            **_F_ANOGAN,
            "train.steps": 1000,
            "train.batch_size": 32,
            "anogan.base": 8,
            "anogan.encoder_steps": 1000,
        },
    ),
    "alocc": Budget(_ALOCC, {**_ALOCC, "train.epochs": 10, "alocc.base": 16}),
    "adgan": Budget(
        {**_WASSERSTEIN, "train.batch_size": 128, "train.steps": 10_000},  # 100 epochs of 100 batches
        {**_WASSERSTEIN, "train.batch_size": 64, "train.steps": 1500, "adgan.base": 16, "adgan.starts": 2},
    ),
    "ocgan": Budget(
        _OCGAN,
        {
            **_adam(2e-4, 0.5),
            "train.batch_size": 32,
            "train.steps": 1500,
            "ocgan.base": 16,
            "ocgan.judge_base": 8,
            "ocgan.reconstruction": 500.0,  # the code's default; at its README's 10 so short a training reconstructs nothing
        },
    ),
    "p_kdgan": Budget(_GANOMALY, {**_GANOMALY, "ganomaly.base": 16, "p_kdgan.base": 4}),
    "piad": Budget(
        _PIAD,
        {
            **_PIAD,
            "train.batch_size": 16,
            "train.steps": 1500,
            "piad.base": 8,
            "piad.code": 64,
            "piad.hidden": 256,
        },
    ),
    "daol": Budget(_GANOMALY, {**_GANOMALY, "daol.base": 16}),
}

PUBLISHED_FOR: dict[tuple[str, str], dict[str, Any]] = {
    ("dpa", "paper-camelyon16"): {
        "dpa.width": 4, "dpa.code": 4, "dpa.side": 8, "dpa.layer": "wide5", "train.learning_rate": 1e-3,
        "train.steps": 34_666,
    },
    ("dpa", "paper-nih-ap"): {
        "dpa.width": 64, "dpa.code": 64, "train.learning_rate": 5e-4, "train.batch_size": 56, "train.steps": 27_000,
    },
    ("dpa", "paper-nih-subset"): {"dpa.layer": "wide5", "train.steps": 16_000},
    ("dpa", "paper-cifar10"): {"dpa.width": 32, "dpa.code": 32, "train.steps": 5666},
}  # fmt: skip
"""What a method's authors changed for one of the data sets, by method and preset."""
