"""What is mutated, and by which tests each part is held."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Files below the packages, and test files below tests/."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = {
    "figures": Group(
        tuple(f"pipeline/evaluation/measures/{name}.py" for name in ("metrics", "intervals", "froc")),
        ("pipeline/evaluation/measures",),
    ),
    "thresholds": Group(
        tuple(f"pipeline/thresholds/{name}.py" for name in ("conformal", "false_alarms", "shares", "worth_labelling")),
        tuple(f"pipeline/thresholds/test_{name}.py" for name in ("conformal", "false_alarms", "shares", "worth_labelling")),
    ),
    "splits": Group(
        ("preprocessing/splits/semisupervised.py", "preprocessing/splits/site_split.py", "preprocessing/splits/where.py"),
        ("preprocessing/splits/test_semisupervised.py", "preprocessing/splits/test_site_split.py"),
    ),
    "losses": Group(
        (
            "models/methods/esad.py", "models/methods/deep_sad.py", "models/methods/deep_svdd.py", "models/methods/hypersphere.py",
            "models/methods/cae.py", "models/methods/supervised.py", "models/scorer.py",
        ),
        ("models/methods/test_esad.py", "models/methods/test_hypersphere.py", "models/test_scorer.py"),
    ),
    "stain": Group(
        ("preprocessing/stain/fit.py", "preprocessing/stain/vahadane.py", "preprocessing/stain/dpa.py"),
        ("preprocessing/stain/test_vahadane.py", "preprocessing/stain/test_dpa.py"),
    ),
    "tiling": Group(
        tuple(f"preprocessing/slides/{name}.py" for name in ("tiling", "resampling", "rasterise")),
        ("preprocessing/slides/test_tiling.py", "preprocessing/slides/test_rasterise.py"),
    ),
    "store": Group(
        tuple(f"preprocessing/store/{name}.py" for name in ("shards", "digests", "csv_cells", "contents")),
        tuple(f"preprocessing/store/test_{name}.py" for name in ("shards", "digests", "csv_cells", "contents", "store")),
    ),
}  # fmt: skip
