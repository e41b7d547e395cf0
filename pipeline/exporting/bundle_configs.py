"""The configurations of an exported bundle, as MONAI's model zoo has them, of MONAI's components and those of `esad.pipeline.bundle`.

train.json stands alone; multi_gpu_train.json and evaluate.json are layered on it. Everything that a person may want to change
is at the top of a file or has a name of its own: https://docs.monai.io/en/latest/config_syntax.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esad.models.settings import MethodSettings
from esad.pipeline.exporting.onnx_model import OUTPUTS
from esad.pipeline.runs.run_files import read_provenance
from esad.pipeline.runs.run_folder import Run

SCORES = "scores.csv"
LOGGING = """[loggers]
keys=root

[handlers]
keys=console

[formatters]
keys=line

[logger_root]
level=INFO
handlers=console

[handler_console]
class=StreamHandler
level=INFO
formatter=line
args=(sys.stdout,)

[formatter_line]
format=%(asctime)s %(name)s %(levelname)s: %(message)s
"""
LOG_EVERY_STEPS = 20
VALIDATE_EVERY_EPOCHS = 10
HEADER = ",".join(("file", *OUTPUTS)) + "\\n"
BUNDLE = "esad.pipeline.bundle"
CUDA = "torch.cuda.is_available()"


def settings_of(run: Run) -> dict[str, Any]:
    """What builds and trains the network; the length of training is stated once, in steps or in epochs."""
    settings = run.settings.model_dump(mode="json", include=set(MethodSettings.model_fields))
    if settings["train"]["steps"] is not None:
        settings["train"]["epochs"] = None
    return settings


def inference(run: Run, network: dict[str, Any]) -> dict[str, Any]:
    """Image files to scores.csv."""
    return {
        "imports": ["$import pathlib", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "pictures",
        "output_dir": "$@bundle_root + '/scores'",
        "batch_size": 64,
        "device": f"$torch.device('cuda' if {CUDA} else 'cpu')",
        "datalist": {"_target_": f"{BUNDLE}.pictures.picture_files", "path": "@dataset_dir"},
        "settings": settings_of(run),
        "network_def": {**network, "settings": "@settings"},
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": _transforms(run)},
        "dataset": {"_target_": "Dataset", "data": "$[{'image': path} for path in @datalist]", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": "@batch_size", "num_workers": 0},
        "inferer": {"_target_": "SimpleInferer"},
        "handlers": [_loader("$@bundle_root + '/models/model.pt'"), _saver()],
        "evaluator": {
            "_target_": "SupervisedEvaluator", "device": "@device", "val_data_loader": "@dataloader",
            "network": "@network", "inferer": "@inferer", "val_handlers": "@handlers",
        },
        "initialize": _begun_scores(),
        "run": ["$@evaluator.run()"],
    }  # fmt: skip


def train(run: Run, network: dict[str, Any]) -> dict[str, Any]:
    """A folder of pictures to models/model.pt: the split, the batches and the weights of `esad train` with the run's settings."""
    own, data = run.store["settings"], run.settings.data
    restarts = int(read_provenance(run.root).get("restarts") or 0)
    shown = {"_disabled_": "$@rank > 0"}
    logged = {"iteration_log": f"$lambda engine, number: number % {LOG_EVERY_STEPS} == 1"}
    return {
        "imports": ["$import os", "$import pathlib", "$import torch", "$import torch.distributed as dist",
                    "$import ignite.distributed as idist"],
        "bundle_root": ".",
        "dataset_dir": "pictures",
        "labels_file": None,
        "ckpt_dir": "$@bundle_root + '/models'",
        "output_dir": "$@bundle_root + '/training'",
        "device": f"$torch.device('cuda' if {CUDA} else 'cpu')",
        "rank": 0,
        "ranks": None,
        "seed": run.settings.seed,
        "epochs": "@settings#train#epochs",
        "val_interval": VALIDATE_EVERY_EPOCHS,
        "val_batch_size": 64,
        "score": run.settings.score.kind,
        "shape": list(run.store["shape"]),
        "classes": _classes(own),
        "where": own.get("where") or {},
        "data": data.model_dump(mode="json"),
        "settings": settings_of(run),
        "network_def": {
            "_target_": network["_target_"], "settings": "@settings", "shape": "@shape", "crop": "@data#crop",
            "formula": {"_target_": f"{BUNDLE}.items.formula_of", "score": "@score"}, "seed": "@seed",
        },
        "network": "$@network_def.to(@device)",
        "pictures": {
            "_target_": f"{BUNDLE}.pictures.PictureFolder", "folder": "@dataset_dir", "shape": "@shape", "size": _size(run),
            "labels_file": "@labels_file", "classes": "@classes", "where": "@where", "data": "@data", "seed": "@seed",
        },
        "items": {
            "_target_": f"{BUNDLE}.items.DatasetItems", "training": "@train#dataset", "validation": "@validate#dataset",
            "shape": "@shape", "device": "@device",
        },
        "references": {"_target_": f"{BUNDLE}.items.ReferenceScores", "network": "@network", "items": "@items"},
        "train": {
            "deterministic_transforms": _transforms(run),
            "random_transforms": [],
            "preprocessing": {
                "_target_": "Compose", "transforms": "$@train#deterministic_transforms + @train#random_transforms",
            },
            "dataset": {
                "_target_": "Dataset", "data": "$@pictures.part('train')", "transform": "@train#preprocessing",
            },
            "inferer": {"_target_": "SimpleInferer"},
            "handlers": [
                {"_target_": "ValidationHandler", "validator": "@validate#evaluator", "interval": "@val_interval",
                 "_disabled_": "$@val_interval < 1"},
                {"_target_": "StatsHandler", **shown, "tag_name": "train_loss",
                 "output_transform": "$lambda terms: terms['loss']", **logged},
                {"_target_": "TensorBoardStatsHandler", **shown, "log_dir": "@output_dir",
                 "output_transform": "$lambda terms: terms", **logged},
                {"_target_": "CheckpointSaver", **shown, "save_dir": "@ckpt_dir", "save_dict": {"model": "@network"},
                 "save_final": True, "final_filename": "model.pt"},
            ],
            "trainer": {
                "_target_": f"{BUNDLE}.trainer.trainer", "network": "@network", "items": "@items", "references": "@references",
                "device": "@device", "max_epochs": "@epochs", "flip": "@data#flip", "rate": 0.5**restarts, "ranks": "@ranks",
                "train_handlers": "@train#handlers",
            },
        },
        "validate": _validation(shown),
        "initialize": ["$pathlib.Path(@output_dir).mkdir(parents=True, exist_ok=True)"],
        "run": ["$@train#trainer.run()"],
    }  # fmt: skip


def multi_gpu_train() -> dict[str, Any]:
    """Over train.json, under torchrun: each process trains its share of each batch, and the first alone writes."""
    sampler = {
        "_target_": "DistributedSampler",
        "dataset": "@validate#dataset",
        "even_divisible": False,
        "shuffle": False,
    }
    return {
        "device": f"$torch.device('cuda', int(os.environ['LOCAL_RANK'])) if {CUDA} else torch.device('cpu')",
        "backend": f"$'cpu:gloo,cuda:nccl' if {CUDA} else 'gloo'",
        "rank": "$dist.get_rank()",
        "ranks": {
            "_target_": "esad.models.training.ranks.Ranks", "rank": "@rank", "count": "$dist.get_world_size()",
        },
        "validate#sampler": sampler,
        "validate#dataloader#sampler": "@validate#sampler",
        "initialize": [
            "$pathlib.Path(@output_dir).mkdir(parents=True, exist_ok=True)",
            f"${CUDA} and torch.cuda.set_device(@device)",
            "$dist.is_initialized() or dist.init_process_group(@backend)",
            "$idist.sync()",  # by all together: handlers of the first alone would wait for the others
        ],
        "finalize": ["$dist.is_initialized() and dist.destroy_process_group()"],
    }  # fmt: skip


def evaluate() -> dict[str, Any]:
    """Over train.json: scores.csv of a part of a labelled folder, AUC and average precision of it in metrics.csv."""
    return {
        "part": "test",
        "output_dir": "$@bundle_root + '/eval'",
        "validate#dataset#data": "$@pictures.part(@part)",
        "validate#handlers": [
            _loader("$@ckpt_dir + '/model.pt'"),
            {"_target_": "StatsHandler", "iteration_log": False},
            {"_target_": "MetricsSaver", "save_dir": "@output_dir", "metrics": ["auc", "average_precision"], "delimiter": ","},
            _saver(),
        ],
        "initialize": _begun_scores(),
        "run": ["$@validate#evaluator.run()"],
    }  # fmt: skip


def _validation(shown: Mapping[str, Any]) -> dict[str, Any]:
    """AUC and average precision of the validation part, as training goes on."""
    known = "$lambda output: ([item['pred'][0] for item in output], [item['label'] for item in output])"
    return {
        "preprocessing": {"_target_": "Compose", "transforms": "%train#deterministic_transforms"},
        "dataset": {
            "_target_": "Dataset", "data": "$@pictures.part('validation')", "transform": "@validate#preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader", "dataset": "@validate#dataset", "batch_size": "@val_batch_size", "num_workers": 0,
        },
        "inferer": {"_target_": "SimpleInferer"},
        "key_metric": {"auc": {"_target_": "ROCAUC", "output_transform": known}},
        "additional_metrics": {
            "average_precision": {"_target_": "monai.handlers.AveragePrecision", "output_transform": known},
        },
        "handlers": [
            "@references",
            {"_target_": "StatsHandler", **shown, "iteration_log": False},
            {"_target_": "TensorBoardStatsHandler", **shown, "log_dir": "@output_dir", "iteration_log": False},
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator", "device": "@device", "val_data_loader": "@validate#dataloader",
            "network": "@network", "inferer": "@validate#inferer", "key_val_metric": "@validate#key_metric",
            "additional_metrics": "@validate#additional_metrics", "val_handlers": "@validate#handlers",
        },
    }  # fmt: skip


def _transforms(run: Run) -> list[dict[str, Any]]:
    """An image file to (C, H, W) in [0, 1], as a store would hold it."""
    reader = {
        "_target_": f"{BUNDLE}.reader.PictureReader",
        "colour": "grey" if run.store["shape"][2] == 1 else "rgb",
        "size": _size(run),
    }
    return [
        {"_target_": "LoadImaged", "keys": "image", "reader": reader},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {
            "_target_": "ScaleIntensityRanged",
            "keys": "image",
            "a_min": 0,
            "a_max": 255,
            "b_min": 0,
            "b_max": 1,
        },
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
    ]


def _size(run: Run) -> int | None:
    """The square that `esad images` resized to; tiles and radiographs are made beforehand."""
    return run.store["settings"].get("size") if run.store["kind"] == "images" else None


def _classes(own: Mapping[str, Any]) -> dict[str, str]:
    """What the person said of class folders as the store was made."""
    said = [dict.fromkeys(own.get(f"{kind}_value") or [], kind) for kind in ("normal", "anomaly")]
    return {**said[0], **said[1], **(own.get("classes") or {})}


def _loader(path: str) -> dict[str, Any]:
    return {
        "_target_": "CheckpointLoader",
        "load_path": path,
        "load_dict": {"model": "@network"},
        "map_location": "@device",
    }


def _saver() -> dict[str, Any]:
    return {
        "_target_": "ClassificationSaver", "output_dir": "@output_dir", "filename": SCORES, "overwrite": False,
        "batch_transform": {"_target_": f"{BUNDLE}.reader.metas_for_csv", "_mode_": "callable"},
        "output_transform": "$lambda output: [item['pred'] for item in output]",
    }  # fmt: skip


def _begun_scores() -> list[str]:
    """scores.csv anew, with its header alone: MONAI's saver adds rows."""
    return [
        "$pathlib.Path(@output_dir).mkdir(parents=True, exist_ok=True)",
        f"$(pathlib.Path(@output_dir) / '{SCORES}').write_text('{HEADER}')",
    ]
