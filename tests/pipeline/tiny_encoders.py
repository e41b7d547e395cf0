"""Encoders of a few numbers, made here: an ONNX file of two layers, and weights of a network that a made-up timm builds."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

MEAN, SCALE = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
WIDTH = 6
STATED = ["--mean", ",".join(map(str, MEAN)), "--scale", ",".join(map(str, SCALE))]
"""What `write_onnx`'s file does not say of itself, as options."""


def embedding(store: Path, encoder: Path, out: Path, *more: object) -> list[object]:
    """The words of `esad embed`."""
    return ["embed", store, "--encoder", encoder, "--out", out, *more]


def write_onnx(
    path: Path, size: int | None = 8, channels: int = 3, last: bool = False, batch: int | str = "batch", metadata: dict | None = None,
    kind: int = TensorProto.FLOAT, seed: int = 0, bright: bool = False,
) -> Path:  # fmt: skip
    """A convolution `map` of WIDTH channels, ReLU, and its mean over place, `vector`; `bright`: numbers rise with brightness."""
    numbers = np.random.default_rng(seed)
    weight = numbers.normal(size=(WIDTH, channels, 3, 3)).astype(np.float32)
    weight = np.abs(weight) if bright else weight
    side: int | str = size or "side"
    shape = [batch, side, side, channels] if last else [batch, channels, side, side]
    nodes, name = [], "pictures"
    if kind != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [name], ["as_float"], to=TensorProto.FLOAT))
        name = "as_float"
    if last:
        nodes.append(helper.make_node("Transpose", [name], ["channels_first"], perm=[0, 3, 1, 2]))
        name = "channels_first"
    nodes += [
        helper.make_node("Conv", [name, "weight"], ["map"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["map"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("pictures", kind, shape)],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [batch, WIDTH])], [numpy_helper.from_array(weight, "weight")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in (metadata or {}).items():
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))
    onnx.save(model, str(path))
    return path


class TinyNetwork(nn.Module):
    """What the made-up timm builds: a convolution, tokens, and a classifier unless it has no classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, stride=2, padding=1)
        self.block = nn.Conv2d(WIDTH, 4, 1)
        self.head = nn.Linear(4, classes) if classes else nn.Identity()
        self.pretrained_cfg = {
            "input_size": (3, 16, 16),
            "mean": MEAN,
            "std": SCALE,
            "interpolation": "bicubic",
        }

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.stem(x).relu()).mean((2, 3)))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A package `timm` that builds `tiny`."""
    made = types.ModuleType("timm")

    def create_model(name: str, pretrained: bool, num_classes: int, **more: object) -> nn.Module:
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        assert not pretrained
        return TinyNetwork(num_classes)

    made.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", made)
    return made


def write_weights(path: Path, prefix: str = "", seed: int = 0) -> Path:
    """The weights of a tiny network with a classifier of five classes: safetensors, or a pth of a trainer."""
    torch.manual_seed(seed)
    state = {f"{prefix}{name}": value for name, value in TinyNetwork(5).state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": state}, path)
    return path
