"""An encoder of timm with weights in a local file, safetensors or pth: timm builds the network, and nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from esad.models.encoders.digests import digest_of
from esad.models.encoders.encoder import Encoder, joined, pooled
from esad.models.encoders.preparation import UnknownEncoder, beside, first_line, from_mapping

if TYPE_CHECKING:
    from esad.models.encoders.request import EncoderRequest

HEADS = ("head.", "fc.", "classifier.", "head_dist.")
"""Of classifiers, which an encoder does without."""
WRAPPERS = ("state_dict", "model", "teacher", "module")
"""Names under which checkpoints keep their weights."""
PREFIXES = ("module.", "backbone.", "encoder.")


class TimmEncoder(Encoder):
    """The pooled features of a network of timm, or means of its modules, by their names."""

    def __init__(self, path: Path, request: EncoderRequest, device: torch.device) -> None:
        """UnknownEncoder where timm is not installed, the architecture is not said or unknown, or the weights do not fit it."""
        told, content = beside(path)
        architecture = request.architecture or content.get("architecture")
        if not architecture:
            raise UnknownEncoder(
                f"{path.name}: weights alone do not say of which network they are; give its name in timm with --architecture NAME, or lay "
                "timm's config.json beside them."
            )
        timm = _timm(path)
        arguments = content.get("model_args") if isinstance(content.get("model_args"), Mapping) else {}
        try:
            network = timm.create_model(
                str(architecture), pretrained=False, num_classes=0, **dict(arguments or {})
            )
        except Exception as error:
            raise UnknownEncoder(
                f"--architecture {architecture}: timm does not make it ({first_line(error)})."
            ) from error
        load_into(network, read_state(path), path.name, str(architecture))
        self.network = network.to(device).eval().requires_grad_(False)
        self.name, self.digest, self.layers = path.name, digest_of([path]), tuple(request.layers)
        own = from_mapping(getattr(network, "pretrained_cfg", None) or {}, str(architecture))
        whole = told.or_else(own)
        ways = told.interpolation or (own.interpolation if told.mean is None else None)
        channels = int(getattr(network, "pretrained_cfg", {}).get("input_size", (3,))[0])
        self.preparation = replace(whole, channels=channels, interpolation=ways)
        self.fixed_size = bool(getattr(network, "pretrained_cfg", {}).get("fixed_input_size"))
        self.note = (
            "" if told.mean else f"Size, mean and scale are those of timm's own description of {architecture}"
        )
        self._modules = dict(network.named_modules())
        wrong = next((name for name in self.layers if name not in self._modules), None)
        if wrong is not None:
            shown = [name for name in self._modules if name and name.count(".") <= 1]
            raise UnknownEncoder(f"{architecture} has no module {wrong!r}; it has {', '.join(shown[:24])}.")

    def encode(self, x: Tensor) -> Tensor:
        """`Encoder.encode`."""
        if not self.layers:
            return pooled(self.network(x), "output")
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            return lambda _module, _inputs, output: found.__setitem__(name, output)

        hooks = [self._modules[name].register_forward_hook(keep(name)) for name in self.layers]
        try:
            self.network(x)
        finally:
            for hook in hooks:
                hook.remove()
        return joined([found[name] for name in self.layers], self.layers)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a checkpoint that holds nothing but tensors and plain values, never unpickled.

    UnknownEncoder where it is none.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UnknownEncoder(f"{path.name}: cannot be read as weights ({first_line(error)}).") from error
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UnknownEncoder(f"{path.name}: holds no tensors by name.")
    return content


def load_into(network: nn.Module, state: Mapping[str, Tensor], name: str, architecture: str) -> None:
    """Put the weights into the network; those of a classifier are left out. UnknownEncoder where any other is missing or over."""
    wanted = network.state_dict()
    state = {
        key: value
        for key, value in without_prefix(state, list(wanted)).items()
        if not key.startswith(HEADS) or key in wanted
    }
    lacking, over = [key for key in wanted if key not in state], [key for key in state if key not in wanted]
    unlike = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    for keys, what in ((lacking, "lacks"), (over, "has, beside it,"), (unlike, "has another shape of")):
        if keys:
            raise UnknownEncoder(
                f"{name} is not of {architecture}: it {what} {keys[0]}{f' and {len(keys) - 1} more' if len(keys) > 1 else ''}. Is "
                "--architecture right?"
            )
    network.load_state_dict(state)


def without_prefix(state: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
    """The tensors without what a trainer put before all names, where only without it they are the network's."""
    if any(key in state for key in wanted):
        return dict(state)
    for prefix in PREFIXES:
        bare = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if any(key in bare for key in wanted):
            return bare
    return dict(state)


def _timm(path: Path) -> Any:
    try:
        import timm  # noqa: PLC0415  an extra
    except Exception as error:
        raise UnknownEncoder(
            f"{path.name}: the network is built by timm, which is not here ({first_line(error)}); pip install 'esad[timm]', or export the "
            "encoder to ONNX."
        ) from error
    return timm
