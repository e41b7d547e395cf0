"""A small network in the form of the published one, with drawn weights: for tests of what is built upon it."""

from __future__ import annotations

import hashlib
import tempfile
from functools import cache
from pathlib import Path

import torch

KERNELS = (3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3)
OUTPUTS = (2, 3, 3, 4, 4, 6, 6, 6, 8, 8, 8, 10, 10, 10, 10, 12)
_FOLDER = tempfile.TemporaryDirectory(prefix="esad-backbone-")


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """Of a network with a tenth of the channels, whose BatchNorm changes something."""
    numbers, found = torch.Generator().manual_seed(seed), {}

    def unit(convolution: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        weight = torch.randn(outputs, inputs, kernel, kernel, generator=numbers)
        found[f"{convolution}.weight"] = weight / (inputs * kernel * kernel) ** 0.5
        for name, start in (("weight", 1.0), ("bias", 0.3), ("running_mean", 0.0), ("running_var", 0.7)):
            found[f"{norm}.{name}"] = start + 0.3 * torch.rand(outputs, generator=numbers)

    unit("_conv_stem", "_bn0", 4, 3, 3)
    inputs = 4
    for number, (kernel, outputs) in enumerate(zip(KERNELS, OUTPUTS, strict=True)):
        at, wide = f"_blocks.{number}.", inputs if number == 0 else 2 * inputs
        if number:
            unit(f"{at}_expand_conv", f"{at}_bn0", wide, inputs, 1)
        unit(f"{at}_depthwise_conv", f"{at}_bn1", wide, 1, kernel)
        unit(f"{at}_project_conv", f"{at}_bn2", outputs, wide, 1)
        inputs = outputs
    unit("_conv_head", "_bn1", 20, inputs, 1)
    return found


@cache
def fake_backbone(seed: int = 0) -> dict[str, str]:
    """Settings `backbone` that name a file of such weights; it goes with the process."""
    path = Path(_FOLDER.name) / f"narrow-{seed}.pth"
    torch.save(tensors(seed), path)
    return {"weights": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
