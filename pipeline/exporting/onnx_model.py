"""A run as one ONNX file: stored items in, final scores out; and its scores by ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.exporting.input_contract import input_contract
from esad.pipeline.runs.run_folder import Run
from esad.pipeline.scoring.scores import score_formula
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.progress import quiet
from esad.pipeline.thresholds.reference_sets import ReferenceSets, Rule

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch.onnx import ONNXProgram

    from esad.models.detector import Method
    from esad.models.scorer import StoredItemScorer
    from esad.preprocessing.store.store import Store

OPSET = 20
"""Of the default operator domain: what torch 2.13 writes without conversion, read by ONNX Runtime 1.17 and newer."""
FILE = "model.onnx"
OUTPUTS = ("score", "reconstruction", "norm")
BATCH = 64
MISSING = "is not installed, which exports need: pip install 'esad[export]' (make install does)."


def stored_item_scorer(run: Run) -> StoredItemScorer:
    """The run's trained method and its kind of score as one module, on the CPU in evaluation mode."""
    import torch

    from esad.models.scorer import StoredItemScorer

    formula = score_formula(run.settings.score.kind, run.normals)
    return StoredItemScorer(run.method(torch.device("cpu")), run.settings.data.crop, formula).eval()


def refuse_search(run: Run, method: Method, what: str) -> None:
    """EsadError where the method's score is no forward pass, so that no file of one can hold it."""
    if method.searches:
        raise EsadError(
            f"{run.root}: method {run.settings.method} searches for each item's score by an optimisation, which {what} cannot "
            f"hold; use `esad score`."
        )


def held_weights(scorer: StoredItemScorer, program: ONNXProgram) -> str:
    """What frozen weights of others `program` of `scorer` holds, with their licence; empty where it holds none."""
    from esad.models.methods.pretrained.backbone import LITE0, Backbone

    known = {LITE0.text(): " (Apache-2.0; trained on ImageNet, whose terms are for research)"}
    held = tuple(program.model.graph.initializers)
    found = {
        bytes(each.origin.tolist()).decode()
        for name, each in scorer.named_modules()
        if isinstance(each, Backbone) and any(one.startswith(f"{name}.") for one in held)
    }
    return "; ".join(sorted(text + known.get(text, "") for text in found))


def write_onnx(run: Run, path: Path) -> None:
    """Write the file. Input `items`: (N, H, W, C) uint8 or (N, D) float32, as stored, any N; outputs as
    `StoredItemScorer` says: OUTPUTS and, where the method reconstructs, `x_hat`.

    EsadError where a package is missing, or names the method that the exporter cannot do.
    """
    import torch

    shape = run.store["shape"]
    pictures = len(shape) == 3
    example = torch.zeros(2, *shape, dtype=torch.uint8 if pictures else torch.float32)
    names = list(OUTPUTS)
    scorer = stored_item_scorer(run)
    refuse_search(run, scorer.method, "ONNX")
    if scorer.method.reconstructs():
        names.append("x_hat")
    try:
        import onnxscript  # noqa: F401  # torch's exporter needs it

        with quiet():
            program = torch.onnx.export(
                scorer, (example,), dynamo=True, verbose=False, opset_version=OPSET, input_names=["items"],
                output_names=names, dynamic_shapes=({0: "N"},),
            )  # fmt: skip
    except ImportError as error:
        raise EsadError(f"{error.name or error} {MISSING}") from error
    except torch.onnx.OnnxExporterError as error:
        raise EsadError(
            f"{run.root}: method {run.settings.method} cannot be written as ONNX ({str(error).splitlines()[0]}); "
            f"use `esad score`, or --to bundle for pictures."
        ) from error
    assert program is not None
    contract = input_contract(run.store, run.settings.data.crop)
    told = {
        "method": run.settings.method, "score": run.settings.score.kind, "store": run.store["name"],
        "kind": run.store["kind"], "input": json.dumps(contract, ensure_ascii=False), "model": run.digest,
    }  # fmt: skip
    thresholds = ReferenceSets.of(run.normals, Rule(), str(run.root)).described()
    alarm = thresholds["sets"][0]
    told |= {
        "threshold": repr(alarm["threshold"]),
        "false_alarm_rate": repr(alarm["level"]),
        "normals": str(alarm["normals"]),
        "normals_held_out": json.dumps(thresholds["held_out"]),
    }
    weights = held_weights(scorer, program)
    if weights:
        told["weights"] = weights
    for node in program.model.graph.all_nodes():  # where in whose checkout each came from
        node.metadata_props.clear()
    program.model.metadata_props.update({f"esad.{name}": value for name, value in told.items()})
    program.save(path, external_data=False)


def onnx_scores(path: Path, store: Store, positions: np.ndarray) -> pd.DataFrame:
    """OUTPUTS of the items at `positions` by ONNX Runtime on the CPU, on as many threads as torch has."""
    import numpy as np
    import pandas as pd
    import torch

    try:
        import onnxruntime
    except ImportError as error:
        raise EsadError(f"{error.name} {MISSING}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    parts = []
    for start in range(0, len(positions), BATCH):
        items = store.read(positions[start : start + BATCH])
        parts.append(session.run(list(OUTPUTS), {"items": np.ascontiguousarray(items)}))
    return pd.DataFrame(
        {name: np.concatenate(values) for name, values in zip(OUTPUTS, zip(*parts, strict=True), strict=True)}
    )
