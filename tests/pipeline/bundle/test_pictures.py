"""A folder as MONAI's lists of data: what `esad images` and the run's assignments make of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from esad.pipeline.bundle.items import DatasetItems
from esad.pipeline.bundle.pictures import PictureFolder, picture_files
from esad.pipeline.bundle.reader import PictureReader
from esad.pipeline.cli.app import call
from esad.pipeline.runs.items import assignments_of
from esad.pipeline.settings.config import RunSettings, resolve
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.preprocessing.store.store import Store
from tests.pipeline.bundle.folders import write_pictures

SHAPE = (18, 18, 1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    out = tmp_path_factory.mktemp("pictures") / "all"
    write_pictures(out)
    return out


def assert_same_parts(folder: PictureFolder, store: Store, settings: RunSettings) -> None:
    table = assignments_of(store, settings).merge(
        store.manifest[["item_id", "source"]], on="item_id", how="left"
    )
    for part in ("train", "validation", "test"):
        own = table[table["part"] == part]
        entries = folder.part(part)
        assert [entry["item_id"] for entry in entries] == own["item_id"].tolist()
        assert [entry.get("label") for entry in entries] == [None if pd.isna(v) else v for v in own["label"]]
        assert all(
            entry["image"].endswith(source) for entry, source in zip(entries, own["source"], strict=True)
        )
        if part == "train":
            assert [entry["semi_label"] for entry in entries] == own["semi_label"].tolist()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "data",
    [{}, {"labelled": "ratio", "gamma_l": 0.2, "gamma_p": 0.1}, {"copies_together": False, "validation_share": 0}],
)  # fmt: skip
def test_class_folders_are_split_as_esad_train_splits_their_store(pictures, tmp_path, data, seed):
    call(["images", str(pictures), "--out", str(tmp_path / "store")])
    folder = PictureFolder(str(pictures), SHAPE, data=data, seed=seed)
    assert_same_parts(folder, Store(tmp_path / "store"), resolve(RunSettings, {"seed": seed, "data": data}))


def test_a_csv_of_labels_states_splits_groups_and_semi_labels(pictures, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    rows = []
    for number, path in enumerate(sorted(pictures.rglob("*.png"))):
        if path.name in ("damaged.png", "mask.png"):
            continue
        (flat / path.name).write_bytes(path.read_bytes())
        label = "" if number % 7 == 0 else int(path.parent.name == "bad")
        rows.append((path.name, label, "test" if number % 5 == 0 else "", f"g{number // 3}", ""))
    rows[3] = (*rows[3][:4], -1 if rows[3][1] else 1)
    table = pd.DataFrame(rows, columns=["source", "label", "split", "group", "semi_label"])
    labels = tmp_path / "labels.csv"
    table.to_csv(labels, index=False)
    assert call(["images", str(flat), "--labels", str(labels), "--out", str(tmp_path / "store")]) == 0
    folder = PictureFolder(str(flat), SHAPE, labels_file=str(labels))
    assert_same_parts(folder, Store(tmp_path / "store"), RunSettings())
    assert len(folder.part("all")) == int((table["label"] != "").sum())


def test_classes_and_where_are_as_the_command_has_them(pictures, tmp_path):
    words = ["--class", "bad=normal", "--class", "*=anomaly", "--where", "class_name=bad"]
    assert call(
        ["images", str(pictures / "bad"), str(pictures / "good"), *words, "--out", str(tmp_path / "store")]
    ) in (0, 3)
    classes = {"bad": "normal", "*": "anomaly"}
    folder = PictureFolder(str(pictures), SHAPE, classes=classes, where={"class_name": "bad"})
    assert {entry["label"] for entry in folder.part("train")} == {0}
    assert_same_parts(folder, Store(tmp_path / "store"), RunSettings())


def test_what_cannot_be_used_is_said(pictures, tmp_path, capfd):
    with pytest.raises(UsageError, match="no such file or folder"):
        PictureFolder(str(tmp_path / "gone"), SHAPE).part("train")
    with pytest.raises(EsadError, match="is 18 x 18 pixels; this model takes 20 x 16"):
        PictureFolder(str(pictures), (16, 20, 1)).part("train")
    with pytest.raises(UsageError, match="part 'tset': expected train, validation, test or all"):
        PictureFolder(str(pictures), SHAPE).part("tset")
    with pytest.raises(UsageError, match="published is for tables"):
        PictureFolder(str(pictures), SHAPE, data={"split": "published"})
    with pytest.raises(UsageError, match=r"did you mean 'data\.gamma_l'"):
        PictureFolder(str(pictures), SHAPE, data={"gama_l": 0.1})
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    with pytest.raises(EsadError, match="none of 1 pictures can be read"):
        PictureFolder(str(tmp_path), SHAPE).part("train")
    assert len(PictureFolder(str(pictures), (8, 8, 1), size=8).part("all")) > 100


def test_what_is_scored_is_a_picture_or_those_of_a_folder_and_never_none(tmp_path):
    folder = tmp_path / "new"
    (folder / "deep").mkdir(parents=True)
    with pytest.raises(UsageError, match="new: holds no picture"):
        picture_files(str(folder))
    with pytest.raises(UsageError, match="gone: no such file or folder"):
        picture_files(str(tmp_path / "gone"))
    for name in ("b.png", "deep/a.JPG", "notes.txt"):
        (folder / name).write_bytes(b"")
    assert picture_files(str(folder)) == [str(folder / "b.png"), str(folder / "deep/a.JPG")]
    assert picture_files(str(folder / "notes.txt")) == [str(folder / "notes.txt")]


@pytest.mark.parametrize(
    "words", [["--colour", "grey"], ["--colour", "rgb"], ["--colour", "grey", "--size", "9"]]
)
def test_the_reader_gives_the_pixels_of_the_store(pictures, tmp_path, words):
    call(["images", str(pictures), *words, "--out", str(tmp_path / "store")])
    store = Store(tmp_path / "store")
    reader = PictureReader(words[1], 9 if "--size" in words else None)
    for position, source in enumerate(store.manifest["source"]):
        pixels, meta = reader.get_data(reader.read((str(pictures / source),)))
        assert np.array_equal(pixels, store.read(np.array([position]))[0]), source
        assert meta["spatial_shape"].tolist() == list(pixels.shape[:2])
    with pytest.raises(InputError, match=r"damaged\.png"):
        reader.get_data(reader.read(str(pictures / "good" / "damaged.png")))


def datasets(pictures, tmp_path, *more):
    import torch
    from monai.data import Dataset
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, ScaleIntensityRanged

    folder = PictureFolder(str(pictures), SHAPE)
    steps = [
        LoadImaged("image", PictureReader("grey")), EnsureChannelFirstd("image"),
        ScaleIntensityRanged("image", 0, 255, 0, 1), *more,
    ]  # fmt: skip
    parts = [Dataset(folder.part(part), Compose(steps)) for part in ("train", "validation")]
    return DatasetItems(*parts, SHAPE, torch.device("cpu"))


def test_items_are_the_bytes_of_the_store_all_256_of_them(pictures, tmp_path):
    (tmp_path / "normal").mkdir()
    every = np.arange(18 * 18, dtype=np.uint16).reshape(18, 18).clip(0, 255).astype(np.uint8)
    for number in range(20):
        Image.fromarray(np.roll(every, number)).save(tmp_path / "normal" / f"{number:02d}.png")
    items = datasets(tmp_path, tmp_path)
    pixels = items.data.items.numpy()
    expected = [int(entry["image"][-6:-4]) for dataset in items.datasets for entry in dataset.data]
    for found, number in zip(pixels, expected, strict=True):
        assert np.array_equal(found[..., 0], np.roll(every, number))


def test_a_random_transform_is_drawn_anew_at_each_reading(pictures, tmp_path):
    from monai.transforms import RandGaussianNoised

    items = datasets(pictures, tmp_path, RandGaussianNoised("image", prob=1.0, std=0.1))
    read = items.data.items
    assert callable(read)
    assert not np.array_equal(read(np.arange(3)), read(np.arange(3)))
    plain = datasets(pictures, tmp_path).data.items
    assert not callable(plain)


def test_a_transform_that_changes_the_shape_is_told(pictures, tmp_path):
    from monai.transforms import Resized

    items = datasets(pictures, tmp_path, Resized("image", (9, 9)))
    with pytest.raises(EsadError, match=r"\(9, 9, 1\) from the transforms; the model takes \(18, 18, 1\)"):
        items.read(np.arange(1))
