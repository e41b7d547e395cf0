"""Scores of embeddings back on the pixels of the items that the vectors were made of, through their encoder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.runs.items import evenly
from esad.pipeline.scoring.explanation import EXPLANATION, OVERLAYS, put_columns, to_show
from esad.pipeline.scoring.heat import FIRST_QUANTILE, HEAT_QUANTILE, HOT
from esad.pipeline.scoring.scores import score_weights
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.progress import progress, say
from esad.preprocessing.store.store import Store

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from esad.models.encoders.encoder import Encoder
    from esad.pipeline.scoring.work import Opened

AT_ONCE = 4
"""Pictures at once: gradients keep what every layer of the encoder gave."""
REFERENCES = 24
"""Normal items that the colour scale is measured on; each costs as much as an overlay."""
AVERAGED = 256


@dataclass(frozen=True)
class Through:
    """The way from pixels to the score: pictures of `source`, row by row those of the vectors, an encoder, and a trained method."""

    source: Store
    encoder: Encoder
    opened: Opened
    baseline: Tensor
    """The mean normal picture, prepared: (C, h, w)."""

    def maps(self, positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(pictures uint8 (n, H, W, C), contributions of their pixels to the score, smoothed, float32 (n, H, W)), in order."""
        from torch.nn.functional import interpolate

        from esad.models.encoders.pixels import pixel_contributions
        from esad.pipeline.scoring.overlays import smooth

        for start in range(0, len(positions), AT_ONCE):
            pictures = self.source.read(positions[start : start + AT_ONCE])
            x = self.encoder.preparation.apply(_tensor(pictures, self.opened.device))
            found = pixel_contributions(self.encoder, self._score, x, self.baseline, self.has_gradient)
            height, width = pictures.shape[1:3]
            share = (
                x.shape[-2] * x.shape[-1] / (height * width)
            )  # a stored pixel stands for so many of the encoder's
            sized = interpolate(found[:, None], (height, width), mode="area")[:, 0] * share
            yield pictures, smooth(sized.cpu().numpy().astype(np.float32))

    @property
    def has_gradient(self) -> bool:
        """Whether the method's score has a gradient with respect to the vector."""
        return self.opened.method.explained_by == "gradients"

    def _score(self, vectors: Tensor) -> Tensor:
        from esad.models.attribution.gradients import weighted

        run, method = self.opened.run, self.opened.method
        terms = method.score_terms(method.scaler(vectors[None]))
        return weighted(terms, score_weights(run.settings.score.kind, run.normals))[0]


def write_pixel_overlays(opened: Opened, wanted: int | None) -> None:
    """Draw overlays of the `wanted` highest scores and some others, or of all (None), and put the hottest points into the table.

    Nothing is drawn, and why is said, where the store of the pictures or the encoder is not there any more, or another one.
    """
    from esad.models.encoders.pixels import by_gradients, way_of
    from esad.pipeline.scoring.overlays import Heat, StripWriter, hot_point
    from esad.preprocessing.store.store import write_json

    folder = opened.folder / OVERLAYS
    shutil.rmtree(folder, ignore_errors=True)
    positions, drawn = (
        to_show(opened.folder, wanted) if wanted != 0 else (np.empty(0, np.int64), np.empty(0, bool))
    )
    if not drawn.any():
        return
    try:
        through, scale = _through(opened)
    except EsadError as error:
        say(f"No overlays: {error}")
        return
    way = "gradients" if by_gradients(through.encoder, through.has_gradient) else "occlusion"
    title = f"contribution ({way})"
    names = opened.store.manifest["item_id"].to_numpy()
    hot, place = np.full((len(opened.store), len(HOT)), np.nan, np.float32), 0
    with progress("overlays", len(positions)) as bar, StripWriter() as strips:
        for pictures, values in through.maps(positions):
            for picture, heat in zip(pictures, values, strict=True):
                hot[positions[place], :2] = hot_point(heat)
                if drawn[place]:
                    strips.write(
                        folder / f"{names[positions[place]]}.png", picture, None, [Heat(heat, scale, title)]
                    )
                place += 1
            bar.advance(len(pictures))
    how = way_of(through.encoder, through.has_gradient)
    write_json(
        folder / EXPLANATION, {"panels": ["input", title], "explained_by": "encoder", "contributions": how}
    )
    put_columns(opened.folder / "scores.parquet", _columns(hot))


def source_of(store: Store) -> Store:
    """The store that the vectors of `store` were made of, its rows the same; EsadError where it is gone or another one."""
    made = store.description.get("made_of") or {}
    if "path" not in made:
        raise EsadError(f"{store.root}: made of files of vectors, which have no pixels.")
    path = Path(str(made["path"]))
    if not (path / "store.json").is_file():
        raise EsadError(f"{path}: the store that {store.root} was made of is gone.")
    source = Store(path)
    same = source.description.get("manifest_digest") == made.get("manifest")
    if not same or not source.manifest["item_id"].equals(store.manifest["item_id"]):
        raise EsadError(f"{path}: is not the store any more that {store.root} was made of.")
    return source


def encoder_of(store: Store, device: torch.device) -> Encoder:
    """The encoder that made the vectors; EsadError where it is not where it was, or has other weights or takes its pictures otherwise."""
    from esad.models.encoders.loading import load_encoder
    from esad.models.encoders.preparation import UnknownEncoder
    from esad.models.encoders.request import EncoderRequest

    stated: dict[str, Any] = dict((store.description.get("made_of") or {}).get("request") or {})
    try:
        pairs: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in stated.items()
        }
        encoder = load_encoder(EncoderRequest(**pairs), device)
    except (UnknownEncoder, TypeError) as error:
        raise EsadError(f"{store.root}: its encoder cannot be had ({error})") from error
    if encoder.described() != store.settings.get("encoder"):
        raise EsadError(
            f"{store.root}: {encoder.name} has other weights now than those that made the vectors."
        )
    difference = first_difference(
        {"input": store.settings.get("input")}, {"input": encoder.preparation.described()}
    )
    if difference:
        raise EsadError(
            f"{store.root}: {encoder.name} takes its pictures otherwise now than when it made the vectors ({difference}); make them anew: "
            "esad embed --force."
        )
    return encoder


def _through(opened: Opened) -> tuple[Through, tuple[float, float]]:
    """The way, and the colour scale: two high quantiles of the contributions of pixels of normal items held out of training."""
    import torch

    encoder, source = encoder_of(opened.store, opened.device), source_of(opened.store)
    trained = opened.store if opened.run.is_own(opened.store) else opened.run.training_store()
    pictures = source if trained is opened.store else source_of(trained)
    normals = evenly(_normals(opened, trained), AVERAGED)
    mean = torch.from_numpy(pictures.read(normals).astype(np.float64).mean(0).round().astype(np.uint8))
    baseline = encoder.preparation.apply(mean[None].to(opened.device))[0]
    reference = Through(pictures, encoder, opened, baseline)
    values = np.concatenate([found.reshape(-1) for _, found in reference.maps(evenly(normals, REFERENCES))])
    low, high = (float(np.quantile(values, float(share))) for share in (FIRST_QUANTILE, HEAT_QUANTILE))
    return Through(source, encoder, opened, baseline), (max(low, 0.0), max(high, low, 1e-12))


def _normals(opened: Opened, trained: Store) -> np.ndarray:
    """Positions in the training store of normals held out of training; of training ones where none is."""
    used: pd.DataFrame = opened.run.assignments
    normal = used[used["label"].fillna(0) == 0]
    held = normal[normal["part"] == "validation"]
    names = (normal[normal["part"] == "train"] if held.empty else held)["item_id"]
    places = pd.Index(trained.manifest["item_id"]).get_indexer(names.to_numpy())
    return np.sort(places[places >= 0])


def _tensor(pictures: np.ndarray, device: torch.device) -> Tensor:
    import torch

    return torch.from_numpy(pictures).to(device)


def _columns(hot: np.ndarray) -> dict[str, Any]:
    import pyarrow as pa

    return {name: pa.array(values, from_pandas=True) for name, values in zip(HOT, hot.T, strict=True)}
