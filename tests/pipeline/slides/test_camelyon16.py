"""`esad tile --protocol camelyon16` on the challenge's folders, drawn small: slides, outlines in a zip, reference.csv."""

from __future__ import annotations

import zipfile

import numpy as np
import openslide
import pytest
import simplejpeg
import tifffile

from esad.pipeline.cli.app import call
from esad.pipeline.slides.stain_target import target_digest, target_picture
from esad.pipeline.stage.errors import InputError, UsageError
from esad.preprocessing.store.store import Store

SIDE, TILE, MASK = 18432, 512, 256
XML = (
    '<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="_0"><Coordinates>{}'
    "</Coordinates></Annotation></Annotations></ASAP_Annotations>"
)
TUMOUR = (8000, 7900, 11000, 11000)
"""Left, top, right, bottom in level-0 pixels: whole squares of the 768 grid are those from 8448 to 10752."""


def texture() -> np.ndarray:
    """uint8 (TILE, TILE, 3): random amounts of two stains."""
    numbers = np.random.default_rng(0)
    amounts = numbers.exponential(0.5, (TILE // 4, TILE // 4, 2)).repeat(4, 0).repeat(4, 1) + 0.1
    return (250 * np.exp(-amounts @ np.array([[0.6, 0.7, 0.3], [0.2, 0.9, 0.3]]))).astype(np.uint8)


def write_slide(path, blank=False):
    """Nine levels of JPEG tiles: tissue everywhere but on a white margin of four mask pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tissue = np.zeros((SIDE // MASK, SIDE // MASK), bool)
    tissue[4:-4, 4:-4] = not blank
    pattern, known = texture(), {}

    def tile(level, row, column):
        step, side = MASK >> level, SIDE >> level
        places = [
            np.minimum((start + np.arange(TILE)), side - 1) // step for start in (row * TILE, column * TILE)
        ]
        mask = tissue[np.ix_(*places)]
        key = mask.tobytes()
        if key not in known:
            stained = (
                pattern if level < 6 else pattern.mean((0, 1)).astype(np.uint8)
            )  # the mask is of level 8
            picture = np.where(mask[..., None], stained, np.uint8(245))
            known[key] = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), 90, "RGB", "420")
        return known[key]

    with tifffile.TiffWriter(path) as file:
        for level in range(9):
            side, count = SIDE >> level, -(-(SIDE >> level) // TILE)
            size = 0.25 * 2**level
            file.write(
                (tile(level, row, column) for row in range(count) for column in range(count)),
                shape=(side, side, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="ycbcr", subsampling=(2, 2),
                compression="jpeg", subfiletype=int(level > 0), metadata=None,
                resolution=(1e4 / size, 1e4 / size), resolutionunit="CENTIMETER",
            )  # fmt: skip


@pytest.fixture(scope="module")
def challenge(tmp_path_factory):
    root = tmp_path_factory.mktemp("challenge") / "CAMELYON16"
    write_slide(root / "training" / "normal" / "normal_001.tif")
    for name in ("training/normal/normal_144", "training/tumor/tumor_001", "training/tumor/tumor_002",
                 "testing/images/test_001", "testing/images/test_003", "testing/images/test_114"):  # fmt: skip
        path = root / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(root / "training" / "normal" / "normal_001.tif")
    write_slide(root / "training" / "normal" / "normal_002.tif", blank=True)
    (root / "testing" / "reference.csv").write_text(
        "test_001,Tumor,IDC,Macro\ntest_003,Normal,None,None\ntest_114,Tumor,ILC,Macro\n"
    )
    left, top, right, bottom = TUMOUR
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    points = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(corners))
    for part, name in (("training", "tumor_001"), ("testing", "test_001")):
        with zipfile.ZipFile(root / part / "lesion_annotations.zip", "w") as archive:
            archive.writestr(f"lesion_annotations/{name}.xml", XML.format(points))
    return root


def tile(*words):
    return call(["tile", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def store(challenge, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "store"
    assert tile(challenge, "--protocol", "camelyon16", "--stain", "none", "--out", out, "--workers", 1) == 3
    return Store(out)


def test_parts_labels_and_places_follow_the_rule(store):
    table = store.manifest
    assert store.shape == (192, 192, 3)
    counts = table.groupby(["split", "label"]).size().to_dict()
    # 72 mask pixels less 30 on each side are 12: 4 x 4 squares; wholly inside the outline are 3 x 3 of them
    assert counts == {("train", 0): 16, ("train", 1): 9, ("test", 0): 16, ("test", 1): 9}
    assert (table["semi_label"] == -1).sum() == 9
    assert (table.loc[table["semi_label"] == -1, "split"] == "train").all()
    assert (table[["x", "y"]] % 768 == 0).all(axis=None)
    assert (table[["width", "height"]] == 768).all(axis=None)
    abnormal = table[table["label"] == 1]
    assert (abnormal["tumour_fraction"] == 1).all()
    assert sorted({*abnormal["x"]}) == [8448, 9216, 9984]
    assert (table.loc[table["label"] == 0, "x"].min(), table["x"].max()) == (7680, 9984)


def test_every_slide_has_its_reason(store):
    table = store.sources.set_index(store.sources["source"].map(lambda source: source.split("/")[-1][:-4]))
    assert table.loc["normal_144", "reason"] == "left out: excluded by the protocol"
    assert "exhaustive" in table.loc["test_114", "reason"]
    assert table.loc["tumor_002", "state"] == "refused"
    assert "no outlines; expected tumor_002.xml" in table.loc["tumor_002", "reason"]
    assert table.loc["normal_002", "state"] == "done"
    assert "no tissue: no square of 768" in table.loc["normal_002", "reason"]
    assert (store.root / table.loc["normal_002", "mask_picture"]).is_file()
    assert table.loc["normal_001", "reason"] is None or table["reason"].isna()["normal_001"]


def test_pixels_are_of_level_two(store, challenge):
    row = store.manifest.iloc[0]
    with openslide.OpenSlide(challenge / row["source"]) as slide:
        theirs = np.asarray(slide.read_region((row["x"], row["y"]), 2, (192, 192)).convert("RGB"))
    assert np.array_equal(store.read(np.array([0]))[0], theirs)
    assert row["mpp"] == pytest.approx(1.0)


def test_the_same_archive_gives_the_same_tiles_by_any_number_of_workers(store, challenge, tmp_path):
    words = [challenge, "--protocol", "camelyon16", "--stain", "none", "--workers", 2]
    assert tile(*words, "--out", tmp_path / "again") == 3
    again = Store(tmp_path / "again")
    assert again.manifest.equals(store.manifest)
    assert np.array_equal(again.read(), store.read())


def test_training_crops_without_being_told(store, tmp_path):
    quick = ["network.width=0.0625", "train.steps=2", "train.warmup.steps=1", "train.batch_size=4"]
    sets = [word for pair in quick for word in ("--set", pair)]
    assert call(["train", str(store.root), "--out", str(tmp_path / "run"), *sets]) == 0
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert "crop: 64" in text
    assert "flip: both" in text


def test_an_archive_without_slides_of_the_challenge_is_told(challenge, tmp_path, capsys):
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "case7.tif").hardlink_to(challenge / "training" / "normal" / "normal_001.tif")
    assert tile(tmp_path / "archive", "--protocol", "camelyon16", "--out", tmp_path / "out") == 2
    assert "case7.tif left out: not a Camelyon16 slide by its name" in capsys.readouterr().err


def test_a_square_of_a_slide_is_a_stain_target(challenge, tmp_path):
    path = challenge / "training" / "normal" / "normal_001.tif"
    square = f"{path}@2048,4096,256"
    with openslide.OpenSlide(path) as slide:
        theirs = np.asarray(slide.read_region((2048, 4096), 0, (256, 256)).convert("RGB"))
    assert np.array_equal(target_picture(square), theirs)
    assert target_digest(square, "vahadane").startswith("normal_001.tif@2048,4096,256:")
    with pytest.raises(InputError, match="leaves the slide"):
        target_picture(f"{path}@18000,0,512")
    with pytest.raises(UsageError, match="no such file"):
        target_digest(f"{tmp_path}/no.tif@0,0,64", "vahadane")
    words = [
        path,
        "--out",
        tmp_path / "out",
        "--stain-target",
        square,
        "--tile-size",
        "192",
        "--step",
        "1000",
    ]
    assert tile(*words) == 0
    assert Store(tmp_path / "out").settings["stain_target"].startswith("normal_001.tif@")
