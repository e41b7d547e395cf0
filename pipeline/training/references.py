"""Reference scores of held-out normals, and the scales of the heat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.runs.items import positions_of
from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.progress import say
from esad.pipeline.thresholds.reference_sets import OF_NORMALS

if TYPE_CHECKING:
    import pandas as pd

    from esad.models.detector import Method
    from esad.models.training.fit import Items
    from esad.preprocessing.store.store import Store


def write_references(
    out: Path, store: Store, items: Items, assignments: pd.DataFrame, method: Method, settings: RunSettings
) -> None:
    """normals.parquet from the validation part's normals (training's where there is none), and the heat's scales."""
    from esad.models.folding import folded
    from esad.models.training.augment import Augmentation
    from esad.pipeline.runs.run_folder import resolve_device
    from esad.pipeline.scoring.columns.contributions import ColumnShares
    from esad.pipeline.scoring.heat import HeatMaps, mean_picture
    from esad.pipeline.scoring.scores import final_scores, raw_scores, score_weights
    from esad.preprocessing.store.store import write_array, write_json, write_table

    normal = assignments[(assignments["label"].fillna(0) == 0)]
    held = normal[normal["part"] == "validation"]
    if held.empty:
        held = normal[normal["part"] == "train"]
        say("No normal item was held out (data.validation_share): reference scores come from training items.")
    augmentation, method = Augmentation(settings.data.crop, settings.data.flip), folded(method)
    device = resolve_device(settings.device)
    positions = positions_of(store, held["item_id"])
    raw = raw_scores(method, items, positions, device, augmentation)
    raw.insert(0, "item_id", held["item_id"].to_numpy())
    normals = final_scores(raw, raw, settings.score.kind)
    known = store.manifest.iloc[positions]
    for name in OF_NORMALS:
        if name in known and known[name].notna().any():
            normals[name] = known[name].array
    normals["part"] = held["part"].array
    write_table(out / "normals.parquet", normals.drop(columns="percentile"))
    if method.pictures:
        trained = assignments[(assignments["part"] == "train") & (assignments["semi_label"] != -1)]
        baseline = mean_picture(items, positions_of(store, trained["item_id"]), augmentation)
        write_array(out / "mean_normal.npy", baseline)
        maps = HeatMaps(method, baseline, score_weights(settings.score.kind, normals))
        write_json(out / "heat.json", maps.scales(items, positions, device, augmentation))
    elif store.kind == "table":
        shares = ColumnShares.of_run(method, settings.score.kind, normals)
        write_json(out / "heat.json", shares.scales(items, positions, device))
