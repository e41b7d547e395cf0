"""Which settings have no effect on a method and a kind of data, and why: a person who states one should hear it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pydantic import BaseModel

from esad.models.methods.registry import METHODS
from esad.models.settings import MethodSettings, OptimiserSettings


class Rule(NamedTuple):
    """Settings (dotted names, or sections) that have no effect where `applies(settings, pictures)`, and why."""

    names: tuple[str, ...]
    applies: Callable[[MethodSettings, bool], bool]
    why: str


RULES = (
    Rule(
        ("network.hidden", "network.code"),
        lambda _, pictures: pictures,
        "pictures go through convolutions, which network.width scales",
    ),
    Rule(
        ("network.affine", "network.bias"),
        lambda settings, pictures: pictures and settings.network.form == "table6",
        "pictures go through the convolutions of Table 6, which network.width scales",
    ),
    Rule(
        ("network.upsample",),
        lambda settings, pictures: pictures and settings.network.form != "table6",
        "the decoder of a LeNet doubles its maps by nearest neighbours",
    ),
    Rule(
        ("network.form", "network.channels", "network.upsample", "network.linear", "network.gate"),
        lambda _, pictures: not pictures,
        "rows of a table go through linear layers",
    ),
    Rule(
        ("loss.score_block",),
        lambda _, pictures: not pictures,
        "rows of a table have no neighbouring pixels",
    ),
    Rule(
        ("network.gate",),
        lambda settings, _: settings.network.linear is None,
        "network.linear = null leaves no linear code to shut off",
    ),
    Rule(
        ("network.width",),
        lambda settings, pictures: not pictures and settings.network.hidden is not None,
        "network.hidden states the widths",
    ),
    Rule(("train.precision",), lambda _, pictures: not pictures, "tables are computed in float32"),
    Rule(
        ("train.labelled_per_batch",),
        lambda settings, _: settings.train.batches == "joint",
        "train.batches = joint draws labelled items with the others",
    ),
    Rule(
        ("train.milestone",),
        lambda settings, _: settings.train.schedule != "milestone",
        "it belongs to train.schedule = milestone",
    ),
    Rule(
        ("train.warmup.milestone",),
        lambda settings, _: settings.train.warmup.schedule != "milestone",
        "it belongs to train.warmup.schedule = milestone",
    ),
    Rule(
        ("train.momentum",),
        lambda settings, _: settings.train.optimiser == "adam",
        "Adam has none of its kind",
    ),
    Rule(
        ("train.warmup.momentum",),
        lambda settings, _: settings.train.warmup.optimiser == "adam",
        "Adam has none of its kind",
    ),
    Rule(
        ("train.beta1", "train.beta2"),
        lambda settings, _: settings.train.optimiser != "adam",
        "they belong to Adam",
    ),
    Rule(
        ("train.warmup.beta1", "train.warmup.beta2"),
        lambda settings, _: settings.train.warmup.optimiser != "adam",
        "they belong to Adam",
    ),
    Rule(
        ("backbone.sha256",),
        lambda settings, _: settings.backbone.weights is None,
        "backbone.weights = null takes the installed package, whose file is known",
    ),
    Rule(("train.epochs",), lambda settings, _: settings.train.steps is not None, "train.steps wins over it"),
    Rule(
        ("train.warmup.epochs",),
        lambda settings, _: settings.train.warmup.steps is not None,
        "train.warmup.steps wins over it",
    ),
    Rule(
        tuple(
            f"train.warmup.{name}"
            for name in OptimiserSettings.model_fields
            if name not in {"epochs", "steps"}
        ),
        lambda settings, _: (
            settings.train.warmup.steps == 0
            or (settings.train.warmup.steps is None and not settings.train.warmup.epochs)
        ),
        "the warm-up has no length (train.warmup.epochs, train.warmup.steps)",
    ),
    Rule(
        ("loss.eps",), lambda settings, _: settings.loss.lambda1 == 0, "loss.lambda1 = 0 leaves the norm out"
    ),
    Rule(
        ("loss.association",),
        lambda settings, _: settings.loss.lambda2 == 0,
        "loss.lambda2 = 0 leaves the association out",
    ),
    Rule(
        ("deep_svdd.nu", "deep_svdd.radius_warmup"),
        lambda settings, _: settings.deep_svdd.objective == "one_class",
        "it belongs to deep_svdd.objective = soft_boundary",
    ),
    Rule(
        ("loss.association", "loss.lambda2"),
        lambda settings, _: not settings.network.second_encoder,
        "without a second encoder there is no association",
    ),
)


def ignored_settings(settings: MethodSettings, pictures: bool) -> dict[str, str]:
    """Dotted name of each setting of the model that changes nothing under these settings -> why."""
    reads = METHODS[settings.method].settings_read(settings)
    found = {}
    for name in leaves(MethodSettings):
        if name != "method" and not any(_within(name, section) for section in reads):
            found[name] = f"method {settings.method} does not use it"
    for rule in RULES:
        if rule.applies(settings, pictures):
            found |= {name: rule.why for name in rule.names}
    return found


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings below `model` that are no sections."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _within(name: str, section: str) -> bool:
    return name == section or name.startswith(f"{section}.")
