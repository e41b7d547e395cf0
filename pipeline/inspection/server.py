"""The server's process: its socket, its address with the token, and the loop that ends with Ctrl-C."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from esad.pipeline.inspection.app import Viewer
from esad.pipeline.inspection.archive import Archive, stored_picture
from esad.pipeline.inspection.listing import Query
from esad.pipeline.inspection.marks import Marks
from esad.pipeline.inspection.security import Guard, is_loopback, new_token
from esad.pipeline.inspection.subject import Subject
from esad.pipeline.stage.errors import UsageError

ARCHIVE = "archive"


@dataclass(frozen=True)
class Place:
    """Where the server listens, and the address that lets a person in."""

    listening: socket.socket
    host: str
    port: int
    token: str

    @property
    def url(self) -> str:
        """The address with the token; of a server for all addresses, this machine's own one."""
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        name = f"[{name}]" if ":" in name and not name.startswith("[") else name
        return f"http://{name}:{self.port}/?token={self.token}"

    @property
    def warning(self) -> str:
        """What to say where others reach the server; empty on loopback."""
        if is_loopback(self.host):
            return ""
        return (
            f"--host {self.host}: everyone on the network who has the address below sees these pictures and can mark them, and what "
            "goes over the network is not encrypted. On a machine of one's own, leave --host out; from afar, use ssh -L."
        )


def find_place(host: str, port: int) -> Place:
    """Listen at `host`, at a free port where it is 0; UsageError where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # now, so that a browser that is quicker than the server waits for it
    except OSError as error:
        listening.close()
        raise UsageError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}). Choose another --port; 0 takes a free one."
        ) from error
    return Place(listening, host, int(listening.getsockname()[1]), new_token())


def default_marks(subject: Subject) -> Path:
    """Beside the store, since its items are what is marked: making store, run or scores anew removes no mark.

    Where the store is gone, in the first run.
    """
    store = subject.store_root
    if store.parent.is_dir():
        return store.with_name(f"{store.name}-marks.sqlite")
    return subject.runs[0].scores.run / "marks.sqlite"


def known_archive(marks: Marks, stated: Path | None) -> Path | None:
    """The archive that a person stated now, else the one that was stated last, where it is still there; UsageError where it is not."""
    if stated is not None:
        if not stated.exists():
            raise UsageError(f"--archive {stated}: no such folder.")
        marks.remember(ARCHIVE, str(stated.resolve()))
        return stated.resolve()
    before = marks.remembered(ARCHIVE)
    return Path(before) if before and Path(before).exists() else None


def viewer(subject: Subject, marks: Marks, archive: Path | None, annotations: Path | None = None) -> Viewer:
    """The pages of a subject, its slides and pictures out of the folder `archive` where it is known.

    What the first page asks for is looked up now, so that it does not wait for it.
    """
    pages = Viewer(subject, marks, Archive(subject, archive), annotations)
    pages.listing.page(Query(), 0, 1)
    pages.listing.page(Query(of="slide", sort="max") if subject.of_slides else Query(), 0, 1)
    if subject.store is not None:
        stored_picture(subject, 0)
    return pages


def serve(pages: Viewer, place: Place) -> None:
    """Answer until a person ends it with Ctrl-C, or it is terminated."""
    guarded = Guard(pages.application(), place.token, place.host, place.port)
    config = uvicorn.Config(
        guarded, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none",
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    try:
        uvicorn.Server(config).run(sockets=[place.listening])
    except KeyboardInterrupt:  # uvicorn ends in order, and passes the signal on
        pass
    finally:
        place.listening.close()


def show(url: str) -> None:
    """Open a browser window where there is a screen; a browser in the terminal would take it over."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return
    webbrowser.open(url)
