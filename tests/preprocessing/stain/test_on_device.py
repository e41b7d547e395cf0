"""Batches of torch tensors against the numpy path: the same grey levels given the same stains, as good a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esad.preprocessing.errors import InputError
from esad.preprocessing.stain.on_device import StainFits, apply_stains, fit_stains, normalise_tiles
from esad.preprocessing.stain.vahadane import (
    StainFit,
    apply_stain,
    builtin_target,
    concentrations,
    fit_objective,
    fit_stain,
    optical_density,
)
from tests.preprocessing.stain.test_vahadane import MATRIX, mixture

DTYPES = [torch.float64, torch.float32]


def batch(count=4, side=32):
    """uint8 (count, side, side, 3): mixtures of two stains, each batch member of its own."""
    return np.stack([mixture(seed, side**2).reshape(side, side, 3) for seed in range(count)])


def as_fit(fits: StainFits, place: int) -> StainFit:
    return StainFit(
        fits.matrix[place].double().cpu().numpy(), fits.max_concentration[place].double().cpu().numpy()
    )


def differences(ours: torch.Tensor, expected: np.ndarray) -> tuple[int, float]:
    """The most grey levels, and the share of pixels that differ at all."""
    levels = np.abs(ours.cpu().numpy().astype(int) - expected)
    return int(levels.max()), float((levels.max(-1) > 0).mean())


def check(tiles: np.ndarray, dtype: torch.dtype, device: str) -> None:
    """Fit and repainting of uint8 (B, H, W, 3) on `device` against numpy's."""
    target, tensor = builtin_target(), torch.as_tensor(tiles, device=device)
    fits = fit_stains(tensor, dtype)
    assert fits.usable.all()
    for place, tile in enumerate(tiles):
        numpys = fit_objective(tile, fit_stain(tile).matrix)
        assert fit_objective(tile, as_fit(fits, place).matrix) == pytest.approx(numpys, rel=1e-4)
    own = np.stack([apply_stain(tile, as_fit(fits, place), target) for place, tile in enumerate(tiles)])
    levels, share = differences(normalise_tiles(tensor, target, dtype=dtype), own)
    assert levels <= 1
    assert share <= (1e-3 if dtype == torch.float32 else 1e-5)
    source = fit_stain(tiles)
    levels, share = differences(
        normalise_tiles(tensor, target, source, dtype), apply_stain(tiles, source, target)
    )
    assert levels <= 1
    assert share <= (1e-3 if dtype == torch.float32 else 1e-5)
    again = normalise_tiles(tensor, target, dtype=dtype)
    assert torch.equal(again, normalise_tiles(tensor, target, dtype=dtype))
    assert (again.dtype, again.device, again.shape) == (torch.uint8, tensor.device, tensor.shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_comes_out_as_numpys(dtype):
    check(batch(), dtype, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_comes_out_as_numpys_on_cuda(dtype):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    check(batch(8, 64), dtype, "cuda")


@pytest.mark.data
def test_real_tiles_come_out_as_numpys(data):
    check(np.load(data / "pcam" / "pcam_64.npz")["x"][:3], torch.float64, "cpu")


def test_every_colour_of_a_lattice_is_painted_as_numpy_does():
    lattice = np.stack(np.meshgrid(*[np.arange(0, 256, 5, dtype=np.uint8)] * 3), -1).reshape(1, 52, -1, 3)
    source = StainFit(MATRIX, np.array([0.1, 1.5]))  # its first ratio is beyond the cap
    levels, share = differences(
        normalise_tiles(torch.as_tensor(lattice), builtin_target(), source, torch.float64),
        apply_stain(lattice, source, builtin_target()),
    )
    assert levels <= 1
    assert share <= 1e-5


def test_tiles_without_two_stains_come_back_as_they_are_and_their_neighbours_do_not_notice():
    tiles = batch(2)
    blank, black = np.full_like(tiles[0], 250), np.zeros_like(tiles[0])
    for refused in (blank, black):
        with pytest.raises(InputError):
            fit_stain(refused)
    mixed = torch.as_tensor(np.stack([blank, tiles[0], black, tiles[1]]))
    assert fit_stains(mixed, torch.float64).usable.tolist() == [False, True, False, True]
    out = normalise_tiles(mixed, builtin_target(), dtype=torch.float64)
    assert torch.equal(out[0], mixed[0])
    assert torch.equal(out[2], mixed[2])
    alone = normalise_tiles(torch.as_tensor(tiles), builtin_target(), dtype=torch.float64)
    assert differences(out[1::2], alone.numpy())[0] <= 1


def test_the_largest_concentration_is_numpys_percentile():
    tiles = batch(2, 24)
    fits = fit_stains(torch.as_tensor(tiles), torch.float64)
    for place, tile in enumerate(tiles):
        matrix = as_fit(fits, place).matrix
        expected = np.percentile(concentrations(optical_density(tile).reshape(-1, 3), matrix), 99, axis=0)
        assert as_fit(fits, place).max_concentration == pytest.approx(expected, rel=1e-9)
        assert np.linalg.norm(matrix, axis=1) == pytest.approx([1, 1])
        assert matrix[0, 0] >= matrix[1, 0]


def test_apply_takes_fits_as_they_are():
    tiles = torch.as_tensor(batch(2, 16))
    fits = StainFits(
        torch.as_tensor(np.stack([MATRIX, MATRIX[::-1]])),
        torch.tensor([[1.0, 2.0], [0.5, 1.0]]),
        torch.tensor([True, False]),
    )
    out = apply_stains(tiles, fits, builtin_target(), torch.float64)
    expected = apply_stain(tiles[0].numpy(), StainFit(MATRIX, np.array([1.0, 2.0])), builtin_target())
    assert differences(out[0], expected)[0] <= 1
    assert torch.equal(out[1], tiles[1])


def test_other_shapes_and_types_are_refused():
    for wrong in (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 8, 8, 3)):
        with pytest.raises(ValueError, match=r"uint8 \(B, H, W, 3\)"):
            normalise_tiles(wrong, builtin_target())
