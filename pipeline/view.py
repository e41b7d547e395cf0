"""`esad view RUN|SCORES...`: scored slides, pictures and rows in the browser, and the marks that a person gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import print_json, run_script, run_stage
from esad.pipeline.stage.options import Json
from esad.pipeline.stage.outcome import Outcome


def command(
    paths: Annotated[
        list[Path], typer.Argument(help="RUN or SCORES folders; several of one store are shown side by side.")
    ],
    archive: Annotated[
        Path | None,
        typer.Option(help="The folder that the store was made of, to see the slides themselves; remembered."),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Folder or zip of outlines, to draw over the slides.")
    ] = None,
    marks: Annotated[
        Path | None, typer.Option(help="The file of marks (default: STORE-marks.sqlite beside the store).")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; 127.0.0.1 is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    as_json: Json = False,
) -> Outcome:
    """Look at scored items in the browser and mark them; ends with Ctrl-C."""
    return run_stage(
        lambda: view(paths, archive, annotations, marks, host, port, not no_browser, as_json), False
    )


def view(
    paths: Sequence[Path],
    archive: Path | None = None,
    annotations: Path | None = None,
    marks: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    browser: bool = True,
    as_json: bool = False,
) -> Outcome:
    """Serve the pages of the scores at `paths` until a person ends it.

    Raises UsageError (a path, an option, a port that is taken), EsadError where scores are missing or damaged, or marks cannot be kept.
    """
    from esad.pipeline.inspection.marks import Marks
    from esad.pipeline.inspection.server import default_marks, find_place, known_archive, serve, show, viewer
    from esad.pipeline.inspection.subject import Subject
    from esad.pipeline.stage.progress import say

    subject = Subject(paths)
    kept = Marks(marks or default_marks(subject))
    pages = viewer(subject, kept, known_archive(kept, archive), annotations)
    place = find_place(host, port)
    if place.warning:
        say(place.warning)
    say(f"Marks are kept in {kept.path}.")
    say(f"Open {place.url} in a browser; Ctrl-C ends.")
    if as_json:
        print_json({"url": place.url, "marks": str(kept.path)})
    if browser:
        show(place.url)
    serve(pages, place)
    count = len(kept.current("item")) + len(kept.current("slide"))
    return Outcome(kept.path, f"Ended; {kept.path} holds {count} marks.", summary={"marks": count})


if __name__ == "__main__":
    run_script(command)
