"""An option that is a setting has its name, default, limits and text from the setting alone."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from esad.pipeline import images, plan, radiographs, sweep, tables, tile, train
from esad.pipeline.settings.config import (
    ImageSettings,
    RadiographSettings,
    RunSettings,
    TableSettings,
    TileSettings,
)
from esad.pipeline.stage.command import as_typer
from esad.pipeline.stage.options import CITATION

OF_SETTINGS = [
    (tile, TileSettings), (plan, TileSettings), (radiographs, RadiographSettings), (images, ImageSettings),
    (tables, TableSettings), (train, RunSettings), (sweep, RunSettings),
]  # fmt: skip


def options_of(module: Any) -> dict[str, Any]:
    command: Any = get_command(as_typer(module.command, module.__name__.rsplit(".", 1)[-1]))
    return {param.name: param for param in command.params}


OF_THE_STAGE = {tile: {"labels"}, plan: {"protocol"}}
"""Options of a stage's own that bear the name of a setting: a file of labels, the set to count."""


@pytest.mark.parametrize(("module", "model"), OF_SETTINGS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_option_of_a_settings_name_tells_what_the_setting_tells(module, model):
    options = options_of(module)
    shared = [name for name in options if name in model.model_fields.keys() - OF_THE_STAGE.get(module, set())]
    assert shared
    for name in shared:
        field, option = model.model_fields[name], options[name]
        text = CITATION.sub("", " ".join((field.description or "").split())).split(". ")[0].rstrip(".")
        text = text.replace("null = ", "without: ")
        default = field.default
        if default is not None and isinstance(default, int | float | str):
            text += f" (default {default:g})" if isinstance(default, float) else f" (default {default})"
        assert (option.opts, option.help) == ([f"--{name.replace('_', '-')}"], f"{text}.")


def test_no_help_cites_a_page():
    for module, _ in OF_SETTINGS:
        assert not [option.help for option in options_of(module).values() if ".md#" in (option.help or "")]
