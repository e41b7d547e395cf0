"""`esad export RUN --to bundle|onnx`: a finished run as a MONAI Bundle, or as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Force, Json
from esad.pipeline.stage.outcome import Outcome

FORMATS = ("bundle", "onnx")


def command(
    run: Annotated[Path, typer.Argument(help="The RUN.")],
    to: Annotated[str, typer.Option(help=f"{' or '.join(FORMATS)}; a bundle is MONAI's.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write (default: RUN/export/FORMAT).")] = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Write the model as a MONAI Bundle or as an ONNX file."""
    return run_stage(lambda: export(run, to, out, force), as_json)


def export(run: Path, to: str, out: Path | None = None, force: bool = False) -> Outcome:
    """Write the run as `to` says into `out` (default RUN/export/<to>); the folder appears whole or not at all.

    Left alone where it holds this very model. Raises UsageError for an unknown format, EsadError where `out` holds
    something else (`force` replaces another export), where a package is missing or the format cannot hold the run.
    """
    import shlex

    from esad.pipeline.exporting.export_folder import (
        already_exported,
        export_marker,
        refuse_grey_levels,
        write_export,
    )
    from esad.pipeline.runs.run_folder import open_run
    from esad.pipeline.stage.lock import writing_to

    if to not in FORMATS:
        raise UsageError(f"--to {to!r}: expected one of {', '.join(FORMATS)}.")
    opened = open_run(run)
    refuse_grey_levels(opened)
    folder = out or run / "export" / to
    marker = export_marker(opened, to)
    following = shlex.join(["esad", "verify", str(opened.root)])
    with writing_to(folder, inside=False):
        if already_exported(folder, marker, force):
            return Outcome(folder, f"Left alone (exported before): {folder}.", following)
        size = write_export(opened, to, folder, marker)
    return Outcome(folder, f"Wrote {folder} ({size / 2**20:.1f} MiB).", following)


if __name__ == "__main__":
    run_script(command)
