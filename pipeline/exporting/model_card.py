"""RUN/model_card.md: what a model was trained on, what goes in and comes out, what it is for and what not.

It names the store, and no file, person or path.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.evaluation.explained import explained_sentence
from esad.pipeline.evaluation.sentence import reading_note
from esad.pipeline.exporting.input_contract import input_contract
from esad.pipeline.runs.run_files import read_assignments, read_config, read_normals, read_provenance
from esad.pipeline.runs.split_overlap import overlap_sentence
from esad.pipeline.stage.outcome import items_of

if TYPE_CHECKING:
    from esad.data_manifests.loader import DataManifest

CHOSEN = (
    "network.form", "network.width", "network.linear", "loss.lambda1", "loss.lambda2", "train.optimiser", "train.learning_rate",
    "train.batch_size", "data.where", "data.labelled", "data.split", "data.site", "data.validation_site",
    "data.site_normalisation", "data.crop", "data.flip", "score.kind",
)  # fmt: skip
"""Settings that the card repeats where they apply; all are in config.yaml."""
STANDARDISED = "the sum of both terms' distances from their medians over the reference normals (below), in median absolute deviations."


def data_manifest(store: Mapping[str, Any]) -> DataManifest | None:
    """The manifest of the published set that the store was made of by its protocol; None where that is unknown."""
    from esad.data_manifests.loader import load_manifest, manifest_names

    own = store["settings"]
    protocol = own.get("protocol") or ("camelyon16" if own.get("tile_list") else "")
    name = str(protocol).partition("-")[0]
    return load_manifest(name) if name in manifest_names() else None


def stands_on_backbone(config: Mapping[str, Any]) -> bool:
    """Whether the method, with its settings in `config` (config.yaml), looks through a frozen network of published weights."""
    from esad.models.methods.registry import METHODS
    from esad.models.settings import MethodSettings

    own = {name: value for name, value in config.items() if name in MethodSettings.model_fields}
    return "backbone" in METHODS[config["method"]].settings_read(MethodSettings(**own))


def model_card(run: Path, metrics: str | None = None) -> str:
    """The card as Markdown, from a run's files but the weights; `metrics` is where its figures will be, to link to."""
    from jinja2 import Environment, PackageLoader

    from esad.models.methods.registry import METHODS

    config = read_config(run)
    store, provenance, method = config["store"], read_provenance(run), METHODS[config["method"]]
    assignments, normals = read_assignments(run), read_normals(run)
    trained = assignments.loc[assignments["part"] == "train", "semi_label"]
    held = set(assignments.loc[assignments["part"] == "validation", "item_id"])
    counts = {
        "unlabelled": int((trained == 0).sum()), "anomalies": int((trained == -1).sum()),
        "normals": int((trained == 1).sum()), "references": len(normals),
        "held_out": bool(normals["item_id"].isin(held).all()),
        **{part: int((assignments["part"] == part).sum()) for part in ("validation", "test")},
    }  # fmt: skip
    overlap, reconstruction = provenance.get("overlap"), provenance.get("reconstruction")
    environment = Environment(
        loader=PackageLoader("esad.pipeline.exporting"), autoescape=False, keep_trailing_newline=True
    )
    return environment.get_template("model_card.md.j2").render(
        title=method.title, reading=reading_note(config["method"]), caution=method.caution if stands_on_backbone(config) else "",
        items=items_of(store["kind"]), store=store, counts=counts,
        provenance=provenance, versions=provenance["versions"], chosen=_chosen(config),
        overlap=overlap_sentence(overlap) if overlap else "", manifest=data_manifest(store),
        contract=input_contract(store, config["data"]["crop"]), formula=_formula(config),
        explained=explained_sentence(reconstruction) if reconstruction else "",
        reconstructs=method.reconstructs(), metrics=metrics,
    )  # fmt: skip


def write_model_card(run: Path) -> None:
    """RUN/model_card.md, with a link to where the figures of the run's own store will be."""
    from esad.preprocessing.store.store import write_atomically

    text = model_card(run, f"scores/{read_config(run)['store']['name']}/metrics.json")
    write_atomically(run / "model_card.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _formula(config: Mapping[str, Any]) -> str:
    """How the score is made of its terms, in words."""
    if config["score"]["kind"] == "standardised":
        return STANDARDISED
    if config["method"] != "esad":
        return "the method's own score."
    loss = config["loss"]
    weight = loss["lambda1"] if loss["score_lambda1"] is None else loss["score_lambda1"]
    block = loss["score_block"]
    of_blocks = f" of the means of blocks of {block} x {block} pixels" if block > 1 else ""
    return f"Eq. 9, the squared reconstruction error{of_blocks} plus {weight:g} times the squared norm of the code."


def _chosen(config: Mapping[str, Any]) -> dict[str, Any]:
    """CHOSEN's values that say something: what is unset, empty or Table 6's network is left out."""
    found = {}
    for name in CHOSEN:
        section, _, last = name.partition(".")
        value = config[section].get(last)  # older runs have fewer settings
        if value not in (None, {}, "none", "table6") and (section != "loss" or config["method"] == "esad"):
            found[name] = value
    return found
