"""The settings and presets as Markdown tables, made from their models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from esad.pipeline.settings.config import (
    ImageSettings,
    RadiographSettings,
    RunSettings,
    TableSettings,
    TileSettings,
    resolve,
)
from esad.pipeline.settings.embeddings import EmbeddingSettings, EncoderSettings
from esad.pipeline.settings.presets import BY_KIND, PRESETS, preset_settings
from esad.pipeline.stage.errors import UsageError

INGEST = {
    "tile": TileSettings,
    "radiographs": RadiographSettings,
    "images": ImageSettings,
    "tables": TableSettings,
    "embeddings": EmbeddingSettings,
    "embed": EncoderSettings,
}
WORDS = {
    bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "null", Path: "path",
}  # fmt: skip
LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}

Setting = tuple[str, FieldInfo, Any]
"""Dotted name, what its model says of it, its default."""


def ingest_settings() -> str:
    """The settings of each stage that makes a store."""
    return "\n".join(f"### esad {name}\n\n{_table(_settings(model()))}" for name, model in INGEST.items())


def run_settings() -> str:
    """The settings of a run: those of no group, then a section for each group."""
    run = RunSettings()
    alone = [each for each in _settings(run) if "." not in each[0]]
    parts = [f"### Of the whole run\n\n{_table(alone)}"]
    for name in type(run).model_fields:
        group = getattr(run, name)
        if isinstance(group, BaseModel):
            parts.append(
                f"### {name}\n\n{_one_line(group.__doc__)}\n\n{_table(_settings(group, name + '.'))}"
            )
    return "\n".join(parts)


def defaults_by_kind() -> str:
    """What a run without a preset is trained with, where that differs from the settings' own defaults."""
    return _changed(None)


def presets() -> str:
    """What each preset sets, for the kinds of store that it is for."""
    return "\n".join(f"### {name}\n\n{_changed(name)}" for name in PRESETS)


def _changed(preset: str | None) -> str:
    """A row for each setting that differs from its default, a column for each kind of store that the preset is for."""
    defaults = _values(RunSettings())
    found: dict[str, dict[str, Any]] = {}
    for kind in BY_KIND:
        try:
            found[kind] = _values(resolve(RunSettings, *preset_settings(kind, preset)))
        except UsageError:  # a preset of another kind of store
            continue
    names = [name for name in defaults if any(values[name] != defaults[name] for values in found.values())]
    rows = (row(f"`{name}`", *(_literal(values[name]) for values in found.values())) for name in names)
    return "\n".join([row("setting", *found), "|---" * (1 + len(found)) + "|", *rows, ""])


def _settings(model: BaseModel, prefix: str = "") -> Iterator[Setting]:
    """Every setting of `model`, those of its groups included."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield prefix + name, field, value


def _values(model: BaseModel) -> dict[str, Any]:
    return {name: value for name, _, value in _settings(model)}


def _table(settings: Iterable[Setting]) -> str:
    rows = (
        row(
            f"`{name}`",
            words_of_type(field.annotation),
            _literal(value),
            _limits(field),
            _one_line(field.description),
        )
        for name, field, value in settings
    )
    return "\n".join(
        [row("setting", "value", "default", "limits", "meaning"), "|---|---|---|---|---|", *rows, ""]
    )


def words_of_type(kind: Any) -> str:
    """A type in words: `float | None` -> number or null."""
    if get_origin(kind) is Literal:
        return " or ".join(f"`{_plain(value)}`" for value in get_args(kind))
    if get_origin(kind) is Annotated:  # with limits of its own
        return words_of_type(get_args(kind)[0])
    if get_origin(kind) is dict:
        return "mapping"
    if get_origin(kind) is list:
        return f"list of {words_of_type(get_args(kind)[0])}s"
    return " or ".join(map(words_of_type, get_args(kind))) or WORDS[kind]


def _limits(field: FieldInfo) -> str:
    """`[Ge(0), Lt(1)]` -> at least 0, below 1."""
    found = [(word, getattr(each, name, None)) for each in field.metadata for name, word in LIMITS.items()]
    return ", ".join(f"{word} {value:g}" for word, value in found if value is not None)


def _literal(value: Any) -> str:
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    """A value as one would write it in YAML."""
    if isinstance(value, float):
        return f"{value:g}"
    return yaml.safe_dump(value, default_flow_style=True).replace("...", "").strip()


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def row(*cells: str) -> str:
    """A row of a Markdown table; a bar within a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"
