"""Which rows of a manifest a choice like view=AP keeps, and what there is to choose from where it keeps none."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

VALUES_SHOWN = 10
"""So many values of a column are named where none is the wanted one."""


def no_match(items: pd.DataFrame, where: Mapping[str, object]) -> str:
    """What `items` hold in the columns of `where` (column -> value), which no item matches: at most VALUES_SHOWN values each."""
    told = []
    for name, value in where.items():
        known = items[name].dropna().astype("string")
        if (known == str(value)).any():
            continue
        values = sorted(known.unique().tolist())
        more = f" and {len(values) - VALUES_SHOWN} more" if len(values) > VALUES_SHOWN else ""
        told.append(
            f" Column {name!r} holds {', '.join(values[:VALUES_SHOWN]) or 'nothing'}{more}, never {str(value)!r}."
        )
    return "".join(told) or " Each value is there, but no item has them all."
