"""What was left out: every scored item is counted once, inputs by reason, and a store that is gone is said."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.evaluation.metrics_file import stored_metrics
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.reporting.left_out import (
    LONGEST_REASON,
    MOST_REASONS,
    by_reason,
    item_counts,
    left_out,
    store_counts,
)
from esad.pipeline.scoring.open_scores import open_scores
from esad.pipeline.settings.config import ImageSettings
from tests.pipeline.test_evaluate import fabricate


def refused(*reasons):
    return pd.DataFrame(
        {"source": [f"folder/patient-{n}.png" for n in range(len(reasons))], "reason": list(reasons)}
    )


def test_each_scored_item_is_counted_once(tmp_path):
    part = ["test"] * 10 + ["train"] * 12 + ["validation"] * 8 + [None] * 10
    label = pd.array([0, 1] * 4 + [None] * 2 + [0] * 20 + [None] * 4 + [1] * 6, dtype="Int8")
    counts = item_counts(open_scores(fabricate(tmp_path, part=part, label=label)))
    assert [count for _, count in counts] == [8, 12, 8, 6, 6]
    assert sum(count for _, count in counts) == 40
    assert counts[0][0] == "in the figures (test part)"
    assert counts[-1][0] == "not in the figures: labelled, but not of the test part"


def test_reasons_without_items_are_not_listed_but_the_figures_are(tmp_path):
    assert item_counts(open_scores(fabricate(tmp_path / "a"))) == [("in the figures (test part)", 40)]
    unlabelled = fabricate(tmp_path / "b", label=pd.array([None] * 40, dtype="Int8"), part=[None] * 40)
    assert item_counts(open_scores(unlabelled)) == [
        ("in the figures (all labelled)", 0),
        ("not in the figures: no label", 40),
    ]


def test_reasons_are_grouped_without_names_and_numbers():
    table = refused(
        "folder/patient-0.png: holds 3 pixels, expected 8.", "patient-1.png: holds 5 pixels, expected 8.",
        "/data/archive/folder/patient-2.png: is no picture.", None, "x" * 999,
    )  # fmt: skip
    found = by_reason(table)
    assert found[0] == ("holds 3 pixels, expected 8. (numbers of the first of them)", 2)
    assert ("is no picture.", 1) in found
    assert ("no reason is stated", 1) in found
    assert max(len(reason) for reason, _ in found) == LONGEST_REASON
    assert not any("patient" in reason or "archive" in reason for reason, _ in found)


def test_names_and_paths_within_reasons_are_taken_out():
    table = refused(
        "folder/patient-0.png: its outlines /secret/place/patient-0.xml are no XML.",
        "the mask patient-1.mask.png is missing, and so is (patient-1).",
        "1/2 of all is a share, and so is and/or.",
    )
    shown = [reason for reason, _ in by_reason(table)]
    assert shown[0] == "its outlines are no XML."
    assert shown[1].startswith("the mask is missing, and so is")
    assert shown[2] == "1/2 of all is a share, and so is and/or."
    assert not any("patient" in reason or "secret" in reason for reason in shown)
    other = pd.DataFrame({"source": ["a.png"], "reason": ["a.png: a header /root/of/all.csv says a thing."]})
    assert by_reason(other) == [("a header a file says a thing.", 1)]


@pytest.fixture
def store(tmp_path):
    """A store of six pictures and three files that are none."""
    from PIL import Image

    numbers = np.random.default_rng(0)
    for name in ("normal", "anomaly"):
        (tmp_path / "archive" / name).mkdir(parents=True)
        for number in range(3):
            pixels = numbers.integers(0, 255, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "archive" / name / f"{number}.png")
    for number in range(3):
        (tmp_path / "archive/normal" / f"broken-{number}.png").write_bytes(b"no picture")
    images([tmp_path / "archive"], ImageSettings(), IngestOptions(tmp_path / "store"))
    return tmp_path / "store"


def test_refused_inputs_of_a_real_store_are_counted_by_reason(store):
    inputs = json.loads((store / "store.json").read_text())["inputs"]
    found = store_counts(store, inputs)
    assert (found["total"], found["items"], found["note"]) == (9, 6, "")
    assert len(found["rows"]) == 1
    what, reason, count = found["rows"][0]
    assert (what, count) == ("refused", 3)
    assert "broken" not in reason
    assert "other inputs now" in store_counts(store, "others")["note"]


def test_a_store_that_is_gone_or_damaged_is_said(store, tmp_path):
    gone = store_counts(tmp_path / "nowhere", "")
    assert "The store nowhere is not where it was" in gone["note"]
    assert (gone["total"], gone["rows"]) == (None, [])
    (store / "sources.parquet").write_bytes(b"cut off")
    found = store_counts(store, "")
    assert "cannot be read" in found["note"]
    assert found["total"] is None


def test_tiles_that_were_left_out_and_slides_without_any_are_counted(store):
    sources = pd.DataFrame(
        {
            "source": [f"{n}.tif" for n in range(20)], "state": ["done"] * 3 + ["refused"] * 17, "items": [10, 20, 0] + [0] * 17,
            "reason": [None, None, "2.tif: no tissue"] + [f"{'abcdefghijklmnopqrst'[n]} is wrong" for n in range(3, 20)],
            "unreadable_tiles": [0, 3, 0] + [None] * 17, "blurred_tiles": [4, 5, 0] + [None] * 17,
        }
    )  # fmt: skip
    sources.to_parquet(store / "sources.parquet")
    found = store_counts(store, "")
    assert ("tiles that could not be read", "on 1 slide", 3) in found["rows"]
    assert ("tiles left out as blurred", "on 2 slides", 9) in found["rows"]
    inputs = [row for row in found["rows"] if not row[0].startswith("tiles")]
    assert len(inputs) == MOST_REASONS + 1
    assert sum(count for *_, count in inputs) == 18


def test_classes_and_slides_without_figures_are_counted(tmp_path):
    names = ["a", "b"] * 10 + ["c", None] * 10
    scores = open_scores(fabricate(tmp_path / "a", "images", class_name=names))
    also = left_out(scores, stored_metrics(scores))["also"]
    assert also == ["10 anomalies have no class and are in none of the figures by class."]
    part = ["test"] * 20 + ["train"] * 10 + ["test"] * 10
    slides = ["a"] * 10 + ["b"] * 10 + ["c"] * 10 + ["d"] * 10
    tumour = [0.0] * 10 + [1.0] * 10 + [0.0] * 10 + [1.0] * 10
    scores = open_scores(fabricate(tmp_path / "b", "tiles", source=slides, part=part, tumour_fraction=tumour))
    also = left_out(scores, stored_metrics(scores))["also"]
    assert "1 of 4 slides are in no figure of slides: the run has seen tiles of them." in also
