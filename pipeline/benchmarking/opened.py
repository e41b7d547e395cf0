"""The store of a data set as its cells see it: opened once in a process, since a cell may take less than the opening."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from esad.models.training.fit import Items
    from esad.preprocessing.store.store import Store

KEPT = 2
"""Data sets that a process keeps open: cells come data set by data set."""


class Opened(NamedTuple):
    """A store, its items as tensor or reader, and group and digest of every item by its name."""

    store: Store
    items: Items
    contents: pd.DataFrame


def opened(folder: Path) -> Opened:
    """The store at `folder`, kept for the next cell as long as its store.json is the same."""
    return _opened(folder, (folder / "store.json").stat().st_mtime_ns)


@lru_cache(KEPT)
def _opened(folder: Path, _made: int) -> Opened:
    import numpy as np

    from esad.pipeline.runs.items import in_memory
    from esad.preprocessing.store.contents import with_contents
    from esad.preprocessing.store.store import Store

    store = Store(folder)
    contents = with_contents(store, store.manifest[["item_id"]], np.arange(len(store)))
    return Opened(store, in_memory(store), contents.set_index("item_id"))
