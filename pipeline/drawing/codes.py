"""Maps of latent codes (the paper's Figure 3): codes of items by a run's encoders, and their t-SNE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.drawing.items import counted_items, drawn_by_seed, kinds_of
from esad.pipeline.drawing.subjects import Subject
from esad.pipeline.runs.run_folder import resolve_device
from esad.pipeline.scoring.batches import batch_size, each_batch, read_once
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

PERPLEXITY = 30.0
"""Of t-SNE, as van der Maaten and Hinton use it; a third of the items where that is less."""
FEWEST = 6
"""Items: a map of fewer says nothing."""
SAME = 1e-6
"""Codes whose spread is below this share of their size are one code: rounding is no structure."""


@dataclass(frozen=True)
class CodeMap:
    """The map of one kind of code of one run."""

    subject: Subject
    code: str
    """The method's name of it: z or z_hat."""
    items: pd.DataFrame
    """row, label, class_name, kind, and x and y, the place on the map, NaN where all codes are the same."""
    normal: int
    anomaly: int
    """How many items of either kind the drawn ones were taken from."""
    which: str
    """Which items count: the test part, or all labelled ones."""


def code_maps(
    subjects: Sequence[Subject], most: int, seed: int, device: str | None
) -> tuple[list[CodeMap], list[str]]:
    """(maps of each code of each run, of at most `most` items each, what has none and why), in the order of `subjects`."""
    maps: list[CodeMap] = []
    left_out: list[str] = []
    with progress("maps of codes", len(subjects)) as bar:
        for subject in subjects:
            items, which = counted_items(subject)
            normal, anomaly = int((items["label"] == 0).sum()), int((items["label"] == 1).sum())
            if len(items) < FEWEST:
                left_out.append(
                    f"{subject.name}: {len(items)} items with a label to draw a map of; it takes {FEWEST}"
                )
                continue
            drawn = drawn_by_seed(items, most, seed, len(subject.store))
            drawn["kind"] = kinds_of(subject, drawn)
            codes = codes_of(subject, drawn["row"].to_numpy(), device)
            if not codes:
                left_out.append(
                    f"{subject.name}: method {subject.run.settings.method} has no codes to draw a map of"
                )
            for name, values in codes.items():
                x, y = embedded(values, seed).T
                maps.append(CodeMap(subject, name, drawn.assign(x=x, y=y), normal, anomaly, which))
            bar.advance()
    return maps, left_out


def codes_of(subject: Subject, positions: np.ndarray, device: str | None) -> dict[str, np.ndarray]:
    """The codes of the store's items at `positions`, by name, as float32 rows (N, K); {} for a method without codes.

    EsadError where a code is not finite.
    """
    import torch

    from esad.models.training.fit import scaled_items

    chosen = resolve_device(device or subject.run.settings.device)
    method, augmentation = subject.run.method(chosen), subject.run.augmentation
    items = read_once(subject.run.seen(subject.store), chosen)

    @torch.inference_mode()
    def codes(at: np.ndarray) -> dict[str, np.ndarray]:
        found = method.latents(scaled_items(method, items, at, chosen, augmentation))
        return {
            name: (z if method.pictures else z[0]).float().flatten(1).cpu().numpy()
            for name, z in found.items()
        }

    batches = [found for _, found in each_batch(positions, batch_size(method.shape, chosen), codes, chosen)]
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    for name, values in joined.items():
        if not np.isfinite(values).all():
            raise EsadError(f"{subject.run.root}: codes {name} of some items are not finite; train it anew.")
    return joined


def embedded(codes: np.ndarray, seed: int) -> np.ndarray:
    """The t-SNE of codes (N, K) of at least FEWEST items: float32 (N, 2), NaN where all codes are the same.

    The same for the same codes and seed, on any number of threads: it is computed by one.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if codes.std(0).max() <= SAME * np.abs(codes).max():
        return np.full((len(codes), 2), np.nan, np.float32)
    if codes.shape[1] == 1:  # the start is two principal components
        codes = np.pad(codes, ((0, 0), (0, 1)))
    perplexity = min(PERPLEXITY, len(codes) / 3)
    with threadpool_limits(1):
        fit = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        return fit.fit_transform(codes)
