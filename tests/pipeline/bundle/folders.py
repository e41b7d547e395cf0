"""A folder of pictures, the run that `esad` makes of it, its bundle, and MONAI's workflow of that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from esad.pipeline.cli.app import call
from tests.pipeline.stores import QUICK

SETTINGS = {
    **QUICK, "score.kind": "standardised", "data.flip": "both", "data.crop": 16, "data.labelled": "ratio", "data.gamma_l": 0.2,
    "data.validation_share": 0.2, "seed": 3,
}  # fmt: skip
SET = [f"--set={name}={value}" for name, value in SETTINGS.items()]


def write_pictures(folder: Path, seed: int = 0, normal: int = 60, anomalies: int = 40) -> None:
    """Faint spots in bad/, none in good/; copies, a turned and a colour picture, 16 bits, a damaged file, masks."""
    numbers = np.random.default_rng(seed)
    for name in ("good", "bad", "ground_truth"):
        (folder / name).mkdir(parents=True)
    for place in range(normal + anomalies):
        x = numbers.integers(60, 120, (18, 18), dtype=np.uint8)
        kind = "good" if place < normal else "bad"
        if kind == "bad":
            x[4:9, 4:9] += 12
        Image.fromarray(x).save(folder / kind / f"{place:03d}.png")
        if place % 10 == 0:
            Image.fromarray(x).save(folder / kind / f"{place:03d}-copy.bmp")
    ramp = numbers.integers(60, 120, (18, 18), dtype=np.uint8) + np.arange(18, dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(ramp).save(folder / "good" / "turned.png", exif=turned)
    Image.fromarray(np.stack([ramp, ramp // 2, ramp // 3], -1)).save(folder / "good" / "colour.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(folder / "good" / "wide.png")
    Image.fromarray(ramp).save(folder / "ground_truth" / "mask.png")
    (folder / "good" / "damaged.png").write_bytes((folder / "good" / "000.png").read_bytes()[:60])


def run_of(pictures: Path, out: Path, *more: str) -> Path:
    """`esad images PICTURES` and `esad train`, in `out`: the run."""
    call(["images", str(pictures), "--out", str(out / "store"), *more])  # status 3: one is damaged
    assert call(["train", str(out / "store"), "--out", str(out / "run"), *SET]) == 0
    return out / "run"


def run_bundle(bundle: Path, *names: str, **override: Any) -> Any:
    """Run configurations of a bundle, layered, in this process; returns MONAI's workflow."""
    from monai.bundle import ConfigWorkflow

    files = [str(bundle / "configs" / name) for name in names]
    workflow = ConfigWorkflow(files, logging_file=False, bundle_root=str(bundle), **override)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return workflow


def weights(bundle: Path) -> dict[str, torch.Tensor]:
    return torch.load(bundle / "models" / "model.pt", weights_only=True)


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
