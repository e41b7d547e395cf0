"""Which items get an overlay, and their overlays and hottest points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.runs.run_files import train_again
from esad.pipeline.runs.run_folder import Run
from esad.pipeline.scoring.batches import each_batch
from esad.pipeline.scoring.heat import (
    BATCH,
    BATCH_ON_CPU,
    FIRST_QUANTILE,
    HEAT_QUANTILE,
    HOT,
    KINDS,
    HeatMaps,
)
from esad.pipeline.scoring.open_scores import SCORE_AGAIN
from esad.pipeline.scoring.scores import score_weights
from esad.pipeline.scoring.work import WORK, Advance, Crew, Opened, Pieces, described_work, digest_of
from esad.pipeline.stage.errors import UsageError
from esad.preprocessing.store.reading import damaged, read_table

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from esad.models.detector import Method


OVERLAYS = "overlays"
EXPLANATION = "explanation.json"
"""In OVERLAYS: how contributions were found."""
PIECE = 64
"""Items of a piece of the work."""


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


@dataclass(frozen=True)
class Shown:
    """A piece of the work: the items at `positions` of the store, ascending, and which of them get an overlay."""

    positions: np.ndarray
    drawn: np.ndarray


def draw_items(opened: Opened, shown: Shown, advance: Advance) -> np.ndarray:
    """Write the overlays of a piece; returns HOT of its items, float32 (n, 4), in pixels of the stored item.

    A method without reconstructions leaves the panels of these and of their errors out, and their columns of HOT empty.
    """
    from esad.pipeline.scoring.overlays import Heat, StripWriter, hot_point

    run, method = opened.run, opened.method
    maps = HeatMaps(method, run.mean_normal, score_weights(run.settings.score.kind, run.normals))
    scales, titles = _colour_scales(run, maps), panel_titles(method)
    names = opened.store.manifest["item_id"].iloc[shown.positions].tolist()
    hot, place = np.full((len(names), 4), np.nan), 0
    size = BATCH_ON_CPU if opened.device.type == "cpu" else BATCH
    work = partial(_seen, opened, maps, scales)
    with StripWriter() as strips:
        for chosen, (inputs, outputs, kinds) in each_batch(shown.positions, size, work, opened.device):
            for item, (image, output) in enumerate(zip(inputs, outputs, strict=True)):
                for name, values in kinds.items():
                    first = 2 * KINDS.index(name)
                    hot[place, first : first + 2] = hot_point(values[item])
                if shown.drawn[place]:
                    heats = [Heat(values[item], scales[name], titles[name]) for name, values in kinds.items()]
                    picture = (image.clip(0, 1) * 255).round().astype(np.uint8)
                    path = opened.folder / OVERLAYS / f"{names[place]}.png"
                    strips.write(path, picture, output, heats)
                place += 1
            advance(len(chosen))
    opened.store.release()
    return (hot + _corner(run)).astype(np.float32)


def _seen(
    opened: Opened, maps: HeatMaps, scales: Mapping[str, object], chosen: np.ndarray
) -> tuple[np.ndarray, Sequence[np.ndarray | None], dict[str, np.ndarray]]:
    """Scaled pictures of a batch, their reconstructions where the method has them, and the maps that have a scale, by KINDS."""
    from esad.models.training.fit import score_batches

    method, augmentation = opened.method, opened.run.augmentation
    _, x, terms = next(score_batches(method, opened.items, chosen, opened.device, augmentation, len(chosen)))
    outputs: Sequence[np.ndarray | None] = [None] * len(chosen)
    if "x_hat" in terms:
        outputs = list(_pictures(method, terms["x_hat"]))
    kinds = {name: values for name, values in maps.kinds(x, terms).items() if name in scales}
    return _pictures(method, x), outputs, kinds


def panel_titles(method: Method) -> dict[str, str]:
    """What stands under each kind of map."""
    from esad.models.attribution.explain import SHORT

    how = SHORT[method.explained_by]
    return dict(zip(KINDS, (f"contribution ({how})", "squared reconstruction error"), strict=True))


def _corner(run: Run) -> np.ndarray:
    """Where the central crop lies in the stored item: x, y, x, y."""
    height, width = (int(side) for side in run.store["shape"][:2])
    crop = run.settings.data.crop
    across, down = ((width - crop) // 2, (height - crop) // 2) if crop else (0, 0)
    return np.array([across, down, across, down])


def run_scale(run: Run, kind: str) -> dict[str, float] | None:
    """Quantiles of normal items for a kind of map, of RUN/heat.json; None for a run without them."""
    if not (run.root / "heat.json").is_file():
        return None
    return run.scales.get(kind)


def _colour_scales(run: Run, maps: HeatMaps) -> dict[str, tuple[float, float]]:
    """Between two high quantiles of reference normals' pixels, for each kind of map; EsadError where RUN/heat.json lacks one.

    Runs of forests and of searches that are older than their contributions lack these alone: so do their overlays.
    """
    scales = {
        name: (values[FIRST_QUANTILE], values[HEAT_QUANTILE])
        for name, values in run.scales.items()
        if FIRST_QUANTILE in values and HEAT_QUANTILE in values
    }
    if maps.method.has_gradient and KINDS[0] not in scales:
        path = run.root / "heat.json"
        raise damaged(path, f"is damaged ({KINDS[0]!r} is missing)", train_again(run.root))
    return scales


def _pictures(method: Method, x: torch.Tensor) -> np.ndarray:
    """Scaled pictures as float32 (B, H, W, C), padding cut off."""
    return method.scaler.unpad(x).permute(0, 2, 3, 1).float().cpu().numpy()  # type: ignore[operator]


def write_all_overlays(opened: Opened, crew: Crew, wanted: int | None) -> None:
    """Draw overlays anew: of the `wanted` highest scores and some others, or of all; the hottest points go into the table.

    Hottest points are computed for items whose region is known, too. Drawing that was stopped goes on.
    """
    from esad.preprocessing.store.writing import remove_temporaries, write_json

    folder = opened.folder
    positions, drawn = to_show(folder, wanted)
    starts = range(0, len(positions), PIECE)
    shown = [Shown(positions[start : start + PIECE], drawn[start : start + PIECE]) for start in starts]
    names = [f"heat-{number:06d}" for number in range(len(shown))]
    pieces = Pieces(
        folder / WORK / "heat",
        dict(zip(names, shown, strict=True)),
        {name: len(piece.positions) for name, piece in zip(names, shown, strict=True)},
    )
    of = described_work(opened, crew.device, shown=digest_of(positions, drawn), heat=[BATCH, BATCH_ON_CPU])
    if crew.first:
        pieces.begin(of, void=folder / OVERLAYS)
    crew.meet()
    crew.work(opened, draw_items, pieces, "overlays")
    if not crew.first:
        return
    if (folder / OVERLAYS).is_dir():
        remove_temporaries(folder / OVERLAYS)
    if drawn.any():
        write_json(folder / OVERLAYS / EXPLANATION, _said(opened))
    found = [(piece, pieces.read(name)) for name, piece in zip(names, shown, strict=True)]
    put_columns(folder / "scores.parquet", _hot_columns(opened, found))


def _said(opened: Opened) -> dict[str, object]:
    """explanation.json: what the panels are, from left to right, and how contributions were found."""
    from esad.models.attribution.explain import told

    method, scales = opened.on_cpu.method, opened.run.scales
    titles = panel_titles(method)
    reconstruction = ["reconstruction"] if KINDS[1] in scales else []
    panels = ["input", *reconstruction, *(titles[name] for name in KINDS if name in scales)]
    how = {"explained_by": method.explained_by, "contributions": told(method)} if KINDS[0] in scales else {}
    return {"panels": panels, **how}


def _hot_columns(opened: Opened, found: Sequence[tuple[Shown, np.ndarray]]) -> dict[str, pa.Array]:
    """HOT of the items that were looked at, and nothing for the others, by name."""
    import pyarrow as pa

    hot = np.full((len(opened.store), len(HOT)), np.nan, np.float32)
    for piece, values in found:
        hot[piece.positions] = values
    return {name: pa.array(values, from_pandas=True) for name, values in zip(HOT, hot.T, strict=True)}


def put_columns(path: Path, columns: Mapping[str, pa.Array]) -> None:
    """Put `columns` into the scores table, in place of those of the same names; the rest of it stays as it is.

    Row group by row group, so that the table is never in memory.
    """
    from esad.preprocessing.store.writing import write_row_groups

    write_row_groups(path, _with_columns(path, columns))


def _with_columns(path: Path, columns: Mapping[str, pa.Array]) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    file, begin = pq.ParquetFile(path, page_checksum_verification=True), 0
    for number in range(file.num_row_groups):
        count = file.metadata.row_group(number).num_rows
        own = {name: column.slice(begin, count) for name, column in columns.items()}
        yield _put(file.read_row_group(number), own)
        begin += count


def _put(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    for name, column in columns.items():
        place = table.schema.get_field_index(name)
        table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
    return table


def to_show(folder: Path, wanted: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the items whose heat is wanted, ascending, and which of them get an overlay."""
    table = read_table(folder / "scores.parquet", SCORE_AGAIN, ("score", "label", "part"), ("region_x",))
    chosen = range(len(table)) if wanted is None else items_to_show(table, wanted)
    drawn = np.array(chosen, dtype=np.int64)
    marked = table["region_x"].notna().to_numpy() if "region_x" in table else np.zeros(len(table), bool)
    positions = np.union1d(drawn, np.flatnonzero(marked)).astype(np.int64)
    return positions, np.isin(positions, drawn)
