"""Settings of networks, losses and training, each beside its source: a section, table or equation of the
paper, or a heading `PAGE.md#…` of the pages in docs/explanation/.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from esad.models.adversarial_settings import (
    AdganSettings,
    AloccSettings,
    AnoganSettings,
    DaolSettings,
    GanomalySettings,
    OcganSettings,
    PiadSettings,
    PkdganSettings,
)
from esad.models.base_settings import Layer, Settings


class NetworkSettings(Settings):
    """The encoder-decoder-encoder."""

    form: Literal["table6", "lenet-mnist", "lenet-fashion-mnist", "lenet-cifar10"] = "table6"
    """Pictures: the layers of encoders and decoders, Table 6's ("deep" in the paper's Table 5) or one of Deep SAD's LeNets
    ("shallow") for grey pictures of 28 x 28 or colour ones of 32 x 32 (other-methods.md#lenets)."""
    width: float = Field(1.0, gt=0)
    """Share of Table 6's channels or of those of a LeNet's convolutions (pictures), or multiple of Deep SAD's hidden layers
    (tables; other-methods.md#deep-sad-networks)."""
    channels: Literal[1, 3] | None = None
    """Input channels; grey repeated to 3 is the paper's (decisions.md#a19); null = as stored."""
    upsample: Literal["bilinear", "nearest"] = "bilinear"
    """How the decoder doubles its maps (decisions.md#a6)."""
    hidden: list[int] | None = None
    """Tables: widths of the hidden layers; null = Deep SAD's for the number of columns, times `width`
    (other-methods.md#deep-sad-networks)."""
    code: int | None = Field(None, ge=1)
    """Tables: size of the code; null = Deep SAD's (other-methods.md#deep-sad-networks)."""
    second_encoder: bool = True
    """False: the first row of Table 4, without Enc2; the norm is of Enc1's code, and there is no association
    (decisions.md#a29)."""
    linear: int | None = Field(None, ge=1)
    """Pictures: numbers that a linear code (patch-wise PCA) keeps of every patch of 16 x 16 beside the learnt
    code; null = none, the paper's (decisions.md#a31)."""
    gate: Literal["item", "place", "none"] = "item"
    """How ESAD shuts the linear code off for what is not to be reconstructed: for a whole item, at each of its places, or
    never (decisions.md#a31)."""
    affine: bool = True
    """Tables and LeNets: BatchNorm with scale and shift (Deep SAD's have none, other-methods.md#deep-sad-networks;
    its encoder and Deep SVDD's never have)."""
    bias: bool = True
    """Tables and LeNets: the last layer with bias (before BatchNorm it would do nothing). Deep SAD's have none
    (other-methods.md#deep-sad-networks); its encoder and Deep SVDD's never have."""

    @field_validator("linear")
    @classmethod
    def _linear_needs_places(cls, linear: int | None, known: ValidationInfo) -> int | None:
        form = known.data.get("form", "table6")
        if linear is not None and form != "table6":
            raise ValueError(
                f"a linear code stands beside Table 6's code, place by place, and network.form = {form} has a code without "
                "places; leave network.linear out, or set it to null"
            )
        return linear


class LossSettings(Settings):
    """Eq. 5-8."""

    lambda1: float = Field(1.0, ge=0)
    """Weight of the norm term in the loss (paper 4.1: 1)."""
    score_lambda1: float | None = Field(None, ge=0)
    """Weight of the norm term in the score; null = `lambda1`, as in Eq. 9."""
    score_block: Literal[1, 2, 4, 8, 16] = 1
    """Pictures: the score's reconstruction error is that of the means of blocks of so many pixels a side; 1 = of pixels, as
    in Eq. 9 (decisions.md#a32)."""
    lambda2: float = Field(1.0, ge=0)
    """Weight of the association term (paper 4.1: 1)."""
    reconstruction: Literal["mean", "sum"] = "mean"
    """Reduction of a squared norm over the item's entries (decisions.md#a1)."""
    norm: Literal["mean", "sum"] = "mean"
    """Reduction of the squared norm of a code (decisions.md#a2, #a3)."""
    association: Literal["mean", "sum"] = "mean"
    """Reduction of the squared distance of the two codes (decisions.md#a2, #a3)."""
    labelled_weight: float = Field(1.0, ge=0)
    """Weight of the labelled means of Eq. 5 and 6 (the paper's is 1)."""
    eps: float = Field(1e-6, gt=0)
    """Added to the squared norm before it is inverted (decisions.md#a7)."""
    batch_mean: Literal["separate", "joint"] = "separate"
    """Unlabelled and labelled items averaged apart (Eq. 5, 6) or together, as Deep SAD's code does
    (decisions.md#a9)."""


class PhiSettings(Settings):
    """The transformation that labelled anomalies must be reconstructed to (Eq. 5, method.md#phi)."""

    rearrange: bool = True
    """Rotate pictures by 90, 180 or 270 degrees (decisions.md#a11); permute the columns of a table row
    (decisions.md#a12)."""
    noise: float = Field(0.1, ge=0)
    """Standard deviation of the added Gaussian noise, in units of [0, 1] (decisions.md#a11, #a13)."""


class OptimiserSettings(Settings):
    """One phase of training."""

    optimiser: Literal["sgd", "adam", "rmsprop"] = "sgd"
    """Paper 6.3: SGD."""
    learning_rate: float = Field(0.1, gt=0)
    """Learning rate at the start (paper 6.3: 0.1)."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Momentum of SGD and RMSProp (paper 6.3: PyTorch's default, none; decisions.md#a15)."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Adam's decay of the mean gradient (PyTorch's default; adversaries are often trained with 0.5 or 0, other-methods.md#adversarial)."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Adam's decay of the mean square of the gradient (PyTorch's default; other-methods.md#adversarial)."""
    weight_decay: float = Field(0.0, ge=0)
    """Paper 6.3: PyTorch's default, none (decisions.md#a15)."""
    schedule: Literal["constant", "halve_at_quarters", "cosine", "milestone"] = "halve_at_quarters"
    """Paper 6.3: halved every 50 of 200 epochs, that is at each quarter."""
    milestone: float = Field(1 / 3, ge=0, le=1)
    """Schedule `milestone`: a tenth of the rate from this share on (Deep SAD: epoch 50 of 150,
    other-methods.md#schedules)."""
    epochs: float | None = Field(None, ge=0)
    """Length as passes over the unlabelled items (paper 6.3: 200)."""
    steps: int | None = Field(None, ge=0)
    """Length as steps; it wins over `epochs`."""


class TrainSettings(OptimiserSettings):
    """Paper 6.3, and the warm-up that precedes it."""

    batch_size: int = Field(32, ge=2)
    """Unlabelled items a step (`balanced`), or items a step (`joint`; paper 6.3: 32). In several processes: of all of them."""
    batches: Literal["joint", "balanced"] = "joint"
    """One shuffled order of all items (our reading of the paper, decisions.md#a9), or `labelled_per_batch`
    drawn anew each step."""
    labelled_per_batch: int = Field(8, ge=1)
    """Labelled items a step, with `balanced` (method.md#batches)."""
    warmup: OptimiserSettings = OptimiserSettings(epochs=0)
    """A plain autoencoder that precedes the method itself: ESAD's warm-up on the unlabelled items (none in the paper),
    Deep SAD's and Deep SVDD's pre-training, the autoencoder below a hybrid method."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Arithmetic of the networks of pictures: auto = bf16 on CUDA (fp16 on devices without it), float32 elsewhere. bf16
    and fp16 are for CUDA only (a step in bf16 takes 30 times as long on a CPU, measurements.md#network-cost).
    Tables are float32."""
    compile: bool = False
    """Compile the networks with torch.compile: needs a C++ compiler (CPU) or Triton (CUDA); other bits, the same losses."""
    restarts: int = Field(3, ge=0)
    """Times that training may start anew at half the learning rate after a loss that is not finite
    (decisions.md#a15)."""


class DeepSadSettings(Settings):
    """Deep SAD (Ruff et al. 2020; other-methods.md#deep-sad)."""

    eta: float = Field(1.0, gt=0)
    """Weight of labelled items (paper 6.5: 1)."""
    eps: float = Field(1e-6, gt=0)
    """Added to the squared distance before it is inverted (other-methods.md#deep-sad)."""
    centre_gap: float = Field(0.1, ge=0)
    """Least size of a coordinate of the centre that is not 0; Deep SVDD's, too
    (other-methods.md#deep-sad)."""


class DeepSvddSettings(Settings):
    """Deep SVDD (Ruff et al. 2018; other-methods.md#deep-svdd)."""

    objective: Literal["one_class", "soft_boundary"] = "one_class"
    """Mean squared distance, or a radius with violations (other-methods.md#deep-svdd; paper 6.5)."""
    nu: float = Field(0.1, gt=0, lt=1)
    """Soft boundary: share of training items that may lie outside (other-methods.md#deep-svdd)."""
    radius_warmup: float = Field(10, ge=0)
    """Soft boundary: epochs before the radius follows the batches' quantile (other-methods.md#deep-svdd)."""


class SsDgmSettings(Settings):
    """SS-DGM, model M2 (Kingma et al. 2014; other-methods.md#ss-dgm)."""

    alpha: float = Field(0.1, ge=0)
    """Weight of the classifier's own cross-entropy (other-methods.md#ss-dgm)."""
    hidden: list[int] | None = None
    """Hidden layers; null = the encoder's for tables, by `network.form` for pictures: 128 and 64, or Deep SAD's for its sets
    (other-methods.md#ss-dgm)."""
    latent: int | None = Field(None, ge=1)
    """Size of z; null = the encoder's code for tables, by `network.form` for pictures: 32, or Deep SAD's for its sets
    (other-methods.md#ss-dgm)."""


class ShallowSettings(Settings):
    """What the methods that are fitted at once, not in steps, share."""

    input: Literal["raw", "hybrid"] = "raw"
    """Items as they are (pictures flattened), or their codes in a plain autoencoder trained first."""


class IsolationForestSettings(ShallowSettings):
    """Isolation forest (Liu et al. 2008)."""

    trees: int = Field(100, ge=1)
    """Paper 6.5: 100."""
    samples: int = Field(256, ge=2)
    """Items a tree is grown on (paper 6.5: 256)."""


class KernelSettings(ShallowSettings):
    """Methods with the kernel exp(-gamma d^2)."""

    gamma: float | None = Field(None, gt=0)
    """Null = the best AUC on the validation part among 2^-7..2^2 (paper 6.5 takes a part of the test set); where that
    part lacks anomalies or normals, 1 / (columns * variance), scikit-learn's `scale`."""
    rows: int = Field(5000, ge=10)
    """Most training items that are used, drawn by seed: the kernel's memory grows with their square."""


class OcSvmSettings(KernelSettings):
    """One-class SVM (Schoelkopf et al. 2001); with this kernel SVDD, too."""

    nu: float | None = Field(None, gt=0, le=1)
    """Null = the best AUC on the validation part among 0.01, 0.05, 0.1, 0.2, 0.5 (paper 6.5), without one 0.1."""


class SsadSettings(KernelSettings):
    """SSAD, the convex dual (Goernitz et al. 2013; other-methods.md#ssad)."""

    kappa: float = Field(1.0, ge=0)
    """Least sum of the labelled items' dual variables, that is the weight of their margin (paper 6.5: 1)."""
    unlabelled_cost: float = Field(1.0, gt=0)
    """eta_u: largest dual variable of an unlabelled item (paper 6.5: 1)."""
    labelled_cost: float = Field(1.0, gt=0)
    """eta_l: the same of a labelled one (paper 6.5: 1)."""


class BackboneSettings(Settings):
    """The network trained on ImageNet that some methods look through (other-methods.md#backbone)."""

    weights: str | None = None
    """A file of weights of EfficientNet-Lite0; null = that of the installed package (other-methods.md#backbone)."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of the file at `weights`; null = the published one's. Other weights need it (other-methods.md#backbone)."""


class DgeoSettings(Settings):
    """DGEO (Golan and El-Yaniv 2018; other-methods.md#dgeo)."""

    width: int | None = Field(None, ge=1)
    """Widening of the wide residual network; null = 4 up to a side of 32 pixels, else 8 (other-methods.md#dgeo)."""
    depth: Literal[10, 16, 22, 28] | None = None
    """Its layers; null = 10 up to a side of 32 pixels, else 16 (other-methods.md#dgeo)."""
    score: Literal["dirichlet", "simple"] = "dirichlet"
    """By the likelihood of all probabilities, or by the mean probability of the right transform (other-methods.md#dgeo)."""
    items: int = Field(10000, ge=2)
    """Most training items that the Dirichlet distributions are fitted on, drawn by seed (other-methods.md#dgeo: all)."""


class DifSettings(Settings):
    """DIF: ImageNet features and an isolation forest (Ouardini et al. 2019; other-methods.md#dif)."""

    layers: list[Layer] = Field(
        ["stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7", "head"], min_length=1
    )
    """Layers of the backbone whose means are the forest's columns (other-methods.md#dif)."""
    side: int | None = Field(224, ge=16)
    """Pictures are resized to this side; null = as they are (other-methods.md#dif)."""
    trees: int = Field(100, ge=1)
    """Trees (other-methods.md#dif: 100)."""
    samples: int = Field(256, ge=2)
    """Items a tree is grown on (other-methods.md#dif: 256)."""


class DpaSettings(Settings):
    """DPA, the deep perceptual autoencoder (Shvetsova et al. 2021; other-methods.md#dpa)."""

    width: int = Field(16, ge=2)
    """Channels of all layers (other-methods.md#dpa: 4 on Camelyon16, 64 on NIH AP, 16 on NIH PA)."""
    code: int = Field(16, ge=1)
    """Channels of a code (other-methods.md#dpa: 4, 64 and 16)."""
    side: Literal[1, 4, 8] = 1
    """Side of a code (other-methods.md#dpa: 8 on Camelyon16, 1 on NIH)."""
    layer: Layer = "wide3"
    """Layer of the backbone by which pictures are compared (other-methods.md#dpa: at 1/8 of the side on Camelyon16 and the
    NIH subset, at 1/4 on NIH AP and PA)."""
    divisor: Literal["deviation", "variance"] = "deviation"
    """What a channel is divided by: its standard deviation, or, as in the published code, its variance
    (other-methods.md#dpa)."""


class TlsadSettings(Settings):
    """TLSAD, our reading (Feng et al. 2021; other-methods.md#tlsad)."""

    layers: list[Layer] = Field(["stage3", "stage5"], min_length=1)
    """Layers of the backbone whose means the encoder learns (other-methods.md#tlsad)."""
    transfer: float = Field(1.0, ge=0)
    """Weight of learning them beside the sphere (other-methods.md#tlsad)."""


class MethodSettings(Settings):
    """All that a method needs to build its networks and compute its losses."""

    method: Literal[
        "esad", "cae", "deep_sad", "deep_svdd", "supervised", "ss_dgm", "oc_svm", "isolation_forest", "ssad",
        "ganomaly", "anogan", "alocc", "adgan", "ocgan", "p_kdgan", "piad", "daol", "dgeo", "dif", "dpa",
        "tlsad",
    ] = "esad"  # fmt: skip
    """The detector to train."""
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    phi: PhiSettings = PhiSettings()
    train: TrainSettings = TrainSettings()
    deep_sad: DeepSadSettings = DeepSadSettings()
    deep_svdd: DeepSvddSettings = DeepSvddSettings()
    ss_dgm: SsDgmSettings = SsDgmSettings()
    oc_svm: OcSvmSettings = OcSvmSettings()
    isolation_forest: IsolationForestSettings = IsolationForestSettings()
    ssad: SsadSettings = SsadSettings()
    ganomaly: GanomalySettings = GanomalySettings()
    anogan: AnoganSettings = AnoganSettings()
    alocc: AloccSettings = AloccSettings()
    adgan: AdganSettings = AdganSettings()
    ocgan: OcganSettings = OcganSettings()
    p_kdgan: PkdganSettings = PkdganSettings()
    piad: PiadSettings = PiadSettings()
    daol: DaolSettings = DaolSettings()
    dgeo: DgeoSettings = DgeoSettings()
    backbone: BackboneSettings = BackboneSettings()
    dif: DifSettings = DifSettings()
    dpa: DpaSettings = DpaSettings()
    tlsad: TlsadSettings = TlsadSettings()
