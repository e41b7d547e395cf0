"""Fitting a method to a store's training part, anew at a lower rate where the loss explodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.runs.items import positions_of
from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.errors import CannotTrain, UsageError
from esad.pipeline.stage.progress import say

if TYPE_CHECKING:
    import pandas as pd

    from esad.models.detector import Method
    from esad.models.training.fit import Items, TrainingStep
    from esad.models.training.ranks import Ranks
    from esad.pipeline.monitoring.tracking import Tracker
    from esad.pipeline.training.engine import Handler
    from esad.preprocessing.store.store import Store


def fit_method(
    store: Store,
    items: Items,
    assignments: pd.DataFrame,
    settings: RunSettings,
    out: Path,
    tracker: Tracker | None = None,
    ranks: Ranks | None = None,
    handlers: Sequence[Handler] = (),
) -> tuple[Method, dict[str, Any]]:
    """The trained method; its steps, how often training started anew, its seconds before this process, what is explained."""
    from esad.models.methods.classic.shallow import CannotFit
    from esad.models.methods.registry import build
    from esad.models.training.augment import Augmentation
    from esad.models.training.fit import TrainingData, TrainingStep
    from esad.models.training.ranks import OneProcessOnly
    from esad.pipeline.runs.run_folder import resolve_device
    from esad.pipeline.training.engine import Diverged, run_engine

    device = resolve_device(settings.device)
    part = assignments[assignments["part"] == "train"]
    held = assignments[(assignments["part"] == "validation") & assignments["label"].notna()]
    data = TrainingData(
        items, [positions_of(store, part["item_id"])], [part["semi_label"].to_numpy(dtype="int8")],
        [(positions_of(store, held["item_id"]), held["label"].to_numpy(dtype="int8"))],
    )  # fmt: skip
    augmentation = Augmentation(settings.data.crop, settings.data.flip)
    unlabelled, anomalies = (int((part["semi_label"] == value).sum()) for value in (0, -1))
    processes = f" in {ranks.count} processes" if ranks else ""
    _warn_of_the_norm(settings, anomalies)
    for restart in range(_restarts_so_far(out), settings.train.restarts + 1):
        try:
            method = build(settings, augmentation.shape(store.shape), (settings.seed,))
            step = TrainingStep(method, data, device, augmentation, 0.5**restart, ranks)
        except OneProcessOnly as error:
            raise UsageError(f"{store.root}: {error}") from error
        except ValueError as error:
            raise CannotTrain(f"{store.root}: {error}") from error
        if step.steps == 0:
            raise UsageError("train.epochs and train.steps are 0: nothing would be trained.")
        say(
            f"Training {settings.method} on {device}{processes}: {unlabelled} unlabelled, {anomalies} labelled anomalies, "
            f"{step.steps} steps."
        )
        try:
            earlier, selected = run_engine(step, settings, out, _checkpoints(out, restart), tracker, handlers)
            method.eval()
            said = _reconstructions(step) if step.ranks is None or step.ranks.first else None
            return method, {
                "steps": step.steps,
                "restarts": restart,
                "earlier": earlier,
                "reconstruction": said,
                **({"selection": selected} if selected else {}),
            }
        except Diverged as error:
            if restart == settings.train.restarts:
                raise
            say(f"{error} Starting anew at half the learning rate.")
            if tracker:
                tracker.restart()
            _checkpoints(out, restart + 1).mkdir(parents=True, exist_ok=True)
        except CannotFit as error:
            raise CannotTrain(f"{store.root}: {error}") from error
        except RuntimeError as error:
            if settings.train.compile and type(error).__module__.startswith("torch._"):
                raise UsageError(
                    f"train.compile = true: torch.compile failed ({str(error).strip().splitlines()[0]}). It needs a C++ "
                    "compiler on a CPU, Triton on CUDA; or set train.compile=false."
                ) from error
            raise
    raise CannotTrain(
        f"{out}: its training was started anew more often than train.restarts allows; use --force."
    )


def _warn_of_the_norm(settings: RunSettings, anomalies: int) -> None:
    """Say where the score counts a norm that no labelled anomaly teaches to tell anything (results.md#natural-images)."""
    weight = settings.loss.score_lambda1
    counted = settings.score.kind == "standardised" or (weight is not None and weight > settings.loss.lambda1)
    if settings.method == "esad" and not anomalies and counted:
        say(
            "warning: no training anomaly is labelled, so that the norm of a code tells little, and the score counts it: on digits AUC "
            "fell from 88 to 71 by it. --set score.kind=eq9 --set loss.score_lambda1=null scores as the loss weighs it (Eq. 9)."
        )


def _reconstructions(step: TrainingStep) -> dict[str, Any] | None:
    """How much the reconstructions of normal items explain; said where it is less than a linear code does."""
    from esad.pipeline.monitoring.explained import ReconstructionWatch, warn_below_components

    summary = ReconstructionWatch(step).summary()
    if summary:
        warn_below_components(summary, step.method.settings, step.method.pictures)
    return summary


def _checkpoints(out: Path, restart: int) -> Path:
    """Where the checkpoints of the first training, or of a later one at a lower rate, are."""
    return out / "checkpoints" / (f"restart-{restart}" if restart else "")


def _restarts_so_far(out: Path) -> int:
    return max(
        (int(path.name.removeprefix("restart-")) for path in (out / "checkpoints").glob("restart-*")),
        default=0,
    )
