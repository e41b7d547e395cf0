"""Slides' AUC and FROC by hand through the command line, and against MONAI's definitions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from esad.pipeline.cli.app import call
from esad.pipeline.evaluate import evaluate
from esad.pipeline.evaluation.measures.intervals import separated_interval
from esad.pipeline.report import report
from esad.pipeline.scoring.scores_folder import write_tables
from esad.pipeline.synthesis.slides import write_outline
from esad.pipeline.thresholds.conformal import colour_ends
from esad.preprocessing.slides.outlines.frame import SlideFrame
from esad.preprocessing.store.store import Store
from tests.pipeline.slide_scores_folder import SIDE, TILE, box, scores_folder, tiles_of, write_boxes
from tests.pipeline.test_report import complete
from tests.pipeline.test_tile import stained, write_slide
from tests.preprocessing.slides.outlines.same_outline import ndpa

A, B, CELLS = (1024, 1024, 1024, 1024), (2816, 2816, 1024, 512), (256, 3584, 128, 64)
"""Two lesions, far apart and larger than 275 um, and a cluster of isolated tumour cells."""
IN_A, IN_CELLS, OUTSIDE = (12, 12), (2, 28), (30, 2)


def run_evaluate(capsys, run, *options):
    """(metrics.json, what was said) of `esad evaluate`."""
    assert call(["evaluate", str(run), "--json", *map(str, options)]) == 0
    said = capsys.readouterr()
    stored = json.loads((run / "scores/store/metrics.json").read_text())
    assert json.loads(said.out)["slides"] == stored["slides"]
    return stored, said.err


@pytest.mark.parametrize("shift", [0.0, -50.0])
def test_froc_by_hand(shift, tmp_path, capsys):
    """One lesion found with 6, one missed, an ITC, false alarms 5, 7 and 3 on two slides; only the order counts."""
    tumour = tiles_of("tumor_1.tif", {IN_A: 6, (11, 12): 4, IN_CELLS: 99, OUTSIDE: 5}, shift=shift)
    normal = tiles_of("normal_1.tif", {(3, 3): 7, (9, 9): 3}, shift=shift)
    trained = tiles_of("tumor_2.tif", {(3, 3): 100}, part="train")
    run = scores_folder(tmp_path, tumour, normal, trained)
    write_boxes(tmp_path / "outlines", "TUMOR_1", A, B, CELLS)
    content, said = run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    slides, found = content["slides"], content["slides"]["froc"]
    assert (slides["normal"], slides["tumour"], slides["labels"]) == (1, 1, "outlines")
    assert slides["auc"] == {"max": 1.0, "top_mean": 1.0, "p99": pytest.approx(1.0, abs=0.5)}
    assert (found["lesions"], found["itc"], found["slides"], found["left_out"]) == (2, 1, 2, {})
    # thresholds 3, 5, 6, 7: false alarms 3/2, 1, 1/2, 1/2, then 0; sensitivity 1/2 down to 6, then 0
    assert found["sensitivity"] == {"0.25": 0.0, "0.5": 0.5, "1": 0.5, "2": 0.5, "4": 0.5, "8": 0.5}
    assert found["score"] == pytest.approx(2.5 / 6)
    assert found["interval"] is None  # two groups
    curve = pd.read_csv(run / "scores/store/froc.csv")
    assert curve["threshold"].tolist() == [3 + shift, 5 + shift, 6 + shift, 7 + shift, np.inf]
    assert curve["false_positives"].tolist() == [1.5, 1, 0.5, 0.5, 0]
    table = pd.read_csv(run / "scores/store/slides.csv").set_index("source")
    assert table.loc["tumor_1.tif", ["label", "lesions", "found", "itc", "false_positives"]].tolist() == [
        1,
        2,
        1,
        1,
        1,
    ]
    assert table.loc["normal_1.tif", ["label", "lesions", "false_positives"]].tolist() == [0, 0, 2]
    assert len(table) == 2
    assert "FROC 0.417 (2 lesions, 1 ITC, 2 slides)" in said


@pytest.mark.parametrize(("group", "false"), [("Ignore*", 0), ("Region*", 0), ("Stroma", 1)])
def test_detections_where_nothing_is_known_are_no_false_alarms(group, false, tmp_path, capsys):
    """Ignored tissue around the false alarm, or a region that leaves it out; on tissue that is said to be normal it counts."""
    around = {
        "Ignore*": (30 * TILE, 0, 256, 512),
        "Region*": (0, 0, 2048, 4096),
        "Stroma": (30 * TILE, 0, 256, 512),
    }[group]
    run = scores_folder(tmp_path, tiles_of("tumor_1.tif", {IN_A: 6, OUTSIDE: 5}))
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[*box(*sides), box(*sides)[0]]]},
            "properties": {"classification": {"name": name}},
        }
        for name, sides in (("Tumor", A), (group, around))
    ]
    (tmp_path / "outlines").mkdir()
    (tmp_path / "outlines" / "tumor_1.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    table = pd.read_csv(run / "scores/store/slides.csv").set_index("source")
    assert table.loc["tumor_1.tif", ["found", "false_positives"]].tolist() == [1, false]


def test_the_report_shows_what_was_evaluated_and_does_not_evaluate_again(tmp_path, monkeypatch):
    run = scores_folder(tmp_path, tiles_of("t.tif", {IN_A: 6}), tiles_of("n.tif", {(3, 3): 7}))
    write_boxes(tmp_path / "outlines", "t", A)
    evaluate(run, tmp_path / "outlines")
    monkeypatch.setattr("esad.pipeline.evaluation.metrics_file.write_metrics", None)
    page = report([run]).out.read_text()
    assert "FROC (mean sensitivity to lesions at 1/4 to 8 false positives a slide): " in page
    assert "1 lesions and 0 groups" in page
    assert ">1 of 1</td>" in page
    assert page.count("data:image/svg") == 2  # loss and FROC
    assert page.index('<th scope="row">n.tif</th>') < page.index(
        '<th scope="row">t.tif</th>'
    )  # the higher score first


def test_slides_go_through_the_command_line_to_heat_maps_and_froc(tmp_path, capsys):
    """Tiled for real at 1 um, a round lesion outlined in XML; tiles with their middle in it score above the others."""
    (tmp_path / "slides").mkdir()
    for number, name in enumerate(("tumor", "normal")):
        write_slide(tmp_path / "slides" / f"{name}.tif", stained(2048, number))
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    (tmp_path / "outlines").mkdir()
    write_outline(
        tmp_path / "outlines" / "tumor.xml", 1000 + 420 * np.column_stack([np.cos(turn), np.sin(turn)])
    )
    options = ["--stain", "none", "--step", "32", "--annotations", str(tmp_path / "outlines")]
    assert call(["tile", str(tmp_path / "slides"), "--out", str(tmp_path / "store"), *options]) == 0
    store = Store(tmp_path / "store")
    table = store.manifest.assign(part=pd.array(["test"] * len(store), dtype="string"))
    middles = table[["x", "y"]].to_numpy() + 64
    inside = (np.hypot(*(middles - 1000).T) < 400) & (table["source"] == "tumor.tif").to_numpy()
    far = (middles == [448, 1600]).all(1)  # one tile of each slide, a false alarm
    table["score"] = np.where(inside, 3 - np.hypot(*(middles - 1000).T) / 1000, np.where(far, 2.0, 0.0))
    table["percentile"] = np.where(inside | far, 0.999, 0.5)
    table["p_value"], table["threshold"] = 1 - table["percentile"], 1.0
    run = complete(tmp_path, "tiles")
    write_tables(
        run / "scores/store",
        store,
        [table.assign(norm=table["score"], reconstruction=0.0)],
        colour_ends(0.01, 999),
    )
    content, _ = run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    found = content["slides"]["froc"]
    assert (found["lesions"], found["itc"], found["slides"], found["score"]) == (1, 0, 2, 1.0)
    assert content["slides"]["hit_rate"] == 1.0
    tumour = store.manifest["tumour_fraction"].fillna(0).to_numpy() > 0
    with_tumour = (table["source"] == "tumor.tif").to_numpy()
    suspicious = inside | far
    assert content["slides"]["suspicious_inside"] == tumour[suspicious & with_tumour].mean() < 1
    assert content["slides"]["suspicious_on_normal"] == suspicious[~with_tumour].mean() > 0
    slides = pd.read_parquet(run / "scores/store/slides.parquet").set_index("source")
    place = slides.loc["tumor.tif"]
    assert (place["map_step"], place["map_tile"], place["slide_mpp"]) == pytest.approx(
        (64, 128, 0.5), rel=1e-3
    )
    heat = np.load(run / "scores/store/slides/tumor.npy")
    row, column = np.unravel_index(np.nanargmax(heat), heat.shape)
    middle = np.array([place["map_x"] + column * 64, place["map_y"] + row * 64]) + 64
    assert np.abs(middle - 1000).max() <= 32
    assert np.isfinite(heat).sum() == (table["source"] == "tumor.tif").sum()


REFERENCE = """test_001,Tumor,IDC,Macro
test_002,Normal,DCIS,None
test_114,Tumor,ILC,Macro
test_005,Tumor
test_006,Normal
test_009,Normal
"""


def test_the_official_protocol(tmp_path, capsys):
    """Labels by the reference; test_114 and slides that do not agree with it are no part of the FROC, but of the AUC."""
    stems = {"test_001": 6, "test_002": 1, "test_114": 8, "test_005": 9, "test_006": 2, "test_007": 99}
    tables = [tiles_of(f"{stem}.tif", {IN_A: score}) for stem, score in stems.items()]
    run = scores_folder(tmp_path, *tables)
    outlines, reference = tmp_path / "outlines", tmp_path / "reference.csv"
    for stem in ("test_001", "test_114", "test_006"):
        write_boxes(outlines, stem, A)
    reference.write_text(REFERENCE)
    content, said = run_evaluate(capsys, run, "--annotations", outlines, "--reference", reference)
    slides, found = content["slides"], content["slides"]["froc"]
    assert (slides["normal"], slides["tumour"], slides["labels"]) == (2, 3, "reference")
    assert slides["auc"]["max"] == 1.0
    expected = separated_interval(1.0, 3, 2)  # test_007, not in the reference, does not count
    assert slides["auc_interval"]["max"] == pytest.approx(expected)
    assert slides["missing"] == ["test_009"]
    assert found["left_out"] == {
        "test_114.tif": "its outlines are not exhaustive",
        "test_005.tif": "has a tumour but no outlines",
        "test_006.tif": "outlined, but normal by the reference",
    }
    assert (found["slides"], found["lesions"]) == (2, 1)
    assert "Not here: 1 slides of the reference, test_009 first." in said
    assert "test_114.tif is no part of it: its outlines are not exhaustive." in said
    assert "test_005.tif is no part of the FROC" in report([run]).out.read_text()


def test_an_outline_that_cannot_be_read_leaves_its_slide_out(tmp_path, capsys):
    names = ("good", "broken", "normal")
    run = scores_folder(tmp_path, *(tiles_of(f"{name}.tif", {IN_A: 6}) for name in names))
    write_boxes(tmp_path / "outlines", "good", A)
    (tmp_path / "outlines" / "broken.xml").write_text("<ASAP")
    content, said = run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    assert list(content["slides"]["froc"]["left_out"]) == ["broken.tif"]
    assert (content["slides"]["tumour"], content["slides"]["normal"]) == (1, 1)
    assert "broken.xml: not a readable XML of outlines" in said


@pytest.mark.parametrize(
    ("boxes", "told"),
    [
        ({"t": [CELLS]}, "no slide has a lesion that is more than isolated tumour cells"),
        ({"t": []}, "no slide has a lesion"),
        ({"other": [A]}, "no outline file has the name of any of the slides"),
    ],
)
def test_without_a_lesion_there_is_no_figure_and_no_crash(boxes, told, tmp_path, capsys):
    run = scores_folder(tmp_path, tiles_of("t.tif", {IN_A: 6}), tiles_of("n.tif", {}))
    for stem, sides in boxes.items():
        write_boxes(tmp_path / "outlines", stem, *sides)
    content, said = run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    assert content["slides"]["froc"] is None
    assert f"No FROC: {told}" in said
    assert not (run / "scores/store/froc.csv").exists()
    assert f"No FROC: {told}" in report([run]).out.read_text()


def test_labelled_slides_without_outlines_name_the_option(tmp_path, capsys):
    tables = [tiles_of(f"{name}.tif", {IN_A: 6}) for name in ("t", "n")]
    run = scores_folder(tmp_path, *tables)
    path = run / "scores/store/scores.parquet"
    table = pd.read_parquet(path)
    table["tumour_fraction"] = ((table["source"] == "t.tif") & (table["x"] < 999)).astype(float)
    table["label"] = table["tumour_fraction"].astype("Int8")
    table.to_parquet(path)
    write_boxes(tmp_path / "outlines", "t", A)
    evaluate(run, tmp_path / "outlines")
    assert (run / "scores/store/froc.csv").exists()
    content, said = run_evaluate(capsys, run)
    assert content["slides"]["hit_rate"] == 0.0
    assert "No FROC: it needs the lesions' outlines: give --annotations FOLDER." in said
    assert not (run / "scores/store/froc.csv").exists()  # what the earlier call wrote


def test_intervals_resample_groups(tmp_path):
    """Six tumour slides of six patients, of which every other one is found; as one patient there is no interval."""
    tables = [tiles_of(f"t{n}.tif", {IN_A: 6, OUTSIDE: 1} if n % 2 else {OUTSIDE: 1}) for n in range(6)]
    for n in range(6):
        write_boxes(tmp_path / "outlines", f"t{n}", A)
    found = evaluate(scores_folder(tmp_path / "a", *tables), tmp_path / "outlines").summary["slides"]["froc"]
    low, high = found["interval"]
    assert found["score"] == pytest.approx(0.5)
    assert 0 <= low < 0.5 < high <= 1
    together = [table.assign(group="one") for table in tables]
    run = scores_folder(tmp_path / "b", *together)
    assert evaluate(run, tmp_path / "outlines").summary["slides"]["froc"]["interval"] is None


def test_wrong_use_is_told(tmp_path, capsys):
    tables = [tiles_of(f"{folder}/s.tif", {IN_A: 6}) for folder in "AB"]
    run = scores_folder(tmp_path, *tables)
    write_boxes(tmp_path / "outlines", "s", A)
    (tmp_path / "reference.csv").write_text("s,Tumor\n")
    (tmp_path / "empty.csv").write_text("a,b\n")
    for options, told in (
        (["--annotations", "outlines"], "A/s.tif and B/s.tif have one name"),
        (["--reference", "reference.csv"], "A/s.tif and B/s.tif have one name"),
        (["--annotations", "gone"], "gone: no such folder"),
        (["--reference", "empty.csv"], "expected rows such as test_001,Tumor"),
    ):
        assert call(["evaluate", str(run), options[0], str(tmp_path / options[1])]) == 2
        assert told in capsys.readouterr().err


def test_listed_tiles_and_older_scores_have_no_froc(tmp_path, capsys):
    tables = [tiles_of(f"{name}.tif", {IN_A: 6}) for name in ("t", "n")]
    write_boxes(tmp_path / "outlines", "t", A)
    listed = scores_folder(tmp_path / "listed", *tables, tile_list="1a")
    content, said = run_evaluate(capsys, listed, "--annotations", tmp_path / "outlines")
    assert content["slides"]["auc"]["max"] == 0.5
    assert "No FROC: the store holds listed tiles" in said
    older = scores_folder(tmp_path / "older", *tables)
    path = older / "scores/store/slides.parquet"
    pd.read_parquet(path).drop(columns="slide_mpp").to_parquet(path)
    assert call(["evaluate", str(older), "--annotations", str(tmp_path / "outlines")]) == 1
    told = capsys.readouterr().err
    assert "column 'slide_mpp' is missing" in told
    assert "make the scores anew" in told


@pytest.mark.filterwarnings("ignore:.*major_axis_length:FutureWarning")  # MONAI's own
@pytest.mark.parametrize("seed", range(2))
def test_monai_agrees_from_candidates_to_the_figure(seed, tmp_path):
    """MONAI's lesions and ITC (apps.pathology) and its FROC, from candidates.parquet and masks drawn by slicing."""
    from monai.apps.pathology.utils import compute_isolated_tumor_cells, compute_multi_instance_mask
    from monai.metrics import compute_fp_tp_probs, compute_froc_curve_data, compute_froc_score

    numbers = np.random.default_rng(seed)
    tables, masks = [], {}
    for n in range(5):
        places = numbers.integers(0, SIDE // TILE, (25, 2))
        values = (numbers.permutation(127)[:25] + 1) / 128  # MONAI rounds hits to float32
        scores = {tuple(place): value for place, value in zip(places.tolist(), values.tolist(), strict=True)}
        tables.append(tiles_of(f"s{n}.tif", scores))
        masks[f"s{n}.tif"] = mask = np.zeros((SIDE // 32, SIDE // 32), dtype=np.uint8)
        corners, sizes = 32 * numbers.integers(0, 100, (6, 2)), 32 * numbers.choice([3, 12, 28], (6, 2))
        if n < 3:
            write_boxes(tmp_path / "outlines", f"s{n}", *np.column_stack([corners, sizes]).tolist())
            for (left, top), (width, height) in zip(corners // 32, sizes // 32, strict=True):
                mask[top : top + height, left : left + width] = 1
    run = scores_folder(tmp_path, *tables)
    found = evaluate(run, tmp_path / "outlines").summary["slides"]["froc"]
    detections = pd.read_parquet(run / "scores/store/candidates.parquet")
    false, hits, targets, cells = [], [], 0, 0
    for source, mask in masks.items():
        of_slide = detections[detections["source"] == source]
        labels, excluded = mask, []
        if mask.any():
            labels = compute_multi_instance_mask(mask, 75 / (0.243 * 2**5 * 2))
            excluded = compute_isolated_tumor_cells(labels, 275 / (0.243 * 2**5))
        f, t, n = compute_fp_tp_probs(
            of_slide["score"].to_numpy(),
            of_slide["y"].to_numpy(int),
            of_slide["x"].to_numpy(int),
            labels,
            excluded,
            5,
        )
        false, hits, targets, cells = false + list(f), hits + list(t), targets + n, cells + len(excluded)
    assert (found["lesions"], found["itc"]) == (targets, cells)
    rate, sensitivity = compute_froc_curve_data(np.array(false), np.array(hits), targets, 5)
    assert found["score"] == pytest.approx(compute_froc_score(rate, sensitivity))
    curve = pd.read_csv(run / "scores/store/froc.csv")
    assert curve["false_positives"].to_numpy() == pytest.approx(rate)
    assert curve["sensitivity"].to_numpy() == pytest.approx(sensitivity)


def test_outlines_in_nanometres_and_of_other_slides_are_measured_as_they_are_tiled(tmp_path, capsys):
    """The slides' place on the glass comes from the scores; the same lesion by NDPA and by JSON has the same figures."""
    frame = SlideFrame((SIDE, SIDE), (0.25, 0.25), (1e6, -2e6), "t")
    run = scores_folder(
        tmp_path, *(tiles_of(f"{name}.tif", {IN_A: 6, OUTSIDE: 1}) for name in ("t", "n", "far"))
    )
    write_boxes(tmp_path / "plain", "t", A)
    write_boxes(tmp_path / "plain", "far", [9 * SIDE, 0, 99, 99])
    expected, said = run_evaluate(capsys, run, "--annotations", tmp_path / "plain")
    assert list(expected["slides"]["froc"]["left_out"]) == ["far.tif"]
    assert f"the slide is {SIDE} x {SIDE}" in said
    left, top, width, height = A
    ring = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    (tmp_path / "glass").mkdir()
    hole = [(left, top)] * 3
    (tmp_path / "glass" / "t.ndpi.ndpa").write_text(ndpa([ring], hole, frame=frame))
    write_boxes(tmp_path / "glass", "far", [9 * SIDE, 0, 99, 99])
    content, said = run_evaluate(capsys, run, "--annotations", tmp_path / "glass")
    assert "need the slide's hamamatsu.XOffsetFromSlideCentre" in said
    path = run / "scores/store/slides.parquet"
    table = pd.read_parquet(path)
    for column, value in frame.columns().items():
        table[column] = value
    table.to_parquet(path)
    content, _ = run_evaluate(capsys, run, "--annotations", tmp_path / "glass")
    assert content["slides"]["froc"] == expected["slides"]["froc"]


def test_slides_without_outlines_are_normal_only_where_their_store_says_so(tmp_path, capsys):
    tables = [tiles_of(f"{name}.tif", {IN_A: 6}) for name in ("t", "n")]
    run = scores_folder(tmp_path, *tables)
    write_boxes(tmp_path / "outlines", "t", A)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["store"]["settings"] = {"labels": {"without_outlines": "unknown"}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    content, _ = run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    assert (content["slides"]["normal"], content["slides"]["tumour"]) == (0, 1)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("odd.svg", "odd.svg: outlines are not read from a file of this ending"),
        ("odd (1).geojson", "odd (1).geojson: is not named as the slide, and may be of it"),
    ],
)
def test_a_slide_whose_outlines_have_an_ending_that_is_not_read_is_left_out_and_not_normal(
    tmp_path, capsys, name, why
):
    run = scores_folder(tmp_path, *(tiles_of(f"{name}.tif", {IN_A: 6}) for name in ("t", "n", "odd")))
    write_boxes(tmp_path / "outlines", "t", A)
    (tmp_path / "outlines" / name).write_text('{"type": "FeatureCollection", "features": []}')
    content, said = run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    assert (content["slides"]["normal"], content["slides"]["tumour"]) == (1, 1)
    assert list(content["slides"]["froc"]["left_out"]) == ["odd.tif"]
    assert why in said


@pytest.mark.parametrize(("group", "normal"), [("Ignore*", 0), ("Region*", 0), ("Stroma", 1)])
def test_a_slide_of_which_parts_have_no_label_is_not_normal(group, normal, tmp_path, capsys):
    run = scores_folder(tmp_path, *(tiles_of(f"{name}.tif", {IN_A: 6}) for name in ("t", "n")))
    write_boxes(tmp_path / "outlines", "t", A)
    area = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*box(*B), box(*B)[0]]]},
        "properties": {"classification": {"name": group}},
    }
    (tmp_path / "outlines" / "n.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [area]})
    )
    content, _ = run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    assert (content["slides"]["normal"], content["slides"]["tumour"]) == (normal, 1)


def test_outlines_are_read_as_the_scored_store_was_told(tmp_path, capsys):
    run = scores_folder(tmp_path, *(tiles_of(f"{name}.tif", {IN_A: 6}) for name in ("t", "n")))
    write_boxes(tmp_path / "outlines", "t", A)
    place = run / "scores/store/scores.json"
    told = json.loads(place.read_text()) | {"labels": {"without_outlines": "unknown"}}
    place.write_text(json.dumps(told))
    content, _ = run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    assert (content["slides"]["normal"], content["slides"]["tumour"]) == (0, 1)
    del told["labels"]
    place.write_text(json.dumps(told))
    content, _ = run_evaluate(capsys, run, "--annotations", tmp_path / "outlines")
    assert (content["slides"]["normal"], content["slides"]["tumour"]) == (1, 1)
    marker = json.loads(place.read_text()) | {"inputs": "others", "store": str(tmp_path / "gone")}
    place.write_text(json.dumps(marker))
    assert call(["evaluate", str(run), "--annotations", str(tmp_path / "outlines")]) == 1
    assert "stands in the store that was scored" in capsys.readouterr().err
