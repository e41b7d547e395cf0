"""What the commands that train have in common, and the layers of settings that it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from esad.pipeline.settings.config import parse_assignments, read_yaml
from esad.pipeline.stage.options import Set


@dataclass(frozen=True)
class RunRequest:
    """The options of `esad train` and `esad sweep` that say how to train, as they were given."""

    preset: Annotated[
        str | None,
        typer.Option(help="Settings by name; without one: what worked best here for the kind of data."),
    ] = None
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings; the config.yaml of a run will do.")
    ] = None
    set_: Set = None

    def layers(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        """Layers of settings, later ones win: the file, `--set`, then the options `given`."""
        stated = read_yaml(self.config) if self.config else {}
        stated.pop("store", None)
        return [stated, parse_assignments(self.set_ or []), given]
