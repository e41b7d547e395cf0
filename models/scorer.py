"""A trained method as one module, from items as they are stored to final scores: what an export holds.

The final score is a sum over the method's score terms, each less its centre and over its scale (a formula), so that
Eq. 9 and the standardised score are the same module with other constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from esad.models.detector import Method
from esad.models.methods.classic.fitted import FittedTensors
from esad.models.methods.registry import build
from esad.models.networks import PictureScaler
from esad.models.settings import MethodSettings
from esad.models.training.augment import Augmentation

Formula = Mapping[str, tuple[float, float]]
"""Name of a score term -> (centre, scale): the score is the sum of (term - centre) / scale."""


class Scorer(nn.Module):
    """What both share: the method, the central crop and the formula."""

    def __init__(self, method: Method, crop: int | None, formula: Formula) -> None:
        """`method` of one seed."""
        super().__init__()
        self.method, self.names = method, tuple(formula)
        self.augmentation = Augmentation(crop)
        self.centre: Tensor
        self.scale: Tensor
        centres, scales = zip(*formula.values(), strict=True)
        self.register_buffer("centre", torch.tensor(centres, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scales, dtype=torch.float64))

    def refer(self, formula: Formula) -> None:
        """Take other centres and scales of the same terms: those of new reference scores. ValueError for other terms."""
        if tuple(formula) != self.names:
            raise ValueError(
                f"a formula of {', '.join(formula)}; this scorer's is of {', '.join(self.names)}"
            )
        for place, name in enumerate(self.names):
            self.centre[place], self.scale[place] = formula[name]

    def terms(self, scaled: Tensor) -> dict[str, Tensor]:
        """The method's score terms and `score`, each float32 (N,), of scaled items; `x_hat` as the method gives it."""
        found = self.method.score_terms(scaled)
        terms = {name: value.float().reshape(-1) for name, value in found.items() if name != "x_hat"}
        chosen = torch.stack(
            [terms[name] for name in self.names], 1
        )  # float64: centres may cancel all but a little
        terms["score"] = ((chosen.double() - self.centre) / self.scale).sum(1).float()
        return terms | {name: value for name, value in found.items() if name == "x_hat"}


class StoredItemScorer(Scorer):
    """Items as stored to (score, reconstruction, norm), and `x_hat` where the method reconstructs.

    Pictures are uint8 (N, H, W, C), of which the central crop is taken; rows are float32 (N, D) in the table's own
    units. The scores are float32 (N,); `x_hat` has the units of the input: (N, H', W', C') grey levels, not clipped, of
    the cropped picture as the network sees it, or (N, D).
    """

    def forward(self, items: Tensor) -> tuple[Tensor, ...]:
        if self.method.pictures:
            items = self.augmentation.centre(items)
        scaler: Any = self.method.scaler
        terms = self.terms(scaler(items if self.method.pictures else items[None]))
        out = (terms["score"], terms["reconstruction"], terms["norm"])
        if "x_hat" not in terms:
            return out
        x_hat = terms["x_hat"].float()
        if self.method.pictures:
            return (*out, scaler.unpad(x_hat).permute(0, 2, 3, 1) * 255)
        return (*out, (x_hat * scaler.range + scaler.minimum)[0])


class PictureScorer(Scorer):
    """Pictures (N, C, H, W) float32 in [0, 1] to (N, 3): score, reconstruction, norm. The network of a MONAI bundle.

    It is built from plain values, so that a configuration file can hold them; its weights are a state dict.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        shape: Sequence[int],
        crop: int | None,
        formula: Mapping[str, Sequence[float]],
        fitted: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
    ) -> None:
        """`settings` of a MethodSettings, `shape` (H, W, C) as stored, `fitted` shape and dtype of fitted tensors.

        `seed` decides the weights that it begins with.
        """
        self.stored = (int(shape[0]), int(shape[1]), int(shape[2]))
        method = build(MethodSettings(**settings), Augmentation(crop).shape(self.stored), (seed,))
        for module in method.modules():
            if isinstance(module, FittedTensors) and fitted:
                empty = {name: getattr(torch, each["dtype"]) for name, each in fitted.items()}
                module.replace(
                    {name: torch.zeros(fitted[name]["shape"], dtype=empty[name]) for name in empty}
                )
        super().__init__(method, crop, {name: (each[0], each[1]) for name, each in formula.items()})

    def forward(self, image: Tensor) -> Tensor:
        """ValueError where the pictures have not the size or the channels of those that the run was trained on."""
        height, width, channels = self.stored
        if tuple(image.shape[1:]) != (channels, height, width):
            raise ValueError(
                f"pictures of (channels, height, width) = {tuple(image.shape[1:])}; this model takes "
                f"{(channels, height, width)}, prepared as configs/metadata.json says."
            )
        # Copied, so that grey pictures, too, lie in memory as stored ones do: another kernel gives other last bits.
        stored = image.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        cut = self.augmentation.centre(stored).permute(0, 3, 1, 2)
        assert isinstance(self.method.scaler, PictureScaler)
        terms = self.terms(self.method.scaler.arrange(cut))
        return torch.stack([terms["score"], terms["reconstruction"], terms["norm"]], 1)
