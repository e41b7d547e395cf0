"""The files of a RUN folder, read: one that is missing or damaged ends in one line that names it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from esad.pipeline.runs.shapes import Provenance, check_shape
from esad.pipeline.settings.plain_yaml import load_yaml
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.preprocessing.store.kinds import KINDS
from esad.preprocessing.store.opening import check_settings
from esad.preprocessing.store.reading import (
    check_entries,
    check_finite_numbers,
    check_numbers,
    check_texts,
    damaged,
    read_array,
    read_object,
    read_table,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

COMBINED = "combined"
"""The `method` of a folder of combined scores (`esad combine`), which is a RUN for the stages after scoring and has no weights."""
Entries = dict[str, type | tuple[type, ...]]

CONFIG: Entries = {"store": dict, "method": str, "seed": int, "data": dict}
STORE: Entries = {"path": str, "name": str, "kind": str, "shape": list, "settings": dict}
"""What config.yaml, and its part on the store, hold at least,"""
OF_A_MODEL: Entries = {"network": dict, "loss": dict, "train": dict, "score": dict}
"""and what a model is built and described by."""
PROVENANCE: Entries = {"seed": int, "device": str, "steps": int, "versions": dict}


def train_again(run: Path) -> str:
    """What to do about a damaged run, at the end of a sentence."""
    return f"train again with: esad train STORE --out {shlex.quote(str(run))} --force"


def read_config(run: Path) -> dict[str, Any]:
    """The content of RUN/config.yaml; UsageError where no such folder is, EsadError where it is no run, or damaged."""
    if not run.exists():
        raise UsageError(f"{run}: no such folder; expected a run.")
    path, remedy = run / "config.yaml", train_again(run)
    if not path.is_file():
        raise EsadError(f"{run}: not a run (no config.yaml); make one with: esad train STORE --out {run}")
    content = read_object(path, remedy, CONFIG, load_yaml, (yaml.YAMLError, ValueError, RecursionError))
    check_entries(path, content["store"], remedy, STORE)
    if content["store"]["kind"] not in KINDS:
        raise damaged(path, f"is damaged (store.kind = {content['store']['kind']!r})", remedy)
    if not all(type(side) is int for side in content["store"]["shape"]):
        raise damaged(path, f"is damaged (store.shape = {content['store']['shape']!r})", remedy)
    check_settings(path, content["store"]["settings"], remedy)
    return content


def check_config(run: Path, content: dict[str, Any]) -> None:
    """EsadError where config.yaml lacks what a model is built of, or which inputs its store was made of."""
    path, remedy = run / "config.yaml", train_again(run)
    check_entries(path, content, remedy, OF_A_MODEL)
    check_entries(path, content["store"], remedy, {"inputs": str})


def read_provenance(run: Path) -> dict[str, Any]:
    """The content of RUN/provenance.json; EsadError where it is missing or damaged."""
    path, remedy = run / "provenance.json", train_again(run)
    content = read_object(path, remedy, PROVENANCE)
    check_shape(path, content, Provenance, remedy)
    return content


def read_assignments(run: Path, also: Sequence[str] = ()) -> pd.DataFrame:
    """RUN/assignments.parquet: item_id, part, label, semi_label, and those of `also` that it has; EsadError where it is missing or
    damaged."""
    path, columns = run / "assignments.parquet", ("item_id", "part", "label", "semi_label")
    table = read_table(path, train_again(run), columns, also)
    check_numbers(path, table, ("label", "semi_label"), train_again(run))
    check_texts(path, table, ("item_id", "part", *also), train_again(run))
    return table


TERMS = ("eq9", "standardised", "reconstruction", "norm")
"""Columns of scores and normals that hold a term of the score, or another form of it."""


def read_normals(run: Path) -> pd.DataFrame:
    """RUN/normals.parquet: scores and terms of reference normals; EsadError where it is missing or damaged."""
    columns = ("item_id", "score", "eq9", "reconstruction", "norm")
    return _checked_normals(run, read_table(run / "normals.parquet", train_again(run), columns), columns[1:])


def read_references(run: Path, also: Sequence[str] = ()) -> pd.DataFrame:
    """Of RUN/normals.parquet item_id, score and, where it says so, group and `also`; EsadError where it is missing or damaged."""
    table = read_table(run / "normals.parquet", train_again(run), ("item_id", "score"), ("group", *also))
    return _checked_normals(run, table, ("score",))


def _checked_normals(run: Path, normals: pd.DataFrame, needed: Sequence[str]) -> pd.DataFrame:
    """`normals`; EsadError where it has no row, a column of `needed` lacks a finite number, or another of TERMS has an infinite one."""
    path, remedy = run / "normals.parquet", train_again(run)
    if not len(normals):
        raise damaged(path, "is damaged (it has no row)", remedy)
    check_finite_numbers(path, normals, TERMS, remedy)
    check_finite_numbers(path, normals, needed, remedy, missing=False)
    check_texts(path, normals, ("item_id", "group", "view", "site", "source", "part"), remedy)
    return normals


def read_run_sources(run: Path) -> pd.DataFrame:
    """RUN/sources.parquet: source, fingerprint; EsadError where it is missing or damaged."""
    path, remedy = run / "sources.parquet", train_again(run)
    table = read_table(path, remedy, ("source", "fingerprint"))
    check_texts(path, table, ("source", "fingerprint"), remedy)
    if table["source"].isna().any():
        raise damaged(path, "is damaged (column 'source' has a row without a value)", remedy)
    return table


def read_history(run: Path) -> pd.DataFrame:
    """RUN/history.csv: step, phase, term, value; EsadError where it is missing or damaged."""
    import pandas as pd

    path, columns = run / "history.csv", ("step", "phase", "term", "value")
    try:
        if not path.read_bytes().endswith(b"\n"):
            raise ValueError(path)
        table = pd.read_csv(path)
        numbers = all(pd.api.types.is_numeric_dtype(table[name].dtype) for name in ("step", "value"))
    except (OSError, ValueError, KeyError) as error:
        raise damaged(
            path, f"is missing or damaged (expected {', '.join(columns)})", train_again(run)
        ) from error
    if not numbers or not set(columns) <= set(table):
        raise damaged(path, f"is damaged (expected {', '.join(columns)})", train_again(run))
    return table


def read_heat_scales(run: Path) -> dict[str, dict[str, float]]:
    """RUN/heat.json: quantiles of each kind of heat map; EsadError where it is missing or damaged."""
    path, remedy = run / "heat.json", train_again(run)
    content = read_object(path, remedy, {})
    for name in content:
        check_entries(path, content, remedy, {name: dict})
        check_entries(path, content[name], remedy, dict.fromkeys(content[name], (float, int)))
    return content


def read_mean_picture(run: Path, shape: tuple[int, ...]) -> np.ndarray:
    """RUN/mean_normal.npy, of this shape (H, W, C); EsadError where it is missing or damaged."""
    path, remedy = run / "mean_normal.npy", train_again(run)
    picture = read_array(path, remedy)
    if picture.shape != shape or picture.dtype.kind != "f":
        raise damaged(path, f"is damaged (shape {picture.shape}, expected {shape})", remedy)
    return picture


def read_weights(run: Path) -> dict[str, torch.Tensor]:
    """The tensors of RUN/model.safetensors by name; EsadError where it is missing or damaged."""
    from safetensors.torch import load_file

    check_weights(run)
    return load_file(run / "model.safetensors")


def check_weights(run: Path) -> None:
    """EsadError where RUN/model.safetensors is emptied, cut off or something else; its header and length are looked at."""
    from safetensors import SafetensorError, safe_open

    path = run / "model.safetensors"
    try:
        with safe_open(path, framework="np") as file:
            known = list(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, "is damaged (it is no safetensors file, or cut off)", train_again(run)) from error
    if not known:
        raise damaged(path, "is damaged (it holds no weights)", train_again(run))
