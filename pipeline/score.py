"""`esad score RUN [STORE]`: a score per item, where it looks, heat overlays, slide heat maps."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.scoring.heat import BATCH, HOT, KINDS, HeatMaps, score_formula, score_weights
from esad.pipeline.scoring.slide_maps import write_slide_maps
from esad.pipeline.scoring.slide_scores import candidates, slide_scores
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.outcome import Outcome, items_of
from esad.pipeline.stage.progress import progress
from esad.pipeline.training.run_folder import Run, open_run, resolve_device

if TYPE_CHECKING:
    import torch

    from esad.models.detector import Method
    from esad.models.training.augment import Augmentation
    from esad.models.training.fit import Items
    from esad.preprocessing.store.store import Store

CARRIED = (
    "source", "group", "view", "finding", "class_name", "x", "y", "width", "height", "tumour_fraction",
    "region_x", "region_y", "region_width", "region_height", "pixel_spacing",
)  # fmt: skip
"""Manifest columns that the scores table repeats, so that it can be read alone."""
TERMS = ("eq9", "reconstruction", "norm")
HEAT_QUANTILE = "0.999"
BEGUN = "begun.json"
"""Marks a folder whose tables are there and whose overlays are not finished; `scores.json` takes its place."""
FIGURES = ("metrics.json", "slides.csv", "froc.csv", "report.html")
"""What later stages make of the scores: void with them, but not with the overlays."""


def raw_scores(
    method: Method, items: Items, positions: np.ndarray, device: torch.device, augmentation: Augmentation,
    description: str = "score",
) -> pd.DataFrame:  # fmt: skip
    """Score terms (TERMS) of the items at `positions`, a row each."""
    from esad.models.training.fit import score_batches

    rows: dict[str, list[np.ndarray]] = {name: [] for name in TERMS}
    batch = 64 if method.pictures else 8192
    with progress(description, len(positions)) as bar:
        for chosen, _, terms in score_batches(method, items, positions, device, augmentation, batch):
            for name in TERMS:
                rows[name].append(terms[name].float().cpu().numpy().reshape(-1))
            bar.advance(len(chosen))
    return pd.DataFrame(
        {name: np.concatenate(values) if values else np.empty(0) for name, values in rows.items()}
    )


def standardised(table: pd.DataFrame, normals: pd.DataFrame) -> np.ndarray:
    """Sum over the terms of each term's distance above its median over normals, in median absolute deviations."""
    total = np.zeros(len(table))
    for name, (centre, scale) in score_formula("standardised", normals).items():
        total += (table[name].to_numpy(dtype=float) - centre) / scale
    return total


def final_scores(raw: pd.DataFrame, normals: pd.DataFrame, kind: str) -> pd.DataFrame:
    """`raw` with item_id, `score` (of `kind`), reconstruction, norm, percentile, eq9 and standardised in that order.

    The percentile is the share of reference normals with a lower score, in [0, 1].
    """
    table = raw.copy()
    table["standardised"] = standardised(table, normals)
    table["score"] = table[kind]
    reference = normals["score"] if "score" in normals else table["score"]
    ordered = np.sort(reference.to_numpy(dtype=float))
    table["percentile"] = np.searchsorted(ordered, table["score"].to_numpy(dtype=float), side="left") / max(
        len(ordered), 1
    )
    first = ["item_id", "score", "reconstruction", "norm", "percentile", "eq9", "standardised"]
    return table[[*first, *(name for name in table if name not in first)]]


def parse_overlays(text: str) -> int | None:
    """`none` -> 0, `worst:50` -> 50, `all` -> None; UsageError for anything else."""
    if text == "all":
        return None
    if text == "none":
        return 0
    word, _, number = text.partition(":")
    if word != "worst" or not number.isdigit():
        raise UsageError(f"--overlays {text!r}: expected none, all or worst:N, for example worst:50.")
    return int(number)


def score(
    run: Path,
    store: Path | None = None,
    out: Path | None = None,
    overlays: str = "worst:50",
    device: str | None = None,
    force: bool = False,
) -> Outcome:
    """Score all items of `store` (default: the run's own) and write the SCORES folder.

    Where only `overlays` differs from what is there, they alone are drawn anew; labels that the store got since then are
    taken over. Raises EsadError where the store does not fit the run, or `out` holds scores of another run or store.
    """
    from esad.pipeline.training.items import in_memory
    from esad.preprocessing.store.store import Store, write_json, write_table

    wanted = parse_overlays(overlays)
    opened = open_run(run)
    target = Store(store) if store else opened.training_store()
    opened.check(target)
    folder = out or run / "scores" / target.root.name
    marker = _marker(opened, target, overlays)
    if _already_scored(folder, marker, force):
        renewed = _renew_labels(folder, opened, target)
        verb = (
            f"Labels brought up to date, scores kept, in {folder}"
            if renewed
            else "Left alone (finished before)"
        )
        return _outcome(folder, target, verb)
    chosen = resolve_device(device or opened.settings.device)
    method, items = opened.method(chosen), in_memory(target, chosen)
    kept = _scores_are_there(folder, marker)
    if kept:
        _renew_labels(folder, opened, target)
    else:
        for name in FIGURES:
            (folder / name).unlink(missing_ok=True)
        write_tables(folder, target, _scored(opened, target, method, items, chosen))
        write_json(folder / BEGUN, {**marker, "overlays": None})
    if method.pictures:
        table = pd.read_parquet(folder / "scores.parquet")
        shown = np.arange(len(table)) if wanted is None else np.array(_to_show(table, wanted), dtype=np.int64)
        shutil.rmtree(folder / "overlays", ignore_errors=True)
        _explain(opened, method, items, shown, table, chosen, folder / "overlays")
        write_table(folder / "scores.parquet", table)
    write_json(folder / "scores.json", marker)
    (folder / BEGUN).unlink(missing_ok=True)
    return _outcome(folder, target, f"Drew overlays, scores kept, in {folder}" if kept else f"Wrote {folder}")


def write_tables(folder: Path, store: Store, table: pd.DataFrame) -> None:
    """scores.parquet, and of tiles slides/, slides.parquet and candidates.parquet."""
    from esad.preprocessing.store.store import write_table

    write_table(folder / "scores.parquet", table)
    if store.kind == "tiles":
        places = write_slide_maps(store, table, folder / "slides")
        write_table(folder / "slides.parquet", slide_scores(table).merge(places, on="source", how="left"))
        write_table(folder / "candidates.parquet", candidates(table))


def _renew_labels(folder: Path, run: Run, store: Store) -> bool:
    """Whether the store says other things of its items than finished scores do: these then say them, too."""
    from esad.preprocessing.store.store import write_table

    before = pd.read_parquet(folder / "scores.parquet")
    table = _described(before.copy(), run, store)
    if table.equals(before):
        return False
    for name in FIGURES:
        (folder / name).unlink(missing_ok=True)
    if store.kind == "tiles":
        slides = pd.read_parquet(folder / "slides.parquet")
        slides["label"] = (
            slides["source"].map(slide_scores(table).set_index("source")["label"]).astype("Int8")
        )
        write_table(folder / "slides.parquet", slides)
    write_table(folder / "scores.parquet", table)
    return True


def _marker(run: Run, store: Store, overlays: str) -> dict[str, Any]:
    return {
        "kind": store.kind, "run": str(run.root.resolve()), "store": str(store.root.resolve()),
        "score": run.settings.score.kind, "model": run.digest, "inputs": store.description["inputs"],
        "items": len(store), "overlays": overlays,
    }  # fmt: skip


def _already_scored(folder: Path, marker: dict[str, Any], force: bool) -> bool:
    """Whether all is done; EsadError for a folder of something else. `force` empties a scores folder.

    A finished folder whose overlays are others than asked for is marked as begun.
    """
    from esad.preprocessing.store.store import write_json

    finished, begun = folder / "scores.json", folder / BEGUN
    if not folder.exists():
        return False
    if force and (finished.exists() or begun.exists() or not any(folder.iterdir())):
        shutil.rmtree(folder)
        return False
    if finished.exists():
        found = json.loads(finished.read_text())
        difference = first_difference({**found, "overlays": None}, {**marker, "overlays": None})
        if difference:
            raise EsadError(
                f"{folder}: holds other scores ({difference}). Choose another --out, or --force to replace them."
            )
        if found["overlays"] == marker["overlays"]:
            return True
        write_json(begun, {**marker, "overlays": None})
        finished.unlink()
        return False
    known = {
        "scores.parquet", "slides.parquet", "candidates.parquet", "overlays", "slides", BEGUN, *FIGURES,
    }  # fmt: skip
    strange = [
        entry.name for entry in folder.iterdir() if entry.name not in known and not entry.name.startswith(".")
    ]
    if strange:
        raise EsadError(
            f"{folder}: exists and is not a scores folder (it holds {strange[0]}); choose another --out."
        )
    return False


def _scores_are_there(folder: Path, marker: dict[str, Any]) -> bool:
    """Whether an unfinished folder has the tables of just these scores, so that only the overlays are to be drawn."""
    begun = folder / BEGUN
    if not begun.is_file() or json.loads(begun.read_text()) != {**marker, "overlays": None}:
        begun.unlink(missing_ok=True)
        return False
    return True


def _scored(run: Run, store: Store, method: Method, items: Items, device: torch.device) -> pd.DataFrame:
    """The scores table, but for HOT."""
    raw = raw_scores(
        method, items, np.arange(len(store)), device, run.augmentation, f"score {store.root.name}"
    )
    raw.insert(0, "item_id", store.manifest["item_id"].to_numpy())
    return _described(final_scores(raw, run.normals, run.settings.score.kind), run, store)


def _described(table: pd.DataFrame, run: Run, store: Store) -> pd.DataFrame:
    """`table` with what the store and the run know of its items: CARRIED, label, part."""
    from esad.preprocessing.splits.semisupervised import labels_from_classes

    manifest = store.manifest
    for name in CARRIED:
        if name in manifest:
            table[name] = manifest[name].to_numpy()
    table["label"] = labels_from_classes(manifest, run.settings.data.normal_classes).array
    table["part"] = parts_of(run, store)
    return table


def parts_of(run: Run, store: Store) -> np.ndarray:
    """What the run used each item of `store` for: train, validation or test, or null, (N,) text.

    In another store than the run's own, only what it trained on or took as a reference is told: items of the same
    name out of the very same input file (two archives may both hold an `a.npz`, so the fingerprint must agree).
    """
    used = run.assignments
    if not run.is_own(store):
        used = used[used["part"].isin(("train", "validation"))]
    assigned = used.drop_duplicates("item_id", keep="last").set_index("item_id")["part"]
    parts = store.manifest["item_id"].map(assigned).astype("string")
    if not run.is_own(store):
        same = store.sources.merge(run.sources, on=["source", "fingerprint"])["source"]
        parts[~store.manifest["source"].isin(set(same))] = pd.NA
    return parts.array


def _to_show(table: pd.DataFrame, count: int) -> list[int]:
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


def _explain(
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
    scales = {name: (0.0, values[HEAT_QUANTILE]) for name, values in run.scales.items()}
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


def _pictures(method: Method, x: torch.Tensor) -> np.ndarray:
    """Scaled pictures as float32 (B, H, W, C), padding cut off."""
    return method.scaler.unpad(x).permute(0, 2, 3, 1).float().cpu().numpy()  # type: ignore[operator]


def _outcome(folder: Path, store: Store, verb: str) -> Outcome:
    table = pd.read_parquet(folder / "scores.parquet", columns=["score", "percentile"])
    above = int((table["percentile"] >= 0.99).sum())
    pictures = len(list((folder / "overlays").glob("*.png"))) if (folder / "overlays").is_dir() else 0
    message = (
        f"{verb}: {len(table)} {items_of(store.kind)} scored, {above} above 99 % of the reference normals, "
        f"{pictures} overlays."
    )
    summary = {"items": len(table), "above_99_percent": above, "overlays": pictures}
    return Outcome(folder, message, shlex.join(["esad", "evaluate", str(folder)]), 0, summary)


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["score", *sys.argv[1:]])
