"""Settings of networks, losses and training, each beside its source: a section of the paper or a METHOD row."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values are checked."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, use_attribute_docstrings=True)


class NetworkSettings(Settings):
    """The encoder-decoder-encoder."""

    width: float = Field(1.0, gt=0)
    """Share of Table 6's channels (pictures), or multiple of Deep SAD's hidden layers (tables; METHOD 2.1)."""
    channels: Literal[1, 3] | None = None
    """Input channels; grey repeated to 3 is the paper's (A19); null = as stored."""
    upsample: Literal["bilinear", "nearest"] = "bilinear"
    """A6."""
    hidden: list[int] | None = None
    """Tables: widths of the hidden layers; null = Deep SAD's for the number of columns, times `width`."""
    code: int | None = Field(None, ge=1)
    """Tables: size of the code; null = Deep SAD's."""
    affine: bool = True
    """Tables: BatchNorm with scale and shift (Deep SAD's have none)."""
    bias: bool = True
    """Tables: the last linear layer with bias (Deep SAD's have none; before BatchNorm it would do nothing)."""


class LossSettings(Settings):
    """Eq. 5-8."""

    lambda1: float = Field(1.0, ge=0)
    """Weight of the norm term, in loss and score (paper 4.1: 1)."""
    lambda2: float = Field(1.0, ge=0)
    """Weight of the association term (paper 4.1: 1)."""
    reconstruction: Literal["mean", "sum"] = "mean"
    """Reduction of a squared norm over the item's entries (A1)."""
    norm: Literal["mean", "sum"] = "mean"
    """A2, A3."""
    association: Literal["mean", "sum"] = "mean"
    """A2, A3."""
    labelled_weight: float = Field(1.0, ge=0)
    """Weight of the labelled means of Eq. 5 and 6 (the paper's is 1)."""
    eps: float = Field(1e-6, gt=0)
    """Added to the squared norm before it is inverted (A7)."""
    batch_mean: Literal["separate", "joint"] = "separate"
    """Unlabelled and labelled items averaged apart (Eq. 5, 6) or together, as Deep SAD's code does (A9)."""


class PhiSettings(Settings):
    """The transformation that labelled anomalies must be reconstructed to (Eq. 5, A11-A13)."""

    rearrange: bool = True
    """Rotate pictures by 90, 180 or 270 degrees; permute the columns of a table row."""
    noise: float = Field(0.1, ge=0)
    """Standard deviation of the added Gaussian noise, in units of [0, 1]."""


class OptimiserSettings(Settings):
    """One phase of training."""

    optimiser: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(0.1, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "halve_at_quarters", "cosine"] = "halve_at_quarters"
    """Paper 6.3: halved every 50 of 200 epochs, that is at each quarter."""
    epochs: float | None = Field(None, ge=0)
    steps: int | None = Field(None, ge=0)
    """Length as epochs (passes over the unlabelled items) or as steps; steps win."""


class TrainSettings(OptimiserSettings):
    """Paper 6.3, and the warm-up that precedes it."""

    batch_size: int = Field(32, ge=2)
    """Unlabelled items a step (`balanced`), or items a step (`joint`)."""
    batches: Literal["joint", "balanced"] = "joint"
    """One shuffled order of all items (A9's reading of the paper), or `labelled_per_batch` drawn anew each step."""
    labelled_per_batch: int = Field(8, ge=1)
    warmup: OptimiserSettings = OptimiserSettings(epochs=0)
    """A plain autoencoder (Enc1 and Dec) on the unlabelled items; none in the paper."""
    restarts: int = Field(3, ge=0)
    """Times that training may start anew at half the learning rate after a loss that is not finite (A15)."""


class MethodSettings(Settings):
    """All that a method needs to build its networks and compute its losses."""

    method: Literal["esad", "cae"] = "esad"
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    phi: PhiSettings = PhiSettings()
    train: TrainSettings = TrainSettings()
