"""Watch on collapse: whether the latent codes of a fixed probe still tell items apart, and what to change if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.progress import say

if TYPE_CHECKING:
    import torch

    from models.settings import MethodSettings

LEAST_RANK = 1.5
"""Below it the codes of all items lie on one line or in one point."""
FLOOR = 1e-3
"""Directions in which codes vary less than this share of their own size are rounding noise, not variation."""


def latent_figures(codes: torch.Tensor) -> dict[str, float]:
    """`mean_square` over items and entries, and `rank`, of codes (N, ...) of N items.

    `rank` is the effective rank of Roy and Vetterli (2007): exp of the entropy of the singular values, made to add up
    to 1, of the codes less their mean; between 1 and min(N - 1, entries). Singular values below FLOOR times the norm
    of the codes themselves count as 0; where none is left, all codes are the same and the rank is 0. A code that is
    not finite gives NaN for both.
    """
    import torch

    rows = codes.flatten(1).double()
    mean_square = float(rows.square().mean())
    if not torch.isfinite(rows).all():
        return {"mean_square": float("nan"), "rank": float("nan")}
    size = float(torch.linalg.norm(rows))
    values = torch.linalg.svdvals(rows - rows.mean(0))
    values = values[values > FLOOR * size]
    if not len(values):
        return {"mean_square": mean_square, "rank": 0.0}
    shares = values / values.sum()
    return {"mean_square": mean_square, "rank": float(torch.exp(-(shares * shares.log()).sum()))}


class CollapseWatch:
    """Warns once a phase and encoder where its codes have collapsed."""

    def __init__(self, settings: MethodSettings) -> None:
        self.settings, self._warned = settings, set[tuple[str, str]]()

    def check(self, phase: str, figures: dict[str, float]) -> None:
        """Warn on stderr where a `*_rank` among the `figures` is below LEAST_RANK."""
        for name, value in figures.items():
            code = name.removesuffix("_rank")
            if code == name or not value < LEAST_RANK or (phase, code) in self._warned:
                continue
            self._warned.add((phase, code))
            say(f"warning: {ENCODERS.get(code, code)} has collapsed in phase {phase}: {self._remedy()}")

    def _remedy(self) -> str:
        return ""


ENCODERS = {"z": "the first encoder", "z_hat": "the second encoder"}
