"""Small tables and pictures with planted anomalies, and short training settings, for tests of the methods."""

from __future__ import annotations

import numpy as np
import torch

from esad.models.methods.classic.shallow import ShallowMethod
from esad.models.methods.registry import METHODS
from esad.models.settings import MethodSettings, NetworkSettings, OptimiserSettings, TrainSettings
from esad.models.training.fit import TrainingData, score_batches
from tests.models.fake_backbone import fake_backbone

HYBRID = [name for name, method in METHODS.items() if issubclass(method, ShallowMethod)]
LENETS = {
    **{
        f"{name}, lenet-mnist": {"network": {"form": "lenet-mnist", "width": 1.0}}
        for name, method in METHODS.items()
        if not method.pictures_only and name not in HYBRID
    },
    **{
        f"{name}, hybrid, lenet-mnist": {
            name: {"input": "hybrid"},
            "network": {"form": "lenet-mnist", "width": 1.0},
        }
        for name in HYBRID
    },
    **{
        f"{name}, {form}": {"network": {"form": form, "width": 0.25}}
        for name in ("esad", "deep_sad")
        for form in ("lenet-fashion-mnist", "lenet-cifar10")
    },
}
"""Every method that has the shared encoder, with a LeNet in its place."""
ADAM = {"optimiser": "adam", "learning_rate": 1e-3, "schedule": "constant"}
VARIANTS = {
    **{name: {} for name in METHODS},
    "deep_svdd, soft": {"deep_svdd": {"objective": "soft_boundary", "radius_warmup": 1}},
    "isolation_forest": {"isolation_forest": {"trees": 20}},
    "isolation_forest, hybrid": {"isolation_forest": {"trees": 20, "input": "hybrid"}},
    **{f"{name}, hybrid": {name: {"input": "hybrid"}} for name in ("oc_svm", "ssad")},
    **{f"{name}, linear": {"network": {"linear": 5}} for name in ("esad", "cae")},
    "dif": {"dif": {"trees": 20, "side": 32}, "backbone": fake_backbone()},
    "dpa": {"dpa": {"width": 4, "code": 6}, "backbone": fake_backbone()},
    "tlsad": {"backbone": fake_backbone()},
    "dgeo": {"dgeo": {"width": 1, "depth": 10, "items": 20}},
    "ganomaly": {"ganomaly": {"base": 4, "code": 6}},
    "anogan": {"anogan": {"base": 4, "code": 6, "search_steps": 5}},
    "anogan, encoder": {
        "anogan": {"search": "encoder", "base": 4, "code": 6, "critic_steps": 2, "encoder_steps": 3}
    },
    "alocc": {"alocc": {"base": 4}},
    "adgan": {"adgan": {"base": 4, "code": 6, "starts": 2, "search_steps": 2, "at_once": 16}},
    "adgan, codes": {"adgan": {"base": 4, "code": 6, "starts": 1, "adapt_generator": False}},
    "ocgan": {"ocgan": {"base": 4, "judge_base": 4, "code": 6}},
    "p_kdgan": {"ganomaly": {"base": 8, "code": 6}, "p_kdgan": {"base": 4}},
    "piad": {"piad": {"base": 4, "code": 6, "hidden": 8, "reweigh_every": 4}, "backbone": fake_backbone()},
    "piad, l1": {"piad": {"base": 4, "code": 6, "hidden": 8, "error": "l1"}},
    "daol": {"daol": {"base": 4, "code": 6}},
    **LENETS,
}
"""Every method, and each again in its other forms: the name (before a comma the method's) and its own settings."""
OF_PICTURES = [name for name in VARIANTS if METHODS[name.partition(",")[0]].pictures_only]
"""Those that cannot take rows of a table."""
OF_TABLES = [name for name in VARIANTS if name not in {*OF_PICTURES, *LENETS}]
SHAPES = {
    "table6": (20, 20, 1),
    "lenet-mnist": (28, 28, 1),
    "lenet-fashion-mnist": (28, 28, 1),
    "lenet-cifar10": (24, 24, 3),
}


def tiny(variant: str) -> dict[str, object]:
    """Dotted settings that keep a method of pictures alone small, or of one with a LeNet; none for the others."""
    own = VARIANTS[variant] if variant in {*OF_PICTURES, *LENETS} else {}
    return {f"{section}.{name}": value for section, values in own.items() for name, value in values.items()}


def settings(variant: str, **train) -> MethodSettings:
    """Short training of one of VARIANTS."""
    train = {**ADAM, "steps": 12, "batch_size": 16, "batches": "balanced", "labelled_per_batch": 4, **train}
    own = dict(VARIANTS[variant])
    return MethodSettings(
        method=variant.partition(",")[0],
        network=NetworkSettings(**{"width": 0.0625, "hidden": [12, 6], "code": 3, **own.pop("network", {})}),
        train=TrainSettings(**train, warmup=OptimiserSettings(**ADAM, steps=6)),
        **own,
    )


def table(seeds: int = 1, held: int = 0) -> TrainingData:
    """100 normal rows, then 20 labelled anomalies 4 standard deviations away; `held` of each are validation instead."""
    rows = torch.randn(120, 5, generator=torch.Generator().manual_seed(1))
    rows[100:] += 4
    semi = np.r_[np.zeros(100, np.int8), -np.ones(20, np.int8)]
    kept = np.r_[held:100, 100 + held : 120]
    out = np.setdiff1d(np.arange(120), kept)
    validation = [(out, (out >= 100).astype(np.int8))] * seeds if held else ()
    return TrainingData(rows, [kept] * seeds, [semi[kept]] * seeds, validation)


def shape_of(variant: str) -> tuple[int, int, int]:
    """(H, W, C) of pictures for one of VARIANTS."""
    return SHAPES[VARIANTS[variant].get("network", {}).get("form", "table6")]


def pictures(shape: tuple[int, int, int] = SHAPES["table6"]) -> TrainingData:
    """32 noise pictures, and 8 more as labelled anomalies."""
    numbers = np.random.default_rng(0)
    items = torch.from_numpy(numbers.integers(0, 256, (40, *shape), dtype=np.uint8))
    return TrainingData(items, [np.arange(40)], [np.r_[np.zeros(32, np.int8), -np.ones(8, np.int8)]])


def scores(method, data, **more):
    """The method's own score of all items of `data`, (S, N) or (N,)."""
    batches = score_batches(method, data.items, np.arange(len(data.items)), torch.device("cpu"), **more)
    return torch.cat([terms["eq9"] for _, _, terms in batches], -1)
