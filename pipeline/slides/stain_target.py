"""What stains are normalised towards: an image file, or a square of a slide as FILE@X,Y,SIDE in level-0 pixels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from esad.pipeline.stage.errors import InputError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from esad.preprocessing.stain.vahadane import StainFit

Fit = TypeVar("Fit")
SQUARE = re.compile(r"(?P<file>.+)@(?P<x>\d+),(?P<y>\d+),(?P<side>\d+)")


def target_picture(target: str) -> np.ndarray:
    """uint8 (H, W, 3) of the target; InputError where its file cannot be read, or the square leaves the slide."""
    from esad.preprocessing.slides.reading import Slide
    from esad.preprocessing.stain.vahadane import read_picture

    square = SQUARE.fullmatch(target)
    if square is None:
        return read_picture(Path(target))
    path, (x, y, side) = Path(square["file"]), (int(square[name]) for name in ("x", "y", "side"))
    with Slide(path, slide_mpp=1.0) as slide:
        if x + side > slide.width or y + side > slide.height:
            raise InputError(
                f"{path}: a square of {side} pixels at ({x}, {y}) leaves the slide of {slide.width} x {slide.height}."
            )
        return slide.region(x, y, 0, side, side)


@lru_cache(maxsize=4)
def target_fit(target: str | None) -> StainFit:
    """The stains of the target, once a process; None is the built-in one. InputError as `target_picture`, `fit_stain`."""
    from esad.preprocessing.stain.vahadane import builtin_target, fit_stain

    return builtin_target() if target is None else of_target(target, fit_stain)


@lru_cache(maxsize=4)
def dpa_target_matrix(target: str | None) -> np.ndarray:
    """As `target_fit`, for vahadane-dpa: the stain matrix (2, 3) of the picture at standardised brightness."""
    from esad.preprocessing.stain.dpa import builtin_matrix, fit_matrix, standardise_brightness

    if target is None:
        return builtin_matrix()
    return of_target(target, lambda picture: fit_matrix(standardise_brightness(picture)))


def of_target(target: str, fit: Callable[[np.ndarray], Fit]) -> Fit:
    """What `fit` makes of the target's picture; InputError names the target."""
    try:
        return fit(target_picture(target))
    except InputError as error:
        told = str(error)
        raise InputError(told if told.startswith(target) else f"{target}: {told}") from error


def target_digest(target: str | None, stain: str) -> str | None:
    """Name and digest of the target, which a run keeps; UsageError where it cannot serve, before any slide is read.

    `stain` is the method that will normalise towards it.
    """
    if target is None or stain == "none":
        return None
    square = SQUARE.fullmatch(target)
    path = Path(square["file"] if square else target)
    if not path.is_file():
        like = re.fullmatch(r"(.+):[0-9a-f]{16}", target)
        hint = f" The run was made towards {like[1]}: give that file with --stain-target." if like else ""
        raise UsageError(f"--stain-target {path}: no such file.{hint}")
    try:
        picture = target_picture(target)
        (dpa_target_matrix if stain == "vahadane-dpa" else target_fit)(target)
    except InputError as error:
        raise UsageError(f"--stain-target {error}") from error
    name = target.removeprefix(str(path.parent)).lstrip("/")
    digest = hashlib.sha256(path.name.encode() + (picture.tobytes() if square else path.read_bytes()))
    return f"{name}:{digest.hexdigest()[:16]}"
