"""Settings of the stages that make stores of embeddings: from files of vectors, and from items with a frozen encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from esad.models.base_settings import Settings
from esad.pipeline.settings.config import ItemSettings


class EmbeddingSettings(ItemSettings):
    """`esad embeddings`: HDF5 of CLAM and TRIDENT, npy, npz, Parquet or Zarr."""

    label: str = "label"
    """Array or column of labels; give none if there is none."""
    id: str | None = None
    """Array or column of names of vectors, which stand in scores.parquet."""
    features: str | None = None
    """Array or column that holds the vectors; null = one that is called so, or the only one."""
    coords: str | None = None
    """Array of the tiles' top left corners in level-0 pixels, or two columns as X,Y; none for none; null = one called coords."""
    precision: Literal["auto", "float16", "float32"] = "auto"
    """How vectors are kept; auto = float16 where all files hold that."""
    tile_side: float | None = Field(None, gt=0)
    """Side of a tile in level-0 pixels, for files that do not say it (those of CLAM)."""
    tile_step: float | None = Field(None, gt=0)
    """Distance between tiles in level-0 pixels, for files that do not say it; null = as they lie."""
    slide_mpp: float | None = Field(None, gt=0)
    """Level-0 microns per pixel, for slides whose file does not say."""
    encoder: str | None = None
    """What made the vectors; a run then takes only stores that say the same."""


class EncoderSettings(Settings):
    """`esad embed`: items through a frozen encoder."""

    layers: list[str] = Field(default_factory=list)
    """A layer whose mean over place is taken, in order; repeatable, or several by commas; without: the encoder's own output."""
    architecture: str | None = None
    """Of weights in a safetensors or pth file: the name of the network in timm."""
    size: int | None = Field(None, ge=8)
    """Side in pixels that pictures are brought to; null = as the encoder says."""
    mean: list[float] | None = None
    """What is taken from values in [0, 1]: one number, or one a channel by commas; null = as the encoder says."""
    scale: list[float] | None = None
    """What they are then divided by; null = as the encoder says."""
    precision: Literal["float16", "float32"] = "float16"
    """How vectors are kept; models take both as float32."""
