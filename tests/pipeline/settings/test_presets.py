"""Presets: the paper to the letter, one for each of its data sets, and where every setting comes from.

Numbers like 6.3 are the paper's sections; `PAGE.md#…` are headings of the pages in docs/explanation/.
"""

from __future__ import annotations

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from esad.models.methods.registry import build
from esad.models.networks import table6_widths
from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import run_job, source_row
from esad.pipeline.settings.config import (
    RadiographSettings,
    RunSettings,
    TileSettings,
    parse_assignments,
    resolve,
)
from esad.pipeline.settings.presets import BY_KIND, PAPER_SETS, preset_settings, run_settings
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.train import train
from esad.preprocessing.store.store import Store, write_unit

SOURCE = re.compile(r"[Pp]aper|\.md#|Table \d|Eq\. \d")
OURS = {
    "seed", "device", "checkpoint_seconds", "data.where", "data.normal_classes", "data.labelled_classes", "data.labelled",
    "data.site", "data.validation_site",
    "data.copies_together", "data.validation_share", "data.split_seed", "score.kind", "selection.by", "selection.min_gain",
    "train.steps", "train.warmup.steps",
    "train.compile", "train.precision", "ss_dgm.hidden", "isolation_forest.input", "oc_svm.input", "ssad.input", "oc_svm.rows", "ssad.rows",
    "method",
}  # fmt: skip
"""Settings of ours, about which neither the paper nor the codes it builds on say anything."""


def fields(model: type[BaseModel], prefix: str = ""):
    """(dotted name, docstring) of every setting that is not a section."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description or ""


def test_every_setting_of_training_says_where_it_comes_from():
    known = dict(fields(RunSettings))
    assert set(known) >= OURS
    assert {name for name, words in known.items() if not SOURCE.search(words)} <= OURS


LETTER = {
    "train.optimiser": "sgd", "train.learning_rate": 0.1, "train.momentum": 0.0, "train.weight_decay": 0.0,  # 6.3, decisions.md#a15
    "train.schedule": "halve_at_quarters", "train.epochs": 200, "train.steps": None, "train.batch_size": 32,  # 6.3
    "train.batches": "joint", "loss.batch_mean": "separate", "loss.labelled_weight": 1.0,  # Eq. 5, 6, decisions.md#a9
    "train.warmup.epochs": 0, "train.precision": "float32",
    "loss.lambda1": 1.0, "loss.lambda2": 1.0,  # 4.1
    "loss.reconstruction": "mean", "loss.norm": "mean", "loss.association": "mean", "loss.eps": 1e-6,  # decisions.md#a1, #a2, #a7
    "phi.rearrange": True, "phi.noise": 0.1,  # decisions.md#a11
    "network.width": 1.0, "network.channels": 3, "network.upsample": "bilinear", "network.second_encoder": True,  # Table 6
    "data.validation_share": 0.0, "data.gamma_p": 0.0, "score.kind": "eq9",  # decisions.md#a25, 4.2, Eq. 9
}  # fmt: skip


@pytest.mark.parametrize("kind", ["images", "tiles", "radiographs"])
def test_paper_is_the_letter(kind):
    settings = resolve(RunSettings, *preset_settings(kind, "paper"))
    for name, value in LETTER.items():
        found = settings
        for part in name.split("."):
            found = getattr(found, part)
        assert found == value, name


def test_the_papers_network_has_the_channels_and_the_size_of_table_6():
    method = build(resolve(RunSettings, *preset_settings("images", "paper")), (64, 64, 1))
    assert table6_widths(1.0) == [64, 128, 256, 512, 512]
    convolutions = {
        name: sum(p.numel() for p in part.parameters() if p.dim() == 4) / 1e6
        for name, part in method.named_children()
        if name != "scaler"
    }
    millions = {"encoder1": 9.40, "decoder": 2.40, "encoder2": 9.40}  # method.md#network-size
    assert convolutions == pytest.approx(millions, abs=0.01)


LENET = {"width": 1.0, "linear": None, "channels": None}
"""What any preset has for a LeNet, which is small, has no places, and takes grey as it is."""


@pytest.mark.parametrize("preset", [None, "cpu", "demo", "paper", "paper-mnist"])
@pytest.mark.parametrize(
    ("stated", "to_the_letter"),
    [
        ({"method": "esad"}, False),
        ({"method": "cae"}, False),
        ({"method": "deep_sad"}, True),
        ({"method": "oc_svm", "oc_svm": {"input": "hybrid"}}, True),
    ],
)
def test_a_lenet_has_its_own_width_and_deep_sads_biases_where_the_method_or_the_preset_is_published(
    tmp_path, preset, stated, to_the_letter
):
    store = small_store(tmp_path, "paper-mnist")
    more = {"network": {"form": "lenet-mnist"}, "data.normal_classes": ["0"]}
    network = run_settings(store, preset, [stated, more]).network
    assert network.model_dump().items() >= LENET.items()
    plain = to_the_letter or (preset or "").startswith("paper")
    assert (network.affine, network.bias) == (not plain, not plain)
    asked = run_settings(store, preset, [stated, more, {"network.width": 2.0, "network.bias": plain}]).network
    assert (asked.width, asked.bias) == (2.0, plain)


@pytest.mark.parametrize("preset", [None, "paper"])
@pytest.mark.parametrize("method", ["ganomaly", "isolation_forest"])
def test_other_networks_are_as_without_a_lenet(tmp_path, method, preset):
    store, aside = small_store(tmp_path, "paper-mnist"), {"form", "linear"}
    with_form, without = (
        run_settings(store, preset, [{"method": method, **more}])
        for more in ({"network.form": "lenet-mnist"}, {})
    )
    assert with_form.network.model_dump(exclude=aside) == without.network.model_dump(exclude=aside)


def test_a_linear_code_beside_a_lenet_is_refused_with_the_setting(tmp_path):
    store = small_store(tmp_path, "paper-mnist")
    stated = {"network.form": "lenet-mnist", "network.linear": 8}
    with pytest.raises(
        UsageError, match=r"Setting network\.linear = 8: .*network\.form = lenet-mnist has a code without"
    ):
        run_settings(store, None, [stated])


@pytest.mark.parametrize("name", PAPER_SETS)
def test_a_data_sets_preset_is_the_papers_but_for_its_data(name):
    kind = sorted(PAPER_SETS[name][0])[0]
    plain, own = (resolve(RunSettings, *preset_settings(kind, preset)) for preset in ("paper", name))
    assert own.model_dump(exclude={"data"}) == plain.model_dump(exclude={"data"})
    wrong = sorted(set(BY_KIND) - PAPER_SETS[name][0])[0]
    with pytest.raises(UsageError, match=rf"--preset {name} is for a store of .*; this is one of {wrong}"):
        preset_settings(wrong, name)


def test_an_unknown_preset_lists_all_of_them():
    with pytest.raises(
        UsageError, match=r"'papper' is unknown.*paper, paper-mnist.*paper-camelyon16.*cpu, demo"
    ):
        preset_settings("images", "papper")


SIDES = {"paper-mnist": (28, 28, 1), "paper-fashion-mnist": (28, 28, 1), "paper-cifar10": (32, 32, 3)}
SIDES |= {"paper-camelyon16": (192, 192, 3)}
INGEST = {"tiles": TileSettings(tile_size=192).model_dump(), "radiographs": RadiographSettings().model_dump()}


def small_store(folder, name: str) -> Store:
    """30 training and 10 test items of the set's kind and shape: ten classes, or slides, or views of both kinds."""
    kind = sorted(PAPER_SETS[name][0])[-1]
    shape = (5,) if kind == "table" else SIDES.get(name, (64, 64, 1))
    numbers = np.random.default_rng(0)
    x = numbers.integers(0, 255, (40, *shape), dtype=np.uint8)
    if kind == "table":
        x = numbers.normal(size=(40, *shape)).astype(np.float32)
    (folder / "archive").mkdir()
    (folder / "archive" / "a").write_bytes(b"")

    def process(root, unit):
        items = pd.DataFrame(
            {"source": "a", "place": [str(n) for n in range(40)], "split": ["train"] * 30 + ["test"] * 10}
        )
        items["label"] = (np.arange(40) % 4 == 0).astype(int)
        if kind == "table":
            items["split"] = None
        if kind == "images":
            items["class_name"] = [str(n % 10) for n in range(40)]
        if kind == "radiographs":
            items["view"] = ["AP", "AP", "PA", "PA"] * 10
        write_unit(root, unit, x, items, pd.DataFrame([source_row(folder / "archive", "a", 40)]))

    dtype = "float32" if kind == "table" else "uint8"
    job = Job("test", kind, folder / "archive", ["a"], INGEST.get(kind, {}), process, dtype=dtype)
    run_job(job, IngestOptions(folder / "store"))
    return Store(folder / "store")


@pytest.mark.parametrize("name", PAPER_SETS)
def test_two_steps_of_each_data_sets_preset(name, tmp_path):
    store = small_store(tmp_path, name)
    more = {"train.steps": 2, "train.batch_size": 8}
    if store.kind != "table":
        more["network.width"] = 0.0625
    if store.kind == "images":
        more |= {"data.normal_classes": ["0"], "data.gamma_l": 0.2}
    train(store.root, tmp_path / "run", name, [more])
    table = pd.read_parquet(tmp_path / "run" / "assignments.parquet")
    trained = table[table["part"] == "train"]
    views = store.manifest.set_index("item_id")
    assert "validation" not in set(table["part"])
    if name in {"paper-nih-ap", "paper-nih-pa"}:
        assert set(views.loc[table["item_id"], "view"]) == {name[-2:].upper()}
    if store.kind == "images":
        labelled = trained[trained["semi_label"] == -1]["item_id"]
        assert views.loc[labelled, "class_name"].nunique() == 1
    if name == "paper-odds":
        assert (trained["semi_label"] == -1).sum() == 1  # gamma_l 0.01 of 18 normals, at least one
        assert (table["part"] == "test").sum() == 16
    if name in {"paper-camelyon16", "paper-nih-subset"}:
        assert (trained["semi_label"] == -1).sum() == 8


@pytest.mark.parametrize("name", ["paper-mnist", "paper-fashion-mnist", "paper-cifar10"])
def test_a_one_class_preset_without_its_class_names_the_setting_the_classes_and_a_command(name, tmp_path):
    store = small_store(tmp_path, name)
    first = sorted(store.manifest["class_name"].unique())[0]
    with pytest.raises(UsageError) as raised:
        train(store.root, tmp_path / "run", name, [])
    told = str(raised.value)
    assert f"--preset {name} takes one class as normal, and data.normal_classes does not say which" in told
    assert f"the store has the classes {first}, " in told
    command = shlex.split(told.split("For example: ")[1])
    assert command[:3] == ["esad", "train", str(store.root)]
    assert parse_assignments([command[-1]]) == {"data.normal_classes": [first]}
    assert not (tmp_path / "run").exists()
