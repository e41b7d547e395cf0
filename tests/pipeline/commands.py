"""Commands as a person types them, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esad.pipeline.cli.app import call


def made(*words: object, status: int = 0) -> None:
    """Run a command; it must end with `status`."""
    assert call([*map(str, words)]) == status


def words(settings: Mapping[str, Any]) -> list[str]:
    """Settings as words of a command."""
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
