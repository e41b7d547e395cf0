"""A linear code of a picture's patches: the best one there is, found in closed form, beside what the networks learn.

It keeps pictures recognisable from the first step on, which Table 6's networks do not reach in a short training
(docs/explanation/reconstruction.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esad.models.networks import at_least_float32
from esad.models.training.item_pool import ItemPool

PATCH = 16
"""Side of a patch in pixels: an entry of Table 6's code covers as much."""
MOST_ITEMS = 20_000
"""Pictures that the code is fitted to, taken evenly: 16 patches each are more than 768 directions need."""


class LinearCode(nn.Module):
    """Principal components of patches of PATCH x PATCH pixels around a mean picture, perhaps with a gate on them.

    Pictures are (B, C, H, W) in [0, 1], H and W divisible by PATCH. The gate is sigmoid(w z + b), near 1 at first: one number
    for each place of the networks' code z (B, Z, H/16, W/16), or one of the item's mean z.
    """

    mean: Tensor
    """(1, C, H, W): the mean training picture."""
    components: Tensor
    """(K, C, PATCH, PATCH), orthonormal; all 0 until `fit`."""

    def __init__(
        self, shape: tuple[int, int, int], components: int, gate_channels: int = 0, gate_of_item: bool = False
    ) -> None:
        """`shape` (C, H, W) of scaled pictures; `gate_channels` Z of the code that opens the gate, 0 for none.

        `gate_of_item`: one gate an item, not one a place.

        ValueError for more components than a patch has pixels.
        """
        super().__init__()
        channels, height, width = shape
        if components > channels * PATCH**2:
            raise ValueError(
                f"network.linear = {components}: a patch of {PATCH} x {PATCH} pixels has {channels * PATCH**2} numbers."
            )
        self.register_buffer("mean", torch.zeros(1, channels, height, width))
        self.register_buffer("components", torch.zeros(components, channels, PATCH, PATCH))
        self.gate_of_item = gate_of_item
        # skip_init: it draws nothing, so that the stream of random numbers stays as it was
        self.gate = nn.utils.skip_init(nn.Conv2d, gate_channels, 1, 1) if gate_channels else None
        if self.gate is not None and self.gate.bias is not None:
            nn.init.zeros_(self.gate.weight)
            nn.init.constant_(self.gate.bias, 3.0)  # open: sigmoid(3) = 0.95

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has set the components, here or before a checkpoint."""
        return bool(self.components.any())

    def fit(self, items: ItemPool) -> None:
        """Mean picture and components of the unlabelled `items`; a component's largest entry is positive."""
        places = [(labels == 0).nonzero()[0] for labels in items.labels]
        chosen = [found[:: max(1, -(-len(found) // MOST_ITEMS))] for found in places]
        size = self.components[0].numel()
        total = torch.zeros_like(self.mean, dtype=torch.float64, device="cpu")
        for x, _ in items.batches(chosen):
            total += x.double().sum(0, keepdim=True).cpu()
        self.mean.copy_(total / len(chosen[0]))
        products = torch.zeros(size, size, dtype=torch.float64)
        for x, _ in items.batches(chosen):
            rows = nn.functional.unfold(x - self.mean, PATCH, stride=PATCH).transpose(1, 2).reshape(-1, size)
            products += (rows.T @ rows).double().cpu()
        _, vectors = torch.linalg.eigh(products)  # ascending
        best = vectors.flip(1)[:, : len(self.components)].T
        largest = best.gather(1, best.abs().argmax(1, keepdim=True))
        self.components.copy_((best * largest.sign()).reshape(self.components.shape))

    def forward(self, x: Tensor) -> Tensor:
        """What the K numbers of every patch keep of `x`, as a difference from the mean picture; no 16-bit type.

        Two products of matrices: the same as convolutions with steps of PATCH take ten times as long on a CPU.
        """
        with torch.autocast(x.device.type, enabled=False):
            directions = self.components.permute(0, 2, 3, 1).flatten(1)
            rows = (at_least_float32(x) - self.mean).permute(
                0, 2, 3, 1
            )  # as pictures lie in memory: channels last
            rows = rows.unflatten(2, (-1, PATCH)).unflatten(1, (-1, PATCH)).transpose(2, 3)
            kept = (rows.flatten(3) @ directions.T) @ directions
            kept = kept.unflatten(3, (PATCH, PATCH, -1)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
            return kept.permute(0, 3, 1, 2)

    def mixed(self, x: Tensor, learnt: Tensor, z: Tensor) -> Tensor:
        """The mean picture and, on it, the linear copy of `x` as far as the gate is open, `learnt` as far as it is shut.

        `learnt` (B, C, H, W) is the decoder's output of the code `z`. Without a gate both are added.
        """
        linear = self.forward(x)
        if self.gate is None:
            return self.mean + linear + learnt
        seen = z.mean((2, 3), keepdim=True) if self.gate_of_item else z
        opened = torch.sigmoid(at_least_float32(self.gate(seen)))
        if not self.gate_of_item:
            opened = nn.functional.interpolate(opened, scale_factor=PATCH)
        return self.mean + opened * linear + (1 - opened) * learnt
