"""Vahadane on batches of torch tensors: `fit_stain` and `apply_stain` for many tiles at once, on any device.

For a data loader on a GPU. The same closed forms as in `esad.preprocessing.stain.vahadane` and `.fit`, on all tissue pixels
instead of a histogram of their colours, and for a fixed number of rounds, so that nothing waits for the device. The
only file of this package that needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from esad.preprocessing.stain.fit import (
    CONCENTRATION_LAMBDA,
    DICTIONARY_LAMBDA,
    LEAST_ANGLE,
    LEAST_CONCENTRATION,
    LEAST_DENSITY,
    LEAST_TISSUE,
    LUMINANCE,
    PERCENTILE,
    STARTS,
    TISSUE_LUMINANCE,
)
from esad.preprocessing.stain.vahadane import LARGEST_RATIO, StainFit

ROUNDS = 100
"""Rounds of the alternation: the objective is then within 4e-5 of its end on each of 1100 PatchCamelyon tiles."""


@dataclass(frozen=True)
class StainFits:
    """Stains of B tiles, on their device.

    `matrix` (B, 2, 3): optical density in R, G, B per unit of stain; haematoxylin first, unit rows, >= 0.
    `max_concentration` (B, 2): 99th percentile of each stain's concentration over all pixels of the tile.
    `usable` bool (B,): false where `fit_stain` refuses (too little tissue, one stain).
    """

    matrix: torch.Tensor
    max_concentration: torch.Tensor
    usable: torch.Tensor


def normalise_tiles(
    tiles: torch.Tensor, target: StainFit, source: StainFit | None = None, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Tiles uint8 (B, H, W, 3) sRGB with their stains brought to the target's: a new tensor like `tiles`.

    With `source` (of a slide) all tiles are repainted from its stains; without it each from its own, and a tile
    that has no two stains to fit comes back as it is. `dtype` is what is computed in. Deterministic.
    Raises ValueError where `tiles` is of another shape or type.
    """
    if source is None:
        return apply_stains(tiles, fit_stains(tiles, dtype), target, dtype)
    matrix, largest = (
        torch.as_tensor(numbers, dtype=dtype, device=tiles.device).expand(len(tiles), *numbers.shape)
        for numbers in (source.matrix, source.max_concentration)
    )
    usable = torch.ones(len(tiles), dtype=torch.bool, device=tiles.device)
    return apply_stains(tiles, StainFits(matrix, largest, usable), target, dtype)


def apply_stains(
    tiles: torch.Tensor, source: StainFits, target: StainFit, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """`stain.apply_stain` of each tile of uint8 (B, H, W, 3) under its own fit; those not `usable` stay as they are."""
    density = _density(tiles, dtype)
    stains, wanted = (
        torch.as_tensor(numbers, dtype=dtype, device=tiles.device)
        for numbers in (target.matrix, target.max_concentration)
    )
    ratio = (wanted / source.max_concentration).clamp(max=LARGEST_RATIO)
    one, two = _codes(density, source.matrix.to(dtype), CONCENTRATION_LAMBDA)
    one, two = one * ratio[:, :1], two * ratio[:, 1:]
    planes = [255 * torch.exp(-(one * stains[0, channel] + two * stains[1, channel])) for channel in range(3)]
    painted = torch.stack(planes, -1).to(torch.uint8).reshape(tiles.shape)
    return torch.where(source.usable[:, None, None, None], painted, tiles)


def fit_stains(tiles: torch.Tensor, dtype: torch.dtype = torch.float32) -> StainFits:
    """`esad.preprocessing.stain.fit.fit_stain` of each tile of uint8 (B, H, W, 3), all at once; its objective is within 1e-4 of that."""
    density = _density(tiles, dtype)
    tissue = _tissue(tiles).flatten(1).to(dtype)
    matrix = _learn(density, tissue)
    codes = torch.stack(_codes(density, matrix, CONCENTRATION_LAMBDA), 1)
    largest = _percentile(codes)
    cosine = (matrix[:, 0] * matrix[:, 1]).sum(-1)
    usable = (
        (tissue.sum(1) >= LEAST_TISSUE)
        & (cosine <= float(np.cos(np.radians(LEAST_ANGLE))))
        & (largest >= LEAST_CONCENTRATION).all(1)
    )
    return StainFits(matrix, largest, usable)


def _density(tiles: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Optical density (3, B, N) of the N pixels of each tile, as `esad.preprocessing.stain.fit.optical_density`."""
    if tiles.dtype != torch.uint8 or tiles.ndim != 4 or tiles.shape[-1] != 3:
        raise ValueError(f"expected tiles uint8 (B, H, W, 3), got {tiles.dtype} {tuple(tiles.shape)}")
    levels = tiles.flatten(1, 2).permute(2, 0, 1).to(dtype)
    return (-(levels.clamp(min=1) / 255).log()).clamp(min=LEAST_DENSITY)


def _tissue(tiles: torch.Tensor) -> torch.Tensor:
    """bool (B, H, W), as `esad.preprocessing.stain.fit.tissue_mask`."""
    tables = torch.as_tensor(LUMINANCE, device=tiles.device)
    red, green, blue = (tables[channel][tiles[..., channel].long()] for channel in range(3))
    return red + green + blue < TISSUE_LUMINANCE


def _codes(density: torch.Tensor, matrix: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The closed form of `stain_kernels.two_codes`: densities (3, ..., N), atoms (..., 2, 3) -> two of (..., N)."""
    overlap = (matrix[..., 0, :] * matrix[..., 1, :]).sum(-1)[..., None]
    scale = 1 / (1 - overlap**2).clamp(min=1e-12)
    red, green, blue = density
    one, two = (
        red * atom[..., 0, None] + green * atom[..., 1, None] + blue * atom[..., 2, None] - penalty
        for atom in (matrix[..., 0, :], matrix[..., 1, :])
    )
    first, second = (one - overlap * two) * scale, (two - overlap * one) * scale
    no_first, no_second = first < 0, second < 0
    nothing = torch.zeros_like(first)
    return (
        torch.where(no_first, nothing, torch.where(no_second, one.clamp(min=0), first)),
        torch.where(no_first, two.clamp(min=0), torch.where(no_second, nothing, second)),
    )


def _learn(density: torch.Tensor, tissue: torch.Tensor) -> torch.Tensor:
    """The stain matrices (B, 2, 3) of densities (3, B, N) weighted by `tissue` (B, N); see `esad.preprocessing.stain.fit.learn_matrix`.

    Both starts of every tile are improved side by side, as one more axis.
    """
    starts = torch.as_tensor(STARTS, dtype=density.dtype, device=density.device)
    starts = starts / starts.norm(dim=-1, keepdim=True)
    matrix = starts[:, None].expand(-1, density.shape[1], -1, -1)
    density = density[:, None]
    for _ in range(ROUNDS):
        matrix = _improved(matrix, *_moments(density, tissue, *_codes(density, matrix, DICTIONARY_LAMBDA)))
    first, second = _objective(density, tissue, matrix)
    best = torch.where((second < first * (1 - 1e-6))[:, None, None], matrix[1], matrix[0])
    return torch.where((best[:, 0, 0] >= best[:, 1, 0])[:, None, None], best, best.flip(1))


def _moments(
    density: torch.Tensor, tissue: torch.Tensor, one: torch.Tensor, two: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """X^T A (..., 2, 3) and A^T A (..., 2, 2) over the tissue, for codes A of densities X."""
    codes = [one * tissue, two * tissue]
    cross = torch.stack([(code * density).sum(-1) for code in codes], 0)  # (atom, channel, start, B)
    gram = torch.stack([(code * other).sum(-1) for code in codes for other in (one, two)], -1)
    return cross.permute(2, 3, 0, 1), gram.unflatten(-1, (2, 2))


def _improved(matrix: torch.Tensor, cross: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """The atoms (..., 2, 3), updated in turn given the codes, as `stain_kernels.alternate` does."""
    atoms = [matrix[..., 0, :], matrix[..., 1, :]]
    for _ in range(5):
        for atom in range(2):
            own, mixed = gram[..., atom, atom, None], gram[..., atom, 1 - atom, None]
            update = ((cross[..., atom, :] - mixed * atoms[1 - atom]) / own).clamp(min=0)
            length = update.norm(dim=-1, keepdim=True)
            atoms[atom] = torch.where((own > 0) & (length > 0), update / length, atoms[atom])
    return torch.stack(atoms, -2)


def _objective(density: torch.Tensor, tissue: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Sum over tissue of 1/2 ||x - a S||^2 + 0.1 ||a||_1 at the best codes: (starts, B)."""
    one, two = _codes(density, matrix, DICTIONARY_LAMBDA)
    squares = sum(
        (density[channel] - one * matrix[..., 0, channel, None] - two * matrix[..., 1, channel, None]) ** 2
        for channel in range(3)
    )
    return (tissue * (0.5 * squares + DICTIONARY_LAMBDA * (one + two))).sum(-1)


def _percentile(values: torch.Tensor) -> torch.Tensor:
    """PERCENTILE (linear) over the last axis; torch.quantile refuses more than 16 million numbers."""
    place = (values.shape[-1] - 1) * (PERCENTILE / 100)
    below = int(place)
    top = values.topk(min(values.shape[-1] - below, values.shape[-1]), sorted=True).values
    low, high = top[..., -1], top[..., max(top.shape[-1] - 2, 0)]
    return low + (high - low) * (place - below)
