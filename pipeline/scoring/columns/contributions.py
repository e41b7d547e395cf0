"""What each column of a table contributes to the score of a row, and how much that is for ordinary rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.runs.items import evenly
from esad.pipeline.scoring.heat import KINDS, MOST_AVERAGED, PERMUTED_REFERENCES, QUANTILES
from esad.pipeline.scoring.scores import score_formula

if TYPE_CHECKING:
    import torch

    from esad.models.detector import Method
    from esad.models.training.fit import Items

ROWS = 1024
"""Rows at once, by one thread each on a CPU: gradients keep what every layer gave."""


@dataclass(frozen=True)
class ColumnShares:
    """The contributions of one trained method; `formula` is its `score_formula`: term -> (centre, scale)."""

    method: Method
    formula: Mapping[str, tuple[float, float]]

    @classmethod
    def of_run(cls, method: Method, kind: str, normals: pd.DataFrame) -> ColumnShares:
        """Of the score of `kind` by the reference scores `normals`."""
        return cls(method, score_formula(kind, normals))

    @property
    def weights(self) -> dict[str, float]:
        """Of the method's score terms in the final score."""
        return {name: 1 / scale for name, (_, scale) in self.formula.items()}

    def start(self) -> float:
        """The final score that contributions are measured from: with them it adds up to a row's score."""
        from esad.models.attribution.explain import starting_score

        return starting_score(self.method, self.weights) - sum(
            centre / scale for centre, scale in self.formula.values()
        )

    def of(self, items: Items, positions: np.ndarray, device: torch.device) -> np.ndarray:
        """Contributions of the columns of the rows at `positions`: float32 (N, D)."""
        from esad.models.attribution.explain import row_contributions
        from esad.models.training.fit import score_batches

        _, x, terms = next(score_batches(self.method, items, positions, device, None, len(positions)))
        return row_contributions(self.method, x, self.weights, terms).float().cpu().numpy()

    def scales(
        self, items: Items, positions: np.ndarray, device: torch.device
    ) -> dict[str, dict[str, float]]:
        """Quantiles of contributions' sizes over normal rows: what the run's colours span."""
        permuted = self.method.explained_by == "permutations"
        chosen = evenly(positions, PERMUTED_REFERENCES if permuted else MOST_AVERAGED)
        parts = [
            self.of(items, chosen[begin : begin + ROWS], device) for begin in range(0, len(chosen), ROWS)
        ]
        sizes = np.abs(np.concatenate(parts))
        return {KINDS[0]: {str(share): float(np.quantile(sizes, share)) for share in QUANTILES}}
