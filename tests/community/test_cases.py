"""Small inputs that the product once got wrong, in ../shared/cases: every folder there is driven as its user drove it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import tifffile

from esad.pipeline.cli.app import call
from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.annotations import read_areas, read_outlines
from esad.preprocessing.store.store import Store, read_sources

CASES = Path(os.environ.get("ESAD_CASES", Path(__file__).resolve().parents[3] / "shared" / "cases"))


@pytest.fixture
def case(request, tmp_path):
    """A copy of the case's folder, whose name is the test's parameter."""
    if not CASES.is_dir():
        pytest.skip(f"the cases are absent: {CASES} (set ESAD_CASES)")
    shutil.copytree(CASES / request.param, tmp_path / "case", copy_function=shutil.copy)
    (tmp_path / "case" / "expected.md").unlink()
    return tmp_path / "case"


def of(name):
    return pytest.mark.parametrize("case", [name], indirect=True)


def ingest(*words, out, status=0):
    """The store and sources of an ingest call that ends with `status`."""
    assert call([*map(str, words), "--out", str(out)]) == status
    return Store(out), read_sources(out)


def labels(store):
    label = store.manifest["label"]
    return int((label == 0).sum()), int((label == 1).sum()), int(label.isna().sum())


def test_every_case_has_a_test():
    if not CASES.is_dir():
        pytest.skip(f"the cases are absent: {CASES} (set ESAD_CASES)")
    named = {mark.args[1][0] for test in TESTS for mark in test.pytestmark if mark.name == "parametrize"}
    assert {path.name for path in CASES.iterdir() if path.is_dir()} == named


@of("dicom-hot-pixels")
def test_a_few_saturated_pixels_do_not_squeeze_the_greys(case, tmp_path):
    store, sources = ingest("radiographs", case, out=tmp_path / "o")
    values = store.read()[0, ..., 0]
    assert np.percentile(values, 5) < 45
    assert np.percentile(values, 95) > 210
    assert "grey range" in sources["notes"][0]


@of("dicom-window-width-zero")
def test_a_window_without_width_counts_as_absent(case, tmp_path):
    store, sources = ingest("radiographs", case, out=tmp_path / "o")
    values = store.read()[0, ..., 0].astype(int)
    side = values.shape[0]
    found = [int(np.median(values[:, column])) for column in (0, side // 2, side - 1)]
    assert found == pytest.approx([33, 129, 222], abs=3)
    assert "window" in sources["notes"][0]


@of("images-grey-among-colour")
def test_one_grey_picture_stops_no_archive(case, tmp_path):
    store, sources = ingest("images", case / "pmix", "--size", 64, out=tmp_path / "o")
    assert store.shape == (64, 64, 3)
    assert (sources["state"] == "done").all()
    pictures = dict(
        zip(store.manifest["source"].str.split("/").str[-1], store.read().astype(int), strict=True)
    )
    plain = pictures["plain.png"]
    alike = [name for name in pictures if name.split(".")[0] in ("cmyk", "palette", "rgba", "alpha")]
    assert alike
    for name in alike:
        assert np.abs(pictures[name] - plain).mean() < 3, name
    turned = next(picture for name, picture in pictures.items() if name.startswith("exif6"))
    assert turned[:, -8:, 0].mean() > turned[:, :8, 0].mean() + 50


@of("mat-crash")
def test_a_file_that_kills_its_reader_kills_nothing_else(case, tmp_path):
    assert call(["tables", str(case), "--out", str(tmp_path / "o")]) == 1
    assert "bad.mat" in (tmp_path / "o" / "failures.csv").read_text()


@of("mat-traceback")
def test_a_damaged_mat_is_refused_alone(case, tmp_path):
    store, sources = ingest("tables", case, out=tmp_path / "o", status=3)
    assert set(store.manifest["source"]) == {"good.csv"}
    assert sources.set_index("source")["state"]["bad.mat"] == "refused"


@of("npz-giant-shape")
def test_a_giant_shape_is_refused_alone(case, tmp_path):
    store, sources = ingest("tables", case, out=tmp_path / "o", status=3)
    assert set(store.manifest["source"]) == {"t.csv"}
    assert "claims" in sources.set_index("source")["reason"]["giant.npz"]


@of("npz-header-traceback")
def test_a_damaged_header_is_refused_alone(case, tmp_path):
    store, sources = ingest("images", case, out=tmp_path / "o", status=3)
    assert store.manifest["source"].tolist() == ["good.png"]
    assert sources.set_index("source")["state"]["bad.npz"] == "refused"


@of("npz-inflates")
def test_a_bomb_is_refused_in_little_memory(case, tmp_path):
    subprocess.run([sys.executable, "make.py"], cwd=case, check=True)
    before = psutil.Process().memory_info().rss
    assert call(["tables", str(case / "bomb.npz"), "--out", str(tmp_path / "o")]) == 1
    assert psutil.Process().memory_info().rss - before < 2e8
    assert "claims 4 GB" in (tmp_path / "o" / "failures.csv").read_text()


@of("outlines-decimal-comma")
def test_decimal_commas_of_asap(case):
    assert read_outlines(case / "asap_comma.xml").bounds[0] == 100.5


@of("outlines-imagescope")
def test_imagescope_outlines_have_an_area(case):
    assert read_outlines(case / "imagescope.xml").area == 640000


@of("outlines-unknown-class")
def test_an_unknown_class_is_asked_about(case):
    with pytest.raises(InputError, match=r"DCIS.*--outline-class"):
        read_areas(case / "mixed.geojson")
    assert read_areas(case / "mixed.geojson", {"DCIS": "anomaly"}).tumour.area > 10000


TILE = ("--magnification", 10, "--min-tissue", 0, "--stain", "none")


@of("slide-jpeg2000-tiff")
def test_what_openslide_cannot_open_is_read_all_the_same(case, tmp_path):
    store, sources = ingest("tile", case, *TILE, out=tmp_path / "o")
    whole = tifffile.imread(case / "jp2k.tif")
    assert len(store) > 0
    assert store.read().mean() == pytest.approx(whole.mean(), abs=3)
    assert "tifffile" in sources["reader_note"][0]


@of("slide-ome-tiff-mpp")
def test_microns_per_pixel_of_ome(case, tmp_path):
    store, _ = ingest("tile", case, *TILE, out=tmp_path / "o")
    assert (len(store), store.shape) == (16, (64, 64, 3))


@of("store-json-broken")
def test_a_broken_store_is_one_line(case, tmp_path, capsys):
    assert call(["train", str(case / "store"), "--out", str(tmp_path / "r")]) == 1
    told = capsys.readouterr().err
    assert "store.json" in told
    assert "--force" in told


@of("table-decimal-comma")
def test_a_european_spreadsheet(case, tmp_path):
    store, sources = ingest("tables", case / "eu.csv", "--label", "y", out=tmp_path / "o")
    assert (len(store), store.shape, labels(store)) == (60, (4,), (54, 6, 0))
    assert store.read()[0, 0] == np.float32(15.29)
    assert "semicolons, decimal commas" in sources["notes"][0]


@of("table-index-column")
def test_a_column_that_numbers_the_rows_is_no_feature(case, tmp_path):
    store, sources = ingest("tables", case, out=tmp_path / "o")
    assert store.columns == list("abcd")
    assert "numbers the rows" in sources["notes"][0]


@of("table-label-minus-one")
def test_labels_of_1_and_minus_1(case, tmp_path, capsys):
    store, _ = ingest("tables", case, "--label", "y", out=tmp_path / "o")
    assert labels(store) == (54, 6, 0)
    assert "1 (54) as normal, -1 (6) as anomaly" in capsys.readouterr().err


@of("table-missing-values")
def test_missing_values_are_counted_dropped_or_filled(case, tmp_path, capsys):
    assert call(["tables", str(case), "--out", str(tmp_path / "o")]) == 1
    assert "2 such cells in 2 of 60 rows" in capsys.readouterr().err
    assert len(ingest("tables", case, "--missing", "drop", out=tmp_path / "d")[0]) == 58
    store, _ = ingest("tables", case, "--missing", "median", out=tmp_path / "m")
    assert int(np.isnan(store.read()).sum()) == 2


@of("table-vector-column")
def test_vectors_are_spread(case, tmp_path):
    store, _ = ingest("tables", case, "--label", "y", out=tmp_path / "o")
    assert store.columns == ["emb_0", "emb_1", "emb_2", "emb_3"]
    vectors = pd.read_parquet(case / "vector.parquet")["emb"]
    assert np.allclose(store.read()[0], np.asarray(vectors[0], np.float32))


TESTS = [
    value
    for name, value in list(globals().items())
    if name.startswith("test_") and hasattr(value, "pytestmark")
]
