"""AUC and average precision of the validation part while a model trains: a curve for the person, by a MONAI Evaluator.

Labels of the test part are never read, and nothing of the training is changed by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.evaluation.measures.metrics import auc, average_precision
from esad.pipeline.runs.items import evenly
from esad.pipeline.scoring.scores import TERMS, score_of

if TYPE_CHECKING:
    from torch import Tensor

    from esad.models.training.fit import TrainingStep

MOST_ITEMS = {True: 256, False: 4096}
"""Validation items that are scored at a report, at most: pictures, table rows. It costs about as much as two steps."""
BATCH = {True: 64, False: 4096}
AUC, AP = "validation_auc", "validation_ap"


class ValidationWatch:
    """Scores validation items of both labels by the run's own score, again and again."""

    def __init__(self, step: TrainingStep, kind: str) -> None:
        """`kind` of the score: eq9 or standardised (by the validation normals). Without both labels there is no figure."""
        self.step, self.kind = step, kind
        nothing = np.empty(0, dtype=np.int64)
        held, labels = step.data.validation[0] if step.data.validation else (nothing, nothing)
        most = MOST_ITEMS[step.method.pictures]
        normal, anomalies = evenly(held[labels == 0], most), evenly(held[labels == 1], most)
        self.positions = np.concatenate([normal, anomalies])
        self.labels = np.repeat(np.array([0, 1], np.int64), [len(normal), len(anomalies)])
        self.known = bool(len(normal) and len(anomalies))
        self._evaluator: Any = None

    @property
    def evaluator(self) -> Any:
        """The `monai.engines.Evaluator` that scores the items; AUC and AP, in [0, 1], are its metrics after each run."""
        if self._evaluator is None:
            self._evaluator = self._made()
        return self._evaluator

    def figures(self) -> dict[str, float]:
        """`validation_auc` and `validation_ap` of the evaluator's last run; empty where it had none."""
        if self._evaluator is None:
            return {}
        found = self._evaluator.state.metrics
        return {name: float(found[name]) for name in (AUC, AP) if name in found}

    def _made(self) -> Any:
        from ignite.engine import Events
        from monai.engines import Evaluator
        from monai.handlers import from_engine
        from monai.utils import CommonKeys

        size = BATCH[self.step.method.pictures]
        places = [slice(start, start + size) for start in range(0, len(self.positions), size)]
        output = from_engine([CommonKeys.PRED, CommonKeys.LABEL], first=False)
        metrics = {
            name: _figure_of_this_process(self._measured_by(figure), output)
            for name, figure in ((AUC, auc), (AP, average_precision))
        }
        evaluator = Evaluator(
            self.step.device, places, iteration_update=self._score, key_val_metric={AUC: metrics[AUC]},
            additional_metrics={AP: metrics[AP]}, decollate=False,
        )  # fmt: skip
        evaluator.logger.setLevel("CRITICAL")  # the table of epochs says it
        method = self.step.method
        evaluator.add_event_handler(Events.STARTED, method.eval)  # the next step sets it to train again
        return evaluator

    def _score(self, engine: Any, place: slice) -> dict[str, Tensor]:
        import torch
        from monai.utils import CommonKeys

        method, positions = self.step.method, self.positions[place]
        with torch.no_grad():
            x = self.step.read(np.repeat(positions[None], len(method.seeds), axis=0))
            terms = method.score_terms(x)
        rows = [(terms[name] if method.pictures else terms[name][0]).double().cpu() for name in TERMS]
        return {
            CommonKeys.PRED: torch.stack(rows, dim=1),
            CommonKeys.LABEL: torch.from_numpy(self.labels[place]),
        }

    def _measured_by(
        self, figure: Callable[[np.ndarray, np.ndarray], float | None]
    ) -> Callable[[Tensor, Tensor], float]:
        """A figure of all items' terms, (N, 3), and labels (N,), by the run's score."""

        def measured(terms: Tensor, labels: Tensor) -> float:
            table, known = pd.DataFrame(terms.numpy(), columns=list(TERMS)), labels.numpy()
            return float(figure(score_of(self.kind, table, table[known == 0]), known) or 0.0)

        return measured


def _figure_of_this_process(compute: Callable[[Tensor, Tensor], float], output: Callable[[Any], Any]) -> Any:
    """A metric over all items of an evaluation. Not ignite's EpochMetric: that waits for the other processes of a training, and
    the first alone has a watch."""
    import torch
    from ignite.metrics import Metric

    class Figure(Metric):
        def reset(self) -> None:
            self.seen: list[tuple[Tensor, Tensor]] = []

        def update(self, output: tuple[Tensor, Tensor]) -> None:
            self.seen.append(output)

        def compute(self) -> float:
            predictions, labels = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
            return compute(predictions, labels)

    return Figure(output_transform=output)
