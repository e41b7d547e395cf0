"""The made-up archive: slides that OpenSlide reads, DICOM that pydicom reads, outlines and boxes where they belong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pydicom
import pytest
from defusedxml.ElementTree import parse
from PIL import Image, ImageDraw
from scipy import ndimage

from esad.pipeline.stage.errors import EsadError, ExitStatus, UsageError
from esad.pipeline.synthesis.archive import make_table
from esad.pipeline.synthesis.radiographs import CROP_MARGIN, Opacity, _add_opacity, make_radiographs
from esad.pipeline.synthesis.slides import LEVELS, WHITE, make_slides
from esad.pipeline.synthetic import synthetic

SIZE = 2048
MPP = 0.25


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def polygon(path: Path) -> list[tuple[float, float]]:
    """The level-0 vertices of the only annotation of an ASAP file, after a look at its group."""
    annotations = parse(path).findall("./Annotations/Annotation")
    assert [one.get("PartOfGroup") for one in annotations] == ["Tumor"]
    points = sorted(annotations[0].iter("Coordinate"), key=lambda point: int(point.get("Order")))
    return [(float(point.get("X")), float(point.get("Y"))) for point in points]


def filled(points: list[tuple[float, float]], side: int, downsample: float) -> np.ndarray:
    canvas = Image.new("L", (side, side))
    ImageDraw.Draw(canvas).polygon([(x / downsample, y / downsample) for x, y in points], fill=1)
    return np.asarray(canvas, dtype=bool)


def level(slide: openslide.OpenSlide, number: int) -> np.ndarray:
    size = slide.level_dimensions[number]
    return np.asarray(slide.read_region((0, 0), number, size).convert("RGB"))


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    make_slides(folder, slides=3, abnormal=1, size=SIZE, mpp=MPP, seed=3)
    return folder


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("radiographs")
    make_radiographs(folder, count=40, abnormal=15, size=256, seed=3)
    return folder


def grey(folder: Path, name: str) -> np.ndarray:
    """Rows by columns in [0, 1], bright where dense."""
    image = pydicom.dcmread(folder / name)
    values = image.pixel_array / 4095
    return 1 - values if image.PhotometricInterpretation == "MONOCHROME1" else values


def test_the_names_say_which_slides_are_abnormal(slides):
    assert sorted(path.name for path in slides.glob("*.tif")) == [
        "normal_001.tif",
        "normal_002.tif",
        "tumor_001.tif",
    ]
    assert [path.name for path in (slides / "annotations").iterdir()] == ["tumor_001.xml"]


def test_openslide_reports_the_microns_and_halving_levels(slides):
    for path in slides.glob("*.tif"):
        with openslide.OpenSlide(path) as slide:
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(MPP, rel=1e-4)
            assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(MPP, rel=1e-4)
            assert slide.level_dimensions == tuple((SIZE >> n, SIZE >> n) for n in range(LEVELS))
            assert slide.level_downsamples == tuple(2.0**n for n in range(LEVELS))
            assert slide.properties["openslide.level[0].tile-width"] == "256"


@pytest.mark.parametrize("mpp", [0.5, 1.0, 0.243])
def test_other_resolutions_are_stated_too(tmp_path, mpp):
    make_slides(tmp_path, slides=1, abnormal=1, size=1000, mpp=mpp)
    with openslide.OpenSlide(tmp_path / "tumor_001.tif") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(mpp, rel=1e-3)
        assert slide.dimensions == (1000, 1000)
    points = np.array(polygon(tmp_path / "annotations" / "tumor_001.xml"))
    assert points.min() > 0
    assert points.max() < 1000
    assert np.ptp(points, axis=0) == pytest.approx(0.37 * 1000, rel=0.25)


def test_levels_show_the_same_picture(slides):
    with openslide.OpenSlide(slides / "tumor_001.tif") as slide:
        fine = Image.fromarray(level(slide, 1)).reduce(4)
        coarse = level(slide, 3)
    assert np.abs(np.asarray(fine, dtype=int) - coarse).mean() < 3


def test_the_background_is_white_and_surrounds_the_tissue(slides):
    for path in slides.glob("*.tif"):
        with openslide.OpenSlide(path) as slide:
            picture = level(slide, 2).astype(int)
        edge = np.concatenate([picture[:4].reshape(-1, 3), picture[-4:].reshape(-1, 3), picture[:, :4].reshape(-1, 3)])  # fmt: skip
        assert np.abs(edge - WHITE).max() < 12
        assert 0.3 < (picture[..., 1] < WHITE - 20).mean() < 0.7


def test_the_outline_lies_in_tissue_and_only_structure_tells_it_from_the_rest(slides):
    """Haematoxylin absorbs red, eosin hardly: as much red is absorbed inside, but by larger nuclei."""
    points = polygon(slides / "annotations" / "tumor_001.xml")
    assert len(points) >= 24
    with openslide.OpenSlide(slides / "tumor_001.tif") as slide:
        picture, fine = level(slide, 2).astype(float), level(slide, 1)[..., 0].astype(float)
    inside = filled(points, SIZE // 4, 4.0)
    tissue = ndimage.binary_fill_holes(picture[..., 1] < WHITE - 20)  # the glands' lumens are tissue, too
    assert tissue[inside].mean() > 0.995
    density = -np.log((picture + 1) / (WHITE + 1))
    outside = tissue & ~ndimage.binary_dilation(inside, iterations=4)
    means = [density[where].mean(0) for where in (inside, outside)]
    assert means[0] == pytest.approx(means[1], rel=0.1)
    dark = ndimage.gaussian_filter(fine, 1) < 150
    large = ndimage.binary_opening(
        dark, ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), 4)
    )
    finer = [where.repeat(2, 0).repeat(2, 1) for where in (inside, outside)]
    shares = [(large & where).sum() / (dark & where).sum() for where in finer]
    assert shares[0] > 1.5 * shares[1]


def test_slides_differ_in_the_colour_of_their_stain_not_only_in_its_amount(tmp_path):
    """Stroma is nearly pure eosin: its optical density's direction (R and B over G) is the slide's own."""
    make_slides(tmp_path, slides=4, abnormal=0, size=1024, seed=1)
    directions = []
    for path in sorted(tmp_path.glob("*.tif")):
        with openslide.OpenSlide(path) as slide:
            picture = level(slide, 1).astype(float)
        density = -np.log((picture + 1) / (WHITE + 1))
        stroma = density[(density[..., 1] > 0.3) & (density[..., 0] < 0.25)]
        assert len(stroma) > 10_000
        red, green, blue = stroma.mean(0)
        directions.append((red / green, blue / green))
    assert np.ptp(np.array(directions), axis=0).max() > 0.06


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        make_slides(tmp_path / name / "slides", slides=2, abnormal=1, size=1024, seed=seed)
        make_radiographs(tmp_path / name / "radiographs", count=6, abnormal=2, size=128, seed=seed)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again
    assert set(first) == set(other)
    same = {name for name in first if first[name] == other[name]}
    assert same == {"radiographs/labels.csv"}


def test_a_slide_does_not_depend_on_how_many_there_are(tmp_path):
    make_slides(tmp_path / "few", slides=2, abnormal=1, size=1024)
    make_slides(tmp_path / "many", slides=4, abnormal=2, size=1024)
    few, many = digests(tmp_path / "few"), digests(tmp_path / "many")
    assert few.items() <= many.items()


def test_global_random_state_is_neither_used_nor_changed(tmp_path):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    make_radiographs(tmp_path, count=2, abnormal=1, size=64)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("make", [make_slides, make_radiographs])
def test_more_abnormal_than_there_are_is_refused(tmp_path, make):
    with pytest.raises(ValueError, match=r"3 abnormal \w+ of 2"):
        make(tmp_path / "out", 2, 3)
    assert not (tmp_path / "out").exists()


def test_radiographs_are_valid_dx_images(radiographs):
    paths = sorted(radiographs.glob("*.dcm"))
    assert [path.name for path in paths] == [f"image_{n:04d}.dcm" for n in range(1, 41)]
    images = [pydicom.dcmread(path) for path in paths]
    for image in images:
        assert image.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert image.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
        assert (image.BitsAllocated, image.BitsStored, image.HighBit) == (16, 12, 11)
        assert image.pixel_array.shape == (image.Rows, image.Columns) == (256, 256)
        assert image.pixel_array.max() <= 4095
        assert np.ptp(image.pixel_array) > 2000
    assert {image.ViewPosition for image in images} == {"PA", "AP"}
    kinds = [image.PhotometricInterpretation for image in images]
    assert 0 < kinds.count("MONOCHROME1") < kinds.count("MONOCHROME2")
    assert len({image.SOPInstanceUID for image in images}) == len(images)
    counts = pd.Series([image.PatientID for image in images]).value_counts()
    assert counts.index.str.fullmatch(r"SYN-\d{4}").all()
    assert counts.min() == 1
    assert counts.max() > 1


def test_both_photometric_interpretations_show_bright_spine_and_dark_lungs(radiographs):
    for path in radiographs.glob("*.dcm"):
        picture = grey(radiographs, path.name)
        spine = picture[180:250, 124:132].mean()
        lung = np.median(picture[90:150, 55:85])
        assert picture[:20, :40].mean() < lung < spine


def test_labels_and_regions_agree(radiographs):
    labels = pd.read_csv(radiographs / "labels.csv")
    regions = pd.read_csv(radiographs / "regions.csv")
    assert list(labels.columns) == ["source", "label"]
    assert list(regions.columns) == ["source", "x", "y", "width", "height"]
    assert set(labels["source"]) == {path.name for path in radiographs.glob("*.dcm")}
    assert labels["label"].sum() == 15
    assert set(regions["source"]) == set(labels.loc[labels["label"] == 1, "source"])
    assert regions.groupby("source").size().isin([1, 2]).all()
    assert regions.groupby("source").size().max() == 2


def test_regions_lie_in_the_central_crop(radiographs):
    regions = pd.read_csv(radiographs / "regions.csv")
    low, high = CROP_MARGIN * 256, (1 - CROP_MARGIN) * 256
    for _source, x, y, width, height in regions.itertuples(index=False):
        assert low <= x
        assert x + width <= high
        assert low <= y
        assert y + height <= high
        assert 0.059 * 256 <= width <= 0.161 * 256


def test_an_opacity_is_brightest_in_its_middle_and_fades_to_nothing_inside_its_box():
    picture = np.zeros((200, 200))
    _add_opacity(picture, Opacity(0.4, 0.5, 0.1, 0.05, 0.2), np.zeros(2))
    rows, columns = np.nonzero(picture)
    assert 60 <= columns.min() < columns.max() < 100
    assert 90 <= rows.min() < rows.max() < 110
    assert picture.max() == pytest.approx(0.2, rel=0.05)
    profile = picture[100, 80:101]
    assert (np.diff(profile) <= 0).all()
    assert np.abs(np.diff(profile)).max() < 0.02  # no hard border


def test_the_table_is_the_real_one_with_malignant_as_the_anomaly(tmp_path):
    path = make_table(tmp_path / "new")
    assert path == tmp_path / "new" / "table.npz"
    with np.load(path, allow_pickle=False) as table:
        assert table["X"].shape == (569, 30)
        assert table["X"].dtype == np.float64
        assert np.bincount(table["y"]).tolist() == [357, 212]
        radius = table["X"][:, 0]
        assert radius[table["y"] == 1].mean() > radius[table["y"] == 0].mean()


SMALL = {"slides": 1, "radiographs": 4, "size": 1024}


@pytest.fixture
def archive(tmp_path) -> Path:
    synthetic(tmp_path / "archive", **SMALL)
    return tmp_path / "archive"


def test_the_archive_says_that_it_is_synthetic_and_leaves_nothing_beside(archive, tmp_path):
    assert "SYNTHETIC" in (archive / "README.txt").read_text()
    assert "mean nothing medically" in (archive / "README.txt").read_text()
    assert sorted(path.name for path in archive.iterdir()) == [
        "README.txt", "annotations", "radiographs", "settings.json", "slides", "table.npz",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_an_archive_with_the_same_settings_is_left_alone(archive):
    (archive / "slides" / "mine.txt").write_text("still here")
    outcome = synthetic(archive, **SMALL)
    assert outcome.exit_status == ExitStatus.DONE
    assert "alone" in outcome.message
    assert (archive / "slides" / "mine.txt").exists()


def test_other_settings_are_named_and_force_replaces(archive, tmp_path):
    before = digests(archive)
    with pytest.raises(EsadError, match=r"seed: 0 -> 4\).*--force") as caught:
        synthetic(archive, **SMALL, seed=4)
    assert caught.value.exit_status == ExitStatus.FAILED
    assert digests(archive) == before
    synthetic(archive, **SMALL, seed=4, force=True)
    assert json.loads((archive / "settings.json").read_text())["seed"] == 4
    assert digests(archive) != before
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_failure_under_force_keeps_the_old_archive(archive, monkeypatch):
    before = digests(archive)
    monkeypatch.setattr(
        "esad.pipeline.synthesis.archive.make_table",
        lambda folder: (_ for _ in ()).throw(OSError(28, "full")),
    )
    with pytest.raises(OSError, match="No space left on device"):
        synthetic(archive, **SMALL, seed=4, force=True)
    assert digests(archive) == before


@pytest.mark.parametrize("settings", [None, "{", "[]", "{}"])
@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_is_no_archive_is_never_touched(tmp_path, settings, force):
    (tmp_path / "thesis.txt").write_text("years of work")
    if settings is not None:
        (tmp_path / "settings.json").write_text(settings)
    with pytest.raises(EsadError, match="not a synthetic archive"):
        synthetic(tmp_path, **SMALL, force=force)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    synthetic(tmp_path / "empty", slides=0, radiographs=0, size=1024)
    assert (tmp_path / "empty" / "settings.json").exists()


def test_a_slide_too_small_for_tiles_is_refused(tmp_path):
    with pytest.raises(UsageError, match="at least 1024"):
        synthetic(tmp_path / "out", size=512)
    assert not (tmp_path / "out").exists()
