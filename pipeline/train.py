"""`esad train STORE`: assignments, the trained model and its reference scores, in a RUN folder.

The one training step of `esad.models.training.fit` runs inside an engine (`esad.pipeline.training.engine`). Training that was stopped or killed
goes on from its last checkpoint and ends with the same weights as an undisturbed run.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from esad.pipeline.evaluation.split_overlap import overlap_sentence
from esad.pipeline.exporting.model_card import write_model_card
from esad.pipeline.settings.config import RunSettings, first_difference, resolve
from esad.pipeline.settings.presets import preset_settings, protocol_settings
from esad.pipeline.stage.errors import CannotTrain, EsadError, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say
from esad.pipeline.stage.ranks import any_of, is_first, process_group, several
from esad.pipeline.training.checkpoints import flush, lasting, write_durably
from esad.pipeline.training.failures import failures_in_words
from esad.pipeline.training.items import assignments_of, in_memory, positions_of
from esad.pipeline.training.tracking import tracked
from esad.pipeline.training.validation import validation_figures

if TYPE_CHECKING:
    import pandas as pd

    from esad.models.detector import Method
    from esad.models.training.fit import Items
    from esad.models.training.ranks import Ranks
    from esad.pipeline.training.tracking import Tracker
    from esad.preprocessing.store.store import Store


def train(
    store: Path,
    out: Path,
    preset: str | None = None,
    overrides: Sequence[dict[str, Any]] = (),
    force: bool = False,
    mlflow: str | None = None,
) -> Outcome:
    """Train on `store` and write the run to `out`; `overrides` are layers of settings, later ones win.

    `mlflow` is the address of an MLflow tracking store that follows the training. Raises UsageError (settings),
    EsadError (data, non-finite loss, other settings in `out`, no space, no memory), Stopped (SIGTERM).
    """
    from esad.preprocessing.store.store import Store

    opened = Store(store)
    settings = run_settings(opened, preset, overrides)
    if several() and opened.kind == "table":
        raise UsageError("Several processes are for pictures; a table trains in one: leave torchrun out.")
    with failures_in_words(out, settings):
        return _train(opened, settings, out, force, mlflow)


def _train(store: Store, settings: RunSettings, out: Path, force: bool, mlflow: str | None) -> Outcome:
    from esad.pipeline.training.run_folder import resolve_device
    from esad.preprocessing.store.store import remove_temporaries, write_table

    began, device = time.monotonic(), resolve_device(settings.device)
    with process_group(device) as ranks, ExitStack() as following:
        config = _config(store, settings)
        finished, *_ = any_of(ranks, is_first() and _already_finished(out, config, force))
        if finished:
            return _outcome(out, store, "Left alone (finished before)", settings)
        assignments = assignments_of(store, settings)
        items = in_memory(store, device)
        if not is_first():
            _fit(store, items, assignments, settings, out, None, ranks)
            return Outcome(out, "Trained.")
        remove_temporaries(out)
        write_table(out / "assignments.parquet", assignments)
        write_table(out / "sources.parquet", store.sources[["source", "fingerprint"]])
        write_durably(
            out / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode()
        )
        about = {
            name: config["store"][name] for name in ("name", "kind", "shape")
        }  # no paths leave the machine
        tracker = following.enter_context(tracked(mlflow, out, {**config, "store": about}))
        method, training = _fit(store, items, assignments, settings, out, tracker, ranks)
        _write_references(out, store, items, assignments, method, settings)
        seconds = round(time.monotonic() - began + training.pop("earlier"), 1)
        training = {**training, "processes": ranks.count if ranks else 1, "seconds": seconds}
        held = validation_figures(store, items, assignments, method, settings, out)
        found = {**training, "validation": held, "overlap": _overlap(assignments, settings)}
        _write_provenance(out, store, settings, found)
        write_model_card(out)
        _write_model(out, method)
    return _outcome(out, store, f"Wrote {out}", settings)


def run_settings(store: Store, preset: str | None, overrides: Sequence[dict[str, Any]]) -> RunSettings:
    """The settings of a run on `store`: its kind's, the preset's, the method's, then `overrides` (later ones win)."""
    method = next((layer["method"] for layer in reversed(overrides) if layer.get("method")), "esad")
    published = protocol_settings(store.settings) if store.kind == "tiles" else {}
    return resolve(RunSettings, *preset_settings(store.kind, preset, method), published, *overrides)


def _config(store: Store, settings: RunSettings) -> dict[str, Any]:
    described = {
        "path": str(store.root.resolve()), "name": store.root.name, "kind": store.kind,
        "shape": list(store.shape), "settings": store.settings, "inputs": store.description["inputs"],
        **({"columns": store.columns} if store.columns else {}),
    }  # fmt: skip
    return json.loads(json.dumps({**settings.model_dump(), "store": described}))


def _already_finished(out: Path, config: dict[str, Any], force: bool) -> bool:
    """True where `out` holds this very run; what is there is removed with `force`, or where it never got to a checkpoint."""
    path = out / "config.yaml"
    if out.exists() and any(not name.name.startswith(".") for name in out.iterdir()):
        if not path.exists() and not (out / "assignments.parquet").exists():
            raise EsadError(f"{out}: exists and is not a run; choose another --out.")
        before = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else config
        difference = first_difference(lasting(before), lasting(config))
        begun = any(out.glob("checkpoints/**/*.pt")) or (out / "model.safetensors").exists()
        if difference and not force and begun:
            raise EsadError(
                f"{out}: made with other settings ({difference}). Choose another --out, or --force to replace it."
            )
        if force or difference:
            _clear(out)
    return (out / "model.safetensors").exists()


def _clear(out: Path) -> None:
    """Empty the folder, which may be a mounted one, its settings last: killed meanwhile, it is still a run's."""
    for path in sorted(
        out.iterdir(), key=lambda path: (path.name == "config.yaml", path.name != "model.safetensors")
    ):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _fit(
    store: Store,
    items: Items,
    assignments: pd.DataFrame,
    settings: RunSettings,
    out: Path,
    tracker: Tracker | None = None,
    ranks: Ranks | None = None,
) -> tuple[Method, dict[str, Any]]:
    """The trained method; its steps, how often training started anew, and its seconds before this process."""
    from esad.models.methods.classic.shallow import CannotFit
    from esad.models.methods.registry import build
    from esad.models.training.augment import Augmentation
    from esad.models.training.fit import TrainingData, TrainingStep
    from esad.models.training.ranks import OneProcessOnly
    from esad.pipeline.training.engine import Diverged, run_engine
    from esad.pipeline.training.run_folder import resolve_device

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
            earlier = run_engine(step, settings, out, _checkpoints(out, restart), tracker)
            return method.eval(), {"steps": step.steps, "restarts": restart, "earlier": earlier}
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


def _checkpoints(out: Path, restart: int) -> Path:
    """Where the checkpoints of the first training, or of a later one at a lower rate, are."""
    return out / "checkpoints" / (f"restart-{restart}" if restart else "")


def _restarts_so_far(out: Path) -> int:
    return max(
        (int(path.name.removeprefix("restart-")) for path in (out / "checkpoints").glob("restart-*")),
        default=0,
    )


def _write_references(
    out: Path, store: Store, items: Items, assignments: pd.DataFrame, method: Method, settings: RunSettings
) -> None:
    """normals.parquet from the validation part's normals (training's where there is none), and the heat's scales."""
    from esad.models.training.augment import Augmentation
    from esad.pipeline.score import final_scores, raw_scores
    from esad.pipeline.scoring.heat import HeatMaps, mean_picture, score_weights
    from esad.pipeline.training.run_folder import resolve_device
    from esad.preprocessing.store.store import write_array, write_json, write_table

    normal = assignments[(assignments["label"].fillna(0) == 0)]
    held = normal[normal["part"] == "validation"]
    if held.empty:
        held = normal[normal["part"] == "train"]
        say("No normal item was held out (data.validation_share): reference scores come from training items.")
    augmentation = Augmentation(settings.data.crop, settings.data.flip)
    device = resolve_device(settings.device)
    positions = positions_of(store, held["item_id"])
    raw = raw_scores(method, items, positions, device, augmentation)
    raw.insert(0, "item_id", held["item_id"].to_numpy())
    normals = final_scores(raw, raw, settings.score.kind)
    write_table(out / "normals.parquet", normals.drop(columns="percentile"))
    if method.pictures:
        trained = assignments[(assignments["part"] == "train") & (assignments["semi_label"] != -1)]
        baseline = mean_picture(items, positions_of(store, trained["item_id"]), augmentation)
        write_array(out / "mean_normal.npy", baseline)
        maps = HeatMaps(method, baseline, score_weights(settings.score.kind, normals))
        write_json(out / "heat.json", maps.scales(items, positions, device, augmentation))


def _write_model(out: Path, method: Method) -> None:
    """Weights and buffers as safetensors, last of all, the other files safe on disk: it says that the run is finished."""
    from safetensors.torch import save

    for path in out.iterdir():
        if path.is_file():
            flush(path)
    state = {name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()}
    write_durably(out / "model.safetensors", save(state))


def _revision() -> str:
    """The commit of the checkout that this runs from, else what the image says (ESAD_REVISION), else `unknown`."""
    root = Path(__file__).resolve().parents[1]
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        with suppress(OSError, subprocess.CalledProcessError):  # no git, or a checkout of somebody else
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return os.environ.get("ESAD_REVISION", "unknown")


def _write_provenance(out: Path, store: Store, settings: RunSettings, training: dict[str, Any]) -> None:
    from esad.pipeline.training.run_folder import resolve_device
    from esad.preprocessing.store.store import write_json

    names = ("esad", "torch", "monai", "pytorch-ignite", "numpy", "pandas")
    content = {
        "seed": settings.seed,
        "device": str(resolve_device(settings.device)),
        **training,
        "git_revision": _revision(),
        "versions": {name: version(name) for name in names},
        "inputs": store.description["inputs"],
    }
    write_json(out / "provenance.json", content)


def _overlap(assignments: pd.DataFrame, settings: RunSettings) -> dict[str, float] | None:
    """What the published split shares between its sides; None for a clean one."""
    from esad.preprocessing.splits.published_split import overlap

    return overlap(assignments) if settings.data.split == "published" else None


def _outcome(out: Path, store: Store, verb: str, settings: RunSettings) -> Outcome:
    import pandas as pd

    table = pd.read_parquet(out / "assignments.parquet")
    counts = table["part"].value_counts().to_dict()
    labelled = int((table["semi_label"] == -1).sum())
    parts = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("train", "validation", "test"))
    message = f"{verb}: trained on {store.root.name} ({parts}; {labelled} labelled anomalies)."
    shared = _overlap(table, settings)
    if shared:
        message += f" {overlap_sentence(shared)}"
    summary = {
        "parts": {name: int(counts.get(name, 0)) for name in ("train", "validation", "test")},
        "labelled": labelled, "overlap": shared,
    }  # fmt: skip
    return Outcome(out, message, shlex.join(["esad", "score", str(out)]), 0, summary)


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["train", *sys.argv[1:]])
