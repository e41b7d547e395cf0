"""Which columns of a table or npz are no features."""

from __future__ import annotations

from esad.pipeline.settings.config import ImageSettings, TableSettings
from esad.preprocessing.tables import Columns


def columns_of(settings: TableSettings | ImageSettings) -> Columns:
    """The columns that are no features; `none` is no column; others that differ from the defaults must exist."""
    defaults = Columns()
    named = {settings.label, settings.group, settings.split} - {
        defaults.label,
        defaults.group,
        defaults.split,
    }
    return Columns(settings.label, settings.group, settings.split, frozenset(named))
