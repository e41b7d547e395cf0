"""The methods by name: a new one is one file with one class, and one line here."""

from __future__ import annotations

from collections.abc import Sequence

from models.cae import CaeMethod
from models.detector import Method
from models.esad import EsadMethod
from models.settings import MethodSettings

METHODS: dict[str, type[Method]] = {"esad": EsadMethod, "cae": CaeMethod}


def build(settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> Method:
    """The method that `settings.method` names, for items of `shape` ((H, W, C) or (D,))."""
    return METHODS[settings.method](settings, shape, seeds)
