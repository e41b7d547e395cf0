"""Shapes, sizes and the seeds axis of the networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from esad.models import networks
from esad.models.networks import (
    ColumnScaler,
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    PerceptronStack,
    PictureScaler,
    SeedBatchNorm,
    column_medians,
    table_widths,
)
from esad.models.settings import NetworkSettings


def parameters(module: torch.nn.Module) -> int:
    """Number of convolution weights (docs/explanation/method.md#network-size counts without BatchNorm)."""
    return sum(p.numel() for p in module.parameters() if p.dim() == 4)


def test_table_6_has_the_counted_number_of_weights():
    encoder, decoder = ConvolutionalEncoder(3), ConvolutionalDecoder(3)
    assert parameters(encoder) == pytest.approx(9.40e6, rel=0.01)
    assert 2 * parameters(encoder) + parameters(decoder) == pytest.approx(21.2e6, rel=0.01)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (16, 48), (80, 112)])
@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
def test_the_code_is_a_sixteenth_and_the_output_as_large_as_the_input(height, width, upsample):
    encoder, decoder = ConvolutionalEncoder(1, 0.125), ConvolutionalDecoder(1, 0.125, upsample)
    z = encoder(torch.rand(2, 1, height, width))
    assert z.shape == (2, 64, height // 16, width // 16)
    assert (z >= 0).all()
    assert decoder(z).shape == (2, 1, height, width)


def test_pictures_of_28_pixels_are_padded_to_32_and_cut_back():
    scaler = PictureScaler((28, 28, 1), 3)
    x = torch.randint(1, 256, (2, 28, 28, 1), dtype=torch.uint8)
    scaled = scaler(x)
    assert scaled.shape == (2, 3, 32, 32)
    assert scaled[..., :2, :].abs().sum() == 0
    inner = scaler.unpad(scaled)
    assert torch.equal(inner[:, 2], x[..., 0].float() / 255)


def test_channels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"network\.channels"):
        PictureScaler((32, 32, 3), 1)


def test_columns_of_training_rows_fill_0_to_1_and_constant_ones_give_0():
    rows = torch.tensor([[1.0, 5.0, -2.0], [3.0, 5.0, 2.0], [2.0, 5.0, 0.0]])
    scaler = ColumnScaler(1, 3)
    scaler.fit(0, rows)
    scaled = scaler(rows[None])[0]
    assert torch.equal(scaled, torch.tensor([[0.0, 0, 0], [1, 0, 1], [0.5, 0, 0.5]]))
    assert scaler(torch.tensor([[[5.0, 5, 0]]]))[0, 0, 0] == 2


def test_batch_norm_over_seeds_equals_torch_on_each_seed():
    ours, x = SeedBatchNorm(3, 5, affine=True), torch.randn(3, 40, 5)
    theirs = [torch.nn.BatchNorm1d(5, eps=1e-4) for _ in range(3)]
    out = ours(x.mT).mT
    for seed, layer in enumerate(theirs):
        assert torch.allclose(out[seed], layer(x[seed]), atol=1e-5)
        assert torch.allclose(ours.running_var[seed, 0], layer.running_var, atol=1e-6)
    ours.eval()
    assert torch.allclose(ours(x.mT).mT[1], theirs[1].eval()(x[1]), atol=1e-5)


def test_several_seeds_at_once_start_as_each_seed_alone():
    settings = NetworkSettings()
    together = PerceptronStack((7, 3), [6, 4, 2], settings, "encoder", sigmoid=False)
    alone = PerceptronStack((3,), [6, 4, 2], settings, "encoder", sigmoid=False)
    x = torch.randn(1, 9, 6)
    assert torch.allclose(together(x.expand(2, 9, 6))[1:], alone(x), atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "widths"), [(274, [274, 128, 64, 32]), (21, [21, 32, 16, 8]), (6, [6, 32, 16, 4])]
)
def test_deep_sads_widths(columns, widths):
    assert table_widths(columns, NetworkSettings()) == widths


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2),
        elements=st.sampled_from([np.nan, -1.5, 0, 2, 7, 8.5]),
    )
)
def test_missing_values_become_the_median_of_the_training_rows(rows):
    scaler, tensor = ColumnScaler(1, rows.shape[1]), torch.from_numpy(rows)
    scaler.fit(0, tensor)
    known = ~np.isnan(rows).all(0)
    assert np.array_equal(
        column_medians(tensor)[known], np.nanmedian(rows[:, known], axis=0).astype(np.float32)
    )
    filled = torch.where(tensor.isnan(), column_medians(tensor), tensor)
    assert torch.equal(scaler(tensor[None]), scaler(filled[None]))
    assert not scaler(tensor[None]).isnan().any()


def test_a_scaler_without_medians_loads_with_the_middles_of_its_ranges():
    older = {"minimum": torch.full((1, 1, 2), -1.0), "range": torch.full((1, 1, 2), 4.0)}
    scaler = ColumnScaler(1, 2)
    scaler.load_state_dict(older)
    assert scaler.median.flatten().tolist() == [1, 1]


@pytest.mark.parametrize("missing", [False, True])
def test_columns_of_many_rows_are_scaled_part_by_part(monkeypatch, missing):
    """Smallest and largest values are those of all rows, whatever the part; the medians are those of some."""
    monkeypatch.setattr(networks, "MOST_FITTED", 40)
    rows = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    rows[:, 1] = 3.0
    rows[57, 0] = 9.0
    rows[3, 0] = torch.nan if missing else -9.0
    taken: list[int] = []

    def take(positions: np.ndarray) -> torch.Tensor:
        taken.append(len(positions))
        return rows[torch.from_numpy(positions)]

    scaler = ColumnScaler(1, 2)
    scaler.fit_at(0, np.arange(100), take)
    least = rows[:, 0].nan_to_num(0).min()
    assert scaler.minimum[0, 0].tolist() == [least.item(), 3.0]
    assert scaler.range[0, 0].tolist() == [(9.0 - least).item(), 1.0]
    assert abs(scaler.median[0, 0, 0] - rows[:, 0].nanmedian()) < 1.5
    assert max(taken) == 5
    whole = ColumnScaler(1, 2)
    whole.fit_at(0, np.arange(20), lambda positions: rows[torch.from_numpy(positions)])
    other = ColumnScaler(1, 2)
    other.fit(0, rows[:20])
    assert torch.equal(whole.median, other.median)
    assert torch.equal(whole.range, other.range)
