"""What a person said of an encoder, from the words of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.settings.config import resolve
from esad.pipeline.settings.embeddings import EncoderSettings
from esad.pipeline.stage.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esad.models.encoders.request import EncoderRequest


def encoder_settings(
    given: dict[str, Any], layers: Sequence[str] | None, mean: str | None, scale: str | None
) -> EncoderSettings:
    """The settings; UsageError for a mean or scale that is no number, or several of them by commas."""
    stated = {
        "layers": [name.strip() for each in layers or [] for name in each.split(",") if name.strip()] or None,
        "mean": _numbers("--mean", mean), "scale": _numbers("--scale", scale),
    }  # fmt: skip
    return resolve(
        EncoderSettings, {**given, **{name: value for name, value in stated.items() if value is not None}}
    )


def encoder_request(encoder: str, settings: EncoderSettings) -> EncoderRequest:
    """What is to be loaded; a file by its whole path, since a worker may stand in another folder."""
    from esad.models.encoders.request import EncoderRequest

    path = Path(encoder).expanduser()
    return EncoderRequest(
        str(path.resolve()) if path.suffix else encoder, settings.architecture, tuple(settings.layers), settings.size,
        tuple(settings.mean) if settings.mean else None, tuple(settings.scale) if settings.scale else None,
    )  # fmt: skip


def _numbers(option: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(
            f"{option} {text}: expected a number, or one a channel by commas, as 0.485,0.456,0.406."
        ) from error
