"""A run on pictures as a MONAI Bundle: its input contract, its network and weights, and how it scores and trains on image files.

`esad.models.scorer.PictureScorer` is the network, so the bundle runs where esad is installed. The format is MONAI's own:
https://docs.monai.io/en/latest/mb_specification.html
"""

from __future__ import annotations

import json
from importlib.machinery import all_suffixes
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.exporting.bundle_configs import (
    LOGGING,
    SCORES,
    evaluate,
    inference,
    multi_gpu_train,
    settings_of,
    train,
)
from esad.pipeline.exporting.input_contract import input_contract
from esad.pipeline.exporting.model_card import data_manifest, model_card, stands_on_backbone
from esad.pipeline.exporting.onnx_model import OUTPUTS
from esad.pipeline.runs.run_folder import Run
from esad.pipeline.scoring.scores import score_formula
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.progress import quiet
from esad.pipeline.thresholds.reference_sets import ReferenceSets, Rule
from esad.preprocessing.store.kinds import ROWS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from esad.preprocessing.store.store import Store

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
"""Where `python -m monai.bundle verify_metadata` fetches its schema, unless a file of it is there already."""
CHANNELS = (1, 3)
"""Of pictures that image files can hold: grey, RGB."""
CODE = frozenset(all_suffixes())
"""Endings of what Python can import."""
MODALITIES = {"tiles": "H&E", "radiographs": "CR"}


def write_bundle(run: Run, folder: Path) -> None:
    """Write configs/, models/model.pt, docs/ into `folder`, which must exist; EsadError for a run on tables or embeddings."""
    import torch

    if run.store["kind"] in ROWS or run.store["shape"][2] not in CHANNELS:
        raise EsadError(
            f"{run.root}: a MONAI bundle scores grey or RGB image files, this run takes {_taken(run)}. Use --to onnx."
        )
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir()
    network, weights = _network(run)
    torch.save(weights, folder / "models" / "model.pt")  # a state dict: loads with weights_only
    _write(folder / "configs" / "metadata.json", _metadata(run))
    for name, content in _programs(run, network).items():
        _write(folder / "configs" / name, content)
    (folder / "configs" / "logging.conf").write_text(LOGGING, encoding="utf-8")
    (folder / "docs" / "README.md").write_text(model_card(run.root) + _use(), encoding="utf-8")
    manifest = data_manifest(run.store)
    if manifest:
        licence = f"{manifest.title}\n\nLicence of the data: {manifest.licence}\nSource: {manifest.source}\n"
        (folder / "docs" / "data_license.txt").write_text(licence, encoding="utf-8")


def _use() -> str:
    """How to score, train, evaluate and check, as Markdown."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("esad.pipeline.exporting")
    environment = Environment(loader=loader, autoescape=False, keep_trailing_newline=True)
    return environment.get_template("bundle_use.md.j2").render(
        esad=version("esad"), monai=version("monai"), scores=SCORES
    )


def check_bundle(run: Run, folder: Path) -> None:
    """EsadError where a configuration is not the one that this run's bundle has, or code lies beside them: MONAI runs both."""
    remedy = f"Make it anew: esad export {run.root} --to bundle --force"
    for name, content in _programs(run, _network(run)[0]).items():
        path = folder / "configs" / name
        if json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(content)):
            raise EsadError(f"{path}: was changed, and would be run as a program. {remedy}")
    path = folder / "configs" / "logging.conf"
    if path.read_text(encoding="utf-8") != LOGGING:
        raise EsadError(f"{path}: was changed, and would be run as a program. {remedy}")
    code = [path for path in sorted(folder.rglob("*")) if path.suffix in CODE]
    if code:  # MONAI puts the bundle's folder before the installed packages
        raise EsadError(f"{code[0]}: is no part of a bundle, and may be run as a program. {remedy}")


def _programs(run: Run, network: dict[str, Any]) -> dict[str, Any]:
    """File -> content of the configurations that MONAI runs."""
    return {
        "inference.json": inference(run, network), "train.json": train(run, network),
        "multi_gpu_train.json": multi_gpu_train(), "evaluate.json": evaluate(),
    }  # fmt: skip


def _taken(run: Run) -> str:
    return "rows" if run.store["kind"] in ROWS else f"pictures of {run.store['shape'][2]} channels"


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _network(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration that builds the network, but for its settings, and its state dict."""
    import torch

    from esad.models.methods.classic.fitted import FittedTensors
    from esad.models.scorer import PictureScorer

    method = run.method(torch.device("cpu"))
    fitted = {
        name: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        for module in method.modules() if isinstance(module, FittedTensors) for name, value in module.named_buffers()
    }  # fmt: skip
    arguments: dict[str, Any] = {
        "shape": list(run.store["shape"]), "crop": run.settings.data.crop,
        "formula": {name: list(each) for name, each in score_formula(run.settings.score.kind, run.normals).items()},
        "fitted": fitted or None,
    }  # fmt: skip
    scorer = PictureScorer(settings_of(run), **arguments)
    scorer.method.load_state_dict(method.state_dict())
    return {"_target_": "esad.models.scorer.PictureScorer", **arguments}, scorer.state_dict()


def _installed_weights(run: Run) -> bool:
    """Whether the network looks through the weights of a package, which must be installed where the bundle runs."""
    return stands_on_backbone(run.settings.model_dump()) and run.settings.backbone.weights is None


def _metadata(run: Run) -> dict[str, Any]:
    """The contract, by the keys of MONAI's specification."""
    from esad.models.methods.pretrained.backbone import LITE0
    from esad.models.methods.registry import METHODS

    height, width, channels = run.store["shape"]
    sentences = input_contract(run.store, run.settings.data.crop)
    title = METHODS[run.settings.method].title
    names = ["grey"] if channels == 1 else ["red", "green", "blue"]
    manifest = data_manifest(run.store)
    image = {
        "type": "image", "format": "magnitude", "modality": MODALITIES.get(run.store["kind"], "n/a"),
        "num_channels": channels, "spatial_shape": [height, width], "dtype": "float32", "value_range": [0, 1],
        "is_patch_data": run.store["kind"] == "tiles", "channel_def": dict(enumerate(names)),
        "description": " ".join(sentences),
    }  # fmt: skip
    pred = {
        "type": "tuples", "format": "regression", "modality": "n/a", "num_channels": len(OUTPUTS), "spatial_shape": [],
        "dtype": "float32", "value_range": [], "is_patch_data": False, "channel_def": dict(enumerate(OUTPUTS)),
    }  # fmt: skip
    needed = {name: version(name) for name in ("esad", "pytorch-ignite", "pillow")}
    if _installed_weights(run):
        needed |= {LITE0.distribution: LITE0.version}
    return {
        "schema": SCHEMA, "version": "0.1.0", "changelog": {"0.1.0": "exported by esad"},
        "monai_version": version("monai"), "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": needed,
        "name": f"{title}, trained on {run.store['name']}",
        "task": f"Anomaly scores of {run.store['kind']}",
        "description": f"{title}. A high score is unlike the normals of training. {' '.join(sentences)}",
        "authors": "whoever trained it, with esad", "copyright": "of whoever trained it",
        **({"data_source": manifest.source, "references": manifest.citations} if manifest else {}),
        "data_type": "image files", "image_classes": image["description"],
        "label_classes": "0 normal, 1 anomaly; for evaluation, and to train with labelled anomalies",
        "pred_classes": "score (higher: less like the normals), and its terms reconstruction and norm",
        "thresholds": ReferenceSets.of(run.normals, Rule(), str(run.root)).described(),
        "intended_use": "Research. Not a medical device; docs/README.md states the limits.",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }  # fmt: skip


def bundle_scores(folder: Path, store: Store, positions: np.ndarray) -> pd.DataFrame:
    """OUTPUTS of the items at `positions`, written as PNG files and scored by the bundle's own inference.json on the CPU."""
    import tempfile

    import pandas as pd
    from PIL import Image

    with tempfile.TemporaryDirectory(prefix="esad-verify-") as place:
        pictures = Path(place) / "pictures"
        pictures.mkdir()
        for number, item in enumerate(store.read(positions)):
            Image.fromarray(item.squeeze(-1) if item.shape[-1] == 1 else item).save(
                pictures / f"{number:06d}.png"
            )
        with quiet():
            from monai.bundle import ConfigWorkflow

            workflow = ConfigWorkflow(
                config_file=str(folder / "configs" / "inference.json"),
                meta_file=str(folder / "configs" / "metadata.json"),
                logging_file=False, workflow_type="inference", bundle_root=str(folder), dataset_dir=str(pictures),
                output_dir=place, device="$torch.device('cpu')",
            )  # fmt: skip
            workflow.initialize()
            workflow.run()
            workflow.finalize()
        table = pd.read_csv(Path(place) / SCORES)
    return table.sort_values("file")[list(OUTPUTS)].reset_index(drop=True)
