"""`esad annotations`: files for QuPath, ASAP and OpenSlide, read back by other libraries; each value at its place on the slide."""

from __future__ import annotations

import gzip
import json
import re
import shutil

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
import tifffile
from shapely.geometry import shape

from esad.pipeline.annotating.candidate_shapes import CANDIDATE, COLOURS, HOLE, SUSPICIOUS
from esad.pipeline.annotating.qupath import object_id
from esad.pipeline.cli.app import call
from esad.preprocessing.privacy import file_hash, read_key, remember_names
from esad.preprocessing.slides.outlines.reading import read_areas
from tests.pipeline.annotating.scored import tiles_of, write_scn, write_scores_folder

ODD = (1237, 989)
"""Neither a multiple of a tile nor even."""
RING = {(column, row): 2.0 for column in (4, 5, 6) for row in (3, 4, 5) if (column, row) != (5, 4)}
LONE = {(11, 8): 9.0}
SCN = ((1600, 1200), (304, 208, 801, 603))
MEANING = {CANDIDATE.lower(): "anomaly", HOLE.lower(): "hole"}


def esad(*words):
    return call([str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """archive/ with a slide that begins outside (0, 0); scores/ of it and of one of odd size that is not there; out/."""
    folder = tmp_path_factory.mktemp("annotations")
    (folder / "archive").mkdir()
    write_scn(folder / "archive" / "leica.scn", *SCN)
    slides = {
        "odd.svs": (ODD, tiles_of("odd.svs", ODD, {**RING, **LONE})),
        "leica.scn": (
            SCN[0],
            tiles_of("leica.scn", (1105, 811), {(2, 1): 5.0, (3, 2): 4.0}, origin=(304, 208)),
        ),
    }
    write_scores_folder(folder / "scores", slides)
    return folder


@pytest.fixture(scope="module")
def out(folder):
    words = ["annotations", folder / "scores", "--out", folder / "odd", "--slide", "odd", "--tiles", "all"]
    assert esad(*words) == 0
    return folder / "odd"


@pytest.fixture(scope="module")
def bounded(folder):
    words = [
        "annotations",
        folder / "scores",
        "--out",
        folder / "leica",
        "--slide",
        "leica.scn",
        "--tiles",
        "all",
    ]
    assert esad(*words, "--archive", folder / "archive") == 0
    return folder / "leica"


@pytest.fixture(scope="module")
def scores(folder):
    return pd.read_parquet(folder / "scores" / "scores.parquet").groupby("source")


def features(path):
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection"
    return content["features"]


def of_kind(found, kind):
    return [each for each in found if each["properties"]["objectType"] == kind]


def middles(tiles):
    return (tiles[["x", "y"]].to_numpy() + tiles[["width", "height"]].to_numpy() / 2).astype(float)


def test_each_tile_is_a_tile_of_qupath_with_its_place_and_all_its_scores(out, scores):
    tiles = scores.get_group("odd.svs")
    found = of_kind(features(out / "qupath" / "odd.geojson"), "tile")
    assert len(found) == len(tiles) == 108
    by_id = {each["id"]: each for each in found}
    assert len(by_id) == 108
    for row in tiles.to_dict("records"):
        each = by_id[object_id(row["item_id"])]
        ring = each["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]
        box = (row["x"], row["y"], row["x"] + row["width"], row["y"] + row["height"])
        assert shape(each["geometry"]).bounds == box
        told = each["properties"]["measurements"]
        assert set(told) == {"score", "percentile", "p_value", "reconstruction", "norm"}
        assert all(told[name] == pytest.approx(row[name], rel=1e-8) for name in told)
        is_high = row["score"] >= 1
        assert each["properties"].get("classification") == (
            {"name": SUSPICIOUS, "color": list(COLOURS[SUSPICIOUS])} if is_high else None
        )
    right, bottom = (np.max([shape(each["geometry"]).bounds[n] for each in found]) for n in (2, 3))
    assert (right, bottom) == (1204, 903)  # 12 and 9 tiles of 100.39 pixels: 1104 + 100, 803 + 100


def test_candidates_are_the_groups_of_candidates_parquet_with_holes_as_inner_rings(out, folder):
    known = pd.read_parquet(folder / "scores" / "candidates.parquet")
    known = known[known["source"] == "odd.svs"].reset_index(drop=True)
    found = of_kind(features(out / "qupath" / "odd.geojson"), "annotation")
    assert (
        [each["properties"]["measurements"]["score"] for each in found] == known["score"].tolist() == [9, 2]
    )
    assert (
        [each["properties"]["measurements"]["tiles"] for each in found] == known["tiles"].tolist() == [1, 8]
    )
    for each, (_, row) in zip(found, known.iterrows(), strict=True):
        area = shape(each["geometry"])
        assert area.is_valid
        assert area.bounds == (row["left"], row["top"], row["right"], row["bottom"])
        assert each["properties"]["classification"] == {"name": CANDIDATE, "color": list(COLOURS[CANDIDATE])}
    ring = found[1]["geometry"]
    assert (ring["type"], len(ring["coordinates"])) == ("Polygon", 2)
    assert all(part[0] == part[-1] for part in ring["coordinates"])
    left, top, right, bottom = shape(ring).interiors[0].bounds
    assert (round((right - left) / 100), round((bottom - top) / 100)) == (1, 1)
    assert shapely.Polygon(ring["coordinates"][0]).exterior.is_ccw


def test_our_own_reader_reads_both_formats_back_as_the_same_area(out, scores):
    tiles = scores.get_group("odd.svs")
    high = tiles[tiles["score"] >= 1]
    union = shapely.union_all(
        shapely.box(high["x"], high["y"], high["x"] + high["width"], high["y"] + high["height"])
    )
    for path in (out / "qupath" / "odd.geojson", out / "asap" / "odd.xml"):
        area = read_areas(path, MEANING).tumour
        assert (
            area.symmetric_difference(union).area <= 8 * 3 * 101
        )  # rounded corners leave gaps of a pixel, closed here
        assert not area.contains(shapely.Point(middles(tiles)[12 * 4 + 5]))  # the hole
    text = (out / "asap" / "odd.xml").read_text()
    assert text.count('Color="#D55E00"') == 2 + 1  # two candidates and their group
    assert re.search(rf'Group Name="{CANDIDATE}" PartOfGroup="None" Color="#D55E00"', text)


def test_bounds_are_taken_off_for_qupath_and_not_for_asap(bounded, scores):
    tiles = scores.get_group("leica.scn").sort_values("score", ascending=False)
    left, top = SCN[1][:2]
    found = features(bounded / "qupath" / "leica.geojson")
    first = next(each for each in found if each["id"] == object_id(tiles["item_id"].iloc[0]))
    assert shape(first["geometry"]).bounds[:2] == (tiles["x"].iloc[0] - left, tiles["y"].iloc[0] - top)
    candidate = of_kind(found, "annotation")[0]
    assert (
        candidate["geometry"]["type"] == "MultiPolygon"
    )  # two tiles that touch at a corner are one candidate
    area = read_areas(bounded / "asap" / "leica.xml", MEANING).tumour
    moved = shapely.affinity.translate(shape(candidate["geometry"]), left, top)
    assert area.symmetric_difference(moved).area == 0
    row = pd.read_parquet(bounded / "slides.parquet").iloc[0]
    assert tuple(row[["shown_left", "shown_top", "shown_width", "shown_height"]]) == SCN[1]


def test_tiles_outside_the_bounds_are_not_written_where_they_are_not_shown(folder, tmp_path):
    tiles = tiles_of("leica.scn", SCN[0], {(0, 0): 8.0, (5, 4): 7.0, (15, 9): 6.0})
    write_scores_folder(tmp_path / "scores", {"leica.scn": (SCN[0], tiles)})
    words = ["annotations", tmp_path / "scores", "--archive", folder / "archive", "--out", tmp_path / "out"]
    assert esad(*words, "--tiles", "all", "--format", "qupath", "--format", "asap") == 0
    found = features(tmp_path / "out" / "qupath" / "leica.geojson")
    assert [each["properties"]["measurements"]["score"] for each in of_kind(found, "annotation")] == [7]
    for each in found:
        left, top, right, bottom = shape(each["geometry"]).bounds
        assert (left < 801, top < 603, right > 0, bottom > 0) == (True,) * 4
    assert len(of_kind(found, "tile")) == 9 * 7
    asap = (tmp_path / "out" / "asap" / "leica.xml").read_text()
    assert asap.count("<Annotation ") == 3


@pytest.mark.parametrize("source", ["odd.svs", "leica.scn"])
def test_the_heats_value_at_the_middle_of_each_tile_is_its_score(out, bounded, scores, source):
    tiles, stem = scores.get_group(source), source.split(".")[0]
    left, top, width, height = (0, 0, *ODD) if stem == "odd" else SCN[1]
    path = (out if stem == "odd" else bounded) / "ome-tiff" / f"{stem}.ome.tif"
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        series = file.series[0]
        assert (series.axes, series.dtype, series.is_pyramidal) == ("CYX", np.float32, len(series.levels) > 1)
        heat, page = series.asarray(), series.pages[0]
        assert (page.tilewidth, page.tilelength) == (256, 256)
        described = file.ome_metadata
    rows, columns = heat.shape[1:]
    size = [float(re.search(rf'PhysicalSize{axis}="([\d.]+)"', described)[1]) for axis in "XY"]
    assert size == pytest.approx([0.25 * width / columns, 0.25 * height / rows])
    assert re.findall(r'Channel ID="\S+" .*?Name="(\w+)"', described) == ["score", "percentile"]
    at = ((middles(tiles) - (left, top)) * 0.25 / size).astype(int)  # by the heat's own pixel
    assert heat[0][at[:, 1], at[:, 0]] == pytest.approx(tiles["score"].to_numpy(dtype=np.float32), abs=0)
    assert heat[1][at[:, 1], at[:, 0]] == pytest.approx(tiles["percentile"].to_numpy(dtype=np.float32), abs=0)
    last = tiles.iloc[-1]
    corner = np.array([last["x"] + last["width"] - left, last["y"] + last["height"] - top]) * 0.25 / size
    inside, outside = np.floor(corner - 0.75).astype(int), np.ceil(corner + 0.25).astype(int)
    assert heat[0][inside[1], inside[0]] == np.float32(last["score"])
    assert np.isnan(heat[0][outside[1] :, :]).all()
    assert np.isnan(heat[0][:, outside[0] :]).all()


def test_openslide_opens_the_colours_over_the_whole_slide(out, bounded, scores):
    for source, root, size in (("odd.svs", out, ODD), ("leica.scn", bounded, SCN[0])):
        path = root / "tiff" / f"{source.split('.')[0]}_likelihood_map.tif"
        tiles = scores.get_group(source)
        with openslide.OpenSlide(path) as heat:
            assert heat.properties["openslide.vendor"] == "generic-tiff"
            scale = np.array(heat.dimensions) / size
            mpp = [float(heat.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
            assert np.multiply(mpp, heat.dimensions) == pytest.approx(np.multiply(size, 0.25), rel=1e-6)
            picture = np.asarray(heat.read_region((0, 0), 0, heat.dimensions))
        at = (middles(tiles) * scale).astype(int)
        alpha = picture[at[:, 1], at[:, 0], 3]
        assert (alpha > 0).tolist() == (tiles["score"] >= 1).tolist()


def test_a_large_heat_has_levels_of_half_the_sides_in_both_files(tmp_path):
    size = (30011, 20017)
    tiles = tiles_of("big.svs", size, {(100, 77): 3.0}, downsample=8.013)
    write_scores_folder(tmp_path / "scores", {"big.svs": (size, tiles)}, downsample=8.013)
    assert esad("annotations", tmp_path / "scores", "--out", tmp_path / "out") == 0
    with tifffile.TiffFile(tmp_path / "out" / "ome-tiff" / "big.ome.tif") as file:
        levels = [level.asarray() for level in file.series[0].levels]
        assert len(file.series) == 1
        assert len(file.pages[0].subifds) == len(levels) - 1
    with openslide.OpenSlide(tmp_path / "out" / "tiff" / "big_likelihood_map.tif") as heat:
        assert heat.level_downsamples == pytest.approx([2**n for n in range(heat.level_count)], abs=0)
        sides = heat.level_dimensions
    assert [level.shape[:0:-1] for level in levels] == list(sides)
    assert len(levels) == 3
    assert max(sides[-1]) <= 256 < max(sides[-2])
    x, y = middles(tiles[tiles["score"] == 3.0])[0]
    for level in levels:  # the one high tile is to be seen on each level
        rows, columns = level.shape[1:]
        assert level[0, int(y * rows / size[1]), int(x * columns / size[0])] == 3
        assert np.nanmax(level[0]) == 3
    found = features(tmp_path / "out" / "qupath" / "big.geojson")
    assert [each["properties"]["objectType"] for each in found] == ["annotation", "tile"]  # of 9000


def test_overlapping_tiles_each_show_their_score_at_their_middle(tmp_path):
    tiles = tiles_of("step.svs", ODD, step=16)
    write_scores_folder(tmp_path / "scores", {"step.svs": (ODD, tiles)}, step=16)
    assert esad("annotations", tmp_path / "scores", "--out", tmp_path / "out", "--format", "ome-tiff") == 0
    heat = tifffile.imread(tmp_path / "out" / "ome-tiff" / "step.ome.tif")
    at = (middles(tiles) * np.array(heat.shape[:0:-1]) / ODD).astype(int)
    assert heat[0][at[:, 1], at[:, 0]] == pytest.approx(tiles["score"].to_numpy(dtype=np.float32), abs=0)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["ome-tiff"]


def test_a_slide_that_begins_elsewhere_needs_its_archive_and_does_not_stop_the_others(
    folder, tmp_path, capsys
):
    words = ["annotations", folder / "scores", "--out", tmp_path / "out"]
    assert esad(*words) == 3
    assert "--archive FOLDER" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "out" / "failures.csv")["source"].tolist() == ["leica.scn"]
    assert (tmp_path / "out" / "qupath" / "odd.geojson").is_file()
    assert not (tmp_path / "out" / "annotations.json").exists()
    assert esad(*words, "--format", "asap", "--force") == 0  # ASAP's places are those of level 0
    assert not (tmp_path / "out" / "qupath").exists()


@pytest.mark.parametrize(("spoil", "told"), [
    (lambda path: path.unlink(), "not in the archive"),
    (lambda path: path.write_bytes(b"II*\0 no slide"), "cannot"),
    (lambda path: write_scn(path, (1600, 1208), SCN[1]), "1600 x 1208 pixels in the archive, and 1600 x 1200"),
])  # fmt: skip
def test_a_slide_that_is_gone_damaged_or_another_is_refused_alone(folder, tmp_path, spoil, told):
    shutil.copytree(folder / "archive", tmp_path / "archive")
    odd = write_scn(tmp_path / "archive" / "odd.svs", (1237, 989), (8, 8, 99, 99))
    spoil(tmp_path / "archive" / "leica.scn")
    words = ["annotations", folder / "scores", "--archive", tmp_path / "archive", "--out", tmp_path / "out"]
    assert esad(*words) == 3
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert failures["source"].tolist() == ["leica.scn"]
    assert told in failures["reason"][0]
    assert (tmp_path / "out" / "qupath" / "odd.geojson").is_file(), odd
    shutil.copy(folder / "archive" / "leica.scn", tmp_path / "archive" / "leica.scn")
    assert esad(*words) == 0


def test_finished_files_are_left_alone_and_the_same_scores_give_the_same_bytes(folder, out, tmp_path, capsys):
    words = ["annotations", folder / "scores", "--slide", "odd", "--tiles", "all", "--out"]
    assert esad(*words, out) == 0
    assert "Left alone" in capsys.readouterr().err
    assert esad(*words, tmp_path / "again") == 0
    ours = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert ours == sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    assert all((out / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in ours)
    assert esad(*words, out, "--least-percentile", "0.9") == 1
    assert "holds other annotations" in capsys.readouterr().err
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.txt").write_text("mine")
    assert esad(*words, tmp_path / "theirs", "--force") == 1
    assert (tmp_path / "theirs" / "a.txt").is_file()


def test_gzip_is_the_same_and_a_percentile_chooses_the_tiles(folder, out, tmp_path):
    words = ["annotations", folder / "scores", "--slide", "odd", "--format", "qupath"]
    assert esad(*words, "--out", tmp_path / "a", "--gzip", "--tiles", "all") == 0
    packed = (tmp_path / "a" / "qupath" / "odd.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == (out / "qupath" / "odd.geojson").read_bytes()
    assert esad(*words, "--out", tmp_path / "b", "--least-percentile", "0.3", "--tiles", "none") == 0
    found = features(tmp_path / "b" / "qupath" / "odd.geojson")
    assert [each["properties"]["measurements"]["tiles"] for each in found] == [108]


def test_no_file_names_a_slide_or_an_item_inside(out, bounded, scores):
    names = {
        name.encode() for source in ("odd.svs", "leica.scn") for name in scores.get_group(source)["item_id"]
    }
    for root in (out, bounded):
        for kind in ("qupath", "asap", "ome-tiff", "tiff"):
            for path in (root / kind).iterdir():
                content = path.read_bytes()
                assert not any(word in content for word in (b"odd.svs", b"leica", *sorted(names)[:3])), path
                assert not re.search(rb"20\d\d[-:]\d\d[-:]\d\d[ T]", content), path  # no date


def test_hashed_names_are_found_in_the_archive_with_the_key_alone(folder, tmp_path):
    key = tmp_path / "key"
    name = file_hash(read_key(key), "leica.scn")
    remember_names(key, {"leica.scn": name})
    tiles = tiles_of(name, (1105, 811), {(2, 1): 5.0}, origin=(304, 208))
    write_scores_folder(tmp_path / "scores", {name: (SCN[0], tiles)})
    words = ["annotations", tmp_path / "scores", "--archive", folder / "archive"]
    assert esad(*words, "--out", tmp_path / "out", "--group-key", key) == 0
    assert [path.name for path in (tmp_path / "out" / "qupath").iterdir()] == [f"{name}.geojson"]
    assert pd.read_parquet(tmp_path / "out" / "slides.parquet")["shown_left"].tolist() == [304]
    assert esad(*words, "--out", tmp_path / "other", "--group-key", tmp_path / "another") == 3
    assert esad(*words[:2], "--out", tmp_path / "blind") == 3  # a hash does not say which format it is
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"leica" not in path.read_bytes()


@pytest.mark.parametrize(("words", "told"), [
    (["--format", "pdf"], "there is no such format"),
    (["--tiles", "some"], "none, suspicious, all"),
    (["--slide", "other"], "no such slide"),
    (["--least-percentile", "99"], "from 0 to below 1"),
    (["--archive", "nowhere"], "no such folder"),
])  # fmt: skip
def test_options_that_mean_nothing_are_wrong_use(folder, tmp_path, words, told, capsys):
    assert esad("annotations", folder / "scores", "--out", tmp_path / "out", *words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_scores_of_other_things_are_wrong_use(folder, tmp_path, capsys):
    shutil.copytree(folder / "scores", tmp_path / "scores")
    marker = (tmp_path / "scores" / "scores.json").read_text()
    (tmp_path / "scores" / "scores.json").write_text(marker.replace('"tiles"', '"images"'))
    assert esad("annotations", tmp_path / "scores", "--out", tmp_path / "out") == 2
    assert "scores of images" in capsys.readouterr().err
