"""YAML of plain kinds, from hands that are not trusted: runs and settings may come from a stranger."""

from __future__ import annotations

from typing import Any

import yaml

MOST = 100_000
"""Entries that aliases may add up to. Ten lines of aliases to aliases stand for thousands of millions (a "billion laughs")."""


def load_yaml(text: str) -> Any:
    """What a YAML document holds: mappings, lists, texts, numbers, dates.

    Raises YAMLError, also where aliases add up to more than MOST entries or lead back to themselves; ValueError for a date that there is
    not, RecursionError for one that is nested too deeply.
    """
    return _without_bombs(yaml.safe_load(text), text)


def load_texts(text: str) -> Any:
    """The same of a document whose scalars are all texts: `01` and `no` stay what they are."""
    loader = yaml.BaseLoader(text)
    try:
        return _without_bombs(loader.get_single_data(), text)
    finally:
        loader.dispose()


def _without_bombs(content: Any, text: str) -> Any:
    """The `content` of a document; YAMLError where its aliases add up to more than MOST entries."""
    if "*" in text and _entries(content, {}, set()) > MOST:
        raise yaml.YAMLError(f"its aliases add up to more than {MOST} entries")
    return content


def _entries(content: Any, known: dict[int, int], within: set[int]) -> int:
    """How many entries `content` has, what is shared counted each time; `known` by identity, `within` what is being counted."""
    if not isinstance(content, dict | list):
        return 1
    if id(content) in within:
        raise yaml.YAMLError("an alias leads back to itself")
    if id(content) not in known:
        within.add(id(content))
        inner = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_entries(each, known, within) for each in inner)
        within.remove(id(content))
    return known[id(content)]
