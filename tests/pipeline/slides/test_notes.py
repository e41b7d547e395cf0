"""`esad tile` with outlines of each format on slides of Hamamatsu: the same labels, and what is said of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.slides.notes import about_others
from esad.pipeline.stage.errors import ExitStatus
from esad.preprocessing.store.store import Store
from tests.pipeline.test_tile import stained
from tests.preprocessing.slides.ndpi_file import write_ndpi
from tests.preprocessing.slides.outlines.same_outline import FORMATS, MPP, OFFSET, SIZE, asap, geojson, ndpa

SQUARE = [(256, 256), (512, 256), (512, 512), (256, 512)]
"""Four tiles of 128 level-0 pixels."""


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for number, name in enumerate(("slide", "other")):
        write_ndpi(folder / f"{name}.ndpi", stained(SIZE[0], number), MPP, tuple(map(int, OFFSET)))
    return folder


def tile(slides, out, folder, *words):
    return call(
        ["tile", str(slides), "--annotations", str(folder), "--stain", "none", "--set", "min_tissue=0.3", "--out",
         str(out), "--workers", "1",
         "--json", *map(str, words)]
    )  # fmt: skip


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def labels(store, group="slide"):
    """(x, y) -> label, None where there is none."""
    items = Store(store).manifest
    items = items[items["group"] == group]
    values = items["label"].astype(object).where(items["label"].notna(), None)
    return dict(zip(zip(items["x"], items["y"], strict=True), values, strict=True))


def squares(*parts):
    """GeoJSON of a square each: (class, left, top, side)."""
    features = []
    for name, x, y, side in parts:
        ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
        features.append(
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]},
             "properties": {"classification": {"name": name}}}
        )  # fmt: skip
    return json.dumps({"type": "FeatureCollection", "features": features})


@pytest.fixture(scope="module")
def by_format(slides, tmp_path_factory):
    """Name of the format -> the manifest of its store."""
    folder, found = tmp_path_factory.mktemp("formats"), {}
    for name, (ending, text) in FORMATS.items():
        outlines = write(folder / name, **{f"slide{ending}": text()})
        assert tile(slides, folder / f"{name}-store", outlines, "--set", "labels.min_fraction=0.5") == 0
        found[name] = Store(folder / f"{name}-store").manifest
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_outlines_give_the_same_labels_in_every_format(by_format, name):
    one, other = by_format["asap"], by_format[name]
    assert (
        one["label"].value_counts(dropna=False).to_dict()
        == other["label"].value_counts(dropna=False).to_dict()
    )
    pd.testing.assert_series_equal(one["label"], other["label"])
    assert other["tumour_fraction"].to_numpy() == pytest.approx(one["tumour_fraction"].to_numpy(), abs=1e-4)
    assert set(one.loc[one["label"] == 1, "group"]) == {"slide"}
    assert (one["label"] == 0).sum() > (one["label"] == 1).sum() > 0
    assert (one.loc[one["group"] == "other", "label"] == 0).all()


def test_what_was_understood_is_said_once_and_stored(slides, tmp_path, capsys):
    parts = [
        ("Tumor", 256, 256, 256),
        ("Stroma", 0, 0, 99),
        ("Ignore*", 640, 640, 128),
        ("Region*", 128, 128, 768),
    ]
    folder = write(tmp_path / "outlines", slide__geojson=squares(*parts), slide_2__xml=asap(), ghost__xml="")
    assert tile(slides, tmp_path / "store", folder) == 0
    told = capsys.readouterr()
    assert (
        "Outlines of 1 slides: 1 Tumor anomaly; 1 Stroma not a lesion; 1 Ignore* without label; 1 Region* region (outside of it "
        "without label)."
    ) in told.err
    assert "2 outline files match no slide and are not used (first: ghost.xml, slide_2.xml)" in told.err
    assert "1 slides have no outline file: their tiles are normal." in told.err
    figures = json.loads(told.out)["outlines"]
    assert figures == {
        "anomaly": {"Tumor": 1}, "hole": {"Stroma": 1}, "ignore": {"Ignore*": 1}, "region": {"Region*": 1},
        "slides": 1, "without_lesion": 0, "without_file": 1, "without_file_are": "normal",
    }  # fmt: skip
    sources = Store(tmp_path / "store").sources.set_index("source")
    assert json.loads(sources.loc["slide.ndpi", "outlines"]) == {
        "anomaly": {"Tumor": 1}, "hole": {"Stroma": 1}, "ignore": {"Ignore*": 1}, "region": {"Region*": 1}
    }  # fmt: skip
    assert pd.isna(sources.loc["other.ndpi", "outlines"])


def test_tiles_outside_of_regions_and_on_ignored_outlines_have_no_label(slides, tmp_path):
    parts = [("Tumor", 256, 256, 256), ("Necrosis", 640, 640, 100), ("ROI", 128, 128, 680)]
    folder = write(tmp_path / "outlines", slide__geojson=squares(*parts))
    assert tile(slides, tmp_path / "store", folder, "--outline-class", "ROI=region") == 0
    found = labels(tmp_path / "store")
    for (x, y), label in found.items():
        inside = x >= 128 and y >= 128 and x + 128 <= 808 and y + 128 <= 808
        if (x, y) in {(256, 256), (384, 256), (256, 384), (384, 384)}:
            assert label == 1
        else:
            assert label == (0 if inside and (x, y) != (640, 640) else None), (x, y)
    assert set(found.values()) == {0, 1, None}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"slide__geojson": squares(("Region*", 0, 0, 900))},
            "outlines no lesion, only what is passed over (1 of 'Region*')",
        ),
        (
            {"slide__geojson": squares(("Ignore*", 0, 0, 900), ("Exclusion", 0, 0, 9))},
            "1 of 'Exclusion', 1 of 'Ignore*'",
        ),
        ({"slide__geojson": squares(("Tumor", 0, 0, 9), ("Other", 0, 0, 9))}, "1 of 'Other'"),
        ({"slide__xml": asap(group="None", normal="None")}, "3 of 'None'"),
        ({"slide__xml": ""}, "holds nothing (0 bytes)"),
        ({"slide__geojson": squares(("Tumor", 9000, 9000, 99))}, "the slide is 1024 x 1024"),
        ({"slide__json": FORMATS["labelme"][1](size=(512, 512))}, "is 512 x 512, the slide 1024 x 1024"),
    ],
)
def test_a_slide_whose_outlines_are_not_understood_has_no_tiles_and_a_reason(
    slides, tmp_path, files, told, capsys
):
    folder = write(
        tmp_path / "outlines", other__geojson='{"type": "FeatureCollection", "features": []}', **files
    )
    assert tile(slides, tmp_path / "store", folder) == ExitStatus.SOME_REFUSED
    refused = pd.read_csv(tmp_path / "store" / "failures.csv").set_index("source")["reason"]
    assert told in refused["slide.ndpi"]
    assert set(Store(tmp_path / "store").manifest["group"]) == {"other"}
    assert (
        "1 of them outline no lesion (first: other.ndpi): their tiles are normal" in capsys.readouterr().err
    )


def test_what_a_person_says_is_taken_for_a_file_of_passed_outlines(slides, tmp_path):
    folder = write(tmp_path / "outlines", slide__geojson=squares(("Ignore*", 256, 256, 256)))
    assert tile(slides, tmp_path / "store", folder, "--outline-class", "Ignore*=ignore") == 0
    found = labels(tmp_path / "store")
    assert {place for place, label in found.items() if label is None} == {
        (256, 256),
        (384, 256),
        (256, 384),
        (384, 384),
    }
    assert set(found.values()) == {0, None}


def test_slides_without_outlines_may_stay_without_label(slides, tmp_path, capsys):
    folder = write(tmp_path / "outlines", slide__xml=asap())
    assert tile(slides, tmp_path / "store", folder, "--set", "labels.without_outlines=unknown") == 0
    told = capsys.readouterr().err
    assert "outlines for 1 of 2 slides; those without one have no label." in told
    assert "1 slides have no outline file: their tiles have no label." in told
    assert set(labels(tmp_path / "store", "other").values()) == {None}
    items = Store(tmp_path / "store").manifest
    assert items.loc[items["group"] == "other", "tumour_fraction"].isna().all()


def test_a_coco_file_that_names_a_slide_without_annotation_says_that_it_is_normal(slides, tmp_path, capsys):
    folder = write(tmp_path / "outlines", export__json=FORMATS["coco"][1]())
    assert tile(slides, tmp_path / "store", folder, "--set", "labels.without_outlines=unknown") == 0
    told = capsys.readouterr().err
    assert "outlines for 2 of 2 slides" in told
    assert "1 of them outline no lesion (first: other.ndpi)" in told
    assert set(labels(tmp_path / "store", "other").values()) == {0}


def test_anonymous_stores_name_no_file_of_outlines(slides, tmp_path, capsys):
    folder = write(tmp_path / "outlines", slide__xml=asap(), MUELLER__xml="", other__xml="<broken")
    assert tile(slides, tmp_path / "store", folder, "--anonymous", "--group-key", tmp_path / "key") in {0, 3}
    told = capsys.readouterr().err
    assert "1 outline files match no slide and are not used; the outlines" in told
    assert "MUELLER" not in told


def test_hamamatsus_outlines_need_a_slide_that_says_where_it_lies(tmp_path):
    write_ndpi(tmp_path / "slide.ndpi", stained(SIZE[0], 0), MPP, None)
    write_ndpi(tmp_path / "other.ndpi", stained(SIZE[0], 1), MPP, (0, 0))
    folder = write(tmp_path / "outlines", slide__ndpi__ndpa=ndpa(), other__geojson=geojson())
    assert tile(tmp_path, tmp_path / "store", folder) == ExitStatus.SOME_REFUSED
    refused = pd.read_csv(tmp_path / "store" / "failures.csv").set_index("source")["reason"]
    assert "hamamatsu.XOffsetFromSlideCentre" in refused["slide.ndpi"]
    assert np.isfinite(
        Store(tmp_path / "store").sources.set_index("source").loc["other.ndpi", "slide_offset_x"]
    )


def test_a_slide_whose_outlines_cannot_be_read_is_never_normal(slides, tmp_path, capsys):
    folder = write(tmp_path / "outlines", slide__xml=asap())
    (folder / "other.xml").symlink_to("nowhere")
    assert tile(slides, tmp_path / "refused", folder) == ExitStatus.SOME_REFUSED
    refused = pd.read_csv(tmp_path / "refused" / "failures.csv").set_index("source")["reason"]
    assert "other.xml: cannot be read (a link to a file that is not there" in refused["other.ndpi"]
    (folder / "other.xml").unlink()
    (folder / "other.svg").write_text("<svg/>")
    capsys.readouterr()
    assert tile(slides, tmp_path / "unread", folder) == 0
    told = capsys.readouterr().err
    assert (
        "1 files are named as slides that have no outline file, and are not read (first: other.svg)" in told
    )
    assert "slides have no outline file: their tiles are normal" not in told
    assert set(labels(tmp_path / "unread", "other").values()) == {None}
    assert set(labels(tmp_path / "unread", "slide").values()) >= {0}


def test_outlines_of_nearly_a_slides_name_leave_it_without_labels(slides, tmp_path, capsys):
    folder = write(tmp_path / "outlines", slide__xml=asap())
    (folder / "other (1).xml").write_text(asap())
    assert tile(slides, tmp_path / "store", folder) == 0
    told = capsys.readouterr().err
    assert (
        "1 slides have no outline file, but one of nearly their name (first: other (1).xml; of other.ndpi?)"
        in told
    )
    assert "rename it as its slide (other.xml)" in told
    assert set(labels(tmp_path / "store", "other").values()) == {None}
    assert tile(slides, tmp_path / "hidden", folder, "--anonymous", "--group-key", tmp_path / "key") == 0
    assert "other" not in capsys.readouterr().err


def test_outlines_that_may_mean_slides_are_told_with_them_and_take_no_label(slides, tmp_path, capsys):
    folder = write(tmp_path / "outlines", slide__xml=asap(), my_old_other__xml=asap())
    assert tile(slides, tmp_path / "store", folder) == 0
    told = capsys.readouterr().err
    assert "1 of them may be of a slide by their names (my_old_other.xml: other.ndpi): rename these" in told
    assert set(labels(tmp_path / "store", "other").values()) == {0}


def test_an_outline_file_that_may_mean_many_slides_is_told_apart():
    names = [f"case_{number}.svs" for number in range(1, 6)]
    told = about_others({Path("case.xml"): names, Path("other.xml"): []}, True)
    assert "2 outline files match no slide and are not used (first: case.xml, other.xml)" in told[0]
    assert "(case.xml: case_1.svs, case_2.svs, case_3.svs, ... 5 in all). If they outline these" in told[1]
    assert "case" not in " ".join(about_others({Path("case.xml"): names}, False))
    assert about_others({}, True) == []


def test_a_mask_beside_its_slide_is_no_slide_and_leaves_it_without_labels(slides, tmp_path, capsys):
    archive = tmp_path / "archive"
    shutil.copytree(slides, archive)
    shutil.copy(archive / "other.ndpi", archive / "other_mask.ndpi")
    folder = write(tmp_path / "outlines", slide__xml=asap())
    assert tile(archive, tmp_path / "store", folder) == 0
    told = capsys.readouterr().err
    assert "Left out as masks of other slides, by their names (SLIDE_mask): 1." in told
    assert "heat maps" not in told
    assert "are not read (first: other_mask.ndpi)" in told
    assert set(Store(tmp_path / "store").manifest["source"]) == {"slide.ndpi", "other.ndpi"}
    assert set(labels(tmp_path / "store", "other").values()) == {None}
    assert set(labels(tmp_path / "store", "slide").values()) >= {0}


def test_a_class_that_no_outline_has_is_told(slides, tmp_path, capsys):
    folder = write(tmp_path / "outlines", slide__geojson=squares(("DCIS", 256, 256, 256)))
    words = ("--outline-class", "dcis=anomaly", "--outline-class", "Fold=ignore")
    assert tile(slides, tmp_path / "store", folder, *words) == 0
    told = capsys.readouterr().err
    assert "No outline that was read is of 'Fold' (--outline-class)" in told
    assert "is of 'dcis'" not in told
    words = ("--outline-class", "DCIS=anomaly", "--outline-class", "dcis=hole")
    assert tile(slides, tmp_path / "other", folder, *words) == ExitStatus.WRONG_USE
    assert "stands twice" in capsys.readouterr().err
