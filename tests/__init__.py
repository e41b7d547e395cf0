"""The tests, in the same rooms as the code."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
PYTHONPATH = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
"""For processes of tests: the packages of this checkout, whatever is installed, and then the tests themselves."""


def some_slow(values: Iterable[Any], *slow: Any) -> list[Any]:
    """Values to parametrize by, those of `slow` marked so: what the others try as well, and takes ten seconds and more."""
    return [pytest.param(value, marks=pytest.mark.slow) if value in slow else value for value in values]
