"""Slides that OpenSlide does not read alone, from file to store: OME-TIFF, JPEG 2000, DICOM files that share UIDs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

from esad.pipeline.cli.app import call
from esad.preprocessing.store.store import Store
from tests.preprocessing.slides.test_series import write_level

WORDS = ["--magnification", "10", "--min-tissue", "0", "--stain", "none", "--workers", "1"]


def tiled(folder, out, *words):
    status = call(["tile", str(folder), "--out", str(out), *WORDS, *words])
    return status, pd.read_parquet(out / "sources.parquet").set_index("source")


def planned(folder, capsys):
    status = call(["plan", str(folder), "--magnification", "10", "--min-tissue", "0", "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)


def test_tiles_of_ome_tiff_and_jpeg_2000_are_area_means_of_imread(tmp_path, picture, capsys):
    folder = tmp_path / "slides"
    folder.mkdir()
    nm = {
        "axes": "YXS",
        "PhysicalSizeX": 500,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 500,
        "PhysicalSizeYUnit": "nm",
    }
    kept = {"photometric": "rgb", "tile": (256, 256)}
    tifffile.imwrite(folder / "a.ome.tif", picture, compression="jpeg", metadata=nm, **kept)
    tifffile.imwrite(
        folder / "b.tif", picture, compression="jpeg2000", metadata=None, resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER", **kept,
    )  # fmt: skip
    status, summary = planned(folder, capsys)
    assert (status, summary["tiles_at_most"], summary["readers"]) == (0, 32, {"tifffile": 2})
    assert [slide["note"] for slide in summary["per_slide"]] == [
        "read by tifffile (JPEG)", "read by tifffile (JPEG2000)",
    ]  # fmt: skip
    status, sources = tiled(folder, tmp_path / "out")
    said = capsys.readouterr().err
    assert status == 0
    assert "b.tif: read by tifffile (JPEG2000)" in said
    assert sources["reader"].tolist() == ["tifffile"] * 2
    assert sources["reader_note"].tolist() == ["read by tifffile (JPEG)", "read by tifffile (JPEG2000)"]
    assert sources["items"].tolist() == [16, 16]
    assert np.allclose(sources["slide_mpp"], 0.5)
    store = Store(tmp_path / "out")
    for number, name in enumerate(("a.ome.tif", "b.tif")):
        truth = tifffile.imread(folder / name).astype(int).reshape(256, 2, 256, 2, 3).sum((1, 3))
        means = ((truth + 2) // 4).reshape(4, 64, 4, 64, 3).swapaxes(1, 2).reshape(16, 64, 64, 3)
        assert np.array_equal(store.shard(number), means)


def test_a_slide_that_neither_reads_is_refused_and_the_others_go_on(tmp_path, picture, capsys):
    folder = tmp_path / "slides"
    folder.mkdir()
    tifffile.imwrite(folder / "grey.tif", picture[..., 0], photometric="minisblack", metadata=None)
    tifffile.imwrite(folder / "ok.tif", picture, photometric="rgb", metadata=None, compression="zlib")
    status, sources = tiled(folder, tmp_path / "out", "--slide-mpp", "0.5")
    assert status == 3
    assert sources["state"].to_dict() == {"grey.tif": "refused", "ok.tif": "done"}
    assert "one sample a pixel, grey" in sources.loc["grey.tif", "reason"]
    assert "OME-TIFF" in (tmp_path / "out" / "failures.csv").read_text()


def test_the_same_dicom_slide_under_two_names_is_told(tmp_path, capsys):
    folder = tmp_path / "slides"
    folder.mkdir()
    write_level(folder / "a.dcm", 50, side=256, mpp=4.0)
    shutil.copy(folder / "a.dcm", folder / "b.dcm")
    _, summary = planned(folder, capsys)
    assert summary["slides"] == 1
    status, sources = tiled(folder, tmp_path / "out")
    assert status == 0
    assert sources["items"].to_dict() == {"a.dcm": 16, "b.dcm": 0}
    assert "the same file as another" in sources.loc["b.dcm", "reason"]
    assert "b.dcm: the same file as another" in capsys.readouterr().err


def test_dicom_slides_of_the_same_uids_and_other_pixels_are_each_read_and_told(tmp_path, capsys):
    folder = tmp_path / "slides"
    folder.mkdir()
    for name, grey in (("a", 50), ("b", 200)):
        write_level(folder / f"{name}.dcm", grey, side=256, mpp=4.0)
    status, sources = tiled(folder, tmp_path / "out")
    said = capsys.readouterr().err
    assert status == 0
    assert sources["items"].to_dict() == {"a.dcm": 16, "b.dcm": 16}
    assert all("same UIDs" in note for note in sources["reader_note"])
    assert "a.dcm: another file of its folder has the same UIDs" in said
    store = Store(tmp_path / "out")
    assert [round(float(store.shard(number).mean()), -1) for number in (0, 1)] == [50, 200]


def test_dicom_slides_of_several_levels_that_share_uids_are_refused_by_name(tmp_path, capsys):
    folder = tmp_path / "slides"
    folder.mkdir()
    for name, grey in (("a", 50), ("b", 200)):
        write_level(folder / f"{name}0.dcm", grey, side=256, mpp=4.0)
        write_level(folder / f"{name}1.dcm", grey, side=128, uid="1.2.3.2", mpp=4.0)
    write_level(folder / "ok.dcm", 90, side=256, mpp=4.0, series="1.2.4", uid="1.2.4.1")
    status, summary = planned(folder, capsys)
    assert status == 3
    assert {problem["problem"] for problem in summary["problems"]} == {"same UIDs"}
    status, sources = tiled(folder, tmp_path / "out")
    assert status == 3
    assert (sources["state"] == "refused").to_dict() == {
        "a0.dcm": True, "a1.dcm": True, "b0.dcm": True, "b1.dcm": True, "ok.dcm": False,
    }  # fmt: skip
    assert "1.2.3" not in capsys.readouterr().err


def test_no_name_of_another_file_is_written_under_anonymous(tmp_path, capsys):
    folder = tmp_path / "slides"
    folder.mkdir()
    write_level(folder / "smith_a.dcm", 50, side=256, mpp=4.0)
    write_level(folder / "smith_b.dcm", 200, side=256, mpp=4.0)
    shutil.copy(folder / "smith_a.dcm", folder / "smith_c.dcm")
    out, key = tmp_path / "out", tmp_path / "key"
    assert call(["tile", str(folder), "--out", str(out), *WORDS, "--anonymous", "--group-key", str(key)]) == 0
    assert "smith" not in capsys.readouterr().err.replace(str(folder), "")
    assert "smith" not in pd.read_parquet(out / "sources.parquet").to_csv()
