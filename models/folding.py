"""A trained method for scoring: each convolution with the BatchNorm behind it as one convolution.

In evaluation BatchNorm multiplies a channel by one number and adds another. A convolution's weights and bias can do both, so
that a pass over every layer's output falls away; the same function, but for the last digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from esad.models.detector import Method


def folded(method: Method) -> Method:
    """A copy of `method` in evaluation mode whose convolutions include their BatchNorm; the method itself is left as it is.

    It is for scores and gradients with respect to items: its parameters have other names and cannot be trained. A method
    without such pairs, or folded before, is returned itself, in evaluation mode; so is one that searches: a search that changes
    weights takes another way where BatchNorm's are among them.
    """
    if next(_pairs(method), None) is None or method.searches:
        return method.eval()
    with torch.inference_mode(False), torch.no_grad():
        copy = deepcopy(method, {id(method.settings): method.settings}).eval()
        for layers, place in list(_pairs(copy)):
            _take_in(layers[place], layers[place + 1])  # type: ignore[arg-type]
            del layers[place + 1]
    return copy


def _pairs(method: Method) -> Iterator[tuple[nn.Sequential, int]]:
    """Where a convolution has BatchNorm with known statistics right behind it: the last pair of a sequence first."""
    for module in method.modules():
        if isinstance(module, nn.Sequential):
            for place in reversed(range(len(module) - 1)):
                norm = module[place + 1]
                if (
                    type(module[place]) in {nn.Conv2d, nn.ConvTranspose2d}
                    and isinstance(norm, _BatchNorm)
                    and norm.running_var is not None
                ):
                    yield module, place


def _take_in(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: _BatchNorm) -> None:
    """Have `convolution` do what `norm` behind it does, computed in float64; its weights stay as they lie in memory."""
    weight, mean, variance = convolution.weight, norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = torch.rsqrt(variance.double() + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    shift = -mean * scale
    if norm.affine:
        shift = shift + norm.bias
    if convolution.bias is not None:
        shift = shift + convolution.bias * scale
    outputs = (1, -1, 1, 1) if isinstance(convolution, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    convolution.weight = nn.Parameter((weight * scale.view(outputs)).to(weight), requires_grad=False)
    convolution.bias = nn.Parameter(shift.to(weight), requires_grad=False)
