"""The interface that all methods share: phases of training, losses of a batch, scores of items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from esad.models.lenets import LeNet
from esad.models.linear_code import LinearCode
from esad.models.networks import (
    ColumnScaler,
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    PerceptronStack,
    PictureScaler,
    table6_widths,
    table_widths,
)
from esad.models.settings import MethodSettings, NetworkSettings, OptimiserSettings, TrainSettings
from esad.models.training.batch import Batch
from esad.models.training.item_pool import ItemPool
from esad.models.training.randomness import generator

ONLY_SOME = {"second_encoder", "linear", "gate"}
NETWORK = tuple(f"network.{name}" for name in NetworkSettings.model_fields if name not in ONLY_SOME)
"""The settings of the encoder and decoder that all methods share."""
LABELLED_ITEMS = ("train.batches", "train.labelled_per_batch")
"""The settings that say how labelled items come into a batch."""
TRAINING = tuple(f"train.{name}" for name in TrainSettings.model_fields if name != "warmup")
"""The settings of a training in steps."""
UNLABELLED_TRAINING = tuple(name for name in TRAINING if name not in LABELLED_ITEMS)
"""Those of a training on the unlabelled items alone."""


Built = TypeVar("Built", bound=nn.Module)


@dataclass(frozen=True)
class Turn:
    """What one player, a generator or a critic, does within a step: it trains its parameters by an optimiser of its own.

    `Method.losses` gets a batch whose `turn` is `name`. Other players' networks may be used there and do not change.
    """

    name: str
    parameters: list[nn.Parameter]
    rate: float = 1.0
    """Its learning rate as a multiple of the phase's."""
    repeats: int = 1
    """How often it is taken within a step."""
    fresh: bool = False
    """Each repeat has a batch of its own, drawn by seed, step, turn and repeat; otherwise all see the step's."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training: which parameters, how they are optimised, and whether labelled items take part.

    One without parameters is a fit in closed form: one step, and `Method.begin` is all of it. With `turns` a step is of
    several players, `parameters` are those of all, and `optimiser` says length, kind and learning rates.
    """

    name: str
    parameters: list[nn.Parameter]
    optimiser: OptimiserSettings
    labelled: bool
    turns: tuple[Turn, ...] = ()


def phase_of_turns(name: str, turns: Sequence[Turn], optimiser: OptimiserSettings) -> Phase:
    """A phase of several players on the unlabelled items."""
    parameters = [parameter for turn in turns for parameter in turn.parameters]
    return Phase(name, parameters, optimiser, labelled=False, turns=tuple(turns))


def phase_at_once(name: str, labelled: bool = False) -> Phase:
    """A fit in closed form: `Method.begin` is all of it."""
    return Phase(name, [], OptimiserSettings(steps=1), labelled)


class Method(nn.Module, ABC):
    """A detector for pictures (one seed) or table rows (one or several seeds at once).

    Its `state_dict` is the whole model: weights, BatchNorm statistics, the scaling of table columns, and what is
    computed rather than learnt in steps (a centre, support vectors, trees).
    """

    title: ClassVar[str]
    """What it is called where people read of it, with its source."""
    caution: ClassVar[str] = ""
    """A sentence of the model card on what the method stands on."""
    needs_anomalies: ClassVar[bool] = False
    """It cannot train without labelled anomalies."""
    pictures_only: ClassVar[bool] = False
    """It is made of convolutions and has no reading for rows of a table."""
    has_gradient: bool = True
    """Its score has a gradient with respect to the item (a tree's is 0 almost everywhere)."""
    searches: bool = False
    """Its score is the end of an optimisation per item, not a forward pass: nothing to export."""
    most_evaluations: ClassVar[int] = 256
    """How often a picture is scored so that its score is shared out, where that goes by permutations."""

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        """Settings, or whole sections, that the method uses under `settings`; others change nothing, which is said."""
        return (*NETWORK, *TRAINING, "train.warmup")

    @classmethod
    def has_shared_encoder(cls, settings: MethodSettings) -> bool:
        """Whether the encoder of `network.form` is among its networks."""
        return not cls.pictures_only

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        """`shape` of one stored item: (H, W, C) or (D,).

        ValueError for several seeds on pictures, and for rows of a table where the method is for pictures only.
        """
        super().__init__()
        self.settings, self.shape, self.seeds = settings, tuple(shape), tuple(seeds)
        self.pictures = len(self.shape) == 3
        if self.pictures_only and not self.pictures:
            raise ValueError(f"method {settings.method} is for pictures; rows of a table need another.")
        if self.pictures and len(self.seeds) > 1:
            raise ValueError("Several seeds at once are for tables; train pictures one seed at a time.")
        self.form = "table6"
        """`network.form` where the method has the shared encoder and the items are pictures."""
        if self.pictures:
            if self.has_shared_encoder(settings):
                self.form = settings.network.form
            height, width, channels = self.shape
            multiple = 16 if self.form == "table6" else 1
            self.scaler: nn.Module = PictureScaler(
                (height, width, channels), settings.network.channels, multiple
            )
        else:
            self.scaler = ColumnScaler(len(self.seeds), self.shape[0])

    def _encoder(self, name: str, bias_free: bool = False) -> nn.Module:
        """`bias_free`: no bias and no shift or scale of BatchNorm, so that no constant output can be learnt."""
        network = self.settings.network
        if self.form != "table6":
            return self._seeded(self._lenet(bias_free).encoder, name)
        if isinstance(self.scaler, PictureScaler):
            channels = self.scaler.channels
            return self._seeded(lambda: ConvolutionalEncoder(channels, network.width, not bias_free), name)
        if bias_free:
            network = network.model_copy(update={"bias": False, "affine": False})
        widths = table_widths(self.shape[0], network)
        return PerceptronStack(self.seeds, widths, network, name, sigmoid=False)

    def _decoder(self, name: str) -> nn.Module:
        network = self.settings.network
        if self.form != "table6":
            return self._seeded(self._lenet().decoder, name)
        if isinstance(self.scaler, PictureScaler):
            channels = self.scaler.channels
            return self._seeded(lambda: ConvolutionalDecoder(channels, network.width, network.upsample), name)
        widths = table_widths(self.shape[0], network)[::-1]
        return PerceptronStack(self.seeds, widths, network, name, sigmoid=True)

    def _lenet(self, bias_free: bool = False) -> LeNet:
        assert isinstance(self.scaler, PictureScaler)
        network = self.settings.network
        affine, bias = (each and not bias_free for each in (network.affine, network.bias))
        return LeNet(self.form, self.scaler.scaled_shape, network.width, affine, bias)

    def _linear_code(self, gated: bool = False) -> LinearCode | None:
        """The linear code that stands beside the learnt one, where the settings ask for it; `gated`: with their gate."""
        network = self.settings.network
        if not isinstance(self.scaler, PictureScaler) or network.linear is None:
            return None
        channels = table6_widths(network.width)[-1] if gated and network.gate != "none" else 0
        of_item = gated and network.gate == "item"
        return LinearCode(self.scaler.scaled_shape, network.linear, channels, of_item)

    def _seeded(self, build: Callable[[], Built], name: str) -> Built:
        """Build a module whose initial weights follow from the seed alone, leaving the global stream untouched."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(self.seeds[0], f"initial {name}").initial_seed())
            module = build()
        for parameter in module.parameters():  # nn.Module.to has no typed overload for a memory format alone
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return module

    def _sizes(self) -> tuple[int, int]:
        """Numbers of entries of a scaled item and of its code, both flattened."""
        network = self.settings.network
        if isinstance(self.scaler, PictureScaler):
            channels, height, width = self.scaler.scaled_shape
            area = height * width
            if self.form != "table6":
                return channels * area, self._lenet().code
            return channels * area, table6_widths(network.width)[-1] * area // 256
        return self.shape[0], table_widths(self.shape[0], network)[-1]

    def _rows(self, items: Tensor) -> Tensor:
        """Items, codes or semi-labels as flat rows with the axis of seeds: (S, B, F), or (S, B) of one value each."""
        if not self.pictures:
            return items
        return items.flatten(1)[None] if items.dim() > 1 else items[None]

    def _without_seeds(self, values: Tensor) -> Tensor:
        """(S, ...) without the axis of seeds for pictures."""
        return values[0] if self.pictures else values

    def reconstruct(self, x: Tensor) -> Tensor | None:
        """Scaled items as the method reconstructs them; None where it does not."""
        return None

    def score_error(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Squared reconstruction error of items for the score, (B,) or (S, B): of pixels, or of means of blocks of them."""
        loss, difference = self.settings.loss, x_hat - x
        if self.pictures and loss.score_block > 1:
            difference = nn.functional.avg_pool2d(_in_blocks(difference, loss.score_block), loss.score_block)
        return reduce_items(difference.square(), 1 if self.pictures else 2, loss.reconstruction)

    def target(self, batch: Batch) -> Tensor:
        """What the items of a batch are to be reconstructed to, as `batch.x`."""
        return batch.x

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        """Codes of scaled items by name, each (B, ...) or (S, B, ...), for the watch on collapse; none by default."""
        return {}

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        """Called once as `phase` starts, in evaluation mode and without gradients: sets buffers from all its items.

        `items` are labelled by semi-label, `validation` (perhaps empty) 1 for anomalies, else 0. What this sets must be
        buffers: training that goes on from inside the phase finds them in the checkpoint and does not call it again.
        """

    @property
    def explained_by(self) -> str:
        """How a score is shared out among pixels or columns: a name in SHORT of `esad.models.attribution.explain`."""
        if self.has_gradient:
            return "gradients"
        return "held" if self.searches else "permutations"

    def held_terms(self, x: Tensor, held: Tensor) -> dict[str, Tensor]:
        """Score terms of scaled items, with a gradient, by what a search found for them: `held` of their `score_terms`."""
        raise TypeError(f"method {self.settings.method} does not search")

    def path_contributions(self, x: Tensor) -> Tensor:
        """Shares of `eq9` of scaled items among their entries by the paths of trees, as `x`: float64."""
        raise TypeError(f"method {self.settings.method} is no forest of the items' own entries")

    @classmethod
    def reconstructs(cls) -> bool:
        """Whether it gives `x_hat`, by one forward pass."""
        return cls.reconstruct is not Method.reconstruct

    @abstractmethod
    def phases(self) -> list[Phase]:
        """The phases of training, in order."""

    @abstractmethod
    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss, each () for pictures or (S,) for tables; `loss` is what is minimised, of a phase of several
        players by the one whose turn `batch.turn` is.

        Never called for a phase without parameters.
        """

    @abstractmethod
    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        """Per item, (B,) or (S, B): `eq9` (the method's own score), `reconstruction`, `norm`; higher is more abnormal.

        Where the method reconstructs, `x_hat`, as `x`, is among them; where it searches, `held`, what it found.
        """


def _in_blocks(maps: Tensor, side: int) -> Tensor:
    """(B, C, H, W) with zeros all round up to multiples of `side`, as Table 6's pictures of 28 pixels are padded."""
    down, across = -maps.shape[-2] % side, -maps.shape[-1] % side
    if not down and not across:
        return maps
    return nn.functional.pad(maps, (across // 2, across - across // 2, down // 2, down - down // 2))


def single_term(score: Tensor) -> dict[str, Tensor]:
    """Score terms of a method without a reconstruction: all of its score stands as `norm`."""
    return {"eq9": score, "reconstruction": torch.zeros_like(score), "norm": score}


def error_term(error: Tensor, x_hat: Tensor) -> dict[str, Tensor]:
    """Score terms of a method whose score is its reconstruction error."""
    return {"eq9": error, "reconstruction": error, "norm": torch.zeros_like(error), "x_hat": x_hat}


def item_mean(values: Tensor) -> Tensor:
    """(B, ...) to means (B,)."""
    return reduce_items(values, 1, "mean")


def reduce_items(errors: Tensor, axes: int, reduction: str) -> Tensor:
    """Mean or sum of `errors` over all but the first `axes` axes."""
    flat = errors.flatten(axes)
    return flat.mean(-1) if reduction == "mean" else flat.sum(-1)


def group_mean(values: Tensor, members: Tensor) -> Tensor:
    """Mean of `values` (..., B) over `members` (bool, same shape); 0 where there is none."""
    return (values * members).sum(-1) / members.sum(-1).clamp(min=1)
