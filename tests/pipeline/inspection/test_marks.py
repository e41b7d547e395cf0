"""Marks are kept at once, by whom and when; two writers lose nothing, what is undone is gone, and the CSV is one that --labels takes."""

from __future__ import annotations

import sqlite3
import threading

import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.inspection.marks import Conflict, Marks
from esad.pipeline.runs.given_labels import give_labels
from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.splits.labels import read_labels
from esad.preprocessing.store.store import Store


@pytest.fixture
def marks(tmp_path):
    return Marks(tmp_path / "marks.sqlite")


def test_the_last_word_counts_and_all_words_are_kept(marks):
    marks.put("item", "a", "normal", "", "Ada")
    entry = marks.put("item", "a", "anomaly", " a nest  ", "  Bo   Li ")
    assert marks.current("item") == {"a": entry}
    assert (entry.mark, entry.comment, entry.reader) == ("anomaly", "a nest", "Bo Li")
    assert pd.Timestamp(entry.at).tzinfo is not None
    assert [each.mark for each in marks.history("item", "a")] == ["anomaly", "normal"]
    assert marks.current("slide") == {}
    assert Marks(marks.path).current("item") == {"a": entry}  # another process


def test_who_does_not_say_a_name_and_what_is_no_mark_are_refused(marks):
    with pytest.raises(ValueError, match="needs the name"):
        marks.put("item", "a", "normal", "", "  ")
    with pytest.raises(ValueError, match="expected one of normal, anomaly, unsure"):
        marks.put("item", "a", "cancer", "", "Ada")
    with pytest.raises(ValueError, match="of an item or a slide"):
        marks.put("patient", "a", "normal", "", "Ada")


def test_a_tab_that_has_not_seen_the_last_mark_does_not_write_over_it(marks):
    first = marks.put("item", "a", "normal", "", "Ada", seen=0)
    with pytest.raises(Conflict, match="Ada marked it normal meanwhile") as told:
        marks.put("item", "a", "anomaly", "", "Bo", seen=0)
    assert told.value.entry == first
    assert marks.put("item", "a", "anomaly", "", "Bo", seen=first.id).mark == "anomaly"
    assert len(marks.history("item", "a")) == 2


def test_two_writers_at_once_lose_nothing(marks):
    def write(reader):
        own = Marks(marks.path)
        for number in range(60):
            own.put("item", f"{reader}{number}", "normal", "", reader)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("Ada", "Bo", "Cy")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(marks.current("item")) == 180


def test_of_two_who_mark_one_item_at_once_exactly_one_is_told(marks):
    start, told = threading.Barrier(8), []

    def write(number):
        own = Marks(marks.path)
        start.wait()
        try:
            own.put("item", "a", "normal", "", f"r{number}", seen=0)
        except Conflict:
            told.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 7
    assert len(marks.history("item", "a")) == 1


def test_undo_takes_back_ones_own_last_mark_and_the_one_before_stands_again(marks):
    first = marks.put("item", "a", "normal", "", "Ada")
    marks.put("item", "b", "anomaly", "", "Bo")
    second = marks.put("item", "a", "unsure", "", "Ada")
    before = marks.version()
    assert marks.undo("Ada") == second
    assert marks.version() != before
    assert marks.current("item")["a"] == first
    assert marks.undo("Ada") == first
    assert set(marks.current("item")) == {"b"}
    assert marks.undo("Ada") is None
    assert marks.current("item")["b"].reader == "Bo"


def test_undo_leaves_what_another_reader_said_after(marks):
    marks.put("item", "a", "normal", "", "Ada")
    marks.put("item", "a", "anomaly", "", "Bo")
    with pytest.raises(Conflict, match="Bo has marked a after you"):
        marks.undo("Ada")
    assert marks.current("item")["a"].mark == "anomaly"


def test_the_file_can_be_read_while_it_is_written(marks):
    with sqlite3.connect(marks.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert marks.current("item") == {}
        assert marks.version() == "0-0"
        other.execute("ROLLBACK")


def test_a_place_that_cannot_be_written_is_said_with_what_to_do(tmp_path):
    with pytest.raises(EsadError, match=r"marks cannot be kept there .*--marks FILE"):
        Marks(tmp_path / "none" / "marks.sqlite")
    (tmp_path / "text.sqlite").write_text("this is no database, but a text of some length" * 50)
    with pytest.raises(EsadError, match="marks cannot be kept there"):
        Marks(tmp_path / "text.sqlite")


def test_the_export_has_labels_for_what_is_certain_and_escapes_what_a_spreadsheet_would_run(case, tmp_path):
    names = [
        case.mark(row, mark, comment="=1+1")["name"]
        for row, mark in ((3, "anomaly"), (5, "normal"), (9, "unsure"))
    ]
    case.mark(11, "normal")
    case.mark(11, None)  # taken back
    text = case.client.get("/marks/items.csv").text
    assert ",'=1+1," in text
    path = tmp_path / "marks.csv"
    path.write_text(text)
    labels = read_labels(path).set_index("item_id")
    assert list(labels.index) == sorted(names)
    assert labels["made_from"].str.match("tile |item |file ").all()
    assert labels["label"].dropna().to_dict() == {names[0]: 1, names[1]: 0}
    doubted = next(name for name in labels.index if name not in names[:2])
    assert labels["semi_label"].dropna().to_dict() == {
        names[0]: -1,
        names[1]: 1,
        doubted: 0,
    }  # unsure: as without a label


def test_marks_go_the_whole_way_back_into_a_store(case, made, tmp_path):
    words = [
        "tile",
        str(made / "slides"),
        "--stain",
        "none",
        "--mpp",
        "1.0",
        "--set",
        "min_tissue=0.1",
        "--out",
        str(tmp_path / "again"),
    ]
    anomaly, normal = (case.mark(row, mark)["name"] for row, mark in ((3, "anomaly"), (60, "normal")))
    (tmp_path / "marks.csv").write_text(case.client.get("/marks/items.csv").text)
    assert call([*words, "--labels", str(tmp_path / "marks.csv")]) == 0
    manifest = Store(tmp_path / "again").manifest.set_index("item_id")
    assert manifest["label"].dropna().to_dict() == {anomaly: 1, normal: 0}
    assert manifest["semi_label"].dropna().to_dict() == {anomaly: -1, normal: 1}
    store = Store(made / "store")
    give_labels(store, tmp_path / "marks.csv")  # esad train --labels
    assert store.manifest.set_index("item_id")["label"].dropna().to_dict() == {anomaly: 1, normal: 0}


def test_marks_of_slides_label_all_their_tiles(case, made, tmp_path):
    body = {"of": "slide", "row": 1, "mark": "normal", "reader": "Ada"}
    assert case.client.post("/api/marks", json=body).json()["entry"]["name"] == "a.tif"
    path = tmp_path / "slides.csv"
    path.write_text(case.client.get("/marks/slides.csv").text)
    labels = read_labels(path)
    assert labels[["source", "label"]].to_numpy().tolist() == [["a.tif", 0]]


def test_a_conflict_is_answered_with_what_stands_now(case):
    first = case.mark(0, "normal", seen=0)
    answer = case.client.post(
        "/api/marks", json={"of": "item", "row": 0, "mark": "unsure", "reader": "Bo", "seen": 0}
    )
    assert answer.status_code == 409
    assert answer.json()["now"] == first
    for wrong in (
        {"row": 10**6},
        {"row": "0"},
        {"row": True},
        {"of": "file"},
        {"mark": "bad"},
        {"reader": ""},
        {"seen": "x"},
    ):
        body = {"of": "item", "row": 0, "mark": "normal", "reader": "Ada", **wrong}
        assert case.client.post("/api/marks", json=body).status_code in (400, 404), wrong
    assert (
        case.client.post(
            "/api/marks", content=b"[1]", headers={"content-type": "application/json"}
        ).status_code
        == 400
    )


def test_an_undone_mark_leads_back_to_its_item(case):
    case.mark(7, "anomaly")
    answer = case.client.post("/api/undo", json={"reader": "Ada"}).json()
    assert (answer["row"], answer["entry"]["mark"]) == (7, "anomaly")
    assert case.client.post("/api/undo", json={"reader": "Ada"}).json()["entry"] is None
    assert case.get("/api/item/7")["history"] == []
