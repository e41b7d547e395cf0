"""A setting that changes nothing is said when a person states it, and is refused where a sweep would rest on it."""

from __future__ import annotations

import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.settings.config import ImageSettings, RadiographSettings, TileSettings
from esad.pipeline.settings.ignored import (
    warnings_of_images,
    warnings_of_radiographs,
    warnings_of_run,
    warnings_of_tiles,
)
from esad.pipeline.settings.presets import run_settings
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.sweep import sweep
from esad.preprocessing.store.store import Store
from tests.pipeline.stores import QUICK_TABLE, make_store


@pytest.mark.parametrize(
    ("kind", "stated", "told"),
    [
        ("images", {"network.hidden": [32]}, ["network.hidden = [32] has no effect: pictures go through"]),
        ("table", {"network.upsample": "nearest"}, ["network.upsample = nearest has no effect: rows of a table"]),
        ("table", {"data.crop": 32}, ["data.crop = 32 has no effect: rows of a table are neither"]),
        ("table", {"method": "cae", "loss.lambda1": 3.0}, ["loss.lambda1 = 3.0 has no effect: method cae does not"]),
        ("table", {"data.gamma_l": 0.01}, ["data.gamma_l = 0.01 has no effect: data.labelled says which"]),
        ("table", {"data.gamma_l": 0.01, "data.labelled": "ratio"}, []),
        ("table", {"loss": {"lambda1": 3.0}}, []),
        ("images", {"network.hidden": None}, []),  # as it is anyway
        ("images", {"train.steps": 5, "train.warmup.steps": 3}, []),  # which takes the epochs' place
        ("images", {"train.warmup.epochs": 0, "train.warmup.learning_rate": 0.5}, ["train.warmup.learning_rate = 0.5 has"]),
        ("table", {"loss.lambda2": 0, "loss.association": "sum"}, ["loss.association = sum has no effect: loss.lambda2 = 0"]),
        ("table", {"method": "isolation_forest", "checkpoint_seconds": 1.0}, ["checkpoint_seconds = 1.0 has no effect: a fit"]),
        ("table", {"method": "oc_svm", "oc_svm.nu": 0.2}, []),
        ("images", {"network.form": "lenet-mnist"}, []),
        ("images", {"method": "deep_sad", "network": {"form": "lenet-mnist", "affine": True}}, []),
        ("images", {"network.affine": False}, ["network.affine = False has no effect: pictures go through the convolutions of"]),
        (
            "images",
            {"network.form": "lenet-mnist", "network.upsample": "nearest"},
            ["network.upsample = nearest has no effect: the decoder of a LeNet"],
        ),
        ("table", {"network.form": "lenet-mnist"}, ["network.form = lenet-mnist has no effect: rows of a table"]),
        (
            "images",
            {"method": "isolation_forest", "network.form": "lenet-mnist"},
            ["network.form = lenet-mnist has no effect: method isolation_forest does not"],
        ),
        ("images", {"method": "anogan", "anogan.search": "encoder"}, []),
        (
            "images",
            {"method": "anogan", "anogan.search": "encoder", "anogan.search_steps": 7},
            ["anogan.search_steps = 7 has no effect: method anogan does not"],
        ),
        ("table", {"method": "oc_svm", "ssad.kappa": 2.0}, ["ssad.kappa = 2.0 has no effect: method oc_svm does not"]),
    ],
)  # fmt: skip
def test_what_a_person_states_in_vain_is_said(tmp_path, kind, stated, told):
    make_store(tmp_path, kind)
    store = Store(tmp_path / "store")
    found = warnings_of_run(run_settings(store, None, [stated]), store, None, [stated])
    assert len(found) == len(told)
    assert all(line.startswith(f"warning: {start}") for line, start in zip(found, told, strict=True))


def test_a_store_that_states_its_parts_leaves_shares_nothing_to_decide(tmp_path):
    make_store(tmp_path)
    store = Store(tmp_path / "store")
    store.manifest["split"] = ["train", "validation", "test"] * (len(store) // 3)
    stated = [{"data.test_share": 0.2, "data.validation_share": 0.3}]
    found = warnings_of_run(run_settings(store, None, stated), store, None, stated)
    assert [line.split(" has")[0] for line in found] == [
        "warning: data.test_share = 0.2", "warning: data.validation_share = 0.3",
    ]  # fmt: skip


def test_radiographs_and_images_too():
    drawn = RadiographSettings(protocol_seed=3)
    assert warnings_of_radiographs(drawn)[0].startswith(
        "warning: protocol_seed = 3 has no effect: only nih-ap"
    )
    assert not warnings_of_radiographs(RadiographSettings(protocol_seed=3, protocol="nih-ap"))
    assert warnings_of_radiographs(RadiographSettings(protocol_seed=3, protocol="nih-subset"))
    nameless = ImageSettings(label="none")
    assert warnings_of_images(nameless, True) == [
        "warning: label = none has no effect: pictures in folders have no columns."
    ]
    assert not warnings_of_images(nameless, False)


def test_train_says_it(tmp_path, capsys):
    make_store(tmp_path)
    words = ["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), "--set", "phi.noise=0.3"]
    short = [word for name, value in QUICK_TABLE.items() for word in ("--set", f"{name}={value}")]
    assert call([*words, *short, "--set", "method=cae"]) == 0
    assert "warning: phi.noise = 0.3 has no effect: method cae does not use it." in capsys.readouterr().err


def test_a_sweep_over_a_setting_without_effect_is_refused(tmp_path):
    make_store(tmp_path)
    with pytest.raises(UsageError, match=r"--over loss\.lambda1: it has no effect: method cae"):
        sweep(tmp_path / "store", tmp_path / "out", ["loss.lambda1=1,2"], None, [{"method": "cae"}])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stated", "listed", "outlined", "told"),
    [
        (
            {"stain": "none", "stain_scope": "tile"},
            False,
            True,
            "stain_scope = tile has no effect: stain = none",
        ),
        ({"step": 32}, True, False, "step = 32 has no effect: the published set says"),
        ({"protocol_seed": 3}, False, False, "protocol_seed = 3 has no effect: only a protocol's own rule"),
        ({"labels": {"min_fraction": 0.5}}, False, False, "labels = {'min_fraction': 0.5} has no effect"),
        ({"step": 32, "labels": {"min_fraction": 0.5}}, False, True, None),
        ({"mpp": 0.5, "magnification": None}, False, True, None),
        (
            {"labels": {"min_fraction": 0.5}},
            True,
            True,
            "labels = {'min_fraction': 0.5} has no effect: the published",
        ),
    ],
)
def test_tiles_too(stated, listed, outlined, told):
    found = warnings_of_tiles(TileSettings.model_validate(stated), listed, outlined)
    assert [line[: len("warning: ") + len(told or "")] for line in found] == (
        [f"warning: {told}"] if told else []
    )


def test_classes_of_which_none_is_said_to_be_normal_are_told(tmp_path):
    store = make_store(tmp_path / "store", "images")
    store.manifest["class_name"] = ["cat", "dog"] * (len(store) // 2)
    assert warnings_of_run(run_settings(store, None, []), store, None, []) == []  # it has labels
    store.manifest["label"] = None
    (told,) = warnings_of_run(run_settings(store, None, []), store, None, [])
    assert "the store has 2 classes and no labels, and data.normal_classes does not say" in told
    stated = [{"data.normal_classes": ["cat"]}]
    assert warnings_of_run(run_settings(store, None, stated), store, None, stated) == []
