"""One call of an ingest stage: its inputs, how they become units, and the options that all four stages take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from esad.preprocessing.store.store import Unit


@dataclass(frozen=True)
class Job:
    """One call of an ingest stage.

    `process(root, unit)` writes the unit with `esad.preprocessing.store.store.write_unit`; it must be picklable, must turn
    an unusable input into a `refused` row, and must give the same bytes every time. `settings` decide about the
    pixels or values; `shape` (of one item) may be None where only the inputs tell it (then the shards do).
    """

    stage: str
    kind: str
    archive: Path
    sources: Sequence[str]
    settings: dict[str, Any]
    process: Callable[[Path, Unit], None]
    unit_size: int = 1
    dtype: str = "uint8"
    versions: Sequence[str] = ()
    warnings: Sequence[str] = field(default_factory=tuple)
    finish: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame] | None = None
    """A last look at items and sources of the whole store, before a person's labels are applied; returns the items."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Of sources that are no files of their own (members of a zip), as `process` records them."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Source -> its path in the archive, where sources are called by other names (`esad.pipeline.ingest.anonymous`)."""

    def to_read(self, unit: Unit) -> Unit:
        """`unit` as `process` takes it: by paths, which are written under the sources' names."""
        from esad.preprocessing.store.store import Unit

        if not self.paths:
            return unit
        return Unit(unit.number, tuple(self.paths.get(name, name) for name in unit.sources), unit.sources)

    @property
    def packages(self) -> list[str]:
        """What the items depend on."""
        return sorted({"esad", "numpy", "pandas", *self.versions})

    def is_as_before(self, source: str, before: str) -> bool:
        """Whether the source is the file of the fingerprint `before`, also of one by an earlier version; False where it cannot be read."""
        from esad.preprocessing.store.store import is_same_file

        if self.fingerprints.get(source) == before:
            return True
        try:
            return is_same_file(self.archive / self.paths.get(source, source), before)
        except OSError:
            return before == ""


@dataclass(frozen=True)
class IngestOptions:
    """The options that all four stages take."""

    out: Path
    labels: Path | None = None
    where: dict[str, str] = field(default_factory=dict)
    force: bool = False
    workers: int = 1
    scheduler: str | None = None
    """Address of a Dask scheduler, whose workers then take the place of this machine's."""
    anonymous: bool = False
    group_key: Path | None = None
    """File of the key that patients (radiographs) and, if `anonymous`, names of files and sites are hashed with; null = the user's."""
    site: str | None = None
    """The site of all items of which nothing says another."""
    like: Path | None = None
    """The run whose settings shape the items: the next step is to score them by it."""
