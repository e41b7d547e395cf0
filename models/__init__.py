"""Tensors in, tensors out: networks, ESAD and the methods it is compared with. No command line, no files.

`from models import ESAD` gives the scikit-learn estimator; torch is imported only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.estimator import ESAD

__all__ = ["ESAD"]


def __getattr__(name: str) -> object:
    if name == "ESAD":
        from models.estimator import ESAD  # noqa: PLC0415

        return ESAD
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
