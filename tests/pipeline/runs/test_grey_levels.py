"""Grey levels by site, from training to scores: what is fitted to what, what is said, what is refused, and nothing where it is off."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.runs.grey_levels import (
    FILE,
    fit_grey_levels,
    levelled,
    planned,
    read_grey_levels,
    refitted,
)
from esad.pipeline.runs.items import assignments_of
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.settings.config import RunSettings, resolve
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.train import train
from esad.preprocessing.grey_levels import histogram, landmarks
from esad.preprocessing.store.store import Store
from tests.pipeline.stores import QUICK, make_store

SHORT = {**QUICK, "train.steps": 2, "train.warmup.steps": 1, "network.width": 0.02}
SETTINGS = {"crop": 0.75, "size": 16}


def pictures(sites, seed=0, dark=("south",), label=True):
    """An npz's content: grey pictures of `sites`, those of `dark` at half the level, every fifth an anomaly."""
    numbers, count = np.random.default_rng(seed), len(sites)
    x = numbers.integers(80, 200, (count, 16, 16), dtype=np.uint8)
    x[np.isin(sites, dark)] //= 2
    y = {"y": [n % 5 == 4 for n in range(count)]} if label else {}
    return {"x": x, "site": np.array(sites), **y}


def store_of(folder, name, *args, **more):
    np.savez(folder / f"{name}.npz", **pictures(*args, **more))
    assert call(["images", str(folder / f"{name}.npz"), "--out", str(folder / name)]) == 0
    return Store(folder / name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a store of two sites, and a run that maps their grey levels."""
    folder = tmp_path_factory.mktemp("levels")
    store_of(folder, "store", ["north", "south"] * 60)
    train(folder / "store", folder / "run", None, [{**SHORT, "data.site_normalisation": "grey"}])
    return folder


def settings(**data):
    return resolve(RunSettings, {f"data.{name}": value for name, value in data.items()})


def test_the_maps_are_those_of_unlabelled_and_normal_training_items(trained):
    run, store = open_run(trained / "run"), Store(trained / "store")
    levels, used = run.grey_levels, run.assignments
    items = used[(used["part"] == "train") & (used["semi_label"] == 0)].merge(store.manifest, on="item_id")
    places = pd.Index(store.manifest["item_id"]).get_indexer(items["item_id"])
    for name in ("north", "south"):
        own = places[(items["site"] == name).to_numpy()]
        assert levels.sites[name] == pytest.approx(landmarks(histogram(store.read(own))))
        assert levels.items[name] == len(own)
    assert levels.reference == pytest.approx(np.mean([levels.sites["north"], levels.sites["south"]], axis=0))


def test_sites_are_alike_once_mapped(trained):
    run, store = open_run(trained / "run"), Store(trained / "store")
    south = (store.manifest["site"] == "south").to_numpy()

    def apart(pixels):
        return abs(pixels[south].mean() - pixels[~south].mean())

    assert apart(store.read()) > 50
    assert apart(run.seen(store).read()) < 2
    some = np.array([5, 2, 90])
    assert np.array_equal(run.seen(store).read(some), run.seen(store).read()[some])


def test_scores_are_those_of_the_mapped_pictures(trained, capsys):
    run = open_run(trained / "run")
    assert call(["score", str(run.root), "--overlays", "worst:2"]) == 0
    assert "grey levels" not in capsys.readouterr().err  # all are of training
    store = Store(trained / "store")
    mapped = {"x": run.seen(store).read()[..., 0], "site": np.full(len(store), "north")}
    np.savez(trained / "mapped.npz", **mapped)
    call(["images", str(trained / "mapped.npz"), "--out", str(trained / "mapped")])
    identity = trained / "identity"
    if not identity.exists():
        import shutil

        shutil.copytree(trained / "run", identity, ignore=shutil.ignore_patterns("scores"))
    levels = json.loads((identity / FILE).read_text())
    levels["sites"]["north"]["levels"] = levels["reference"]
    (identity / FILE).write_text(json.dumps(levels))
    assert call(["score", str(identity), str(trained / "mapped"), "--overlays", "none"]) == 0
    one, other = (
        pd.read_parquet(path / "scores.parquet")["score"].to_numpy()
        for path in (run.root / "scores" / "store", identity / "scores" / "mapped")
    )
    assert np.array_equal(one, other)


def test_a_new_site_is_fitted_to_its_own_items_and_said(trained, tmp_path, capsys):
    new = store_of(tmp_path, "new", ["east"] * 20 + ["north"] * 5, label=False, dark=("east",))
    levels = open_run(trained / "run").grey_levels
    plan = planned(new, levels)
    assert plan["sites"]["east"] == {"items": 20, "fitted_to": 20, "of": "without a label"}
    assert plan["sites"]["north"]["of"] == "training"
    east = levelled(new, levels).read()[(new.manifest["site"] == "east").to_numpy()]
    assert landmarks(histogram(east)) == pytest.approx(levels.reference, abs=2)
    assert (
        call(
            ["score", str(trained / "run"), str(new.root), "--out", str(tmp_path / "s"), "--overlays", "none"]
        )
        == 0
    )
    told = capsys.readouterr().err
    assert (
        "site east are fitted to 20 items of its own (without a label), among which may be anomalies" in told
    )
    assert json.loads((tmp_path / "s" / "scores.json").read_text())["grey_levels"] == plan


def test_where_all_are_labelled_no_label_is_looked_at(trained, tmp_path):
    new = store_of(tmp_path, "new", ["east"] * 20, dark=())
    levels = open_run(trained / "run").grey_levels
    assert planned(new, levels)["sites"]["east"]["of"] == "labels not looked at"
    before = levelled(new, levels).read()
    new.manifest["label"] = (1 - new.manifest["label"]).astype("Int8")
    assert np.array_equal(levelled(new, levels).read(), before)


def test_too_few_items_and_items_without_a_site_stay_as_they_are_and_are_said(trained, tmp_path, capsys):
    new = store_of(tmp_path, "new", ["west"] * 4 + [""] * 3 + ["north"] * 12)
    levels = open_run(trained / "run").grey_levels
    assert np.array_equal(levelled(new, levels).read()[:7], new.read()[:7])
    assert (
        call(
            ["score", str(trained / "run"), str(new.root), "--out", str(tmp_path / "s"), "--overlays", "none"]
        )
        == 0
    )
    told = capsys.readouterr().err
    assert "site west stay as they are: it has 4 items, and a map needs 10" in told
    assert "3 items do not say their site" in told


def test_an_archive_without_sites_is_refused(trained, tmp_path, capsys):
    make_store(tmp_path, "images")
    assert call(["score", str(trained / "run"), str(tmp_path / "store"), "--out", str(tmp_path / "s")]) == 1
    assert "no item says its site" in capsys.readouterr().err


def test_one_training_site_is_its_own_reference_so_nothing_changes(tmp_path):
    store = store_of(tmp_path, "store", ["north", "south"] * 30)
    chosen = settings(site_normalisation="grey", split="leave-site-out", site="south")
    levels = fit_grey_levels(store, assignments_of(store, chosen), chosen)
    north = (store.manifest["site"] == "north").to_numpy()
    mapped = levelled(store, levels).read()
    assert np.array_equal(mapped[north], store.read()[north])
    assert not np.array_equal(mapped[~north], store.read()[~north])


def test_off_is_off(tmp_path):
    store = store_of(tmp_path, "store", ["north", "south"] * 15)
    assert fit_grey_levels(store, pd.DataFrame(), settings()) is None
    assert levelled(store, None) is store
    train(store.root, tmp_path / "run", None, [SHORT])
    assert not (tmp_path / "run" / FILE).exists()
    assert open_run(tmp_path / "run").seen(store) is store


@pytest.mark.parametrize(
    ("kind", "told"), [("table", "is for grey pictures"), ("images", "no site has 10 unlabelled")]
)
def test_what_cannot_be_mapped_is_refused(tmp_path, kind, told):
    store = make_store(tmp_path, kind)
    chosen = settings(site_normalisation="grey")
    with pytest.raises(UsageError, match=told):
        fit_grey_levels(store, assignments_of(store, chosen), chosen)


def test_tiles_are_told_that_stain_is_normalised_when_they_are_cut(tmp_path):
    store = make_store(tmp_path, "images")
    store.description.update(kind="tiles", shape=[16, 16, 3])
    with pytest.raises(UsageError, match="stain of each slide to one target"):
        fit_grey_levels(store, pd.DataFrame(), settings(site_normalisation="grey"))


def test_exports_are_refused(trained, capsys):
    for to in ("onnx", "bundle"):
        assert call(["export", str(trained / "run"), "--to", to]) == 1
        assert "no export knows that" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        '{"reference": [1, 2], "sites": {"a": {"items": 3, "levels": [1]}}}',
        "{}",
        '{"reference": ["x"], "sites": {}}',
    ],
)
def test_damage_is_said(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(EsadError, match=FILE):
        read_grey_levels(tmp_path)


def test_only_maps_of_trainings_sites_stay_when_a_store_grows():
    def plan(sites, too_few=()):
        each = {name: {"items": 20, "fitted_to": 20, "of": of} for name, of in sites.items()}
        return {"sites": each, "too_few": dict.fromkeys(too_few, 3), "without_site": 1}

    known, new = plan({"north": "training"}), plan({"north": "training", "south": "without a label"})
    assert refitted(known, known) is None
    assert refitted(known, new) is None
    assert "site south" in refitted(new, new)
    assert "site south" in refitted(plan({"north": "training"}, ["south"]), new)
    assert refitted(plan({}, ["south"]), plan({}, ["south"])) is None
