"""ESAD: encoder-decoder-encoder with losses Eq. 5-8, transformation phi, score Eq. 9 (Huang et al., ESAD)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from esad.models.detector import Method, Phase, group_mean, reduce_items
from esad.models.settings import LossSettings, MethodSettings, PhiSettings
from esad.models.training.batch import Batch, Share
from esad.models.training.item_pool import ItemPool
from esad.models.training.randomness import generator, sent
from esad.models.training.ranks import draws_of

GROUPS = ("unlabelled", "normal", "anomaly")
"""Unlabelled items, labelled normals, labelled anomalies: the suffixes of the terms that are means over one of them."""


def phi(
    x: Tensor,
    keys: Sequence[tuple[int, int]],
    settings: PhiSettings,
    chosen: Tensor | None = None,
    share: Share | None = None,
) -> Tensor:
    """Pictures (B, C, H, W) or table rows (S, B, D) rearranged and noised, fresh for each (seed, step).

    Pictures turn by 90, 180 or 270 degrees (by 180 where H != W), never by 0; the columns of a row are permuted,
    never by the identity where D > 1 (paper Eq. 5; docs/explanation/decisions.md#a11, #a12). The noise is not
    clamped. `chosen` (bool, (B,) or (S, B)) says which items change, None all of them. The pictures of a
    `share` change as in the whole batch.
    """
    if x.dim() == 3:
        rows = torch.ones_like(x[..., 0], dtype=torch.bool) if chosen is None else chosen
        return _phi_rows(x, keys, settings, rows)
    changed = _phi_pictures(x, keys[0], settings, share)
    return changed if chosen is None else torch.where(chosen[:, None, None, None], changed, x)


def _phi_pictures(x: Tensor, key: tuple[int, int], settings: PhiSettings, share: Share | None) -> Tensor:
    numbers = generator(key[0], "phi", key[1])
    count, own = draws_of(share, len(x))
    turns = sent(own(torch.randint(1, 4, (count, 1, 1, 1), generator=numbers)), x.device)
    out = x
    if settings.rearrange:
        out = torch.rot90(x, 2, (2, 3))
        if x.shape[-1] == x.shape[-2]:
            for turn in (1, 3):
                out = torch.where(turns == turn, torch.rot90(x, turn, (2, 3)), out)
    if settings.noise:
        noise = own(torch.randn(count, *x.shape[1:], generator=numbers))
        out = out + settings.noise * sent(noise, x.device).to(x.dtype)
    return out


def _phi_rows(x: Tensor, keys: Sequence[tuple[int, int]], settings: PhiSettings, chosen: Tensor) -> Tensor:
    columns = x.shape[2]
    orders, noises = [], []
    for (seed, step), rows in zip(keys, chosen.sum(1).tolist(), strict=True):
        numbers = generator(seed, "phi", step)
        orders.append(torch.rand(rows, columns, generator=numbers))
        if settings.noise:
            noises.append(torch.randn(rows, columns, generator=numbers))
    changed = x[chosen]
    if settings.rearrange:
        order = torch.cat(orders).argsort(-1)
        identity = (order == torch.arange(columns)).all(-1, keepdim=True)
        changed = changed.gather(1, torch.where(identity, order.roll(1, -1), order).to(x.device))
    if settings.noise:
        changed = changed + settings.noise * torch.cat(noises).to(x)
    out = x.clone()
    out[chosen] = changed
    return out


def esad_losses(
    x: Tensor,
    x_hat: Tensor,
    z: Tensor,
    z_hat: Tensor,
    target: Tensor,
    semi_label: Tensor,
    settings: LossSettings,
    share: Share | None = None,
) -> dict[str, Tensor]:
    """Eq. 5-8 term by term.

    `x`, `x_hat`, `target` (phi(x) for labelled anomalies, else x) are (B, C, H, W) or (S, B, D); `z`, `z_hat` the
    codes of the two encoders; `semi_label` (B,) or (S, B) in {-1, 0, +1}. Returns `reconstruction` (Eq. 5),
    `norm` (Eq. 6), `association` (Eq. 7), `loss` (Eq. 8), and of each of GROUPS the mean reconstruction error and squared
    norm, NaN where the batch has none of it; each () or (S,). With a `share` the items are one process's, and the terms
    those of the whole batch.
    """
    axes = semi_label.dim()
    error = reduce_items((x_hat - target).square(), axes, settings.reconstruction)
    squared = reduce_items(z_hat.square(), axes, settings.norm)
    apart = reduce_items((z_hat - z).square(), axes, settings.association)
    if share is not None:
        error, squared, apart = share.whole(torch.stack([error, squared, apart]))
        semi_label = share.semi_label
    norm = torch.where(semi_label < 0, 1 / (squared + settings.eps), squared)
    unlabelled, labelled = semi_label == 0, semi_label != 0

    if settings.batch_mean == "joint":
        weights = torch.where(labelled, settings.labelled_weight, 1.0) / semi_label.shape[-1]
    else:
        weights = unlabelled / unlabelled.sum(-1, keepdim=True).clamp(min=1)
        weights = weights + labelled * (
            settings.labelled_weight / labelled.sum(-1, keepdim=True).clamp(min=1)
        )
    reconstruction, norm = ((values * weights.to(error)).sum(-1) for values in (error, norm))
    terms = {"reconstruction": reconstruction, "norm": norm, "association": apart.mean(-1)}
    terms["loss"] = reconstruction + settings.lambda1 * norm + settings.lambda2 * terms["association"]
    with torch.no_grad():
        members = torch.stack([unlabelled, semi_label > 0, semi_label < 0])
        of_groups = group_mean(torch.stack([error, squared])[:, None], members)
        of_groups = of_groups.where(members.any(-1), torch.nan)
        for place, name in enumerate(GROUPS):
            terms[f"reconstruction_{name}"], terms[f"squared_norm_{name}"] = of_groups[:, place]
    return terms


class EsadMethod(Method):
    """Optional warm-up of Enc1 and Dec as an autoencoder, then all three networks end to end."""

    title: ClassVar[str] = "ESAD (Huang et al.)"

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        self.encoder1 = self._encoder("encoder1")
        self.decoder = self._decoder("decoder")
        self.encoder2 = self._encoder("encoder2") if settings.network.second_encoder else None
        self.linear = self._linear_code(gated=True)

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return ("network", "loss", "phi", "train")

    def phases(self) -> list[Phase]:
        first = [*self.encoder1.parameters(), *self.decoder.parameters()]
        train = self.settings.train
        return [
            Phase("warmup", first, train.warmup, labelled=False),
            Phase("train", list(self.parameters()), train, labelled=True),
        ]

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        if self.linear is not None and not self.linear.is_fitted:
            self.linear.fit(items)

    def _decoded(self, x: Tensor, z: Tensor, gated: bool = True) -> Tensor:
        """The reconstruction: what the decoder makes of `z` and, with a linear code, what that keeps of `x`.

        In the warm-up (`gated` False) encoder and decoder learn whole pictures: a linear code with a gate is left out.
        """
        learnt = self.decoder(z)
        if self.linear is None:
            return learnt
        if gated or self.linear.gate is None:
            return self.linear.mixed(x, learnt, z)
        return self.linear.mean + learnt

    def _encoded_again(self, x_hat: Tensor, z: Tensor) -> Tensor:
        """The code whose norm counts: of the reconstruction, or without Enc2 `z` itself."""
        return z if self.encoder2 is None else self.encoder2(x_hat)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        z = self.encoder1(batch.x)
        x_hat = self._decoded(batch.x, z, gated=phase != "warmup")
        if phase == "warmup":
            axes = batch.semi_label.dim()
            error = reduce_items((x_hat - batch.x).square(), axes, self.settings.loss.reconstruction)
            error = batch.whole(error).mean(-1)
            return {"loss": error, "reconstruction": error.detach()}
        z_hat, target = self._encoded_again(x_hat, z), self.target(batch)
        semi = batch.semi_label
        return esad_losses(batch.x, x_hat, z, z_hat, target, semi, self.settings.loss, batch.share)

    def target(self, batch: Batch) -> Tensor:
        if not batch.anomalies:
            return batch.x
        return phi(batch.x, batch.keys, self.settings.phi, batch.semi_label < 0, batch.share)

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        z = self.encoder1(x)
        return {"z": z} if self.encoder2 is None else {"z": z, "z_hat": self.encoder2(self._decoded(x, z))}

    def reconstruct(self, x: Tensor) -> Tensor:
        return self._decoded(x, self.encoder1(x))

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        axes = 1 if self.pictures else 2
        loss = self.settings.loss
        z = self.encoder1(x)
        x_hat = self._decoded(x, z)
        reconstruction = self.score_error(x, x_hat)
        norm = reduce_items(self._encoded_again(x_hat, z).square(), axes, loss.norm)
        weight = loss.lambda1 if loss.score_lambda1 is None else loss.score_lambda1
        return {
            "eq9": reconstruction + weight * norm,
            "reconstruction": reconstruction,
            "norm": norm,
            "x_hat": x_hat,
        }
