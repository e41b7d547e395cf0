"""Where each explanation looks, beside radiologists' boxes and PCam's centres, by cross-validation: every boxed image counts once.

    python benchmarks/localisation.py --data DIR --out DIR [--only pcam ...] [--of NAME ...] [--folds 5] [--seeds 1] [--json FILE]
    python benchmarks/localisation.py --smoke

A fold's test part are a fifth of the groups (patients); ESAD trains on the rest, as benchmarks/real_data.py does. Maps of the fold's
anomalies with a region (NIH's boxes in the 64-pixel frame; of a tumour tile of PCam the central 32 of 64 pixels) are smoothed as
overlays are. For each explanation:

pointing   share of images whose highest pixel lies in the region, with `chance`, the region's share of the image
pixel_auc  mean over images: a pixel of the region is higher than one outside
pro        mean share of the regions above a threshold, over thresholds at which 0 to 30 % of outside pixels are (anomalib); by chance 0.15

normals    pixel_auc of the maps of as many normal test images (at most NORMALS a fold) in the same regions: what lies in how a network
           sees a picture, whose middle it weighs more, and not in the anomaly

`chosen` has the highest pixel_auc on a random half of the groups; its figures are those of the other half, with intervals.
With several seeds `ensemble` is the mean map of the networks, each scaled by its own spread.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command import parsed, parser, write_json
from real_data import NARROW, NIH, RADIOGRAPHS, RATIO, SHORT, STEPS, with_boxes, write_made_up
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score
from torch import Tensor

from esad.models.attribution.gradients import integrated_gradients, weighted
from esad.models.folding import folded
from esad.models.training.fit import score_batches
from esad.pipeline.evaluation.measures.metrics import pointing_game
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.runs.items import in_memory
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.scoring.overlays import hot_point, smooth
from esad.pipeline.scoring.scores import score_weights
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.thresholds.false_alarms import share_interval
from esad.pipeline.train import train
from esad.preprocessing.radiographs.nih import REGION

SETS: dict[str, dict[str, Any]] = {
    "nih-ap": {**RATIO, **RADIOGRAPHS, **STEPS, "data.where": {"view": "AP"}},
    "nih-pa": {**RATIO, **RADIOGRAPHS, **STEPS, "data.where": {"view": "PA"}},
    "pcam": {**RATIO, "data.flip": "both"},
}
CENTRE = (16.0, 16.0, 32.0, 32.0)
RATES = np.linspace(0.01, 0.3, 30)
BLOCK, STRIDE = 8, 4
NOISY, NOISE = 8, 0.05
NORMALS = 100
Maps = dict[str, np.ndarray]


def fold_file(name: str, data: Path, out: Path, fold: int, folds: int) -> tuple[Path, str | None]:
    """An npz of the set with a split that tests every `folds`-th group, and its group column."""
    if name == "pcam":
        content = dict(np.load(data / "pcam/pcam_64.npz"))
        content |= {
            column: np.where(content["y"] == 1, side, np.nan)
            for column, side in zip(REGION, CENTRE, strict=True)
        }
        groups, column = np.arange(len(content["y"])).astype(str), None
    else:
        content = dict(
            np.load(with_boxes(data / NIH[0], data / "nih" / "metadata", out / "boxes" / "nih.npz"))
        )
        groups, column = content["patient"].astype(str), "patient"
    names = np.unique(groups)
    tested = np.random.default_rng(0).permutation(names)[fold::folds]
    content["split"] = np.where(np.isin(groups, tested), "test", "train")
    path = out / f"{name}-{fold}.npz"
    np.savez(path, **content)
    return path, column


def explanations(
    score: Callable[[Tensor], Mapping[str, Tensor]],
    weights: Mapping[str, float],
    x: Tensor,
    mean: Tensor,
    names: Sequence[str] | None,
) -> Maps:
    """The map of pictures `x` (B, C, H, W) in [0, 1] by each explanation, or by those of `names`, unsmoothed: (B, H, W). `mean` (C, H, W):
    the mean normal picture."""
    numbers = torch.Generator().manual_seed(0)
    x_hat = score(x)["x_hat"].detach()
    blurred = torch.from_numpy(gaussian_filter(x.numpy(), (0, 0, 8, 8)))

    def whole(point: Tensor) -> Tensor:
        return weighted(score(point), weights)

    def norm(point: Tensor) -> Tensor:
        return score(point)["norm"]

    def gradients(of: Callable[[Tensor], Tensor], at: Tensor, start: Tensor) -> Tensor:
        return integrated_gradients(of, at, start).sum(1)

    def smoothed() -> Tensor:
        noisy = [x + NOISE * torch.randn(x.shape, generator=numbers) for _ in range(NOISY)]
        return torch.stack([gradients(whole, each, mean) for each in noisy]).mean(0)

    def slope() -> Tensor:
        with torch.enable_grad():
            point = x.clone().requires_grad_()
            return torch.autograd.grad(norm(point).sum(), point)[0].abs().sum(1)

    ways: dict[str, Callable[[], Tensor]] = {
        "error": lambda: (x - x_hat).square().mean(1),
        "integrated gradients, mean": lambda: gradients(whole, x, mean),
        "integrated gradients, black": lambda: gradients(whole, x, torch.zeros(1)),
        "integrated gradients, blurred": lambda: gradients(whole, x, blurred),
        "integrated gradients, reconstruction": lambda: gradients(whole, x, x_hat),
        "integrated gradients of the norm, mean": lambda: gradients(norm, x, mean),
        "smoothed integrated gradients, mean": smoothed,
        "gradient of the norm": slope,
        "occlusion by the mean": lambda: occlusion(whole, x, mean),
    }
    return {name: ways[name]().detach().float().numpy() for name in names or ways}


def occlusion(score: Callable[[Tensor], Tensor], x: Tensor, mean: Tensor) -> Tensor:
    """How much lower the score is with each block in place of which the mean normal picture stands, mean over the blocks on a pixel."""
    _, _, height, width = x.shape
    total, count = torch.zeros(len(x), height, width), torch.zeros(height, width)
    with torch.no_grad():
        whole = score(x)
        for top in range(0, height - BLOCK + 1, STRIDE):
            for left in range(0, width - BLOCK + 1, STRIDE):
                place = (slice(top, top + BLOCK), slice(left, left + BLOCK))
                covered = x.clone()
                covered[:, :, *place] = mean[:, *place]
                total[:, *place] += (whole - score(covered))[:, None, None]
                count[place] += 1
    return total / count.clamp(min=1)


def maps_of_fold(run: Path, names: Sequence[str] | None, label: int) -> tuple[Maps, np.ndarray, np.ndarray]:
    """(smoothed maps by explanation (N, H, W), regions (N, 4), groups (N,)) of the test part's anomalies with a region (`label` 1), or of
    NORMALS normal images, whose regions are NaN."""
    opened = open_run(run)
    store, device = opened.training_store(), torch.device("cpu")
    method = folded(opened.method(device))
    weights = score_weights(opened.settings.score.kind, opened.normals)
    table = store.manifest.merge(opened.assignments[["item_id", "part"]], on="item_id", how="left")
    chosen = np.flatnonzero(
        (table["part"] == "test").fillna(False)
        & (table["label"] == label).fillna(False)
        & (table[list(REGION)].notna().all(axis=1) | (label == 0))
    )
    chosen = chosen if label else np.random.default_rng(0).permutation(chosen)[:NORMALS]
    parts: dict[str, list[np.ndarray]] = {}
    mean = method.scaler(torch.from_numpy(opened.mean_normal.copy())[None])[0]
    for _, x, _ in (
        score_batches(method, in_memory(store), chosen, device, opened.augmentation, 16)
        if len(chosen)
        else ()
    ):
        for name, value in explanations(method.score_terms, weights, x, mean, names).items():
            parts.setdefault(name, []).append(smooth(method.scaler.unpad(torch.from_numpy(value)).numpy()))  # type: ignore[operator]
    rows = table.iloc[chosen]
    groups = (rows["group"] if "group" in rows and rows["group"].notna().all() else rows["item_id"]).to_numpy(
        dtype=str
    )
    return (
        {name: np.concatenate(values) for name, values in parts.items()},
        rows[list(REGION)].to_numpy(dtype=float),
        groups,
    )


def inside(regions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie in each region (N, 4) x, y, width, height: bool (N, H, W)."""
    rows, columns = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    x, y, width, height = (side[:, None] for side in regions.T)
    return ((rows >= y) & (rows < y + height))[:, :, None] & ((columns >= x) & (columns < x + width))[
        :, None, :
    ]


def figures(maps: np.ndarray, regions: np.ndarray) -> dict[str, float]:
    """pointing, chance, pixel_auc and pro of maps (N, H, W)."""
    masks = inside(regions, maps.shape[1:])  # type: ignore[arg-type]
    kept = masks.any((1, 2)) & ~masks.all((1, 2))
    maps, regions, masks = maps[kept], regions[kept], masks[kept]
    game = pointing_game(np.array([hot_point(one) for one in maps]), regions, maps.shape[1:])  # type: ignore[arg-type]
    areas = [roc_auc_score(mask.ravel(), one.ravel()) for one, mask in zip(maps, masks, strict=True)]
    levels = np.quantile(maps[~masks], 1 - RATES)
    shares = [
        np.mean([(one[mask] > level).mean() for one, mask in zip(maps, masks, strict=True)])
        for level in levels
    ]
    return {
        "pointing": float(game.hits.mean()), "chance": float(game.chance.mean()), "pixel_auc": float(np.mean(areas)),
        "pro": float(np.mean(shares)), "images": len(maps),
    }  # fmt: skip


def held_out(maps: Maps, regions: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """The explanation with the highest pixel_auc on half of the groups, and its figures on the other half."""
    names = np.unique(groups)
    first = np.isin(groups, np.random.default_rng(1).permutation(names)[: len(names) // 2])
    chosen = max(maps, key=lambda name: figures(maps[name][first], regions[first])["pixel_auc"])
    rest, there = maps[chosen][~first], regions[~first]
    hits = pointing_game(np.array([hot_point(one) for one in rest]), there, rest.shape[1:]).hits  # type: ignore[arg-type]
    return {
        "chosen": chosen,
        **figures(rest, there),
        "pointing_interval": share_interval(hits, groups[~first]),
    }


def measure(
    name: str, data: Path, out: Path, folds: int, seeds: int, short: bool, names: Sequence[str] | None
) -> dict[str, object]:
    """The figures of all explanations of a set, printed as they are found."""
    everything: list[tuple[Maps, np.ndarray, np.ndarray]] = []
    normals: list[Maps] = []
    for fold in range(folds):
        path, group = fold_file(name, data, out, fold, folds)
        store = out / f"{name}-{fold}-store"
        images([path], ImageSettings(**({"group": group} if group else {})), IngestOptions(store))
        of_seeds = []
        for seed in range(seeds):
            run = out / f"{name}-{fold}-{seed}"
            more = {**SHORT, "network.width": NARROW} if short else {}
            train(store, run, "cpu", [SETS[name], {"seed": seed, **more}])
            of_seeds.append(maps_of_fold(run, names, label=1))
            if seed == 0:
                normals.append(maps_of_fold(run, names, label=0)[0])
        maps, regions, groups = of_seeds[0]
        if seeds > 1 and names is None:
            each = [found["integrated gradients, mean"] for found, _, _ in of_seeds]
            maps["ensemble of integrated gradients, mean"] = np.mean(
                [one / (one.std() or 1) for one in each], axis=0
            )
        if len(regions):
            everything.append((maps, regions, groups))
    maps = {key: np.concatenate([found[key] for found, _, _ in everything]) for key in everything[0][0]}
    regions, groups = (np.concatenate([one[place] for one in everything]) for place in (1, 2))  # type: ignore[misc]
    found: dict[str, dict[str, Any]] = {key: figures(value, regions) for key, value in maps.items()}
    for key in normals[0]:
        beside = np.concatenate([each[key] for each in normals])
        found[key]["normals"] = figures(beside, regions[np.arange(len(beside)) % len(regions)])["pixel_auc"]
    found["held out"] = held_out(maps, regions, groups)
    for key, values in found.items():
        told = {
            term: round(value, 3) if isinstance(value, float) else value for term, value in values.items()
        }
        print(name, key, told, sep="  ", flush=True)
    return {"data": name, **found}


def main() -> None:
    """Parse the options, print a line per data set and explanation."""
    options = parser(__doc__, data=True)
    options.add_argument("--out", type=Path, help="folder of stores and runs")
    options.add_argument("--only", action="append", choices=list(SETS))
    options.add_argument("--of", action="append", help="an explanation by its name in the table; repeatable")
    options.add_argument("--folds", type=int, default=5)
    options.add_argument("--seeds", type=int, default=1)
    given = parsed(options)
    with tempfile.TemporaryDirectory() as folder:
        data, out = given.data, given.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        names, folds = given.only or list(SETS), 2 if given.smoke else given.folds
        if given.smoke:
            data, names = Path(folder) / "data", given.only or ["pcam"]
            write_made_up(data)
        write_json(
            given.json,
            [measure(name, data, out, folds, given.seeds, given.smoke, given.of) for name in names],
        )


if __name__ == "__main__":
    main()
