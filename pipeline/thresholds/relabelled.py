"""Reference normals that the run's own store has come to call anomalies: thresholds and p-values are then too lenient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def relabelled(normals: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """The items of `normals` (normals.parquet) whose label in `table` (scores of the run's own store) is that of an anomaly."""
    anomalies = table.loc[(table["label"] == 1).fillna(False).astype(bool), "item_id"].astype(str)
    return normals.loc[normals["item_id"].astype(str).isin(anomalies), "item_id"].astype(str).tolist()


def relabelled_entry(normals: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any] | None:
    """`items`, how many `normals` are such, and the `first`; None for none."""
    names = relabelled(normals, table)
    return {"items": len(names), "normals": len(normals), "first": names[0]} if names else None


def relabelled_sentence(entry: dict[str, Any] | None, remedy: str = "train the run again") -> str:
    """What to say of `relabelled_entry`, ending in the `remedy`; empty for none.

    They stay among the references: scores of other stores, exports and bundles compare with the same ones, wherever the run lies, and
    may not see this store.
    """
    if not entry:
        return ""
    return (
        f"{entry['items']} of the {entry['normals']} reference normals are anomalies by the store's labels now (first: {entry['first']}): "
        f"thresholds and p-values are too lenient, in exports and for other stores, too; {remedy}."
    )
