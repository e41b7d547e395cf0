"""Semi-supervised anomaly detection on slides, radiographs, images and tables.

    from esad import ESAD                  # the scikit-learn estimator, for arrays in memory
    from esad import tile, train, score    # the stages, for archives on disk

Everything is imported only when it is asked for: `import esad` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esad.api import embed as embed
    from esad.api import embeddings as embeddings
    from esad.api import evaluate as evaluate
    from esad.api import images as images
    from esad.api import open_run as open_run
    from esad.api import open_store as open_store
    from esad.api import radiographs as radiographs
    from esad.api import report as report
    from esad.api import score as score
    from esad.api import tables as tables
    from esad.api import tile as tile
    from esad.api import train as train
    from esad.models.estimator import ESAD as ESAD
    from esad.pipeline.runs.run_folder import Run as Run
    from esad.preprocessing.errors import EsadError as EsadError
    from esad.preprocessing.stain.vahadane import StainFit as StainFit
    from esad.preprocessing.stain.vahadane import apply_stain as apply_stain
    from esad.preprocessing.stain.vahadane import builtin_target as builtin_target
    from esad.preprocessing.stain.vahadane import fit_stain as fit_stain
    from esad.preprocessing.store.store import Store as Store
    from esad.trainer import Trainer as Trainer

_PLACES = {
    "ESAD": "esad.models.estimator", "EsadError": "esad.preprocessing.errors",
    "Run": "esad.pipeline.runs.run_folder", "Store": "esad.preprocessing.store.store",
    "Trainer": "esad.trainer",
    **dict.fromkeys(("StainFit", "apply_stain", "builtin_target", "fit_stain"), "esad.preprocessing.stain.vahadane"),
    **dict.fromkeys(
        ("embed", "embeddings", "evaluate",
         "images", "open_run", "open_store", "radiographs", "report", "score", "tables", "tile", "train"),
        "esad.api",
    ),
}  # fmt: skip
"""Public name -> the module that has it."""

__all__ = sorted(_PLACES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
