"""The losses against values worked by hand, and the properties of phi."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.models.methods.esad import EsadMethod, esad_losses, phi
from esad.models.methods.registry import build
from esad.models.settings import LossSettings, MethodSettings, NetworkSettings, PhiSettings
from esad.models.training.batch import Batch
from tests.models import small_data

X = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]])  # one seed, three rows, two columns
X_HAT = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]])
TARGET = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [3.0, 1.0]]])
Z = torch.zeros(1, 3, 2)
Z_HAT = torch.tensor([[[2.0, 0.0], [0.0, 0.0], [1.0, 1.0]]])
SEMI = torch.tensor([[0, 0, -1]])


def losses(**changes):
    return esad_losses(X, X_HAT, Z, Z_HAT, TARGET, SEMI, LossSettings(**{"eps": 1e-9, **changes}))


def test_equations_5_to_8_with_means():
    terms = losses(lambda1=10, lambda2=100)
    assert terms["reconstruction"].item() == pytest.approx(
        (0.5 + 0) / 2 + 9 / 2
    )  # unlabelled mean + labelled mean
    assert terms["norm"].item() == pytest.approx((2 + 0) / 2 + 1 / 1)
    assert terms["association"].item() == pytest.approx((2 + 0 + 1) / 3)
    assert terms["loss"].item() == pytest.approx(4.75 + 10 * 2 + 100 * 1)


def test_sums_over_entries():
    terms = losses(reconstruction="sum", norm="sum", association="sum")
    assert terms["reconstruction"].item() == pytest.approx(0.5 + 9)
    assert terms["norm"].item() == pytest.approx(2 + 0.5)
    assert terms["association"].item() == pytest.approx(2.0)


def test_labelled_weight_and_joint_mean():
    assert losses(labelled_weight=0.5)["reconstruction"].item() == pytest.approx(0.25 + 2.25)
    assert losses(batch_mean="joint")["reconstruction"].item() == pytest.approx((0.5 + 0 + 4.5) / 3)


def test_without_labelled_items_the_labelled_terms_vanish():
    terms = esad_losses(X, X_HAT, Z, Z_HAT, X, torch.zeros(1, 3, dtype=torch.int8), LossSettings())
    assert terms["reconstruction"].item() == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert terms["norm"].item() == pytest.approx(1.0)


def test_a_labelled_normal_is_reconstructed_to_itself_and_kept_compact():
    terms = esad_losses(X, X_HAT, Z, Z_HAT, X, torch.tensor([[0, 0, 1]]), LossSettings())
    assert terms["norm"].item() == pytest.approx(1 + 1)
    assert terms["reconstruction"].item() == pytest.approx(0.25 + 0.5)


def test_each_group_has_its_own_means_and_an_absent_one_none():
    semi = torch.tensor([[0, 1, -1]])
    terms = esad_losses(X, X_HAT, Z, Z_HAT, TARGET, semi, LossSettings())
    assert [terms[f"reconstruction_{group}"].item() for group in ("unlabelled", "normal", "anomaly")] == [
        0.5,
        0,
        4.5,
    ]
    assert [terms[f"squared_norm_{group}"].item() for group in ("unlabelled", "normal", "anomaly")] == [
        2,
        0,
        1,
    ]
    assert losses()["reconstruction_normal"].isnan().all()  # SEMI has no labelled normal


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), step=st.integers(0, 10**6), columns=st.integers(2, 9))
def test_phi_of_rows_permutes_and_is_never_the_identity(seed, step, columns):
    x = torch.arange(columns, dtype=torch.float32).expand(1, 5, columns).contiguous()
    out = phi(x, [(seed, step)], PhiSettings(noise=0))
    assert torch.equal(out.sort(-1).values, x)
    assert (out != x).any(-1).all()
    assert torch.equal(out, phi(x, [(seed, step)], PhiSettings(noise=0)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), step=st.integers(0, 10**6))
def test_phi_of_pictures_turns_each_by_a_quarter_a_half_or_three_quarters(seed, step):
    x = torch.rand(6, 3, 16, 16)
    out = phi(x, [(seed, step)], PhiSettings(noise=0))
    for picture, turned in zip(x, out, strict=True):
        assert any(torch.equal(turned, picture.rot90(k, (1, 2))) for k in (1, 2, 3))


def test_the_noise_of_phi_has_the_stated_spread():
    x = torch.full((1, 4000, 2), 0.5)
    out = phi(x, [(0, 0)], PhiSettings(noise=0.1))
    assert out.std().item() == pytest.approx(0.1, rel=0.05)


def test_without_the_second_encoder_the_norm_is_of_the_first_code_and_nothing_is_associated():
    network = NetworkSettings(second_encoder=False, hidden=[3], code=2)
    chosen = MethodSettings(network=network, loss=LossSettings(lambda1=0.5))
    method = EsadMethod(chosen, (4,), (0,)).eval()
    assert not any(name.startswith("encoder2") for name in method.state_dict())
    x = torch.rand(1, 6, 4, generator=torch.Generator().manual_seed(0))
    z = method.encoder1(x)
    terms = method.score_terms(x)
    assert torch.allclose(terms["norm"], z.square().mean(-1))
    expected = (method.decoder(z) - x).square().mean(-1) + 0.5 * z.square().mean(-1)
    assert torch.allclose(terms["eq9"], expected)
    losses = method.losses("train", Batch(x, torch.zeros(1, 6, dtype=torch.int8), [(0, 0)]))
    assert losses["association"].item() == 0
    assert torch.allclose(losses["loss"], expected.mean(-1))


def test_phi_turns_pictures_that_are_not_square_by_180_degrees():
    x = torch.arange(2 * 4 * 6, dtype=torch.float32).reshape(2, 1, 4, 6)
    assert torch.equal(phi(x, [(0, 0)], PhiSettings(noise=0.0)), x.flip(2, 3))


def test_the_score_weighs_the_norm_by_its_own_lambda_and_the_error_by_blocks():
    x = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))

    def terms(**loss):
        chosen = small_data.settings("esad, linear").model_copy(update={"loss": LossSettings(**loss)})
        return build(chosen, (32, 32, 1), (0,)).eval().score_terms(x)

    with torch.no_grad():
        plain, own, blocks = (
            terms(lambda1=2),
            terms(lambda1=2, score_lambda1=5),
            terms(lambda1=2, score_block=8),
        )
    assert plain["eq9"] == pytest.approx(plain["reconstruction"] + 2 * plain["norm"])
    assert own["eq9"] == pytest.approx(plain["reconstruction"] + 5 * plain["norm"])
    means = (plain["x_hat"] - x).reshape(3, 4, 8, 4, 8).mean((2, 4))
    assert blocks["reconstruction"] == pytest.approx(means.square().mean((1, 2)))
    assert (blocks["reconstruction"] < plain["reconstruction"]).all()


def turns_of(x, out):
    return [
        next(k for k in range(4) if torch.equal(turned, one.rot90(k, (1, 2))))
        for one, turned in zip(x, out, strict=True)
    ]


def test_phi_takes_all_three_turns_about_as_often_and_follows_seed_and_step():
    x, still = torch.rand(90, 1, 8, 8, generator=torch.Generator().manual_seed(1)), PhiSettings(noise=0)
    before = x.clone()
    turns = turns_of(x, phi(x, [(3, 7)], still))
    assert torch.equal(x, before)
    assert [min(turns), max(turns)] == [1, 3]
    assert all(18 <= turns.count(k) <= 42 for k in (1, 2, 3))
    assert turns == turns_of(x, phi(x, [(3, 7)], still))
    assert turns != turns_of(x, phi(x, [(3, 8)], still))
    assert turns != turns_of(x, phi(x, [(4, 7)], still))


def test_phi_changes_the_chosen_items_alone_and_those_as_if_all_were_chosen():
    pictures = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    chosen = torch.arange(8) % 3 == 0
    out, all_of_them = (phi(pictures, [(0, 5)], PhiSettings(noise=0.1), which) for which in (chosen, None))
    assert torch.equal(out[~chosen], pictures[~chosen])
    assert torch.equal(out[chosen], all_of_them[chosen])
    assert not torch.equal(out[chosen], pictures[chosen])
    rows = torch.rand(2, 8, 5, generator=torch.Generator().manual_seed(3))
    few = torch.stack([chosen, ~chosen])
    changed = phi(rows, [(0, 5), (9, 5)], PhiSettings(noise=0.1), few)
    assert torch.equal(changed[~few], rows[~few])
    assert (changed[few] != rows[few]).any(-1).all()


def test_phi_adds_noise_of_its_own_to_each_picture_and_may_do_only_that():
    x = torch.full((50, 2, 16, 16), 0.25)
    out = phi(x, [(1, 1)], PhiSettings(noise=0.2, rearrange=False))
    assert (out - x).std().item() == pytest.approx(0.2, rel=0.03)
    assert abs((out - x).mean().item()) < 0.01
    assert not torch.equal(out[0], out[1])
    assert torch.equal(phi(x, [(1, 1)], PhiSettings(noise=0, rearrange=False)), x)
    rows = torch.full((1, 4000, 2), 0.5)
    assert torch.equal(phi(rows, [(1, 1)], PhiSettings(noise=0, rearrange=False)), rows)


def test_each_network_of_a_stack_has_the_phi_of_its_own_key():
    rows = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(4))
    both = phi(rows, [(3, 1), (8, 1)], PhiSettings(noise=0.1))
    alone = [
        phi(rows[place : place + 1], [key], PhiSettings(noise=0.1))[0]
        for place, key in enumerate([(3, 1), (8, 1)])
    ]
    assert torch.equal(both, torch.stack(alone))
    assert not torch.equal(phi(rows[:1], [(3, 2)], PhiSettings(noise=0.1))[0], alone[0])
