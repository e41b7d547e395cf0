"""Checkpoints of a run: written so that no moment of a kill or of a full disk loses more than the last one.

A checkpoint holds weights, buffers, the optimiser's state, the next step (from which schedule, phase, order of items and
every random number follow: they are keyed by seed and step, so there is no random state to keep), the settings and the
versions; no time, so that two undisturbed runs end with the same bytes. Neither MONAI's CheckpointSaver (it writes into
the final name) nor ignite's DiskSaver (no flush to disk, the old file removed before the new one is written, files of
earlier processes forgotten) survives everything.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.log import log_path, read_log
from esad.pipeline.stage.progress import say
from esad.preprocessing.store.writing import write_bytes

if TYPE_CHECKING:
    import torch

FORMAT = 1
KEPT = 2
"""Checkpoints that stay: the newest, and the one before it in case the newest cannot be read."""
FREE = ("device", "checkpoint_seconds")
"""Settings that may differ when a run goes on: they do not change what is computed."""


def save_checkpoint(
    folder: Path, step: int, settings: Mapping[str, Any], state: Mapping[str, Any], arithmetic: str
) -> Path:
    """Write the checkpoint before `step`, then remove all but the KEPT newest ones.

    `arithmetic` says in words what the steps are computed on and in; going on in another one is said.
    """
    import torch

    machine = {**_machine(), "arithmetic": arithmetic}
    about = {"format": FORMAT, "settings": lasting(settings), "machine": machine}
    buffer = io.BytesIO()
    torch.save({"about": json.dumps(about), **state}, buffer)
    path = folder / f"checkpoint_iteration={step}.pt"
    write_bytes(path, buffer.getbuffer())
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def keep_the_last(out: Path) -> None:
    """Remove the checkpoints of RUN/checkpoints but the very last: which of them there are, the clock decided.

    Folders of trainings that were started anew stay, empty: their number is the run's number of restarts.
    """
    folders = [out / "checkpoints", *(out / "checkpoints").glob("restart-*")]
    last = max(folders, key=lambda folder: int(folder.name.partition("-")[2] or 0))
    for folder in folders:
        for old in _newest_first(folder)[1 if folder == last else 0 :]:
            old.unlink(missing_ok=True)


class CheckpointSeconds:
    """RUN/log/checkpoints.json (restart-N.json): the seconds that training had taken at each checkpoint, by step."""

    def __init__(self, out: Path, folder: Path) -> None:
        self.out, self.name = out, f"{folder.name}.json"
        self.known = {
            int(step): float(value)
            for step, value in read_log(out, self.name).items()
            if step.isdigit() and isinstance(value, (int, float))
        }

    def before(self, step: int, checkpoint: Mapping[str, Any]) -> float:
        """At the checkpoint before `step`; earlier versions wrote the seconds into the checkpoint itself."""
        return self.known.get(step, float(checkpoint.get("seconds", 0)))

    def add(self, step: int, seconds: float) -> None:
        """Note them, and forget all but those of the newest checkpoints; ahead of the checkpoint, so that a kill between
        the two costs nothing."""
        from esad.preprocessing.store.store import write_json

        steps = sorted({*(known for known in self.known if known < step), step})[-KEPT - 1 :]
        self.known = {known: self.known.get(known, 0.0) for known in steps} | {step: round(seconds, 1)}
        write_json(log_path(self.out, self.name), {str(known): self.known[known] for known in steps})


def load_checkpoint(
    folder: Path, device: torch.device, settings: Mapping[str, Any], arithmetic: str
) -> dict[str, Any] | None:
    """The newest readable checkpoint; None where there is none.

    An unreadable one is named and the one before it is taken. EsadError where it was written with other settings,
    another format or other versions, or may not be read.
    """
    for path in _newest_first(folder):
        content = _read(path, device)
        if content is not None:
            _check(path, json.loads(content["about"]), settings, arithmetic)
            return content
    return None


def _newest_first(folder: Path) -> list[Path]:
    files = [path for path in folder.glob("checkpoint_iteration=*.pt") if path.stem.split("=")[1].isdigit()]
    return sorted(files, key=lambda path: int(path.stem.split("=")[1]), reverse=True)


def _read(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The content, or None, said, where it cannot be read; torch itself does not look at a file's checksums."""
    import torch

    broken = torch.serialization.pickle.UnpicklingError  # what torch raises, weights alone being loaded
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise zipfile.BadZipFile(damaged)
        return torch.load(path, map_location=device, weights_only=True)
    except PermissionError as error:
        raise EsadError(
            f"{path}: may not be read; change its permissions, or start anew with --force."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, broken) as error:
        say(f"{path}: unreadable ({type(error).__name__}); trying the one before.")
        return None


def _check(path: Path, about: Mapping[str, Any], settings: Mapping[str, Any], arithmetic: str) -> None:
    """EsadError where going on would not be the same training; what only changes last bits is said."""
    anew = "or start anew with --force."
    if about["format"] != FORMAT:
        raise EsadError(
            f"{path}: a checkpoint of format {about['format']}, expected {FORMAT}. Go on with the esad that wrote it, {anew}"
        )
    difference = first_difference(about["settings"], lasting(settings))
    if difference:
        raise EsadError(f"{path}: written with other settings ({difference}). Go on with the former, {anew}")
    then, now = about["machine"], {**_machine(), "arithmetic": arithmetic}
    for name in ("esad", "torch"):
        old, new = (".".join(machine[name].split(".")[:2]) for machine in (then, now))
        if old != new:
            raise EsadError(
                f"{path}: written with {name} {then[name]}, this is {now[name]}. Go on with the former, {anew}"
            )
    changed = [f"{name} {then[name]} -> {now[name]}" for name in then if then[name] != now.get(name)]
    if changed:
        extent = "in more than" if then.get("arithmetic", arithmetic) != arithmetic else "in"
        say(
            f"Going on where things differ: {', '.join(changed)}. The weights may differ {extent} their last bits."
        )


def lasting(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, as JSON has them, without those of FREE."""
    return json.loads(json.dumps({name: value for name, value in settings.items() if name not in FREE}))


def _machine() -> dict[str, Any]:
    import torch

    processes = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    return {
        "esad": version("esad"),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "processes": processes,
    }
