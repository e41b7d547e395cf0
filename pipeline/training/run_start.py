"""The folder of a run as its training begins: its settings, what is there already, what is removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from esad.pipeline.runs.run_files import check_weights, read_config
from esad.pipeline.settings.config import RunSettings, first_difference
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.training.checkpoints import keep_the_last, lasting
from esad.preprocessing.store.durable import empty_folder
from esad.preprocessing.store.writing import write_bytes

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.runs.grey_levels import GreyLevels
    from esad.preprocessing.store.store import Store


def run_config(store: Store, settings: RunSettings, labels_file: str | None = None) -> dict[str, Any]:
    """The content of config.yaml: the resolved settings, what store they are for, the digest of labels given for this run alone."""
    described = {
        "path": str(store.root.resolve()), "name": store.root.name, "kind": store.kind,
        "shape": list(store.shape), "settings": store.settings, "inputs": store.description["inputs"], "items": len(store),
        **({"columns": store.columns} if store.columns else {}), **({"labels_file": labels_file} if labels_file else {}),
    }  # fmt: skip
    return json.loads(json.dumps({**settings.model_dump(), "store": described}))


def already_finished(out: Path, config: dict[str, Any], force: bool) -> bool:
    """True where `out` holds this very run; what is there is removed with `force`, or where it never got to a checkpoint."""
    path = out / "config.yaml"
    if out.exists() and any(not name.name.startswith(".") for name in out.iterdir()):
        if not path.exists() and not (out / "assignments.parquet").exists():
            raise EsadError(f"{out}: exists and is not a run; choose another --out.")
        before = config if force or not path.exists() else read_config(out)
        difference = _difference(before, config)
        begun = any(out.glob("checkpoints/**/*.pt")) or (out / "model.safetensors").exists()
        if difference and not force and begun:
            told = "made with other settings"
            if difference.startswith("store.") and before["store"]["path"] == config["store"]["path"]:
                labels = before["store"].get("labels_file") != config["store"].get("labels_file")
                told = "made with other --labels" if labels else "its store was made anew since"
            raise EsadError(f"{out}: {told} ({difference}). Choose another --out, or --force to replace it.")
        if force or difference:
            empty_folder(out, "config.yaml", ["model.safetensors"])
    if not (out / "model.safetensors").exists():
        return False
    check_weights(out)
    keep_the_last(out)  # a kill may have come between the weights and this
    return True


def _difference(before: dict[str, Any], config: dict[str, Any]) -> str | None:
    """The first setting, or fact of the store, in which two contents of config.yaml differ.

    Runs that are older than `store.items` say nothing of it.
    """
    now = config["store"]
    if "items" not in before["store"]:
        now = {name: value for name, value in now.items() if name != "items"}
    return first_difference(lasting(before), lasting({**config, "store": now}))


def shown_config(config: dict[str, Any]) -> dict[str, Any]:
    """What a tracking server is told: the settings, and of the store no path."""
    return {**config, "store": {name: config["store"][name] for name in ("name", "kind", "shape")}}


def write_start(
    out: Path,
    store: Store,
    assignments: pd.DataFrame,
    config: dict[str, Any],
    levels: GreyLevels | None = None,
) -> None:
    """What is known before training: which item is for what, which inputs the items came from, the sites' grey levels, the settings."""
    from esad.preprocessing.store.store import remove_temporaries, write_table

    remove_temporaries(out)
    write_table(out / "assignments.parquet", _with_groups(assignments, store))
    write_table(out / "sources.parquet", store.sources[["source", "fingerprint"]])
    if levels is not None:
        levels.write(out)
    write_bytes(out / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode())


def _with_groups(assignments: pd.DataFrame, store: Store) -> pd.DataFrame:
    """`assignments` with the `group` of each item, null without: items of these in another store are not new to the run."""
    groups = store.manifest.set_index("item_id")["group"].astype("string")
    return assignments.assign(group=groups.reindex(assignments["item_id"]).array)
