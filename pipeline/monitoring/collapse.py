"""Watch on collapse: whether the latent codes of a fixed probe still say anything, and what to change if not.

Measured on a toy of 16-pixel pictures and one of table rows: healthy trainings had ranks of `z` of 1.7 and more, mean
squares of 0.03 and more (0 for `z_hat` of unlabelled items where anomalies are labelled, as Eq. 6 wants it) and labelled
anomalies four to a million times above the unlabelled items (1.17 after 250 steps on PCam); lambda1 = 1000 without labels
gave 5e-6, lambda2 = 1000 with labels a ratio of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from esad.pipeline.stage.progress import say

if TYPE_CHECKING:
    import torch

    from esad.models.settings import MethodSettings

LEAST_RANK = 1.5
"""Of `z` of unlabelled items: below it their codes lie on one line or in one point."""
LEAST_SQUARE = 1e-4
"""Below it a code is 0 for all items (it begins with about 0.5, docs/explanation/decisions.md#a4)."""
LEAST_RATIO = 1.1
"""Of the mean squares of `z_hat`, labelled anomalies over unlabelled items: below it the norm tells nothing apart."""
FLOOR = 1e-3
"""Directions in which codes vary less than this share of their own size are rounding noise, not variation."""


def effective_rank(codes: torch.Tensor) -> float:
    """Effective rank of codes (N, ...) of N items, after Roy and Vetterli (2007).

    exp of the entropy of the singular values, made to add up to 1, of the codes less their mean: between 1 and
    min(N - 1, entries). Singular values below FLOOR times the norm of the codes themselves count as 0; where none is
    left, all codes are the same and the rank is 0. NaN where a code is not finite.
    """
    import torch

    rows = codes.flatten(1).double()
    if not torch.isfinite(rows).all():
        return float("nan")
    values = torch.linalg.svdvals(rows - rows.mean(0))
    values = values[values > FLOOR * torch.linalg.norm(rows)]
    if not len(values):
        return 0.0
    shares = values / values.sum()
    return float(torch.exp(-(shares * shares.log()).sum()))


def latent_figures(name: str, codes: torch.Tensor, anomaly: torch.Tensor) -> dict[str, float]:
    """Figures of the codes (N, ...) called `name` of a probe; `anomaly` (N,) bool are its labelled anomalies.

    `NAME_square_unlabelled`, `NAME_square_anomaly` (where there are any): mean squares over items and entries.
    `NAME_rank`: effective rank over the unlabelled items.
    """
    squares = codes.flatten(1).double().square().mean(1)
    found = {f"{name}_square_unlabelled": float(squares[~anomaly].mean())}
    if bool(anomaly.any()):
        found[f"{name}_square_anomaly"] = float(squares[anomaly].mean())
    return {**found, f"{name}_rank": effective_rank(codes[~anomaly])}


class CollapseWatch:
    """Says once for each code that it has collapsed, and which settings to change."""

    def __init__(self, settings: MethodSettings) -> None:
        self.settings, self._said = settings, set[str]()

    def check(self, figures: Mapping[str, float], phase: str) -> None:
        """Warn on stderr where `figures` (`latent_figures` of one or more codes) say so, with what to change in `phase`.

        For the codes that a phase trains, and only from its half on: codes take a while to spread.
        """
        for code, fault in self.faults(figures).items():
            if code not in self._said:
                self._said.add(code)
                say(f"warning: collapse: {fault} {self._remedy(code, phase)}")

    def faults(self, figures: Mapping[str, float]) -> dict[str, str]:
        """What is wrong with which code, in words; empty where nothing is."""
        found = {}
        for code in (name.removesuffix("_rank") for name in figures if name.endswith("_rank")):
            rank, square = figures[f"{code}_rank"], figures[f"{code}_square_unlabelled"]
            anomalies = figures.get(f"{code}_square_anomaly")
            if code != "z_hat":
                if square < LEAST_SQUARE:
                    found[code] = f"the first encoder gives 0 for all items (mean square {square:.2g})."
                elif rank < LEAST_RANK:
                    found[code] = (
                        f"the first encoder's codes of unlabelled items have an effective rank of {rank:.2g}."
                    )
            elif anomalies is None:
                if square < LEAST_SQUARE:
                    found[code] = f"the second encoder gives 0 for all items (mean square {square:.2g})."
            elif anomalies < max(LEAST_SQUARE, LEAST_RATIO * square):
                found[code] = (
                    "the second encoder does not yet tell labelled anomalies from unlabelled items (mean squares "
                    f"{anomalies:.2g} and {square:.2g})."
                )
        return found

    def _remedy(self, code: str, phase: str) -> str:
        if phase != "train":
            rate, width = self.settings.train.warmup.learning_rate, self.settings.network.width
            return f"Lower train.warmup.learning_rate (now {rate:g}), or raise network.width (now {width:g})."
        if self.settings.method != "esad":
            return "Try more warm-up (train.warmup) or a lower train.learning_rate."
        loss = self.settings.loss
        weights = {"loss.lambda1": loss.lambda1, "loss.lambda2": loss.lambda2}
        lower = " or ".join(
            f"{name} (now {value:g})" for name, value in sorted(weights.items(), key=lambda pair: -pair[1])
        )
        more = f", or loss.labelled_weight (now {loss.labelled_weight:g}); raise loss.eps (now {loss.eps:g})"
        return f"Lower {lower}{more if code == 'z_hat' else ''}; or give it a longer warm-up (train.warmup)."
