"""MONAI's datasets as the items that our training step reads, and reference scores of the normals among them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.items import fits
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.progress import progress

if TYPE_CHECKING:
    import torch

    from esad.models.scorer import PictureScorer
    from esad.models.training.fit import Items, TrainingData


class DatasetItems:
    """A training and a validation dataset behind each other, as pictures of 0 to 255: uint8 (N, H, W, C).

    Each entry of a dataset is a mapping with `image`, (C, H, W) in [0, 1], and what `PictureFolder` says of it. All are read
    at once where they fit into memory; where a transform draws random numbers each is read anew whenever it is asked for.
    """

    def __init__(self, training: Any, validation: Any, shape: Sequence[int], device: torch.device) -> None:
        """`training` and `validation` are MONAI's datasets over lists of entries, `shape` (H, W, C)."""
        self.datasets, self.shape, self.device = (training, validation), tuple(shape), device
        self.first_held = len(training)

    @cached_property
    def data(self) -> TrainingData:
        """What trains as what, for the one seed, and the validation part."""
        from esad.models.training.fit import TrainingData

        training, held = (dataset.data for dataset in self.datasets)
        semi = np.array([entry["semi_label"] for entry in training], np.int8)
        labels = np.array([entry["label"] for entry in held], np.int8)
        validation = self.first_held + np.arange(len(held)), labels
        return TrainingData(self._items(), [np.arange(len(training))], [semi], [validation])

    @property
    def normals(self) -> np.ndarray:
        """Positions of the held-out normals; of those of training where none was held out."""
        held, labels = self.data.validation[0]
        normal = held[labels == 0]
        if len(normal):
            return normal
        known = [entry.get("label", 0) for entry in self.datasets[0].data]
        return np.flatnonzero(np.array(known) == 0)

    def read(self, positions: np.ndarray) -> torch.Tensor:
        """The pictures at `positions` (N,), read through the datasets."""
        import torch

        out = np.empty((len(positions), *self.shape), np.uint8)
        for row, position in enumerate(positions.tolist()):
            held = position >= self.first_held
            entry = self.datasets[held][position - self.first_held if held else position]
            out[row] = self._stored(entry["image"])
        return torch.from_numpy(out)

    def _items(self) -> Items:
        import torch

        count = sum(len(dataset) for dataset in self.datasets)
        needed = count * int(np.prod(self.shape))
        cuda = self.device.type == "cuda"
        if not fits(needed, self.device) or any(_draws(dataset.transform) for dataset in self.datasets):
            return lambda positions: self.read(positions).pin_memory() if cuda else self.read(positions)
        parts = []
        with progress("read pictures", count) as bar:
            for start in range(0, count, 256):
                parts.append(self.read(np.arange(start, min(start + 256, count))))
                bar.advance(len(parts[-1]))
        return torch.cat(parts).to(self.device)

    def _stored(self, image: Any) -> np.ndarray:
        pixels = np.moveaxis(np.asarray(image), 0, -1)
        if pixels.shape != self.shape:
            raise EsadError(
                f"an image of (height, width, channels) = {pixels.shape} from the transforms; the model takes {self.shape}."
            )
        return np.rint(pixels * 255).clip(0, 255).astype(np.uint8)


class ReferenceScores:
    """Sets the centres and scales of the standardised score by the held-out normals, as a run's reference scores do.

    As a handler of an evaluator it does so before each evaluation. Eq. 9 has none.
    """

    def __init__(self, network: PictureScorer, items: DatasetItems) -> None:
        self.network, self.items = network, items

    def attach(self, engine: Any) -> None:
        """Called once by the engine that it is a handler of."""
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, lambda _: self.set())

    def set(self) -> None:
        """Score the normals as the network is now, and set its formula."""
        from esad.pipeline.scoring.scores import raw_scores, score_formula

        if self.network.names == ("eq9",):
            return
        raw = raw_scores(
            self.network.method, self.items.data.items, self.items.normals, self.items.device,
            self.network.augmentation, "references",
        )  # fmt: skip
        self.network.refer(score_formula("standardised", raw))


def formula_of(score: str) -> dict[str, tuple[float, float]]:
    """The terms of the score `eq9` or `standardised`, with centres and scales that are still to be set."""
    return {"eq9": {"eq9": (0.0, 1.0)}, "standardised": {"reconstruction": (0.0, 1.0), "norm": (0.0, 1.0)}}[
        score
    ]


def _draws(transform: Any) -> bool:
    """Whether a transform, or one within it, draws random numbers."""
    from monai.transforms import Compose, RandomizableTrait

    if isinstance(transform, Compose):  # is one itself, for those within it
        return any(_draws(each) for each in transform.transforms)
    return isinstance(transform, RandomizableTrait)
