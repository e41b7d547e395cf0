"""An encoder by its name or file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from esad.models.encoders.encoder import Encoder
from esad.models.encoders.imagenet import NAME, ImagenetEncoder
from esad.models.encoders.preparation import UnknownEncoder
from esad.models.encoders.request import EncoderRequest
from esad.models.training.memory import keep_freed_memory

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin")


def load_encoder(request: EncoderRequest, device: torch.device) -> Encoder:
    """The encoder, ready on `device`; UnknownEncoder, in words, where it is not here, damaged, or does not say what it needs."""
    keep_freed_memory()  # a third of EfficientNet-Lite0's time went into getting memory anew
    path = Path(request.encoder).expanduser()
    if request.encoder == NAME:
        if request.mean or request.scale:
            raise UnknownEncoder(
                "encoder imagenet has a mean and scale of its own: leave --mean and --scale out."
            )
        encoder: Encoder = ImagenetEncoder(request.layers, device)
    elif path.suffix.lower() == ".onnx":
        from esad.models.encoders.onnx_model import OnnxEncoder  # noqa: PLC0415  an extra

        encoder = OnnxEncoder(_there(path), request, device)
    elif path.suffix.lower() in WEIGHTS:
        from esad.models.encoders.timm_model import TimmEncoder  # noqa: PLC0415  an extra

        encoder = TimmEncoder(_there(path), request, device)
    else:
        raise UnknownEncoder(
            f"--encoder {request.encoder}: expected {NAME}, or a file: FILE.onnx, FILE.safetensors or FILE.pth with --architecture NAME."
        )
    stated = request.stated
    ways = encoder.preparation
    if stated.size and ways.size and stated.size != ways.size and getattr(encoder, "fixed_size", False):
        raise UnknownEncoder(
            f"{encoder.name} takes pictures of {ways.size[0]} x {ways.size[1]} pixels alone: leave --size out."
        )
    encoder.preparation = replace(
        ways, size=stated.size or ways.size, mean=stated.mean or ways.mean, scale=stated.scale or ways.scale
    ).check(encoder.name)
    return encoder


def _there(path: Path) -> Path:
    if not path.is_file():
        raise UnknownEncoder(f"--encoder {path}: no such file.")
    return path
