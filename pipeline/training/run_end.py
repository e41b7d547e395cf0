"""What ends a run: its provenance, and its weights as the last file."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.exporting.model_card import write_model_card
from esad.pipeline.runs.run_files import read_assignments
from esad.pipeline.runs.split_overlap import overlap_sentence
from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.training.checkpoints import keep_the_last
from esad.pipeline.training.validation import validation_figures
from esad.preprocessing.store.writing import write_bytes

if TYPE_CHECKING:
    import pandas as pd

    from esad.models.detector import Method
    from esad.models.training.fit import Items
    from esad.preprocessing.store.store import Store


def write_model(out: Path, method: Method) -> None:
    """Weights and buffers as safetensors, last of all, the other files safe on disk: it says that the run is finished."""
    from safetensors.torch import save

    from esad.preprocessing.store.durable import flush

    for path in out.iterdir():
        if path.is_file():
            flush(path)
    state = {name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()}
    write_bytes(out / "model.safetensors", save(state))


def _revision() -> str:
    """The commit of the checkout that this runs from, else what the image says (ESAD_REVISION), else `unknown`."""
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        with suppress(OSError, subprocess.CalledProcessError):  # no git, or a checkout of somebody else
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return os.environ.get("ESAD_REVISION", "unknown")


def write_provenance(out: Path, store: Store, settings: RunSettings, training: dict[str, Any]) -> None:
    """provenance.json: seed, device, versions, commit, inputs, and what training told of itself; no time."""
    from esad.pipeline.runs.run_folder import resolve_device
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


def labelled_classes(manifest: pd.DataFrame, assignments: pd.DataFrame) -> dict[str, int] | None:
    """Class -> how many of its items were labelled in training, sorted, others left out; None for a store without classes."""
    if "class_name" not in manifest or manifest["class_name"].isna().all():
        return None
    told = assignments["semi_label"].fillna(0) != 0
    ids = assignments.loc[told & (assignments["part"] == "train"), "item_id"]
    counts = manifest.loc[manifest["item_id"].isin(ids), "class_name"].value_counts()
    return {str(name): int(count) for name, count in counts.sort_index().items()}


def overlap_of(assignments: pd.DataFrame, settings: RunSettings) -> dict[str, float] | None:
    """What the published split shares between its sides; None for a clean one."""
    from esad.preprocessing.splits.published_split import overlap

    return overlap(assignments) if settings.data.split == "published" else None


def write_end(
    out: Path,
    store: Store,
    items: Items,
    assignments: pd.DataFrame,
    method: Method,
    settings: RunSettings,
    training: dict[str, Any],
) -> None:
    """What is known after training: figures of the validation part, provenance, model card and, last, the weights.

    The checkpoints but the last one are of no more use, and are removed.
    """
    held = validation_figures(store, items, assignments, method, settings, out)
    found = {**training, "validation": held, "overlap": overlap_of(assignments, settings)}
    found["labelled_classes"] = labelled_classes(store.manifest, assignments)
    write_provenance(out, store, settings, found)
    write_model_card(out)
    write_model(out, method)
    keep_the_last(out)


def run_outcome(out: Path, store: Store, verb: str, settings: RunSettings) -> Outcome:
    """What the run was trained on, in a line and as counts."""
    table = read_assignments(out)
    counts = table["part"].value_counts().to_dict()
    labelled = int((table["semi_label"] == -1).sum())
    parts = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("train", "validation", "test"))
    message = f"{verb}: trained on {store.root.name} ({parts}; {labelled} labelled anomalies)."
    shared = overlap_of(table, settings)
    if shared:
        message += f" {overlap_sentence(shared)}"
    summary = {
        "parts": {name: int(counts.get(name, 0)) for name in ("train", "validation", "test")},
        "labelled": labelled, "overlap": shared,
    }  # fmt: skip
    return Outcome(out, message, shlex.join(["esad", "score", str(out)]), 0, summary)
