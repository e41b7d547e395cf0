"""The manifests say what the data is: checked against their own sums and, where it is there, the data itself."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from esad.data_manifests.loader import FOLDER, ManifestError, load_manifest, manifest_names, parse_manifest


def test_every_data_set_has_its_manifest():
    assert {"camelyon16", "cifar-10", "fashion-mnist", "mnist", "nih", "odds", "pcam"} <= set(
        manifest_names()
    )


@pytest.mark.parametrize("name", manifest_names())
def test_counts_add_up(name):
    for part, count in load_manifest(name).counts.items():
        if count.normal is not None:
            assert count.items == count.normal + count.anomaly, part


def test_nih_lists_make_up_the_whole():
    counts = load_manifest("nih").counts
    assert counts["train_val_list"].items + counts["test_list"].items == counts["Data_Entry_2017_v2020"].items
    assert counts["AP test"].items + counts["PA test"].items == counts["test_list"].items


def test_nihs_protocols_and_resizings_are_those_that_the_stage_has():
    from esad.pipeline.settings.config import RadiographSettings

    manifest, fields = load_manifest("nih"), RadiographSettings.model_fields
    assert set(manifest.resizings) == set(get_args(fields["resizing"].annotation))
    stated = {name for union in get_args(fields["protocol"].annotation) for name in get_args(union)}
    assert set(manifest.protocols) == stated
    for name in manifest.protocols:
        assert {f"{name} train", f"{name} test"} <= set(manifest.counts)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("kind: images", "kind: pictures"), "kind: Input should be"),
        (("licence:", "license:"), "licence: Field required"),
        (("items: 60000", "items: 0"), "counts.train.items"),
        (("name: mnist", "name: digits"), "expected 'mnist'"),
        (("title:", "\ttitle:"), "not YAML"),
        (("  train-images-idx3-ubyte.gz:\n", "  ../train-images.gz:\n"), "downloads.../train-images.gz"),
        (("- https://ossci", "- file://ossci"), "is no http or https address"),
        (("    md5: f68b3c2dcbeaaa9fbdd348bbdeb94873\n", ""), "needs an md5 or a sha256"),
        (("size: 9912422", "size: 0"), "downloads.train-images-idx3-ubyte.gz.size"),
    ],
)
def test_a_wrong_manifest_names_the_field(change, told):
    text = (FOLDER / "mnist.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    with pytest.raises(ManifestError, match=told):
        parse_manifest(text.replace(*change), FOLDER / "mnist.yaml")


@pytest.mark.parametrize("name", ["nope", "../odds", ""])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ManifestError, match=r"known are .*odds"):
        load_manifest(name)


@pytest.mark.data
@pytest.mark.parametrize("name", manifest_names())
def test_every_file_is_in_the_data_folder(name, data):
    for pattern in load_manifest(name).files:
        assert list(Path(data).glob(pattern)), pattern


@pytest.mark.data
def test_tables_have_the_stated_counts(data):
    for name, count in load_manifest("odds").counts.items():
        content = np.load(data / "odds" / f"{name}.npz")
        assert content["X"].shape == (count.items, count.columns)
        assert int(content["y"].sum()) == count.anomaly


@pytest.mark.data
def test_nih_has_the_stated_counts(data):
    counts = load_manifest("nih").counts
    folder = data / "nih" / "metadata"
    table = pd.read_csv(folder / "Data_Entry_2017_v2020.csv.gz").set_index("Image Index")
    normal, view = table["Finding Labels"] == "No Finding", table["View Position"]
    chosen = {"Data_Entry_2017_v2020": normal.notna()}
    for part in ("train_val", "test"):
        names = pd.read_csv(folder / f"{part}_list.txt.gz", header=None)[0]
        chosen[f"{part}_list"] = table.index.isin(names)
    for side in ("AP", "PA"):
        chosen[f"{side} test"] = chosen["test_list"] & (view == side)
        chosen[f"{side} train normal"] = chosen["train_val_list"] & (view == side) & normal
        images = [path.name for path in (data / "nih" / "images").glob("*.png")]
        chosen[f"images {side}"] = table.index.isin(images) & (view == side)
    for name, mask in chosen.items():
        assert (mask.sum(), (mask & normal).sum()) == (counts[name].items, counts[name].normal), name
    small = np.load(data / "nih" / "nih1000_crop768_64.npz")
    for side in ("AP", "PA"):
        labels = small["y"][small["view"] == side]
        assert (len(labels), int(labels.sum())) == (
            counts[f"nih1000 {side}"].items,
            counts[f"nih1000 {side}"].anomaly,
        )


@pytest.mark.data
def test_pictures_have_the_stated_counts(data):
    pcam, mnist = (np.load(data / name) for name in ("pcam/pcam_64.npz", "images/mnist.npz"))
    assert np.bincount(pcam["y"]).tolist() == [3000, 1500]
    counts = load_manifest("mnist").counts
    assert {part: len(mnist[f"y_{part}"]) for part in counts} == {part: c.items for part, c in counts.items()}
    assert load_manifest("pcam").counts["all"].items == len(pcam["y"])


FASHION_PACKED_AT = {"t10k-labels-idx1-ubyte.gz": 1504176627, "train-labels-idx1-ubyte.gz": 1504176606}
"""The second in which the publisher packed a file, which gzip notes in it: 31 August 2017."""


@pytest.mark.data
def test_fashion_mnist_is_what_its_publisher_offers(data):
    """The files at hand were packed anew without name and time; with these they are the published ones to the byte."""
    downloads = load_manifest("fashion-mnist").downloads
    for name, file in downloads.items():
        content = (data / "images" / "fashion-mnist" / name).read_bytes()
        inner = name.removesuffix(".gz").encode() + b"\0"
        assert len(content) + len(inner) == file.size
        if name in FASHION_PACKED_AT:
            head = b"\x1f\x8b\x08\x08" + FASHION_PACKED_AT[name].to_bytes(4, "little") + b"\0\3"
            assert hashlib.md5(head + inner + content[10:]).hexdigest() == file.md5


@pytest.mark.data
def test_cifar_10_as_pictures_has_the_stated_counts(data):
    with zipfile.ZipFile(data / "images" / "cifar10_jpeg.zip") as archive:
        parts = [name.split("/")[0] for name in archive.namelist() if name.endswith(".jpg")]
    counts = load_manifest("cifar-10").counts
    assert {part: parts.count(part) for part in counts} == {
        part: count.items for part, count in counts.items()
    }
