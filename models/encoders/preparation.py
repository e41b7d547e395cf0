"""From stored pictures to what an encoder takes: size, channels, mean and scale, by the encoder's own description."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

BESIDE = (".json", ".yaml", ".yml")
FOLDER_FILES = ("config.json", "preprocessor_config.json")
"""What timm's and transformers' model folders call their descriptions."""


class UnknownEncoder(ValueError):
    """An encoder that is not here, cannot be read, or does not say what it needs; the message says what to do."""


def first_line(error: Exception) -> str:
    """What a library says of its failure, short enough to stand in a sentence."""
    return (str(error).strip().splitlines() or [""])[0][:200]


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes an encoder's input; None = nobody has said.

    `size` is height, width in pixels. `mean` and `scale` are of each channel, of values in [0, 1]: the input is
    (value - mean) / scale. `raw`: the encoder takes bytes, 0 to 255, and scales them itself.
    `interpolation` is bilinear or bicubic; bilinear where nobody has said.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    channels: int = 3
    raw: bool = False
    interpolation: str | None = None

    def or_else(self, other: Preparation) -> Preparation:
        """This one, with what it does not say taken from `other`; channels and rawness stay."""
        return replace(
            self, size=self.size or other.size, mean=self.mean or other.mean, scale=self.scale or other.scale,
            interpolation=self.interpolation or other.interpolation,
        )  # fmt: skip

    @property
    def way(self) -> str:
        """How pictures are resized: `interpolation`, else bilinear."""
        return self.interpolation or "bilinear"

    def described(self) -> dict[str, Any]:
        """For a store's description: what tells two encoders' inputs apart."""
        return {
            "size": list(self.size or ()), "mean": list(self.mean or ()), "scale": list(self.scale or ()),
            "channels": self.channels, "raw": self.raw, "interpolation": self.way,
        }  # fmt: skip

    def check(self, name: str) -> Preparation:
        """This preparation, whole; UnknownEncoder, asking, where a part is not stated or does not fit."""
        if self.size is None:
            raise UnknownEncoder(
                f"{name} does not say how large its pictures are; give their side in pixels with --size N."
            )
        if self.raw:
            return self
        if self.mean is None or self.scale is None:
            raise UnknownEncoder(
                f"{name} does not say by which mean and scale its pictures are to be normalised; give them with --mean and --scale, "
                "each one number or one for each channel, of values in [0, 1] (ImageNet's are 0.485,0.456,0.406 and 0.229,0.224,0.225), "
                "or write them beside it (docs: use-embeddings)."
            )
        for values, what in ((self.mean, "mean"), (self.scale, "scale")):
            if len(values) not in (1, self.channels):
                raise UnknownEncoder(f"{name}: {len(values)} numbers of {what} for {self.channels} channels.")
        if max(map(abs, self.mean)) > 2 or max(self.scale) > 2 or min(self.scale) <= 0:
            raise UnknownEncoder(
                f"{name}: mean {list(self.mean)} and scale {list(self.scale)} are not of values in [0, 1]; divide those of bytes by 255."
            )
        return self

    def apply(self, pictures: Tensor) -> Tensor:
        """uint8 (B, H, W, C) to float32 (B, channels, height, width): grey repeated, colour as BT.601 luma where grey is taken."""
        x = pictures.permute(0, 3, 1, 2).float()
        if x.shape[1] == 1 and self.channels == 3:
            x = x.expand(-1, 3, -1, -1)
        elif x.shape[1] == 3 and self.channels == 1:
            x = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        elif x.shape[1] != self.channels:
            raise UnknownEncoder(
                f"pictures of {x.shape[1]} channels for an encoder that takes {self.channels}."
            )
        if self.size is not None and tuple(x.shape[-2:]) != self.size:
            x = functional.interpolate(x, self.size, mode=self.way, align_corners=False, antialias=True)
            x = x.clamp(0, 255)
        if self.raw:
            return x
        mean, scale = (x.new_tensor(values or ()).view(1, -1, 1, 1) for values in (self.mean, self.scale))
        return (x / 255 - mean) / scale


def from_mapping(content: Mapping[str, Any], name: str) -> Preparation:
    """What a description says, as timm (`pretrained_cfg` or flat: mean, std, input_size, interpolation), transformers (image_mean,
    image_std, size) or a person (mean, scale, size) write it. UnknownEncoder for values that are no such numbers."""
    inner = content.get("pretrained_cfg")
    if isinstance(inner, Mapping):
        content = {**content, **inner}

    def first(*names: str) -> Any:
        return next((content[each] for each in names if content.get(each) is not None), None)

    try:
        size = _size(first("size", "input_size", "image_size"))
        mean, scale = (
            _numbers(value) for value in (first("mean", "image_mean"), first("scale", "std", "image_std"))
        )
    except (TypeError, ValueError) as error:
        raise UnknownEncoder(f"{name}: its size, mean or scale is not understood ({error}).") from error
    way = first("interpolation")
    known = None if way is None else "bicubic" if way == "bicubic" else "bilinear"
    return Preparation(size, mean, scale, interpolation=known)


def beside(path: Path) -> tuple[Preparation, dict[str, Any]]:
    """What stands in a JSON or YAML file of the encoder's name beside it, or in the config.json of its folder; empty for none.

    UnknownEncoder where it cannot be read.
    """
    files = [
        *(path.with_suffix(suffix) for suffix in BESIDE),
        *(path.with_name(name) for name in FOLDER_FILES),
    ]
    found, content = Preparation(), dict[str, Any]()
    for file in files:
        if file.is_file() and file != path:
            read = _read(file)
            found, content = found.or_else(from_mapping(read, file.name)), {**read, **content}
    return found, content


def _read(file: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415  rarely needed

    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UnknownEncoder(f"{file}: cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise UnknownEncoder(f"{file}: expected names and values, as mean: [0.5, 0.5, 0.5].")
    return content


def _size(value: Any) -> tuple[int, int] | None:
    """Height and width of 224, [224, 224], [3, 224, 224] or {height:, width:} or {shortest_edge:}."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        edge = value.get("shortest_edge")
        value = [value.get("height", edge), value.get("width", edge)]
    sides = [int(each) for each in (value if isinstance(value, Sequence) else [value, value])][-2:]
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"size {value}")
    return sides[0], sides[1]


def _numbers(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    return tuple(float(each) for each in (value if isinstance(value, Sequence) else [value]))
