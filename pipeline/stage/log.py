"""FOLDER/log: what a stage says of its moment and its machine, so that nothing else in the folder depends on them.

Two undisturbed runs of the same commands write the same bytes but for what is in here. No stage needs it: without it
seconds count from 0, and a scores folder that was moved away from its run no longer finds it.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = "log"


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def log_path(folder: Path, name: str) -> Path:
    """FOLDER/log/`name`."""
    return folder / FOLDER / name


def write_log(folder: Path, stage: str, began: datetime, **more: Any) -> None:
    """FOLDER/log/STAGE.json: when the stage's last process began and ended (UTC, ISO 8601), its machine, and `more`."""
    from esad.preprocessing.store.store import write_json

    content = {
        "began": began.isoformat(timespec="seconds"), "ended": now().isoformat(timespec="seconds"),
        "host": platform.node(), "platform": platform.platform(), "processor": processor(), **more,
    }  # fmt: skip
    write_json(log_path(folder, f"{stage}.json"), content)


def read_log(folder: Path, name: str) -> dict[str, Any]:
    """The content of FOLDER/log/`name`, JSON; empty where there is none that can be read, since nothing depends on it."""
    try:
        found = json.loads(log_path(folder, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def processor() -> str:
    """The machine's processor, and the instructions that torch's kernels use on it, for example `x86_64, AVX512`."""
    import torch

    return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
