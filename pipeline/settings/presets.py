"""Settings by name. Without a preset: what works best here per kind of store (method.md#recipes and README's
results); `paper`: the letter of the paper (decisions.md), `paper-NAME`: with what it does on one of its data
sets; `cpu` and `demo`: smaller networks, shorter training.

Numbers like 4.3 are the paper's sections; `PAGE.md#…` are headings of the pages in docs/explanation/.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esad.pipeline.settings.budgets import BUDGETS, NEVER_FLIPPED, PUBLISHED_FOR, form_of
from esad.pipeline.settings.config import RunSettings, flat, resolve
from esad.pipeline.stage.errors import UsageError
from esad.preprocessing.store.kinds import ROWS

if TYPE_CHECKING:
    from esad.preprocessing.store.store import Store


_ADAM = {"optimiser": "adam", "learning_rate": 1e-3}

TABLE: dict[str, Any] = {
    "network.width": 4.0,
    "loss.lambda1": 0.1,
    "loss.lambda2": 0.1,
    "loss.reconstruction": "sum",
    "loss.labelled_weight": 0.3,
    "loss.eps": 0.01,
    "phi.noise": 0.0,
    "train": {
        "optimiser": "sgd", "learning_rate": 0.003, "momentum": 0.9, "weight_decay": 1e-6, "steps": 800,
        "batch_size": 128, "batches": "balanced", "labelled_per_batch": 8,
        "warmup": {**_ADAM, "schedule": "constant", "steps": 3000},
    },
}  # fmt: skip
"""One recipe for all tables; method.md#recipe-tables has the trials that it came from."""

EMBEDDINGS: dict[str, Any] = {
    **TABLE,
    "network.width": 1.0,  # layers of 128, 64 and 32 or so
    "loss.reconstruction": "mean",
    "loss.score_lambda1": 1.0,
    "train": {
        **TABLE["train"],
        **_ADAM,
        "steps": 400,
        "warmup": {**_ADAM, "schedule": "constant", "steps": 300},
    },
}
"""The recipe of tables reconstructs a thousand numbers, whose error drowns the norm: on a validation part of PCam's training items
(EfficientNet-Lite0, two seeds) it gave an AUC of 65, this one 84 (docs/results.md#features has the trials)."""

PICTURES: dict[str, Any] = {
    "network.width": 0.25,
    "network.linear": 32,
    "loss.lambda1": 0.01,
    "loss.lambda2": 0.01,
    "loss.score_lambda1": 1.0,
    "loss.score_block": 8,
    "loss.labelled_weight": 0.3,
    "data.flip": "both",
    "train": {
        **_ADAM, "schedule": "cosine", "epochs": 20, "batch_size": 32, "batches": "balanced", "labelled_per_batch": 8,
        "warmup": {**_ADAM, "schedule": "constant", "epochs": 5},
    },
}  # fmt: skip
"""One recipe for all pictures; reconstruction.md has the trials that it came from. Other images have a linear code of 64
numbers a patch: of pictures of 28 or 32 pixels, which have four patches, 32 keep less than 64 components of the whole do."""

SMALL = {"network.width": 0.125}

PAPER: dict[str, Any] = {"train.epochs": 200, "train.warmup.epochs": 0, "data.validation_share": 0.0}
"""The letter: the defaults of `esad.models.settings` are the paper's (SGD at 0.1 halved every 50 epochs, batches of 32,
lambda1 = lambda2 = 1, Table 6); here stand the length (6.3) and that nothing is held out of training
(protocols.md#counts, decisions.md#a25)."""

PAPER_TABLE = {**PAPER, "network.affine": False, "network.bias": False}
"""4.4: networks aligned with Deep SAD's, which have neither (other-methods.md#deep-sad-networks)."""

PAPER_PICTURES = {**PAPER, "network.channels": 3, "train.precision": "float32"}
"""Table 6: 3 x H x W for all sets; grey is repeated (decisions.md#a19). 6.3: PyTorch's defaults."""

ONE_CLASS_NORMAL: dict[str, Any] = {
    "data.labelled": "ratio",
    "data.gamma_l": 0.05,  # of Table 1's .00 to .20 the one that 6.6 keeps in its other scenarios
    "data.k_l": 1,  # 4.2: labelled anomalies come from one of the nine other classes
    "data.flip": "none",  # decisions.md#a20
}
"""4.2: each class in turn is the normal one, which only the caller can say: --set data.normal_classes='[0]'."""

NIH: dict[str, Any] = {
    "data.labelled": "all",  # 6.4: the store has the labelled ones, 3.9 % (AP), 3.3 % (PA), 857 (subset)
    "data.flip": "none",  # decisions.md#a20
}
"""4.3: of stores made by `esad radiographs --protocol nih-ap` (nih-pa, nih-subset)."""

PAPER_SETS: dict[str, tuple[set[str], dict[str, Any]]] = {
    "paper-mnist": ({"images"}, ONE_CLASS_NORMAL),
    "paper-fashion-mnist": ({"images"}, ONE_CLASS_NORMAL),
    "paper-cifar10": ({"images"}, {**ONE_CLASS_NORMAL, "data.flip": "horizontal"}),  # decisions.md#a20
    "paper-camelyon16": (
        {"tiles", "images"},
        {
            "data.labelled": "all",  # 4.3: 200 tiles of four slides (`esad tile --protocol camelyon16`)
            "data.crop": 64,  # 4.3: 64 x 64, out of the 192 that are stored (protocols.md#camelyon16-crops)
            "data.flip": "both",  # decisions.md#a20
        },
    ),
    "paper-nih-ap": ({"radiographs", "images"}, {**NIH, "data.where": {"view": "AP"}}),  # 4.3
    "paper-nih-pa": ({"radiographs", "images"}, {**NIH, "data.where": {"view": "PA"}}),  # 4.3
    "paper-nih-subset": ({"radiographs", "images"}, NIH),  # 4.3: both views
    "paper-odds": (
        {"table"},
        {
            "data.labelled": "ratio",
            "data.gamma_l": 0.01,  # 4.4
            "data.test_share": 0.4,  # 6.4: 60:40
        },
    ),
}
"""The paper's data sets: the kinds of store that each is, and its settings over those of PAPER, each beside its source."""
NEEDS_NORMAL_CLASSES = tuple(name for name, (_, of_set) in PAPER_SETS.items() if "data.k_l" in of_set)
"""Presets that need data.normal_classes: one class is normal, the others are anomalies."""

BY_KIND: dict[str, dict[str, Any]] = {
    "table": TABLE,
    "embeddings": EMBEDDINGS,
    "tiles": PICTURES,
    "images": {**PICTURES, "data.flip": "none", "network.linear": 64},
    "radiographs": {**PICTURES, "data.flip": "horizontal"},
}
PRESETS = ("paper", *PAPER_SETS, "cpu", "demo")

_DEEP_SAD: dict[str, Any] = {**_ADAM, "weight_decay": 1e-6, "schedule": "constant"}
DEEP_SAD_TABLE: dict[str, Any] = {
    "network.width": 1.0, "network.affine": False, "network.bias": False, "loss.reconstruction": "mean",
    "train": {
        **_DEEP_SAD, "epochs": 50, "batch_size": 128, "batches": "joint", "warmup": {**_DEEP_SAD, "epochs": 100},
    },
}  # fmt: skip
"""Deep SAD's networks and its public code's defaults (other-methods.md#schedules), which the other methods on
tables get, too."""

OTHER_PICTURES: dict[str, Any] = {"score.kind": "eq9", "train.batches": "joint"}
"""The other methods on pictures: ESAD's networks, rate and length of training, Deep SAD's batches
(other-methods.md#schedules)."""

_DEEP_SAD_MNIST = {**_ADAM, "learning_rate": 1e-4, "schedule": "milestone", "milestone": 1 / 3, "epochs": 150}
PAPER_OTHER_PICTURES: dict[str, Any] = {
    "train": {
        **_DEEP_SAD_MNIST, "weight_decay": 0.5e-6, "batch_size": 128, "batches": "joint",
        "warmup": {**_DEEP_SAD_MNIST, "schedule": "constant", "weight_decay": 0.5e-3},
    },
}  # fmt: skip
"""The one command that Deep SAD's authors give (other-methods.md#schedules), for pictures."""

LENET: dict[str, Any] = {"network.width": 1.0, "network.linear": None, "network.channels": None}
"""A LeNet (`network.form`) is small as it is, has a code without places, and is made for the channels that are stored
(other-methods.md#lenets)."""
LENET_AS_PUBLISHED = {**LENET, "network.affine": False, "network.bias": False}
"""Table 5's shallow network is Deep SAD's, which has neither (other-methods.md#deep-sad-networks)."""

SHALLOW = {"oc_svm", "isolation_forest", "ssad"}
"""Methods that train a network, the plain autoencoder, in their hybrid form alone."""
CHOOSES_BY_VALIDATION = {"oc_svm", "ssad"}
"""Methods whose kernel is chosen on a part held out of training, with the paper's settings, too."""


def method_settings(kind: str, method: str, preset: str | None) -> dict[str, Any]:
    """What a method other than ESAD and the plain autoencoder, which share ESAD's, is trained with: its own budget, or
    Deep SAD's settings."""
    if method in {"esad", "cae"}:
        return {}
    as_published = bool(preset and preset.startswith("paper"))
    if method in BUDGETS:
        budget = BUDGETS[method]
        of_set = PUBLISHED_FOR.get((method, preset or ""), {})
        return {"score.kind": "eq9", **(budget.published if as_published else budget.cpu), **of_set}
    chosen = {"data.validation_share": 0.1} if method in CHOOSES_BY_VALIDATION else {}
    if kind in ROWS:
        return {**DEEP_SAD_TABLE, **chosen}
    return {**(PAPER_OTHER_PICTURES if as_published else OTHER_PICTURES), **chosen}


def lenet_settings(preset: str | None, method: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """What pictures get over kind, preset and method where the dotted settings in `stated` ask for a LeNet: as for rows of
    a table, ESAD and the plain autoencoder have Deep SAD's networks to the letter with the presets named `paper` alone,
    the other methods always."""
    own_networks = method in BUDGETS or (method in SHALLOW and stated.get(f"{method}.input", "raw") == "raw")
    if stated.get("network.form", "table6") == "table6":
        return {}
    if own_networks:
        return {"network.linear": None}  # which they do not use either, and which no LeNet can have
    ours = method in {"esad", "cae"} and not (preset and preset.startswith("paper"))
    return LENET if ours else LENET_AS_PUBLISHED


def preset_settings(kind: str, name: str | None, method: str = "esad") -> list[dict[str, Any]]:
    """Layers of settings for a kind of store, a preset and a method (later ones win).

    UsageError for an unknown preset.
    """
    own = method_settings(kind, method, name)
    if name is None:
        return [BY_KIND[kind], own]
    if name not in PRESETS:
        raise UsageError(f"--preset {name!r} is unknown; expected one of {', '.join(PRESETS)}.")
    table = kind in ROWS
    if name.startswith("paper"):
        kinds, of_set = PAPER_SETS.get(name, ({kind}, {"data.flip": "both"} if kind == "tiles" else {}))
        if kind not in kinds:
            raise UsageError(
                f"--preset {name} is for a store of {' or '.join(sorted(kinds))}; this is one of {kind}."
            )
        return [PAPER_TABLE if table else PAPER_PICTURES, of_set, own]
    if name == "cpu":
        return [BY_KIND[kind], own, {} if table else SMALL]
    short: dict[str, Any] = {"train.steps": 300, "train.warmup.steps": 500 if table else 100}
    return [BY_KIND[kind], own, short if table else {**SMALL, **short}]


def protocol_settings(ingest: Mapping[str, Any]) -> dict[str, Any]:
    """What a published set of tiles trains with, from the ingest settings of its store: its crop and flips.

    decisions.md#a20.
    """
    from esad.data_manifests.loader import load_manifest

    rule = load_manifest("camelyon16").protocol
    published = ingest.get("protocol") or ingest.get("tile_list")
    if rule is None or not published or ingest["tile_size"] <= rule.crop:
        return {}
    return {"data.crop": rule.crop, "data.flip": "both"}


LISTED_TILE = 192
"""Side at 10x of the 768 level-0 pixels of Camelyon16's published tiles (protocols.md#camelyon16)."""


def published_tiles(listed: bool, protocol: str | None) -> dict[str, Any]:
    """The ingest settings of a published set of tiles, cut by its lists or by its rule: training crops 64 of a tile."""
    size = {"tile_size": LISTED_TILE} if listed or protocol else {}
    return {**size, "stain": "vahadane-dpa"} if protocol else size


def run_settings(store: Store, preset: str | None, overrides: Sequence[dict[str, Any]]) -> RunSettings:
    """The settings of a run on `store`: its kind's, the preset's, the method's, then `overrides` (later ones win)."""
    settings = resolve(RunSettings, *preset_layers(store, preset, overrides))
    if preset in NEEDS_NORMAL_CLASSES and settings.data.normal_classes is None:
        raise UsageError(_which_is_normal(store, str(preset)))
    return settings


CLASSES_SHOWN = 12


def _which_is_normal(store: Store, preset: str) -> str:
    """What to say where a one-class preset lacks the normal class: the setting, the store's classes, a command."""
    stated = store.manifest["class_name"].dropna().astype(str) if "class_name" in store.manifest else None
    names = sorted(stated.unique()) if stated is not None else []
    more = f" and {len(names) - CLASSES_SHOWN} more" if len(names) > CLASSES_SHOWN else ""
    there = (
        f"the store has the classes {', '.join(names[:CLASSES_SHOWN])}{more}"
        if names
        else "the store has no classes (class_name)"
    )
    value = shlex.quote(json.dumps([names[0] if names else "0"], ensure_ascii=False))
    return (
        f"--preset {preset} takes one class as normal, and data.normal_classes does not say which; {there}. For example: "
        f"esad train {shlex.quote(str(store.root))} --out RUN --preset {preset} --set data.normal_classes={value}"
    )


def preset_layers(
    store: Store, preset: str | None, overrides: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The layers that `run_settings` resolves."""
    method = next((layer["method"] for layer in reversed(overrides) if layer.get("method")), "esad")
    published = protocol_settings(store.settings) if store.kind == "tiles" else {}
    if published and method in NEVER_FLIPPED:
        published = {**published, "data.flip": "none"}
    stated = {name: value for layer in overrides for name, value in flat(layer).items()}
    form = form_of(method, stated)
    lenet = lenet_settings(preset, form, stated) if store.pictures else {}
    return [*preset_settings(store.kind, preset, form), published, lenet, *overrides]
