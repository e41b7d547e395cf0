"""What a person sees of a training while it runs: an epoch table, a log, TensorBoard, MLflow, and a watch on collapse.

Every logged step's terms go to RUN/history.csv, RUN/log/training.log, TensorBoard and MLflow. At the end of an epoch, at
least REPORT_EVERY_STEPS after the last such report, come a row of the table, figures of the latent codes and the
reconstructions of a fixed probe and of the validation part, and now and then pictures.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from esad.pipeline.monitoring.collapse import CollapseWatch, latent_figures
from esad.pipeline.monitoring.epoch_table import EpochTable
from esad.pipeline.monitoring.explained import FITTED_FOR_CURVE, MOST_FITTED, ReconstructionWatch
from esad.pipeline.monitoring.history import History
from esad.pipeline.monitoring.picture_rows import picture_rows
from esad.pipeline.monitoring.validation import ValidationWatch
from esad.pipeline.stage.log import log_path

if TYPE_CHECKING:
    from ignite.engine import Engine
    from torch import Tensor

    from esad.models.training.fit import TrainingStep
    from esad.pipeline.monitoring.tracking import Tracker

LOG_EVERY_STEPS = 20
REPORT_EVERY_STEPS = 100
"""Least steps between reports: a probe of 32 items costs a third of a step on a batch of 32, a picture grid a sixth."""
PROBE_ITEMS = {True: 32, False: 256}
"""Items whose codes are looked at: pictures, table rows."""
GRIDS_A_PHASE = 20
GRID_ITEMS = 8
"""Unlabelled items of a picture grid, and as many labelled anomalies."""


def logged_at(step: TrainingStep, number: int) -> bool:
    """Whether the terms of step `number` are logged."""
    return number % LOG_EVERY_STEPS == 0 or reports_at(step, number)


def reports_at(step: TrainingStep, number: int) -> bool:
    """Whether a report follows step `number`: the end of an epoch far enough from the last, or of a phase."""
    _, first, steps = step.phase_at(number)
    done = number + 1 - first
    return done == steps or done % _interval(step, number) == 0


def _interval(step: TrainingStep, number: int) -> int:
    """Steps between reports in the phase of step `number`: whole epochs."""
    epoch = _epoch(step, number)
    return epoch * -(-REPORT_EVERY_STEPS // epoch)


def _epoch(step: TrainingStep, number: int) -> int:
    phase, _, _ = step.phase_at(number)
    return step.orders[0].steps_per_epoch(phase.labelled)


class TrainingWatch:
    """Reports on one training; only the process that writes the run has one. It changes nothing of the training."""

    def __init__(
        self, step: TrainingStep, out: Path, start: int, tracker: Tracker | None = None, score: str = "eq9"
    ) -> None:
        """`start` is the step that training goes on from: what was logged from there on is void; `score` the kind of the run."""
        from torch.utils.tensorboard import SummaryWriter

        self.step, self.tracker = step, tracker
        # TensorBoard's files have the time and the host in their names and in each event
        self.writer = SummaryWriter(str(log_path(out, "events")), purge_step=start + 1)
        self.collapse = CollapseWatch(step.method.settings)
        self.table = EpochTable(f"train {out.name}")
        self.history = History(out, start)
        before, last = _logged_before(out, start), self._last_report(start)
        self._since = [values for number, values in before.items() if number >= last]
        self._began = time.monotonic()
        self._probe: Any = None
        self._reconstructions: ReconstructionWatch | None = None
        self._pictures: list[Tensor] = []
        self.validation = ValidationWatch(step, score)
        self.log = _log_of(log_path(out, "training.log"))
        if tracker:
            for number, values in before.items():  # what a kill kept from being sent
                tracker.log(number + 1, values)

    def attach(self, engine: Engine) -> None:
        """Handlers for the logged steps of `engine`, whose output are numbers; a report adds its figures to it."""
        from ignite.engine import Events
        from monai.handlers import (
            StatsHandler,
            TensorBoardImageHandler,
            TensorBoardStatsHandler,
            ValidationHandler,
        )

        def logged(_: Engine, number: int) -> bool:
            return logged_at(self.step, number - 1)

        def validated(_: Engine, number: int) -> bool:
            return self._scores_after(number - 1)

        after = Events.ITERATION_COMPLETED
        if self.validation.known:
            engine.add_event_handler(
                after(event_filter=validated), ValidationHandler(1, self.validation.evaluator)
            )
        engine.add_event_handler(after(event_filter=logged), self._observe)
        TensorBoardStatsHandler(
            summary_writer=self.writer,
            iteration_log=logged,
            epoch_log=False,
            output_transform=lambda output: output,
        ).attach(engine)
        StatsHandler(
            name=self.log.name, iteration_log=logged, epoch_log=False, output_transform=lambda output: output
        ).attach(engine)
        pictures = TensorBoardImageHandler(
            summary_writer=self.writer, epoch_level=False, max_channels=3,
            batch_transform=lambda _: self._pictures[:2], output_transform=lambda _: self._pictures[2],
        )  # fmt: skip
        engine.add_event_handler(
            after(event_filter=lambda engine, number: logged(engine, number) and bool(self._pictures)),
            pictures,
        )

    def _scores_after(self, number: int) -> bool:
        """Whether the validation part is scored after step `number`: before its last phase a method has no score."""
        return reports_at(self.step, number) and self.step.phase_at(number)[0] is self.step.plan[-1][0]

    def _observe(self, engine: Engine) -> None:
        """Take note of a logged step's terms; those of a report get its figures."""
        number, values = engine.state.iteration - 1, cast("dict[str, float]", engine.state.output)
        self._since.append(dict(values))
        self._pictures = []
        reports = reports_at(self.step, number)
        if reports:
            values |= self._report(number)
        if self.tracker:
            self.tracker.log(number + 1, values, flush=reports)
        self.history.add(number, self.step.phase_at(number)[0].name, values)

    def close(self) -> None:
        """Write what is buffered."""
        self.history.close()
        self.writer.close()
        for handler in list(self.log.handlers):
            self.log.removeHandler(handler)
            handler.close()
        if self.tracker:
            self.tracker.flush()

    def _last_report(self, start: int) -> int:
        """The first step after the last report before step `start`."""
        if start >= self.step.steps:
            return start
        _, first, _ = self.step.phase_at(start)
        return start - (start - first) % _interval(self.step, start)

    def _report(self, number: int) -> dict[str, float]:
        phase, first, steps = self.step.phase_at(number)
        epoch = _epoch(self.step, number)
        means = {
            name: float(np.mean([values[name] for values in self._since if name in values]))
            for name in dict.fromkeys(name for values in self._since for name in values)
        }
        seconds = time.monotonic() - self._began
        self._since, self._began = [], time.monotonic()
        figures = self._looked_at(number)
        if phase.name == "warmup":  # of the first encoder and the decoder alone
            figures = {name: value for name, value in figures.items() if "z_hat" not in name}
        if (
            2 * (number + 1 - first) >= steps and not phase.turns
        ):  # adversaries' codes have another size from the start
            self.collapse.check(figures, phase.name)
        self.table.add(phase.name, (number + 1 - first) / epoch, steps / epoch, means, figures, seconds)
        return figures

    def _looked_at(self, number: int) -> dict[str, float]:
        """Figures of the probe's codes and reconstructions, and of the validation part.

        All while the networks are set to score. The rows of pictures are made on the way.
        """
        import torch

        method = self.step.method
        method.eval()  # the next step sets it to train again
        with torch.no_grad():
            if self._probe is None:
                positions, anomaly = _probe_positions(self.step)
                self._probe = self.step.read(positions[None]), torch.from_numpy(anomaly).to(self.step.device)
            x, anomaly = self._probe
            codes = method.latents(x)
            if self._draws_at(number):
                self._pictures = picture_rows(self.step, GRID_ITEMS)
            if self._reconstructions is None:
                most = FITTED_FOR_CURVE if method.pictures else MOST_FITTED
                self._reconstructions = ReconstructionWatch(self.step, most)
            explained = self._reconstructions.figures(PROBE_ITEMS[method.pictures])
        validation = self.validation.figures() if self._scores_after(number) else {}
        figures: dict[str, float] = {}
        for name, code in codes.items():
            figures |= latent_figures(name, code if method.pictures else code[0], anomaly)
        return figures | explained | validation

    def _draws_at(self, number: int) -> bool:
        if not self.step.method.pictures:
            return False
        _, first, steps = self.step.phase_at(number)
        done, every = number + 1 - first, _interval(self.step, number)
        return done == steps or (done // every - 1) % max(1, steps // every // GRIDS_A_PHASE) == 0


def _probe_positions(step: TrainingStep) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the items whose codes are looked at, and which of them are labelled anomalies, bool.

    Normals of the validation part where it has enough, else unlabelled items; and a third as many labelled anomalies.
    """
    from esad.pipeline.runs.items import evenly

    most = PROBE_ITEMS[step.method.pictures]
    positions, semi = step.data.positions[0], step.data.semi_labels[0]
    normal = positions[semi == 0]
    if step.data.validation:
        held, labels = step.data.validation[0]
        normal = held[labels == 0] if (labels == 0).sum() >= most // 2 else normal
    normal, anomalies = evenly(normal, most - most // 4), evenly(positions[semi < 0], most // 4)
    return np.concatenate([normal, anomalies]), np.repeat([False, True], [len(normal), len(anomalies)])


def _logged_before(out: Path, start: int) -> dict[int, dict[str, float]]:
    """Terms of the logged steps before `start`, by step, of RUN/history.csv."""
    path = out / "history.csv"
    rows: dict[int, dict[str, float]] = {}
    if start and path.exists():
        for line in path.read_text().splitlines()[1:]:
            parts = line.split(",")
            if len(parts) == 4 and int(parts[0]) < start:
                rows.setdefault(int(parts[0]), {})[parts[2]] = float(parts[3])
    return rows


def _log_of(path: Path) -> logging.Logger:
    """A logger of its own for one training, into one file; nothing of it on the terminal, which has the table.

    The file is appended to: a training that goes on goes on in it.
    """
    logger = logging.getLogger(
        f"esad.training.{path.resolve()}"
    )  # known before MONAI's handler asks for it by name, which
    logger.setLevel(logging.INFO)  # else would print, too
    logger.propagate = False
    file = logging.FileHandler(path, encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.handlers = [file]
    return logger
