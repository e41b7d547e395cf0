"""What a trained run gets right on its own validation part: the figure that settings may be chosen by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from esad.models.detector import Method
    from esad.models.training.fit import Items
    from esad.pipeline.settings.config import RunSettings
    from esad.preprocessing.store.store import Store


def validation_figures(
    store: Store, items: Items, assignments: pd.DataFrame, method: Method, settings: RunSettings, out: Path
) -> dict[str, Any]:
    """`normal` and `anomaly`: items of each in the validation part; `auc`: of the run's score on them, else null.

    The normals' scores are those of RUN/normals.parquet. Nothing of the test part is read.
    """
    import numpy as np
    import pandas as pd

    from esad.models.training.augment import Augmentation
    from esad.pipeline.evaluation.measures.metrics import auc
    from esad.pipeline.runs.items import positions_of
    from esad.pipeline.runs.run_folder import resolve_device
    from esad.pipeline.scoring.scores import final_scores, raw_scores

    held = assignments[assignments["part"] == "validation"]
    normal, anomalies = held[held["label"] == 0], held[held["label"] == 1]
    counts = {"normal": len(normal), "anomaly": len(anomalies)}
    if normal.empty or anomalies.empty:
        return {**counts, "auc": None}
    device = resolve_device(settings.device)
    normals = pd.read_parquet(out / "normals.parquet", page_checksum_verification=True)
    raw = raw_scores(
        method, items, positions_of(store, anomalies["item_id"]), device,
        Augmentation(settings.data.crop, settings.data.flip), "validation",
    )  # fmt: skip
    raw.insert(0, "item_id", anomalies["item_id"].to_numpy())
    scored = final_scores(raw, normals, settings.score.kind)
    scores = np.concatenate([normals["score"].to_numpy(), scored["score"].to_numpy()])
    labels = np.repeat([0, 1], [len(normals), len(scored)])
    return {**counts, "auc": auc(scores, labels)}
