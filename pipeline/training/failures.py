"""What the system refuses during training (space, permission, memory), in words for the person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.errors import CannotTrain, EsadError, explain


@contextmanager
def failures_in_words(out: Path, settings: RunSettings) -> Iterator[None]:
    """Turn what the system says within the block into an EsadError that names the file, or batch size and width."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(out)
        raise EsadError(explain(error)) from error
    except (RuntimeError, MemoryError) as error:
        said = str(error).lower()
        if isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said:
            sizes = (
                f"train.batch_size = {settings.train.batch_size}, network.width = {settings.network.width:g}"
            )
            raise CannotTrain(f"Out of memory with {sizes}: lower one of them and start again.") from error
        raise
