"""Pictures are the store's pixels and the archive's files; what is away, or another file, is said in words."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from esad.pipeline.inspection.archive import Archive
from esad.pipeline.inspection.subject import Subject
from esad.pipeline.radiographs import radiographs
from esad.pipeline.settings.config import RadiographSettings
from esad.pipeline.stage.errors import InputError
from esad.preprocessing.store.store import Store
from tests.pipeline.inspection.case import case_of, score_store
from tests.pipeline.stores import make_store


def picture(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_a_stored_tile_is_served_to_the_bit(case, made):
    store = Store(made / "store")
    for row in (0, 57, len(store) - 1):
        served = picture(case.client.get(f"/picture/item/{row}.png"))
        assert np.array_equal(served, store.read(np.array([row]))[0])
    assert case.client.get(f"/picture/item/{len(store)}.png").status_code == 404


def test_a_sheet_has_its_items_side_by_side(case, made):
    store, rows = Store(made / "store"), [5, 0, 99]
    served = picture(case.client.get("/picture/sheet.png", params={"rows": "5,0,99"}))
    assert np.array_equal(served, np.concatenate(list(store.read(np.array(rows))), axis=1))
    small = picture(case.client.get("/picture/sheet.png", params={"rows": "5,0,99", "side": 32}))
    assert small.shape == (32, 96, 3)
    assert np.array_equal(
        small[:, :32],
        np.asarray(Image.fromarray(store.read(np.array([5]))[0]).resize((32, 32), Image.Resampling.BOX)),
    )
    for rows in ("", "x", "-1", "9999", ",".join(["1"] * 500)):
        assert case.client.get("/picture/sheet.png", params={"rows": rows}).status_code in (400, 404)


def test_a_slides_overview_is_the_stores(case, made):
    served = picture(case.client.get("/picture/slide/1.png", params={"side": 100}))
    assert max(served.shape[:2]) == 100
    assert case.client.get("/picture/slide/9.png").status_code == 404


def test_an_overlay_is_the_file_that_was_drawn(case, made):
    name = case.subject.items["item_id"].iloc[4]
    assert case.client.get("/picture/overlay/0/4.png").status_code == 404
    assert case.get("/api/item/4")["runs"][0]["overlay"] is False
    path = made / "run/run/scores/store/overlays" / f"{name}.png"
    Image.new("RGB", (9, 3), (1, 2, 3)).save(path)
    try:
        assert case.client.get("/picture/overlay/0/4.png").content == path.read_bytes()
        assert case.get("/api/item/4")["runs"][0]["overlay"] is True
    finally:
        path.unlink()


def test_without_its_store_the_scores_are_still_listed_and_it_is_said(case, runs, tmp_path):
    import shutil

    scores = tmp_path / "scores"
    shutil.copytree(runs[0] / "scores/store", scores)
    marker = json.loads((scores / "scores.json").read_text()) | {"store": str(tmp_path / "gone")}
    (scores / "scores.json").write_text(json.dumps(marker))
    gone = case_of([scores], tmp_path / "m.sqlite")
    assert "no such folder" in gone.get("/api/about")["store"]
    assert gone.get("/api/list")["total"] == len(case.subject)
    assert gone.client.get("/picture/item/0.png").status_code == 410
    slide = gone.get("/api/slide/1")
    assert (slide["real"], slide["width"]) == (False, 1237)
    assert "its store is gone, too" in slide["away"]
    assert gone.client.get("/slide/1/picture/11/0_0.jpg").status_code == 200
    assert gone.client.get("/slide/1/heat/11/0_0.png").status_code == 200


@pytest.fixture(scope="module")
def xrays(tmp_path_factory):
    """Radiographs of different shapes, one of them in a zip: a folder with archive/, store/ and a run."""
    folder = tmp_path_factory.mktemp("xrays")
    (folder / "archive").mkdir()
    numbers = np.random.default_rng(0)
    for number, shape in enumerate(((400, 300), (300, 500))):
        Image.fromarray(numbers.integers(0, 255, shape, dtype=np.uint8)).save(
            folder / "archive" / f"x{number}.png"
        )
    with zipfile.ZipFile(folder / "archive" / "more.zip", "w") as archive:
        archive.write(folder / "archive" / "x0.png", "deep/y.png")
    from esad.pipeline.ingest.job import IngestOptions

    radiographs([folder / "archive"], RadiographSettings(projection="all"), IngestOptions(folder / "store"))
    score_store(folder, Store(folder / "store"))
    return folder


def test_a_radiograph_is_shown_at_full_size_with_the_square_that_the_model_saw(xrays, tmp_path):
    case = case_of([xrays / "run/run"], tmp_path / "m.sqlite", xrays / "archive")
    rows = {str(source): row for row, source in enumerate(case.subject.items["source"])}
    for name, shape in (("x0.png", (400, 300)), ("x1.png", (300, 500)), ("more.zip/deep/y.png", (400, 300))):
        assert picture(case.client.get(f"/picture/full/{rows[name]}.png")).shape == shape
        side = int(300 * 0.75)
        square = [(shape[1] - side) // 2, (shape[0] - side) // 2, side, side]
        assert case.get(f"/api/full/{rows[name]}") == {"away": "", "square": square}
    assert case.get("/api/about")["slides"] == 0
    assert case.client.get("/api/slide/0").status_code == 404


def test_a_radiograph_that_is_away_or_another_one_is_said(xrays, tmp_path):
    import shutil

    archive = tmp_path / "archive"
    shutil.copytree(xrays / "archive", archive)
    case = case_of([xrays / "run/run"], tmp_path / "m.sqlite", archive)
    row = case.subject.items["source"].astype(str).tolist().index("x0.png")
    (archive / "x0.png").write_bytes((archive / "x1.png").read_bytes())
    answer = case.client.get(f"/picture/full/{row}.png")
    assert (answer.status_code, answer.json()["error"]) == (
        410,
        "x0.png in the archive is another file than the one that was scored",
    )
    assert case.get(f"/api/full/{row}")["away"] == answer.json()["error"]
    (archive / "x0.png").unlink()
    with pytest.raises(InputError, match=r"x0\.png is not in the archive any more"):
        case.pages.archive.picture(row)
    with pytest.raises(InputError, match="start with --archive"):
        Archive(case.subject, None).picture(row)


def test_rows_of_a_table_are_listed_without_pictures(tmp_path):
    store = make_store(tmp_path)
    case = case_of([score_store(tmp_path, store)], tmp_path / "m.sqlite")
    assert case.get("/api/about")["kind"] == "table"
    assert case.get("/api/list", label="anomaly")["total"] == 40
    assert case.client.get("/picture/item/0.png").status_code == 404
    assert case.get("/api/item/0")["runs"][0]["columns"] == []
    assert case.client.get("/picture/panel/0/0/input.png").status_code in (404, 410)
    case.mark(0, "normal")


def test_a_subject_of_a_run_that_is_gone_has_scores_and_no_histogram(runs, tmp_path):
    import shutil

    scores = tmp_path / "scores"
    shutil.copytree(runs[0] / "scores/store", scores)
    marker = json.loads((scores / "scores.json").read_text()) | {"run": str(tmp_path / "gone")}
    (scores / "scores.json").write_text(json.dumps(marker))
    case = case_of([scores], tmp_path / "m.sqlite")
    assert case.get("/api/about")["runs"][0]["histogram"] is None
    assert case.get("/api/item/0")["runs"][0]["terms"] == []
    assert Subject([scores]).runs[0].name == "gone"
