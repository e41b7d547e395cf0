"""Tensors whose shapes are known only once a method is fitted: support vectors, trees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class FittedTensors(nn.Module):
    """Named buffers, empty before the fit; loading a `state_dict` takes the shapes and types that it holds.

    So a weights file holds the whole fitted method, as plain arrays.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        for name in names:
            self.register_buffer(name, torch.zeros(0))

    def replace(self, tensors: Mapping[str, Tensor]) -> None:
        """Put `tensors` (S, ...), one for every name, in place of what is there."""
        for name, own in self.named_buffers():
            self._buffers[name] = tensors[name].to(own.device)

    def of(self, seed: int) -> dict[str, Tensor]:
        """The tensors of the seed at this position."""
        return {name: value[seed] for name, value in self.named_buffers()}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        for name, own in list(self.named_buffers()):
            stored = state_dict.get(prefix + name)
            if stored is not None:
                self._buffers[name] = torch.empty(stored.shape, dtype=stored.dtype, device=own.device)
        super()._load_from_state_dict(state_dict, prefix, *more)


def stack_padded(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The fits of several seeds as tensors (S, ...); shorter ones are padded with zeros at the end of every axis."""
    stacked = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        shape = [max(value.shape[axis] for value in values) for axis in range(values[0].dim())]
        out = torch.zeros(len(values), *shape, dtype=values[0].dtype)
        for row, value in zip(out, values, strict=True):
            row[tuple(slice(size) for size in value.shape)] = value
        stacked[name] = out
    return stacked
