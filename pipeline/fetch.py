"""`esad fetch`: a published data set from its publisher, checked, with its licence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Force, Json
from esad.pipeline.stage.outcome import Outcome


def command(
    name: Annotated[
        str | None, typer.Argument(help="The data set; without it the list of them.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the files; what was cut continues there.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Fetch a published data set: resumed, held against its publisher's checksums, and its licence said."""
    return run_stage(lambda: fetch(name, out, force), as_json)


def fetch(name: str | None = None, out: Path | None = None, force: bool = False) -> Outcome:
    """Bring the data set `name` to the folder `out`, or (None) list those that there are.

    Raises UsageError for a name that is not known or a missing `out`, EsadError where files cannot be had or are not what
    is published (`esad.pipeline.fetching.download`); a later call goes on where this one was.
    """
    from esad.pipeline.fetching.data_set import fetch_set, list_sets

    if name is None:
        return list_sets()
    if out is None:
        raise UsageError("--out FOLDER is needed: where the files go.")
    return fetch_set(name, out, force)


if __name__ == "__main__":
    run_script(command)
