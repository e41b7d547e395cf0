"""A headless Chromium, and a report of several runs of all kinds for it to open."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from esad.pipeline.report import report
from tests.pipeline.test_report import complete

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium():
    """The machine's own Chromium, driven by Playwright; skipped where one of them is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="no browser test: playwright is not installed")
    found = next((path for path in map(shutil.which, PROGRAMS) if path), None)
    if not found:
        pytest.skip(f"no browser test: none of {', '.join(PROGRAMS)} is on this machine")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core (MPL-2.0), as the package axe-playwright-python brings it along; skipped where that is missing."""
    package = pytest.importorskip(
        "axe_playwright_python", reason="no check by axe-core: axe-playwright-python is not installed"
    )
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def page_file(tmp_path_factory):
    """report.html over radiographs with views and classes, slides and a table, whose names are long."""
    folder = tmp_path_factory.mktemp("report")
    alarms = {"p_value": np.linspace(0.001, 1, 40), "threshold": 30.0}
    names = [
        f"{'a-long-name-without-any-place-to-break' if n < 20 else 'slide'}-{n // 4}.tif" for n in range(40)
    ]
    runs = [
        complete(folder / "a", "radiographs", view=["AP", "AP", "PA", "PA"] * 10, class_name=["n", "b", "n", "c"] * 10, **alarms),
        complete(folder / "b", "tiles", source=names, tumour_fraction=[0.0] * 20 + [1.0] * 20, **alarms),
        complete(folder / "c", "table", **alarms),
    ]  # fmt: skip
    return report(runs, folder / "report.html").out
