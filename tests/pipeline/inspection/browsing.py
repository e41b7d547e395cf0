"""A real browser on a served page: what it says on its console and which hosts it asks is watched all the time."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from esad.pipeline.inspection.app import Viewer
from esad.pipeline.inspection.security import Guard
from esad.pipeline.inspection.server import Place, find_place

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
LONGEST_WAIT = 20.0


def browser_path() -> Path | None:
    """$ESAD_BROWSER, or the machine's Chromium."""
    stated = os.environ.get("ESAD_BROWSER")
    found = stated or next((path for name in NAMES if (path := shutil.which(name))), None)
    return Path(found) if found else None


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless browser; the test skips, saying so, where none is."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium on this machine (set ESAD_BROWSER to its path)")
    with playwright.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=str(path), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def serving(pages: Viewer, port: int = 0) -> Iterator[Place]:
    """The pages under a port of this machine, a free one where it is 0."""
    place = find_place("127.0.0.1", port)
    guarded = Guard(pages.application(), place.token, place.host, place.port)
    server = uvicorn.Server(uvicorn.Config(guarded, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place.listening]}, daemon=True)
    thread.start()
    yield place
    server.should_exit = True
    thread.join(10)
    place.listening.close()


class Tab:
    """A tab on the served page. `faults` are errors of the console and of the page, and requests to other hosts."""

    def __init__(self, context: Any, place: Place, state: str = "", expected: tuple[str, ...] = ()) -> None:
        self.faults: list[str] = []
        self.dialogs: list[str] = []
        self._expected, self._own = expected, f"http://{place.host}:{place.port}/"
        self.page = context.new_page()
        self.page.set_default_timeout(1000 * LONGEST_WAIT)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.faults.append(f"page: {error}"))
        self.page.on("request", self._asked)
        self.page.on("dialog", self._dialog)
        self.page.goto(f"{place.url}#{state}")
        self.page.wait_for_selector("body[data-ready]")

    def _heard(self, message: Any) -> None:
        if message.type == "error" and not any(text in message.text for text in self._expected):
            self.faults.append(f"console: {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self._own, "blob:")):
            self.faults.append(f"asked {request.url}")

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def run(self, script: str) -> Any:
        """What a line of JavaScript gives."""
        return self.page.evaluate(script)

    def text(self, selector: str) -> str:
        """The text in sight of an element; empty where there is none."""
        return str(self.run(f"document.querySelector({selector!r})?.innerText ?? ''"))

    def key(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds; the page allows no texts as scripts, so that it is asked from here."""
        end = time.monotonic() + LONGEST_WAIT
        while not holds():
            assert time.monotonic() < end, (
                f"{what}; the page: {self.page.url} {self.text('#status')} {self.faults}"
            )
            time.sleep(0.03)

    def state(self, name: str) -> str:
        """A part of the address behind #."""
        return str(self.run(f"new URLSearchParams(location.hash.slice(1)).get({name!r}) ?? ''"))

    def go(self, state: str) -> None:
        """Follow a link to another state of the page."""
        self.run(f"location.hash = {state!r}")

    def ready_slide(self) -> None:
        self.until(lambda: self.run("window.esad.slide.idle()"), "the slide is drawn")

    def say_name(self, name: str) -> None:
        """Answer who marks."""
        self.page.wait_for_selector("#reader[open]")
        self.page.fill("#reader-name", name)
        self.page.click("#reader button[value=yes]")
