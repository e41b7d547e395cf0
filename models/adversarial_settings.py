"""Settings of the methods that adversaries train, each beside its source: a heading `PAGE.md#…` of docs/explanation/.

Defaults are the published ones; what a CPU trains is in `esad.pipeline.settings.budgets`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from esad.models.base_settings import Layer, Settings


class GanomalySettings(Settings):
    """GANomaly (Akcay et al. 2018; other-methods.md#ganomaly)."""

    base: int = Field(64, ge=4)
    """Channels of the first layer, doubled with each halving (other-methods.md#ganomaly: 64)."""
    code: int = Field(100, ge=2)
    """Numbers of a code (other-methods.md#ganomaly: 100)."""
    adversarial: float = Field(1.0, ge=0)
    """Weight of the distance of the discriminator's features (other-methods.md#ganomaly: 1)."""
    reconstruction: float = Field(50.0, ge=0)
    """Weight of the mean absolute error (other-methods.md#ganomaly: 50)."""
    association: float = Field(1.0, ge=0)
    """Weight of the squared distance of the two codes (other-methods.md#ganomaly: 1)."""


class AnoganSettings(Settings):
    """AnoGAN (Schlegl et al. 2017) and f-AnoGAN (2019; other-methods.md#anogan)."""

    search: Literal["latent", "encoder"] = "latent"
    """How an item's code is found: by an optimisation per item (AnoGAN), or by an encoder trained afterwards (f-AnoGAN).
    The networks and their game follow it (other-methods.md#anogan)."""
    base: int = Field(64, ge=4)
    """Channels of the first layer (other-methods.md#anogan: 64)."""
    code: int = Field(128, ge=2)
    """Numbers of a code (other-methods.md#anogan: 128 in f-AnoGAN; AnoGAN's is not known here)."""
    critic_steps: int = Field(5, ge=1)
    """encoder: turns of the critic to one of the generator (other-methods.md#anogan: 5)."""
    penalty: float = Field(10.0, ge=0)
    """encoder: weight of the gradient penalty (other-methods.md#anogan: 10)."""
    kappa: float = Field(1.0, ge=0)
    """encoder: weight of the critic's features, in the encoder's loss and in the score (other-methods.md#anogan: 1)."""
    encoder_steps: int = Field(50_000, ge=1)
    """encoder: steps of the encoder's own training (other-methods.md#anogan: 50000)."""
    encoder_rate: float = Field(5e-5, gt=0)
    """encoder: its learning rate, of RMSProp (other-methods.md#anogan: 5e-5)."""
    feature_weight: float = Field(0.1, ge=0, le=1)
    """latent: weight l of the discriminator's features, 1 - l of the pixels (other-methods.md#anogan: 0.1)."""
    search_steps: int = Field(500, ge=1)
    """latent: steps of the search (other-methods.md#anogan: 500)."""
    search_rate: float = Field(0.01, gt=0)
    """latent: learning rate of the search, of Adam (our choice, other-methods.md#anogan)."""


class AloccSettings(Settings):
    """ALOCC (Sabokrou et al. 2018; other-methods.md#alocc)."""

    base: int = Field(64, ge=2)
    """Channels of the discriminator's first layer (other-methods.md#alocc: 64)."""
    refinement: float = Field(0.2, ge=0)
    """Weight of the squared error to the clean picture (other-methods.md#alocc: 0.2)."""
    noise: float = Field(0.155, ge=0)
    """Standard deviation of the noise that is taken away again, pictures being in [-1, 1] (other-methods.md#alocc: about)."""


class AdganSettings(Settings):
    """ADGAN (Deecke et al. 2018; other-methods.md#adgan)."""

    base: int = Field(64, ge=2)
    """Channels of the first layer (other-methods.md#adgan: 64)."""
    code: int = Field(256, ge=2)
    """Numbers of a code (other-methods.md#adgan: 256)."""
    critic_steps: int = Field(2, ge=1)
    """Turns of the critic to one of the generator (other-methods.md#adgan: 2)."""
    penalty: float = Field(20.0, ge=0)
    """Weight of the gradient penalty (other-methods.md#adgan: 20)."""
    starts: int = Field(8, ge=1)
    """Codes that the search of an item starts from; the score is the mean over them (other-methods.md#adgan: 8)."""
    search_steps: int = Field(5, ge=1)
    """Steps of the search (other-methods.md#adgan: 5)."""
    code_rate: float = Field(0.25, gt=0)
    """Learning rate of the code (other-methods.md#adgan: 0.25)."""
    generator_rate: float = Field(5e-5, gt=0)
    """Learning rate of the item's own copy of the generator (other-methods.md#adgan: 5e-5)."""
    adapt_generator: bool = True
    """Each item and start has a copy of the generator that is fitted to it, too; false: the code alone
    (other-methods.md#adgan)."""
    at_once: int = Field(32, ge=1)
    """Copies of the generator in memory at a time (other-methods.md#adgan)."""


class OcganSettings(Settings):
    """OCGAN (Perera et al. 2019; other-methods.md#ocgan)."""

    base: int = Field(64, ge=2)
    """Channels of the encoder's first layer (other-methods.md#ocgan: 64)."""
    judge_base: int = Field(12, ge=2)
    """Channels of the first layers of discriminator and classifier (other-methods.md#ocgan: 12)."""
    code: int = Field(16, ge=2)
    """Numbers of a code, in (-1, 1) (other-methods.md#ocgan: 16)."""
    noise: float = Field(0.2, ge=0)
    """Variance of the noise on what is encoded in training, pictures being in [-1, 1] (other-methods.md#ocgan: 0.2)."""
    reconstruction: float = Field(10.0, ge=0)
    """Weight of half the mean squared error (other-methods.md#ocgan: 10)."""
    latent: float = Field(10.0, ge=0)
    """Weight of the code's discriminator in the encoder's loss (other-methods.md#ocgan: 10)."""
    mining: float = Field(0.25, ge=0, lt=1)
    """Last share of the training, in which codes are mined (other-methods.md#ocgan: from epoch 150 of 201)."""


class PkdganSettings(Settings):
    """P-KDGAN (Zhang et al. 2020; other-methods.md#p-kdgan); weights of a GANomaly are those of section `ganomaly`."""

    base: int = Field(8, ge=4)
    """Channels of the student's first layer; the teacher's is `ganomaly.base` (other-methods.md#p-kdgan)."""
    distillation: float = Field(1.0, ge=0)
    """Weight of what the student is to have of the teacher (our choice, other-methods.md#p-kdgan)."""


class PiadSettings(Settings):
    """PIAD (Tuluptceva et al. 2019; other-methods.md#piad)."""

    base: int = Field(32, ge=2)
    """Channels of the first layer (other-methods.md#piad: 32)."""
    code: int = Field(256, ge=2)
    """Numbers of a code (other-methods.md#piad: 256)."""
    hidden: int = Field(1024, ge=4)
    """Units of the code's critic, in two layers (other-methods.md#piad: 1024)."""
    error: Literal["perceptual", "l1"] = "perceptual"
    """How pictures are compared: by what a frozen network sees of them (section `backbone`), or by the mean absolute error, a
    substitute that needs no weights (other-methods.md#piad)."""
    layer: Layer = "wide5"
    """perceptual: the layer of the backbone (other-methods.md#piad: at 1/8 of the side)."""
    critic_steps: int = Field(2, ge=1)
    """Turns of the critics to one of encoder and decoder (other-methods.md#piad: 2)."""
    penalty: float = Field(10.0, ge=0)
    """Weight of the gradient penalties (other-methods.md#piad: 10)."""
    drift: float = Field(1e-3, ge=0)
    """Weight of the critics' mean squared outputs (other-methods.md#piad: 1e-3)."""
    reweigh_every: int = Field(100, ge=1)
    """Steps between measurements of the gradients that the reconstruction's weights follow (other-methods.md#piad: 100)."""
    smoothing: float = Field(0.05, gt=0, le=1)
    """What a new measurement counts in these weights (other-methods.md#piad: 0.05)."""


class DaolSettings(Settings):
    """DAOL (Tang et al. 2019; other-methods.md#daol)."""

    base: int = Field(64, ge=4)
    """Channels of the first layer (our choice, other-methods.md#daol)."""
    code: int = Field(100, ge=2)
    """Numbers of a code (our choice, other-methods.md#daol)."""
    reconstruction: float = Field(50.0, ge=0)
    """Weight of the mean absolute error (our choice, other-methods.md#daol)."""
    latent: float = Field(1.0, ge=0)
    """Weight of the squared distance of the two codes (our choice, other-methods.md#daol)."""
    score_features: float = Field(0.1, ge=0)
    """Weight of the discriminator's features in the score (our choice, other-methods.md#daol)."""
