"""The tile stage on small slides made here and on the real one: pixels, labels, damage, kills."""

from __future__ import annotations

import json
import shutil

import numpy as np
import openslide
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from esad.pipeline.cli.app import call
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.slides.listing import list_slides
from esad.pipeline.slides.mask_picture import LEGEND_HEIGHT
from esad.pipeline.stage.errors import EsadError, ExitStatus, UsageError
from esad.pipeline.synthesis.slides import draw_slide
from esad.pipeline.tile import tile
from esad.preprocessing.store.store import Store

PLAIN = TileSettings(stain="none", min_tissue=0.3)
VAHADANE = TileSettings(min_tissue=0.3)


def stained(side, seed):
    """Glass with a square of tissue in two stains, uint8 (side, side, 3)."""
    numbers = np.random.default_rng(seed)
    amounts = np.zeros((side, side, 2))
    middle = np.s_[side // 8 : -side // 8, side // 8 : -side // 8]
    shape = amounts[middle].shape[:2]
    amounts[middle] = np.stack([numbers.gamma(1.0, 0.4, shape), numbers.uniform(0.2, 0.9, shape)], -1)
    density = amounts @ np.array([[0.60, 0.68, 0.42], [0.20, 0.93, 0.30]])
    return (243 * np.exp(-density)).astype(np.uint8)


def write_slide(path, picture, mpp=0.5):
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate((picture, picture[::4, ::4])):
            tags = {"resolution": (1e4 / mpp / 4**number,) * 2, "resolutionunit": "CENTIMETER"} if mpp else {}
            file.write(
                level, tile=(256, 256), photometric="rgb", compression="jpeg", subfiletype=int(number > 0),
                compressionargs={"level": 90}, metadata=None, **tags,
            )  # fmt: skip
    return path


def outline(path, x, y, side):
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]
    path.write_text(json.dumps({"positive": [{"vertices": ring}], "negative": []}))


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for number in range(2):
        write_slide(folder / f"slide_{number}.tif", stained(1024, number))
    return folder


def run(slides, out, settings=PLAIN, annotations=None, **options):
    return tile([slides], settings, IngestOptions(out, **options), annotations)


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_labels_follow_the_outlines_and_slides_without_one_are_normal(slides, tmp_path, capsys):
    folder = tmp_path / "outlines"
    folder.mkdir()
    outline(
        folder / "SLIDE_1.json", 256, 256, 320
    )  # two tiles of 128 level-0 pixels a side, and half of a third
    outcome = run(slides, tmp_path / "out", annotations=folder)
    assert "outlines for 1 of 2 slides; those without one count as normal" in capsys.readouterr().err
    items = Store(tmp_path / "out").manifest
    first, second = (items[items["group"] == f"slide_{n}"] for n in (0, 1))
    assert (first["label"] == 0).all()
    assert (first["tumour_fraction"] == 0).all()
    expected = np.array([
        max(0, min(x + 128, 576) - max(x, 256)) * max(0, min(y + 128, 576) - max(y, 256)) / 128**2
        for x, y in second[["x", "y"]].to_numpy()
    ])  # fmt: skip
    assert second["tumour_fraction"].to_numpy() == pytest.approx(expected)
    assert (second["label"] == 1).sum() == 4
    assert second["label"].isna().sum() == 5
    assert second["label"].isna().equals(second["tumour_fraction"].between(1e-9, 1 - 1e-9))
    assert outcome.summary["anomaly"] == 4
    half = TileSettings(stain="none", min_tissue=0.3, labels={"min_fraction": 0.5})
    run(slides, tmp_path / "half", half, folder)
    assert (Store(tmp_path / "half").manifest["label"] == 1).sum() == 8  # the four half-covered ones too


def test_outlines_of_a_class_that_is_not_known_are_asked_about_and_ignored_ones_give_no_label(
    slides, tmp_path
):
    def feature(name, x, y, side):
        ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}

    folder = tmp_path / "outlines"
    folder.mkdir()
    features = [feature("Tumor", 256, 256, 256), feature("DCIS", 640, 640, 128), feature("Fold", 0, 384, 256)]
    (folder / "slide_1.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    command = [
        "tile",
        str(slides),
        "--annotations",
        str(folder),
        "--stain",
        "none",
        "--set",
        "min_tissue=0.3",
    ]
    assert (
        call([*command, "--out", str(tmp_path / "asked")]) == ExitStatus.SOME_REFUSED
    )  # the other slide is tiled
    refused = pd.read_csv(tmp_path / "asked" / "failures.csv")
    assert refused["source"].tolist() == ["slide_1.tif"]
    assert all(part in refused["reason"][0] for part in ("1 of 'DCIS'", "1 of 'Fold'", "--outline-class"))
    said = ["--outline-class", "DCIS=anomaly", "--outline-class", "fold=ignore"]
    assert call([*command, *said, "--out", str(tmp_path / "said")]) == 0
    items = Store(tmp_path / "said").manifest
    items = items[items["group"] == "slide_1"]
    corners = list(zip(items["x"], items["y"], strict=True))
    labels = dict(
        zip(corners, items["label"].astype("object").where(items["label"].notna(), None), strict=True)
    )
    tumour = {(256, 256), (384, 256), (256, 384), (384, 384), (640, 640)}
    folded = {(0, 384), (128, 384), (0, 512), (128, 512)}
    assert {corner for corner, label in labels.items() if label == 1} == tumour & set(corners)
    assert {corner for corner, label in labels.items() if label is None} == folded & set(corners)
    assert tumour & set(corners)
    assert folded & set(corners)
    wrong = [*command, "--out", str(tmp_path / "wrong"), "--outline-class", "DCIS=benign"]
    assert call(wrong) == 2


def test_a_folder_of_outlines_for_other_slides_makes_nothing_normal(slides, tmp_path, capsys):
    folder = tmp_path / "outlines"
    folder.mkdir()
    outline(folder / "another.json", 0, 0, 99)
    run(slides, tmp_path / "out", annotations=folder)
    assert Store(tmp_path / "out").manifest["label"].isna().all()
    assert "all labels stay unknown" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no such folder"):
        run(slides, tmp_path / "other", annotations=tmp_path / "missing")


def test_a_heat_map_beside_its_slide_is_no_slide(slides, tmp_path):
    """ASAP looks for it there, and `esad annotations` writes it: a picture that OpenSlide opens as a slide."""
    archive = tmp_path / "archive"
    archive.mkdir()
    for name in ("slide_0.tif", "slide_0_likelihood_map.tif"):
        shutil.copy(slides / "slide_0.tif", archive / name)
    found = list_slides([archive], PLAIN, tmp_path / "out")
    assert found.sources == ["slide_0.tif"]
    assert any(warning.endswith("(_likelihood_map.tif): 1.") for warning in found.warnings)


def test_an_outline_that_two_slides_could_claim_is_wrong_use(slides, tmp_path):
    for name in "AB":
        (tmp_path / "in" / name).mkdir(parents=True)
        shutil.copy(slides / "slide_0.tif", tmp_path / "in" / name / "s.tif")
    (tmp_path / "outlines").mkdir()
    outline(tmp_path / "outlines" / "s.json", 0, 0, 99)
    with pytest.raises(UsageError, match=r"s\.json: A/s\.tif and B/s\.tif both have its name"):
        run(tmp_path / "in", tmp_path / "out", annotations=tmp_path / "outlines")
    run(tmp_path / "in", tmp_path / "out")
    assert set(Store(tmp_path / "out").manifest["group"]) == {"A/s", "B/s"}


def test_the_tables_say_where_each_tile_is_from(slides, tmp_path):
    run(slides, tmp_path / "out", VAHADANE)
    store = Store(tmp_path / "out")
    assert store.manifest["mpp"].to_numpy() == pytest.approx(np.ones(len(store)), rel=1e-3)
    assert (store.manifest[["width", "height"]] == 128).all(axis=None)
    assert store.manifest["tissue"].between(0.3, 1).all()
    row = store.sources.iloc[0]
    assert (row["width"], row["height"], row["level"], row["reduction"]) == (1024, 1024, 0, 2)
    assert (row["slide_mpp"], row["mpp"]) == pytest.approx((0.5, 1.0), rel=1e-3)
    assert (row["reader"], row["unreadable_tiles"]) == ("jpeg", 0)
    with Image.open(store.root / row["thumbnail"]) as thumbnail:
        assert max(thumbnail.size) <= 1024
        assert thumbnail.width * row["thumbnail_downsample"] == row["width"]
    with Image.open(store.root / row["mask_picture"]) as drawn:
        assert drawn.size == (thumbnail.width, thumbnail.height + LEGEND_HEIGHT)
    matrix = np.array(json.loads(row["stain_matrix"]))
    assert matrix.shape == (2, 3)
    assert np.linalg.norm(matrix, axis=1) == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize("settings", [PLAIN, VAHADANE, TileSettings(stain_scope="tile", min_tissue=0.3)])
def test_a_stage_stopped_at_any_write_continues_to_the_same_bytes(slides, tmp_path, monkeypatch, settings):
    import os

    run(slides, tmp_path / "whole", settings)
    whole, replace = contents(tmp_path / "whole"), os.replace
    writes = len([name for name in whole if name.parts[0] != "failures.csv"])
    for stop in range(0, writes + 1, 3):
        done = 0

        def stopping(source, target, stop=stop):
            nonlocal done
            if done == stop:
                raise KeyboardInterrupt
            done += 1
            replace(source, target)

        out = tmp_path / f"cut{stop}"
        with monkeypatch.context() as patch:
            patch.setattr("esad.preprocessing.store.writing.os.replace", stopping)
            with pytest.raises(KeyboardInterrupt):
                run(slides, out, settings)
        run(slides, out, settings)
        assert contents(out) == whole


def test_losing_the_last_parts_is_made_good(slides, tmp_path):
    for name in ("whole", "cut"):
        run(slides, tmp_path / name)
    for name in (
        "parts/sources-00001.parquet",
        "parts/items-00001.parquet",
        "store.json",
        "manifest.parquet",
    ):
        (tmp_path / "cut" / name).unlink()
    run(slides, tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_what_a_kill_left_under_temporary_names_is_cleared_away(slides, tmp_path):
    run(slides, tmp_path / "whole")
    for name in ("first", "later"):
        (tmp_path / name / "parts").mkdir(parents=True)
        (tmp_path / name / "parts" / ".settings.4711.json").write_text("{")
    run(slides, tmp_path / "first")
    shutil.copytree(tmp_path / "whole", tmp_path / "later", dirs_exist_ok=True)
    (tmp_path / "later" / "shards" / ".00001.4711.npy").write_bytes(b"half a shard")
    (tmp_path / "later" / "store.json").unlink()
    run(slides, tmp_path / "later")
    assert contents(tmp_path / "first") == contents(tmp_path / "later") == contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["notes.txt", "parts/notes.txt", ".hidden"])
def test_a_folder_with_something_else_in_it_is_not_taken_for_a_store(slides, tmp_path, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(EsadError, match="is not a store of this stage"):
        run(slides, tmp_path / "out")
    assert path.read_text() == "mine"


def test_a_corrupt_place_is_counted_and_said(slides, tmp_path, capsys):
    folder = tmp_path / "slides"
    shutil.copytree(slides, folder)
    path = folder / "slide_1.tif"
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[5], file.pages[0].databytecounts[5]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = b"\0" * count
    path.write_bytes(content)
    whole = run(slides, tmp_path / "whole")
    outcome = run(folder, tmp_path / "out")
    assert outcome.summary["unreadable_tiles"] == 4  # 256 pixels hold 2 x 2 tiles of 128
    assert outcome.summary["items"] == whole.summary["items"] - 4
    assert "4 tiles" in outcome.message
    assert "slide_1.tif: 4 tiles could not be read" in capsys.readouterr().err


def test_silent_damaged_and_small_slides_are_refused_with_their_reason(slides, tmp_path):
    folder = tmp_path / "slides"
    shutil.copytree(slides, folder)
    write_slide(folder / "silent.tif", stained(512, 5), mpp=None)
    write_slide(folder / "coarse.tif", stained(512, 5), mpp=3.0)
    write_slide(folder / "tiny.tif", stained(64, 5))
    content = (folder / "slide_0.tif").read_bytes()
    (folder / "cut.tif").write_bytes(content[: len(content) // 3])
    outcome = run(folder, tmp_path / "out")
    assert outcome.exit_status == ExitStatus.SOME_REFUSED
    table = pd.read_csv(tmp_path / "out" / "failures.csv").set_index("source")["reason"]
    wanted = {
        "silent.tif": "--slide-mpp", "coarse.tif": "coarser", "tiny.tif": "smaller than one",
        "cut.tif": "cut.tif",
    }  # fmt: skip
    assert set(table.index) == set(wanted)
    assert all(words in table[name] for name, words in wanted.items())
    assert set(Store(tmp_path / "out").manifest["source"]) == {"slide_0.tif", "slide_1.tif"}
    with pytest.raises(EsadError, match=r"none of 1 inputs.*--slide-mpp"):
        run(folder / "silent.tif", tmp_path / "alone")
    run(folder / "silent.tif", tmp_path / "said", PLAIN.model_copy(update={"slide_mpp": 0.5}))
    assert Store(tmp_path / "said").sources["slide_mpp"].tolist() == [0.5]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A blank slide, one that is out of focus, and one in order."""
    folder = tmp_path_factory.mktemp("mixed")
    write_slide(folder / "blank.tif", np.full((512, 512, 3), 243, np.uint8))
    picture, _ = draw_slide(np.random.default_rng(0), 768, abnormal=False)
    write_slide(folder / "good.tif", picture)
    write_slide(folder / "soft.tif", gaussian_filter(picture, (5, 5, 0)))
    return folder


def test_slides_without_tissue_stay_in_the_table_with_their_reason_and_pictures(mixed, tmp_path, capsys):
    outcome = run(mixed, tmp_path / "out")
    assert outcome.exit_status == ExitStatus.DONE
    assert (outcome.summary["left_out"], outcome.summary["blurred"]) == (1, 1)
    assert "1 slides gave no tile" in outcome.message
    sources = Store(tmp_path / "out").sources.set_index("source")
    blank = sources.loc["blank.tif"]
    assert (blank["state"], blank["items"], blank["width"]) == ("done", 0, 512)
    assert blank["reason"] == "no tissue: 0% in the fullest of 16 places, 30% needed."
    assert sources["reason"].isna().tolist() == [False, True, True]
    for row in sources.itertuples():
        for path in (row.thumbnail, row.mask_picture):
            assert (tmp_path / "out" / path).is_file()
    assert pd.read_csv(tmp_path / "out" / "failures.csv").empty
    assert "soft.tif" in capsys.readouterr().err
    assert sources["focus_note"].notna().tolist() == [False, False, True]
    before = contents(tmp_path / "out")
    assert run(mixed, tmp_path / "out").exit_status == ExitStatus.DONE  # what is blank is not tried again
    assert contents(tmp_path / "out") == before
    assert Store(tmp_path / "out").sources["attempts"].tolist() == [1, 1, 1]


def test_blurred_tiles_are_left_out_where_that_is_asked_for(mixed, tmp_path):
    run(mixed, tmp_path / "all")
    everything = Store(tmp_path / "all")
    sharp = everything.manifest["sharpness"].astype(float)
    good = everything.manifest["source"] == "good.tif"
    assert everything.manifest["sharpness"].dtype == np.float32
    assert sharp[good].min() > 0.18
    assert sharp[~good].max() < 0.13
    least = float(sharp[good].median())
    settings = PLAIN.model_copy(update={"min_sharpness": least})
    outcome = run(mixed, tmp_path / "out", settings)
    store = Store(tmp_path / "out")
    wanted = everything.manifest[good & (sharp >= least)]
    assert store.manifest["item_id"].tolist() == wanted["item_id"].tolist()
    assert np.array_equal(store.read(), everything.read(wanted.index.to_numpy()))
    assert outcome.summary["blurred_tiles"] == len(everything) - len(wanted)
    soft = store.sources.set_index("source").loc["soft.tif"]
    assert (soft["state"], soft["items"]) == ("done", 0)
    assert soft["reason"].startswith(f"blurred: the sharpest of {(~good).sum()} tiles has ")
    for threads in (1, 2):
        run(mixed / "good.tif", tmp_path / f"by{threads}", settings, workers=threads)
    assert contents(tmp_path / "by1") == contents(tmp_path / "by2")


def test_an_archive_without_any_tissue_is_a_failure_that_says_so(mixed, tmp_path):
    for _ in range(2):
        with pytest.raises(
            EsadError, match=r"none of 1 inputs gave an item; first reason: no tissue: 0% .* needed\.$"
        ):
            run(mixed / "blank.tif", tmp_path / "out")
    assert (tmp_path / "out" / "masks" / "00000.png").is_file()
    assert not (tmp_path / "out" / "store.json").exists()


def test_a_slide_of_one_stain_keeps_its_colours_and_says_so(tmp_path, capsys):
    grey = np.full((1024, 1024, 3), 243, np.uint8)
    grey[128:-128, 128:-128] = np.random.default_rng(0).integers(60, 160, (768, 768, 1))
    path = write_slide(tmp_path / "grey.tif", grey)
    outcome = run(path, tmp_path / "out", VAHADANE)
    run(path, tmp_path / "plain", PLAIN)
    assert np.array_equal(Store(tmp_path / "out").read(), Store(tmp_path / "plain").read())
    assert "left as they are" in Store(tmp_path / "out").sources["stain_guard"].iloc[0]
    assert outcome.summary["stain_guarded"] == 1
    assert "grey.tif: stain: tiles left as they are" in capsys.readouterr().err


def test_an_unusable_stain_target_is_wrong_use_before_any_slide(slides, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    for name in ("text.png", "white.png", "missing.png"):
        settings = VAHADANE.model_copy(update={"stain_target": str(tmp_path / name)})
        with pytest.raises(UsageError, match=name):
            run(slides, tmp_path / "out", settings)
    digest = VAHADANE.model_copy(update={"stain_target": "target.png:0123456789abcdef"})
    with pytest.raises(UsageError, match=r"made towards target\.png: give that file"):
        run(slides, tmp_path / "out", digest)
    assert not (tmp_path / "out").exists()


def test_a_tissue_share_of_zero_keeps_the_whole_grid(slides, tmp_path):
    outcome = run(slides, tmp_path / "out", TileSettings(stain="none", min_tissue=0))
    assert outcome.summary["items"] == 2 * 8 * 8


@pytest.mark.data
def test_one_dicom_slide_of_two_files_is_tiled_once(data, tmp_path, capsys):
    files = [data / "slides" / name for name in ("boxes_0.dcm", "boxes_1.dcm")]
    settings = TileSettings(stain="none", magnification=20, tile_size=16, min_tissue=0)
    assert tile(files, settings, IngestOptions(tmp_path / "out")).summary["items"] == 1
    assert "1 DICOM files are further parts" in capsys.readouterr().err


@pytest.mark.data
def test_pixels_of_the_real_slide_are_openslides_own(data, tmp_path):
    path = data / "slides" / "cmu-1-small-region.svs"
    run(path, tmp_path / "out", TileSettings(stain="none"))
    store = Store(tmp_path / "out")
    assert len(store) > 100
    assert store.sources["mpp"].iloc[0] == pytest.approx(0.998)
    tiles = store.read()
    with openslide.OpenSlide(path) as slide:
        for (x, y), ours in zip(store.manifest[["x", "y"]].to_numpy(), tiles, strict=True):
            box = np.asarray(slide.read_region((int(x), int(y)), 0, (128, 128)).convert("RGB"), dtype=int)
            assert np.array_equal(ours, (box.reshape(64, 2, 64, 2, 3).sum((1, 3)) + 2) // 4)


@pytest.mark.data
def test_real_broken_slides_are_refused_and_the_good_one_done(data, tmp_path):
    bad = ["broken.svs", "unopenable.tiff", "unreadable.svs"]
    files = [data / "slides" / name for name in [*bad, "cmu-1-small-region.svs"]]
    outcome = tile(files, TileSettings(stain="none"), IngestOptions(tmp_path / "out"))
    assert outcome.exit_status == ExitStatus.SOME_REFUSED
    assert outcome.refused == 3
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert sorted(failures["source"]) == sorted(bad)
    assert all(source in reason for source, reason in failures[["source", "reason"]].itertuples(index=False))
    assert set(Store(tmp_path / "out").manifest["source"]) == {"cmu-1-small-region.svs"}


def test_a_slide_of_12_bits_in_16_is_read_where_it_says_so_and_else_told(mixed, tmp_path):
    picture = tifffile.imread(mixed / "good.tif")
    how = {"photometric": "rgb", "tile": (256, 256), "resolution": (20_000, 20_000), "resolutionunit": 3}
    tifffile.imwrite(tmp_path / "unsaid.tif", picture.astype(np.uint16) << 4, **how)
    with pytest.raises(EsadError, match=r"no tissue.*Perhaps it is dark: its 16 bits reach 40\d\d at most"):
        run(tmp_path / "unsaid.tif", tmp_path / "out")
    tags = [(281, 3, 3, (4095,) * 3, True)]
    tifffile.imwrite(tmp_path / "said.tif", picture.astype(np.uint16) << 4, extratags=tags, **how)
    run(tmp_path / "said.tif", tmp_path / "said")
    run(mixed / "good.tif", tmp_path / "eight")
    assert np.array_equal(Store(tmp_path / "said").read(), Store(tmp_path / "eight").read())
