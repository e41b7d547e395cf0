"""ESAD: encoder-decoder-encoder with losses Eq. 5-8, transformation phi, score Eq. 9 (Huang et al., ESAD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.detector import Batch, Method, Phase, group_mean, reduce_items
from models.randomness import generator
from models.settings import LossSettings, MethodSettings, PhiSettings


def phi(
    x: Tensor, keys: Sequence[tuple[int, int]], settings: PhiSettings, chosen: Tensor | None = None
) -> Tensor:
    """Pictures (B, C, H, W) or table rows (S, B, D) rearranged and noised, fresh for each (seed, step).

    Pictures turn by 90, 180 or 270 degrees (by 180 where H != W), never by 0; the columns of a row are permuted,
    never by the identity where D > 1 (paper Eq. 5; METHOD A11, A12). The noise is not clamped. `chosen` (bool, (B,)
    or (S, B)) says which items change, None all of them.
    """
    if x.dim() == 3:
        rows = torch.ones_like(x[..., 0], dtype=torch.bool) if chosen is None else chosen
        return _phi_rows(x, keys, settings, rows)
    changed = _phi_pictures(x, keys[0], settings)
    return changed if chosen is None else torch.where(chosen[:, None, None, None], changed, x)


def _phi_pictures(x: Tensor, key: tuple[int, int], settings: PhiSettings) -> Tensor:
    numbers = generator(key[0], "phi", key[1])
    turns = torch.randint(1, 4, (len(x),), generator=numbers)
    square = x.shape[-1] == x.shape[-2]
    if not square:
        turns.fill_(2)
    out = x.clone()
    if settings.rearrange:
        for turn in (1, 2, 3) if square else (2,):
            chosen = (turns == turn).to(x.device)
            out[chosen] = torch.rot90(x[chosen], turn, (2, 3))
    if settings.noise:
        out = out + settings.noise * torch.randn(x.shape, generator=numbers).to(x)
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
) -> dict[str, Tensor]:
    """Eq. 5-8 term by term.

    `x`, `x_hat`, `target` (phi(x) for labelled anomalies, else x) are (B, C, H, W) or (S, B, D); `z`, `z_hat` the
    codes of the two encoders; `semi_label` (B,) or (S, B) in {-1, 0, +1}. Returns `reconstruction` (Eq. 5),
    `norm` (Eq. 6), `association` (Eq. 7), `loss` (Eq. 8) and the group means that make them, each () or (S,).
    """
    axes = semi_label.dim()
    error = reduce_items((x_hat - target).square(), axes, settings.reconstruction)
    squared = reduce_items(z_hat.square(), axes, settings.norm)
    norm = torch.where(semi_label < 0, 1 / (squared + settings.eps), squared)
    apart = reduce_items((z_hat - z).square(), axes, settings.association)
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
        of_groups = group_mean(
            torch.stack([error, squared])[:, None], torch.stack([unlabelled, semi_label < 0])
        )
        for place, name in enumerate(("unlabelled", "anomaly")):
            terms[f"reconstruction_{name}"], terms[f"squared_norm_{name}"] = of_groups[:, place]
    return terms


class EsadMethod(Method):
    """Optional warm-up of Enc1 and Dec as an autoencoder, then all three networks end to end."""

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        self.encoder1 = self._encoder("encoder1")
        self.decoder = self._decoder("decoder")
        self.encoder2 = self._encoder("encoder2")

    def phases(self) -> list[Phase]:
        first = [*self.encoder1.parameters(), *self.decoder.parameters()]
        train = self.settings.train
        return [
            Phase("warmup", first, train.warmup, labelled=False),
            Phase("train", [*first, *self.encoder2.parameters()], train, labelled=True),
        ]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        z = self.encoder1(batch.x)
        x_hat = self.decoder(z)
        if phase == "warmup":
            axes = batch.semi_label.dim()
            error = reduce_items((x_hat - batch.x).square(), axes, self.settings.loss.reconstruction).mean(-1)
            return {"loss": error, "reconstruction": error.detach()}
        z_hat = self.encoder2(x_hat)
        anomalies = batch.semi_label < 0
        target = batch.x
        if bool(anomalies.any()):
            target = phi(batch.x, batch.keys, self.settings.phi, anomalies)
        return esad_losses(batch.x, x_hat, z, z_hat, target, batch.semi_label, self.settings.loss)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder1(x))

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        axes = 1 if self.pictures else 2
        loss = self.settings.loss
        x_hat = self.reconstruct(x)
        reconstruction = reduce_items((x_hat - x).square(), axes, loss.reconstruction)
        norm = reduce_items(self.encoder2(x_hat).square(), axes, loss.norm)
        return {
            "eq9": reconstruction + loss.lambda1 * norm,
            "reconstruction": reconstruction,
            "norm": norm,
            "x_hat": x_hat,
        }
