"""Which items get an overlay, and their overlays and hottest points."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.runs.run_files import train_again
from esad.pipeline.runs.run_folder import Run
from esad.pipeline.scoring.heat import BATCH, HOT, KINDS, HeatMaps
from esad.pipeline.scoring.open_scores import read_scores_table
from esad.pipeline.scoring.scores import score_weights
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.progress import progress
from esad.preprocessing.store.reading import damaged

if TYPE_CHECKING:
    import torch

    from esad.models.detector import Method
    from esad.models.training.fit import Items


HEAT_QUANTILE = "0.999"


def overlays_wanted(text: str) -> int | None:
    """`none` -> 0, `worst:50` -> 50, `all` -> None; UsageError for anything else."""
    if text == "all":
        return None
    if text == "none":
        return 0
    word, _, number = text.partition(":")
    if word != "worst" or not number.isdigit():
        raise UsageError(f"--overlays {text!r}: expected none, all or worst:N, for example worst:50.")
    return int(number)


def items_to_show(table: pd.DataFrame, count: int) -> list[int]:
    """The `count` highest scores, and a fifth as many false alarms, missed and found anomalies of the test part."""
    if count == 0:
        return []
    tested = (table["part"] == "test").fillna(False).astype(bool)
    shown = table[tested] if tested.any() else table
    few = max(count // 5, 1)
    abnormal, normal = shown[shown["label"] == 1], shown[shown["label"] == 0]
    picks = [
        shown["score"].nlargest(count), abnormal["score"].nlargest(few), abnormal["score"].nsmallest(few),
        normal["score"].nlargest(few), normal["score"].nsmallest(few),
    ]  # fmt: skip
    return sorted({int(position) for pick in picks for position in pick.index})


def write_overlays(
    run: Run,
    method: Method,
    items: Items,
    shown: np.ndarray,
    table: pd.DataFrame,
    device: torch.device,
    folder: Path,
) -> None:
    """Write overlays of the `shown` positions; fill HOT in `table` for these and for items whose region is known.

    A method without reconstructions or without a gradient leaves their panels out, and their columns of HOT empty.
    """
    from esad.models.training.fit import score_batches
    from esad.pipeline.scoring.overlays import Heat, StripWriter, hot_point

    marked = table["region_x"].notna().to_numpy() if "region_x" in table else np.zeros(len(table), bool)
    positions = np.union1d(shown, np.flatnonzero(marked)).astype(np.int64)
    draw = np.isin(positions, shown)
    maps = HeatMaps(method, run.mean_normal, score_weights(run.settings.score.kind, run.normals))
    scales = _colour_scales(run, maps)
    names, hot, place = table["item_id"].to_numpy(), np.full((len(table), 4), np.nan), 0
    with progress("overlays", len(positions)) as bar, StripWriter() as strips:
        for chosen, x, terms in score_batches(method, items, positions, device, run.augmentation, BATCH):
            inputs, kinds = _pictures(method, x), maps.kinds(x, terms.get("x_hat"))
            outputs = _pictures(method, terms["x_hat"]) if "x_hat" in terms else [None] * len(inputs)
            for item, (image, output) in enumerate(zip(inputs, outputs, strict=True)):
                position = positions[place]
                for name, values in kinds.items():
                    first = 2 * KINDS.index(name)
                    hot[position, first : first + 2] = hot_point(values[item])
                if draw[place]:
                    heats = [Heat(values[item], scales[name]) for name, values in kinds.items()]
                    picture = (image.clip(0, 1) * 255).round().astype(np.uint8)
                    strips.write(folder / f"{names[position]}.png", picture, output, heats)
                place += 1
            bar.advance(len(chosen))
    height, width = (int(side) for side in run.store["shape"][:2])
    crop = run.settings.data.crop
    across, down = ((width - crop) // 2, (height - crop) // 2) if crop else (0, 0)
    table[list(HOT)] = (hot + np.array([across, down, across, down])).astype(np.float32)


def _colour_scales(run: Run, maps: HeatMaps) -> dict[str, tuple[float, float]]:
    """From 0 to a high quantile of reference normals, for each kind of map; EsadError where RUN/heat.json lacks one."""
    scales = {
        name: (0.0, values[HEAT_QUANTILE]) for name, values in run.scales.items() if HEAT_QUANTILE in values
    }
    if maps.method.has_gradient and KINDS[0] not in scales:
        path = run.root / "heat.json"
        raise damaged(path, f"is damaged ({KINDS[0]!r} is missing)", train_again(run.root))
    return scales


def _pictures(method: Method, x: torch.Tensor) -> np.ndarray:
    """Scaled pictures as float32 (B, H, W, C), padding cut off."""
    return method.scaler.unpad(x).permute(0, 2, 3, 1).float().cpu().numpy()  # type: ignore[operator]


def write_all_overlays(
    folder: Path, run: Run, method: Method, items: Items, wanted: int | None, device: torch.device
) -> None:
    """Draw overlays anew: of the `wanted` highest scores and some others, or of all; the hottest points go into the table."""
    from esad.preprocessing.store.store import write_table

    table = read_scores_table(folder)
    chosen = range(len(table)) if wanted is None else items_to_show(table, wanted)
    shutil.rmtree(folder / "overlays", ignore_errors=True)
    write_overlays(run, method, items, np.array(chosen, dtype=np.int64), table, device, folder / "overlays")
    write_table(folder / "scores.parquet", table)
