"""An encoder in an ONNX file, by ONNX Runtime: its signature says size, layout and type of what it takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from esad.models.encoders.digests import digest_of
from esad.models.encoders.encoder import Encoder, joined
from esad.models.encoders.onnx_weights import files_beside
from esad.models.encoders.preparation import Preparation, UnknownEncoder, beside, first_line, from_mapping

if TYPE_CHECKING:
    from esad.models.encoders.request import EncoderRequest

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
CHANNELS = (1, 3)
DESCRIPTION = ("pretrained_cfg", "config", "preprocessing")
"""Names in the file's metadata whose value is a description in JSON."""


class OnnxEncoder(Encoder):
    """Outputs, or inner tensors by their names, of an ONNX model of one input of pictures."""

    differentiable = False

    def __init__(self, path: Path, request: EncoderRequest, device: torch.device) -> None:
        """UnknownEncoder where ONNX Runtime is not installed, the file is no such model, or which output is meant is not plain."""
        try:
            import onnxruntime  # noqa: PLC0415  an extra
        except ImportError as error:
            raise UnknownEncoder(
                f"{path.name}: ONNX is run by ONNX Runtime; pip install 'esad[export]'."
            ) from error
        self.name, self.layers = path.name, tuple(request.layers)
        self.digest = digest_of([path, *files_beside(path)])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1 if device.type == "cpu" else 0
        options.log_severity_level = 3
        here = onnxruntime.get_available_providers()
        cuda = device.type == "cuda" and "CUDAExecutionProvider" in here
        providers = [("CUDAExecutionProvider", {"device_id": device.index or 0})] if cuda else []
        try:
            content: Any = str(path) if not self.layers else with_outputs(path, self.layers)
            self.session = onnxruntime.InferenceSession(
                content, options, providers=[*providers, "CPUExecutionProvider"]
            )
        except UnknownEncoder:
            raise
        except Exception as error:
            raise UnknownEncoder(
                f"{path.name}: ONNX Runtime does not take it ({first_line(error)})."
            ) from error
        self._read_signature(path)

    def _read_signature(self, path: Path) -> None:
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in TYPES:
            told = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise UnknownEncoder(
                f"{path.name}: takes {told}; expected one batch of pictures, float32, float16 or uint8."
            )
        self.input, self.dtype = inputs[0].name, TYPES[inputs[0].type]
        batch, *sides = inputs[0].shape
        self.batch = batch if isinstance(batch, int) and batch > 0 else None
        known = [side if isinstance(side, int) and side > 0 else None for side in sides]
        first, last = known[0] in CHANNELS, known[2] in CHANNELS
        if first == last:
            raise UnknownEncoder(
                f"{path.name}: takes {inputs[0].shape}, of which no axis, or more than one, can be the channels (1 or 3); export it with "
                "fixed channels."
            )
        self.channels_last = last
        height, width = (known[0], known[1]) if last else (known[1], known[2])
        channels = (known[2] if last else known[0]) or 3
        metadata = self.session.get_modelmeta().custom_metadata_map
        said = beside(path)[0].or_else(_of_metadata(metadata, path.name))
        signature = (height, width) if height and width else None
        self.fixed_size = signature is not None
        self.preparation = replace(
            said, size=signature or said.size, channels=channels, raw=self.dtype is np.uint8
        )
        names = [each.name for each in self.session.get_outputs()]
        if not self.layers and len(names) > 1:
            raise UnknownEncoder(f"{path.name}: gives {', '.join(names)}; say which with --layers.")
        self.outputs = list(self.layers) or names

    def encode(self, x: Tensor) -> Tensor:
        """`Encoder.encode`, in batches of the size that the model was made for, where it was made for one."""
        size = self.batch or len(x)
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            lacking = size - len(part)
            full = torch.cat([part, part[-1:].expand(lacking, -1, -1, -1)]) if lacking else part
            parts.append(self._run(full)[: len(part)])
        return torch.cat(parts)

    def _run(self, x: Tensor) -> Tensor:
        values = x.cpu().numpy()
        values = values.transpose(0, 2, 3, 1) if self.channels_last else values
        values = np.rint(values) if self.preparation.raw else values
        found = self.session.run(self.outputs, {self.input: np.ascontiguousarray(values.astype(self.dtype))})
        return joined([torch.from_numpy(np.asarray(each, dtype=np.float32)) for each in found], self.outputs)


def with_outputs(path: Path, names: Sequence[str]) -> bytes:
    """The model with the tensors `names`, inner ones too, as its outputs; UnknownEncoder where it has no such tensor."""
    try:
        import onnx  # noqa: PLC0415  an extra
    except ImportError as error:
        raise UnknownEncoder(
            f"{path.name}: --layers of an ONNX file need onnx; pip install 'esad[export]'."
        ) from error
    model = onnx.load(str(path))
    known = [name for node in model.graph.node for name in node.output if name]
    wrong = next((name for name in names if name not in known), None)
    if wrong is not None:
        shown = ", ".join(known[-12:])
        raise UnknownEncoder(f"{path.name} has no tensor {wrong!r}; its last ones are {shown}.")
    there = {each.name: each for each in model.graph.output}
    chosen = [there.get(name) or onnx.ValueInfoProto(name=name) for name in names]
    del model.graph.output[:]
    model.graph.output.extend(chosen)
    return model.SerializeToString()


def _of_metadata(stated: dict[str, str], name: str) -> Preparation:
    """What the file's own metadata say: mean, std, input_size and so on as JSON values, or a description in one of them."""
    content: dict[str, Any] = {}
    for key, text in stated.items():
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        content |= value if key in DESCRIPTION and isinstance(value, dict) else {key: value}
    known = (
        "mean",
        "std",
        "scale",
        "image_mean",
        "image_std",
        "size",
        "input_size",
        "image_size",
        "interpolation",
        "pretrained_cfg",
    )
    return from_mapping({key: content[key] for key in known if key in content}, name)
