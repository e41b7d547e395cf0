"""Normal and anomalous examples of a run (the paper's Figure 4), picked by their scores, with what the method makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.drawing.items import ANOMALY, NORMAL, at_places, counted_items
from esad.pipeline.drawing.subjects import Subject, not_scored
from esad.pipeline.runs.run_folder import resolve_device
from esad.pipeline.scoring.batches import read_once
from esad.preprocessing.store.kinds import ROWS

if TYPE_CHECKING:
    import torch

    from esad.models.detector import Method


@dataclass(frozen=True)
class Examples:
    """Examples of one scored run, normal ones first, each kind from the lowest to the highest score."""

    subject: Subject
    items: pd.DataFrame
    """kind, place, rank, of, row, label, class_name, score, percentile, reconstruction, norm, and `difference`: the mean
    absolute difference of a picture in [0, 1] from its reconstruction, NaN without one."""
    inputs: np.ndarray
    """float32 (N, H, W, C) in [0, 1]."""
    outputs: np.ndarray | None
    """The reconstructions, as `inputs` but not clipped; None for a method that does not reconstruct."""
    which: str
    """Which items were ranked."""

    @property
    def differences(self) -> np.ndarray | None:
        """Absolute differences, mean over channels: float32 (N, H, W)."""
        return None if self.outputs is None else np.abs(self.outputs - self.inputs).mean(-1)


def all_examples(
    subjects: Sequence[Subject], count: int, device: str | None
) -> tuple[list[Examples], list[str]]:
    """(examples of each scored run of pictures, `count` of a kind; what has none and why)."""
    found: list[Examples] = []
    pictures = [subject for subject in subjects if subject.run.store["kind"] not in ROWS]
    left_out = not_scored(pictures)
    left_out += [f"{each.name}: rows of a table are no pictures" for each in subjects if each not in pictures]
    for subject in pictures:
        if subject.folder is None:
            continue
        items, which = counted_items(subject)
        if items.empty:
            left_out.append(f"{subject.name}: no item that counts has a label")
            continue
        chosen = _chosen(items, count)
        inputs, outputs = _seen(subject, chosen["row"].to_numpy(), device)
        examples = Examples(subject, chosen, inputs, outputs, which)
        differences = examples.differences
        chosen["difference"] = np.nan if differences is None else differences.mean((1, 2)).astype(float)
        found.append(examples)
    return found, left_out


def _chosen(items: pd.DataFrame, count: int) -> pd.DataFrame:
    parts = [
        at_places(items[items["label"] == label], count).assign(kind=kind)
        for label, kind in ((0, NORMAL), (1, ANOMALY))
    ]
    return pd.concat([part for part in parts if len(part)]).reset_index(drop=True)


def _seen(subject: Subject, rows: np.ndarray, device: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Pictures (N, H, W, C) as the network sees them, padding cut off, and their reconstructions."""
    from esad.models.training.fit import score_batches

    chosen = resolve_device(device or subject.run.settings.device)
    method, items = subject.run.method(chosen), read_once(subject.run.seen(subject.store), chosen)
    _, x, terms = next(score_batches(method, items, rows, chosen, subject.run.augmentation, len(rows)))
    outputs = _pictures(method, terms["x_hat"]) if "x_hat" in terms else None
    return _pictures(method, x), outputs


def _pictures(method: Method, x: torch.Tensor) -> np.ndarray:
    return method.scaler.unpad(x).permute(0, 2, 3, 1).float().cpu().numpy()  # type: ignore[operator]
