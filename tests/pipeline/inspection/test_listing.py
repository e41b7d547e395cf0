"""What is listed is what pandas would list: filtered, sorted, cut into pages."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.inspection.listing import Query, disagreement
from tests.pipeline.inspection.case import HOSTILE, case_of, score_store


@pytest.fixture(scope="module")
def labelled(made):
    """A run whose items have labels, projections and findings here and there."""
    from esad.preprocessing.store.store import Store

    store = Store(made / "store")
    count = len(store)
    label = pd.array([[0, 1, None][number % 3] for number in range(count)], dtype="Int8")
    view = pd.array([["PA", "AP", None][number % 3] for number in range(count)], dtype="string")
    score = np.random.default_rng(5).normal(size=count)
    score[[4, 9]] = score[2]  # ties keep the order of the store
    return score_store(made, store, "labelled", label=label, view=view, score=score, norm=np.nan)


@pytest.fixture
def listed(labelled, made, tmp_path):
    return case_of([labelled], tmp_path / "marks.sqlite", made / "slides")


@pytest.fixture
def table(labelled):
    return pd.read_parquet(labelled / "scores/store/scores.parquet")


def ids(case, **query):
    return [record["item_id"] for record in case.get("/api/list", limit=500, **query)["rows"]]


def test_the_order_is_that_of_pandas_whichever_way(listed, table):
    for name in ("score", "percentile", "group", "item_id", "source", "label"):
        for descending in (True, False):
            expected = table.sort_values(name, ascending=not descending, kind="stable", na_position="last")
            assert ids(listed, sort=name, descending=int(descending)) == expected["item_id"].tolist(), name


def test_what_has_no_value_is_last_whichever_way(listed, table):
    for descending in (0, 1):
        assert ids(listed, sort="norm", descending=descending) == table["item_id"].tolist()


def test_filters_are_those_of_pandas(listed, table):
    by = table.sort_values("score", ascending=False, kind="stable")
    tests = {
        "label=anomaly": by["label"] == 1, "label=normal": by["label"] == 0, "label=none": by["label"].isna(),
        "view=PA": by["view"] == "PA", "view=none": by["view"].isna(), "part=train": by["part"] == "train",
        "group=a": by["group"] == "a", "least=0.5": by["percentile"] >= 0.5, "most=0.5": by["percentile"] <= 0.5,
        "slide=1": by["source"] == "a.tif", "text=ONERROR": by["source"].str.contains("onerror"), "text=.": by["source"].notna(),
        "label=other": by["label"] == 7, "text=*": by["source"].isna(),
    }  # fmt: skip
    for query, keep in tests.items():
        name, value = query.split("=")
        assert ids(listed, **{name: value}) == by.loc[keep.fillna(False), "item_id"].tolist(), query
    both = ids(listed, label="anomaly", view="AP", least=0.2)
    keep = (by["label"] == 1).fillna(False) & (by["view"] == "AP").fillna(False) & (by["percentile"] >= 0.2)
    assert both == by.loc[keep, "item_id"].tolist()


def test_pages_join_to_the_whole(listed):
    whole, pages = ids(listed, sort="score"), []
    for offset in range(0, 140, 20):
        page = listed.get("/api/list", sort="score", offset=offset, limit=20)
        assert page["total"] == len(whole)
        pages += [record["item_id"] for record in page["rows"]]
    assert pages == whole
    assert listed.get("/api/list", offset=10**6)["rows"] == []
    assert listed.get("/api/list", offset=-5, limit=3)["rows"][0]["item_id"] == whole[0]
    assert len(listed.get("/api/list", limit=10**9)["rows"]) == len(whole)


def test_marks_filter_and_sort_at_once(listed):
    listed.mark(3, "anomaly")
    listed.mark(8, "unsure")
    names = {row: listed.subject.items["item_id"].iloc[row] for row in (3, 8)}
    assert set(ids(listed, mark="any")) == set(names.values())
    assert ids(listed, mark="unsure") == [names[8]]
    assert len(ids(listed, mark="none")) == len(listed.subject) - 2
    assert ids(listed, sort="mark")[:2] == [names[8], names[3]]
    listed.client.post("/api/undo", json={"reader": "Ada"})
    assert ids(listed, mark="any") == [names[3]]


def test_disagreement_is_of_the_mark_where_there_is_one(listed, table):
    found = disagreement(np.array([1.0, 0.0, np.nan]), np.array([0.25, 0.9, 0.5]))
    assert found[:2].tolist() == [0.75, 0.9]
    assert np.isnan(found[2])
    labels = table["label"].astype(float).to_numpy(dtype=float)
    expected = (
        table["item_id"].iloc[np.argsort(-np.abs(labels - table["percentile"]), kind="stable")].tolist()
    )
    known = int(np.isfinite(labels).sum())
    assert ids(listed, sort="disagreement")[:known] == expected[:known]
    lowest = int(np.where(labels == 0, table["percentile"], 2).argmin())  # a normal one that scores low
    listed.mark(lowest, "anomaly")
    place = ids(listed, sort="disagreement").index(table["item_id"][lowest])
    assert place < 3


def test_runs_disagree_where_their_percentiles_do(case, runs):
    one, other = (
        pd.read_parquet(run / "scores/store/scores.parquet").set_index("item_id")["percentile"]
        for run in runs
    )
    expected = (one - other.reindex(one.index)).abs()
    assert ids(case, sort="runs") == expected.sort_values(ascending=False, kind="stable").index.tolist()


def test_the_figures_are_those_of_the_run_that_is_asked_for(case, runs):
    table = pd.read_parquet(runs[1] / "scores/store/scores.parquet").sort_values(
        "score", ascending=False, kind="stable"
    )
    page = case.get("/api/list", run=1, limit=5)["rows"]
    assert [record["item_id"] for record in page] == table["item_id"].head(5).tolist()
    assert [record["score"] for record in page] == pytest.approx(table["score"].head(5).tolist())
    assert case.client.get("/api/list", params={"run": 2}).status_code == 400


def test_slides_are_listed_with_what_is_marked_of_them(case, runs):
    table = pd.read_parquet(runs[0] / "scores/store/slides.parquet").set_index("source")
    for row in case.subject.rows_of_slide(1)[:3]:
        case.mark(int(row), "normal")
    for name in ("max", "top_mean", "p99", "suspicious"):
        page = case.get("/api/list", of="slide", sort=name)["rows"]
        assert [record["source"] for record in page] == table[name].sort_values(
            ascending=False, kind="stable"
        ).index.tolist()
        assert [record[name] for record in page] == pytest.approx(
            table[name].sort_values(ascending=False).tolist()
        )
    page = case.get("/api/list", of="slide", sort="reviewed")["rows"]
    assert (page[0]["source"], page[0]["reviewed"]) == ("a.tif", 3)
    assert ids_of_slides(case, text="img") == [f"{HOSTILE}.tif"]


def ids_of_slides(case, **query):
    return [
        record["source"]
        for record in case.get("/api/list", of="slide", sort="source", descending=0, **query)["rows"]
    ]


def test_next_and_previous_follow_the_order_and_the_next_open_one_starts_again_at_the_top(listed):
    order = [listed.subject.row_of(name) for name in ids(listed, sort="score")]
    found = listed.get(f"/api/around/{order[5]}", sort="score")
    assert (found["place"], found["previous"], found["next"], found["unreviewed"]) == (
        5,
        order[4],
        order[6],
        order[6],
    )
    listed.mark(order[6], "normal")
    assert listed.get(f"/api/around/{order[5]}", sort="score")["unreviewed"] == order[7]
    assert listed.get(f"/api/around/{order[-1]}", sort="score")["unreviewed"] == order[0]
    assert listed.get(f"/api/around/{order[-1]}", sort="score")["next"] is None
    assert listed.get(f"/api/around/{order[0]}", sort="score")["previous"] is None
    outside = listed.get(f"/api/around/{order[0]}", label="other")
    assert (outside["place"], outside["total"], outside["next"]) == (None, 0, None)


def test_a_question_that_makes_no_sense_is_answered_in_words(listed):
    for query, words in (
        ({"sort": "nothing"}, "no such column"), ({"least": "nan"}, "expected a number"), ({"of": "patient"}, "expected item or slide"),
        ({"run": "-1"}, "expected a number"), ({"slide": "x"}, "expected a number"),
    ):  # fmt: skip
        answer = listed.client.get("/api/list", params=query)
        assert answer.status_code == 400
        assert words in answer.json()["error"]
    assert Query.read({"descending": "0"}) == Query(descending=False)


def test_names_arrive_as_texts_whatever_they_hold(case):
    page = case.client.get("/api/list", params={"text": HOSTILE})
    assert page.headers["content-type"] == "application/json"
    assert json.loads(page.text)["rows"][0]["group"] == HOSTILE
    assert case.client.get("/static/index.html").text.count("onerror") == 0


def test_scores_of_earlier_versions_and_damaged_ones(made, labelled, tmp_path):
    import shutil

    from esad.pipeline.inspection.subject import Subject
    from esad.pipeline.stage.errors import EsadError

    old = tmp_path / "old"
    shutil.copytree(labelled / "scores/store", old)
    table = pd.read_parquet(old / "scores.parquet").drop(columns=["threshold", "p_value"])
    table.to_parquet(old / "scores.parquet")
    subject = Subject([old])
    ordinary = table.loc[table["percentile"] < 0.99, "score"].max()  # as scores of earlier versions are read
    assert subject.runs[0].stands_out.tolist() == (table["score"] > ordinary).tolist()
    (old / "slides.parquet").unlink()
    assert Subject([old]).size(0)[0] > 1000  # what its tiles cover
    (old / "scores.parquet").write_bytes(b"nothing")
    with pytest.raises(EsadError, match=r"scores.parquet: is damaged"):
        Subject([old])


def test_runs_of_other_items_are_not_shown_side_by_side(labelled, tmp_path):
    import shutil

    from esad.pipeline.inspection.subject import Subject
    from esad.pipeline.stage.errors import UsageError

    other = tmp_path / "other"
    shutil.copytree(labelled / "scores/store", other)
    table = pd.read_parquet(other / "scores.parquet")
    table.assign(item_id="x" + table["item_id"]).to_parquet(other / "scores.parquet")
    with pytest.raises(UsageError, match="has no item of"):
        Subject([labelled, other])


def test_the_histogram_counts_every_normal_once_and_reaches_beyond_most_of_them(case):
    run = case.subject.runs[0]
    bars = case.get("/api/about")["runs"][0]["histogram"]
    counts, edges = np.array(bars["counts"]), np.array(bars["edges"])
    assert counts.sum() == len(run.normals) == 199
    inside = run.normals < edges[-2]
    assert counts[:-1].sum() == inside.sum()
    assert counts[-1] == (~inside).sum()
    assert edges[0] == run.normals[0]
    assert edges[-1] > np.quantile(run.normals, 0.99)


def test_the_terms_of_a_score_add_up_to_it(made, tmp_path):
    import json

    from esad.pipeline.scoring.scores import score_formula
    from esad.preprocessing.store.store import Store

    store = Store(made / "store")
    run = score_store(made, store, "standardised", seed=3)
    marker = run / "scores/store/scores.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"score": "standardised"}))
    case = case_of([run], tmp_path / "m.sqlite")
    known = case.get("/api/item/9")["runs"][0]
    formula = score_formula("standardised", pd.read_parquet(run / "normals.parquet"))
    assert [term["name"] for term in known["terms"]] == ["reconstruction", "norm"]
    for term in known["terms"]:
        centre, scale = formula[term["name"]]
        assert term["part"] == pytest.approx((known[term["name"]] - centre) / scale)
