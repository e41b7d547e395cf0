"""Combined scores of tiles, as the viewer and the stages for slides have them."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from esad.pipeline.stage.errors import UsageError
from tests.pipeline.commands import made as say
from tests.pipeline.inspection.case import case_of


@pytest.fixture
def combined(runs, tmp_path):
    say("combine", *runs, "--out", tmp_path / "both")
    return tmp_path / "both"


def test_slides_and_their_maps_are_of_the_combined_scores(combined, runs):
    scores = next((combined / "scores").iterdir())
    tiles = pd.read_parquet(scores / "scores.parquet")
    slides = pd.read_parquet(scores / "slides.parquet").set_index("source")
    highest = tiles.groupby("source")["score"].max()
    pd.testing.assert_series_equal(slides["max"].sort_index(), highest.sort_index(), check_names=False)
    own = next((runs[0] / "scores").iterdir())
    names = sorted(path.name for path in (own / "slides").glob("*.png"))
    assert sorted(path.name for path in (scores / "slides").glob("*.png")) == names
    assert names
    say("evaluate", combined)
    assert json.loads((scores / "metrics.json").read_text())["kind"] == "tiles"


def test_the_viewer_says_why_there_are_no_panels(combined, made, tmp_path):
    case = case_of([combined], tmp_path / "marks.sqlite", made / "slides")
    about = case.get("/api/about")
    assert about["runs"][0]["name"] == "both"
    assert {"member_1", "member_2"} <= set(about["figures"])
    assert len(case.get("/api/item/0")["runs"][0]["terms"]) == 2
    answer = case.client.get("/picture/panel/0/0/reconstruction.png")
    assert answer.status_code == 410
    assert "combined scores" in answer.text


def test_runs_of_other_stores_are_not_shown_side_by_side(made, runs, tmp_path):
    shutil.copytree(runs[1], tmp_path / "run")
    marker = next((tmp_path / "run" / "scores").iterdir()) / "scores.json"
    for name in ("store", "inputs"):
        content = json.loads(marker.read_text())
        marker.write_text(json.dumps({**content, name: "another"}))
        with pytest.raises(UsageError, match="scores of another store than"):
            case_of([runs[0], tmp_path / "run"], tmp_path / "marks.sqlite", made / "slides")
        marker.write_text(json.dumps(content))
