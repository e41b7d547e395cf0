"""How unlike the normals of training scored items are: by term, projection and site; in metrics.json, in words and in the report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import mannwhitneyu

from esad.pipeline.cli.app import call
from esad.pipeline.evaluate import evaluate
from esad.pipeline.evaluation.alarms import _achieved, _by_columns, _highest_of_groups
from esad.pipeline.evaluation.item_figures import group_codes
from esad.pipeline.evaluation.measures.intervals import superiority
from esad.pipeline.report import report
from esad.pipeline.thresholds.false_alarms import over_splits
from tests.pipeline.test_report import complete

COUNT = 120


def scored_elsewhere(
    folder, shift=(0.0, 0.0), label=None, own=False, by=None, seen=("north", "south"), **columns
):
    """Scores of 120 items of the sites north and south, `shift`ed there, beside 100 reference normals of the sites `seen`."""
    numbers = np.random.default_rng(0)
    site = np.repeat(["north", "south"], COUNT // 2)
    score = numbers.normal(size=COUNT) + np.where(site == "north", *shift)
    references = pd.DataFrame(
        {"item_id": [f"r{n}" for n in range(100)], "score": numbers.normal(size=100), "eq9": 0.0}
    )
    references = references.assign(
        norm=numbers.normal(size=100), reconstruction=references["score"], group=[f"p{n // 2}" for n in range(100)],
        site=np.resize(list(seen), 100), part="validation", standardised=references["score"],
    )  # fmt: skip
    rows = {
        "item_id": [f"i{n}" for n in range(COUNT)], "score": score, "site": site, "group": [f"p{n // 3}" for n in range(COUNT)],
        "label": pd.array(label if label is not None else [None] * COUNT, dtype="Int8"), "source": "a.png", "part": None,
        "reconstruction": score, "norm": numbers.normal(size=COUNT), "percentile": 0.5, "p_value": 0.5, "threshold": 1.5, **columns,
    }  # fmt: skip
    run = complete(folder)
    table = pd.DataFrame(rows)
    table["part"] = table["part"].astype("string")
    table.to_parquet(run / "scores" / "store" / "scores.parquet")
    references.to_parquet(run / "normals.parquet")
    path = run / "scores" / "store" / "scores.json"
    marker = json.loads(path.read_text()) | {"inputs": "" if own else "others"}
    if by:
        sets = [
            {"name": name, "normals": 50, "threshold": 1.5, "level": 0.02, "rate_bounds": [0, 0.1]}
            for name in seen
        ]
        marker["thresholds"] = {
            "level": 0.02,
            "by": by,
            "per_group": False,
            "sets": sets,
            "held_out": True,
            "groups": 50,
        }
    path.write_text(json.dumps(marker))
    return run, table, references


def likeness_of(run):
    return evaluate(run).summary["alarms"]["likeness"]


def test_superiority_is_the_mann_whitney_effect_and_widens_with_groups():
    numbers = np.random.default_rng(1)
    new, old = numbers.normal(1, 1, 60), numbers.normal(size=40)
    found = superiority(new, old, np.arange(60), np.arange(40))
    test = mannwhitneyu(new, old)
    assert found["superiority"] == pytest.approx(test.statistic / (60 * 40))
    assert found["p"] == pytest.approx(test.pvalue)
    assert found["interval"][0] < found["superiority"] < found["interval"][1]
    alike = np.repeat(new[:12], 5)
    width = [
        np.ptp(superiority(alike, old, codes, np.arange(40))["interval"])
        for codes in (np.arange(60), np.arange(60) // 5)
    ]
    assert width[1] > 1.4 * width[0]


def test_items_without_a_label_are_compared_term_by_term_and_site_by_site(tmp_path):
    run, table, references = scored_elsewhere(tmp_path, shift=(0.0, 3.0))
    found = likeness_of(run)
    assert (found["of"], found["own"], found["items"], found["normals"]) == (
        "items without a label",
        False,
        120,
        100,
    )
    assert set(found["terms"]) == {
        "score",
        "reconstruction",
        "norm",
    }  # eq9 and standardised are not in these scores
    own = references.loc[references["site"] == "south", "score"]
    south = found["by"]["site"]["south"]
    test = mannwhitneyu(table.loc[table["site"] == "south", "score"], own)
    assert south["superiority"] == pytest.approx(test.statistic / (60 * len(own)))
    assert (south["items"], south["normals"], south["reference"], south["alike"]) == (60, 50, "south", False)
    assert found["by"]["site"]["north"]["alike"] is True
    assert found["terms"]["norm"]["alike"] is True


def test_where_all_are_labelled_the_normal_ones_are_compared(tmp_path):
    found = likeness_of(scored_elsewhere(tmp_path, label=[0] * 70 + [1] * 50)[0])
    assert (found["of"], found["items"]) == ("normal items", 70)


def test_thresholds_by_site_hold_where_each_site_is_like_its_own_normals(tmp_path):
    """Sites that differ from each other as they did in training are no shift, though a mixture of them would be."""
    run, _, references = scored_elsewhere(tmp_path, shift=(3.0, 0.0), by="site")
    references["score"] += np.where(references["site"] == "north", 3.0, 0.0)
    references.to_parquet(run / "normals.parquet")
    assert likeness_of(run)["alike"] is True
    references["score"] -= 1.5
    references.to_parquet(run / "normals.parquet")
    assert likeness_of(run)["alike"] is False


def test_a_few_anomalies_are_no_other_archive(tmp_path):
    anomalies = np.where(np.arange(COUNT) % 10 == 9, 6.0, 0.0)
    run, table, _ = scored_elsewhere(tmp_path)
    table.assign(score=table["score"] + anomalies).to_parquet(run / "scores" / "store" / "scores.parquet")
    assert likeness_of(run)["alike"] is True


NAMES = {True: "held-out normals", False: "normals of training", None: "reference normals"}


def say_held_out(run, held_out):
    """Have scores.json say whether the reference normals did not train."""
    path = run / "scores" / "store" / "scores.json"
    marker = json.loads(path.read_text())
    marker["thresholds"]["held_out"] = held_out
    path.write_text(json.dumps(marker))


@pytest.mark.parametrize(("shift", "word"), [((3.0, 3.0), "higher"), ((-3.0, -3.0), "lower")])
@pytest.mark.parametrize("held_out", NAMES)
def test_a_shift_is_said_either_way(tmp_path, capsys, shift, word, held_out):
    run, *_ = scored_elsewhere(tmp_path, shift=shift, by="site")
    say_held_out(run, held_out)
    assert call(["evaluate", str(run)]) == 0
    told = capsys.readouterr().err
    assert "These items are not like the normals of training" in told
    assert f"scores {word} than one of 100 {NAMES[held_out]}" in told
    assert "Not like the normals of training by site: north" in told
    assert (
        f"Shift: of pairs of 120 items without a label, among which may be anomalies, and 100 {NAMES[held_out]} "
        in told
    )


@pytest.mark.parametrize("held_out", NAMES)
def test_the_report_calls_normals_held_out_where_they_were(tmp_path, held_out):
    label = np.where(np.arange(COUNT) % 3 == 2, 1, 0)
    run, *_ = scored_elsewhere(tmp_path, label=label, by="site")
    say_held_out(run, held_out)
    evaluate(run)
    page = report([run], tmp_path / "report.html").out.read_text()
    thresholds = page.split("<h3>Thresholds</h3>")[1].split("<h3>Methods")[0].split("<h3>Curves")[0]
    assert NAMES[held_out].capitalize() in thresholds
    assert held_out or "held out" not in thresholds.lower().replace("-", " ")


def test_a_share_of_groups_is_called_one(tmp_path, capsys):
    label = np.where(np.arange(COUNT) % 3 == 2, 1, 0)
    run, *_ = scored_elsewhere(tmp_path, label=label, by="site")
    assert call(["evaluate", str(run)]) == 0
    assert "% of anomalies" in capsys.readouterr().err
    path = run / "scores" / "store" / "scores.json"
    marker = json.loads(path.read_text())
    marker["thresholds"]["per_group"] = True
    path.write_text(json.dumps(marker))
    assert call(["evaluate", str(run)]) == 0
    assert "% of groups with anomalies" in capsys.readouterr().err
    page = report([run, run], tmp_path / "report.html").out.read_text()
    assert "Groups with anomalies above the threshold" in page
    assert "false alarms and anomalies found there are shares of groups" in page


def test_normals_of_training_are_not_shuffled_with_those_of_the_test_part(tmp_path):
    run, table, _ = scored_elsewhere(tmp_path, label=[0] * COUNT, own=True, part="test", by="site")
    own = over_splits(table["score"].to_numpy(), group_codes(table), 0.02)
    mixed = evaluate(run).summary["alarms"]["splits"]
    say_held_out(run, False)
    assert evaluate(run).summary["alarms"]["splits"] == own != mixed


def test_a_site_that_training_did_not_have_is_named(tmp_path, capsys):
    run, *_ = scored_elsewhere(tmp_path, seen=("north",))
    assert likeness_of(run)["by"]["site"]["south"]["reference"] == "all"
    assert call(["evaluate", str(run)]) == 0
    assert (
        "no reference normals of site south: nothing shows that its thresholds hold there"
        in capsys.readouterr().err
    )


def test_of_the_runs_own_store_only_a_shift_is_said(tmp_path, capsys):
    run, *_ = scored_elsewhere(tmp_path, own=True)
    assert call(["evaluate", str(run)]) == 0
    assert "Shift:" not in capsys.readouterr().err


def test_normals_of_a_site_left_out_are_not_shuffled_with_those_of_training(tmp_path):
    run, table, _ = scored_elsewhere(tmp_path, label=[0] * COUNT, own=True, part="test")
    table["part"] = pd.array(["test"] * COUNT, dtype="string")
    table.to_parquet(run / "scores" / "store" / "scores.parquet")
    mixed = evaluate(run).summary["alarms"]["splits"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["split"] = "leave-site-out"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    alone = evaluate(run).summary["alarms"]["splits"]
    expected = over_splits(table["score"].to_numpy(), group_codes(table), 0.01)
    assert alone == expected != mixed
    (run / "normals.parquet").unlink()
    assert evaluate(run).summary["alarms"]["splits"] == expected


def test_too_few_items_or_no_reference_are_not_judged(tmp_path):
    run, table, _ = scored_elsewhere(tmp_path)
    table.head(10).to_parquet(run / "scores" / "store" / "scores.parquet")
    assert likeness_of(run) is None
    (run / "normals.parquet").unlink()
    assert likeness_of(run) is None


def test_figures_by_site_stand_in_the_metrics_and_in_a_csv(tmp_path):
    label = np.where(np.arange(COUNT) % 3 == 2, 1, 0)
    run, table, _ = scored_elsewhere(tmp_path, label=label, shift=(0.0, 2.0))
    content = evaluate(run).summary
    south = table[table["site"] == "south"]
    reached = content["alarms"]["by"]["site"]["south"]
    assert reached == {
        "normals": 40,
        "achieved": pytest.approx((south.loc[south["label"] == 0, "score"] > 1.5).mean()),
    }
    found = pd.read_csv(run / "scores" / "store" / "figures_by.csv").set_index(["by", "value"])
    assert [*found.index] == [("site", "north"), ("site", "south")]
    row, figures = found.loc[("site", "south")], content["by"]["site"]["south"]
    assert row["auc"] == pytest.approx(figures["auc"])
    assert [row["average_precision_low"], row["average_precision_high"]] == pytest.approx(
        figures["average_precision_interval"]
    )
    assert (row["items"], row["normal"], row["groups"]) == (60, 40, 20)
    assert row["superiority"] == pytest.approx(
        content["alarms"]["likeness"]["by"]["site"]["south"]["superiority"]
    )


def test_without_views_and_sites_there_is_no_such_csv(tmp_path):
    run, table, _ = scored_elsewhere(tmp_path)
    evaluate(run)
    assert (run / "scores" / "store" / "figures_by.csv").is_file()
    table.drop(columns="site").to_parquet(run / "scores" / "store" / "scores.parquet")
    evaluate(run)
    assert not (run / "scores" / "store" / "figures_by.csv").exists()


def test_a_promise_about_groups_is_held_against_groups():
    """Three normal groups of four items, one item of two of them above the threshold; an item of a group of anomalies."""
    table = pd.DataFrame({
        "item_id": [f"i{n}" for n in range(13)], "group": [f"g{n // 4}" for n in range(13)], "label": [0] * 12 + [1],
        "score": [9.0, 1, 1, 1, 1, 1, 9, 8, 1, 2, 1, 1, 9], "threshold": 5.0,
    }).assign(p_value=lambda table: 1 / (1 + table["score"]))  # fmt: skip
    found = _highest_of_groups(table, None)
    assert found["item_id"].tolist() == ["i0", "i6", "i9", "i12"]
    reached = _achieved(found, {"": 30}, 0.1)
    assert (reached["normals"], reached["achieved"], reached["anomalies_found"]) == (
        3,
        pytest.approx(2 / 3),
        1,
    )


def test_a_group_counts_once_in_each_set_of_references():
    """Each of 2000 groups has an item of either view, with uniform p-values: one set each promises 5 %."""
    p = np.random.default_rng(0).random(4000)
    table = pd.DataFrame({
        "item_id": [f"i{n}" for n in range(4000)], "group": [f"g{n // 2}" for n in range(4000)], "label": 0,
        "view": ["PA", "AP"] * 2000, "p_value": p, "score": 1 - p, "threshold": 0.95,
    })  # fmt: skip
    reached = _achieved(_highest_of_groups(table, "view"), {"PA": 1000, "AP": 1000}, 0.05, "view")
    assert (reached["normals"], reached["achieved"]) == (4000, pytest.approx(0.05, abs=0.012))
    by_view = _by_columns(table, per_group=True)["view"]
    assert {value: part["normals"] for value, part in by_view.items()} == {"PA": 2000, "AP": 2000}
    assert all(part["achieved"] == pytest.approx(0.05, abs=0.02) for part in by_view.values())


def test_thresholds_by_site_are_judged_site_by_site(tmp_path, capsys):
    """North has 200 references and far too many alarms, south 3, which promise 25 %: no cover for north's."""
    run, table, _ = scored_elsewhere(tmp_path, label=[0] * COUNT, by="site", group=None)
    north = table["site"] == "north"
    alarm = np.where(
        north, np.arange(COUNT) % 5 == 0, np.arange(COUNT) % 10 == 0
    )  # 20 % of north, 10 % of south
    table.assign(score=np.where(alarm, 2.0, 1.0)).to_parquet(run / "scores" / "store" / "scores.parquet")
    path = run / "scores" / "store" / "scores.json"
    marker = json.loads(path.read_text())
    for part, normals, level in zip(marker["thresholds"]["sets"], (200, 3), (4 / 201, 0.25), strict=True):
        part |= {"normals": normals, "level": level}
    path.write_text(json.dumps(marker))
    found = evaluate(run).summary["alarms"]["achieved"]
    assert found["promised"] == pytest.approx((4 / 201 + 0.25) / 2)
    assert found["achieved"] == pytest.approx(0.15)
    assert (found["kept"], found["broken"]) == (False, ["north"])
    assert call(["evaluate", str(run)]) == 0
    assert "There are more false alarms than promised for site north: new normals" in capsys.readouterr().err
