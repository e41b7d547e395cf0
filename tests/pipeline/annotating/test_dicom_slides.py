"""DICOM results of slides: read back by highdicom, each value at its place on the glass, no patient unless asked for."""

from __future__ import annotations

import shutil

import highdicom
import numpy as np
import pandas as pd
import pydicom
import pytest
from highdicom.ann import annread
from highdicom.spatial import ImageToReferenceTransformer, ReferenceToPixelTransformer

from esad.pipeline.annotating.candidate_shapes import CANDIDATE, HOLE
from esad.pipeline.annotating.dicom_objects import NO_TILE, TILE
from esad.pipeline.cli.app import call
from esad.preprocessing.slides.reading import Slide
from tests.dicom_standard import check_attributes, check_by_validator
from tests.pipeline.annotating.dicom_slide import ORIENTATION, write_dicom_slide
from tests.pipeline.annotating.scored import tiles_of, write_scores_folder

SIZE = (1237, 989)
RING = {(column, row): 2.0 for column in (4, 5, 6) for row in (3, 4, 5) if (column, row) != (5, 4)}
WORDS = (
    b"J\xc3\xa4ger",
    b"J\xe4ger",
    b"Anna",
    b"ID-4711",
    b"19600102",
    b"A77",
    b"20200304",
    b"Arzt",
    b"Klinik",
    b"SN99",
    b"GLASS-12",
    b"S20-4711",
)
MEASURED = ["score", "percentile", "p value", "reconstruction", "norm"]


def esad(*words):
    return call([str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """archive/ with a DICOM slide of two files; scores/ of it, out/ the results."""
    folder = tmp_path_factory.mktemp("dicom")
    (folder / "archive").mkdir()
    write_dicom_slide(folder / "archive", "glass", SIZE)
    tiles = tiles_of("glass.dcm", SIZE, {**RING, (11, 8): 9.0})
    write_scores_folder(folder / "scores", {"glass.dcm": (SIZE, tiles)})
    assert esad("dicom", folder / "scores", "--archive", folder / "archive", "--out", folder / "out") == 0
    return folder


@pytest.fixture(scope="module")
def tiles(folder):
    return pd.read_parquet(folder / "scores" / "scores.parquet")


@pytest.fixture(scope="module")
def source(folder):
    return pydicom.dcmread(folder / "archive" / "glass-0.dcm", stop_before_pixels=True)


@pytest.fixture(scope="module")
def annotations(folder):
    return annread(folder / "out" / "dicom" / "glass-annotations.dcm")


@pytest.fixture(scope="module")
def heat(folder):
    return highdicom.imread(folder / "out" / "dicom" / "glass-heat.dcm")


def test_the_drawn_slide_is_one_that_openslide_reads(folder):
    with Slide(folder / "archive" / "glass.dcm") as slide:
        assert (slide.width, slide.height, slide.format) == (*SIZE, "dicom")


def test_tiles_are_rectangles_with_all_scores_and_candidates_polygons(annotations, tiles):
    groups = {group.label: group for group in annotations.get_annotation_groups()}
    assert list(groups) == [CANDIDATE, HOLE, TILE]
    boxes = tiles[["x", "y", "width", "height"]].to_numpy()
    found = np.array(groups[TILE].get_graphic_data("2D"))
    assert np.array_equal(found[:, 0], boxes[:, :2])
    assert np.array_equal(found[:, 2], boxes[:, :2] + boxes[:, 2:])
    names, values, _ = groups[TILE].get_measurements()
    assert [name.meaning for name in names] == MEASURED
    known = tiles[["score", "percentile", "p_value", "reconstruction", "norm"]].to_numpy(dtype=np.float32)
    assert np.array_equal(values, known)
    names, values, _ = groups[CANDIDATE].get_measurements()
    assert [name.meaning for name in names] == [*MEASURED, "tiles"]
    assert (values[:, 0].tolist(), values[:, -1].tolist()) == ([9, 2], [1, 8])
    shapes = groups[CANDIDATE].get_graphic_data("2D")
    assert np.array_equal(shapes[0].min(0), boxes[-1, :2])
    assert [len(ring) for ring in groups[HOLE].get_graphic_data("2D")] == [4]
    assert groups[TILE].algorithm_identification.name == "esad"


def test_heat_lies_in_the_sources_frame_of_reference_and_each_tile_has_its_percentile_there(
    heat, source, tiles
):
    matrix = heat.get_total_pixel_matrix(apply_real_world_transform=False)
    assert heat.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert heat.PositionReferenceIndicator == "SLIDE_CORNER"
    assert list(heat.ImageOrientationSlide) == ORIENTATION
    on_glass = ImageToReferenceTransformer.for_image(source, for_total_pixel_matrix=True)
    in_heat = ReferenceToPixelTransformer.for_image(heat, for_total_pixel_matrix=True, round_output=True)
    middles = tiles[["x", "y"]].to_numpy() + tiles[["width", "height"]].to_numpy() / 2
    column, row = in_heat(on_glass(middles.astype(float)))[:, :2].T
    assert np.array_equal(matrix[row, column], tiles["percentile"].to_numpy(dtype=np.float32))
    corners = on_glass(np.array([[0.01, 0.01], [SIZE[0] - 0.01, SIZE[1] - 0.01]]))
    places = in_heat(corners)[:, :2]
    assert places.tolist() == [[0, 0], [matrix.shape[1] - 1, matrix.shape[0] - 1]]
    assert matrix[-1, -1] == NO_TILE == heat.FloatPixelPaddingValue
    assert matrix.max() < 1


def test_both_refer_to_level_0_and_join_its_study_and_specimen(folder, annotations, heat, source):
    row = pd.read_parquet(folder / "out" / "results.parquet").iloc[0]
    assert (row["source"], row["candidates"]) == ("glass.dcm", 2)
    for image, column in ((annotations, "AnnotationsSOPInstanceUID"), (heat, "HeatSOPInstanceUID")):
        assert image.SOPInstanceUID == row[column]
        assert image.StudyInstanceUID == source.StudyInstanceUID
        assert image.SeriesInstanceUID != source.SeriesInstanceUID
        assert (
            image.SpecimenDescriptionSequence[0].SpecimenUID
            == source.SpecimenDescriptionSequence[0].SpecimenUID
        )
        series = image.ReferencedSeriesSequence[0]
        assert series.SeriesInstanceUID == source.SeriesInstanceUID
        assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert annotations.ReferencedImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert annotations.SeriesInstanceUID != heat.SeriesInstanceUID
    assert row["ReferencedSOPInstanceUID"] == source.SOPInstanceUID


def test_patients_and_names_of_specimens_are_copied_only_where_asked_for(folder, tmp_path, source):
    for path in (folder / "out").rglob("*"):
        assert path.is_dir() or not [word for word in WORDS if word in path.read_bytes()], path
    bare = pydicom.dcmread(folder / "out" / "dicom" / "glass-heat.dcm")
    assert (bare.PatientIdentityRemoved, str(bare.PatientName)) == ("YES", "Anonymous^")
    words = [
        "dicom",
        folder / "scores",
        "--archive",
        folder / "archive",
        "--out",
        tmp_path / "out",
        "--with-patient",
    ]
    assert esad(*words) == 0
    for kind in ("annotations", "heat"):
        full = pydicom.dcmread(tmp_path / "out" / "dicom" / f"glass-{kind}.dcm")
        for name in (
            "PatientID",
            "PatientName",
            "PatientBirthDate",
            "PatientSex",
            "AccessionNumber",
            "StudyDate",
            "ContainerIdentifier",
        ):
            assert str(full[name].value) == str(source[name].value)
        assert full.SpecimenDescriptionSequence[0].SpecimenIdentifier == "S20-4711-A"
        assert "PatientIdentityRemoved" not in full


def test_exporting_again_gives_the_same_uids_and_finished_results_are_left_alone(folder, tmp_path, capsys):
    words = ["dicom", folder / "scores", "--archive", folder / "archive", "--out"]
    assert esad(*words, tmp_path / "again") == 0
    assert pd.read_parquet(tmp_path / "again" / "results.parquet").equals(
        pd.read_parquet(folder / "out" / "results.parquet")
    )
    capsys.readouterr()
    assert esad(*words, tmp_path / "again") == 0
    assert "Left alone" in capsys.readouterr().err


def test_slides_that_are_no_dicom_gone_or_of_another_size_are_refused_alone(folder, tmp_path):
    shutil.copytree(folder / "archive", tmp_path / "archive")
    (tmp_path / "archive" / "plain.svs").write_bytes(b"II*\0")
    (tmp_path / "archive" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 64)
    names = ("plain.svs", "gone.dcm", "broken.dcm", "other.dcm")
    write_dicom_slide(tmp_path / "archive", "other", (1200, 989))
    slides = {name: (SIZE, tiles_of(name, SIZE)) for name in ("glass.dcm", *names)}
    write_scores_folder(tmp_path / "scores", slides)
    words = ["dicom", tmp_path / "scores", "--archive", tmp_path / "archive", "--out", tmp_path / "out"]
    assert esad(*words) == 3
    told = pd.read_csv(tmp_path / "out" / "failures.csv").set_index("source")["reason"]
    assert set(told.index) == set(names)
    assert "Use esad annotations" in told["plain.svs"]
    assert "not in the archive" in told["gone.dcm"]
    assert "1237 x 989 pixels" in told["other.dcm"]
    assert (tmp_path / "out" / "dicom" / "glass-heat.dcm").is_file()
    results = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert len(results) == 5
    assert results["heat"].notna().sum() == 1
    assert [
        group.label
        for group in annread(tmp_path / "out" / "dicom" / "glass-annotations.dcm").get_annotation_groups()
    ] == [TILE]


@pytest.mark.parametrize(("kind", "iod"), [
    ("annotations", "microscopy-bulk-simple-annotations"), ("heat", "parametric-map"),
])  # fmt: skip
def test_required_attributes_are_those_of_the_standards_tables(folder, kind, iod):
    """By the tables of PS3.3 that highdicom ships: mandatory modules whole, nothing of a foreign module."""
    check_attributes(pydicom.dcmread(folder / "out" / "dicom" / f"glass-{kind}.dcm"), iod)


@pytest.mark.slow
def test_the_standards_own_validator_finds_no_error(folder):
    check_by_validator(folder / "out" / "dicom")
