"""Opening a run: its settings, its trained method, its reference scores, and whether a store fits it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.runs.run_files import (
    COMBINED,
    check_config,
    check_weights,
    read_assignments,
    read_config,
    read_heat_scales,
    read_mean_picture,
    read_normals,
    read_run_sources,
    read_weights,
    train_again,
)
from esad.pipeline.settings.config import RunSettings, first_difference, resolve
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.ranks import own_cuda, several
from esad.preprocessing.store.reading import damaged

__all__ = [
    "INPUT_SETTINGS",
    "Run",
    "input_settings",
    "like_settings",
    "open_run",
    "read_config",
    "resolve_device",
]

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from esad.models.detector import Method
    from esad.models.training.augment import Augmentation
    from esad.pipeline.runs.grey_levels import GreyLevels
    from esad.preprocessing.store.store import Store

INPUT_SETTINGS = {
    "tiles": ("magnification", "mpp", "tile_size", "stain", "stain_scope", "stain_target", "scaled_decode"),
    "radiographs": ("resizing", "crop", "size", "equalise"),
    "images": ("size", "colour"),
    "table": (),
    "embeddings": ("encoder", "layers", "input", "of"),
}
"""The ingest settings that decide what a picture looks like, or what made a vector: a run takes only stores made with its own."""
BEFORE = {"resizing": "crop768", "equalise": False}
"""What stores did that are older than the setting."""
UNSTATED = ("colour",)
"""Settings that older stores do not state, but the shape of an item does."""


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, and under torchrun this process's own; UsageError for a device that is not there."""
    import torch

    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is unknown; expected auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {name!r}: this machine has no CUDA device; use --device auto or cpu.")
    if device.type == "cuda" and several():
        return torch.device("cuda", own_cuda(name, device.index))
    return device


def like_settings(store: Mapping[str, Any]) -> dict[str, Any]:
    """The ingest settings that make items as those of `store`, config.yaml's section of a run.

    Of tables: their feature columns by name, so that a new table may hold others in any order, the values of their
    categorical columns, and what becomes of holes.
    """
    settings = store["settings"]
    if store["kind"] != "table":
        known = input_settings(store["kind"], settings)
        return {name: value for name, value in known.items() if name in settings}
    categories = settings.get("categories") or {}
    made = {f"{name}={value}": name for name, values in categories.items() for value in values}
    names = list(dict.fromkeys(made.get(name, name) for name in store.get("columns") or []))
    numbered = names == [
        str(number) for number in range(len(names))
    ]  # of npz and mat files, which have no names
    like = {name: settings[name] for name in ("missing", "categorical", "categories") if name in settings}
    return {**like, "columns": None if numbered or not names else names}


def input_settings(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The part of a store's settings that INPUT_SETTINGS names."""
    return {name: settings.get(name, BEFORE.get(name)) for name in INPUT_SETTINGS[kind]}


@dataclass(frozen=True)
class Run:
    """A finished run, opened read-only."""

    root: Path
    settings: RunSettings
    store: dict[str, Any]
    """path, name, kind, shape and settings of the store that it was trained on."""

    @cached_property
    def assignments(self) -> pd.DataFrame:
        """item_id, part, label, semi_label; an item of both sides of a published split has two rows, its test row last."""
        return read_assignments(self.root)

    @cached_property
    def sources(self) -> pd.DataFrame:
        """source, fingerprint of the files that the run's store was made of."""
        return read_run_sources(self.root)

    @cached_property
    def normals(self) -> pd.DataFrame:
        """Reference scores of normal items held out of training."""
        return read_normals(self.root)

    @cached_property
    def scales(self) -> dict[str, dict[str, float]]:
        """Quantiles of the heat maps' pixels over reference normals (`esad.pipeline.scoring.heat`): the run's colour scales."""
        return read_heat_scales(self.root)

    @cached_property
    def mean_normal(self) -> np.ndarray:
        """Mean of the run's normal training pictures: float32 (H, W, C) in [0, 255]."""
        return read_mean_picture(self.root, self.augmentation.shape(tuple(self.store["shape"])))

    @cached_property
    def digest(self) -> str:
        """Of the weights, and of what is done before them: what was made of this model and what of another is told apart by it."""
        content = (self.root / "model.safetensors").read_bytes()
        if self.grey_levels is not None:
            content += json.dumps(
                [self.grey_levels.reference.tolist(), *sorted(self.grey_levels.sites)]
            ).encode()
        return hashlib.sha256(content).hexdigest()[:16]

    @cached_property
    def grey_levels(self) -> GreyLevels | None:
        """The grey levels of its training sites; None for a run that does not map them."""
        from esad.pipeline.runs.grey_levels import read_grey_levels

        return read_grey_levels(self.root) if self.settings.data.site_normalisation != "none" else None

    @property
    def augmentation(self) -> Augmentation:
        """Crop and flips of the run."""
        from esad.models.training.augment import Augmentation

        return Augmentation(self.settings.data.crop, self.settings.data.flip)

    def method(self, device: torch.device) -> Method:
        """The trained method in evaluation mode; EsadError where the weights do not fit the settings."""
        from esad.models.methods.registry import build

        try:
            method = build(
                self.settings, self.augmentation.shape(tuple(self.store["shape"])), (self.settings.seed,)
            )
        except ValueError as error:  # weights of another package are not here
            raise EsadError(f"{self.root}: {error}") from error
        path = self.root / "model.safetensors"
        try:
            method.load_state_dict(read_weights(self.root))
        except RuntimeError as error:
            raise EsadError(f"{path}: does not fit the run's config.yaml ({error}).") from error
        return method.to(device).eval()

    def seen(self, store: Store) -> Store:
        """`store` as the networks of this run see it: itself, but for runs that map grey levels by site."""
        from esad.pipeline.runs.grey_levels import levelled

        return levelled(store, self.grey_levels)

    def training_store(self, whole: bool = True) -> Store:
        """The store that the run was trained on (`whole`: see `Store`); EsadError names the path where it is gone."""
        from esad.preprocessing.store.store import Store

        path = Path(self.store["path"])
        if not path.exists():
            raise EsadError(f"{path}: the run's own store is gone; name one: esad score {self.root} STORE")
        return Store(path, whole)

    def is_own(self, store: Store) -> bool:
        """Whether it is the store that the run was trained on, be it moved: by its inputs' contents.

        One that was made anew of other inputs at the same path is not.
        """
        return store.description["inputs"] == self.store["inputs"]

    def check(self, store: Store) -> None:
        """EsadError where `store` was made with other settings than the run's store, naming the setting."""
        remedy = f"Make it with the ingest option --like {self.root}."
        if store.kind == "embeddings":
            remedy = "Make it with the encoder, layers and input that the run's vectors were made with, of items made alike."
        if store.kind != self.store["kind"]:
            raise EsadError(
                f"{store.root}: a store of {store.kind}; {self.root} was trained on {self.store['kind']}."
            )
        wanted = input_settings(store.kind, self.store["settings"])
        found = input_settings(store.kind, store.settings)
        for name in UNSTATED:
            if None in (wanted.get(name), found.get(name)):
                wanted, found = ({key: each[key] for key in each if key != name} for each in (wanted, found))
        difference = first_difference(wanted, found)
        if difference:
            raise EsadError(f"{store.root}: does not fit {self.root}: {difference}. {remedy}")
        ours, theirs = self.store.get("columns") or [], store.columns
        unlike = [pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]]
        if unlike:
            raise EsadError(
                f"{store.root}: does not fit {self.root}: column {unlike[0][1]!r} stands where {unlike[0][0]!r} was in training."
            )
        if list(store.shape) != list(self.store["shape"]):
            shapes = f"{tuple(self.store['shape'])} -> {store.shape}"
            raise EsadError(f"{store.root}: does not fit {self.root}: shape of an item: {shapes}. {remedy}")


def open_run(root: Path) -> Run:
    """Open a finished run; EsadError where training has not ended, and for combined scores, which have no model."""
    config = read_config(root)
    if config["method"] == COMBINED:
        raise EsadError(
            f"{root}: holds combined scores and no model. Name one of the runs that were combined; new items are scored by each of these "
            "and then combined (esad combine)."
        )
    check_config(root, config)
    store, path = config.pop("store"), root / "config.yaml"
    if not (root / "model.safetensors").is_file():
        raise EsadError(
            f"{root}: training has not finished; run the same esad train command again to continue it."
        )
    check_weights(root)
    try:
        return Run(root, resolve(RunSettings, config), store)
    except UsageError as error:  # nobody asked for these settings: the file holds them
        told = str(error).rstrip(".")
        raise damaged(path, f"is damaged, or of another esad ({told})", train_again(root)) from error
